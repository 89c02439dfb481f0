/** Builds the raw bytes of data blocks and index blocks; docs/format.md, sections 8.2 and 8.3. */

import { Encoder } from '../base/coding.ts'
import { LARGE_BYTES } from '../base/compression.ts'
import { copyRange } from '../base/slice.ts'
import { BUCKET_CONFLICT, BUCKET_FREE } from './sorted-block.ts'
import { BLOCK_FOOTER_BYTES } from './table-format.ts'

const U16_MAX = 65_535
const WIDE_RESTARTS = 1
const HASHED_RESTARTS_MAX = 254

const OUT_BYTES = 8192

/** The bytes of a block, which may lie in several places. */
export interface RawBlock {
  readonly pieces: readonly Uint8Array[]
  readonly length: number
}

/**
 * Entries, restarts and footer of one block after the other. A value that is large may stay where
 * it is: then it is the last one of its block.
 */
abstract class BlockBuilder {
  protected out: Encoder = new Encoder(OUT_BYTES)
  readonly #restarts: number[] = []
  readonly #interval: number
  count = 0
  /** A large value, and where it belongs. */
  #value: Uint8Array | undefined
  #valueAt = 0
  /** Where the key of the restart head lies in what was written, and its length. */
  #headAt = 0
  #headLength = 0

  constructor(interval: number) {
    this.#interval = interval
  }

  /** Bytes of the block if it ended here, without buckets. */
  get length(): number {
    return this.entryBytes + this.#restarts.length * 4 + BLOCK_FOOTER_BYTES
  }

  /** Bytes of the entries alone. */
  get entryBytes(): number {
    return this.out.length + (this.#value?.length ?? 0)
  }

  get restartCount(): number {
    return this.#restarts.length
  }

  /** Begins an entry; says how much of its key the head has. */
  protected begin(key: Uint8Array, keyBegin: number, keyEnd: number): number {
    if (this.count++ % this.#interval === 0) {
      this.#restarts.push(this.out.length)
      this.#headLength = 0
      return 0
    }
    const { bytes } = this.out
    const limit = Math.min(this.#headLength, keyEnd - keyBegin)
    let shared = 0
    while (shared < limit && bytes[this.#headAt + shared] === key[keyBegin + shared]) shared++
    return shared
  }

  /** Writes what is left of the key. */
  protected rest(key: Uint8Array, keyBegin: number, keyEnd: number, shared: number): void {
    const at = this.put(key, keyBegin + shared, keyEnd)
    if ((this.count - 1) % this.#interval !== 0) return
    this.#headAt = at
    this.#headLength = keyEnd - keyBegin
  }

  /** Writes a range; returns its offset. */
  protected put(bytes: Uint8Array, begin: number, end: number): number {
    const at = this.out.take(end - begin)
    copyRange(bytes, begin, end, this.out.bytes, at)
    return at
  }

  /** Leaves a value where it is; the block ends with it. */
  protected refer(value: Uint8Array): void {
    this.#value = value
    this.#valueAt = this.out.length
  }

  /** The whole block. A small one is good until the next one is begun. */
  protected end(buckets: Uint8Array): RawBlock {
    const { out } = this
    const value = this.#value
    const wide = this.#restarts.some((offset) => offset > U16_MAX)
    for (const offset of this.#restarts) {
      if (wide) out.u32(offset)
      else out.u16(offset)
    }
    out.raw(buckets)
    out.u32(this.count).u32(this.#restarts.length).u16(buckets.length)
    out.u8(this.#interval).u8(wide ? WIDE_RESTARTS : 0)
    const written = out.view()
    const length = out.length + (value?.length ?? 0)
    const pieces =
      value === undefined
        ? [written]
        : [written.subarray(0, this.#valueAt), value, written.subarray(this.#valueAt)]
    this.#restarts.length = 0
    this.count = 0
    this.#value = undefined
    if (length > LARGE_BYTES) this.out = new Encoder(OUT_BYTES)
    else out.clear()
    return { pieces, length }
  }
}

const NO_BUCKETS = new Uint8Array(0)

export class DataBlockBuilder extends BlockBuilder {
  readonly #hashRatio: number
  readonly #largeValueBytes: number
  /** Low halves of the keys' hashes, and the restart intervals in which the keys begin. */
  readonly #hashes: number[] = []
  readonly #intervals: number[] = []

  /** A value from so many bytes on is not copied: the block has to be finished after it. */
  constructor(interval: number, hashRatio: number, largeValueBytes: number = Infinity) {
    super(interval)
    this.#hashRatio = hashRatio
    this.#largeValueBytes = largeValueBytes
  }

  /** `hash`: low half of the key's hash; `isNewKey`: the entry before has another key. */
  add(
    kind: number,
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
    hash: number,
    isNewKey: boolean,
  ): void {
    const { out } = this
    const shared = this.begin(key, keyBegin, keyEnd)
    if (this.#hashRatio > 0 && (isNewKey || this.count === 1)) {
      this.#hashes.push(hash)
      this.#intervals.push(this.restartCount - 1)
    }
    out.varint(shared).varint(keyEnd - keyBegin - shared)
    out
      .u8(kind)
      .varint(seqno)
      .varint(valueEnd - valueBegin)
    this.rest(key, keyBegin, keyEnd, shared)
    if (valueEnd - valueBegin < this.#largeValueBytes) this.put(value, valueBegin, valueEnd)
    else this.refer(value.subarray(valueBegin, valueEnd))
  }

  finish(): RawBlock {
    const block = this.end(this.#buckets())
    this.#hashes.length = 0
    this.#intervals.length = 0
    return block
  }

  #buckets(): Uint8Array {
    if (this.#hashRatio === 0 || this.restartCount > HASHED_RESTARTS_MAX) return NO_BUCKETS
    const count = Math.min(U16_MAX, Math.max(1, Math.floor(this.count * this.#hashRatio)))
    const buckets = new Uint8Array(count).fill(BUCKET_FREE)
    for (const [i, hash] of this.#hashes.entries()) {
      const bucket = Math.floor(((hash >>> 0) * count) / 2 ** 32)
      const interval = this.#intervals[i]!
      const there = buckets[bucket]!
      const same = there === BUCKET_FREE || there === interval
      buckets[bucket] = same ? interval : BUCKET_CONFLICT
    }
    return buckets
  }
}

export class IndexBlockBuilder extends BlockBuilder {
  add(
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    seqno: number,
    offset: number,
    length: number,
  ): void {
    const { out } = this
    const shared = this.begin(key, keyBegin, keyEnd)
    out.varint(shared).varint(keyEnd - keyBegin - shared)
    out.varint(seqno).varint(offset).varint(length)
    this.rest(key, keyBegin, keyEnd, shared)
  }

  finish(): RawBlock {
    return this.end(NO_BUCKETS)
  }
}
