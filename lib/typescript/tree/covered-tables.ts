/**
 * Tables that can go without being read: nobody can tell the difference.
 *
 * - One range tombstone of a newer run hides all of it from every read that sees any of it.
 * - It holds range tombstones alone, and nothing older lies under it.
 */

import { BOUND_INCLUSIVE, BOUND_UNBOUNDED } from '../table/table-format.ts'
import { tableAtOrBehind } from './run-iterator.ts'
import { reaches } from './table-meta.ts'
import type { TableMeta } from './table-meta.ts'
import type { Run } from './levels.ts'
import type { RetentionView } from './retention.ts'
import type { Table } from './table.ts'
import type { Version } from './version.ts'

/** Their file numbers. `busy` ones stay. */
export function coveredTables(
  { levels }: Version<Table>,
  view: RetentionView,
  busy: ReadonlySet<number>,
): number[] {
  const runs = levels.flat()
  /** Of the runs above, the tables with range tombstones. */
  const newer: Run<Table>[] = []
  const covered: number[] = []
  for (const [i, run] of runs.entries()) {
    for (const { meta } of run) {
      const isNeedless =
        newer.some((tables) => isHidden(meta, tables, view)) ||
        (meta.itemCount === 0 && !runs.slice(i + 1).some((older) => hidesIn(meta, older)))
      if (isNeedless && !busy.has(meta.fileNumber)) covered.push(meta.fileNumber)
    }
    const ranged = run.filter(({ meta }) => meta.rangeTombstoneCount > 0)
    if (ranged.length > 0) newer.push(ranged)
  }
  return covered
}

/** Whether one range tombstone of a run hides a table from every read that sees any of it. */
function isHidden(meta: TableMeta, run: Run<Table>, view: RetentionView): boolean {
  const { firstKey, lastKey, lastKeyBound, lowestSeqno, highestSeqno } = meta
  const table = run[tableAtOrBehind(run, firstKey, 0, firstKey.length)]
  if (table === undefined || table.meta.highestSeqno <= highestSeqno) return false
  const { reader } = table.shared
  const last = lastKeyBound === BOUND_UNBOUNDED ? undefined : lastKey
  const below = firstReadAbove(lowestSeqno, view) - reader.globalSeqno
  const found = reader.rangeTombstones!.containing(
    firstKey,
    last,
    lastKeyBound === BOUND_INCLUSIVE,
    below,
  )
  return found >= 0 && reader.rangeTombstone(found).seqno > highestSeqno
}

/** The lowest read seqno, of now or later, that sees an entry with this seqno. */
function firstReadAbove(seqno: number, { snapshots, visible }: RetentionView): number {
  const snapshot = snapshots.find((open) => open > seqno)
  return Math.min(snapshot ?? visible, visible)
}

/** Whether range tombstones of a table may hide something in an older run. */
function hidesIn(meta: TableMeta, run: Run<Table>): boolean {
  const { firstKey, highestSeqno } = meta
  for (let at = tableAtOrBehind(run, firstKey, 0, firstKey.length); at < run.length; at++) {
    const other = run[at]!.meta
    if (!reaches(meta, other.firstKey)) return false
    if (other.lowestSeqno < highestSeqno) return true
  }
  return false
}
