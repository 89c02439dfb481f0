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
/** Where four bytes with this hash were seen last, plus `base` of that call. */
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
  const length = end - begin
  if (base + length >= 0x7fffffff) {
    seen.fill(0)
    base = 1
  }
  // A position p is filed as p + shift.
  const shift = base - begin
  base += length
  const matchBeginEnd = end - MATCH_LIMIT
  const matchEnd = end - LAST_LITERALS
  let anchor = begin
  let position = begin
  let misses = 0
  while (position <= matchBeginEnd) {
    const four = getI32(input, position)
    const slot = hashOf(four)
    const candidate = seen[slot]! - shift
    seen[slot] = position + shift
    if (
      candidate < begin ||
      position - candidate > OFFSET_MAX ||
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
    const offset = matchBegin - from
    let next = position + MATCH_MIN
    while (next < matchEnd && input[next] === input[next - offset]) next++

    const literals = matchBegin - anchor
    const match = next - matchBegin - MATCH_MIN
    const room = 1 + lengthBytes(literals - 15) + literals + 2 + lengthBytes(match - 15)
    if (room > limit - at) return -1
    output[at++] = (Math.min(literals, 15) << 4) | Math.min(match, 15)
    if (literals >= 15) at = putLength(output, at, literals - 15)
    copyRange(input, anchor, matchBegin, output, at)
    at += literals
    output[at++] = offset
    output[at++] = offset >>> 8
    if (match >= 15) at = putLength(output, at, match - 15)

    anchor = next
    position = next
    if (position <= matchBeginEnd) seen[hashOf(getI32(input, next - 2))] = next - 2 + shift
  }
  const literals = end - anchor
  if (1 + lengthBytes(literals - 15) + literals > limit - at) return -1
  output[at++] = Math.min(literals, 15) << 4
  if (literals >= 15) at = putLength(output, at, literals - 15)
  copyRange(input, anchor, end, output, at)
  return at + literals
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
  const first = at
  let from = begin
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
  }
  return false
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
