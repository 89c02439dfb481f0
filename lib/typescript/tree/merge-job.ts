/**
 * The work of a flush and of a compaction: entries in, what has to be kept out. It goes in slices,
 * so that the event loop gets its turn every few milliseconds; driven by a sync call it does not
 * stop.
 */

import { decodeBlobPointer } from '../base/blob-pointer.ts'
import { Slice } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { KIND_BLOB_POINTER } from '../base/internal-key.ts'
import { settled } from '../base/iterator.ts'
import type { EntryIterator } from '../base/iterator.ts'
import { compareRanges } from '../base/slice.ts'
import { FilteredOutput } from './filtered-output.ts'
import type { JobFilter } from './filtered-output.ts'
import { KeptRanges } from './kept-ranges.ts'
import type { MayHideBelow, RangeSource } from './kept-ranges.ts'
import { Retention } from './retention.ts'
import type { MayExistBelow, RetentionView } from './retention.ts'
import type { JobSink, TableOutput, WrittenTable } from './table-output.ts'

/** Work between two looks at the clock: an entry is one, and one more for each KiB of it. */
const WORK_PER_LOOK = 32

export interface MergeJob {
  readonly entries: EntryIterator
  /** Of what the entries come from. */
  readonly ranges?: readonly RangeSource[]
  readonly view: RetentionView
  readonly mayExistBelow: MayExistBelow
  /** By default every range tombstone may. */
  readonly mayHideBelow?: MayHideBelow
  readonly output: TableOutput
  /** Is asked about what is kept, where there is one. */
  readonly filter?: JobFilter
  readonly clock: () => number
  /** Called once a slice or batch with the bytes read since; throws to end the job. */
  readonly progress: (bytes: number) => void
}

/** What takes the place of the inputs. */
export interface Merged {
  readonly written: readonly WrittenTable[]
  /** A filter has changed something: reads can tell the difference. */
  readonly isVisible: boolean
}

/** The tables that were written. When it fails, nothing is left of them. */
export function* runMerge(job: MergeJob): Flow<Merged> {
  try {
    const isVisible = yield* copyKept(job)
    return { written: yield* job.output.finish(), isVisible }
  } catch (error) {
    yield* job.output.abandon()
    throw error
  }
}

/** Whether a filter has changed something. */
function* copyKept(job: MergeJob): Flow<boolean> {
  const { entries, filter } = job
  const slice = new Slice(job.clock)
  const { ranges: sources = [], view, mayExistBelow, mayHideBelow = () => true } = job
  const ranges = yield* KeptRanges.of(sources, view, mayHideBelow, slice)
  const filtered = filter && new FilteredOutput(job.output, filter, view, slice)
  const output = filtered ?? job.output
  const retention = new Retention(view, mayExistBelow, output, ranges)
  let work = 0
  let bytes = 0
  entries.seekToFirst()
  if (entries.missing !== undefined) yield* settled(entries)
  while (entries.valid) {
    const length = entries.keyEnd - entries.keyBegin + entries.valueEnd - entries.valueBegin
    if (entries.kind === KIND_BLOB_POINTER) work += frameWork(entries)
    if (ranges !== undefined) {
      const { key, keyBegin, keyEnd } = entries
      retention.reach(key, keyBegin, keyEnd)
      yield* passRanges(ranges, output, slice, (start) => {
        return compareRanges(start, 0, start.length, key, keyBegin, keyEnd) <= 0
      })
    }
    retention.add(entries)
    bytes += length
    work += 1 + (length >>> 10)
    if (output.isFull) {
      yield* output.drain()
      if (filtered !== undefined) {
        // It may have taken its time, and more than a slice.
        job.progress(bytes)
        bytes = 0
      }
    }
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
  if (ranges !== undefined) yield* passRanges(ranges, output, slice, () => true)
  if (filtered === undefined) return false
  yield* filtered.finish()
  return filtered.hasChanged
}

/** Of a frame that is relocated, perhaps. */
function frameWork({ value, valueBegin }: EntryIterator): number {
  return decodeBlobPointer(value, valueBegin).storedLength >>> 10
}

/** Hands on the range tombstones that start where the entries have got to. */
function* passRanges(
  ranges: KeptRanges,
  output: JobSink,
  slice: Slice,
  isDue: (start: Uint8Array) => boolean,
): Flow<void> {
  let work = 0
  for (let range = ranges.first; range !== undefined && isDue(range.start); range = ranges.first) {
    output.addRange(range)
    ranges.pass()
    if (output.isFull) yield* output.drain()
    if (++work % WORK_PER_LOOK === 0 && slice.isOver) yield* slice.pass
  }
}
