/**
 * The leveled strategy. Twin of native/tree/leveled.cc: the same choice from the same version.
 *
 * Level 0 is measured in runs, the levels below in bytes. The base level is the first one in use
 * below level 0 (the last one, at first); it may hold l0Threshold * targetSize bytes, each level
 * behind it `ratio` times as much. When all levels in use are full, the level above becomes the
 * base.
 *
 * The choice, in this order:
 * 1. A lone run of level 0 that meets nothing below is moved.
 * 2. The level that is the most above its measure, and if nothing can be done for it, the next one:
 *    level 0: all idle runs, and what they overlap in the base level, into the base level; while
 *    that is busy, new runs are merged with each other, so that their number stays bounded;
 *    level i: the tables that cost the least rewriting below per byte that leaves, moved where
 *    nothing is below; any level with several runs: the second oldest run, a table at a time, into
 *    the oldest.
 *
 * What runs is never touched: an input is idle, and no output can meet a busy table.
 */

import type { LeveledSetting, PlanData } from './engine.ts'
import {
  endsBefore,
  endsFirst,
  firstIndex,
  isBefore,
  isDisjoint,
  LEVEL_COUNT,
  type Levels,
  type Tables,
  type TableSummary,
} from './table-summary.ts'

/** Level 0 is merged in itself from this many idle runs on. */
const INTRA_RUNS_MIN = 4
/** A merge between two levels takes at most this many tables' worth of bytes (or one table). */
const MERGE_TABLES_MAX = 50
/** A row of tables that are merged into the next level is no longer than this. */
const ROW_TABLES_MAX = 256
/**
 * Tables with at least one tombstone in so many entries are not moved to the last level but
 * rewritten, because there tombstones end.
 */
const TOMBSTONE_SHARE = 8
/** Score of a full level whose tables can move without a merge. */
const MOVE_SCORE = 99.99

/**
 * Costs about one look at each table, whatever the shape of the tree; and for each table of a level
 * that is too large one at each of the next ROW_TABLES_MAX, at most.
 */
export function chooseLeveled(
  levels: Levels,
  setting: LeveledSetting,
  busy: ReadonlySet<number>,
): PlanData | undefined {
  return new Leveled(levels, setting, busy).choose()
}

/** A run, with what its tables add up to from the first one on. Ranges are from `a` up to `b`. */
class Run {
  readonly tables: Tables
  /** Bytes that no job takes away. */
  readonly idleBytes: number
  readonly #bytesBefore: Float64Array
  readonly #busyBefore: Uint32Array

  constructor(tables: Tables, busy: ReadonlySet<number>) {
    this.tables = tables
    this.#bytesBefore = new Float64Array(tables.length + 1)
    this.#busyBefore = new Uint32Array(tables.length + 1)
    let idleBytes = 0
    for (const [i, { id, size }] of tables.entries()) {
      const isBusy = busy.has(id)
      this.#bytesBefore[i + 1] = this.#bytesBefore[i]! + size
      this.#busyBefore[i + 1] = this.#busyBefore[i]! + Number(isBusy)
      if (!isBusy) idleBytes += size
    }
    this.idleBytes = idleBytes
  }

  get length(): number {
    return this.tables.length
  }

  get bytes(): number {
    return this.bytesIn(0, this.length)
  }

  get isBusy(): boolean {
    return this.isBusyIn(0, this.length)
  }

  bytesIn(a: number, b: number): number {
    return this.#bytesBefore[b]! - this.#bytesBefore[a]!
  }

  isBusyIn(a: number, b: number): boolean {
    return a < b && this.#busyBefore[b]! > this.#busyBefore[a]!
  }

  /** Index of the first table that ends at or behind `key`. */
  reaching(key: Uint8Array): number {
    return firstIndex(this.length, (i) => !endsBefore(this.tables[i]!, key))
  }

  /** Index of the first table that begins behind the end of `table`. */
  behind(table: TableSummary): number {
    return firstIndex(this.length, (i) => endsBefore(table, this.tables[i]!.firstKey))
  }
}

/** Tables of a run from index `a` up to `b`. */
interface Part {
  readonly a: number
  readonly b: number
}

/** The tables of a run that meet a range of keys, which grows to the right. */
class Meeting {
  readonly run: Run
  readonly #from: number
  #to: number

  constructor(run: Run, firstKey: Uint8Array) {
    this.run = run
    this.#from = run.reaching(firstKey)
    this.#to = this.#from
  }

  growTo(table: TableSummary): void {
    const { tables } = this.run
    while (this.#to < tables.length && !endsBefore(table, tables[this.#to]!.firstKey)) this.#to++
  }

  get bytes(): number {
    return this.run.bytesIn(this.#from, this.#to)
  }

  get isBusy(): boolean {
    return this.run.isBusyIn(this.#from, this.#to)
  }
}

class Leveled {
  readonly #levels: readonly (readonly Run[])[]
  readonly #setting: LeveledSetting
  readonly #last: number
  readonly #base: number

  constructor(levels: Levels, setting: LeveledSetting, busy: ReadonlySet<number>) {
    const missing = Math.max(0, LEVEL_COUNT - levels.length)
    const all = [...levels, ...Array.from({ length: missing }, () => [])]
    this.#levels = all.map((runs) => runs.map((tables) => new Run(tables, busy)))
    this.#setting = setting
    this.#last = this.#levels.length - 1
    this.#base = this.#findBase()
  }

  choose(): PlanData | undefined {
    const lone = this.#moveLoneRun()
    if (lone !== undefined) return lone
    const scores = this.#levels
      .map((_, level) => ({ level, score: this.#score(level) }))
      .filter(({ score }) => score >= 1)
      .toSorted((a, b) => b.score - a.score || b.level - a.level)
    for (const { level } of scores) {
      const plan = this.#chooseAt(level)
      if (plan !== undefined) return plan
    }
    return undefined
  }

  #chooseAt(level: number): PlanData | undefined {
    if (level === 0) return this.#fromLevel0()
    const [newest, ...older] = this.#runs(level) as [Run, ...Run[]]
    if (older.length > 0) return this.#joinRuns(level)
    return this.#moveWindow(level, newest) ?? this.#mergeWindow(level, newest)
  }

  #runs(level: number): readonly Run[] {
    return this.#levels[level] ?? []
  }

  #levelIsBusy(level: number): boolean {
    return this.#runs(level).some((run) => run.isBusy)
  }

  /** Tables of a level that meet one of `inputs`, and whether one of them is busy. */
  #meeting(level: number, inputs: Tables): { tables: Tables; isBusy: boolean } {
    let isBusy = false
    const tables = this.#runs(level).flatMap((run) => {
      const meets = new Uint8Array(run.length)
      for (const input of inputs) {
        const [a, b] = [run.reaching(input.firstKey), run.behind(input)]
        meets.fill(1, a, Math.max(a, b))
        isBusy ||= run.isBusyIn(a, b)
      }
      return run.tables.filter((_, i) => meets[i] === 1)
    })
    return { tables, isBusy }
  }

  #idleBytes(level: number): number {
    return this.#runs(level).reduce((sum, run) => sum + run.idleBytes, 0)
  }

  /** `distance` from the base level. */
  #target(distance: number): number {
    const { targetSize, l0Threshold, levelRatio } = this.#setting
    let target = targetSize * l0Threshold
    for (let i = 0; i < distance; i++) {
      target *= levelRatio[Math.min(i, levelRatio.length - 1)] as number
    }
    return target
  }

  #findBase(): number {
    let base = this.#last
    for (let i = this.#last; i >= 1; i--) if (this.#runs(i).length > 0) base = i
    if (base === 1 || this.#runs(base).length === 0) return base
    for (let i = base; i <= this.#last; i++) {
      if (this.#runs(i).length > 0 && this.#idleBytes(i) <= this.#target(i - base)) return base
    }
    return base - 1
  }

  #score(level: number): number {
    const { length } = this.#runs(level)
    if (level === 0) return length / this.#setting.l0Threshold
    const disorder = length > 1 ? length : 0
    if (level === this.#last || length === 0) return disorder
    const size = this.#idleBytes(level)
    const target = this.#target(level - this.#base)
    if (size <= target) return disorder
    return Math.max(disorder, this.#runs(level + 1).length === 0 ? MOVE_SCORE : size / target)
  }

  #plan(inputs: Tables, destinationLevel: number): PlanData {
    const tables = inputs.map(({ id }) => id)
    return { kind: 'merge', tables, destinationLevel, targetSize: this.#setting.targetSize }
  }

  /** A move, or a merge where tombstones are to end. */
  #movePlan(inputs: Tables, destinationLevel: number): PlanData {
    let items = 0
    let tombstones = 0
    for (const table of inputs) {
      items += table.itemCount
      tombstones += table.tombstoneCount + table.weakTombstoneCount
    }
    const rewrite =
      destinationLevel === this.#last &&
      tombstones !== 0 &&
      tombstones >= Math.floor(items / TOMBSTONE_SHARE)
    if (rewrite) return this.#plan(inputs, destinationLevel)
    return { kind: 'move', tables: inputs.map(({ id }) => id), destinationLevel }
  }

  // --- level 0 -----------------------------------------------------------------------------------

  #moveLoneRun(): PlanData | undefined {
    const [run, ...others] = this.#runs(0)
    if (run === undefined || others.length > 0 || run.isBusy) return undefined
    let onlyLast = true
    for (let i = 1; i < this.#last; i++) onlyLast &&= this.#runs(i).length === 0
    const destination = onlyLast ? this.#last : this.#base
    const { length } = this.#runs(destination)
    if (length > 1 || (length === 0 && !onlyLast)) return undefined
    if (this.#levelIsBusy(destination)) return undefined
    if (this.#meeting(destination, run.tables).tables.length > 0) return undefined
    return this.#movePlan(run.tables, destination)
  }

  #fromLevel0(): PlanData | undefined {
    const runs = this.#runs(0)
    // The oldest runs up to a busy one; what is newer must stay above it.
    const newestBusy = runs.findLastIndex((run) => run.isBusy)
    const idle = runs.slice(newestBusy + 1)
    const tooFew = newestBusy >= 0 && idle.length < this.#setting.l0Threshold
    if (idle.length === 0 || tooFew) return this.#mergeLevel0()
    const inputs = idle.flatMap(({ tables }) => tables)
    const below = this.#meeting(this.#base, inputs)
    if (below.isBusy) return this.#mergeLevel0()
    const isFree = below.tables.length === 0 && !this.#levelIsBusy(this.#base)
    if (isFree && isDisjoint(inputs)) return this.#movePlan(inputs, this.#base)
    return this.#plan([...inputs, ...below.tables], this.#base)
  }

  /** Merges the newest runs into one where they are: as many as make a run less the cheapest. */
  #mergeLevel0(): PlanData | undefined {
    const runs = this.#runs(0)
    const firstBusy = runs.findIndex((run) => run.isBusy)
    const idle = firstBusy < 0 ? runs : runs.slice(0, firstBusy)
    const least = Math.max(INTRA_RUNS_MIN, this.#setting.l0Threshold)
    if (idle.length < least) return undefined
    let [bytes, best, bestCost] = [0, 0, Infinity]
    for (const [i, run] of idle.entries()) {
      bytes += run.bytes
      if (i < least - 1 || bytes / i > bestCost) continue
      best = i + 1
      bestCost = bytes / i
    }
    const inputs = idle.slice(0, best).flatMap(({ tables }) => tables)
    return this.#plan(inputs, 0)
  }

  // --- deeper levels -----------------------------------------------------------------------------

  #joinRuns(level: number): PlanData | undefined {
    const [newer, oldest] = this.#runs(level).slice(-2) as [Run, Run]
    for (const [i, table] of newer.tables.entries()) {
      const [a, b] = [oldest.reaching(table.firstKey), oldest.behind(table)]
      if (newer.isBusyIn(i, i + 1) || oldest.isBusyIn(a, b)) continue
      return this.#plan([table, ...oldest.tables.slice(a, Math.max(a, b))], level)
    }
    return undefined
  }

  /** The largest row of idle tables that can go down as they are. */
  #moveWindow(level: number, run: Run): PlanData | undefined {
    const lower = this.#runs(level + 1)
    let [from, best, bestEnd] = [0, 0, 0]
    for (const [i, table] of run.tables.entries()) {
      const meets = lower.some((other) => other.reaching(table.firstKey) < other.behind(table))
      if (meets || run.isBusyIn(i, i + 1)) {
        from = i + 1
        continue
      }
      // A job that runs may leave a table in the gap between two of them.
      if (i > from && this.#busyBetween(lower, run.tables[i - 1]!, table)) from = i
      if (run.bytesIn(from, i + 1) > run.bytesIn(best, bestEnd)) [best, bestEnd] = [from, i + 1]
    }
    const row = run.tables.slice(best, bestEnd)
    if (row.length === 0 || this.#insideBusy(lower, row[0]!, row.at(-1)!)) return undefined
    return this.#movePlan(row, level + 1)
  }

  #busyBetween(runs: readonly Run[], a: TableSummary, b: TableSummary): boolean {
    return runs.some((run) => run.isBusyIn(run.behind(a), run.reaching(b.firstKey)))
  }

  /** Whether busy tables lie on both sides of [a, b], so that an output might span it. */
  #insideBusy(runs: readonly Run[], a: TableSummary, b: TableSummary): boolean {
    return (
      runs.some((run) => run.isBusyIn(0, run.reaching(a.firstKey))) &&
      runs.some((run) => run.isBusyIn(run.behind(b), run.length))
    )
  }

  /**
   * The row of tables of the level with the least bytes to rewrite below per byte of their own, no
   * larger than what the level has too much.
   */
  #mergeWindow(level: number, upper: Run): PlanData | undefined {
    const lowerRuns = this.#runs(level + 1)
    const excess = this.#idleBytes(level) - this.#target(level - this.#base)
    const totalMax = MERGE_TABLES_MAX * this.#setting.targetSize
    let best: (Part & { readonly ratio: number }) | undefined
    for (const [a, first] of upper.tables.entries()) {
      const lower = lowerRuns.map((run) => new Meeting(run, first.firstKey))
      const end = Math.min(upper.length, a + ROW_TABLES_MAX)
      for (let b = a + 1; b <= end && !upper.isBusyIn(b - 1, b); b++) {
        let below = 0
        let isBusy = false
        for (const meeting of lower) {
          meeting.growTo(upper.tables[b - 1]!)
          below += meeting.bytes
          isBusy ||= meeting.isBusy
        }
        const own = upper.bytesIn(a, b)
        if (isBusy || (b > a + 1 && (own > excess || own + below > totalMax))) break
        const ratio = below / Math.max(own, 1)
        if (best === undefined || ratio < best.ratio) best = { a, b, ratio }
      }
    }
    if (best === undefined) return undefined
    const row = upper.tables.slice(best.a, best.b)
    const { firstKey } = row[0]!
    const last = row.at(-1)!
    const met = lowerRuns.map((run) => ({ run, a: run.reaching(firstKey), b: run.behind(last) }))
    const lower = met.flatMap(({ run, a, b }) => run.tables.slice(a, b))
    return this.#plan([...this.#widened(upper, best, met), ...lower], level + 1)
  }

  /**
   * With neighbours that lie inside the span of the lower tables and meet no others: they go down
   * at no further cost.
   */
  #widened(upper: Run, row: Part, met: readonly (Part & { readonly run: Run })[]): Tables {
    let { a, b } = row
    const spans = met.flatMap(({ run, a: from, b: to }) => {
      return from < to ? [{ low: run.tables[from]!, high: run.tables[to - 1]! }] : []
    })
    const inside = (i: number): boolean => {
      const table = upper.tables[i]
      if (table === undefined || upper.isBusyIn(i, i + 1)) return false
      return (
        spans.some(({ low, high }) => {
          return !isBefore(table.firstKey, low.firstKey) && !endsFirst(high, table)
        }) &&
        met.every(({ run, a: from, b: to }) => {
          const [first, end] = [run.reaching(table.firstKey), run.behind(table)]
          return first >= end || (first >= from && end <= to)
        })
      )
    }
    while (inside(a - 1)) a--
    while (inside(b)) b++
    return upper.tables.slice(a, b)
  }
}
