/** Ingestions of the native engine. */

import type { IngestionEngine } from '../engine.ts'
import type { ShaleError } from '../errors.ts'
import { rejected } from '../receiver.ts'
import { answered } from '../turn.ts'
import { door, META, NUMBERS } from './addon.ts'
import { announce, asNumber, outcome } from './completions.ts'
import { failure } from './failure.ts'
import { META_HANDLE, META_NUMBER, META_SEQNO, META_STATUS } from './protocol.ts'

const { ingestRows } = door

/** Of the keyspace that `reads` stands for. */
export function startIngestion(reads: number): IngestionEngine {
  META[META_HANDLE] = reads
  door.startIngestion()
  return started()
}

/** Of the bare tree whose core is `handle`. */
export function startTreeIngestion(handle: number, seqno: number): IngestionEngine {
  META[META_HANDLE] = handle
  NUMBERS[META_SEQNO / 2] = seqno
  door.startTreeIngestion()
  return started()
}

/** The promise of one that `start` makes: it takes nothing but memory. */
export function startedLater(start: () => IngestionEngine): Promise<IngestionEngine> {
  try {
    return answered(start())
  } catch (error) {
    return rejected(error)
  }
}

function started(): IngestionEngine {
  const status = META[META_STATUS] as number
  if (status !== 0) throw failure(status)
  return new NativeIngestion(META[META_HANDLE] as number)
}

class NativeIngestion implements IngestionEngine {
  /** 0 once it has ended. What is given back before that is rolled back. */
  #handle: number

  constructor(handle: number) {
    this.#handle = handle
  }

  write(rows: Uint8Array): void {
    META[META_HANDLE] = this.#handle
    ingestRows(rows)
    const status = META[META_STATUS] as number
    if (status !== 0) throw failure(status)
  }

  finish(): Promise<number> {
    META[META_HANDLE] = this.#handle
    announce()
    door.finishIngestion()
    const finished = outcome(asNumber, this)
    this.#release()
    return finished
  }

  finishSync(): number {
    META[META_HANDLE] = this.#handle
    door.finishIngestionSync()
    const status = META[META_STATUS] as number
    const failed: ShaleError | undefined = status === 0 ? undefined : failure(status)
    const count = NUMBERS[META_NUMBER / 2] as number
    this.#release()
    if (failed !== undefined) throw failed
    return count
  }

  abort(): void {
    this.#release()
  }

  #release(): void {
    if (this.#handle === 0) return
    META[META_HANDLE] = this.#handle
    this.#handle = 0
    door.release()
  }
}
