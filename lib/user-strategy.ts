/** Strategies of the application: how they are known, and what asks them for an engine. */

import type { CompactionStrategy } from './compaction.ts'
import { planData } from './compaction-plan.ts'
import type { PlanData, StrategySource, UserSetting, VersionData } from './engine.ts'
import { kindOf, ShaleError } from './errors.ts'
import { guarded, optionError } from './option-checks.ts'
import type { ChoiceContext } from './strategy.ts'
import { makeVersion } from './version.ts'

/** Milliseconds that one decision may take. */
export const PATIENCE = 1000
const NAME_MAX = 128

/** The strategies that were given, by name: what the options of a tree show. */
const given = new Map<string, WeakRef<CompactionStrategy>>()
/** What stands for one that is stored and that nobody has given. */
const unknownOnes = new WeakSet<object>()

/**
 * How a strategy of the application is stored, and what asks it.
 *
 * @throws ShaleError INVALID_OPTION
 */
export function userSetting(strategy: unknown, option: string): UserSetting {
  const expected = 'a compaction strategy, with a name and a method choose'
  if (typeof strategy !== 'object' || strategy === null) {
    throw optionError(option, expected, strategy)
  }
  let members: [unknown, unknown]
  try {
    const { name, choose } = strategy as Partial<CompactionStrategy>
    members = [name, choose]
  } catch (cause) {
    throw new ShaleError('INVALID_OPTION', `option ${option} cannot be read`, { cause })
  }
  const [name, choose] = members
  if (typeof choose !== 'function') throw optionError(option, expected, strategy)
  if (!isName(name)) throw optionError(`${option}.name`, `1 to ${NAME_MAX} characters`, name)
  if (unknownOnes.has(strategy)) return Object.freeze({ type: 'user', name, source: undefined })
  given.set(name, new WeakRef(strategy as CompactionStrategy))
  const source = Object.freeze<StrategySource>({
    name,
    choose: (version, context) =>
      ask(strategy, choose as CompactionStrategy['choose'], name, version, context),
  })
  return Object.freeze({ type: 'user', name, source })
}

/** Whether it is meant as one, and not as a plan. */
export function isUserStrategy(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  return guarded('the strategy or plan', () => 'choose' in value)
}

function isName(name: unknown): name is string {
  if (typeof name !== 'string' || name.length < 1 || name.length > NAME_MAX) return false
  return (name as string & { isWellFormed(): boolean }).isWellFormed()
}

/** The strategy with that name that was given last; else one that knows only its name. */
export function namedStrategy(name: string): CompactionStrategy {
  const strategy = given.get(name)?.deref()
  if (strategy !== undefined) return strategy
  const unknown = Object.freeze({ name, choose: () => undefined })
  unknownOnes.add(unknown)
  return unknown
}

function ask(
  strategy: object,
  choose: CompactionStrategy['choose'],
  name: string,
  version: VersionData,
  { busyTables, now, seenBelow = 0 }: ChoiceContext,
): PlanData | undefined {
  const context = Object.freeze({ busyTables: new Set(busyTables), now, seenBelow })
  const begun = performance.now()
  let plan: unknown
  try {
    plan = choose.call(strategy, makeVersion(version), context)
  } catch (cause) {
    throw strategyFailure(name, 'failed', cause)
  }
  const took = performance.now() - begun
  if (took > PATIENCE) throw strategyFailure(name, `took ${Math.round(took)} ms, not a second`)
  if (plan === undefined) return undefined
  if (plan instanceof Promise) {
    plan.catch(() => {}) // it is the application's, which is told below
    throw strategyFailure(name, 'answered with a promise, not a plan')
  }
  try {
    return planData(plan)
  } catch (cause) {
    const answer = typeof plan === 'object' ? 'an invalid plan' : kindOf(plan)
    throw strategyFailure(name, `answered with ${answer}`, cause)
  }
}

/** Why there is no plan. */
export function strategyFailure(name: string, problem: string, cause?: unknown): ShaleError {
  return new ShaleError('ABORTED', `the compaction strategy '${name}' ${problem}`, { cause })
}

/** Why a tree with that strategy is not compacted by itself. */
export function strategyMissing(name: string, keyspace: string): ShaleError {
  const message = `nothing is compacted until the strategy '${name}' is given again`
  return new ShaleError('NOT_SUPPORTED', message, { keyspace })
}
