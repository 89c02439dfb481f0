/**
 * A filter: a Bloom filter whose probes for one key lie in one line of 512 bits, so that a test
 * touches one cache line; docs/format.md, section 8.4.
 */

import { getU16, getU32, putU32 } from '../base/coding.ts'
import { breath } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { corruption } from '../base/status.ts'

const LINE_BYTES = 64
const FOOTER_BYTES = 16
const BLOCKED_BLOOM = 1
const PROBES_MAX = 24
const GOLDEN = 0x9e3779b9
const TWO_32 = 2 ** 32

export class FilterBlock {
  readonly bytes: Uint8Array
  readonly keyCount: number
  readonly #lineCount: number
  readonly #probes: number

  constructor(bytes: Uint8Array) {
    const footerAt = bytes.length - FOOTER_BYTES
    if (footerAt < LINE_BYTES) throw corruption('a filter is too short')
    this.bytes = bytes
    this.#lineCount = getU32(bytes, footerAt)
    this.keyCount = getU32(bytes, footerAt + 4)
    this.#probes = bytes[footerAt + 9]!
    if (
      this.#lineCount * LINE_BYTES !== footerAt ||
      bytes[footerAt + 8]! !== BLOCKED_BLOOM ||
      this.#probes < 1 ||
      this.#probes > PROBES_MAX ||
      getU16(bytes, footerAt + 10) !== 0
    ) {
      throw corruption('the footer of a filter contradicts it')
    }
  }

  /** False: no key with this hash is in the table. */
  mayContain(low: number, high: number): boolean {
    const { bytes } = this
    const line = Math.floor(((high >>> 0) * this.#lineCount) / TWO_32) * LINE_BYTES
    let x = low
    for (let i = this.#probes; i > 0; i--) {
      const bit = x >>> 23
      if ((bytes[line + (bit >>> 3)]! & (1 << (bit & 7))) === 0) return false
      x = Math.imul(x, GOLDEN)
    }
    return true
  }
}

/** Enters this many keys between two breaths. */
const KEYS_PER_BREATH = 4096

/** Collects the hashes of distinct keys and builds filters of them. */
export class FilterBuilder {
  readonly #bitsPerKey: number
  /** Two halves a key: low, high. */
  #hashes = new Uint32Array(1024)
  count = 0
  /** The filter, and how many keys it has already. */
  #bytes: Uint8Array | undefined
  #entered = 0

  constructor(bitsPerKey: number) {
    this.#bitsPerKey = bitsPerKey
  }

  get #lineCount(): number {
    return Math.max(1, Math.ceil((this.count * this.#bitsPerKey) / (8 * LINE_BYTES)))
  }

  /** Bytes of a filter over what was collected. */
  get pendingBytes(): number {
    return this.count === 0 ? 0 : this.#lineCount * LINE_BYTES + FOOTER_BYTES
  }

  add(low: number, high: number): void {
    if (2 * this.count === this.#hashes.length) {
      const larger = new Uint32Array(4 * this.count)
      larger.set(this.#hashes)
      this.#hashes = larger
    }
    this.#hashes[2 * this.count] = low
    this.#hashes[2 * this.count + 1] = high
    this.count++
  }

  /** Does the work of `finish` in slices; nothing is added behind it. */
  *fill(): Flow<void> {
    while (this.#entered < this.count) {
      this.#enter(Math.min(this.count, this.#entered + KEYS_PER_BREATH))
      yield* breath
    }
  }

  /** The raw bytes of a filter over the keys, at least one; then the next one is begun. */
  finish(): Uint8Array {
    this.#enter(this.count)
    const bytes = this.#bytes!
    const footerAt = bytes.length - FOOTER_BYTES
    putU32(bytes, footerAt, this.#lineCount)
    putU32(bytes, footerAt + 4, this.count)
    bytes[footerAt + 8] = BLOCKED_BLOOM
    bytes[footerAt + 9] = probesFor(this.#bitsPerKey)
    putU32(bytes, footerAt + 12, Math.round(this.#bitsPerKey * 1000))
    this.#bytes = undefined
    this.#entered = 0
    this.count = 0
    return bytes
  }

  /** Sets the bits of the keys up to number `to`. */
  #enter(to: number): void {
    const lineCount = this.#lineCount
    const bytes = (this.#bytes ??= new Uint8Array(lineCount * LINE_BYTES + FOOTER_BYTES))
    const hashes = this.#hashes
    const probes = probesFor(this.#bitsPerKey)
    for (let i = 2 * this.#entered; i < 2 * to; i += 2) {
      const line = Math.floor((hashes[i + 1]! * lineCount) / TWO_32) * LINE_BYTES
      let x = hashes[i]!
      for (let probe = 0; probe < probes; probe++) {
        const bit = x >>> 23
        bytes[line + (bit >>> 3)]! |= 1 << (bit & 7)
        x = Math.imul(x, GOLDEN)
      }
    }
    this.#entered = to
  }
}

function probesFor(bitsPerKey: number): number {
  return Math.min(PROBES_MAX, Math.max(1, Math.floor(bitsPerKey * 0.69 + 0.5)))
}
