/** Compaction plans: what a strategy decides, and what an application may give. */

import type { PlanData } from './engine.ts'
import { kindOf, ShaleError } from './errors.ts'
import { readOptions } from './option-checks.ts'

/**
 * What to do with tables: rewrite them together, move them to another level as they are, or drop
 * them.
 */
export type CompactionPlan =
  | { kind: 'merge'; tables: readonly number[]; destinationLevel: number; targetSize: number }
  | { kind: 'move'; tables: readonly number[]; destinationLevel: number }
  | { kind: 'drop'; tables: readonly number[] }

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
