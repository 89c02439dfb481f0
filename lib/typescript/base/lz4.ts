/**
 * LZ4 blocks: sequences of {token, literals, offset}, where a match copies from what was already
 * decoded.
 *
 * A token holds two lengths of four bits, of the literals and of the match (less 4); 15 means that
 * bytes follow to be added, up to the first below 255. The offset is two bytes, 1 to 65,535. The
 * last sequence has literals only: at least the last 5 bytes, and no match begins in the last 12.
 */

import { getI32 } from './coding.ts'
import { copyRange } from './slice.ts'

const MATCH_MIN = 4
const OFFSET_MAX = 65_535
const LAST_LITERALS = 5
/** No match begins in the last so many bytes. */
const MATCH_LIMIT = 12
/** Inputs without matches are passed over faster and faster: a step more after so many misses. */
const SKIP_SHIFT = 6

const HASH_BITS = 14
/** Where four bytes with this hash were seen last, plus `base` of that input. */
const seen = new Int32Array(1 << HASH_BITS)
/** Entries of `seen` below belong to earlier inputs, so the table need not be cleared for each. */
let base = 1

function hashOf(four: number): number {
  return Math.imul(four, 0x9e3779b1) >>> (32 - HASH_BITS)
}

/** Bytes behind the token that a length of `rest` above 15 takes. */
function lengthBytes(rest: number): number {
  return rest < 0 ? 0 : 1 + Math.floor(rest / 255)
}

function putLength(output: Uint8Array, at: number, rest: number): number {
  for (; rest >= 255; rest -= 255) output[at++] = 255
  output[at++] = rest
  return at
}

/**
 * Compresses input[begin..end) to output[at..limit). Returns the offset behind it, or -1 if it does
 * not fit.
 */
export function lz4Compress(
  input: Uint8Array,
  begin: number,
  end: number,
  output: Uint8Array,
  at: number,
  limit: number,
): number {
  return new Lz4Encoder(input, begin, end, output, at, limit).finish()
}

/** Compression in steps; others may compress in between. */
export class Lz4Encoder {
  readonly #input: Uint8Array
  readonly #begin: number
  readonly #end: number
  readonly #output: Uint8Array
  readonly #limit: number
  /** A position p is filed as p + shift. */
  readonly #shift: number
  /** The next byte to write; -1: it does not fit. */
  #at: number
  /** Where literals begin that are not written. */
  #anchor: number
  #position: number
  #misses = 0

  constructor(
    input: Uint8Array,
    begin: number,
    end: number,
    output: Uint8Array,
    at: number,
    limit: number,
  ) {
    const length = end - begin
    if (base + length >= 0x7fffffff) {
      seen.fill(0)
      base = 1
    }
    this.#input = input
    this.#begin = begin
    this.#end = end
    this.#output = output
    this.#limit = limit
    this.#shift = base - begin
    this.#at = at
    this.#anchor = begin
    this.#position = begin
    base += length
  }

  /** Goes on up to about `stop`; false: it does not fit. */
  step(stop: number): boolean {
    if (this.#at < 0) return false
    const input = this.#input
    const begin = this.#begin
    const output = this.#output
    const limit = this.#limit
    const shift = this.#shift
    const last = Math.min(stop - 1, this.#end - MATCH_LIMIT)
    const matchEnd = Math.min(stop, this.#end - LAST_LITERALS)
    let at = this.#at
    let anchor = this.#anchor
    let position = this.#position
    let misses = this.#misses
    while (position <= last) {
      const four = getI32(input, position)
      const slot = hashOf(four)
      const candidate = seen[slot]! - shift
      seen[slot] = position + shift
      const offset = position - candidate
      // Other inputs have filed their positions too, as what lies before or behind.
      if (
        candidate < begin ||
        offset > OFFSET_MAX ||
        offset <= 0 ||
        getI32(input, candidate) !== four
      ) {
        position += 1 + (misses++ >> SKIP_SHIFT)
        continue
      }
      misses = 0
      let matchBegin = position
      let from = candidate
      while (matchBegin > anchor && from > begin && input[matchBegin - 1] === input[from - 1]) {
        matchBegin--
        from--
      }
      let next = position + MATCH_MIN
      while (next < matchEnd && input[next] === input[next - offset]) next++

      const literals = matchBegin - anchor
      const match = next - matchBegin - MATCH_MIN
      const room = 1 + lengthBytes(literals - 15) + literals + 2 + lengthBytes(match - 15)
      if (room > limit - at) {
        this.#at = -1
        return false
      }
      output[at++] = (Math.min(literals, 15) << 4) | Math.min(match, 15)
      if (literals >= 15) at = putLength(output, at, literals - 15)
      copyRange(input, anchor, matchBegin, output, at)
      at += literals
      output[at++] = offset
      output[at++] = offset >>> 8
      if (match >= 15) at = putLength(output, at, match - 15)

      anchor = next
      position = next
      if (position <= last) seen[hashOf(getI32(input, next - 2))] = next - 2 + shift
    }
    this.#at = at
    this.#anchor = anchor
    this.#position = position
    this.#misses = misses
    return true
  }

  /** Does the rest. Returns the offset behind the block, or -1. */
  finish(): number {
    if (!this.step(this.#end)) return -1
    const anchor = this.#anchor
    const literals = this.#end - anchor
    let at = this.#at
    if (1 + lengthBytes(literals - 15) + literals > this.#limit - at) return -1
    this.#output[at++] = Math.min(literals, 15) << 4
    if (literals >= 15) at = putLength(this.#output, at, literals - 15)
    copyRange(this.#input, anchor, this.#end, this.#output, at)
    return at + literals
  }
}

/**
 * Decompresses input[begin..end) to exactly output[at..limit). False if the input is not a block of
 * that length.
 */
export function lz4Decompress(
  input: Uint8Array,
  begin: number,
  end: number,
  output: Uint8Array,
  at: number,
  limit: number,
): boolean {
  const decoder = new Lz4Decoder(input, begin, end, output, at, limit)
  decoder.step(Infinity)
  return decoder.isWhole === true
}

/** Decompression in steps. */
export class Lz4Decoder {
  readonly #input: Uint8Array
  readonly #end: number
  readonly #output: Uint8Array
  readonly #first: number
  readonly #limit: number
  #from: number
  #at: number
  /** Whether the input was a block of that length; undefined: there is more of it. */
  isWhole: boolean | undefined

  constructor(
    input: Uint8Array,
    begin: number,
    end: number,
    output: Uint8Array,
    at: number,
    limit: number,
  ) {
    this.#input = input
    this.#end = end
    this.#output = output
    this.#first = at
    this.#limit = limit
    this.#from = begin
    this.#at = at
  }

  /** Goes on until about `stop` of the output. */
  step(stop: number): void {
    this.isWhole = this.#advance(stop)
  }

  #advance(stop: number): boolean | undefined {
    const input = this.#input
    const end = this.#end
    const output = this.#output
    const first = this.#first
    const limit = this.#limit
    let from = this.#from
    let at = this.#at
    while (from < end) {
      const token = input[from++]!
      let literals = token >>> 4
      if (literals === 15) {
        let more = 255
        while (more === 255) {
          if (from >= end || literals > limit - at) return false
          more = input[from++]!
          literals += more
        }
      }
      if (literals > end - from || literals > limit - at) return false
      copyRange(input, from, from + literals, output, at)
      from += literals
      at += literals
      if (from === end) return at === limit
      if (end - from < 2 || at > limit - MATCH_LIMIT) return false

      const offset = input[from]! | (input[from + 1]! << 8)
      from += 2
      if (offset === 0 || offset > at - first) return false
      let match = (token & 15) + MATCH_MIN
      if (match === 15 + MATCH_MIN) {
        let more = 255
        while (more === 255) {
          if (from >= end || match > limit - at) return false
          more = input[from++]!
          match += more
        }
      }
      if (match > limit - LAST_LITERALS - at) return false
      copyMatch(output, at - offset, at, match)
      at += match
      if (at >= stop) {
        this.#from = from
        this.#at = at
        return undefined
      }
    }
    return false
  }
}

/** Copies `length` bytes from `from` to `at`; where they overlap, bytes just written repeat. */
function copyMatch(output: Uint8Array, from: number, at: number, length: number): void {
  if (length <= 32) {
    for (let i = 0; i < length; i++) output[at + i] = output[from + i]!
    return
  }
  // Each round copies what is there and so doubles it.
  const end = at + length
  while (at < end) {
    const step = Math.min(at - from, end - at)
    output.copyWithin(at, from, from + step)
    at += step
  }
}
