/** Plans for a version, and what strategies look at. */

import type { PlanData } from '../../engine.ts'
import type { TableSummary } from '../../table-summary.ts'
import { LEVEL_COUNT } from '../base/limits.ts'
import { highestOf } from '../base/numbers.ts'
import type { Memtable } from '../memtable/memtable.ts'
import { coveredTables } from './covered-tables.ts'
import type { RangeSource } from './kept-ranges.ts'
import type { Run } from './levels.ts'
import type { RetentionView } from './retention.ts'
import type { Table } from './table.ts'
import type { Version } from './version.ts'

export function summariesOf({ levels }: Version<Table>): readonly (readonly Summaries[])[] {
  return levels.map((runs) => runs.map(summariesOfRun))
}

type Summaries = readonly TableSummary[]

/** Kept with a run, which never changes. */
const summaries = new WeakMap<Run<Table>, Summaries>()

function summariesOfRun(run: Run<Table>): Summaries {
  const known = summaries.get(run)
  if (known !== undefined) return known
  const made = run.map(({ meta }) => ({ ...meta, id: meta.fileNumber }))
  summaries.set(run, made)
  return made
}

/** Drops tables that nobody can miss; undefined if there is none. */
export function coveredPlan(
  version: Version<Table>,
  view: RetentionView,
  busy: ReadonlySet<number>,
): PlanData | undefined {
  const tables = coveredTables(version, view, busy)
  return tables.length === 0 ? undefined : { kind: 'drop', tables, isHidden: true }
}

/** All tables into the last level; undefined if there is none. */
export function majorPlan(version: Version<Table>, targetSize: number): PlanData | undefined {
  const tables = version.tables().map(({ meta }) => meta.fileNumber)
  if (tables.length === 0) return undefined
  return { kind: 'merge', tables, destinationLevel: LEVEL_COUNT - 1, targetSize }
}

export function rangesOfMemtable({ ranges }: Memtable): RangeSource[] {
  if (ranges === undefined) return []
  return ranges.indexes().map((index) => ({ ranges: index, globalSeqno: 0 }))
}

export function rangesOfTable({ shared: { reader } }: Table): RangeSource[] {
  const { rangeTombstones: ranges, globalSeqno } = reader
  return ranges === undefined ? [] : [{ ranges, globalSeqno }]
}

/** The highest seqno of their range tombstones; -1 if there is none. */
export function highestRange(tables: readonly Table[]): number {
  const seqnos = tables
    .flatMap(rangesOfTable)
    .map(({ ranges, globalSeqno }) => ranges.highestSeqno + globalSeqno)
  return highestOf(seqnos, -1)
}
