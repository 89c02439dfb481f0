/**
 * The durable truth about a directory: its trees, their options and tables, its journals.
 *
 * A log of edits. The first record of a generation is a snapshot of the whole state, the following
 * ones are edits. A commit is one record and one sync, followed by a synced-to record, so that a
 * damaged last commit is told from a torn one. When a generation has grown, the next one is written
 * and synced whole, the old one gets a `successor` record and stays until the next open.
 * docs/format.md, section 6.
 *
 * Commits may overlap, and keep their order: whoever gets to it appends the records of all that
 * wait, and whoever's sync covers them settles them, the first one first. So a sync caller is never
 * kept waiting by an async one that is under way, and never gets ahead of it.
 */

import { ShaleError } from '../../errors.ts'
import { runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { highestOf } from '../base/numbers.ts'
import { isErrno } from '../base/status.ts'
import { LogWriter } from '../journal/log-writer.ts'
import { fileName, parseFileName, pathIn } from '../vfs/file-name.ts'
import type { Vfs } from '../vfs/vfs.ts'
import { encodeEdit } from './manifest-edit.ts'
import type { DirectoryKind, ManifestEdit } from './manifest-edit.ts'
import { loadGeneration } from './manifest-load.ts'
import type { Generation } from './manifest-load.ts'
import { applyEdit, emptyState, snapshotOf } from './manifest-state.ts'
import type { ManifestState } from './manifest-state.ts'

/** A generation is replaced when it is larger than this, and so many times its first record. */
const GENERATION_BYTES_MIN = 64 * 1024
const GENERATION_GROWTH = 4

/** Told what became of a commit at the moment when it is decided, in the order of all commits. */
export interface CommitListener {
  durable(): void
  failed(error: unknown): void
}

interface Commit {
  readonly edit: ManifestEdit
  readonly listener: CommitListener | undefined
  /** What holds with it; once it is appended. */
  state: ManifestState | undefined
  settled: boolean
  error: unknown
}

interface Succession {
  readonly number: number
  readonly writer: LogWriter
  readonly state: ManifestState
}

export class Manifest {
  readonly directory: string
  /** Bytes that a torn tail lost at load: a commit that nobody was told of. */
  readonly droppedBytes: number
  readonly #vfs: Vfs
  #writer: LogWriter
  /** The generation before, until its last record is durable. */
  #retiring: LogWriter | undefined
  /** Everything that was appended. */
  #appended: ManifestState
  /** Everything that is durable. */
  #durable: ManifestState
  /** Not appended yet. */
  #waiting: Commit[] = []
  /** Appended, and not durable yet. */
  #unsynced: Commit[] = []
  #nextFileNumber: number
  #nextTreeId: number
  /** Length of this generation after its first record. */
  #firstLength: number
  /** The next generation, until the live one names it. */
  #succession: Succession | undefined

  private constructor(
    vfs: Vfs,
    directory: string,
    writer: LogWriter,
    state: ManifestState,
    droppedBytes = 0,
  ) {
    this.#vfs = vfs
    this.directory = directory
    this.droppedBytes = droppedBytes
    this.#writer = writer
    this.#appended = state
    this.#durable = state
    this.#nextFileNumber = state.nextFileNumber
    this.#nextTreeId = state.nextTreeId
    this.#firstLength = writer.end
  }

  /** The first generation in a directory without one; durable when it is done. */
  static *create(vfs: Vfs, directory: string, kind: DirectoryKind): Flow<Manifest> {
    const names = (yield* vfs.list(directory)).map(parseFileName)
    const number = 1 + highestOf(names.map((name) => name.number))
    const state = { ...emptyState(kind), nextFileNumber: number + 1, nextTreeId: 1 }
    // A torn creation is gone before there is another one: two of them would be damage.
    const torn = names.filter(({ kind: type }) => type === 'manifest')
    for (const old of torn) {
      yield* vfs.remove(pathIn(directory, fileName('manifest', old.number)))
    }
    if (torn.length > 0) yield* vfs.syncDir(directory)
    const path = pathIn(directory, fileName('manifest', number))
    const writer = yield* LogWriter.create(vfs, path, 'manifest', number)
    try {
      // A crash must not leave the record without the header: that would not look like a torn
      // creation.
      yield* writer.sync()
      writer.append(0, 0, encodeEdit(snapshotOf(state)))
      yield* writer.sync()
      yield* vfs.syncDir(directory)
      writer.witness()
    } catch (error) {
      writer.close()
      throw error
    }
    return new Manifest(vfs, directory, writer, state)
  }

  /**
   * The live generation. DB_NOT_FOUND if there is none, and the directory is absent or holds
   * nothing but the torn creation of a first one; NOT_A_DATABASE if foreign files are there
   * instead. What was read is durable afterwards, and what no longer counts is gone; with
   * `lookOnly` nothing is written, now or later (READ_ONLY).
   */
  static *load(vfs: Vfs, directory: string, lookOnly = false): Flow<Manifest> {
    const generation = yield* loadGeneration(vfs, directory)
    const { number, end, droppedBytes, state } = generation
    const path = pathIn(directory, fileName('manifest', number))
    const writer = lookOnly
      ? new LogWriter(yield* vfs.open(path, 'read'), number, end, 0)
      : yield* LogWriter.open(vfs, path, number, end, 0)
    const manifest = new Manifest(vfs, directory, writer, state, droppedBytes)
    if (lookOnly) {
      writer.failure = new ShaleError('READ_ONLY', 'the manifest was only looked at', { path })
      return manifest
    }
    try {
      yield* manifest.#takeOver(generation)
    } catch (error) {
      manifest.close()
      throw error
    }
    return manifest
  }

  *#takeOver({ number, end, ...generation }: Generation): Flow<void> {
    const { isWitnessed, highestNumber, stale } = generation
    // A record that states what is durable need not be so itself: where a failed sync has left it
    // in memory alone, no later one would write it, and nothing may stand behind it.
    yield* this.#writer.file.truncate(end)
    yield* this.#writer.sync()
    const numbersGrew = highestNumber >= this.#nextFileNumber
    if (numbersGrew) this.#nextFileNumber = highestNumber + 1
    if (!isWitnessed) {
      // Nobody says that the last edit is durable. If a failed sync left it in memory alone, no
      // sync of this file will ever write it.
      const error = this.#beginSuccession() ?? (yield* this.#endSuccession())
      if (error !== undefined) throw error
    } else {
      witness(this.#writer)
      if (numbersGrew) yield* this.commit({})
    }
    for (const old of stale) {
      try {
        yield* this.#vfs.remove(pathIn(this.directory, fileName('manifest', old)))
      } catch (error) {
        // One with a higher number would hide the live one from the next open.
        if (old > number) throw error
      }
    }
    if (stale.length > 0) yield* this.#vfs.syncDir(this.directory)
  }

  /** What is durable. */
  get state(): ManifestState {
    return this.#durable
  }

  /** Of the live generation. */
  get fileNumber(): number {
    return this.#writer.fileNumber
  }

  /** Why it writes no more. It is unknown then whether the last commits took effect. */
  get failure(): ShaleError | undefined {
    return this.#retiring?.failure ?? this.#writer.failure
  }

  /** Reserved in memory; what is recorded is always above any number in use. */
  newFileNumber(): number {
    return this.#nextFileNumber++
  }

  /**
   * Makes the numbers durable that were reserved and never used: what a sync close left behind may
   * still make files with them, and nobody must be given them again.
   */
  *recordFileNumbers(): Flow<void> {
    if (this.#nextFileNumber > this.#appended.nextFileNumber) yield* this.commit({})
  }

  newTreeId(): number {
    return this.#nextTreeId++
  }

  /** Bytes of the live generation. */
  get bytes(): number {
    return this.#writer.end
  }

  /**
   * Durable and part of `state` when it is done. CORRUPTION if the edit does not fit: then nothing
   * was written. Seqnos that never decrease are raised to what holds already.
   */
  *commit(edit: ManifestEdit, listener?: CommitListener): Flow<void> {
    const commit: Commit = { edit, listener, state: undefined, settled: false, error: undefined }
    this.#waiting.push(commit)
    while (!commit.settled) yield* this.#advance()
    if (commit.error !== undefined) throw commit.error as Error
    if (this.#hasGrown && this.#succession === undefined) {
      this.#beginSuccession()
      yield* this.#endSuccession()
    }
  }

  /** Settles whatever commits are under way, their own drivers being kept waiting elsewhere. */
  *settle(): Flow<void> {
    while (this.#waiting.length > 0 || this.#unsynced.length > 0) yield* this.#advance()
  }

  /** One step of all commits that are under way. */
  *#advance(): Flow<void> {
    if (this.#succession !== undefined) {
      yield* this.#endSuccession()
      return
    }
    this.#appendWaiting()
    const last = this.#unsynced.at(-1)
    if (last === undefined) return
    try {
      yield* this.#sync()
    } catch (error) {
      this.#failAll(this.#unsynced.splice(0), error)
      return
    }
    // Another sync may have settled it meanwhile, and those behind it are none of this one's.
    if (!last.settled) this.#settleUpTo(last)
  }

  #appendWaiting(): void {
    for (let commit = this.#waiting[0]; commit !== undefined; commit = this.#waiting[0]) {
      try {
        if (this.failure !== undefined) throw this.failure
        this.#append(commit)
      } catch (error) {
        // Those behind it may build upon it, unless it was itself that did not fit.
        const isMisfit = error instanceof ShaleError && error.code === 'CORRUPTION'
        this.#failAll(this.#waiting.splice(0, isMisfit ? 1 : this.#waiting.length), error)
        continue
      }
      this.#waiting.shift()
      this.#unsynced.push(commit)
    }
  }

  #append(commit: Commit): void {
    const whole = this.#complete(commit.edit)
    const state = applyEdit(this.#appended, whole)
    this.#writer.append(0, 0, encodeEdit(whole))
    this.#appended = state
    commit.state = state
  }

  #settleUpTo(last: Commit): void {
    for (let commit = this.#unsynced.shift(); commit !== undefined;) {
      this.#durable = commit.state!
      commit.settled = true
      commit.listener?.durable()
      if (commit === last) return
      commit = this.#unsynced.shift()
    }
  }

  #failAll(commits: readonly Commit[], error: unknown): void {
    for (const commit of commits) {
      commit.settled = true
      commit.error = error
      commit.listener?.failed(error)
    }
  }

  /**
   * Adds the file numbers that were reserved, and raises seqnos to what they are. Not the id of a
   * tree whose creation is under way: until that is committed the record in the journal makes the
   * keyspace, and recovery passes over ids that were given before.
   */
  #complete(edit: ManifestEdit): ManifestEdit {
    const { nextFileNumber, nextTreeId, lastSeqno, trees } = this.#appended
    const treeId = highestOf((edit.treesCreated ?? []).map(({ tree }) => tree + 1))
    const raise = (
      items: ManifestEdit['flushedSeqnos'],
      name: 'flushedSeqno' | 'clearedSeqno' | 'gcSeqno',
    ): ManifestEdit['flushedSeqnos'] =>
      items?.map(({ tree, seqno }) => {
        return { tree, seqno: Math.max(seqno, trees.get(tree)?.[name] ?? 0) }
      })
    return {
      ...edit,
      nextFileNumber: this.#nextFileNumber > nextFileNumber ? this.#nextFileNumber : undefined,
      nextTreeId: treeId > nextTreeId ? treeId : undefined,
      lastSeqno: edit.lastSeqno === undefined ? undefined : Math.max(edit.lastSeqno, lastSeqno),
      flushedSeqnos: raise(edit.flushedSeqnos, 'flushedSeqno'),
      clearedSeqnos: raise(edit.clearedSeqnos, 'clearedSeqno'),
      gcSeqnos: raise(edit.gcSeqnos, 'gcSeqno'),
    }
  }

  /** Makes everything durable that was appended, the generation before first. */
  *#sync(): Flow<void> {
    const [retiring, writer] = [this.#retiring, this.#writer]
    if (retiring !== undefined) {
      try {
        yield* retiring.sync()
      } catch (error) {
        // Another sync was faster and closed it: what a witness added behind that needs none.
        if (this.#retiring === retiring) throw error
      }
      this.#retire(retiring)
    }
    yield* writer.sync()
    witness(writer)
  }

  /** Its last record is durable. */
  #retire(writer: LogWriter): void {
    if (this.#retiring !== writer) return
    witness(writer)
    writer.close()
    this.#retiring = undefined
  }

  // --- generations -------------------------------------------------------------------------------

  get #hasGrown(): boolean {
    const limit = Math.max(GENERATION_BYTES_MIN, GENERATION_GROWTH * this.#firstLength)
    return this.#writer.end > limit
  }

  /**
   * Writes the next generation. From here on the old one takes no commit, because a crash may bring
   * up the new one: whoever wants to commit first ends the succession. Answers what went wrong.
   */
  #beginSuccession(): ShaleError | undefined {
    const number = this.newFileNumber()
    const state = { ...this.#appended, nextFileNumber: this.#nextFileNumber }
    try {
      const writer = runSync(writeGeneration(this.#vfs, this.directory, number, state))
      this.#succession = { number, writer, state }
      return undefined
    } catch (error) {
      this.#discard(number, undefined)
      return error as ShaleError
    }
  }

  /**
   * Makes the new generation durable and lets the old one name it. Others may do the same
   * meanwhile; who comes second finds it done. When it fails the new one goes and the old one goes
   * on: no failure of the commit before it. Answers what went wrong.
   */
  *#endSuccession(): Flow<ShaleError | undefined> {
    const succession = this.#succession
    if (succession === undefined) return undefined
    try {
      yield* succession.writer.sync()
      yield* this.#vfs.syncDir(this.directory)
      if (this.#succession !== succession) return undefined
      succession.writer.witness()
      this.#writer.append(0, 0, encodeEdit({ successor: succession.number }))
    } catch (error) {
      if (this.#succession !== succession) return undefined
      this.#succession = undefined
      this.#discard(succession.number, succession.writer)
      return error as ShaleError
    }
    this.#succession = undefined
    this.#retiring = this.#writer
    this.#writer = succession.writer
    this.#appended = succession.state
    this.#firstLength = succession.writer.end
    try {
      yield* this.#sync()
      return undefined
    } catch (error) {
      // `failure` says so to the next commit. The new generation stays: it says the same.
      return error as ShaleError
    }
  }

  /** A generation that does not come to be must be gone before the old one goes on. */
  #discard(number: number, writer: LogWriter | undefined): void {
    writer?.close()
    try {
      this.#vfs.remove(pathIn(this.directory, fileName('manifest', number))).sync()
      this.#vfs.syncDir(this.directory).sync()
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) this.#writer.failure ??= error as ShaleError
    }
  }

  close(): void {
    this.#writer.failure ??= new ShaleError('ABORTED', 'the manifest is closed')
    this.#succession?.writer.close()
    this.#retiring?.close()
    this.#writer.close()
  }
}

/** A commit that is durable does not fail for the want of one: it is less well guarded, no more. */
function witness(writer: LogWriter): void {
  try {
    writer.witness()
  } catch {
    // What could not be taken back is in `failure`, for the next commit.
  }
}

/** Writes the generation behind a live one; nothing of it is durable yet. */
function* writeGeneration(
  vfs: Vfs,
  directory: string,
  number: number,
  state: ManifestState,
): Flow<LogWriter> {
  const path = pathIn(directory, fileName('manifest', number))
  const writer = yield* LogWriter.create(vfs, path, 'manifest', number)
  try {
    writer.append(0, 0, encodeEdit(snapshotOf(state)))
  } catch (error) {
    writer.close()
    throw error
  }
  return writer
}
