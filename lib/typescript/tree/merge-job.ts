/**
 * The work of a flush and of a compaction: entries in, what has to be kept out. It goes in slices,
 * so that the event loop gets its turn every few milliseconds; driven by a sync call it does not
 * stop.
 */

import { breath } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { settled } from '../base/iterator.ts'
import type { EntryIterator } from '../base/iterator.ts'
import { Retention } from './retention.ts'
import type { MayExistBelow, RetentionView } from './retention.ts'
import type { TableOutput, WrittenTable } from './table-output.ts'

/** Milliseconds between two turns of the event loop. */
const SLICE_MILLIS = 3
/** Entries between two looks at the clock. */
const ENTRIES_PER_LOOK = 32

export interface MergeJob {
  readonly entries: EntryIterator
  readonly view: RetentionView
  readonly mayExistBelow: MayExistBelow
  readonly output: TableOutput
  readonly clock: () => number
  /** Called once a slice with the bytes that were read since; throws to end the job. */
  readonly progress: (bytes: number) => void
}

/** The tables that were written. When it fails, nothing is left of them. */
export function* runMerge(job: MergeJob): Flow<readonly WrittenTable[]> {
  try {
    yield* copyKept(job)
    return yield* job.output.finish()
  } catch (error) {
    yield* job.output.abandon()
    throw error
  }
}

function* copyKept(job: MergeJob): Flow<void> {
  const { entries, output, clock } = job
  const retention = new Retention(job.view, job.mayExistBelow, output)
  let until = clock() + SLICE_MILLIS
  let left = ENTRIES_PER_LOOK
  let bytes = 0
  entries.seekToFirst()
  if (entries.missing !== undefined) yield* settled(entries)
  while (entries.valid) {
    retention.add(entries)
    bytes += entries.keyEnd - entries.keyBegin + entries.valueEnd - entries.valueBegin
    if (output.isFull) yield* output.drain()
    entries.next()
    if (entries.missing !== undefined) yield* settled(entries)
    if (--left > 0) continue
    left = ENTRIES_PER_LOOK
    if (clock() < until) continue
    yield* breath
    job.progress(bytes)
    bytes = 0
    until = clock() + SLICE_MILLIS
  }
  retention.finish()
}
