/**
 * What a read needs, of one moment: the memtables, and the tables in their levels. It never
 * changes; rotation, flush and compaction make the next one. Whoever reads across a wait holds it,
 * and with it the files of its tables and values.
 */

import type { ShaleError } from '../../errors.ts'
import { decodeBlobPointer } from '../base/blob-pointer.ts'
import { Io } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { KIND_BLOB_POINTER, KIND_VALUE } from '../base/internal-key.ts'
import type { EntryIterator } from '../base/iterator.ts'
import type { Pending } from '../base/pending.ts'
import { compareBytes, compareRanges } from '../base/slice.ts'
import type { Memtable } from '../memtable/memtable.ts'
import { BlockRequests } from '../table/table-file.ts'
import { ABSENT, BLOCKED, FOUND } from '../table/table-reader.ts'
import type { Found, PointLookup } from '../table/table-reader.ts'
import { Coverage, RunCovers } from './coverage.ts'
import type { Covers } from './coverage.ts'
import { Cursor } from './cursor.ts'
import type { CursorBounds } from './cursor.ts'
import type { Run } from './levels.ts'
import { MergeIterator } from './merge-iterator.ts'
import { RunIterator, tableAtOrBehind } from './run-iterator.ts'
import { endsWithin } from './table-meta.ts'
import type { RetentionView } from './retention.ts'
import type { Table } from './table.ts'
import { blobFileOf } from './version-blobs.ts'
import type { Version } from './version.ts'

/** Reads at `until` and below, down to the one before in the list, see what was there then. */
export interface HeldVersion {
  readonly until: number
  readonly superVersion: SuperVersion
}

/** Those that a read, present or future, may still go to. */
export function stillNeeded(
  held: readonly HeldVersion[],
  { snapshots, visible }: RetentionView,
): readonly HeldVersion[] {
  return held.filter(({ until }, i) => {
    const after = held[i - 1]?.until ?? 0
    return visible <= until || snapshots.some((seqno) => seqno > after && seqno <= until)
  })
}

export class SuperVersion {
  readonly active: Memtable
  /** Newest first. */
  readonly sealed: readonly Memtable[]
  readonly version: Version<Table>
  /** The highest that was inserted when it was made; 0 if none was. */
  readonly seqno: number
  /** Of before changes that reads can tell: tables dropped, entries filtered; oldest first. */
  readonly held: readonly HeldVersion[]
  /** Newest first, all levels. */
  readonly #runs: readonly Run<Table>[]
  /** Whether something but the active memtable has range tombstones. */
  readonly #hasRanges: boolean
  readonly #onReleased: ((released: SuperVersion) => void) | undefined
  #holders = 1

  /** Held once. */
  constructor(
    active: Memtable,
    sealed: readonly Memtable[],
    version: Version<Table>,
    seqno = 0,
    held: readonly HeldVersion[] = [],
    onReleased?: (released: SuperVersion) => void,
  ) {
    this.active = active
    this.sealed = sealed
    this.version = version
    this.seqno = seqno
    this.held = held
    for (const { superVersion } of held) superVersion.acquire()
    this.#runs = version.levels.flat()
    this.#hasRanges =
      version.rangeTombstoneCount > 0 || sealed.some(({ ranges }) => ranges !== undefined)
    this.#onReleased = onReleased
    for (const { shared } of version.tables()) shared.acquire()
    for (const { file } of version.blobs.values()) file.acquire()
  }

  acquire(): void {
    this.#holders++
  }

  release(): void {
    if (--this.#holders > 0) return
    for (const { shared } of this.version.tables()) shared.release()
    for (const { superVersion } of this.held) superVersion.release()
    for (const { file } of this.version.blobs.values()) file.release()
    this.#onReleased?.(this)
  }

  /** What a read at this seqno goes to: this one, or one that it holds. */
  for(readSeqno: number): SuperVersion {
    if (this.held.length === 0) return this
    return this.held.find(({ until }) => readSeqno <= until)?.superVersion ?? this
  }

  /**
   * The newest version of the key that the lookup sees, with its value. BLOCKED: call
   * `lookup.missing` and ask again.
   */
  find(lookup: PointLookup): Found {
    const found = this.#findNewest(lookup)
    const isPointer = found === FOUND && lookup.kind === KIND_BLOB_POINTER
    return isPointer && lookup.wantsValue ? this.#findValue(lookup) : found
  }

  /** Puts the value in the place of its pointer. */
  #findValue(lookup: PointLookup): Found {
    const { key, begin, end, fetched } = lookup
    const pointer = decodeBlobPointer(lookup.value, lookup.valueBegin)
    const file = blobFileOf(this.version.blobs, pointer)
    const { fileNumber, offset } = pointer
    const isFetched =
      fetched?.pointer.fileNumber === fileNumber && fetched.pointer.offset === offset
    const isNew = lookup.looksForValue()
    const value = isFetched ? fetched.value : file.cached(pointer, key, begin, end, isNew)
    if (value === undefined) {
      lookup.missing = Io.flow(function* () {
        lookup.fetched = { pointer, value: yield* file.load(pointer, key, begin, end) }
      })
      return BLOCKED
    }
    lookup.kind = KIND_VALUE
    lookup.value = value
    lookup.valueBegin = 0
    lookup.valueEnd = value.length
    return FOUND
  }

  /** What is newer is asked first, and the first hit decides, a tombstone as well. */
  #findNewest(lookup: PointLookup): Found {
    if (this.#hasRanges || this.active.ranges !== undefined) return this.#findCovered(lookup)
    if (findInMemtable(this.active, lookup)) return FOUND
    for (const memtable of this.sealed) if (findInMemtable(memtable, lookup)) return FOUND
    for (const run of this.#runs) {
      const found = findInRun(run, lookup)
      if (found !== ABSENT) return found
    }
    return ABSENT
  }

  /**
   * The same, where there are range tombstones: the newest one so far decides against what is
   * older, and ends the search where all that follows is.
   */
  #findCovered(lookup: PointLookup): Found {
    const { key, begin, end, readSeqno } = lookup
    let over = -1
    for (const memtable of [this.active, ...this.sealed]) {
      const { ranges, highestEntrySeqno } = memtable
      if (ranges !== undefined) over = Math.max(over, ranges.seqnoOver(key, begin, end, readSeqno))
      if (highestEntrySeqno < over || !findInMemtable(memtable, lookup)) continue
      return lookup.seqno >= over ? FOUND : ABSENT
    }
    for (const run of this.#runs) {
      const table = tableOf(run, lookup)
      if (table === undefined || table.meta.highestSeqno < over) continue
      const { reader } = table.shared
      over = Math.max(over, reader.seqnoOver(key, begin, end, readSeqno))
      const found = reader.find(lookup)
      if (found === FOUND) return lookup.seqno >= over ? FOUND : ABSENT
      if (found === BLOCKED) return BLOCKED
    }
    return ABSENT
  }

  /** As `find`, with every call that it lacks; whether something was found. */
  *findSettled(lookup: PointLookup): Flow<boolean> {
    lookup.askAgain()
    let found = this.find(lookup)
    while (found === BLOCKED) {
      yield* lookup.missing!
      lookup.askAgain()
      found = this.find(lookup)
    }
    return found === FOUND
  }

  /** Bytes of tables between two keys, from their indexes; undefined: no bound. */
  *approximateSize(lower: Uint8Array | undefined, upper: Uint8Array | undefined): Flow<number> {
    const requests = new BlockRequests()
    let bytes = 0
    for (const { meta, shared } of this.#runs.flatMap((run) => tablesIn(run, { lower, upper }))) {
      if (isInside(meta, { lower, upper })) {
        bytes += meta.size
        continue
      }
      const begin = lower === undefined ? 0 : yield* shared.reader.offsetOf(lower, requests)
      bytes += (yield* shared.reader.offsetOf(upper, requests)) - begin
    }
    return bytes
  }

  /** The rows of a range that a read at `readSeqno` sees, in one direction. */
  cursor(readSeqno: number, bounds: CursorBounds, backward: boolean): Cursor {
    const sources: EntryIterator[] = [this.active, ...this.sealed]
      .filter(({ itemCount }) => itemCount > 0)
      .map((memtable) => memtable.visible(readSeqno))
    for (const run of this.#runs) {
      const tables = tablesIn(run, bounds).filter(({ meta }) => meta.lowestSeqno < readSeqno)
      if (tables.length > 0) sources.push(new RunIterator(tables, 0))
    }
    const [only] = sources
    const entries = sources.length === 1 ? only! : new MergeIterator(sources)
    return new Cursor(entries, readSeqno, bounds, backward, this.#coverage(readSeqno, bounds))
  }

  #coverage(readSeqno: number, bounds: CursorBounds): Coverage | undefined {
    if (!this.#hasRanges && this.active.ranges === undefined) return undefined
    const components: Covers[] = [this.active, ...this.sealed].flatMap(({ ranges }) => ranges ?? [])
    for (const run of this.#runs) {
      const tables = tablesIn(run, bounds).filter(({ meta }) => meta.rangeTombstoneCount > 0)
      if (tables.length > 0) components.push(new RunCovers(tables))
    }
    return new Coverage(components, readSeqno)
  }
}

/** A super version that is read across calls. */
export class Hold {
  /** Undefined once it has ended. */
  superVersion: SuperVersion | undefined
  /** Why others have ended it. */
  reason: ShaleError | undefined
  /** Reads of its tree that wait for the disk. */
  readonly reads: Pending
  readonly #sets: readonly Set<Hold>[]

  /** In each of `sets` until it ends. */
  constructor(superVersion: SuperVersion, reads: Pending, sets: readonly Set<Hold>[]) {
    superVersion.acquire()
    this.superVersion = superVersion
    this.reads = reads
    this.#sets = sets
    for (const set of sets) set.add(this)
  }

  release(): void {
    this.superVersion?.release()
    this.superVersion = undefined
    for (const set of this.#sets) set.delete(this)
  }

  /** The same by others than who reads through it. */
  end(reason: ShaleError | undefined): void {
    this.reason = reason
    this.release()
  }
}

/** The tables of a run that may have keys inside the bounds. */
function tablesIn(run: Run<Table>, { lower, upper }: CursorBounds): Run<Table> {
  const first = lower === undefined ? 0 : tableAtOrBehind(run, lower, 0, lower.length)
  if (upper === undefined) return run.slice(first)
  const last = tableAtOrBehind(run, upper, 0, upper.length)
  const table = run[last]
  const isMet = table !== undefined && compareBytes(table.meta.firstKey, upper) < 0
  return run.slice(first, isMet ? last + 1 : last)
}

/** Whether the table has no key outside of the bounds. */
function isInside(meta: Table['meta'], { lower, upper }: CursorBounds): boolean {
  const isBehind = lower === undefined || compareBytes(lower, meta.firstKey) <= 0
  return isBehind && endsWithin(meta, upper)
}

function findInMemtable(memtable: Memtable, lookup: PointLookup): boolean {
  const found = memtable.find(lookup.key, lookup.begin, lookup.end, lookup.readSeqno)
  if (found === 0) return false
  const { arena } = memtable
  lookup.seqno = arena.seqno(found)
  lookup.kind = arena.kind(found)
  lookup.value = arena.valueBytes(found)
  lookup.valueBegin = arena.valueBegin(found)
  lookup.valueEnd = lookup.valueBegin + arena.valueLength(found)
  return true
}

function findInRun(run: Run<Table>, lookup: PointLookup): Found {
  return tableOf(run, lookup)?.shared.reader.find(lookup) ?? ABSENT
}

/** The table of a run in whose range the key lies. */
function tableOf(run: Run<Table>, { key, begin, end }: PointLookup): Table | undefined {
  const table = run[tableAtOrBehind(run, key, begin, end)]
  if (table === undefined) return undefined
  const { firstKey } = table.meta
  return compareRanges(key, begin, end, firstKey, 0, firstKey.length) < 0 ? undefined : table
}
