/** When a job is tried again, and what its failure means. */

import { isFilterFailure } from '../../compaction-filter.ts'
import { ShaleError } from '../../errors.ts'

/** Milliseconds until a failed job is tried again: doubled from the one to the other. */
const RETRY_MIN = 50
const RETRY_MAX = 5000
/** Milliseconds between two looks at the age of tables, at least and at most. */
const AGE_MIN = 20
const AGE_MAX = 60_000

/** A failed sync is never tried again. */
export function isFatal(error: unknown): boolean {
  return error instanceof ShaleError && error.code === 'SYNC_FAILED'
}

/** The next pause after one of `before` milliseconds. */
export function nextRetry(before: number): number {
  return Math.min(Math.max(2 * before, RETRY_MIN), RETRY_MAX)
}

/** It was stopped, or others were faster: nothing has failed. */
export function isAborted(error: unknown): boolean {
  if (!(error instanceof ShaleError) || isFilterFailure(error)) return false
  return error.code === 'ABORTED' || error.code === 'PLAN_STALE'
}

/** Until tables are looked at that become too old in `due` milliseconds. */
export function agePause(due: number): number {
  return Math.min(Math.max(due, AGE_MIN), AGE_MAX)
}
