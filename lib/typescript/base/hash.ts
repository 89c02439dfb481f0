/**
 * The hash of user keys: XXH64 with seed 0.
 *
 * A 64-bit word is two 32-bit halves. `low` and `high` are the only state that operations work on:
 * an accumulator, like a register of a machine with one. Products are put together from 16-bit
 * parts, since Math.imul gives the low half only.
 */

import { getI32 } from './coding.ts'

const P1_HIGH = 0x9e3779b1 | 0
const P1_LOW = 0x85ebca87 | 0
const P2_HIGH = 0xc2b2ae3d | 0
const P2_LOW = 0x27d4eb4f | 0
const P3_HIGH = 0x165667b1 | 0
const P3_LOW = 0x9e3779f9 | 0
const P4_HIGH = 0x85ebca77 | 0
const P4_LOW = 0xc2b2ae63 | 0
const P5_HIGH = 0x27d4eb2f | 0
const P5_LOW = 0x165667c5 | 0

/** High half of the product of two 32-bit numbers, all of them unsigned in signed clothes. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const middle = (Math.imul(aHigh, bLow) + (Math.imul(aLow, bLow) >>> 16)) | 0
  const other = (Math.imul(aLow, bHigh) + (middle & 0xffff)) | 0
  return (Math.imul(aHigh, bHigh) + (middle >>> 16) + (other >>> 16)) | 0
}

/**
 * `hash.of(bytes, begin, end)`, then `hash.low` and `hash.high`. One object serves many keys.
 * The halves are signed, because such numbers need no box; `>>> 0` makes them unsigned.
 */
export class KeyHash {
  low = 0
  high = 0
  /** The four lanes of long keys: low and high halves. */
  readonly #lanes = new Int32Array(8)

  of(bytes: Uint8Array, begin: number, end: number): this {
    const length = end - begin
    let at = begin
    if (length >= 32) {
      at = this.#stripes(bytes, begin, end)
      this.#mergeLanes()
    } else {
      this.low = P5_LOW
      this.high = P5_HIGH
    }
    this.#add(length, 0)
    for (; at + 8 <= end; at += 8) this.#eat8(getI32(bytes, at), getI32(bytes, at + 4))
    if (at + 4 <= end) {
      this.#eat4(getI32(bytes, at))
      at += 4
    }
    for (; at < end; at++) this.#eat1(bytes[at]!)
    this.#avalanche()
    return this
  }

  #add(low: number, high: number): void {
    const sum = (this.low + low) | 0
    const carry = sum >>> 0 < low >>> 0 ? 1 : 0
    this.low = sum
    this.high = (this.high + high + carry) | 0
  }

  #multiply(low: number, high: number): void {
    const a = this.low
    const carried = multiplyHigh(a, low)
    this.high = (carried + Math.imul(a, high) + Math.imul(this.high, low)) | 0
    this.low = Math.imul(a, low)
  }

  /** By 1 to 31 bits to the left. */
  #rotate(bits: number): void {
    const { low, high } = this
    this.low = (low << bits) | (high >>> (32 - bits))
    this.high = (high << bits) | (low >>> (32 - bits))
  }

  /** XORs the word shifted to the right by `bits` (below 32) into itself. */
  #foldRight(bits: number): void {
    const { low, high } = this
    this.low = low ^ ((low >>> bits) | (high << (32 - bits)))
    this.high = high ^ (high >>> bits)
  }

  /** The round of a lane: (accumulator + word * P2) rotated by 31, times P1. */
  #round(laneLow: number, laneHigh: number, wordLow: number, wordHigh: number): void {
    this.low = wordLow
    this.high = wordHigh
    this.#multiply(P2_LOW, P2_HIGH)
    this.#add(laneLow, laneHigh)
    this.#rotate(31)
    this.#multiply(P1_LOW, P1_HIGH)
  }

  /** 32 bytes a step; returns where the rest begins. */
  #stripes(bytes: Uint8Array, begin: number, end: number): number {
    const lanes = this.#lanes
    this.low = P1_LOW
    this.high = P1_HIGH
    this.#add(P2_LOW, P2_HIGH)
    lanes[0] = this.low
    lanes[1] = this.high
    lanes[2] = P2_LOW
    lanes[3] = P2_HIGH
    lanes[4] = 0
    lanes[5] = 0
    lanes[6] = -P1_LOW
    lanes[7] = ~P1_HIGH
    let at = begin
    for (; at + 32 <= end; at += 32) {
      for (let lane = 0; lane < 4; lane++) {
        const from = at + 8 * lane
        this.#round(
          lanes[2 * lane]!,
          lanes[2 * lane + 1]!,
          getI32(bytes, from),
          getI32(bytes, from + 4),
        )
        lanes[2 * lane] = this.low
        lanes[2 * lane + 1] = this.high
      }
    }
    return at
  }

  #mergeLanes(): void {
    const lanes = this.#lanes
    let low = 0
    let high = 0
    for (let lane = 0; lane < 4; lane++) {
      this.low = lanes[2 * lane]!
      this.high = lanes[2 * lane + 1]!
      this.#rotate(LANE_TURNS[lane]!)
      this.#add(low, high)
      low = this.low
      high = this.high
    }
    for (let lane = 0; lane < 4; lane++) {
      this.#round(0, 0, lanes[2 * lane]!, lanes[2 * lane + 1]!)
      this.low ^= low
      this.high ^= high
      this.#multiply(P1_LOW, P1_HIGH)
      this.#add(P4_LOW, P4_HIGH)
      low = this.low
      high = this.high
    }
  }

  #eat8(wordLow: number, wordHigh: number): void {
    const { low, high } = this
    this.#round(0, 0, wordLow, wordHigh)
    this.low ^= low
    this.high ^= high
    this.#rotate(27)
    this.#multiply(P1_LOW, P1_HIGH)
    this.#add(P4_LOW, P4_HIGH)
  }

  #eat4(value: number): void {
    const { low, high } = this
    this.low = value
    this.high = 0
    this.#multiply(P1_LOW, P1_HIGH)
    this.low ^= low
    this.high ^= high
    this.#rotate(23)
    this.#multiply(P2_LOW, P2_HIGH)
    this.#add(P3_LOW, P3_HIGH)
  }

  #eat1(byte: number): void {
    const { low, high } = this
    this.low = byte
    this.high = 0
    this.#multiply(P5_LOW, P5_HIGH)
    this.low ^= low
    this.high ^= high
    this.#rotate(11)
    this.#multiply(P1_LOW, P1_HIGH)
  }

  #avalanche(): void {
    this.low ^= this.high >>> 1
    this.#multiply(P2_LOW, P2_HIGH)
    this.#foldRight(29)
    this.#multiply(P3_LOW, P3_HIGH)
    this.low ^= this.high
  }
}

const LANE_TURNS: readonly number[] = [1, 7, 12, 18]
