/** A compaction on its way: its claim on tables, how far it is, and whether it shall go on. */

import type { PlanData } from '../../engine.ts'
import type { BlobFile } from '../blob/blob-file.ts'
import { release } from './opened.ts'
import type { Table } from './table.ts'

export class CompactionJob {
  readonly plan: PlanData
  /** They stay open while it runs. */
  readonly inputs: readonly Table[]
  /** Blob files that it reads. */
  #blobs: readonly BlobFile[] = []
  /** Bytes of the inputs: read so far, and in all. */
  done = 0
  readonly total: number
  /** The manifest has it: it cannot be stopped any more. */
  isCommitting = false
  #isStopped = false
  #hasEnded = false
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
  }

  /** Nothing of it comes any more. */
  end(): void {
    if (this.#hasEnded) return
    this.#hasEnded = true
    this.#giveBackClaim()
    release({ tables: this.inputs, blobs: this.#blobs })
  }
}
