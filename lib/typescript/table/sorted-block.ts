/**
 * What data blocks and index blocks have in common: sorted entries whose keys are stored as what
 * they share with the key of their restart head and the rest.
 *
 * A block is checked once, when it is opened; after that it is read without looking twice. The
 * check notes where each entry begins, so entry i is found at once, from both ends; the first
 * search, or in a large block the check, adds the *head* of every key: its six bytes behind what
 * all keys of the block share, as one number. A search then compares numbers that lie side by side
 * and looks at a key where two of them are equal.
 */

import { getU16, getU32 } from '../base/coding.ts'
import { breath } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { KEY_BYTES_MAX } from '../base/limits.ts'
import { compareRanges, copyRange } from '../base/slice.ts'
import { corruption } from '../base/status.ts'
import { BLOCK_FOOTER_BYTES } from './table-format.ts'

const HEAD_BYTES = 6
const WIDE_RESTARTS = 1
const HASHED_RESTARTS_MAX = 254
export const BUCKET_CONFLICT = 254
export const BUCKET_FREE = 255

/** The entry that was decoded last: offsets in the block's bytes. */
export class BlockEntry {
  /** Bytes of the restart head's key that come before the rest. */
  shared = 0
  restBegin = 0
  restEnd = 0
  seqno = 0
  /** Data blocks. */
  kind = 0
  valueBegin = 0
  valueEnd = 0
  /** Index blocks. */
  offset = 0
  length = 0
  /** Where the entry is read. */
  at = 0

  /** The next number; the bytes were checked. */
  varint(bytes: Uint8Array): number {
    let byte = bytes[this.at++]!
    if (byte < 0x80) return byte
    let value = byte & 0x7f
    for (let scale = 0x80; ; scale *= 0x80) {
      byte = bytes[this.at++]!
      value += (byte & 0x7f) * scale
      if (byte < 0x80) return value
    }
  }
}

/** Entries that are checked between two turns of the event loop. */
const ENTRIES_PER_BREATH = 2048

/** One serves all searches: they do not nest. */
const probe = new BlockEntry()
/** Two keys that are compared. */
let current = new Uint8Array(KEY_BYTES_MAX)
let before = new Uint8Array(KEY_BYTES_MAX)

export abstract class SortedBlock {
  readonly bytes: Uint8Array
  readonly count: number
  readonly interval: number
  readonly bucketCount: number
  /** Where the restart offsets begin, that is where the entries end. */
  readonly restartsAt: number
  readonly bucketsAt: number
  readonly #wide: boolean
  readonly #starts: Uint32Array
  /** Bytes that all keys begin with. */
  #prefix = 0
  #heads: Float64Array | undefined

  /** To be checked before it is used; `mayBeEmpty`: it may be without entries. */
  protected constructor(bytes: Uint8Array, mayBeEmpty: boolean) {
    const footerAt = bytes.length - BLOCK_FOOTER_BYTES
    if (footerAt < 0) throw corruption('a block is too short')
    this.bytes = bytes
    this.count = getU32(bytes, footerAt)
    const restarts = getU32(bytes, footerAt + 4)
    this.bucketCount = getU16(bytes, footerAt + 8)
    this.interval = bytes[footerAt + 10]!
    const flags = bytes[footerAt + 11]!
    this.#wide = (flags & WIDE_RESTARTS) !== 0
    this.bucketsAt = footerAt - this.bucketCount
    this.restartsAt = this.bucketsAt - restarts * (this.#wide ? 4 : 2)
    if (
      (flags & ~WIDE_RESTARTS) !== 0 ||
      this.interval === 0 ||
      restarts !== Math.ceil(this.count / this.interval) ||
      (this.bucketCount > 0 && restarts > HASHED_RESTARTS_MAX) ||
      (this.count === 0 && !mayBeEmpty) ||
      this.restartsAt < 0 ||
      this.count * this.leastEntryBytes() > this.restartsAt
    ) {
      throw corruption('the footer of a block contradicts it')
    }
    this.#starts = new Uint32Array(this.count)
  }

  /** Bytes of memory beyond the block's own. */
  get overhead(): number {
    return this.count * 12
  }

  abstract leastEntryBytes(): number

  /**
   * Decodes and checks the entry at `entry.at`, which must end at or before `limit`, and leaves
   * `entry.at` behind it.
   */
  abstract checkEntry(entry: BlockEntry, limit: number): void

  /** Decodes entry i. */
  abstract decode(i: number, entry: BlockEntry): void

  startOf(i: number): number {
    return this.#starts[i]!
  }

  /** Where the key of entry i's restart head begins in the bytes. */
  headKeyAt(i: number): number {
    const entry = headEntry
    this.decode(i - (i % this.interval), entry)
    return entry.restBegin
  }

  /** Copies the key of a decoded entry i to `target`; returns its length. */
  copyKey(i: number, entry: BlockEntry, target: Uint8Array): number {
    const { shared, restBegin, restEnd } = entry
    if (shared > 0) {
      const head = this.headKeyAt(i)
      copyRange(this.bytes, head, head + shared, target, 0)
    }
    copyRange(this.bytes, restBegin, restEnd, target, shared)
    return shared + restEnd - restBegin
  }

  /** The first entry that is not before (key, seqno); `count` if there is none. */
  seek(key: Uint8Array, begin: number, end: number, seqno: number): number {
    const heads = (this.#heads ??= this.#makeHeads())
    if (this.count === 0) return 0
    const order = this.#compareToPrefix(key, begin, end)
    if (order !== 0) return order < 0 ? 0 : this.count
    const head = headOf(key, begin + this.#prefix, end)
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = heads[middle]!
      const isBefore =
        other < head || (other === head && this.#compareEntry(middle, key, begin, end, seqno) < 0)
      if (isBefore) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Whether entry i, which was decoded, has the key. */
  hasKey(i: number, entry: BlockEntry, key: Uint8Array, begin: number, end: number): boolean {
    const { shared, restBegin, restEnd } = entry
    if (shared + restEnd - restBegin !== end - begin) return false
    return this.#compareKey(i, entry, key, begin, end) === 0
  }

  #compareEntry(i: number, key: Uint8Array, begin: number, end: number, seqno: number): number {
    this.decode(i, probe)
    return this.#compareKey(i, probe, key, begin, end) || seqno - probe.seqno
  }

  #compareKey(i: number, entry: BlockEntry, key: Uint8Array, begin: number, end: number): number {
    const { bytes } = this
    const { shared, restBegin, restEnd } = entry
    if (shared > 0) {
      const head = this.headKeyAt(i)
      const split = Math.min(begin + shared, end)
      const order = compareRanges(bytes, head, head + shared, key, begin, split)
      if (order !== 0) return order
    }
    return compareRanges(bytes, restBegin, restEnd, key, begin + shared, end)
  }

  #compareToPrefix(key: Uint8Array, begin: number, end: number): number {
    const first = this.headKeyAt(0)
    const split = Math.min(end, begin + this.#prefix)
    return compareRanges(key, begin, split, this.bytes, first, first + this.#prefix)
  }

  #makeHeads(): Float64Array {
    const heads = new Float64Array(this.count)
    this.#fillHeads(heads, 0, this.count)
    return heads
  }

  #fillHeads(heads: Float64Array, first: number, end: number): void {
    for (let i = first; i < end; i++) {
      this.decode(i, probe)
      const length = this.copyKey(i, probe, current)
      heads[i] = headOf(current, this.#prefix, length)
    }
  }

  /** Checks the whole block. */
  protected *check(): Flow<void> {
    const { bytes, count, interval } = this
    // Pieces begin with restart heads.
    const piece = ENTRIES_PER_BREATH - (ENTRIES_PER_BREATH % interval)
    let end = 0
    for (let i = 0; i < count; i += piece) {
      if (i > 0) yield* breath
      end = this.#checkEntries(i, Math.min(count, i + piece), end)
    }
    if (end !== this.restartsAt) throw corruption('a block has bytes that belong to nothing')
    for (let at = this.bucketsAt; at < this.bucketsAt + this.bucketCount; at++) {
      const bucket = bytes[at]!
      if (bucket < BUCKET_CONFLICT && bucket >= Math.ceil(count / interval)) {
        throw corruption('a bucket of a block points to nothing')
      }
    }
    if (count > 0) this.#prefix = this.#sharedPrefix()
    if (count > ENTRIES_PER_BREATH) yield* this.#makeHeadsInPieces()
  }

  /** A search must not wait for anything, so it finds them made where there are many. */
  *#makeHeadsInPieces(): Flow<void> {
    const heads = new Float64Array(this.count)
    for (let i = 0; i < this.count; i += ENTRIES_PER_BREATH) {
      yield* breath
      this.#fillHeads(heads, i, Math.min(this.count, i + ENTRIES_PER_BREATH))
    }
    this.#heads = heads
  }

  /** The first one begins at `at`; returns where the last one ends. */
  #checkEntries(first: number, end: number, at: number): number {
    const { bytes, interval, restartsAt } = this
    const entry = probe
    let beforeLength = 0
    let beforeSeqno = 0
    if (first > 0) {
      // Others may have checked their entries meanwhile.
      this.decode(first - 1, entry)
      beforeLength = this.copyKey(first - 1, entry, before)
      beforeSeqno = entry.seqno
    }
    entry.at = at
    let headAt = 0
    let headLength = 0
    for (let i = first; i < end; i++) {
      const begin = entry.at
      this.#starts[i] = begin
      this.checkEntry(entry, restartsAt)
      const { shared, restBegin, restEnd } = entry
      const length = shared + restEnd - restBegin
      if (i % interval === 0) {
        if (shared !== 0 || this.#restart(i / interval) !== begin) {
          throw corruption('a restart of a block is not where it should be')
        }
        headAt = restBegin
        headLength = length
      }
      if (shared > headLength || length < 1 || length > KEY_BYTES_MAX) {
        throw corruption('a key of a block has a wrong length')
      }
      copyRange(bytes, headAt, headAt + shared, current, 0)
      copyRange(bytes, restBegin, restEnd, current, shared)
      const order = i === 0 ? 1 : compareRanges(current, 0, length, before, 0, beforeLength)
      if (order < 0 || (order === 0 && entry.seqno >= beforeSeqno)) {
        throw corruption('entries of a block are out of order')
      }
      ;[current, before] = [before, current]
      beforeLength = length
      beforeSeqno = entry.seqno
    }
    return entry.at
  }

  /** Bytes that the first key has in common with the last one. */
  #sharedPrefix(): number {
    this.decode(this.count - 1, probe)
    const length = this.copyKey(this.count - 1, probe, current)
    this.decode(0, probe)
    const { restBegin, restEnd } = probe
    const limit = Math.min(length, restEnd - restBegin)
    let shared = 0
    while (shared < limit && this.bytes[restBegin + shared] === current[shared]) shared++
    return shared
  }

  #restart(j: number): number {
    return this.#wide
      ? getU32(this.bytes, this.restartsAt + 4 * j)
      : getU16(this.bytes, this.restartsAt + 2 * j)
  }
}

const headEntry = new BlockEntry()

/** Up to six bytes of [begin, end) as a number, missing ones as zeros. */
function headOf(bytes: Uint8Array, begin: number, end: number): number {
  let head = 0
  for (let i = begin; i < begin + HEAD_BYTES; i++) head = head * 256 + (i < end ? bytes[i]! : 0)
  return head
}
