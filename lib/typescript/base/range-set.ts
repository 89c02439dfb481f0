/**
 * Range tombstones that grow in number: sorted parts whose sizes double, so that one more costs a
 * few steps in the mean, and a search looks at each part. What came last lies in a short list.
 */

import { RANGE_OVERHEAD_BYTES, RangeIndex } from './range-index.ts'
import { compareTombstones } from './range-tombstone.ts'
import type { RangeTombstone } from './range-tombstone.ts'
import { compareBytes, compareRanges, copyOf } from './slice.ts'

const RECENT_MAX = 16

export class RangeSet {
  /** The largest first; each is more than the one behind it. */
  readonly #parts: RangeIndex[] = []
  #recent: RangeTombstone[] = []
  count = 0
  /** Of memory. */
  bytes = 0

  /** Copies the keys. */
  add({ start, end, seqno }: RangeTombstone): void {
    this.#recent.push({ start: copyOf(start), end: end && copyOf(end), seqno })
    this.count++
    this.bytes += start.length + (end?.length ?? 0) + RANGE_OVERHEAD_BYTES
    if (this.#recent.length < RECENT_MAX) return
    let part = RangeIndex.of(this.#recent.toSorted(compareTombstones))
    this.#recent = []
    for (let last = this.#parts.at(-1); last !== undefined; last = this.#parts.at(-1)) {
      if (last.count > part.count) break
      part = RangeIndex.merged(last, part)
      this.#parts.pop()
    }
    this.#parts.push(part)
  }

  /** The seqno of the newest one over a key that a read sees; -1 if there is none. */
  seqnoOver(key: Uint8Array, begin: number, end: number, readSeqno: number): number {
    let best = -1
    for (const { start, end: upper, seqno } of this.#recent) {
      if (seqno > best && seqno < readSeqno && covers(start, upper, key, begin, end)) best = seqno
    }
    for (let i = this.#parts.length - 1; i >= 0; i--) {
      const part = this.#parts[i]!
      const found = part.covering(key, begin, end, readSeqno, best)
      if (found >= 0) best = part.seqno(found)
    }
    return best
  }

  covering(
    key: Uint8Array,
    begin: number,
    end: number,
    readSeqno: number,
  ): RangeTombstone | undefined {
    let best: RangeTombstone | undefined
    for (const one of this.#recent) {
      const isNewer = one.seqno > (best?.seqno ?? -1) && one.seqno < readSeqno
      if (isNewer && covers(one.start, one.end, key, begin, end)) best = one
    }
    for (let i = this.#parts.length - 1; i >= 0; i--) {
      const part = this.#parts[i]!
      const found = part.covering(key, begin, end, readSeqno, best?.seqno)
      if (found >= 0) best = part.at(found)
    }
    return best
  }

  /** Where the next one starts behind a key; undefined: none does. */
  startBehind(key: Uint8Array, begin: number, end: number): Uint8Array | undefined {
    let next: Uint8Array | undefined
    for (const { start } of this.#recent) {
      if (compareRanges(start, 0, start.length, key, begin, end) > 0) next = least(next, start)
    }
    for (const part of this.#parts) {
      const i = part.behind(key, begin, end)
      if (i < part.count) next = least(next, part.start(i))
    }
    return next
  }

  /** All of them: indexes that do not change, whatever is added. */
  indexes(): readonly RangeIndex[] {
    if (this.#recent.length === 0) return [...this.#parts]
    return [...this.#parts, RangeIndex.of(this.#recent.toSorted(compareTombstones))]
  }
}

export function covers(
  start: Uint8Array,
  upper: Uint8Array | undefined,
  key: Uint8Array,
  begin: number,
  end: number,
): boolean {
  return (
    compareRanges(start, 0, start.length, key, begin, end) <= 0 &&
    (upper === undefined || compareRanges(upper, 0, upper.length, key, begin, end) > 0)
  )
}

function least(a: Uint8Array | undefined, b: Uint8Array): Uint8Array {
  return a === undefined || compareBytes(b, a) < 0 ? b : a
}
