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

/** Keys that are entered between two turns of the event loop; their hashes are kept together. */
const CHUNK_KEYS = 1024

/** Collects the hashes of distinct keys and builds a filter of them. */
export class FilterBuilder {
  readonly #bitsPerKey: number
  /** Two halves a key: low, high. */
  readonly #chunks: Uint32Array[] = []
  #chunk = new Uint32Array(0)
  count = 0

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
    const at = this.count++ % CHUNK_KEYS
    if (at === 0) {
      this.#chunk = new Uint32Array(2 * CHUNK_KEYS)
      this.#chunks.push(this.#chunk)
    }
    this.#chunk[2 * at] = low
    this.#chunk[2 * at + 1] = high
  }

  /** The raw bytes of a filter over the keys, at least one. */
  *build(): Flow<Uint8Array> {
    const lineCount = this.#lineCount
    const bytes = new Uint8Array(lineCount * LINE_BYTES + FOOTER_BYTES)
    const probes = probesFor(this.#bitsPerKey)
    let left = this.count
    for (const chunk of this.#chunks) {
      enter(chunk, Math.min(left, CHUNK_KEYS), bytes, lineCount, probes)
      left -= CHUNK_KEYS
      if (left > 0) yield* breath
    }
    const footerAt = bytes.length - FOOTER_BYTES
    putU32(bytes, footerAt, lineCount)
    putU32(bytes, footerAt + 4, this.count)
    bytes[footerAt + 8] = BLOCKED_BLOOM
    bytes[footerAt + 9] = probes
    putU32(bytes, footerAt + 12, Math.round(this.#bitsPerKey * 1000))
    return bytes
  }
}

/** Sets the bits of the first `count` keys of a chunk. */
function enter(
  hashes: Uint32Array,
  count: number,
  bytes: Uint8Array,
  lineCount: number,
  probes: number,
): void {
  for (let i = 0; i < 2 * count; i += 2) {
    const line = Math.floor((hashes[i + 1]! * lineCount) / TWO_32) * LINE_BYTES
    let x = hashes[i]!
    for (let probe = 0; probe < probes; probe++) {
      const bit = x >>> 23
      bytes[line + (bit >>> 3)]! |= 1 << (bit & 7)
      x = Math.imul(x, GOLDEN)
    }
  }
}

function probesFor(bitsPerKey: number): number {
  return Math.min(PROBES_MAX, Math.max(1, Math.floor(bitsPerKey * 0.69 + 0.5)))
}
