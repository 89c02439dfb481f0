/** What is done to directories in several places. */

import { ShaleError } from '../../errors.ts'
import type { Flow } from '../base/flow.ts'
import type { Vfs } from './vfs.ts'

/** Failures after which a sync may be tried again: nothing was tried. */
const NOT_TRIED: ReadonlySet<string> = new Set(['TOO_MANY_OPEN_FILES', 'OUT_OF_MEMORY', 'ABORTED'])

/** Makes entries durable that others build upon. SYNC_FAILED: never to be tried again. */
export function* syncDirectory(vfs: Vfs, path: string): Flow<void> {
  try {
    yield* vfs.syncDir(path)
  } catch (error) {
    if (!(error instanceof ShaleError) || NOT_TRIED.has(error.code)) throw error
    const { message, errno, syscall } = error
    const details = { path, errno, syscall, indeterminate: true, cause: error.cause }
    throw new ShaleError('SYNC_FAILED', message, details)
  }
}

/** A file that stays is removed by the next open. */
export function* tryRemove(vfs: Vfs, path: string): Flow<void> {
  try {
    yield* vfs.remove(path)
  } catch {
    // It is named by nothing.
  }
}
