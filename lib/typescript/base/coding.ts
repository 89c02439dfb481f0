/**
 * Numbers and byte strings as docs/format.md, section 1, writes them: little-endian, varints,
 * length-prefixed bytes, tagged fields.
 *
 * Readers check every position against the end of their container before they look: what is missing
 * is CORRUPTION. Numbers are doubles, exact up to 2^53 - 1; a field that says more is damage.
 */

import { corruption } from './status.ts'

const TWO_32 = 2 ** 32

/** Bytes of a varint at most. */
export const VARINT_BYTES_MAX = 10

export function getU16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8)
}

/** Four bytes as a signed number, for arithmetic modulo 2^32. */
export function getI32(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}

export function getU32(bytes: Uint8Array, at: number): number {
  return getI32(bytes, at) >>> 0
}

/** Above 2^53 the result is rounded, and still above 2^53 - 1. */
export function getU64(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) + getU32(bytes, at + 4) * TWO_32
}

export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
}

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}

export function putU64(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, value >>> 0)
  putU32(bytes, at + 4, Math.floor(value / TWO_32))
}

/** Bytes that `value` takes as a varint. */
export function varintLength(value: number): number {
  let length = 1
  for (; value >= 0x80; value = Math.floor(value / 0x80)) length++
  return length
}

/** Writes `value` in its shortest form, returns the offset behind it. The room must be there. */
export function putVarint(bytes: Uint8Array, at: number, value: number): number {
  while (value >= TWO_32) {
    bytes[at++] = (value & 0x7f) | 0x80
    value = Math.floor(value / 0x80)
  }
  while (value >= 0x80) {
    bytes[at++] = value | 0x80
    value >>>= 7
  }
  bytes[at++] = value
  return at
}

const doubleBytes = new Uint8Array(8)
const doubleView = new DataView(doubleBytes.buffer)

/** Reads one container from front to back. `at` and `end` are offsets in `bytes`. */
export class Decoder {
  bytes: Uint8Array
  at: number
  end: number

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  get done(): boolean {
    return this.at >= this.end
  }

  /** The offset of the next `length` bytes, which are passed over. */
  skip(length: number): number {
    const begin = this.at
    if (length > this.end - begin) throw corruption('a field reaches beyond what holds it')
    this.at = begin + length
    return begin
  }

  u8(): number {
    return this.bytes[this.skip(1)]!
  }

  u16(): number {
    return getU16(this.bytes, this.skip(2))
  }

  u32(): number {
    return getU32(this.bytes, this.skip(4))
  }

  u64(): number {
    const value = getU64(this.bytes, this.skip(8))
    if (value > Number.MAX_SAFE_INTEGER) throw corruption('a number is too large')
    return value
  }

  /** NaN and infinities are damage. */
  f64(): number {
    const begin = this.skip(8)
    doubleBytes.set(this.bytes.subarray(begin, begin + 8))
    const value = doubleView.getFloat64(0, true)
    if (!Number.isFinite(value)) throw corruption('a real number is not finite')
    return value
  }

  varint(): number {
    const { bytes, end } = this
    const begin = this.at
    if (begin < end && bytes[begin]! < 0x80) {
      this.at = begin + 1
      return bytes[begin]!
    }
    let value = 0
    let scale = 1
    for (let at = begin; at < end && at < begin + VARINT_BYTES_MAX; at++) {
      const byte = bytes[at]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw corruption('a number is too large')
        this.at = at + 1
        return value
      }
      scale *= 0x80
    }
    throw corruption('a number has no end')
  }

  /** A view of a length-prefixed field. */
  prefixed(): Uint8Array {
    const length = this.varint()
    const begin = this.skip(length)
    return this.bytes.subarray(begin, begin + length)
  }

  /** The content of a field must fill it. */
  finish(): void {
    if (this.at !== this.end) throw corruption('a field is longer than what it holds')
  }
}

/** Walks over tagged fields: `while (fields.next())` read `id` and `content`. */
export class TaggedFields {
  /** -1 before the first field. */
  id = -1
  readonly content: Decoder
  #at: number
  readonly #end: number

  constructor(bytes: Uint8Array, at = 0, end: number = bytes.length) {
    this.content = new Decoder(bytes, at, at)
    this.#at = at
    this.#end = end
  }

  /** Goes to the next field; false at the end of the container. */
  next(): boolean {
    const { content } = this
    content.at = this.#at
    content.end = this.#end
    if (content.done) return false
    const id = content.varint()
    if (id <= this.id) throw corruption('tagged fields are not in ascending order')
    this.id = id
    const length = content.varint()
    this.#at = content.skip(length) + length
    content.at = this.#at - length
    content.end = this.#at
    return true
  }
}

/** Builds bytes of unknown length. */
export class Encoder {
  bytes: Uint8Array
  length = 0

  constructor(capacity = 256) {
    this.bytes = new Uint8Array(capacity)
  }

  /** What was written so far; overwritten by what comes after `clear`. */
  view(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }

  clear(): void {
    this.length = 0
  }

  /** Room for `length` bytes more; returns the offset of the first. */
  take(length: number): number {
    const begin = this.length
    this.length = begin + length
    if (this.length > this.bytes.length) {
      const grown = new Uint8Array(Math.max(this.length, 2 * this.bytes.length))
      grown.set(this.bytes.subarray(0, begin))
      this.bytes = grown
    }
    return begin
  }

  u8(value: number): this {
    const at = this.take(1)
    this.bytes[at] = value
    return this
  }

  u16(value: number): this {
    const at = this.take(2)
    putU16(this.bytes, at, value)
    return this
  }

  u32(value: number): this {
    const at = this.take(4)
    putU32(this.bytes, at, value)
    return this
  }

  u64(value: number): this {
    const at = this.take(8)
    putU64(this.bytes, at, value)
    return this
  }

  f64(value: number): this {
    doubleView.setFloat64(0, value, true)
    return this.raw(doubleBytes)
  }

  varint(value: number): this {
    const at = this.take(VARINT_BYTES_MAX)
    this.length = putVarint(this.bytes, at, value)
    return this
  }

  raw(source: Uint8Array): this {
    const at = this.take(source.length)
    this.bytes.set(source, at)
    return this
  }

  /** Length, then the bytes. */
  prefixed(source: Uint8Array): this {
    return this.varint(source.length).raw(source)
  }

  /** A tagged field. */
  field(id: number, content: Uint8Array): this {
    return this.varint(id).prefixed(content)
  }
}
