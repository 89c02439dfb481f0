/** What a database counts while it works, besides what its trees and its maintenance count. */

import { Latency } from '../base/histogram.ts'

/** Point reads, of which memory answers the most, and commits: one of so many is timed. */
export const GETS_A_LOOK = 64
const COMMITS_A_LOOK = 16

/** Iterators of an environment. */
export interface IteratorCounters {
  open: number
  abandoned: number
}

export class DatabaseCounters {
  // Of commits.
  inserts = 0
  removes = 0
  batches = 0
  /** Of keys and values. */
  bytes = 0
  snapshotsAbandoned = 0
  eventsDropped = 0
  /** When the sync writer at hand began to do what the event loop would have; 0: it did not. */
  workedSince = 0
  readonly iterators: IteratorCounters = { open: 0, abandoned: 0 }
  readonly gets: Latency = new Latency(GETS_A_LOOK)
  readonly commits: Latency = new Latency(COMMITS_A_LOOK)
  readonly syncs: Latency = new Latency()

  /** A sync writer is about to do what the event loop would have done. */
  noteWork(): void {
    if (this.workedSince === 0) this.workedSince = performance.now()
  }
}
