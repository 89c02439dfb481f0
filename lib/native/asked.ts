/**
 * What the core asks of the application: filters and strategies by the numbers under which the core
 * knows them, and what they failed with.
 */

import type { ApplicationFilterSource, StrategySource } from '../engine.ts'
import { ShaleError } from '../errors.ts'
import { door, META, NUMBERS } from './addon.ts'
import { META_FLAGS, META_NUMBER } from './protocol.ts'

export type Asked = ApplicationFilterSource | StrategySource

/**
 * Not held: what is asked may refer to the database that asks it, which nobody could collect then.
 * Databases hold theirs by a member or by the settings they were opened with, trees by a member.
 */
const sources = new Map<number, WeakRef<Asked>>()
const collected = new FinalizationRegistry<number>((number) => sources.delete(number))
let lastNumber = 0

/** The number under which the core asks it. */
export function numberOf(source: Asked): number {
  const number = ++lastNumber
  sources.set(number, new WeakRef(source))
  collected.register(source, number)
  return number
}

/** Undefined: it was collected. */
export function sourceOf(number: number): Asked | undefined {
  return sources.get(number)?.deref()
}

// --- failures ------------------------------------------------------------------------------------

/** So many are remembered; of older ones only what the core says is left. */
const KEPT = 64

/** By the question. */
const failures = new Map<number, ShaleError>()

/** Answers a question with a failure. `flags`: QUESTION_NOW if the filter is not to blame. */
export function fail(number: number, error: unknown, flags = 0): void {
  if (error instanceof ShaleError) {
    if (failures.size >= KEPT) failures.delete(failures.keys().next().value as number)
    failures.set(number, error)
  }
  NUMBERS[META_NUMBER / 2] = number
  META[META_FLAGS] = flags
  door.failQuestion(error instanceof Error ? error.message : String(error))
}

/** What of this environment failed when it was asked that, and with what. */
export function failureOf(question: number): ShaleError | undefined {
  return failures.get(question)
}
