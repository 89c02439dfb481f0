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

import type { PlanData, StrategySetting } from './engine.ts'

/** What the strategy looks at; a TableInfo is one. */
export interface TableSummary {
  readonly id: number
  readonly size: number
  readonly itemCount: number
  readonly tombstoneCount: number
  readonly weakTombstoneCount: number
  readonly firstKey: Uint8Array
  readonly lastKey: Uint8Array
}

type Tables = readonly TableSummary[]
type Run = Tables
type Levels = readonly (readonly Run[])[]

const LEVEL_COUNT = 7
/** Level 0 is merged in itself from this many idle runs on. */
const INTRA_RUNS_MIN = 4
/** A merge between two levels takes at most this many tables' worth of bytes (or one table). */
const MERGE_TABLES_MAX = 50
/**
 * Tables with at least one tombstone in so many entries are not moved to the last level but
 * rewritten, because there tombstones end.
 */
const TOMBSTONE_SHARE = 8
/** Score of a full level whose tables can move without a merge. */
const MOVE_SCORE = 99.99

export function chooseLeveled(
  levels: Levels,
  setting: StrategySetting,
  busy: ReadonlySet<number>,
): PlanData | undefined {
  return new Leveled(levels, setting, busy).choose()
}

function isBefore(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) < 0
}

function overlap(
  a: { readonly firstKey: Uint8Array; readonly lastKey: Uint8Array },
  b: TableSummary,
): boolean {
  return !isBefore(a.lastKey, b.firstKey) && !isBefore(b.lastKey, a.firstKey)
}

function bytesOf(tables: Tables): number {
  return tables.reduce((sum, table) => sum + table.size, 0)
}

function isDisjoint(tables: Tables): boolean {
  const sorted = tables.toSorted((a, b) => Buffer.compare(a.firstKey, b.firstKey))
  return sorted.every((table, i) => {
    const previous = sorted[i - 1]
    return previous === undefined || isBefore(previous.lastKey, table.firstKey)
  })
}

class Leveled {
  readonly #levels: Levels
  readonly #setting: StrategySetting
  readonly #busy: ReadonlySet<number>
  readonly #last: number
  readonly #base: number

  constructor(levels: Levels, setting: StrategySetting, busy: ReadonlySet<number>) {
    const missing = Math.max(0, LEVEL_COUNT - levels.length)
    this.#levels = [...levels, ...Array.from({ length: missing }, () => [])]
    this.#setting = setting
    this.#busy = busy
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
    return this.#runs(level).length > 1 ? this.#joinRuns(level) : this.#fromLevel(level)
  }

  #runs(level: number): readonly Run[] {
    return this.#levels[level] ?? []
  }

  #isBusy(table: TableSummary): boolean {
    return this.#busy.has(table.id)
  }

  #anyBusy(tables: Tables): boolean {
    return tables.some((table) => this.#isBusy(table))
  }

  #levelIsBusy(level: number): boolean {
    return this.#runs(level).some((run) => this.#anyBusy(run))
  }

  #tablesOf(level: number): Tables {
    return this.#runs(level).flat()
  }

  #overlapping(level: number, inputs: Tables): Tables {
    return this.#tablesOf(level).filter((table) => inputs.some((input) => overlap(input, table)))
  }

  /** Bytes of a level that no job takes away. */
  #idleBytes(level: number): number {
    return bytesOf(this.#tablesOf(level).filter((table) => !this.#isBusy(table)))
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
    if (this.#runs(0).length !== 1 || this.#levelIsBusy(0)) return undefined
    const tables = this.#tablesOf(0)
    let onlyLast = true
    for (let i = 1; i < this.#last; i++) onlyLast &&= this.#runs(i).length === 0
    const destination = onlyLast ? this.#last : this.#base
    const { length } = this.#runs(destination)
    if (length > 1 || (length === 0 && !onlyLast)) return undefined
    if (this.#levelIsBusy(destination)) return undefined
    if (this.#overlapping(destination, tables).length > 0) return undefined
    return this.#movePlan(tables, destination)
  }

  #fromLevel0(): PlanData | undefined {
    const runs = this.#runs(0)
    // The oldest runs up to a busy one; what is newer must stay above it.
    const newestBusy = runs.findLastIndex((run) => this.#anyBusy(run))
    const idle = runs.slice(newestBusy + 1)
    const tooFew = newestBusy >= 0 && idle.length < this.#setting.l0Threshold
    if (idle.length === 0 || tooFew) return this.#mergeLevel0()
    const inputs = idle.flat()
    const below = this.#overlapping(this.#base, inputs)
    if (this.#anyBusy(below)) return this.#mergeLevel0()
    if (below.length === 0 && isDisjoint(inputs) && !this.#levelIsBusy(this.#base)) {
      return this.#movePlan(inputs, this.#base)
    }
    return this.#plan([...inputs, ...below], this.#base)
  }

  /** Merges the newest runs into one where they are: as many as make a run less the cheapest. */
  #mergeLevel0(): PlanData | undefined {
    const runs = this.#runs(0)
    const firstBusy = runs.findIndex((run) => this.#anyBusy(run))
    const idle = firstBusy < 0 ? runs : runs.slice(0, firstBusy)
    const least = Math.max(INTRA_RUNS_MIN, this.#setting.l0Threshold)
    if (idle.length < least) return undefined
    let best: Tables = []
    let bestCost = 0
    for (let i = least - 1; i < idle.length; i++) {
      const inputs = idle.slice(0, i + 1).flat()
      const cost = bytesOf(inputs) / i
      if (best.length > 0 && cost > bestCost) continue
      best = inputs
      bestCost = cost
    }
    return this.#plan(best, 0)
  }

  // --- deeper levels -----------------------------------------------------------------------------

  #joinRuns(level: number): PlanData | undefined {
    const [newer, oldest] = this.#runs(level).slice(-2) as [Run, Run]
    for (const table of newer) {
      const meets = oldest.filter((other) => overlap(table, other))
      if (!this.#isBusy(table) && !this.#anyBusy(meets)) return this.#plan([table, ...meets], level)
    }
    return undefined
  }

  #fromLevel(level: number): PlanData | undefined {
    return this.#moveWindow(level) ?? this.#mergeWindow(level)
  }

  /** The largest row of idle tables that can go down as they are. */
  #moveWindow(level: number): PlanData | undefined {
    let row: TableSummary[] = []
    let best: Tables = []
    for (const table of this.#tablesOf(level)) {
      if (this.#isBusy(table) || this.#overlapping(level + 1, [table]).length > 0) {
        row = []
        continue
      }
      // A job that runs may leave a table in the gap between two of them.
      const previous = row.at(-1)
      if (previous !== undefined && this.#busyBetween(level + 1, previous, table)) row = []
      row.push(table)
      if (bytesOf(row) > bytesOf(best)) best = [...row]
    }
    const [first, last] = [best[0], best.at(-1)]
    if (first === undefined || last === undefined) return undefined
    return this.#insideBusy(level + 1, first, last) ? undefined : this.#movePlan(best, level + 1)
  }

  #busyBetween(level: number, a: TableSummary, b: TableSummary): boolean {
    return this.#tablesOf(level).some(
      (table) =>
        this.#isBusy(table) &&
        isBefore(a.lastKey, table.firstKey) &&
        isBefore(table.lastKey, b.firstKey),
    )
  }

  /** Whether busy tables lie on both sides of [a, b], so that an output might span it. */
  #insideBusy(level: number, a: TableSummary, b: TableSummary): boolean {
    const busy = this.#tablesOf(level).filter((table) => this.#isBusy(table))
    return (
      busy.some((table) => isBefore(table.lastKey, a.firstKey)) &&
      busy.some((table) => isBefore(b.lastKey, table.firstKey))
    )
  }

  /**
   * The row of tables of the level with the least bytes to rewrite below per byte of their own, no
   * larger than what the level has too much.
   */
  #mergeWindow(level: number): PlanData | undefined {
    const upper = this.#tablesOf(level)
    const excess = this.#idleBytes(level) - this.#target(level - this.#base)
    const totalMax = MERGE_TABLES_MAX * this.#setting.targetSize
    let best: { row: Tables; lower: Tables; ratio: number } | undefined
    for (let a = 0; a < upper.length; a++) {
      const row: TableSummary[] = []
      for (const table of upper.slice(a)) {
        if (this.#isBusy(table)) break
        row.push(table)
        const lower = this.#between(level + 1, row[0] as TableSummary, table)
        if (this.#anyBusy(lower)) break
        const own = bytesOf(row)
        const below = bytesOf(lower)
        if (row.length > 1 && (own > excess || own + below > totalMax)) break
        const ratio = below / Math.max(own, 1)
        if (best !== undefined && ratio >= best.ratio) continue
        best = { row: [...row], lower, ratio }
      }
    }
    if (best === undefined) return undefined
    const row = this.#widened(upper, best.lower, best.row)
    return this.#plan([...row, ...best.lower], level + 1)
  }

  /** Tables of `level` that meet the span from `a` to `b`. */
  #between(level: number, a: TableSummary, b: TableSummary): Tables {
    const span = { firstKey: a.firstKey, lastKey: b.lastKey }
    return this.#tablesOf(level).filter((table) => overlap(span, table))
  }

  /**
   * With neighbours that lie inside the span of the lower tables: they go down at no further cost.
   */
  #widened(upper: Tables, lower: Tables, row: Tables): Tables {
    const [low, high] = [lower[0], lower.at(-1)]
    if (low === undefined || high === undefined) return row
    const inside = (table: TableSummary | undefined): boolean =>
      table !== undefined &&
      !this.#isBusy(table) &&
      !isBefore(table.firstKey, low.firstKey) &&
      !isBefore(high.lastKey, table.lastKey)
    let first = upper.indexOf(row[0] as TableSummary)
    let last = upper.indexOf(row.at(-1) as TableSummary)
    while (inside(upper[first - 1])) first--
    while (inside(upper[last + 1])) last++
    return upper.slice(first, last + 1)
  }
}
