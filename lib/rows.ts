/** Rows: how the batches of a scan are walked, and what is made of a row. */

import { markAsUntransferable } from 'node:worker_threads'
import { BufferView } from './buffer-view.ts'
import { ROW_KEY, ROW_VALUE, type ReadEngine, type RowBatch, type RowContent } from './engine.ts'
import type { Bounds, ScanOptions } from './keys.ts'

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

/** What an engine has packed. */
export class PackedRows implements RowBatch {
  readonly bytes: Buffer
  readonly memory: ArrayBufferLike
  readonly offset: number
  readonly words: Uint32Array
  readonly end: number
  readonly count: number

  constructor(
    bytes: Buffer,
    memory: ArrayBufferLike,
    offset: number,
    words: Uint32Array,
    end: number,
    count: number,
  ) {
    this.bytes = bytes
    this.memory = memory
    this.offset = offset
    this.words = words
    this.end = end
    this.count = count
  }

  /** A part of memory that others share, from `offset` on. */
  static within(memory: ArrayBufferLike, offset: number, end: number, count: number): PackedRows {
    const words = new Uint32Array(memory, offset, end >>> 2)
    return new PackedRows(new BufferView(memory, offset, end), memory, offset, words, end, count)
  }
}

/** Memory of its own for rows. They share it: none of them may take it away from the others. */
export function freshRows(byteLimit: number): PackedRows {
  const bytes = Buffer.allocUnsafeSlow((byteLimit + 3) & ~3)
  const { buffer } = bytes
  markAsUntransferable(buffer)
  return new PackedRows(bytes, buffer, 0, new Uint32Array(buffer), 0, 0)
}

/** The same memory with other rows in it. */
export function refilled(
  { bytes, memory, offset, words }: RowBatch,
  end: number,
  count: number,
): PackedRows {
  return new PackedRows(bytes, memory, offset, words, end, count)
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
