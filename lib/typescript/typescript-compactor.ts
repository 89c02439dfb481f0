/** Background compaction, and compactions that a caller waits for: progress and stop. */

import type { CompactorEngine, JobData, MajorCompaction } from '../engine.ts'
import type { ShaleError } from '../errors.ts'
import { keepAlive } from './base/keep-alive.ts'
import { shownPlan } from './db/maintenance-figures.ts'
import { CompactionWatch } from './db/compaction-watch.ts'
import type { Maintenance } from './db/maintenance.ts'

/** How often progress is told, ms. */
const PROGRESS_INTERVAL = 100

/** What both kinds of owners have. */
export interface CompactionOwner {
  readonly maintenance: Maintenance
  /** Throws DB_CLOSED once it is closing. */
  check(): void
}

export class TypescriptCompactor implements CompactorEngine {
  readonly #owner: CompactionOwner

  constructor(owner: CompactionOwner) {
    this.#owner = owner
  }

  state(): 'idle' | 'running' | 'paused' {
    this.#owner.check()
    return this.#owner.maintenance.state
  }

  jobs(): readonly JobData[] {
    this.#owner.check()
    return this.#owner.maintenance.jobs().map(({ keyspace, job }) => {
      const { plan, done, total } = job
      const name = keyspace.name === '' ? undefined : keyspace.name
      return { keyspace: name, plan: shownPlan(plan), done, total }
    })
  }

  async pause(): Promise<void> {
    this.#owner.check()
    return keepAlive(this.#owner.maintenance.pause())
  }

  resume(): void {
    this.#owner.check()
    this.#owner.maintenance.resume()
  }

  async drain(): Promise<void> {
    this.#owner.check()
    return keepAlive(this.#owner.maintenance.drain())
  }
}

/**
 * Runs a compaction; until it ends `onProgress` hears of it, and `signal` stops it. An `onProgress`
 * that throws stops it as well: that error is the outcome then.
 */
export async function watched(
  begin: (watch: CompactionWatch) => Promise<void>,
  { onProgress, signal }: Partial<MajorCompaction> = {},
): Promise<void> {
  const watch = new CompactionWatch()
  let failed: { readonly cause: unknown } | undefined
  const stop = (): void => watch.stop()
  const report = (): void => {
    if (failed !== undefined || onProgress === undefined) return
    try {
      onProgress(watch.job?.done ?? 0, watch.job?.total ?? 0)
    } catch (cause) {
      failed = { cause }
      stop()
    }
  }
  const timer = onProgress && setInterval(report, PROGRESS_INTERVAL).unref()
  signal?.addEventListener('abort', stop, { once: true })
  try {
    await keepAlive(begin(watch))
    report()
  } catch (cause) {
    failed ??= { cause }
  } finally {
    clearInterval(timer)
    signal?.removeEventListener('abort', stop)
  }
  if (failed !== undefined) throw failed.cause as ShaleError
}
