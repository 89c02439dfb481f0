/** Compaction strategies of the application: what the core knows them by, and their answers. */

import type {
  StrategySetting,
  StrategySource,
  TreeSettingsGiven,
  UserSetting,
  VersionData,
} from '../engine.ts'
import { PATIENCE } from '../user-strategy.ts'
import { door, NUMBERS } from './addon.ts'
import { fail, numberOf } from './asked.ts'
import { META_NUMBER } from './protocol.ts'

/** What a strategy is asked. */
export interface StrategyQuestion {
  readonly version: VersionData
  readonly busyTables: readonly number[]
  readonly now: number
  readonly seenBelow: number
}

/** Options as the door takes them. */
export type DoorTreeSettings = Omit<TreeSettingsGiven, 'compaction'> & {
  readonly compaction?: Exclude<StrategySetting, UserSetting> | GivenStrategy
}
export interface GivenStrategy {
  readonly type: 'user'
  readonly name: string
  readonly source?: { readonly number: number; readonly patience: number } | undefined
}

/** The strategy of the application that is given with these options. */
export function strategyIn({ compaction }: TreeSettingsGiven): StrategySource | undefined {
  return compaction?.type === 'user' ? compaction.source : undefined
}

export function doorSettings(given: TreeSettingsGiven): DoorTreeSettings {
  const { compaction, ...rest } = given
  if (compaction === undefined) return rest
  if (compaction.type !== 'user') return { ...rest, compaction }
  const { type, name, source } = compaction
  if (source === undefined) return { ...rest, compaction: { type, name } }
  const asked = { number: numberOf(source), patience: PATIENCE }
  return { ...rest, compaction: { type, name, source: asked } }
}

/** Answers a question. Never throws. */
export function answerStrategy(
  source: StrategySource,
  question: number,
  { version, busyTables, now, seenBelow }: StrategyQuestion,
): void {
  try {
    const plan = source.choose(version, { busyTables: new Set(busyTables), now, seenBelow })
    NUMBERS[META_NUMBER / 2] = question
    door.answerWithPlan(plan)
  } catch (error) {
    fail(question, error)
  }
}
