/**
 * Where the output of a compaction may stand, so that a newer version of a key is always found
 * before an older one: every table that is no input and shares keys with an input stays on that
 * side of the output on which it was of the input.
 *
 * Plans come from strategies and from users; none is trusted. Since others commit meanwhile, a job
 * places its output once more on the version of that moment.
 */

import type { PlanData } from '../../engine.ts'
import { ShaleError } from '../../errors.ts'
import { READ_ALL } from '../base/internal-key.ts'
import { LEVEL_COUNT } from '../base/limits.ts'
import { compareBytes } from '../base/slice.ts'
import { PointLookup } from '../table/table-reader.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import type { MayHideBelow } from './kept-ranges.ts'
import type { Run } from './levels.ts'
import type { MayExistBelow } from './retention.ts'
import { tableAtOrBehind } from './run-iterator.ts'
import { byFirstKey, byLastKey, reaches } from './table-meta.ts'
import type { TableMeta } from './table-meta.ts'
import type { Table } from './table.ts'
import type { TablePlace, Version } from './version.ts'

export class Placement {
  /** Newest run first, each in key order. */
  readonly inputs: readonly Table[]
  readonly #version: Version<Table>
  readonly #level: number
  readonly #numbers: ReadonlySet<number>
  /** In the destination the output is newer than runs up to this order, ... */
  #above = 0
  /** ... and older than those from this one on. */
  #below = Infinity

  /** INVALID_ARGUMENT: the plan would put newer versions below older ones. PLAN_STALE. */
  constructor(version: Version<Table>, plan: PlanData) {
    this.#version = version
    this.#level = plan.kind === 'drop' ? 0 : plan.destinationLevel
    this.#numbers = new Set(plan.tables)
    if (plan.tables.length === 0 || this.#numbers.size < plan.tables.length) {
      throw badPlan('a plan without tables, or with one twice')
    }
    if (this.#level >= LEVEL_COUNT) throw badPlan('a plan with a level that does not exist')
    this.inputs = version.tables().filter((table) => this.isInput(table))
    if (this.inputs.length < this.#numbers.size) {
      throw new ShaleError('PLAN_STALE', 'a table of the plan is gone')
    }
    if (plan.kind !== 'drop') this.#addBounds()
  }

  isInput(table: Table): boolean {
    return this.#numbers.has(table.meta.fileNumber)
  }

  #addBounds(): void {
    const runs = this.#version.levels.flat().map((run) => ({
      place: run[0]!.meta,
      staying: metasOf(this.#staying(run)),
      inputs: metasOf(run.filter((table) => this.isInput(table))),
    }))
    for (const { place: input, inputs } of runs) {
      if (inputs.length === 0) continue
      for (const { place: other, staying } of runs) {
        if (meet(staying, inputs)) this.#addBound(other, input)
      }
    }
    if (this.#above >= this.#below) {
      throw badPlan('the plan leaves out a table between two of its inputs')
    }
  }

  #addBound(other: TablePlace, input: TablePlace): void {
    if (isNewer(other, input)) {
      if (other.level > this.#level) throw badPlan('the plan lifts older entries above newer ones')
      if (other.level === this.#level) this.#below = Math.min(this.#below, other.runOrder)
    } else {
      if (other.level < this.#level) throw badPlan('the plan puts newer entries below older ones')
      if (other.level === this.#level) this.#above = Math.max(this.#above, other.runOrder)
    }
  }

  #runs(level: number): readonly Run<Table>[] {
    return this.#version.levels[level] ?? []
  }

  #staying(run: Run<Table>): Table[] {
    return run.filter((table) => !this.isInput(table))
  }

  /** As Version.policyLevel of the destination once the inputs are gone. */
  get policyLevel(): number {
    if (this.#level === 0) return 0
    for (let first = 1; first < this.#level; first++) {
      const isUsed = this.#runs(first).some((run) => this.#staying(run).length > 0)
      if (isUsed) return this.#level - first + 1
    }
    return 1
  }

  /**
   * Where outputs go: to a run of the destination which they fit into, else to a new one; `fresh`
   * is above all orders in use. PLAN_STALE if there is no place any more.
   */
  place(outputs: readonly TableMeta[], fresh: number): TablePlace {
    const level = this.#level
    const sorted = outputs.toSorted(byFirstKey)
    const taken = new Set<number>()
    for (const run of this.#runs(level).toReversed()) {
      const { runOrder } = run[0]!.meta
      const fits =
        runOrder > this.#above &&
        runOrder < this.#below &&
        !meet(metasOf(this.#staying(run)), sorted)
      if (fits) return { level, runOrder }
      taken.add(runOrder)
    }
    for (let runOrder = Math.min(fresh, this.#below - 1); runOrder > this.#above; runOrder--) {
      if (!taken.has(runOrder)) return { level, runOrder }
    }
    throw new ShaleError('PLAN_STALE', 'there is no place for the output any more')
  }

  /** First keys, ascending, of tables that an output may come to lie beside in one run. */
  fences(): Uint8Array[] {
    return this.#runs(this.#level)
      .filter(([table]) => {
        const { runOrder } = table!.meta
        return runOrder > this.#above && runOrder < this.#below
      })
      .flatMap((run) => this.#staying(run).map(({ meta }) => meta.firstKey))
      .toSorted(compareBytes)
  }

  /** Tables of the level below the destination that stay, in key order. */
  below(): readonly TableMeta[] {
    if (this.#level === 0) return []
    return this.#runs(this.#level + 1)
      .flatMap((run) => this.#staying(run).map(({ meta }) => meta))
      .toSorted(byLastKey)
  }

  /** Whether a table below the output, no input, may hold a key; for ascending keys. */
  mayExistBelow(): MayExistBelow {
    return mayExistIn(this.#older())
  }

  /** Whether a table below the output, no input, may hold what a range tombstone hides. */
  mayHideBelow(): MayHideBelow {
    const runs = this.#older()
    return (range) => runs.some((run) => mayHideIn(range, run))
  }

  /** Runs below the output without inputs. */
  #older(): Run<Table>[] {
    const own = this.#runs(this.#level).filter((run) => run[0]!.meta.runOrder <= this.#above)
    const deeper = this.#version.levels.slice(this.#level + 1).flat()
    return [...own, ...deeper].map((run) => this.#staying(run))
  }
}

/**
 * Whether a table of these runs may hold a key; for ascending keys, along with which it goes. Asks
 * filters that are in memory and reads nothing.
 */
export function mayExistIn(given: readonly Run<Table>[]): MayExistBelow {
  const runs = given.map((tables) => ({ tables, at: 0 }))
  const lookup = new PointLookup(true)
  return (key, begin, end) => {
    const bytes = key.subarray(begin, end)
    lookup.start(key, begin, end, READ_ALL)
    return runs.some((run) => {
      let table = run.tables[run.at]
      while (table !== undefined && !reaches(table.meta, bytes)) table = run.tables[++run.at]
      if (table === undefined || compareBytes(table.meta.firstKey, bytes) > 0) return false
      return !table.shared.reader.rulesOut(lookup)
    })
  }
}

function mayHideIn({ start, end, seqno }: RangeTombstone, run: Run<Table>): boolean {
  for (let at = tableAtOrBehind(run, start, 0, start.length); at < run.length; at++) {
    const { firstKey, lowestSeqno } = run[at]!.meta
    if (end !== undefined && compareBytes(firstKey, end) >= 0) return false
    if (lowestSeqno < seqno) return true
  }
  return false
}

function badPlan(message: string): ShaleError {
  return new ShaleError('INVALID_ARGUMENT', message)
}

function isNewer(a: TablePlace, b: TablePlace): boolean {
  return a.level === b.level ? a.runOrder > b.runOrder : a.level < b.level
}

/** Whether tables of two lists meet, each in key order and disjoint. */
function meet(left: readonly TableMeta[], right: readonly TableMeta[]): boolean {
  let [i, j] = [0, 0]
  for (;;) {
    const [a, b] = [left[i], right[j]]
    if (a === undefined || b === undefined) return false
    if (!reaches(a, b.firstKey)) i++
    else if (!reaches(b, a.firstKey)) j++
    else return true
  }
}

function metasOf(tables: readonly Table[]): TableMeta[] {
  return tables.map(({ meta }) => meta)
}
