/**
 * Where the entries of a memtable lie: chunks of memory that are filled from front to back and
 * given back as a whole. An address is one number, chunk and offset together; 0 is none.
 *
 * A stored entry:
 *
 *     0  f64  seqno
 *     8  u32  length of the value, or the number of a large one
 *    12  u16  length of the key
 *    14  u8   kind, and the flags below
 *    16  u32  address of the next older version of the key
 *    20  u32  jump, u32 depth: only if there was an older version (see `VersionChain`)
 *        key, value
 *
 * A value of LARGE_VALUE bytes or more has an array of its own, so that chunks waste little; so
 * has one that has replaced another.
 */

import { copyOf, copyRange } from '../base/slice.ts'

const OFFSET_BITS = 20
const OFFSET_MASK = 2 ** OFFSET_BITS - 1
/** The first chunk is small, so that a thousand idle trees cost little; each next one is double. */
const CHUNK_BYTES_MIN = 4096
const CHUNK_BYTES_MAX: number = 2 ** OFFSET_BITS
const CHUNKS_MAX: number = 2 ** (32 - OFFSET_BITS)
const LARGE_VALUE = 65_536
const CACHE_LINE = 64

const AT_VALUE = 8
const AT_KEY_LENGTH = 12
const AT_KIND = 14
const AT_OLDER = 16
const AT_JUMP = 20
const AT_DEPTH = 24
const HEADER_BYTES = 20
const VERSION_BYTES = 8

const KIND_MASK = 0x0f
const FLAG_LARGE = 0x40
const FLAG_VERSION = 0x80

export class Arena {
  /** Chunk i as bytes and, for the numbers in it, as a view. */
  readonly chunks: Uint8Array[] = []
  readonly #views: DataView[] = []
  readonly #large: Uint8Array[] = []
  /** First free offset of the last chunk. */
  #free = CHUNK_BYTES_MAX
  #usedBytes = 0

  /** Bytes taken, ends of chunks that nothing fitted into included. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** Copies an entry in; `older` is the version that it will hide, or 0. */
  add(
    kind: number,
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
    older: number,
  ): number {
    const keyLength = keyEnd - keyBegin
    const valueLength = valueEnd - valueBegin
    const large = valueLength >= LARGE_VALUE
    const header = older === 0 ? HEADER_BYTES : HEADER_BYTES + VERSION_BYTES
    const address = this.#allocate(header + keyLength + (large ? 0 : valueLength))
    const chunk = this.chunks[address >>> OFFSET_BITS]!
    const view = this.#views[address >>> OFFSET_BITS]!
    const at = address & OFFSET_MASK
    view.setFloat64(at, seqno, true)
    view.setUint32(at + AT_VALUE, valueLength, true)
    view.setUint16(at + AT_KEY_LENGTH, keyLength, true)
    chunk[at + AT_KIND] = older === 0 ? kind : kind | FLAG_VERSION
    view.setUint32(at + AT_OLDER, older, true)
    copyRange(key, keyBegin, keyEnd, chunk, at + header)
    if (large) this.#storeLarge(address, value, valueBegin, valueEnd)
    else copyRange(value, valueBegin, valueEnd, chunk, at + header + keyLength)
    return address
  }

  /** Gives an entry another kind and value. A reader that stands on it goes on with the old one. */
  replace(
    address: number,
    kind: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
  ): void {
    const chunk = this.chunkOf(address)
    const at = address & OFFSET_MASK
    chunk[at + AT_KIND] = kind | (chunk[at + AT_KIND]! & ~KIND_MASK)
    this.#storeLarge(address, value, valueBegin, valueEnd)
  }

  // --- what an entry says ------------------------------------------------------------------------

  /** The bytes that hold the key of the entry. */
  chunkOf(address: number): Uint8Array {
    return this.chunks[address >>> OFFSET_BITS]!
  }

  keyBegin(address: number): number {
    const at = address & OFFSET_MASK
    const version = this.chunkOf(address)[at + AT_KIND]! & FLAG_VERSION
    return at + (version === 0 ? HEADER_BYTES : HEADER_BYTES + VERSION_BYTES)
  }

  keyEnd(address: number): number {
    const chunk = this.chunkOf(address)
    const at = (address & OFFSET_MASK) + AT_KEY_LENGTH
    return this.keyBegin(address) + (chunk[at]! | (chunk[at + 1]! << 8))
  }

  /** The bytes that hold the value: a chunk, or all of a large value. */
  valueBytes(address: number): Uint8Array {
    const chunk = this.chunkOf(address)
    const at = address & OFFSET_MASK
    if ((chunk[at + AT_KIND]! & FLAG_LARGE) === 0) return chunk
    return this.#large[this.#view(address).getUint32(at + AT_VALUE, true)]!
  }

  valueBegin(address: number): number {
    const at = address & OFFSET_MASK
    return (this.chunkOf(address)[at + AT_KIND]! & FLAG_LARGE) === 0 ? this.keyEnd(address) : 0
  }

  valueLength(address: number): number {
    const at = address & OFFSET_MASK
    const stored = this.#view(address).getUint32(at + AT_VALUE, true)
    const large = (this.chunkOf(address)[at + AT_KIND]! & FLAG_LARGE) !== 0
    return large ? this.#large[stored]!.length : stored
  }

  kind(address: number): number {
    return this.chunkOf(address)[(address & OFFSET_MASK) + AT_KIND]! & KIND_MASK
  }

  seqno(address: number): number {
    return this.#view(address).getFloat64(address & OFFSET_MASK, true)
  }

  older(address: number): number {
    return this.#view(address).getUint32((address & OFFSET_MASK) + AT_OLDER, true)
  }

  setOlder(address: number, older: number): void {
    this.#view(address).setUint32((address & OFFSET_MASK) + AT_OLDER, older, true)
  }

  /** Whether the entry has a jump and a depth. */
  hasJump(address: number): boolean {
    return (this.chunkOf(address)[(address & OFFSET_MASK) + AT_KIND]! & FLAG_VERSION) !== 0
  }

  jump(address: number): number {
    return this.#view(address).getUint32((address & OFFSET_MASK) + AT_JUMP, true)
  }

  depth(address: number): number {
    if (!this.hasJump(address)) return 0
    return this.#view(address).getUint32((address & OFFSET_MASK) + AT_DEPTH, true)
  }

  setJump(address: number, jump: number, depth: number): void {
    const view = this.#view(address)
    view.setUint32((address & OFFSET_MASK) + AT_JUMP, jump, true)
    view.setUint32((address & OFFSET_MASK) + AT_DEPTH, depth, true)
  }

  /**
   * Reads the beginning of an entry, so that the processor has it at hand. Gives something for the
   * compiler to keep it.
   */
  touch(address: number): number {
    const chunk = this.chunkOf(address)
    const at = address & OFFSET_MASK
    const last = chunk.length - 1
    const line = Math.min(at + CACHE_LINE, last)
    return chunk[at]! | chunk[line]! | chunk[Math.min(line + CACHE_LINE, last)]!
  }

  // --- memory ------------------------------------------------------------------------------------

  #view(address: number): DataView {
    return this.#views[address >>> OFFSET_BITS]!
  }

  #storeLarge(address: number, value: Uint8Array, begin: number, end: number): void {
    const at = address & OFFSET_MASK
    const chunk = this.chunkOf(address)
    chunk[at + AT_KIND] = chunk[at + AT_KIND]! | FLAG_LARGE
    this.#view(address).setUint32(at + AT_VALUE, this.#large.length, true)
    this.#large.push(copyOf(value, begin, end))
    this.#usedBytes += end - begin
  }

  #allocate(length: number): number {
    let chunk = this.chunks.at(-1)
    if (chunk === undefined || this.#free + length > chunk.length) {
      chunk = this.#grow(length, chunk)
    }
    const offset = this.#free
    this.#free += length
    this.#usedBytes += length
    return (((this.chunks.length - 1) << OFFSET_BITS) | offset) >>> 0
  }

  #grow(length: number, last: Uint8Array | undefined): Uint8Array {
    // An address more would name an entry of the first chunk.
    if (this.chunks.length === CHUNKS_MAX) throw new RangeError('the arena is full')
    let size = last === undefined ? CHUNK_BYTES_MIN : last.length * 2
    while (size < length + AT_VALUE) size *= 2
    const chunk = new Uint8Array(Math.min(size, CHUNK_BYTES_MAX))
    if (last !== undefined) this.#usedBytes += last.length - this.#free
    this.chunks.push(chunk)
    this.#views.push(new DataView(chunk.buffer))
    // No entry has the address 0.
    this.#free = last === undefined ? AT_VALUE : 0
    return chunk
  }
}
