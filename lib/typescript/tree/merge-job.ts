/**
 * The work of a flush and of a compaction: entries in, what has to be kept out. It goes in slices,
 * so that the event loop gets its turn every few milliseconds; driven by a sync call it does not
 * stop.
 */

import { Slice } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { settled } from '../base/iterator.ts'
import type { EntryIterator } from '../base/iterator.ts'
import { Retention } from './retention.ts'
import type { MayExistBelow, RetentionView } from './retention.ts'
import type { TableOutput, WrittenTable } from './table-output.ts'

/** Work between two looks at the clock: an entry is one, and one more for each KiB of it. */
const WORK_PER_LOOK = 32

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
  const { entries, output } = job
  const retention = new Retention(job.view, job.mayExistBelow, output)
  const slice = new Slice(job.clock)
  let work = 0
  let bytes = 0
  entries.seekToFirst()
  if (entries.missing !== undefined) yield* settled(entries)
  while (entries.valid) {
    const length = entries.keyEnd - entries.keyBegin + entries.valueEnd - entries.valueBegin
    retention.add(entries)
    bytes += length
    work += 1 + (length >>> 10)
    if (output.isFull) yield* output.drain()
    if (work >= WORK_PER_LOOK) {
      work = 0
      if (slice.isOver) {
        yield* slice.pass
        job.progress(bytes)
        bytes = 0
      }
    }
    entries.next()
    if (entries.missing !== undefined) yield* settled(entries)
  }
  retention.finish()
}
