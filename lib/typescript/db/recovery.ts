/**
 * Recovery: from what a directory holds to trees that hold every commit that survived.
 *
 * Replay reads the journals in order into the memtables and decides where the commits end (a torn
 * tail) or that something durable is damaged. Finish makes durable what was replayed: the part of
 * the journals that was not known to be is written again into a new journal, synced, and named by
 * one commit of the manifest, which also states where the old journals end. docs/format.md, 5.4.
 *
 * No journal is changed or removed before that commit, so that a crash at any point leaves what the
 * next recovery needs; tables that replay flushed only spare it work.
 */

import type { RecoveryFigures } from '../../engine.ts'
import { ShaleError } from '../../errors.ts'
import { breath } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'
import { highestOf } from '../base/numbers.ts'
import { atPlace } from '../base/status.ts'
import { LOG_HEADER_BYTES, RECORD_DATA, RECORD_HEADER_BYTES } from '../journal/log-format.ts'
import type { LogReader, RecoveryMode } from '../journal/log-reader.ts'
import { LogWriter } from '../journal/log-writer.ts'
import { JournalManager } from '../journal/manager.ts'
import type { ManifestState } from '../tree/manifest-state.ts'
import type { Tree, TreeContext } from '../tree/tree.ts'
import { fileName, parseFileName, pathIn } from '../vfs/file-name.ts'
import { RecoveredJournal, UndurableTail } from './recovery-journal.ts'
import { ReplayedTrees } from './recovery-trees.ts'

/** Bytes that are written between two turns of the event loop. */
const WRITE_BYTES = 256 * 1024

export class Recovery {
  /** Of the next commit. */
  nextSeqno = 1
  readonly #context: TreeContext
  readonly #mode: RecoveryMode
  /** What the manifest says when recovery begins. */
  readonly #state: ManifestState
  readonly #trees: ReplayedTrees
  /** Of the directory. */
  #names: readonly string[] = []
  readonly #journals: RecoveredJournal[] = []
  readonly #tail = new UndurableTail()
  /** Of the last commit that was replayed; 0 if none was. */
  #last = 0
  /** Nothing more is replayed. */
  #isCut = false
  /** Something was passed over. */
  #isSalvaged = false
  /** A journal without data and without final length. */
  #emptyOpen: RecoveredJournal | undefined
  #commitsReplayed = 0
  #bytesDropped = 0
  #commitsDropped: number | undefined = 0
  readonly #files = new Set<string>()

  /**
   * `trees`, by id, are those of the manifest, and all that live when it is done. `writeBuffer`:
   * bytes of memtables that replay should stay within; 0: it may not flush.
   */
  constructor(
    context: TreeContext,
    mode: RecoveryMode,
    writeBuffer: number,
    trees: Map<number, Tree>,
  ) {
    this.#context = context
    this.#mode = mode
    this.#state = context.manifest.state
    this.#trees = new ReplayedTrees(context, trees, writeBuffer)
  }

  get report(): RecoveryFigures {
    return {
      commitsReplayed: this.#commitsReplayed,
      bytesDropped: this.#bytesDropped,
      commitsDropped: this.#commitsDropped,
      files: [...this.#files],
    }
  }

  /** Something of a file is dropped; with or without commits that nobody can count. */
  #drop(name: string, bytes: number, isCounted: boolean): void {
    this.#bytesDropped += bytes
    if (!isCounted) this.#commitsDropped = undefined
    this.#files.add(name)
  }

  #dropCommits(count: number): void {
    if (this.#commitsDropped !== undefined) this.#commitsDropped += count
  }

  // --- replay ------------------------------------------------------------------------------------

  /** Fills the memtables. With `salvage` damage is passed over, otherwise it is CORRUPTION. */
  *replay(): Flow<void> {
    const { vfs, directory, manifest } = this.#context
    this.nextSeqno = seqnoAbove(this.#state)
    if (manifest.droppedBytes > 0) {
      this.#drop(fileName('manifest', manifest.fileNumber), manifest.droppedBytes, true)
    }
    this.#names = yield* vfs.list(directory)
    this.#findJournals()
    if (this.#state.cleanShutdown) return
    for (let i = 0; i < this.#journals.length && !this.#isCut; i++) yield* this.#replayJournal(i)
    if (this.#mode !== 'salvage') this.#checkReach()
    this.nextSeqno = Math.max(this.nextSeqno, this.#last + 1)
  }

  /**
   * Those that the manifest names, and unnamed ones above: what an interrupted rotation or recovery
   * left.
   */
  #findJournals(): void {
    const { directory } = this.#context
    const { journals, cleanShutdown } = this.#state
    const present = this.#names
      .map(parseFileName)
      .flatMap(({ kind, number }) => (kind === 'journal' ? [number] : []))
      .toSorted(ascending)
    const there = new Set(present)
    for (const [number, length] of [...journals].toSorted(([a], [b]) => a - b)) {
      const journal = new RecoveredJournal(directory, number, true, length)
      if (!there.has(number)) throw journal.damage('a journal is missing', 0)
      this.#journals.push(journal)
    }
    if (cleanShutdown) return
    const highest = highestOf(journals.keys())
    for (const number of present) {
      if (number > highest) this.#journals.push(new RecoveredJournal(directory, number, false))
    }
  }

  /**
   * The manifest names an effect only after the journal is durable up to it: commits below it
   * cannot be missing, whatever the end of the journal looks like.
   */
  #checkReach(): void {
    const reached = Math.max(this.#last, this.#state.lastSeqno)
    for (const [, tree] of [...this.#state.trees].toSorted(([a], [b]) => a - b)) {
      if (Math.max(tree.createdSeqno, tree.flushedSeqno - 1) <= reached) continue
      throw new ShaleError('CORRUPTION', 'the journals end before what is in tables', {
        path: this.#context.directory,
        keyspace: tree.name,
      })
    }
  }

  *#replayJournal(index: number): Flow<void> {
    const journal = this.#journals[index]!
    try {
      const reader = yield* journal.open(this.#context.vfs, this.#mode)
      if (reader === undefined) return
      while (yield* reader.next()) {
        if (reader.type === RECORD_DATA) yield* this.#replayRecord(index, reader)
        if (this.#isCut) return
      }
      yield* this.#endJournal(index, reader)
    } finally {
      journal.close()
    }
  }

  *#replayRecord(index: number, reader: LogReader): Flow<void> {
    const journal = this.#journals[index]!
    const { seqno, count, offset } = reader
    const isFirst = !journal.hasData
    journal.hasData = true
    if (seqno === 0 || seqno > SEQNO_MAX || count === 0) {
      throw journal.damage('a commit has an impossible number', offset)
    }
    const last = this.#last
    // An interrupted recovery wrote it again.
    if (seqno <= last) return
    if (this.#emptyOpen !== undefined && this.#mode !== 'salvage') {
      yield* this.#lose(this.#emptyOpen, LOG_HEADER_BYTES)
      return
    }
    if (last !== 0 && seqno !== last + 1) {
      if (this.#mode === 'salvage') {
        this.#isSalvaged = true
        this.#dropCommits(seqno - last - 1)
      } else if (isFirst && index > 0) {
        const before = this.#journals[index - 1]!
        yield* this.#lose(before, before.end)
        return
      } else {
        throw journal.damage('commits are missing before this one', offset)
      }
    }
    yield* this.#apply(journal, reader)
  }

  *#apply(journal: RecoveredJournal, reader: LogReader): Flow<void> {
    const { seqno, count, offset, payload } = reader
    try {
      const isEffective = yield* this.#trees.apply(payload, count, seqno, journal.watermarks)
      if (isEffective) this.#commitsReplayed++
    } catch (error) {
      throw atPlace(error, journal.path, offset)
    }
    this.#last = seqno
    journal.lastSeqno = seqno
    if (journal.finalLength === undefined) {
      this.#tail.dropDurable(journal, reader.syncedTo)
      this.#tail.push(journal, reader)
    }
    this.#trees.sealFull()
    if (this.#trees.isOverLimit) yield* this.#trees.relieve(seqno, this.#durable)
  }

  /** Every commit up to it is known to be durable. */
  get #durable(): number {
    const { first } = this.#tail
    return first === undefined ? this.#last : first.seqno - 1
  }

  /** The records of a journal ended, in whatever way. */
  *#endJournal(index: number, reader: LogReader): Flow<void> {
    const journal = this.#journals[index]!
    journal.end = reader.end
    journal.droppedBytes = reader.droppedBytes
    if (journal.finalLength === undefined) {
      journal.durableEnd = Math.max(reader.syncedTo, LOG_HEADER_BYTES)
      if (!journal.hasData && journal.isNamed) this.#emptyOpen = journal
      this.#tail.dropDurable(journal, journal.durableEnd)
    } else {
      journal.durableEnd = journal.finalLength
    }
    if (reader.tail === 'clean') return
    if (this.#mode === 'salvage') {
      this.#isSalvaged = true
      this.#drop(journal.name, reader.droppedBytes, false)
    } else {
      yield* this.#lose(journal, reader.end)
    }
  }

  /** Commits are missing from `offset` of a journal on: nothing behind them is replayed. */
  *#lose(journal: RecoveredJournal, offset: number): Flow<void> {
    for (const behind of this.#journals.slice(this.#journals.indexOf(journal) + 1)) {
      yield* this.#checkBehindLoss(journal, offset, behind)
    }
    if (this.#mode === 'strict') {
      throw journal.damage('commits are missing at the end of the journal', offset)
    }
    if (journal.droppedBytes > 0) this.#drop(journal.name, journal.droppedBytes, false)
    this.#isCut = true
  }

  /** What lies behind a loss must not have been durable. Counts what is dropped there. */
  *#checkBehindLoss(lost: RecoveredJournal, offset: number, journal: RecoveredJournal): Flow<void> {
    journal.close()
    try {
      const reader = yield* journal.open(this.#context.vfs, 'tail')
      if (reader === undefined) return
      let commits = 0
      let bytes = 0
      while (yield* reader.next()) {
        if (reader.type !== RECORD_DATA || reader.seqno <= this.#last) continue
        commits++
        bytes += RECORD_HEADER_BYTES + reader.payload.length
      }
      if (reader.syncedTo > LOG_HEADER_BYTES || journal.finalLength !== undefined) {
        throw lost.damage('commits that were durable are missing', offset)
      }
      if (commits > 0) {
        const { droppedBytes } = reader
        this.#dropCommits(commits)
        this.#drop(journal.name, bytes + droppedBytes, droppedBytes === 0)
      }
    } finally {
      journal.close()
    }
  }

  // --- finish ------------------------------------------------------------------------------------

  /** Makes durable what was replayed. The journals, with a new one to write to. */
  *finish(): Flow<JournalManager> {
    const { vfs, directory, manifest } = this.#context
    const number = manifest.newFileNumber()
    const path = pathIn(directory, fileName('journal', number))
    const writer = yield* LogWriter.create(vfs, path, 'journal', number)
    this.#endBeforeTail()
    const journals = new JournalManager(writer, this.#sealed())
    try {
      if (!this.#isSalvaged) yield* this.#writeTail(journals)
      yield* journals.sync()
      yield* vfs.syncDir(directory)
      yield* this.#name(number)
    } catch (error) {
      journals.close()
      throw error
    }
    this.#trees.deleteGone()
    // Now all is durable: what replay could not flush is flushed when the database is open.
    if (this.#trees.isOverLimit) this.#trees.rotateAll()
    return journals
  }

  /** What is written again ends the journal that it comes from. */
  #endBeforeTail(): void {
    for (const { journal, offset } of this.#tail.records()) {
      journal.durableEnd = Math.min(journal.durableEnd, offset)
    }
  }

  *#writeTail(journals: JournalManager): Flow<void> {
    for (const { count, seqno, chunk, begin, length } of this.#tail.records()) {
      const payload = chunk.subarray(begin, begin + length)
      if (length < WRITE_BYTES) journals.stage(count, seqno, payload)
      else journals.append(count, seqno, payload)
      if (journals.stagedBytes > 0 && journals.stagedBytes < WRITE_BYTES) continue
      journals.handOver()
      yield* breath
    }
    journals.handOver()
  }

  /** Lets the manifest name the new journal, and state where the old ones end. */
  *#name(number: number): Flow<void> {
    const { manifest } = this.#context
    const [deletions, creations] = this.#trees.edits()
    if (deletions.treesDeleted!.length > 0) yield* manifest.commit(deletions)
    const edit = { ...creations, cleanShutdown: false }
    const named = this.#journals.filter(({ isNamed }) => isNamed)
    if (this.#isSalvaged) {
      // What was salvaged has gaps that no journal may have: it goes to tables, before the manifest
      // drops the old journals, whose damage the next open must not find.
      yield* manifest.commit(edit)
      yield* this.#trees.flushAll()
      yield* manifest.commit({
        lastSeqno: this.nextSeqno - 1,
        journalsAdded: [number],
        journalsRemoved: named.map((journal) => journal.number),
      })
    } else {
      yield* manifest.commit({
        ...edit,
        journalsAdded: [number],
        journalsSealed: named
          .filter(({ finalLength }) => finalLength === undefined)
          .map((journal) => ({ file: journal.number, length: journal.durableEnd })),
      })
    }
  }

  /** The old journals as they stay. */
  #sealed() {
    if (this.#isSalvaged) return []
    return this.#journals
      .filter(({ isNamed }) => isNamed)
      .map(({ number, durableEnd, finalLength, lastSeqno, watermarks }) => {
        const bytes = finalLength ?? durableEnd
        return { number, bytes, lastSeqno, watermarks, recorded: true, writer: undefined }
      })
  }

  /** Removes files that are shale's and that nothing names. After finish. */
  *removeOrphans(journals: readonly number[]): Flow<void> {
    const { vfs, directory, manifest } = this.#context
    const { state } = manifest
    const known = new Set([...journals, ...state.journals.keys()])
    for (const { tables, blobFiles } of state.trees.values()) {
      for (const number of [...tables.keys(), ...blobFiles.keys()]) known.add(number)
    }
    for (const name of this.#names) {
      const { kind, number } = parseFileName(name)
      const isOurs = kind === 'journal' || kind === 'table' || kind === 'blob'
      if (!isOurs || known.has(number)) continue
      try {
        yield* vfs.remove(pathIn(directory, name))
      } catch {
        // It is an orphan at the next open as well.
      }
    }
  }

  /** Lets go of what the caller does not see: after a finish, nothing. */
  close(): void {
    this.#trees.closeGone()
  }
}

function ascending(a: number, b: number): number {
  return a - b
}

/** Above every seqno that the manifest names. */
function seqnoAbove(state: ManifestState): number {
  let next = state.lastSeqno + 1
  for (const { flushedSeqno, clearedSeqno, createdSeqno, tables } of state.trees.values()) {
    next = Math.max(next, flushedSeqno, clearedSeqno, createdSeqno + 1)
    for (const { highestSeqno } of tables.values()) next = Math.max(next, highestSeqno + 1)
  }
  return next
}

/** Of a database that is new. */
export const NOTHING_RECOVERED: RecoveryFigures = {
  commitsReplayed: 0,
  bytesDropped: 0,
  commitsDropped: 0,
  files: [],
}
