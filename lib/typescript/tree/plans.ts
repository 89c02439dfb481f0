/** Plans of the tree's own, for a version. */

import type { PlanData, StrategySetting } from '../../engine.ts'
import { dueAt } from '../../strategy.ts'
import { isDense } from '../../upkeep.ts'
import { LEVEL_COUNT } from '../base/limits.ts'
import { highestOf } from '../base/numbers.ts'
import { coveredTables } from './covered-tables.ts'
import { highestRange } from './kept-ranges.ts'
import type { RetentionView } from './retention.ts'
import { summaryLevels } from './table-summaries.ts'
import type { Table } from './table.ts'
import type { Version } from './version.ts'

/** Drops tables that nobody can miss; undefined if there is none. */
export function coveredPlan(
  version: Version<Table>,
  view: RetentionView,
  busy: ReadonlySet<number>,
): PlanData | undefined {
  const tables = coveredTables(version, view, busy)
  return tables.length === 0 ? undefined : { kind: 'drop', tables, isHidden: true }
}

/** All reads are at this seqno or above. */
export function lowestRead({ snapshots, visible }: RetentionView): number {
  return Math.min(visible, snapshots[0] ?? visible)
}

/**
 * Reads at this seqno and below may be all that some tables are kept for, or some tombstones in
 * them; -1 if there are none.
 */
export function highestAwaited(version: Version<Table>, strategy: StrategySetting): number {
  const metas = version.tables().map(({ meta }) => meta)
  const dense = metas.filter((meta) => isDense(meta, strategy))
  return highestOf(
    dense.map(({ highestSeqno }) => highestSeqno),
    version.rangeTombstoneCount === 0 ? -1 : highestRange(version.tables()),
  )
}

/** All tables into the last level; undefined if there is none. */
export function majorPlan(version: Version<Table>, targetSize: number): PlanData | undefined {
  const tables = version.tables().map(({ meta }) => meta.fileNumber)
  if (tables.length === 0) return undefined
  return { kind: 'merge', tables, destinationLevel: LEVEL_COUNT - 1, targetSize }
}

/** Milliseconds until the strategy has something to do although nothing is written. */
export function dueIn(
  version: Version<Table>,
  strategy: StrategySetting,
  now: number,
): number | undefined {
  const due = dueAt(summaryLevels(version), strategy, now)
  return due === undefined ? undefined : due - now
}
