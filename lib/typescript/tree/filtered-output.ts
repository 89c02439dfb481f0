/**
 * Stands between retention and the output of a compaction with a filter: what would be kept is
 * collected, asked about in batches, and handed on as the verdicts say.
 *
 * A verdict may leave a tombstone where a value was, or nothing above a tombstone. What that means
 * for the other versions of the key is what it would mean if they had been written so: they go
 * through retention once more. In particular a tombstone waits until an older version of its key
 * stays, and goes where none does.
 */

import type { CheckedVerdict } from '../../engine.ts'
import type { Flow, Slice } from '../base/flow.ts'
import {
  isTombstone,
  KIND_TOMBSTONE,
  KIND_VALUE,
  KIND_WEAK_TOMBSTONE,
} from '../base/internal-key.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { copyOf } from '../base/slice.ts'
import { rangeBytes } from '../table/range-tombstones.ts'
import { DESTROY, KEEP, REMOVE } from './compaction-filter.ts'
import type { Candidate } from './compaction-filter.ts'
import { Retention } from './retention.ts'
import type { MayExistBelow, RetainedEntry, RetentionView } from './retention.ts'
import type { JobSink } from './table-output.ts'

/** Entries that are asked about at once, and bytes of their keys and values. */
const BATCH_COUNT_MAX = 256
const BATCH_BYTES_MAX = 65_536
/** Entries between two looks at the clock. */
const ENTRIES_PER_LOOK = 32

/** The filter, for one job. */
export interface JobFilter {
  /** Bytes of the value that it is asked with. */
  sizeOf(candidate: Candidate): number
  /** One verdict for each. */
  ask(candidates: readonly Candidate[], slice: Slice): Flow<readonly CheckedVerdict[]>
  /** As for retention, of which there are two. */
  readonly mayExistBelow: MayExistBelow
}

/** An entry in arrays of its own. */
class Held implements Candidate, RetainedEntry {
  readonly kind: number
  readonly seqno: number
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly keyBegin = 0
  readonly keyEnd: number
  readonly valueBegin = 0
  readonly valueEnd: number

  constructor(kind: number, seqno: number, key: Uint8Array, value: Uint8Array) {
    this.kind = kind
    this.seqno = seqno
    this.key = key
    this.keyEnd = key.length
    this.value = value
    this.valueEnd = value.length
  }
}

type Item = Held | RangeTombstone

export class FilteredOutput implements JobSink {
  /** Whether a verdict was anything but to keep. */
  hasChanged = false
  readonly #output: JobSink
  readonly #filter: JobFilter
  readonly #retention: Retention
  readonly #slice: Slice
  #waiting: { readonly item: Item; readonly bytes: number }[] = []
  #bytes = 0

  constructor(output: JobSink, filter: JobFilter, view: RetentionView, slice: Slice) {
    this.#output = output
    this.#filter = filter
    this.#retention = new Retention(view, filter.mayExistBelow, output)
    this.#slice = slice
  }

  add(
    kind: number,
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
  ): void {
    const valueCopy = copyOf(value, valueBegin, valueEnd)
    const held = new Held(kind, seqno, copyOf(key, keyBegin, keyEnd), valueCopy)
    const valueBytes = isTombstone(kind) ? 0 : this.#filter.sizeOf(held)
    this.#wait(held, keyEnd - keyBegin + valueBytes)
  }

  addRange(range: RangeTombstone): void {
    this.#wait(range, rangeBytes(range))
  }

  #wait(item: Item, bytes: number): void {
    this.#waiting.push({ item, bytes })
    this.#bytes += bytes
  }

  get isFull(): boolean {
    return this.#isBatch || this.#output.isFull
  }

  get #isBatch(): boolean {
    return this.#waiting.length >= BATCH_COUNT_MAX || this.#bytes >= BATCH_BYTES_MAX
  }

  *drain(): Flow<void> {
    while (this.#isBatch) yield* this.#pass(this.#takeBatch())
    if (this.#output.isFull) yield* this.#output.drain()
  }

  /** After the last entry. */
  *finish(): Flow<void> {
    while (this.#waiting.length > 0) yield* this.#pass(this.#takeBatch())
    this.#retention.finish()
  }

  /** The first ones, as many as are asked about at once. */
  #takeBatch(): readonly Item[] {
    let count = 0
    let bytes = 0
    for (const one of this.#waiting) {
      const isFull = count === BATCH_COUNT_MAX || bytes + one.bytes > BATCH_BYTES_MAX
      if (count > 0 && isFull) break
      count++
      bytes += one.bytes
    }
    this.#bytes -= bytes
    return this.#waiting.splice(0, count).map(({ item }) => item)
  }

  /** Asks about the values among them, and hands on what the verdicts leave. */
  *#pass(batch: readonly Item[]): Flow<void> {
    const candidates = batch.filter((item) => isCandidate(item))
    const verdicts = candidates.length === 0 ? [] : yield* this.#filter.ask(candidates, this.#slice)
    let next = 0
    let work = 0
    for (const item of batch) {
      if (!(item instanceof Held)) {
        // What comes before a range tombstone lies before its start.
        this.#retention.finish()
        this.#output.addRange(item)
      } else if (isCandidate(item)) {
        this.#apply(item, verdicts[next++]!)
      } else {
        this.#retention.add(item)
      }
      if (this.#output.isFull) yield* this.#output.drain()
      if (++work % ENTRIES_PER_LOOK === 0 && this.#slice.isOver) yield* this.#slice.pass
    }
  }

  #apply(entry: Held, verdict: CheckedVerdict): void {
    if (verdict === KEEP) {
      this.#retention.add(entry)
      return
    }
    this.hasChanged = true
    if (verdict === DESTROY) return
    const { seqno, key } = entry
    if (typeof verdict !== 'number') {
      this.#retention.add(new Held(KIND_VALUE, seqno, key, verdict))
      return
    }
    const kind = verdict === REMOVE ? KIND_TOMBSTONE : KIND_WEAK_TOMBSTONE
    this.#retention.add(new Held(kind, seqno, key, NO_VALUE))
  }
}

const NO_VALUE = new Uint8Array(0)

function isCandidate(item: Item): item is Held {
  return item instanceof Held && !isTombstone(item.kind)
}
