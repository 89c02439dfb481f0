/** The bytes of batch entries, as docs/format.md ("Batch entries") and the journal have them. */

import { RANGE_TOMBSTONE } from './engine.ts'
import { MAX_BATCH_BYTES, ShaleError } from './errors.ts'
import { put } from './input-bytes.ts'
import type { Bounds } from './keys.ts'
import type { KeyInput } from './types.ts'

const HEADER = 12
const FIRST_CAPACITY = 1024
/** Bytes that grew beyond this are given back when they are cleared. */
const KEPT_CAPACITY = 1 << 20

/** Encoded entries, back to back in one buffer that grows. */
export class EntryBytes {
  #bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_CAPACITY)
  #end = 0
  #count = 0

  get count(): number {
    return this.#count
  }

  get byteLength(): number {
    return this.#end
  }

  /** Valid until the next change. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#end)
  }

  clear(): void {
    this.#end = 0
    this.#count = 0
    if (this.#bytes.length > KEPT_CAPACITY) this.#bytes = Buffer.allocUnsafeSlow(FIRST_CAPACITY)
  }

  /**
   * Adds an entry whose lengths were checked. Returns 'key' or 'value', and adds nothing, if the
   * bytes of that one cannot be read any more (detached, or shrunk since it was measured).
   *
   * @throws ShaleError BATCH_TOO_LARGE
   */
  add(
    kind: number,
    keyspaceId: number,
    key: KeyInput,
    keyLength: number,
    value: KeyInput,
    valueLength: number,
  ): 'key' | 'value' | undefined {
    const start = this.#reserve(HEADER + keyLength + valueLength)
    const bytes = this.#bytes
    bytes[start] = kind
    bytes[start + 1] = 0
    bytes[start + 2] = keyLength
    bytes[start + 3] = keyLength >>> 8
    bytes[start + 4] = keyspaceId
    bytes[start + 5] = keyspaceId >>> 8
    bytes[start + 6] = keyspaceId >>> 16
    bytes[start + 7] = keyspaceId >>> 24
    bytes[start + 8] = valueLength
    bytes[start + 9] = valueLength >>> 8
    bytes[start + 10] = valueLength >>> 16
    bytes[start + 11] = valueLength >>> 24
    if (!put(bytes, start + HEADER, key, keyLength)) return 'key'
    if (!put(bytes, start + HEADER + keyLength, value, valueLength)) return 'value'
    this.#end = start + HEADER + keyLength + valueLength
    this.#count++
    return undefined
  }

  /** A range tombstone over `bounds`, which are not empty. */
  addRange(keyspaceId: number, { lower = FIRST_KEY, upper }: Bounds): void {
    const end = rangeEnd(upper)
    this.add(RANGE_TOMBSTONE, keyspaceId, lower, lower.length, end, end.length)
  }

  /** Makes room for `size` more bytes and returns where they go. */
  #reserve(size: number): number {
    const end = this.#end + size
    if (end > MAX_BATCH_BYTES) {
      throw new ShaleError(
        'BATCH_TOO_LARGE',
        `the batch would have ${end} bytes; at most ${MAX_BATCH_BYTES} are allowed`,
      )
    }
    if (end > this.#bytes.length) {
      const capacity = Math.min(MAX_BATCH_BYTES, Math.max(end, this.#bytes.length * 2))
      const grown = Buffer.allocUnsafeSlow(capacity)
      this.#bytes.copy(grown, 0, 0, this.#end)
      this.#bytes = grown
    }
    return this.#end
  }
}

/** The smallest key: where a range without lower bound starts. */
export const FIRST_KEY: Uint8Array = new Uint8Array(1)

const UNBOUNDED = Uint8Array.of(1)
const BOUNDED = Uint8Array.of(0)

/** What stands as the value of a range tombstone: flags, then the end. */
function rangeEnd(upper: Uint8Array | undefined): Uint8Array {
  return upper === undefined ? UNBOUNDED : Buffer.concat([BOUNDED, upper])
}
