/** What maintenance has done: jobs that succeeded. */

import type { EngineErrorSource, PlanData } from '../../engine.ts'
import type { ShaleError } from '../../errors.ts'
import { Latency } from '../base/histogram.ts'
import type { JobFigures } from '../tree/tree-context.ts'
import type { Tree } from '../tree/tree.ts'
import type { Events } from './event-queue.ts'

/** Without what is for the engine alone. */
export function shownPlan(plan: PlanData): PlanData {
  return plan.kind === 'drop' ? { kind: 'drop', tables: plan.tables } : plan
}

export class MaintenanceFigures {
  completed = 0
  /** Milliseconds, those of jobs that failed as well. */
  compacting = 0
  bytesRead = 0
  bytesWritten = 0
  /** Milliseconds. */
  flushing = 0
  activeFlushes = 0
  flushedBytes = 0
  readonly flushes: Latency = new Latency()
  readonly compactions: Latency = new Latency()
  readonly #events: Events | undefined

  constructor(events: Events | undefined) {
    this.#events = events
  }

  flushed({ name, counters }: Tree, { tables, bytesWritten: bytes }: JobFigures, ms: number): void {
    this.flushes.add(ms)
    this.flushing += ms
    this.flushedBytes += bytes
    counters.fileBytes += bytes
    this.#events?.tell({ type: 'flush', keyspace: name, tables, bytes, ms })
  }

  compacted({ name, counters }: Tree, job: PlanData, of: JobFigures, ms: number): void {
    const { bytesRead, bytesWritten } = of
    this.completed++
    this.bytesRead += bytesRead
    this.bytesWritten += bytesWritten
    this.compactions.add(ms)
    counters.fileBytes += bytesWritten
    const plan = shownPlan(job)
    const bytes = { bytesRead, bytesWritten }
    this.#events?.tell({ type: 'compaction', keyspace: name, plan, ...bytes, ms })
  }

  failed(during: EngineErrorSource, error: unknown): void {
    this.#events?.tell({ type: 'error', error: error as ShaleError, during })
  }
}
