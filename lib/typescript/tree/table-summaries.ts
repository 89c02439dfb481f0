/** Tables as a strategy looks at them. */

import type { Levels, TableSummary } from '../../table-summary.ts'
import type { Run } from './levels.ts'
import type { Table } from './table.ts'
import type { Version } from './version.ts'

export function summaryLevels({ levels }: Version<Table>): Levels {
  return levels.map((runs) => runs.map(summariesOf))
}

/** Kept with a run, which never changes. */
const summaries = new WeakMap<Run<Table>, readonly TableSummary[]>()

function summariesOf(run: Run<Table>): readonly TableSummary[] {
  const known = summaries.get(run)
  if (known !== undefined) return known
  const made = run.map(({ meta }) => ({ ...meta, id: meta.fileNumber }))
  summaries.set(run, made)
  return made
}
