/**
 * Where the tables of a tree stand. A level is a list of runs, newest first; a run is a list of
 * tables in key order with disjoint ranges. Never changed: the next levels share every run that a
 * change leaves alone, so that it costs as much as the runs that it touches.
 */

import { LEVEL_COUNT } from '../base/limits.ts'
import { corruption } from '../base/status.ts'
import { byFirstKey, reaches } from './table-meta.ts'
import type { TableMeta } from './table-meta.ts'

export type Run<T> = readonly T[]

/** LEVEL_COUNT of them. */
export type Levels<T> = readonly (readonly Run<T>[])[]

export const NO_LEVELS: Levels<never> = Array.from({ length: LEVEL_COUNT }, () => [])

/** What comes into a run, by level and run order. */
type Added<T> = Map<number, Map<number, T[]>>

/**
 * Without the tables of `removed`, and with `added` where their descriptions say. CORRUPTION if one
 * has no level, or tables of a run would meet.
 */
export function changeLevels<T>(
  levels: Levels<T>,
  removed: ReadonlySet<T>,
  added: Iterable<T>,
  metaOf: (table: T) => TableMeta,
): Levels<T> {
  const touched: Added<T> = new Map()
  for (const table of removed) runFor(touched, metaOf(table))
  for (const table of added) runFor(touched, metaOf(table)).push(table)
  const next = levels.slice()
  for (const [level, orders] of touched) {
    const runs = new Map(levels[level]!.map((run) => [metaOf(run[0]!).runOrder, run]))
    for (const [order, tables] of orders) {
      const kept = (runs.get(order) ?? []).filter((table) => !removed.has(table))
      const run = [...kept, ...tables].toSorted((a, b) => byFirstKey(metaOf(a), metaOf(b)))
      if (anyMeet(run.map(metaOf))) throw corruption('tables of a run meet')
      if (run.length > 0) runs.set(order, run)
      else runs.delete(order)
    }
    next[level] = [...runs].toSorted(([a], [b]) => b - a).map(([, run]) => run)
  }
  return next
}

function runFor<T>(touched: Added<T>, { level, runOrder }: TableMeta): T[] {
  if (level >= LEVEL_COUNT) throw corruption('a table is in a level that does not exist')
  const orders = touched.get(level) ?? new Map<number, T[]>()
  const run = orders.get(runOrder) ?? []
  touched.set(level, orders.set(runOrder, run))
  return run
}

/** Whether key ranges of tables in key order meet. */
export function anyMeet(run: Run<TableMeta>): boolean {
  return run.some((table, i) => {
    const next = run[i + 1]
    return next !== undefined && reaches(table, next.firstKey)
  })
}
