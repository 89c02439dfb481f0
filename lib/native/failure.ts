/** Errors of the native engine: statuses and details of the core made into what errors.ts has. */

import { ERROR_CODES, ShaleError, type ErrorCode } from '../errors.ts'
import { door, type CoreError } from './addon.ts'
import { failureOf } from './asked.ts'
import { STATUS_BAD_HANDLE, STATUS_BUSY } from './protocol.ts'

/** For failures about which the core says no more than their code. */
const WORDS: Partial<Record<ErrorCode, string>> = {
  DB_CLOSED: 'the database or tree is closed',
  KEYSPACE_DELETED: 'the keyspace was deleted',
  ITERATOR_BUSY: 'a call on this end of the iteration is pending',
  ITERATOR_CLOSED: 'the iteration is closed',
  ABORTED: 'stopped before it was done',
  OUT_OF_MEMORY: 'out of memory',
  READ_ONLY: 'opened read-only',
  STALLED: 'flush and compaction are behind: nothing was written within maxStall',
  PLAN_STALE: 'a table of the plan is gone or busy',
  BATCH_TOO_LARGE: 'the batch is too large',
}

export function errorOf(core: CoreError): ShaleError {
  const known = core.question === undefined ? undefined : failureOf(core.question)
  if (known !== undefined) return known
  const named = ERROR_CODES[core.code]
  const code: ErrorCode =
    named === undefined || named === 'OK' || named === 'NOT_FOUND' || named === 'WOULD_BLOCK'
      ? 'INVALID_ARGUMENT'
      : named
  const message = core.message === undefined || core.message === '' ? WORDS[code] : core.message
  const cause = core.cause === undefined ? undefined : errorOf(core.cause)
  return new ShaleError(code, message ?? code.toLowerCase().replaceAll('_', ' '), {
    ...core,
    // The door leaves out what is false.
    sameProcess: code === 'DB_LOCKED' ? core.sameProcess === true : undefined,
    cause,
  })
}

/** Why the last call failed; `status` is what it left in META_STATUS. */
export function failure(status: number): ShaleError {
  if (status === STATUS_BAD_HANDLE) {
    return new ShaleError('DB_CLOSED', WORDS.DB_CLOSED as string)
  }
  if (status === STATUS_BUSY) {
    return new ShaleError('ITERATOR_BUSY', WORDS.ITERATOR_BUSY as string)
  }
  return errorOf(door.lastError())
}
