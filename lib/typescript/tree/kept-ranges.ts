/**
 * The range tombstones of a flush or a compaction: what they hide from it, and what is left of
 * them.
 *
 * In one stratum no reader can tell two seqnos apart, so of several range tombstones over a key
 * only the newest one matters. What is left of a stratum is one line of pieces that do not meet,
 * each with the largest seqno; neighbours that are equal are one piece. What is not visible yet is
 * kept as it is.
 */

import type { Flow, Slice } from '../base/flow.ts'
import { Heap } from '../base/heap.ts'
import { highestOf } from '../base/numbers.ts'
import type { RangeIndex } from '../base/range-index.ts'
import { compareEnds, compareTombstones } from '../base/range-tombstone.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { compareBytes, compareRanges } from '../base/slice.ts'
import type { Memtable } from '../memtable/memtable.ts'
import { stratumOf } from './retention.ts'
import type { RetentionView } from './retention.ts'
import type { Table } from './table.ts'

/** Range tombstones of one memtable or table. */
export interface RangeSource {
  readonly ranges: RangeIndex
  /** Added to every seqno. */
  readonly globalSeqno: number
}

/** Of one memtable. */
export function rangesOfMemtable({ ranges }: Memtable): RangeSource[] {
  if (ranges === undefined) return []
  return ranges.indexes().map((index) => ({ ranges: index, globalSeqno: 0 }))
}

/** Of one table. */
export function rangesOfTable({ shared: { reader } }: Table): RangeSource[] {
  const { rangeTombstones: ranges, globalSeqno } = reader
  return ranges === undefined ? [] : [{ ranges, globalSeqno }]
}

/** The highest seqno of a range tombstone; -1 if there is none. */
export function highestRange(tables: readonly Table[]): number {
  const sources = tables.flatMap(rangesOfTable)
  return highestOf(
    sources.map(({ ranges, globalSeqno }) => ranges.highestSeqno + globalSeqno),
    -1,
  )
}

/** Whether something that is no input, below the output, may be hidden by a range tombstone. */
export type MayHideBelow = (range: RangeTombstone) => boolean

/** Range tombstones between two looks at the clock. */
const RANGES_PER_LOOK = 32

interface Piece extends RangeTombstone {
  end: Uint8Array | undefined
}

/** Makes one line of what comes ordered by start. */
class Line {
  readonly pieces: Piece[] = []
  /** Newest first; some have ended. */
  readonly #open = new Heap<RangeTombstone>((a, b) => b.seqno - a.seqno)
  /** The line is made up to here; undefined: to the end. */
  #at: Uint8Array | undefined = new Uint8Array(0)

  add(range: RangeTombstone): void {
    this.advance(range.start)
    this.#open.push(range)
  }

  /** Undefined: to the end. */
  advance(to: Uint8Array | undefined): void {
    for (let top = this.#open.first; top !== undefined; top = this.#open.first) {
      if (compareEnds(top.end, this.#at) <= 0) {
        this.#open.pop()
        continue
      }
      if (compareEnds(this.#at, to) >= 0) break
      const end = compareEnds(top.end, to) < 0 ? top.end : to
      this.#cover(this.#at!, end, top.seqno)
      this.#at = end
      if (end === undefined) return
    }
    this.#at = to
  }

  #cover(start: Uint8Array, end: Uint8Array | undefined, seqno: number): void {
    const last = this.pieces.at(-1)
    const isNext = last?.end !== undefined && compareBytes(last.end, start) === 0
    if (isNext && last.seqno === seqno) last.end = end
    else this.pieces.push({ start, end, seqno })
  }
}

/** A list that is gone through. */
interface Walk {
  readonly next: () => RangeTombstone | undefined
  at: RangeTombstone
}

/** Several ordered lists as one. */
class Walks {
  readonly #walks: Heap<Walk>

  constructor(nexts: readonly Walk['next'][], compare: typeof compareTombstones) {
    this.#walks = new Heap((a, b) => compare(a.at, b.at))
    for (const next of nexts) {
      const at = next()
      if (at !== undefined) this.#walks.push({ next, at })
    }
  }

  get first(): RangeTombstone | undefined {
    return this.#walks.first?.at
  }

  pass(): void {
    const walk = this.#walks.first!
    const at = walk.next()
    if (at === undefined) this.#walks.pop()
    else this.#walks.replaceFirst({ next: walk.next, at })
  }
}

function inSource({ ranges, globalSeqno }: RangeSource): Walk['next'] {
  let i = 0
  return () => {
    if (i === ranges.count) return undefined
    const { start, end, seqno } = ranges.at(i++)
    return { start, end, seqno: seqno + globalSeqno }
  }
}

function inList(list: readonly RangeTombstone[]): Walk['next'] {
  let i = 0
  return () => list[i++]
}

/** Of one stratum, for ascending keys. */
interface Stratum {
  readonly line: Line
  at: number
}

export class KeptRanges {
  readonly #view: RetentionView
  readonly #strata = new Map<number, Stratum>()
  /** Those that are not visible yet. */
  readonly #whole: RangeTombstone[] = []
  #left: Walks | undefined
  readonly #mayHideBelow: MayHideBelow

  private constructor(view: RetentionView, mayHideBelow: MayHideBelow) {
    this.#view = view
    this.#mayHideBelow = mayHideBelow
  }

  /** Undefined where there are none. */
  static *of(
    sources: readonly RangeSource[],
    view: RetentionView,
    mayHideBelow: MayHideBelow,
    slice: Slice,
  ): Flow<KeptRanges | undefined> {
    if (sources.length === 0) return undefined
    const kept = new KeptRanges(view, mayHideBelow)
    const walks = new Walks(sources.map(inSource), compareTombstones)
    let work = 0
    for (let range = walks.first; range !== undefined; range = walks.first) {
      kept.#add(range)
      walks.pass()
      if (++work % RANGES_PER_LOOK === 0 && slice.isOver) yield* slice.pass
    }
    for (const { line } of kept.#strata.values()) line.advance(undefined)
    const lines = [...kept.#strata].map(([number, { line }]) => inLine(kept, number, line))
    kept.#left = new Walks([...lines, inList(kept.#whole)], compareTombstones)
    return kept
  }

  #add(range: RangeTombstone): void {
    if (range.seqno >= this.#view.visible) {
      this.#whole.push(range)
      return
    }
    const number = stratumOf(this.#view, range.seqno)
    let stratum = this.#strata.get(number)
    if (stratum === undefined) {
      stratum = { line: new Line(), at: 0 }
      this.#strata.set(number, stratum)
    }
    stratum.line.add(range)
  }

  /** Of the oldest stratum, which every reader sees whole, only what is still needed below. */
  isNeeded(stratum: number, range: RangeTombstone): boolean {
    return stratum > 0 || this.#mayHideBelow(range)
  }

  /** Whether one of its stratum hides an entry; keys ascend. */
  hides(key: Uint8Array, begin: number, end: number, seqno: number): boolean {
    if (seqno >= this.#view.visible) return false
    const stratum = this.#strata.get(stratumOf(this.#view, seqno))
    if (stratum === undefined) return false
    const { pieces } = stratum.line
    for (let piece = pieces[stratum.at]; piece !== undefined; piece = pieces[++stratum.at]) {
      const { start, end: upper } = piece
      if (upper !== undefined && compareRanges(upper, 0, upper.length, key, begin, end) <= 0) {
        continue
      }
      const isOver = compareRanges(start, 0, start.length, key, begin, end) <= 0
      return isOver && piece.seqno > seqno
    }
    return false
  }

  /** The next one that is kept, in order. */
  get first(): RangeTombstone | undefined {
    return this.#left!.first
  }

  pass(): void {
    this.#left!.pass()
  }
}

function inLine(kept: KeptRanges, stratum: number, { pieces }: Line): Walk['next'] {
  let i = 0
  return () => {
    while (i < pieces.length && !kept.isNeeded(stratum, pieces[i]!)) i++
    return pieces[i++]
  }
}
