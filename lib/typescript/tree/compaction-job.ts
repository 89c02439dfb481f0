/** A compaction on its way: its claim on tables, how far it is, and whether it shall go on. */

import type { PlanData } from '../../engine.ts'
import { ShaleError } from '../../errors.ts'
import type { BlobFile } from '../blob/blob-file.ts'
import type { CompactionFilter } from './compaction-filter.ts'
import { release } from './opened.ts'
import type { Table } from './table.ts'

export class CompactionJob {
  readonly plan: PlanData
  /** They stay open while it runs. */
  readonly inputs: readonly Table[]
  /** What it asks about its entries. */
  filter: CompactionFilter | undefined
  /** Blob files that it reads. */
  #blobs: readonly BlobFile[] = []
  /** Bytes of the inputs: read so far, and in all. */
  done = 0
  readonly total: number
  /** The manifest has it: it cannot be stopped any more. */
  isCommitting = false
  #isStopped = false
  #isTakenOver = false
  #hasEnded = false
  /** It waits for an answer; told when it is stopped. */
  #onStop: (() => void) | undefined
  #mayWait = true
  readonly #giveBackClaim: () => void

  constructor(plan: PlanData, inputs: readonly Table[], giveBackClaim: () => void) {
    this.plan = plan
    this.inputs = inputs
    this.total = inputs.reduce((sum, { meta }) => sum + meta.size, 0)
    this.#giveBackClaim = giveBackClaim
    for (const { shared } of inputs) shared.acquire()
  }

  /** Once. */
  hold(blobs: readonly BlobFile[]): void {
    this.#blobs = blobs
    for (const file of blobs) file.acquire()
  }

  get isStopped(): boolean {
    return this.#isStopped
  }

  /** It ends at its next step, and its tables are free for others at once. */
  stop(): void {
    if (this.isCommitting) return
    this.#isStopped = true
    this.#giveBackClaim()
    this.#onStop?.()
  }

  /** The same for somebody who compacts its tables at once; whoever began it may begin anew. */
  takeOver(): void {
    if (!this.isCommitting && !this.#isStopped) this.#isTakenOver = true
    this.stop()
  }

  /** Whether it goes on when it has to wait for an answer of somebody else; else it is stopped. */
  set mayWait(mayWait: boolean) {
    this.#mayWait = mayWait
    if (!mayWait && this.#onStop !== undefined) this.stop()
  }

  /** An answer of somebody else, or ABORTED as soon as the job is stopped. */
  async answerOf<T>(answer: Promise<T>): Promise<T> {
    const stopped = new Promise<never>((_, reject) => {
      this.#onStop = () => reject(this.stoppedError())
    })
    if (!this.#mayWait) this.stop()
    if (this.#isStopped) this.#onStop?.()
    try {
      return await Promise.race([answer, stopped])
    } finally {
      this.#onStop = undefined
    }
  }

  stoppedError(): ShaleError {
    return this.#isTakenOver
      ? new ShaleError('PLAN_STALE', 'a sync writer has compacted its tables')
      : new ShaleError('ABORTED', 'the compaction was stopped')
  }

  /** Nothing of it comes any more. */
  end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#giveBackClaim()
    release({ tables: this.inputs, blobs: this.#blobs })
  }
}
