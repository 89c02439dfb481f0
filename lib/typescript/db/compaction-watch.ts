import type { CompactionJob } from '../tree/compaction-job.ts'

/** What a caller follows and stops a compaction by. */
export class CompactionWatch {
  job: CompactionJob | undefined
  isStopped = false
  /** While it waits for others. */
  onStop: (() => void) | undefined

  stop(): void {
    this.isStopped = true
    this.job?.stop()
    this.onStop?.()
  }
}
