/**
 * What comes to level 0: memtables that are sealed, and ingestions. Reads stop at the first hit, so
 * whatever is newer must stand in a newer run: one after the other, in the order of their seqnos.
 *
 * A sync caller passes an async one that is under way. It brings to its end what has a seqno
 * already, and the other finds that done when it goes on.
 */

import type { TreeSettings } from '../../engine.ts'
import type { Flow } from '../base/flow.ts'
import { Gate } from '../base/gate.ts'
import { highestOf } from '../base/numbers.ts'
import type { Memtable } from '../memtable/memtable.ts'
import { IngestionCommit } from './ingestion.ts'
import type { Ingestion, IngestionTurn } from './ingestion.ts'
import { jobOutput } from './job-output.ts'
import { rangesOfMemtable } from './kept-ranges.ts'
import { MergeIterator } from './merge-iterator.ts'
import { runMerge } from './merge-job.ts'
import { countWritten, discard } from './opened.ts'
import type { Opened } from './opened.ts'
import type { SuperVersion } from './super-version.ts'
import type { TableOutput, WrittenTable } from './table-output.ts'
import { placed } from './table.ts'
import type { Table } from './table.ts'
import type { JobFigures, TreeContext } from './tree-context.ts'
import type { TablePlace, VersionEdit } from './version.ts'

/** Bytes of a table that a flush writes. */
const FLUSH_TABLE_BYTES = 64 * 2 ** 20

/** What is told with an edit that brings tables to level 0. */
export interface FlushedEdit {
  /** They are in these tables now. */
  readonly memtables?: readonly Memtable[]
  readonly flushedSeqno: number
  /** The tables bring it; what memtables hold the tree has seen already. */
  readonly ingestedSeqno?: number
  /** It holds, or has failed. */
  readonly onSettled: (error?: unknown) => void
}

/** What is needed of the tree. */
export interface FlushedTree {
  readonly context: TreeContext
  readonly settings: () => TreeSettings
  readonly current: () => SuperVersion
  /** Throws ABORTED. */
  readonly checkOpen: () => void
  readonly openWritten: (
    written: readonly WrittenTable[],
    level: number,
    output: TableOutput,
  ) => Flow<Opened>
  /** Of the newest run. */
  readonly newPlace: () => TablePlace
  readonly commit: (edit: VersionEdit<Table>, flushed: FlushedEdit) => Flow<void>
}

export class Flushes {
  readonly #tree: FlushedTree
  /** Async ones go one after the other. */
  readonly #gate = new Gate()
  /** Memtables that one of them puts into tables. */
  readonly #flushing = new Set<Memtable>()
  /** The one that has its seqno and is not in the version yet. */
  #ingesting: IngestionCommit | undefined

  constructor(tree: FlushedTree) {
    this.#tree = tree
  }

  // --- memtables ---------------------------------------------------------------------------------

  /** Writes all memtables that are sealed now to tables in level 0. */
  *flush(): Flow<JobFigures> {
    const { context, current, checkOpen } = this.#tree
    const figures = { bytesRead: 0, bytesWritten: 0, tables: 0 }
    const wanted = current().sealed
    const leave = yield* this.#gate.enter
    try {
      yield* this.settleIngestion()
      while (wanted.some((memtable) => this.#unflushed().includes(memtable))) {
        try {
          yield* this.#flushSealed(figures)
        } catch (error) {
          // A sync caller may have done it meanwhile, and closed the tree.
          if (!wanted.some((memtable) => current().sealed.includes(memtable))) continue
          checkOpen()
          throw error
        }
      }
    } finally {
      leave()
    }
    if (wanted.some((memtable) => this.#flushing.has(memtable))) {
      yield* context.manifest.settle()
    }
    yield* context.removeDue
    return figures
  }

  /**
   * Sealed memtables that no commit under way puts into tables, newest first. Those behind an
   * ingestion come after it.
   */
  #unflushed(): readonly Memtable[] {
    const older = this.#ingesting?.older
    return this.#tree.current().sealed.filter((memtable) => {
      return !this.#flushing.has(memtable) && older?.has(memtable) !== false
    })
  }

  *#flushSealed(figures: JobFigures): Flow<void> {
    const { context, settings, checkOpen } = this.#tree
    const sealed = this.#unflushed()
    const output = jobOutput(context, settings(), {
      level: 0,
      policyLevel: 0,
      targetSize: FLUSH_TABLE_BYTES,
    })
    const { written } = yield* runMerge({
      entries: new MergeIterator(sealed.map((memtable) => memtable.versions())),
      ranges: sealed.flatMap(rangesOfMemtable),
      view: yield* context.view(),
      // Tombstones stay, whatever lies below: only compactions drop them.
      mayExistBelow: () => true,
      output,
      clock: () => context.vfs.monotonicMillis(),
      progress: checkOpen,
    })
    const highest = highestOf(sealed.map((memtable) => memtable.highestSeqno))
    try {
      yield* context.beforeFlushCommit(highest)
    } catch (error) {
      yield* output.abandon()
      throw error
    }
    const opened = yield* this.#tree.openWritten(written, 0, output)
    if (!this.#areOldest(sealed, opened)) return
    // There is no wait from here to the place in the manifest's line: newer entries get the higher
    // run order.
    for (const memtable of sealed) this.#flushing.add(memtable)
    const onSettled = (): void => {
      for (const memtable of sealed) this.#flushing.delete(memtable)
    }
    yield* this.#commit(opened, { memtables: sealed, flushedSeqno: highest + 1, onSettled })
    countWritten(figures, opened)
  }

  /**
   * A sync flush may have come in between. What stays in memory is read first, so this one must
   * write the oldest of what is left; else it was for nothing.
   */
  #areOldest(sealed: readonly Memtable[], opened: Opened): boolean {
    const oldest = this.#unflushed().slice(-sealed.length)
    try {
      this.#tree.checkOpen()
    } catch (error) {
      discard(opened)
      throw error
    }
    if (sealed.every((memtable, i) => memtable === oldest[i])) return true
    discard(opened)
    return false
  }

  *#commit({ tables, blobs }: Opened, flushed: FlushedEdit): Flow<void> {
    const { newPlace, commit } = this.#tree
    const place = newPlace()
    yield* commit(
      { added: tables.map((table) => placed(table, place)), blobsAdded: blobs },
      flushed,
    )
  }

  // --- ingestions --------------------------------------------------------------------------------

  /** Of an ingestion that is about to be in the version. */
  get ingestingSeqno(): number | undefined {
    return this.#ingesting?.seqno
  }

  /**
   * Makes the tables of an ingestion, which has ended, the newest run of level 0. Nothing has
   * changed when it fails.
   */
  *ingest({ tables, output }: Ingestion, turn: IngestionTurn): Flow<JobFigures> {
    const { openWritten, checkOpen, current } = this.#tree
    const opened = yield* openWritten(tables, 0, output)
    const leave = yield* this.#gate.enter
    let commit: IngestionCommit
    try {
      try {
        // A sync caller may find another one on its way.
        yield* this.settleIngestion()
        checkOpen()
        const seqno = turn.begin()
        // From here on the files go with what was opened.
        output.letGo()
        commit = new IngestionCommit(seqno, opened, current().sealed, () => {
          this.#ingesting = undefined
          turn.end()
        })
      } catch (error) {
        discard(opened)
        throw error
      }
      this.#ingesting = commit
      yield* this.settleIngestion()
    } finally {
      leave()
    }
    if (commit.error !== undefined) throw commit.error as Error
    countWritten(commit.figures, opened)
    return commit.figures
  }

  /** Brings the ingestion that has its seqno to its end, whoever began it. */
  *settleIngestion(): Flow<void> {
    const wanted = this.#ingesting
    for (let commit = wanted; commit !== undefined && commit === wanted; commit = this.#ingesting) {
      try {
        yield* this.#advance(commit)
      } catch (error) {
        // Another caller may have been faster.
        if (commit.isSettled) return
        if (!commit.isCommitting) discard(commit.opened)
        commit.settle(error)
      }
    }
  }

  *#advance(commit: IngestionCommit): Flow<void> {
    const { seqno, opened, older } = commit
    const { context, current } = this.#tree
    const isOlderLeft = current().sealed.some((memtable) => older.has(memtable))
    if (commit.isCommitting || (isOlderLeft && this.#unflushed().length === 0)) {
      yield* context.manifest.settle()
    } else if (isOlderLeft) {
      yield* this.#flushSealed(commit.figures)
    } else {
      yield* context.beforeFlushCommit(seqno)
      if (commit.isCommitting || commit.isSettled) return
      commit.isCommitting = true
      const onSettled = (error?: unknown): void => commit.settle(error)
      yield* this.#commit(opened, { flushedSeqno: seqno + 1, ingestedSeqno: seqno, onSettled })
    }
  }
}
