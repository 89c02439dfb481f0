/** Batches of rows, as an engine packs them for a scan. */

import { markAsUntransferable } from 'node:worker_threads'
import { BufferView } from './buffer-view.ts'

/**
 * A batch of rows, packed: per row two u32 words (key length, value length), then key bytes, then
 * value bytes, then padding to a multiple of 4. A part that is not carried takes no bytes; its
 * length is there all the same. Unless it was made with `reuse`, views of it stay valid for ever.
 */
export class RowBatch {
  readonly bytes: Buffer
  /** `bytes.buffer` and `bytes.byteOffset`: asking a Buffer for them costs more than a view. */
  readonly memory: ArrayBufferLike
  readonly offset: number
  /** The same memory as u32 words. */
  readonly words: Uint32Array
  /** Bytes used. */
  readonly end: number
  readonly count: number

  private constructor(
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

  /** A part of memory that others share: `end` bytes from `offset` on. */
  static within(memory: ArrayBufferLike, offset: number, end: number, count: number): RowBatch {
    const words = new Uint32Array(memory, offset, end >>> 2)
    return new RowBatch(new BufferView(memory, offset, end), memory, offset, words, end, count)
  }

  /** Memory of its own. The rows share it: none of them may take it away from the others. */
  static withRoomFor(byteLimit: number): RowBatch {
    const bytes = Buffer.allocUnsafeSlow((byteLimit + 3) & ~3)
    const { buffer } = bytes
    markAsUntransferable(buffer)
    return new RowBatch(bytes, buffer, 0, new Uint32Array(buffer), 0, 0)
  }

  /** The same memory with other rows in it. */
  refilled(end: number, count: number): RowBatch {
    return new RowBatch(this.bytes, this.memory, this.offset, this.words, end, count)
  }
}
