/** What recovery knows of one journal file, and the replayed records that it has to write again. */

import type { Flow } from '../base/flow.ts'
import { corruption } from '../base/status.ts'
import type { ShaleError } from '../../errors.ts'
import { LOG_HEADER_BYTES } from '../journal/log-format.ts'
import { LogReader } from '../journal/log-reader.ts'
import type { RecoveryMode } from '../journal/log-reader.ts'
import { fileName, pathIn } from '../vfs/file-name.ts'
import type { File, Vfs } from '../vfs/vfs.ts'

/** One journal file on its way through recovery. */
export class RecoveredJournal {
  readonly number: number
  readonly name: string
  readonly path: string
  /** By the manifest; else an interrupted rotation or recovery left it. */
  readonly isNamed: boolean
  readonly finalLength: number | undefined
  hasData = false
  /** Where its records ended; 0 as long as none were looked for. */
  end = 0
  /** Bytes behind that which are no records. */
  droppedBytes = 0
  /** Where it will end in the manifest. */
  durableEnd: number = LOG_HEADER_BYTES
  /** Of its last record that was replayed; 0 if none was. */
  lastSeqno = 0
  /** Per tree: the highest seqno of an entry that was replayed. */
  readonly watermarks: Map<number, number> = new Map()
  #file: File | undefined

  constructor(directory: string, number: number, isNamed: boolean, finalLength?: number) {
    this.number = number
    this.name = fileName('journal', number)
    this.path = pathIn(directory, this.name)
    this.isNamed = isNamed
    this.finalLength = finalLength
  }

  /** A reader in front of the first record; undefined for a torn creation, which is empty. */
  *open(vfs: Vfs, mode: RecoveryMode): Flow<LogReader | undefined> {
    this.#file = yield* vfs.open(this.path, 'read')
    const { number: fileNumber, finalLength } = this
    const reader = new LogReader(this.#file, { kind: 'journal', fileNumber, mode, finalLength })
    yield* reader.open()
    const error = reader.headerError
    if (error === undefined) return reader
    if (error.code === 'FORMAT_TOO_NEW') throw error
    if (!this.isNamed) return undefined
    throw error.code === 'NOT_A_DATABASE' ? this.damage('the journal has no header', 0) : error
  }

  close(): void {
    this.#file?.close()
    this.#file = undefined
  }

  damage(message: string, offset: number): ShaleError {
    return corruption(message, this.path, offset)
  }
}

/** A replayed record that is not known to be durable. */
export interface TailRecord {
  readonly journal: RecoveredJournal
  /** Where it lies in that file. */
  readonly offset: number
  readonly end: number
  readonly count: number
  readonly seqno: number
  /** Its payload: part of a chunk. */
  readonly chunk: Uint8Array
  readonly begin: number
  readonly length: number
}

/** Payloads are kept in chunks of this size, or of one payload. */
const CHUNK_BYTES = 256 * 1024
/** Records that have left and are still in the list, before it is cut. */
const GONE_MAX = 4096
const NOTHING = new Uint8Array(0)

/** The replayed records from the first on that is not known to be durable, in commit order. */
export class UndurableTail {
  #records: TailRecord[] = []
  /** How many of them have left. */
  #gone = 0
  #chunk: Uint8Array = NOTHING
  #used = 0

  /** The record that the reader is at. */
  push(journal: RecoveredJournal, { offset, end, count, seqno, payload }: LogReader): void {
    const { length } = payload
    if (length > this.#chunk.length - this.#used) {
      this.#chunk = new Uint8Array(Math.max(CHUNK_BYTES, length))
      this.#used = 0
    }
    const [chunk, begin] = [this.#chunk, this.#used]
    chunk.set(payload, begin)
    this.#used += length
    this.#records.push({ journal, offset, end, count, seqno, chunk, begin, length })
  }

  /**
   * Records that turned out to be durable, in a file that will stay. Only from the front: behind
   * one that is written again, all have to be.
   */
  dropDurable(journal: RecoveredJournal, durableEnd: number): void {
    if (!journal.isNamed) return
    for (let first = this.first; first !== undefined; first = this.first) {
      if (first.journal !== journal || first.end > durableEnd) break
      this.#gone++
    }
    const isEmpty = this.#gone === this.#records.length
    if (this.#gone === 0 || (!isEmpty && this.#gone < GONE_MAX)) return
    this.#records = this.#records.slice(this.#gone)
    this.#gone = 0
    if (!isEmpty) return
    this.#used = 0
    if (this.#chunk.length > CHUNK_BYTES) this.#chunk = NOTHING
  }

  get first(): TailRecord | undefined {
    return this.#records[this.#gone]
  }

  records(): readonly TailRecord[] {
    return this.#records.slice(this.#gone)
  }
}
