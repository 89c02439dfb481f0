/**
 * Range tombstones that never change, sorted by start, and over them a tree that nothing is stored
 * for: the middle of a part is its root. Each root knows of its part the largest and the smallest
 * seqno and the end that reaches farthest, so that a search for the newest one over a key leaves
 * out what ends before it, what is too new for the read and what is older than one that was found.
 *
 * Keys are parts of one array, and all numbers lie in typed arrays: a table may have a million of
 * them.
 */

import { breath, runSync } from './flow.ts'
import type { Flow } from './flow.ts'
import type { RangeTombstone } from './range-tombstone.ts'
import { compareRanges } from './slice.ts'

/** Bytes that one takes besides its keys. */
export const RANGE_OVERHEAD_BYTES = 64

/** Parts of this size are summed up without a break. */
const BUILD_ITEMS = 4096

/** Where a search has to reach: behind a key, or to a bound. */
interface Reach {
  readonly bytes: Uint8Array
  readonly begin: number
  readonly end: number
  /** Whether an end that is equal suffices. */
  readonly mayEqual: boolean
}

/** Items whose keys are parts of `bytes`; an `endEnd` of 0 says that there is no upper end. */
export class RangeColumns {
  readonly bytes: Uint8Array
  readonly startBegin: Uint32Array
  readonly startEnd: Uint32Array
  readonly endBegin: Uint32Array
  readonly endEnd: Uint32Array
  readonly seqnos: Float64Array
  count = 0

  constructor(bytes: Uint8Array, capacity: number) {
    this.bytes = bytes
    this.startBegin = new Uint32Array(capacity)
    this.startEnd = new Uint32Array(capacity)
    this.endBegin = new Uint32Array(capacity)
    this.endEnd = new Uint32Array(capacity)
    this.seqnos = new Float64Array(capacity)
  }

  push(
    startBegin: number,
    startEnd: number,
    endBegin: number,
    endEnd: number,
    seqno: number,
  ): void {
    const at = this.count++
    this.startBegin[at] = startBegin
    this.startEnd[at] = startEnd
    this.endBegin[at] = endBegin
    this.endEnd[at] = endEnd
    this.seqnos[at] = seqno
  }

  /** In the order of a table: see `compareTombstones`. */
  compare(a: number, b: number): number {
    return this.compareWith(a, this, b)
  }

  compareWith(a: number, other: RangeColumns, b: number): number {
    const order = compareRanges(
      this.bytes,
      this.startBegin[a]!,
      this.startEnd[a]!,
      other.bytes,
      other.startBegin[b]!,
      other.startEnd[b]!,
    )
    return order || other.seqnos[b]! - this.seqnos[a]! || -this.compareEnds(a, other, b)
  }

  compareEnds(a: number, other: RangeColumns, b: number): number {
    if (this.endEnd[a] === 0) return other.endEnd[b] === 0 ? 0 : 1
    if (other.endEnd[b] === 0) return -1
    return compareRanges(
      this.bytes,
      this.endBegin[a]!,
      this.endEnd[a]!,
      other.bytes,
      other.endBegin[b]!,
      other.endEnd[b]!,
    )
  }
}

export class RangeIndex {
  readonly #columns: RangeColumns
  /** Of the part of which the item is the root. */
  readonly #highest: Float64Array
  readonly #lowest: Float64Array
  readonly #farthest: Uint32Array
  /** What the search at hand has found: a number and its seqno. */
  #found = -1
  #best = -1

  private constructor(columns: RangeColumns) {
    const { count } = columns
    this.#columns = columns
    this.#highest = new Float64Array(count)
    this.#lowest = new Float64Array(count)
    this.#farthest = new Uint32Array(count)
  }

  /** Of at least one item, in order. */
  static *open(columns: RangeColumns): Flow<RangeIndex> {
    const index = new RangeIndex(columns)
    yield* index.#sumUp(0, columns.count)
    return index
  }

  /** The same at once. */
  static of(tombstones: readonly RangeTombstone[]): RangeIndex {
    const length = tombstones.reduce(
      (sum, { start, end }) => sum + start.length + endLength(end),
      0,
    )
    const columns = new RangeColumns(new Uint8Array(length), tombstones.length)
    let at = 0
    for (const { start, end, seqno } of tombstones) {
      const startEnd = at + start.length
      columns.bytes.set(start, at)
      if (end !== undefined) columns.bytes.set(end, startEnd)
      const behind = startEnd + endLength(end)
      columns.push(at, startEnd, startEnd, end === undefined ? 0 : behind, seqno)
      at = behind
    }
    return runSync(RangeIndex.open(columns))
  }

  static merged(a: RangeIndex, b: RangeIndex): RangeIndex {
    const [x, y] = [a.#columns, b.#columns]
    const bytes = new Uint8Array(x.bytes.length + y.bytes.length)
    bytes.set(x.bytes)
    bytes.set(y.bytes, x.bytes.length)
    const columns = new RangeColumns(bytes, x.count + y.count)
    const take = (from: RangeColumns, i: number, shift: number): void => {
      const endEnd = from.endEnd[i]!
      columns.push(
        from.startBegin[i]! + shift,
        from.startEnd[i]! + shift,
        from.endBegin[i]! + shift,
        endEnd === 0 ? 0 : endEnd + shift,
        from.seqnos[i]!,
      )
    }
    let [i, j] = [0, 0]
    while (i < x.count || j < y.count) {
      const isFirst = j === y.count || (i < x.count && x.compareWith(i, y, j) <= 0)
      if (isFirst) take(x, i++, 0)
      else take(y, j++, x.bytes.length)
    }
    return runSync(RangeIndex.open(columns))
  }

  get count(): number {
    return this.#columns.count
  }

  get highestSeqno(): number {
    return this.#highest[this.#columns.count >>> 1]!
  }

  get lowestSeqno(): number {
    return this.#lowest[this.#columns.count >>> 1]!
  }

  /** The greatest end; undefined: one has none. */
  get farthestEnd(): Uint8Array | undefined {
    return this.end(this.#farthest[this.#columns.count >>> 1]!)
  }

  start(i: number): Uint8Array {
    const { bytes, startBegin, startEnd } = this.#columns
    return bytes.subarray(startBegin[i], startEnd[i])
  }

  end(i: number): Uint8Array | undefined {
    const { bytes, endBegin, endEnd } = this.#columns
    return endEnd[i] === 0 ? undefined : bytes.subarray(endBegin[i], endEnd[i])
  }

  seqno(i: number): number {
    return this.#columns.seqnos[i]!
  }

  at(i: number): RangeTombstone {
    return { start: this.start(i), end: this.end(i), seqno: this.seqno(i) }
  }

  /**
   * The number of the newest one over a key, of those with a seqno between `above` and `below`,
   * both exclusive; -1 if there is none.
   */
  covering(key: Uint8Array, begin: number, end: number, below: number, above = -1): number {
    const behind = this.behind(key, begin, end)
    return this.#find(behind, { bytes: key, begin, end, mayEqual: false }, below, above)
  }

  /**
   * The same of those that hold a whole range: keys from `first` to `last`, which `isInside` or is
   * not; undefined: without upper end.
   */
  containing(
    first: Uint8Array,
    last: Uint8Array | undefined,
    isInside: boolean,
    below: number,
  ): number {
    const behind = this.behind(first, 0, first.length)
    const reach = last && { bytes: last, begin: 0, end: last.length, mayEqual: !isInside }
    return this.#find(behind, reach, below, -1)
  }

  /** The number of the first one that starts behind a key. */
  behind(key: Uint8Array, begin: number, end: number): number {
    const { bytes, startBegin, startEnd, count } = this.#columns
    let low = 0
    let high = count
    while (low < high) {
      const middle = (low + high) >>> 1
      const order = compareRanges(bytes, startBegin[middle]!, startEnd[middle]!, key, begin, end)
      if (order <= 0) low = middle + 1
      else high = middle
    }
    return low
  }

  #find(behind: number, reach: Reach | undefined, below: number, above: number): number {
    this.#found = -1
    this.#best = above
    this.#search(0, this.#columns.count, behind, reach, below)
    return this.#found
  }

  /** Of the items from `low` to `high` those before `behind`. */
  #search(
    low: number,
    high: number,
    behind: number,
    reach: Reach | undefined,
    below: number,
  ): void {
    while (low < high && low < behind) {
      const middle = (low + high) >>> 1
      if (this.#highest[middle]! <= this.#best || this.#lowest[middle]! >= below) return
      if (!this.#reaches(this.#farthest[middle]!, reach)) return
      if (middle >= behind) {
        high = middle
        continue
      }
      const seqno = this.#columns.seqnos[middle]!
      if (seqno > this.#best && seqno < below && this.#reaches(middle, reach)) {
        this.#best = seqno
        this.#found = middle
      }
      // The half with the newer ones first: it may make the other one needless.
      if (this.#highestOf(low, middle) > this.#highestOf(middle + 1, high)) {
        this.#search(low, middle, behind, reach, below)
        low = middle + 1
      } else {
        this.#search(middle + 1, high, behind, reach, below)
        high = middle
      }
    }
  }

  #highestOf(low: number, high: number): number {
    return low < high ? this.#highest[(low + high) >>> 1]! : -1
  }

  #reaches(i: number, reach: Reach | undefined): boolean {
    const { bytes, endBegin, endEnd } = this.#columns
    if (endEnd[i] === 0) return true
    if (reach === undefined) return false
    const order = compareRanges(
      bytes,
      endBegin[i]!,
      endEnd[i]!,
      reach.bytes,
      reach.begin,
      reach.end,
    )
    return reach.mayEqual ? order >= 0 : order > 0
  }

  *#sumUp(low: number, high: number): Flow<void> {
    if (low >= high) return
    if (high - low <= BUILD_ITEMS) {
      this.#sumUpNow(low, high)
      return
    }
    const middle = (low + high) >>> 1
    yield* this.#sumUp(low, middle)
    yield* this.#sumUp(middle + 1, high)
    yield* breath
    this.#join(low, middle, high)
  }

  #sumUpNow(low: number, high: number): void {
    if (low >= high) return
    const middle = (low + high) >>> 1
    this.#sumUpNow(low, middle)
    this.#sumUpNow(middle + 1, high)
    this.#join(low, middle, high)
  }

  /** What a root knows, from its two halves. */
  #join(low: number, middle: number, high: number): void {
    const columns = this.#columns
    let highest = columns.seqnos[middle]!
    let lowest = highest
    let farthest = middle
    for (const root of [(low + middle) >>> 1, (middle + 1 + high) >>> 1]) {
      if (root === middle || root === high) continue
      highest = Math.max(highest, this.#highest[root]!)
      lowest = Math.min(lowest, this.#lowest[root]!)
      if (columns.compareEnds(this.#farthest[root]!, columns, farthest) > 0) {
        farthest = this.#farthest[root]!
      }
    }
    this.#highest[middle] = highest
    this.#lowest[middle] = lowest
    this.#farthest[middle] = farthest
  }
}

function endLength(end: Uint8Array | undefined): number {
  return end === undefined ? 0 : end.length
}
