/**
 * The slab: memory that small results are copied to; each is handed out as a view of its own range.
 * When it is used up, there is a new one.
 *
 * A view keeps the whole slab alive, so that values of OWN_BUFFER_MIN bytes and more get memory of
 * their own and the slab stays small. The results in it share it: none of them may take it away
 * from the others.
 */

import { markAsUntransferable } from 'node:worker_threads'
import { BufferView } from '../../buffer-view.ts'
import { copyRange } from './slice.ts'

export const SLAB_BYTES = 65_536
export const OWN_BUFFER_MIN = 4096

class Slab {
  bytes: Uint8Array = new Uint8Array(0)
  memory: ArrayBufferLike = this.bytes.buffer
  /** The same as u32 words. */
  words: Uint32Array = new Uint32Array(0)
  /** First free byte, a multiple of 8. */
  #free = 0

  /** The offset of `length` free bytes, at most SLAB_BYTES of them: see `take`. */
  room(length: number): number {
    if (this.#free + length > this.bytes.length) this.#renew()
    return this.#free
  }

  /** The first `length` of them are in use. */
  take(length: number): void {
    this.#free = (this.#free + length + 7) & ~7
  }

  #renew(): void {
    const { buffer } = Buffer.allocUnsafeSlow(SLAB_BYTES)
    markAsUntransferable(buffer)
    this.bytes = new Uint8Array(buffer)
    this.memory = buffer
    this.words = new Uint32Array(buffer)
    this.#free = 0
  }
}

export const slab: Slab = new Slab()

/** A copy that belongs to whoever asked. */
export function ownCopy(bytes: Uint8Array, begin: number, end: number): Buffer {
  const length = end - begin
  if (length >= OWN_BUFFER_MIN) {
    const own = Buffer.allocUnsafeSlow(length)
    own.set(bytes.subarray(begin, end))
    return own
  }
  const at = slab.room(length)
  slab.take(length)
  copyRange(bytes, begin, end, slab.bytes, at)
  return new BufferView(slab.memory, at, length)
}
