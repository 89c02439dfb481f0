/**
 * Compaction strategies: pure functions from a version to a plan. Twins of native/tree/strategy.cc.
 */

import type { PlanData, StrategySetting } from './engine.ts'
import { kindOf, ShaleError } from './errors.ts'
import { chooseLeveled } from './leveled.ts'
import {
  integer,
  LEVEL_LIST_MAX,
  number,
  optionError,
  readOptions,
  type Check,
} from './option-checks.ts'
import type { Version } from './version.ts'

/**
 * What to do with tables: rewrite them together, move them to another level as they are, or drop
 * them.
 */
export type CompactionPlan =
  | { kind: 'merge'; tables: readonly number[]; destinationLevel: number; targetSize: number }
  | { kind: 'move'; tables: readonly number[]; destinationLevel: number }
  | { kind: 'drop'; tables: readonly number[] }

export interface StrategyContext {
  /** Tables that running compactions have claimed; a plan must not name one. */
  readonly busyTables: ReadonlySet<number>
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** Decides what to compact next; undefined = nothing. */
export interface CompactionStrategy {
  readonly name: string
  choose(version: Version, context: StrategyContext): CompactionPlan | undefined
}

export interface LeveledOptions {
  /** Runs in level 0 from which they are merged down, 1 to 1,000. @default 4 */
  l0Threshold?: number
  /** Bytes of an output table. @default 64 MiB */
  targetSize?: number
  /** How much larger each level is than the one above it; the last ratio repeats. @default 10 */
  levelRatio?: number | readonly number[]
}

const MIB = 2 ** 20

const ratios: Check<readonly number[]> = (value, name) => {
  const list = Array.isArray(value) ? (value as unknown[]) : [value]
  if (list.length < 1 || list.length > LEVEL_LIST_MAX) {
    throw optionError(name, `one ratio or a list of 1 to ${LEVEL_LIST_MAX}`, value)
  }
  return Object.freeze(Array.from(list, (item) => number(1.1, 1000)(item, name)))
}

/** For the option readers: the stored form of a strategy, or undefined if it is none of ours. */
export let strategySetting: (strategy: unknown) => StrategySetting | undefined
/** The strategy that is stored, also with numbers that the constructor would refuse. */
export let storedStrategy: (setting: StrategySetting) => CompactionStrategy

/**
 * Levels of growing size, one run each but level 0; the base level moves up as the data grows, so
 * that the last level holds most of it and space amplification stays near 1.1.
 */
export class LeveledCompaction implements CompactionStrategy {
  #setting: StrategySetting

  /** @throws ShaleError INVALID_OPTION */
  constructor(options?: LeveledOptions) {
    const given = readOptions(options, 'options', {
      l0Threshold: integer(1, 1000),
      targetSize: integer(4096, 2 ** 40),
      levelRatio: ratios,
    })
    this.#setting = Object.freeze({
      name: 'leveled',
      l0Threshold: given.l0Threshold ?? 4,
      targetSize: given.targetSize ?? 64 * MIB,
      levelRatio: given.levelRatio ?? Object.freeze([10]),
    })
  }

  static {
    strategySetting = (strategy) =>
      typeof strategy === 'object' && strategy !== null && #setting in strategy
        ? strategy.#setting
        : undefined
    storedStrategy = (setting) => {
      const strategy = new LeveledCompaction()
      strategy.#setting = Object.freeze(setting)
      return strategy
    }
  }

  get name(): string {
    return this.#setting.name
  }

  choose(version: Version, context: StrategyContext): CompactionPlan | undefined {
    return chooseLeveled(version.levels, this.#setting, context.busyTables)
  }
}

const kind = (value: unknown): PlanData['kind'] => {
  if (value !== 'merge' && value !== 'move' && value !== 'drop') throw planError('kind')
  return value
}
const tables = (value: unknown): readonly number[] => {
  if (!Array.isArray(value) || value.length === 0) throw planError('tables')
  const ids = Array.from(value as unknown[])
  if (!ids.every((id) => Number.isSafeInteger(id) && (id as number) > 0)) throw planError('tables')
  return ids as number[]
}
const level = (value: unknown): number => {
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 6) {
    throw planError('destinationLevel')
  }
  return value as number
}
const size = (value: unknown): number => {
  if (!Number.isSafeInteger(value) || (value as number) < 4096) throw planError('targetSize')
  return value as number
}

/** A checked copy of a user's plan. */
export function planData(plan: unknown): PlanData {
  if (typeof plan !== 'object' || plan === null) {
    throw new ShaleError('INVALID_ARGUMENT', `expected a strategy or a plan, not ${kindOf(plan)}`)
  }
  const given = readOptions(plan, 'plan', {
    kind,
    tables,
    destinationLevel: level,
    targetSize: size,
  })
  if (given.kind === undefined || given.tables === undefined) throw planError('kind and tables')
  if (given.kind === 'drop') return { kind: 'drop', tables: given.tables }
  if (given.destinationLevel === undefined) throw planError('destinationLevel')
  const { tables: inputs, destinationLevel } = given
  if (given.kind === 'move') return { kind: 'move', tables: inputs, destinationLevel }
  if (given.targetSize === undefined) throw planError('targetSize')
  return { kind: 'merge', tables: inputs, destinationLevel, targetSize: given.targetSize }
}

function planError(part: string): ShaleError {
  return new ShaleError('INVALID_ARGUMENT', `the compaction plan has no valid ${part}`)
}
