/**
 * What a journal needs beside commits: flush points for what is buffered, background syncs and
 * their witnesses, rotation, the removal of journals that are in tables.
 *
 * Everything happens behind the back of writers; a failure is told as a state and tried again,
 * except a failed sync, which ends writing.
 */

import { ShaleError } from '../../errors.ts'
import { Background } from '../base/background.ts'
import { runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { Gate } from '../base/gate.ts'
import { highestOf } from '../base/numbers.ts'
import { corruption } from '../base/status.ts'
import { LogWriter } from '../journal/log-writer.ts'
import type { JournalManager, Watermarks } from '../journal/manager.ts'
import type { Manifest } from '../tree/manifest.ts'
import { syncDirectory, tryRemove } from '../vfs/directory.ts'
import { fileName, pathIn } from '../vfs/file-name.ts'
import type { Vfs } from '../vfs/vfs.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { DatabaseCounters } from './database-counters.ts'
import { Timer } from './timer.ts'

const ROTATE_BYTES_MAX = 64 * 2 ** 20
const ROTATE_BYTES_MIN = 4096
/** A journal is this share of the limit on sealed ones. */
const JOURNALS_PER_LIMIT = 8
/** Sealed ones that a sync caller leaves to the background: it keeps the loop from turning. */
const LEFT_MAX = 1
/** Bytes after which a background sync does not wait for its interval. */
const SYNC_BYTES = 4 * 2 ** 20
/** Milliseconds. */
const FLUSH_POINT = 10
/** Stated within 10 ms of the sync. */
const WITNESS = 8
const RETRY = 500

/** What may fail, each for reasons of its own. */
export type JournalJob = 'journal' | 'next journal' | 'sealed journals'

export interface KeeperParts {
  readonly vfs: Vfs
  readonly directory: string
  readonly manifest: Manifest
  readonly journal: JournalManager
  readonly queue: CommitQueue
  /** Milliseconds; 0: never. */
  readonly syncInterval: number
  readonly maxJournalSize: number
  /** Highest seqnos that are not in tables, by tree. */
  readonly watermarks: () => Watermarks
  readonly flushedSeqno: (tree: number) => number | undefined
  /** Seals the memtable of a tree that keeps a journal from leaving. */
  readonly sealTree: (tree: number) => void
  /** The same, and what was sealed goes to tables. */
  readonly flushTree: (tree: number) => Flow<void>
  readonly counters: DatabaseCounters
  /** Why the journal, or its files, cannot be written now; undefined once they can. */
  readonly onState: (source: JournalJob, problem: ShaleError | undefined) => void
}

export class JournalKeeper {
  readonly #parts: KeeperParts
  readonly #rotateBytes: number
  readonly #interval: Timer
  readonly #flushPoint: Timer
  readonly #witness: Timer
  readonly #prepareAgain: Timer
  readonly #tidyAgain: Timer
  /** Bytes of the active journal at which the background syncs, or looks at its size, next. */
  #nextSync = SYNC_BYTES
  #nextCheck = 0
  /** Attempts to make the next journal that have not ended; the last one supersedes the others. */
  #attempts = 0
  #attempt = 0
  /** The manifest has been told of it: it comes, or fails. */
  #isNaming = false
  /** What it removes from the manifest must not be written there again. */
  readonly #manifestGate = new Gate()
  readonly #background = new Background()
  /** One that is begun has not looked yet which journals may go. */
  #willEvict = false
  #isStopped = false

  constructor(parts: KeeperParts) {
    this.#parts = parts
    const wanted = parts.maxJournalSize / JOURNALS_PER_LIMIT
    this.#rotateBytes = Math.min(Math.max(wanted, ROTATE_BYTES_MIN), ROTATE_BYTES_MAX)
    this.#interval = new Timer(() => this.#begin(this.#backgroundSync()))
    this.#flushPoint = new Timer(() => this.#handOverBuffered())
    this.#witness = new Timer(() => this.#stateDurable())
    this.#prepareAgain = new Timer(() => this.#begin(this.#prepareNext()))
    this.#tidyAgain = new Timer(() => this.#begin(this.#afterRotation()))
  }

  /** Runs in the background; a flow that does not handle its failures has ended writing. */
  #begin(flow: Flow<void>): void {
    this.#background.begin(flow, (error) => this.#fail(error))
  }

  /** The same here and now, for a writer who keeps the event loop from turning. */
  #runNow(flow: Flow<void>): void {
    this.#parts.counters.noteWork()
    try {
      runSync(flow)
    } catch (error) {
      this.#fail(error)
    }
  }

  #fail(error: unknown): void {
    if (!this.#isStopped) this.#parts.queue.fail(error as ShaleError)
  }

  get #hasEnded(): boolean {
    return this.#isStopped || this.#parts.queue.failure !== undefined
  }

  // --- after commits -----------------------------------------------------------------------------

  /** A group of commits was journaled, for a sync caller or not. */
  afterAppend(isSync: boolean): void {
    const { journal, syncInterval } = this.#parts
    if (journal.stagedBytes > 0) this.#flushPoint.arm(FLUSH_POINT)
    if (syncInterval > 0) this.#interval.arm(syncInterval)
    this.#catchUp()
    if (journal.activeBytes >= this.#nextCheck) this.#checkSize(isSync)
  }

  /** What a writer who keeps the event loop from turning has to do by itself. */
  #catchUp(): void {
    if (this.#flushPoint.isDue) {
      this.#flushPoint.cancel()
      this.#handOverBuffered()
    }
    if (this.#interval.isDue) {
      this.#interval.cancel()
      this.#runNow(this.#backgroundSync())
    }
  }

  #checkSize(isSync: boolean): void {
    const { journal, syncInterval } = this.#parts
    const bytes = journal.activeBytes
    if (syncInterval > 0 && bytes >= this.#nextSync) {
      this.#begin(this.#backgroundSync())
      this.#nextSync = bytes + SYNC_BYTES
    }
    // It was begun long before: a sync caller does not find it because the loop does not turn.
    const latest = isSync ? this.#rotateBytes : 2 * this.#rotateBytes
    if (bytes >= latest && !journal.hasNext) this.#runNow(this.#prepareAtOnce())
    if (bytes >= this.#rotateBytes && journal.hasNext) return this.#rotate(isSync)
    if (bytes >= this.#rotateBytes / 2) this.prepare()
    // Steps that are short against the distances above.
    this.#nextCheck = bytes + Math.min(this.#rotateBytes / 8, SYNC_BYTES / 2)
  }

  /** Makes the next journal, unless there is one. */
  prepare(): void {
    if (!this.#parts.journal.hasNext && this.#attempts === 0) this.#begin(this.#prepareNext())
  }

  /** Another one may be under way: it is brought to its end, or nothing comes of it any more. */
  *#prepareAtOnce(): Flow<void> {
    const { journal, manifest } = this.#parts
    if (this.#isNaming) yield* manifest.settle()
    if (!journal.hasNext) yield* this.#prepareNext()
  }

  #rotate(isSync: boolean): void {
    const { journal, watermarks } = this.#parts
    if (this.#hasEnded || !this.#handOver()) return
    journal.rotate(watermarks())
    this.#nextCheck = 0
    this.#nextSync = SYNC_BYTES
    // Sealed journals pile up where the event loop does not turn.
    const isBehind = isSync && journal.unrecordedCount > LEFT_MAX
    if (isBehind || journal.count > JOURNALS_PER_LIMIT) this.#runNow(this.#tidyAtOnce())
    else this.#begin(this.#afterRotation())
  }

  /** A sync of the journal succeeded. */
  afterSync(): void {
    this.#witness.arm(WITNESS)
  }

  // --- hand over and sync ------------------------------------------------------------------------

  /** Throws why it cannot be. */
  handOver(): void {
    const { journal, queue, onState } = this.#parts
    try {
      journal.handOver()
    } catch (error) {
      onState('journal', error as ShaleError)
      if (journal.failure !== undefined) queue.fail(journal.failure as ShaleError)
      throw error
    }
    onState('journal', undefined)
  }

  #handOver(): boolean {
    try {
      this.handOver()
      return true
    } catch {
      return false // The state says so.
    }
  }

  /** Makes every commit up to `seqno` durable. */
  *ensureDurable(seqno: number): Flow<void> {
    const { journal, queue } = this.#parts
    if (queue.failure !== undefined) throw queue.syncFailed()
    if (queue.synced >= seqno) return
    if (journal.handedOver < seqno) this.handOver()
    // No sync would ever reach a commit that no journal has.
    if (journal.handedOver < seqno) {
      throw corruption('a memtable holds a commit that is in no journal')
    }
    yield* queue.syncTo(seqno)
  }

  *#backgroundSync(): Flow<void> {
    if (this.#hasEnded) return
    const { journal, queue, syncInterval } = this.#parts
    // What stays behind is tried again, whether anybody writes or not.
    if (!this.#handOver()) this.#interval.arm(syncInterval)
    if (this.#hasEnded) return
    try {
      yield* queue.syncTo(journal.handedOver)
    } catch {
      // The queue has told everybody.
    }
  }

  #handOverBuffered(): void {
    if (!this.#hasEnded && !this.#handOver()) this.#flushPoint.arm(FLUSH_POINT)
  }

  #stateDurable(): void {
    if (this.#hasEnded) return
    const { journal, onState } = this.#parts
    try {
      journal.witness()
      onState('journal', undefined)
    } catch (error) {
      onState('journal', error as ShaleError)
      this.#witness.arm(RETRY)
    }
  }

  // --- files -------------------------------------------------------------------------------------

  *#prepareNext(): Flow<void> {
    if (this.#hasEnded || this.#parts.journal.hasNext) return
    const attempt = ++this.#attempt
    this.#attempts++
    try {
      yield* this.#createNext(attempt)
      this.#parts.onState('next journal', undefined)
    } catch (error) {
      if (isSyncFailure(error)) throw error
      // Meanwhile the active journal just grows.
      this.#parts.onState('next journal', error as ShaleError)
      this.#prepareAgain.arm(RETRY)
    } finally {
      this.#attempts--
    }
  }

  *#createNext(attempt: number): Flow<void> {
    const { vfs, directory, manifest, journal } = this.#parts
    const number = manifest.newFileNumber()
    const path = pathIn(directory, fileName('journal', number))
    const writer = yield* LogWriter.create(vfs, path, 'journal', number)
    try {
      yield* writer.sync()
      yield* syncDirectory(vfs, directory)
      // The journals are read in the order of their numbers: a later attempt has a higher one.
      if (attempt !== this.#attempt) throw new ShaleError('ABORTED', 'another one was faster')
      this.#isNaming = true
      yield* manifest.commit(
        { journalsAdded: [number] },
        {
          durable: () => {
            this.#isNaming = false
            if (!this.#isStopped) journal.setNext(writer)
          },
          failed: () => {
            this.#isNaming = false
          },
        },
      )
      if (this.#isStopped) writer.close()
    } catch (error) {
      writer.close()
      // After a failed sync the manifest may name it; what nobody names goes at the next open.
      if (!isSyncFailure(error)) yield* tryRemove(vfs, path)
      if (attempt === this.#attempt) throw error
    }
  }

  *#afterRotation(): Flow<void> {
    if (this.#hasEnded) return
    const { journal, queue, onState } = this.#parts
    try {
      yield* queue.syncTo(journal.handedOver)
      // Its last record may be a witness, which no commit waits for.
      yield* journal.sync()
      yield* this.#recordSealed()
      yield* this.evict()
      onState('sealed journals', undefined)
    } catch (error) {
      if (isSyncFailure(error)) throw error
      onState('sealed journals', error as ShaleError)
      this.#tidyAgain.arm(RETRY)
      return
    }
    this.#sealStragglers()
  }

  *#recordSealed(): Flow<void> {
    const { journal, manifest } = this.#parts
    const leave = yield* this.#manifestGate.enter
    try {
      // A sync caller did not wait for the one before.
      yield* manifest.settle()
      const sealed = journal.unrecorded()
      if (sealed.length === 0) return
      const journalsSealed = sealed.map(({ number, bytes }) => ({ file: number, length: bytes }))
      yield* manifest.commit(
        { journalsSealed },
        {
          durable: () => {
            for (const { number } of sealed) journal.markRecorded(number)
          },
          failed: () => {},
        },
      )
    } finally {
      leave()
    }
  }

  /** Removes the journals of which everything is in tables. */
  *evict(): Flow<void> {
    const { vfs, directory, journal, manifest, flushedSeqno } = this.#parts
    const leave = yield* this.#manifestGate.enter
    try {
      yield* manifest.settle()
      this.#willEvict = false
      const evicted = journal.evictable(flushedSeqno)
      if (evicted.length === 0) return
      const numbers = evicted.map(({ number }) => number)
      const lastSeqno = highestOf(evicted.map((sealed) => sealed.lastSeqno))
      yield* manifest.commit(
        { journalsRemoved: numbers, lastSeqno },
        { durable: () => journal.drop(new Set(numbers)), failed: () => {} },
      )
      // A file that stays is removed by the next open.
      for (const number of numbers) {
        yield* tryRemove(vfs, pathIn(directory, fileName('journal', number)))
      }
    } finally {
      leave()
    }
  }

  /** Something was flushed: journals may have become free to go. */
  evictSoon(): void {
    if (this.#willEvict) return
    this.#willEvict = true
    this.#begin(this.#evictQuietly())
  }

  /** The same for a sync caller, while the event loop may not turn. */
  evictNow(): void {
    const { journal, flushedSeqno } = this.#parts
    if (journal.evictable(flushedSeqno).length > 0) this.#runNow(this.#evictQuietly())
  }

  *#evictQuietly(): Flow<void> {
    if (this.#hasEnded) return
    try {
      yield* this.evict()
      this.#parts.onState('sealed journals', undefined)
    } catch (error) {
      this.#willEvict = false
      if (isSyncFailure(error)) throw error
      this.#parts.onState('sealed journals', error as ShaleError)
    }
  }

  /** For a writer who keeps the event loop from turning: stragglers are flushed here and now. */
  *#tidyAtOnce(): Flow<void> {
    yield* this.#afterRotation()
    const { journal, maxJournalSize, flushedSeqno, flushTree } = this.#parts
    while (!this.#hasEnded && journal.sealedBytes > maxJournalSize) {
      const trees = journal.pinning(flushedSeqno)
      if (trees.length === 0) return
      const { count } = journal
      try {
        for (const tree of trees) yield* flushTree(tree)
        yield* this.evict()
        // A keyspace on its way cannot be flushed: the journal stays until the manifest has it.
        if (journal.count === count) return
      } catch (error) {
        if (isSyncFailure(error)) throw error
        return // the state says so
      }
    }
  }

  #sealStragglers(): void {
    const { journal, maxJournalSize, flushedSeqno, sealTree } = this.#parts
    if (journal.sealedBytes <= maxJournalSize) return
    for (const tree of journal.pinning(flushedSeqno)) sealTree(tree)
  }

  // --- the end -----------------------------------------------------------------------------------

  /** Nothing new begins; an async caller waits for what runs. */
  *stop(): Flow<void> {
    this.#isStopped = true
    const timers = [this.#interval, this.#flushPoint, this.#witness]
    for (const timer of [...timers, this.#prepareAgain, this.#tidyAgain]) timer.stop()
    yield* this.#background.end
  }
}

function isSyncFailure(error: unknown): boolean {
  return !(error instanceof ShaleError) || error.code === 'SYNC_FAILED'
}
