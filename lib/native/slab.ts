/**
 * The slab: memory of JavaScript that the addon copies small values into; each is handed out as a
 * view of its own range. There is a new one when it is first needed, is used up, or was taken away.
 *
 * A view keeps the whole slab alive, so that values of OWN_BUFFER_MIN bytes and more get memory of
 * their own and the slab stays small.
 */

import { markAsUntransferable } from 'node:worker_threads'
import { door } from './addon.ts'
import { OWN_BUFFER_MIN, SLAB_BYTES } from './protocol.ts'

class Slab {
  bytes: Buffer = Buffer.alloc(0)
  memory: ArrayBufferLike = this.bytes.buffer
  /** First free byte, a multiple of 8. */
  offset = 0

  /** The addon keeps a pointer to this memory: it must not be transferred away under it. */
  renew(): void {
    const bytes = Buffer.allocUnsafeSlow(SLAB_BYTES)
    markAsUntransferable(bytes.buffer)
    door.setSlab(bytes)
    this.bytes = bytes
    this.memory = bytes.buffer
    this.offset = 0
  }
}

/** Beyond this offset the largest small value may not fit. */
export const SLAB_LIMIT: number = SLAB_BYTES - OWN_BUFFER_MIN

export const slab: Slab = new Slab()

/** Room for the largest small value; to be called before the register file is filled. */
export function makeRoom(): void {
  if (slab.offset > SLAB_LIMIT || slab.bytes.length !== SLAB_BYTES) slab.renew()
}
