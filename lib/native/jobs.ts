/** Compactions that run on the engine's threads: progress and stop. */

import type { MajorCompaction } from '../engine.ts'
import { door, META, NUMBERS } from './addon.ts'
import { completion } from './completions.ts'
import { META_HANDLE, META_NUMBER, META_NUMBER2, META_STATUS, STATUS_PENDING } from './protocol.ts'

type JobOptions = Pick<MajorCompaction, 'onProgress' | 'signal'>

const UNWATCHED: JobOptions = { onProgress: undefined, signal: undefined }

/** How often progress is told, ms. */
const PROGRESS_INTERVAL = 100

/** The promise of the compaction that the last call began; META_HANDLE is its job. */
export function startedJob(owner: unknown, options: JobOptions = UNWATCHED): Promise<void> {
  const begun = META[META_STATUS] === STATUS_PENDING
  const handle = META[META_HANDLE] as number
  const result = completion(owner)
  return begun ? watched(handle, result, options) : result
}

/**
 * `result`; until then `onProgress` hears of the job, and `signal` stops it. An `onProgress` that
 * throws stops it as well: that error is the outcome then.
 */
async function watched(
  handle: number,
  result: Promise<void>,
  { onProgress, signal }: JobOptions,
): Promise<void> {
  let failed: { readonly cause: unknown } | undefined
  const stop = (): void => {
    META[META_HANDLE] = handle
    door.stopJob()
  }
  const report = (): void => {
    if (failed !== undefined) return
    META[META_HANDLE] = handle
    door.jobProgress()
    try {
      onProgress?.(NUMBERS[META_NUMBER / 2] as number, NUMBERS[META_NUMBER2 / 2] as number)
    } catch (cause) {
      failed = { cause }
      stop()
    }
  }
  const timer = onProgress && setInterval(report, PROGRESS_INTERVAL).unref()
  signal?.addEventListener('abort', stop, { once: true })
  try {
    await result
    if (onProgress !== undefined) report()
  } catch (cause) {
    failed ??= { cause }
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', stop)
    META[META_HANDLE] = handle
    door.release()
  }
  if (failed !== undefined) throw failed.cause
}
