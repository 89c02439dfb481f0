/** Failures as the engine words them: damage on disk, and what the operating system says. */

import { ShaleError } from '../../errors.ts'
import type { ErrorCode } from '../../errors.ts'

/** CORRUPTION: bytes are not what docs/format.md allows. The place may be added later. */
export function corruption(message: string, path?: string, offset?: number): ShaleError {
  return new ShaleError('CORRUPTION', message, { path, offset })
}

/** Path and offset for an error that was made where they were not known; else `error` itself. */
export function atPlace(error: unknown, path: string, offset?: number): unknown {
  if (!(error instanceof ShaleError)) return error
  if (error.path !== undefined && (error.offset !== undefined || offset === undefined)) return error
  return new ShaleError(error.code, error.message, {
    path: error.path ?? path,
    offset: error.offset ?? offset,
    errno: error.errno,
    syscall: error.syscall,
    indeterminate: error.indeterminate,
    cause: error.cause,
  })
}

/** Of which keyspace, for an error that does not say it. */
export function withKeyspace(error: unknown, keyspace: string): unknown {
  if (!(error instanceof ShaleError) || error.keyspace !== undefined) return error
  const { code, message, path, offset, errno, syscall, indeterminate, cause } = error
  const details = { path, offset, errno, syscall, indeterminate, cause, keyspace }
  return new ShaleError(code, message, details)
}

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'DISK_FULL',
  EDQUOT: 'DISK_FULL',
  EFBIG: 'DISK_FULL',
  EMFILE: 'TOO_MANY_OPEN_FILES',
  ENFILE: 'TOO_MANY_OPEN_FILES',
  ENOMEM: 'OUT_OF_MEMORY',
  EROFS: 'READ_ONLY',
}

/** What a failed call of the system is to a caller. `error` is what Node.js threw. */
export function systemError(error: unknown, syscall: string, path: string): ShaleError {
  if (error instanceof ShaleError) return error
  const { code = 'EIO', errno = 0 } = error as NodeJS.ErrnoException
  return new ShaleError(CODES[code] ?? 'IO_ERROR', `${syscall} failed: ${code}`, {
    path,
    syscall,
    errno: Math.abs(errno),
    cause: error,
  })
}

/** Whether `error` is a failed call of the system with this code ("ENOENT"). */
export function isErrno(error: unknown, code: string): boolean {
  if (!(error instanceof ShaleError)) return false
  return (error.cause as NodeJS.ErrnoException | undefined)?.code === code
}
