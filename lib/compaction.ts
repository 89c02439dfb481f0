/** Compaction strategies: pure functions from a version to a plan. */

import type { CompactionPlan } from './compaction-plan.ts'
import type { FifoSetting, LeveledSetting, SizeTieredSetting, StrategySetting } from './engine.ts'
import {
  integer,
  LEVEL_LIST_MAX,
  number,
  optionError,
  readOptions,
  share,
  type Check,
} from './option-checks.ts'
import { wrongReceiver } from './receiver.ts'
import { choosePlan } from './strategy.ts'
import { chooseUpkeep } from './upkeep.ts'
import { namedStrategy } from './user-strategy.ts'
import type { Version } from './version.ts'

export interface StrategyContext {
  /** Tables that running compactions have claimed: a plan with one of them is dropped. */
  readonly busyTables: ReadonlySet<number>
  /** Milliseconds since the epoch. */
  readonly now: number
  /**
   * Open snapshots, and reads that begin from now on, are at this seqno or above: tombstones below
   * it may end where nothing older is left. @default 0, none of them
   */
  readonly seenBelow?: number
}

/**
 * Decides what to compact next; undefined = nothing. One of the application's own is an object with
 * these two members, see `compaction` in KeyspaceOptions.
 */
export interface CompactionStrategy {
  readonly name: string
  choose(version: Version, context: StrategyContext): CompactionPlan | undefined
}

/** What makes a table worth compacting although no level is too large. */
export interface UpkeepOptions {
  /**
   * Share of tombstones among the entries of a table from which it is compacted, above 0 and up to
   * 1. Scans have to pass them, as at the head of a queue, and what they hide takes space. With 1
   * only tables that hold nothing else. @default 0.5
   */
  tombstoneShare?: number
  /**
   * Age at which a table is rewritten, counted from when it was written: so what was removed
   * leaves the disk, and compaction filters see every entry, at least that often. The whole tree
   * is written again in that time: take days. @default none
   */
  maxAgeSeconds?: number
}

export interface LeveledOptions extends UpkeepOptions {
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

export interface SizeTieredOptions extends UpkeepOptions {
  /** Bytes below which runs count as equally small, and of an output table. @default 64 MiB */
  baseSize?: number
  /** How much larger the runs of a tier are than those below it, 1.1 to 1,000. @default 4 */
  ratio?: number
  /** Runs of one tier that are merged, 2 to 64. @default 4 */
  minRuns?: number
}

export interface FifoOptions {
  /** Bytes on disk above which the oldest tables are dropped. */
  limit: number
  /** Age at which a table is dropped, counted from its flush. @default none */
  ttlSeconds?: number
}

const UPKEEP = { tombstoneShare: share, maxAgeSeconds: number(0.001, 1e10) }

function upkeepOf({
  tombstoneShare = 0.5,
  maxAgeSeconds,
}: UpkeepOptions): Pick<LeveledSetting, 'tombstoneShare' | 'maxAgeSeconds'> {
  return { tombstoneShare, maxAgeSeconds }
}

/** What each strategy of ours was made with: how it is stored, and that it is ours. */
const SETTINGS = new WeakMap<object, StrategySetting>()

/** For the option readers: the stored form of a strategy, or undefined if it is none of ours. */
export function strategySetting(strategy: unknown): StrategySetting | undefined {
  return typeof strategy === 'object' && strategy !== null ? SETTINGS.get(strategy) : undefined
}

function settingOf(strategy: unknown, name: string, member: string): StrategySetting {
  const setting = strategySetting(strategy)
  if (setting === undefined) throw wrongReceiver(name, member)
  return setting
}

/** What the strategy wants; where it wants nothing, the upkeep. */
function planOf(
  { levels }: Version,
  setting: StrategySetting,
  context: StrategyContext,
): CompactionPlan | undefined {
  return choosePlan(levels, setting, context) ?? chooseUpkeep(levels, setting, context)
}

/**
 * Levels of growing size, one run each but level 0; the base level moves up as the data grows, so
 * that the last level holds most of it and space amplification stays near 1.1.
 */
export class LeveledCompaction implements CompactionStrategy {
  /** @throws ShaleError INVALID_OPTION */
  constructor(options?: LeveledOptions) {
    const given = readOptions(options, 'options', {
      l0Threshold: integer(1, 1000),
      targetSize: integer(4096, 2 ** 40),
      levelRatio: ratios,
      ...UPKEEP,
    })
    const setting: LeveledSetting = {
      type: 'leveled',
      name: 'leveled',
      l0Threshold: given.l0Threshold ?? 4,
      targetSize: given.targetSize ?? 64 * MIB,
      levelRatio: given.levelRatio ?? Object.freeze([10]),
      ...upkeepOf(given),
    }
    SETTINGS.set(this, Object.freeze(setting))
  }

  get name(): string {
    return settingOf(this, 'LeveledCompaction', 'name').name
  }

  choose(version: Version, context: StrategyContext): CompactionPlan | undefined {
    return planOf(version, settingOf(this, 'LeveledCompaction', 'choose'), context)
  }
}

/**
 * Runs of like size are merged into larger ones, whatever their keys: about one rewrite of an entry
 * per tier, and so the least writing; in exchange a read looks into more runs, and up to twice the
 * space is used, more while the largest runs are merged.
 */
export class SizeTieredCompaction implements CompactionStrategy {
  /** @throws ShaleError INVALID_OPTION */
  constructor(options?: SizeTieredOptions) {
    const given = readOptions(options, 'options', {
      baseSize: integer(4096, 2 ** 40),
      ratio: number(1.1, 1000),
      minRuns: integer(2, 64),
      ...UPKEEP,
    })
    const setting: SizeTieredSetting = {
      type: 'size-tiered',
      name: 'size-tiered',
      baseSize: given.baseSize ?? 64 * MIB,
      ratio: given.ratio ?? 4,
      minRuns: given.minRuns ?? 4,
      ...upkeepOf(given),
    }
    SETTINGS.set(this, Object.freeze(setting))
  }

  get name(): string {
    return settingOf(this, 'SizeTieredCompaction', 'name').name
  }

  choose(version: Version, context: StrategyContext): CompactionPlan | undefined {
    return planOf(version, settingOf(this, 'SizeTieredCompaction', 'choose'), context)
  }
}

/**
 * For data that ages, such as events and caches: nothing is rewritten, the oldest tables are
 * dropped beyond a size or an age, counted from their flush. No older version comes to light
 * by that. A snapshot goes on reading what was dropped since it was taken.
 */
export class FifoCompaction implements CompactionStrategy {
  /** @throws ShaleError INVALID_OPTION */
  constructor(options: FifoOptions) {
    const given = readOptions(options, 'options', {
      limit: integer(1, 2 ** 50),
      ttlSeconds: number(0.001, 1e10),
    })
    if (given.limit === undefined) {
      throw optionError('limit', 'an integer from 1 to 1125899906842624', undefined)
    }
    const { limit, ttlSeconds } = given
    const setting: FifoSetting = { type: 'fifo', name: 'fifo', limit, ttlSeconds }
    SETTINGS.set(this, Object.freeze(setting))
  }

  get name(): string {
    return settingOf(this, 'FifoCompaction', 'name').name
  }

  choose(version: Version, context: StrategyContext): CompactionPlan | undefined {
    return choosePlan(version.levels, settingOf(this, 'FifoCompaction', 'choose'), context)
  }
}

const CLASSES = {
  leveled: LeveledCompaction,
  'size-tiered': SizeTieredCompaction,
  fifo: FifoCompaction,
} as const

/** The strategy that is stored, also with numbers that the constructor would refuse. */
export function storedStrategy(setting: StrategySetting): CompactionStrategy {
  if (setting.type === 'user') return namedStrategy(setting.name)
  const strategy = Object.create(CLASSES[setting.type].prototype) as CompactionStrategy
  SETTINGS.set(strategy, Object.freeze(setting))
  return strategy
}
