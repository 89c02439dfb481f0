/**
 * The size-tiered strategy. Twin of native/tree/size_tiered.cc: the same choice from the same
 * version.
 *
 * Runs are looked at in the order of their age, over all levels. Runs below `baseSize` are of tier
 * 0, each tier above is `ratio` times as large. Where `minRuns` runs of one tier stand beside each
 * other, with none between them but smaller ones, that row becomes one run: each entry is rewritten
 * once per tier. The lowest tiers come first.
 *
 * Levels are filled from the bottom: a row with the oldest run in it goes to the last level, any
 * other right above the run behind it, never above its own. Tables that meet none of the others
 * are moved.
 */

import type { PlanData, SizeTieredSetting } from './engine.ts'
import { isDisjoint, LEVEL_COUNT, type Levels, type Tables } from './table-summary.ts'

interface Run {
  readonly tables: Tables
  readonly level: number
  /** -1: a job has one of its tables. */
  readonly tier: number
}

/** Costs a look at each table, and one at each run for each tier. */
export function chooseSizeTiered(
  levels: Levels,
  setting: SizeTieredSetting,
  busy: ReadonlySet<number>,
): PlanData | undefined {
  const runs = runsByAge(levels, setting, busy)
  const tiers = new Set(runs.map(({ tier }) => tier).filter((tier) => tier >= 0))
  for (const tier of [...tiers].toSorted((a, b) => a - b)) {
    const row = fullRow(runs, tier, setting.minRuns)
    if (row !== undefined) return planOf(runs, row, setting)
  }
  return undefined
}

/** Newest first. */
function runsByAge(
  levels: Levels,
  setting: SizeTieredSetting,
  busy: ReadonlySet<number>,
): readonly Run[] {
  return levels.flatMap((runs, level) =>
    runs.map((tables) => {
      const size = tables.reduce((sum, table) => sum + table.size, 0)
      const isBusy = tables.some(({ id }) => busy.has(id))
      return { tables, level, tier: isBusy ? -1 : tierOf(size, setting) }
    }),
  )
}

function tierOf(size: number, { baseSize, ratio }: SizeTieredSetting): number {
  let tier = 0
  for (let limit = baseSize; size >= limit; limit *= ratio) tier++
  return tier
}

/** The newest row of idle runs of `tier` and below, with `least` of the tier itself. */
function fullRow(
  runs: readonly Run[],
  tier: number,
  least: number,
): { readonly from: number; readonly end: number } | undefined {
  let [from, count] = [0, 0]
  for (let i = 0; i <= runs.length; i++) {
    const own = runs[i]?.tier ?? -1
    if (own >= 0 && own <= tier) {
      if (own === tier) count++
      continue
    }
    if (count >= least) return { from, end: i }
    from = i + 1
    count = 0
  }
  return undefined
}

function planOf(
  runs: readonly Run[],
  { from, end }: { readonly from: number; readonly end: number },
  setting: SizeTieredSetting,
): PlanData {
  const tables = runs.slice(from, end).flatMap((run) => run.tables)
  const ids = tables.map(({ id }) => id)
  const own = runs[end - 1]!.level
  const older = runs[end]
  const destinationLevel = older === undefined ? LEVEL_COUNT - 1 : Math.max(own, older.level - 1)
  if (isDisjoint(tables)) return { kind: 'move', tables: ids, destinationLevel }
  return { kind: 'merge', tables: ids, destinationLevel, targetSize: setting.baseSize }
}
