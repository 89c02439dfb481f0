/**
 * The first-in-first-out strategy, for data that ages: nothing is merged, the oldest tables are
 * dropped. Twin of native/tree/fifo.cc: the same choice from the same version.
 *
 * Dropped is what was written `ttlSeconds` ago or longer, and then the oldest until `limit` bytes
 * are left, counting with a table what it points to in blob files. A table stays while an older one
 * that it overlaps does: what it hides must not come to light. Runs may overlap as they like.
 */

import type { FifoSetting, PlanData } from './engine.ts'
import { endsBefore, type Levels, type Tables, type TableSummary } from './table-summary.ts'

/** Costs a look at each table; and for one to be dropped, one at each older run that stays. */
export function chooseFifo(
  levels: Levels,
  setting: FifoSetting,
  busy: ReadonlySet<number>,
  now: number,
): PlanData | undefined {
  const ttl = setting.ttlSeconds
  const expiry = ttl === undefined ? -Infinity : now - ttl * 1000
  const runs = levels.flat().toReversed()
  let size = runs.flat().reduce((sum, table) => sum + bytesOf(table), 0)
  const dropped = new Set<number>()
  const drop = (isDue: (table: TableSummary) => boolean): void => {
    const kept: Tables[] = []
    for (const run of runs) {
      const left = run.filter(({ id }) => !dropped.has(id))
      for (const table of left.toSorted(byAge)) {
        if (busy.has(table.id) || !isDue(table) || meets(kept, table)) continue
        dropped.add(table.id)
        size -= bytesOf(table)
      }
      const rest = left.filter(({ id }) => !dropped.has(id))
      if (rest.length > 0) kept.push(rest)
    }
  }
  if (ttl !== undefined) drop(({ createdAt }) => createdAt <= expiry)
  if (size > setting.limit) drop(() => size > setting.limit)
  return dropped.size === 0 ? undefined : { kind: 'drop', tables: [...dropped] }
}

function bytesOf({ size, blobs = [] }: TableSummary): number {
  return blobs.reduce((sum, { bytes }) => sum + bytes, size)
}

function byAge(a: TableSummary, b: TableSummary): number {
  return a.createdAt - b.createdAt || a.id - b.id
}

function meets(runs: readonly Tables[], one: TableSummary): boolean {
  return runs.some((tables) =>
    tables.some((other) => !endsBefore(other, one.firstKey) && !endsBefore(one, other.firstKey)),
  )
}
