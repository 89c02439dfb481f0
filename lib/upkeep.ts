/**
 * Tables that are compacted although no level is too large. Twin of native/tree/upkeep.cc: the same
 * choice from the same version.
 *
 * A table is due when it is
 * - dense: of its entries `tombstoneShare` or more are tombstones of whatever kind. Every scan has
 *   to pass them, and what they hide takes space;
 * - old: it was written `maxAgeSeconds` ago or longer.
 *
 * It takes one step down: into the next older run that it meets, with the tables that it meets
 * there. Where it meets nothing older it is rewritten in its place, which leaves no tombstone if
 * every read sees all of it; while one does not, only its age is a reason to. A table with range
 * tombstones waits for that wherever it is.
 *
 * So each plan ends tombstones or takes them into an older run, and makes a table new: after so
 * many of them nothing is due. An input is idle, and no output meets what is busy in its run: it
 * lies inside the ranges of the inputs, and they are all that the run has there.
 */

import type { LeveledSetting, PlanData, SizeTieredSetting, StrategySetting } from './engine.ts'
import { outputSize, type ChoiceContext } from './strategy.ts'
import { metIn, type Levels, type Tables, type TableSummary } from './table-summary.ts'

/**
 * What is rewritten for a tombstone, in entries: where more would be, dense tables are left to the
 * strategy. As much as one output table is always worth it.
 */
const ENTRIES_PER_TOMBSTONE = 32

type Setting = LeveledSetting | SizeTieredSetting
type Counts = Pick<
  TableSummary,
  'itemCount' | 'tombstoneCount' | 'weakTombstoneCount' | 'rangeTombstoneCount'
>

interface Run {
  readonly level: number
  readonly tables: Tables
}

interface Due {
  readonly table: TableSummary
  /** Index of its run, from the newest one on. */
  readonly at: number
  readonly isOld: boolean
}

/** Costs a look at each table; for each that is due, a search in every run. */
export function chooseUpkeep(
  levels: Levels,
  setting: StrategySetting,
  context: ChoiceContext,
): PlanData | undefined {
  if (!isOurs(setting)) return undefined
  const runs = levels.flatMap((all, level) => all.map((tables) => ({ level, tables })))
  for (const due of dueTables(runs, setting, context)) {
    const plan = planFor(due, runs, setting, context)
    if (plan !== undefined) return plan
  }
  return undefined
}

/** Whether a strategy with these numbers compacts a table for its tombstones. */
export function isDense(table: Counts, setting: StrategySetting): boolean {
  if (!isOurs(setting)) return false
  const tombstones = tombstonesOf(table)
  return tombstones > 0 && tombstones >= setting.tombstoneShare * entriesOf(table)
}

function isOurs(setting: StrategySetting): setting is Setting {
  return setting.type === 'leveled' || setting.type === 'size-tiered'
}

function tombstonesOf(table: Counts): number {
  return table.tombstoneCount + table.weakTombstoneCount + table.rangeTombstoneCount
}

function entriesOf({ itemCount, rangeTombstoneCount }: Counts): number {
  return itemCount + rangeTombstoneCount
}

/** The densest first, of these the oldest. */
function dueTables(
  runs: readonly Run[],
  setting: Setting,
  { busyTables, now }: ChoiceContext,
): readonly Due[] {
  const { maxAgeSeconds } = setting
  const expiry = maxAgeSeconds === undefined ? -Infinity : now - maxAgeSeconds * 1000
  const due: Due[] = []
  for (const [at, { tables }] of runs.entries()) {
    for (const table of tables) {
      const isOld = table.createdAt <= expiry
      const isDue = isOld || isDense(table, setting)
      if (isDue && !busyTables.has(table.id)) due.push({ table, at, isOld })
    }
  }
  return due.toSorted(({ table: a }, { table: b }) => {
    return shareOf(b) - shareOf(a) || a.createdAt - b.createdAt || a.id - b.id
  })
}

function shareOf(table: TableSummary): number {
  return tombstonesOf(table) / Math.max(1, entriesOf(table))
}

function planFor(
  { table, at, isOld }: Due,
  runs: readonly Run[],
  setting: Setting,
  { busyTables, seenBelow = 0 }: ChoiceContext,
): PlanData | undefined {
  const { level } = runs[at]!
  const older = runs.slice(at + 1)
  const isBusy = ({ id }: TableSummary): boolean => busyTables.has(id)
  // What leaves level 0 does so in the order of its age.
  const waits = level === 0 && older.some((run) => run.level === 0 && run.tables.some(isBusy))
  if (waits) return undefined
  const isSeen = table.highestSeqno < seenBelow
  // What range tombstones hide may go unread as soon as every read sees them.
  if (table.rangeTombstoneCount > 0 && !isOld && !isSeen) return undefined
  for (const run of older) {
    const met = metIn(run.tables, table)
    if (met.length === 0) continue
    if (met.some(isBusy) || (!isOld && isTooMuch(met, table, setting))) return undefined
    return planOf([table, ...met], run.level, setting)
  }
  return isOld || isSeen ? planOf([table], level, setting) : undefined
}

function isTooMuch(met: Tables, table: TableSummary, setting: Setting): boolean {
  let [entries, bytes] = [0, 0]
  for (const one of met) {
    entries += entriesOf(one)
    bytes += one.size
  }
  return entries > ENTRIES_PER_TOMBSTONE * tombstonesOf(table) && bytes > outputSize(setting)
}

function planOf(tables: Tables, destinationLevel: number, setting: Setting): PlanData {
  const ids = tables.map(({ id }) => id)
  return { kind: 'merge', tables: ids, destinationLevel, targetSize: outputSize(setting) }
}
