/**
 * What becomes of the commits of a database: the journal takes them, then the memtables; memtables
 * that are full, or too large together, are sealed.
 */

import { isMainThread } from 'node:worker_threads'
import type { DatabaseSettings } from '../../engine.ts'
import type { ShaleError } from '../../errors.ts'
import type { Flow } from '../base/flow.ts'
import { KIND_RANGE_TOMBSTONE, KIND_VALUE } from '../base/internal-key.ts'
import type { JournalManager } from '../journal/manager.ts'
import type { Tree } from '../tree/tree.ts'
import { Cancelled } from './cancelled.ts'
import { CommitQueue } from './commit-queue.ts'
import type { Commit, CommitSink } from './commit-queue.ts'
import type { DatabaseCounters } from './database-counters.ts'
import type { JournalKeeper } from './journal-keeper.ts'
import type { Keyspace } from './keyspace.ts'
import type { Keyspaces } from './keyspaces.ts'
import type { Maintenance } from './maintenance.ts'
import { BatchReader, ENTRY_HEADER_BYTES } from './write-batch.ts'
import type { WriteControl } from './write-control.ts'

/** A larger payload is not copied before it is written. */
const DIRECT_BYTES = 64 * 1024
/** Bytes that `buffered` commits leave in the process at most. */
const BUFFERED_BYTES_MAX = 256 * 1024

export interface CommitWriterParts {
  readonly settings: DatabaseSettings
  readonly control: WriteControl
  readonly maintenance: Maintenance
  readonly counters: DatabaseCounters
  /** They need the queue, and come after it. */
  readonly keyspaces: () => Keyspaces
  /** The journal cannot be written now, or nothing can any more; undefined: it can. */
  readonly onState: (source: 'journal' | 'failed', problem: ShaleError | undefined) => void
}

export class CommitWriter implements CommitSink {
  readonly queue: CommitQueue = new CommitQueue(this)
  /** The writer at hand may keep the event loop from turning. */
  isSyncCaller = false
  /** Nobody asks other threads than the main one before they end. */
  mayBuffer: boolean = isMainThread
  readonly #parts: CommitWriterParts
  #journal: JournalManager | undefined
  #keeper: JournalKeeper | undefined
  /** Keyspaces that the group of commits at hand writes to. */
  readonly #touched = new Set<Keyspace>()
  /** Bytes of memtables when the largest were looked for last. */
  #relievedAt = 0

  constructor(parts: CommitWriterParts) {
    this.#parts = parts
  }

  /** Before the first commit. */
  start(journal: JournalManager, keeper: JournalKeeper): void {
    this.#journal = journal
    this.#keeper = keeper
  }

  append(commits: readonly Commit[], first: number): void {
    const { onState } = this.#parts
    const journal = this.#journal!
    try {
      const [leader] = commits
      const whole = leader!.journal ?? leader!.entries
      if (commits.length === 1 && whole.length >= DIRECT_BYTES) {
        journal.append(leader!.count, first, whole)
      } else {
        this.#stage(commits, first)
      }
    } catch (error) {
      onState('journal', error as ShaleError)
      if (journal.failure !== undefined) this.queue.fail(journal.failure as ShaleError)
      throw error
    }
    onState('journal', undefined)
  }

  #stage(commits: readonly Commit[], first: number): void {
    const journal = this.#journal!
    const mark = journal.mark()
    let seqno = first
    let mustHandOver = false
    try {
      for (const commit of commits) {
        journal.stage(commit.count, seqno++, commit.journal ?? commit.entries)
        mustHandOver ||= commit.durability !== 'buffered' || !this.mayBuffer
      }
      if (mustHandOver || journal.stagedBytes >= BUFFERED_BYTES_MAX) journal.handOver()
    } catch (error) {
      journal.cutBack(mark)
      throw error
    }
  }

  insert({ entries, journal, count, hasRanges = false }: Commit, seqno: number): void {
    const keyspaces = this.#parts.keyspaces()
    const cancelled = hasRanges && count > 1 ? Cancelled.of(entries) : undefined
    const reader = new BatchReader(entries)
    let keyspace: Keyspace | undefined
    while (reader.next()) {
      if (keyspace?.id !== reader.keyspaceId) {
        keyspace = keyspaces.byId(reader.keyspaceId)!
        this.#touched.add(keyspace)
      }
      const { kind, keyBegin, keyEnd, valueBegin, valueEnd } = reader
      const { tree } = keyspace
      this.#countEntry(tree, kind, valueEnd - keyBegin, journal === undefined)
      if (kind === KIND_RANGE_TOMBSTONE) {
        tree.insertRange(reader.range(seqno))
        continue
      }
      if (cancelled?.has(reader) === true) continue
      tree.insert(kind, seqno, entries, keyBegin, keyEnd, entries, valueBegin, valueEnd)
    }
    if (count > 1) this.#parts.counters.batches++
    if (journal !== undefined) this.#countJournaled(journal)
  }

  #countEntry({ counters }: Tree, kind: number, length: number, isJournaledSo: boolean): void {
    const { counters: all } = this.#parts
    // Before the end of a range there are its flags.
    const bytes = kind === KIND_RANGE_TOMBSTONE ? length - 1 : length
    if (kind === KIND_VALUE) all.inserts++
    else all.removes++
    all.bytes += bytes
    counters.givenBytes += bytes
    if (isJournaledSo) counters.fileBytes += ENTRY_HEADER_BYTES + length
  }

  /** Of entries that the journal has in another form. */
  #countJournaled(journal: Uint8Array): void {
    const keyspaces = this.#parts.keyspaces()
    const reader = new BatchReader(journal)
    while (reader.next()) {
      const { counters } = keyspaces.byId(reader.keyspaceId)!.tree
      counters.fileBytes += ENTRY_HEADER_BYTES + reader.valueEnd - reader.keyBegin
    }
  }

  onVisible({ begun = 0, isSlow = false }: Commit): void {
    const { commits, workedSince } = this.#parts.counters
    const since = isSlow ? begun : this.isSyncCaller ? workedSince : 0
    if (since === 0) commits.end(begun)
    else commits.add(performance.now() - since)
  }

  afterGroup(): void {
    const { maintenance, control, settings } = this.#parts
    for (const keyspace of this.#touched) maintenance.countActive(keyspace)
    for (const keyspace of this.#touched) {
      if (!keyspace.tree.isFull) continue
      if (this.isSyncCaller) this.#keepUp(keyspace)
      maintenance.rotate(keyspace)
    }
    this.#touched.clear()
    const { memory } = maintenance
    if (memory > settings.maxWriteBufferSize / 2) this.#relieveMemory(memory)
    if (memory > control.softMemory || !control.isFree) maintenance.tellMemory()
    this.#keeper!.afterAppend(this.isSyncCaller)
  }

  #keepUp(keyspace: Keyspace): void {
    const begun = performance.now()
    const { maintenance, counters } = this.#parts
    if (maintenance.keepUp(keyspace) && counters.workedSince === 0) counters.workedSince = begun
  }

  /**
   * Half of the write buffer is in use: the largest memtables go to tables, whatever their own
   * limits. Enough of them for writers to be free then: a stopped writer seals nothing more. Looks
   * around only when memory has grown by a step since the last time.
   */
  #relieveMemory(total: number): void {
    const { maintenance, control, settings, keyspaces } = this.#parts
    const { maxWriteBufferSize } = settings
    if (total >= this.#relievedAt && total - this.#relievedAt < maxWriteBufferSize / 32) return
    this.#relievedAt = total
    const candidates = keyspaces()
      .all()
      .filter(({ countedActive }) => countedActive > 0)
      .toSorted((a, b) => b.countedActive - a.countedActive)
    const active = candidates.reduce((sum, { countedActive }) => sum + countedActive, 0)
    const wanted = Math.max(maxWriteBufferSize / 4, total - control.softMemory)
    // On its way to tables already.
    let sealed = total - active
    for (const keyspace of candidates) {
      if (sealed >= wanted) return
      sealed += keyspace.countedActive
      maintenance.rotate(keyspace)
    }
  }

  handedOver(): number {
    return this.#journal!.handedOver
  }

  *sync(): Flow<void> {
    yield* this.#journal!.sync()
    this.#keeper!.afterSync()
  }

  onFailure(cause: ShaleError): void {
    this.#parts.onState('failed', cause)
  }
}
