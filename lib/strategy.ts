/** What the stored strategies decide. Twin of native/tree/strategy.cc. */

import type { PlanData, StrategySetting } from './engine.ts'
import { chooseFifo } from './drops.ts'
import { chooseLeveled } from './leveled.ts'
import { chooseSizeTiered } from './size-tiered.ts'
import type { Levels } from './table-summary.ts'

/** Bytes of an output table where neither the plan nor the strategy says it. */
const OUTPUT_SIZE = 2 ** 26
/** More tiers than data has. */
const TIERS = 8

export interface ChoiceContext {
  /** Tables that running jobs have claimed. */
  readonly busyTables: ReadonlySet<number>
  /** Milliseconds since the epoch. */
  readonly now: number
  /**
   * Open snapshots, and reads that begin from now on, are at this seqno or above. @default 0
   */
  readonly seenBelow?: number
}

/** Undefined: nothing to do, or the strategy is not ours. */
export function choosePlan(
  levels: Levels,
  setting: StrategySetting,
  { busyTables, now }: ChoiceContext,
): PlanData | undefined {
  switch (setting.type) {
    case 'leveled':
      return chooseLeveled(levels, setting, busyTables)
    case 'size-tiered':
      return chooseSizeTiered(levels, setting, busyTables)
    case 'fifo':
      return chooseFifo(levels, setting, busyTables, now)
    case 'user':
    default:
      return undefined
  }
}

/**
 * Runs in level 0 that are there on purpose: the strategy compacts only above them. Infinity: it
 * compacts none, whatever their number.
 */
export function toleratedLevel0Runs(setting: StrategySetting): number {
  if (setting.type === 'leveled') return setting.l0Threshold - 1
  if (setting.type === 'size-tiered') return (setting.minRuns - 1) * TIERS
  return Infinity
}

/**
 * When the strategy may have something to do although nothing is written: the next moment at which
 * a table becomes too old. Undefined: never.
 */
export function dueAt(levels: Levels, setting: StrategySetting, now: number): number | undefined {
  const age = ageMax(setting)
  if (age === undefined) return undefined
  let due: number | undefined
  for (const { createdAt } of levels.flat(2)) {
    const end = createdAt + age
    if (end > now && (due === undefined || end < due)) due = end
  }
  return due
}

/** Milliseconds from which a table is too old. */
function ageMax(setting: StrategySetting): number | undefined {
  if (setting.type === 'user') return undefined
  const seconds = setting.type === 'fifo' ? setting.ttlSeconds : setting.maxAgeSeconds
  return seconds === undefined ? undefined : seconds * 1000
}

/** Bytes of an output table of a major compaction. */
export function outputSize(setting: StrategySetting): number {
  if (setting.type === 'leveled') return setting.targetSize
  return setting.type === 'size-tiered' ? setting.baseSize : OUTPUT_SIZE
}
