/** Rows: how the batches of a scan are walked, and what is made of a row. */

import { BufferView } from './buffer-view.ts'
import { ROW_KEY, ROW_VALUE, type ReadEngine, type RowContent } from './engine.ts'
import type { Bounds, ScanOptions } from './keys.ts'
import type { RowBatch } from './row-batch.ts'

export type Pair = [Buffer, Buffer]

/** What may be closed while iterations go on; a plain property where each step looks at it. */
export interface Closable {
  readonly closing: boolean
}

/** What a range reads from. */
export interface RangeSource {
  readonly reads: ReadEngine
  readonly owner: Closable
  readonly signal: AbortSignal | undefined
  /** The read seqno, asked anew for each iteration; throws when there may be none any more. */
  seqno(): number
  /** Throws once nothing may be read any more (DB_CLOSED, ABORTED). */
  check(): void
}

export interface RangeSpec {
  readonly source: RangeSource
  readonly bounds: Bounds
  readonly options: ScanOptions
}

/** Closing with its database, or once its signal fires. */
class Abortable implements Closable {
  readonly #owner: Closable
  readonly #signal: AbortSignal

  constructor(owner: Closable, signal: AbortSignal) {
    this.#owner = owner
    this.#signal = signal
  }

  get closing(): boolean {
    return this.#owner.closing || this.#signal.aborted
  }
}

/** What ends an iteration of `source` from outside: once it is closing, check() says why. */
export function lifeOf({ owner, signal }: RangeSource): Closable {
  return signal === undefined ? owner : new Abortable(owner, signal)
}

/** `countLimit` of a fill is a u32. */
export const MAX_ROWS: number = 2 ** 32 - 1

/** Words from one row to the next. */
export function rowWords(content: RowContent, keyLength: number, valueLength: number): number {
  const carried = (content === ROW_VALUE ? 0 : keyLength) + (content === ROW_KEY ? 0 : valueLength)
  return 2 + ((carried + 3) >>> 2)
}

/** Key and value of a ROW_ENTRY row whose words begin at `row`. */
export function pairOf({ memory, offset, words }: RowBatch, row: number): Pair {
  const keyLength = words[row] as number
  const start = offset + row * 4 + 8
  return [
    new BufferView(memory, start, keyLength),
    new BufferView(memory, start + keyLength, words[row + 1] as number),
  ]
}

export function keyOf({ memory, offset, words }: RowBatch, row: number): Buffer {
  return new BufferView(memory, offset + row * 4 + 8, words[row] as number)
}

/** Of a ROW_VALUE row: it carries nothing else. */
export function valueOf({ memory, offset, words }: RowBatch, row: number): Buffer {
  return new BufferView(memory, offset + row * 4 + 8, words[row + 1] as number)
}
