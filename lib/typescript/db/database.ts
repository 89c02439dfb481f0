/**
 * One directory with keyspaces, one journal, snapshots and background maintenance, all on the one
 * thread of its environment.
 *
 * Commits are numbered and journaled in one order, become visible in that order, and are flushed
 * and compacted in the background. Reads go to a keyspace's tree at `visible` or at a snapshot's
 * seqno. Everything that waits is a flow, so that every call has its sync form.
 */

import { isMainThread } from 'node:worker_threads'
import type {
  DatabaseFigures,
  DatabaseSettings,
  TreeSettingsGiven,
  EngineStatus,
  RecoveryFigures,
} from '../../engine.ts'
import { ShaleError } from '../../errors.ts'
import type { Durability } from '../../types.ts'
import { Cache } from '../base/cache.ts'
import { CODECS, requireCodec } from '../base/compression.ts'
import { each, Io, Slice } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { keepAlive } from '../base/keep-alive.ts'
import { READ_ALL } from '../base/internal-key.ts'
import { Pending } from '../base/pending.ts'
import { withKeyspace } from '../base/status.ts'
import type { JournalManager } from '../journal/manager.ts'
import { DATABASE } from '../tree/manifest-edit.ts'
import type { TreeState } from '../tree/manifest-state.ts'
import type { Manifest } from '../tree/manifest.ts'
import { Tree } from '../tree/tree.ts'
import type { TreeContext } from '../tree/tree.ts'
import { FileCache } from '../vfs/file-cache.ts'
import { FileRemover } from '../vfs/file-remover.ts'
import type { ClosableVfs } from '../vfs/closable-vfs.ts'
import type { Vfs } from '../vfs/vfs.ts'
import { atExit } from './at-exit.ts'
import type { Commit, CommitQueue } from './commit-queue.ts'
import { CommitWriter } from './commit-writer.ts'
import { DatabaseCounters } from './database-counters.ts'
import { databaseFigures } from './database-figures.ts'
import type { DirectoryLock } from './directory-lock.ts'
import { Events } from './event-queue.ts'
import { Health } from './health.ts'
import { journalForm } from './journal-form.ts'
import { Ingestions } from './ingestions.ts'
import type { OpenIngestion } from './ingestions.ts'
import { endJournals } from './journal-end.ts'
import { JournalKeeper } from './journal-keeper.ts'
import { Keyspace } from './keyspace.ts'
import { Keyspaces, tablesChanged } from './keyspaces.ts'
import { Maintenance } from './maintenance.ts'
import { openDirectory } from './open-directory.ts'
import { NOTHING_RECOVERED, Recovery } from './recovery.ts'
import { SnapshotTracker } from './snapshot-tracker.ts'
import type { Strategy } from './strategies.ts'
import { Throttle } from './throttle.ts'
import { checkedBatch } from './write-batch.ts'
import { WriteControl } from './write-control.ts'

/** Keyspaces that an async close flushes at once: their syncs overlap. */
const LAST_FLUSHES_MAX = 8

/** All parts but those that a read-only database lacks. */
interface Parts {
  readonly vfs: ClosableVfs
  readonly path: string
  readonly settings: DatabaseSettings
  readonly lock: DirectoryLock | undefined
  readonly manifest: Manifest
}

export class Database {
  readonly path: string
  readonly settings: DatabaseSettings
  readonly snapshots: SnapshotTracker = new SnapshotTracker()
  readonly maintenance: Maintenance
  readonly keyspaces: Keyspaces
  readonly writer: CommitWriter
  readonly cache: Cache
  readonly counters: DatabaseCounters = new DatabaseCounters()
  readonly events: Events = new Events()
  readonly control: WriteControl
  recovery: RecoveryFigures = NOTHING_RECOVERED
  readonly #vfs: ClosableVfs
  readonly #lock: DirectoryLock | undefined
  readonly #manifest: Manifest
  readonly #files: FileCache
  readonly #remover: FileRemover
  readonly #throttle: Throttle
  readonly #reads = new Pending()
  readonly #queue: CommitQueue
  readonly #ingestions: Ingestions
  journal: JournalManager | undefined
  #keeper: JournalKeeper | undefined
  /** While recovery runs nobody reads: what it flushes needs no older versions. */
  #isRecovering = true
  readonly #health = new Health(this.events)
  #status: 'open' | 'closing' | 'closed' = 'open'
  /** Some tree may hold super versions for snapshots, which their end lets go. */
  #mayHold = false
  #takeBackAtExit: () => void = () => {}
  /** Only what the directory is held by is left to be given back. */
  #isLettingGo = false

  private constructor({ vfs, path, settings, lock, manifest }: Parts) {
    this.path = path
    this.settings = settings
    this.#vfs = vfs
    this.#lock = lock
    this.#manifest = manifest
    this.cache = new Cache(settings.cacheSize)
    this.#files = new FileCache(vfs, settings.maxOpenFiles)
    this.#remover = new FileRemover(vfs)
    this.#throttle = new Throttle(vfs, settings.compactionRateLimit)
    this.control = new WriteControl(vfs, settings.maxWriteBufferSize, (reason, active, ms) => {
      this.events.tell({ type: 'stall', reason, active, ms })
    })
    this.maintenance = new Maintenance({
      vfs,
      control: this.control,
      maxCompactions: settings.workerThreads,
      isAutomatic: true,
      afterFlush: new Io<void>(
        () => this.#afterFlush(() => this.#keeper?.evictNow()),
        async () => this.#afterFlush(() => this.#keeper?.evictSoon()),
      ),
      onFatal: (cause) => this.#queue.fail(cause),
      onState: (problem) => this.#maintenanceState(problem),
      onLacking: (problem) => this.#health.set('strategy', problem),
      events: this.events,
    })
    this.#ingestions = new Ingestions(this.maintenance, () => this.closedError())
    this.writer = new CommitWriter({
      settings,
      control: this.control,
      maintenance: this.maintenance,
      counters: this.counters,
      keyspaces: () => this.keyspaces,
      onState: (source, problem) => this.#health.set(source, problem),
    })
    this.#queue = this.writer.queue
    this.keyspaces = new Keyspaces({
      context: this.#context(),
      queue: this.#queue,
      isReadOnly: settings.readOnly,
      appendRecord: (record) => this.#appendRecord(record, () => this.#queue.publishOne()),
      onAdded: (keyspace) => this.maintenance.opened(keyspace),
      onChanged: (keyspace) => this.maintenance.optionsChanged(keyspace),
    })
  }

  // --- open --------------------------------------------------------------------------------------

  static *open(vfs: Vfs, path: string, settings: DatabaseSettings): Flow<Database> {
    requireCodec(settings.journalCompression)
    const opened = yield* openDirectory(vfs, path, { ...settings, kind: DATABASE })
    const database = new Database({ path, settings, ...opened })
    try {
      yield* database.#recover()
      database.#takeBackAtExit = atExit(() => database.#leave())
      return database
    } catch (error) {
      yield* database.#abandon()
      throw error
    }
  }

  #context(): TreeContext {
    return {
      vfs: this.#vfs,
      directory: this.path,
      manifest: this.#manifest,
      cache: this.cache,
      files: this.#files,
      remove: (path, bytes) => this.#remover.remove(path, bytes),
      removeDue: this.#remover.due,
      // oxlint-disable-next-line require-yield
      view: function* (this: Database) {
        const visible = this.#isRecovering ? READ_ALL : this.#queue.visible
        return { snapshots: this.snapshots.seqnos(), visible }
      }.bind(this),
      beforeFlushCommit: (highest) => this.#beforeFlushCommit(highest),
      reads: this.#reads,
      throttle: (bytes, isWanted) => this.#throttle.pay(bytes, isWanted),
      atASeqno: (tree, install) => this.#changeTables(tree, install),
    }
  }

  /**
   * The manifest has made a change of tables. It becomes visible as a commit of its own, so that a
   * snapshot is from before it or from after. If the journal takes none, it becomes visible with
   * the next commit of somebody else.
   */
  #changeTables(tree: number, install: (at: number) => void): void {
    this.#queue.drain()
    this.#mayHold = true
    if (this.snapshots.seqnos().length > 0) this.#rotateTree(tree)
    // Nobody reads above the seqno of an ingestion that is about to be there, and whoever will
    // must see it: the change comes right before it.
    const ingesting = this.keyspaces.byId(tree)?.tree.ingestingSeqno
    if (ingesting !== undefined) return install(ingesting)
    let at = this.#queue.nextSeqno
    try {
      at = this.#appendRecord(tablesChanged(tree), () => this.#queue.publishOne())
    } catch {
      // Told to the next who writes.
    }
    install(at)
  }

  *#beforeFlushCommit(highest: number): Flow<void> {
    if (this.#keeper !== undefined) yield* this.#keeper.ensureDurable(highest)
  }

  *#recover(): Flow<void> {
    const { settings } = this
    const context = this.#context()
    // There may be thousands of keyspaces.
    const slice = new Slice(() => this.#vfs.monotonicMillis())
    const trees = new Map<number, Tree>()
    let recovery: Recovery | undefined
    try {
      for (const [id, state] of this.#manifest.state.trees) {
        // Refused before anything has changed.
        settings.filterOf?.(state.name)
        trees.set(id, yield* openTree(context, state))
        if (slice.isOver) yield* slice.pass
      }
      const writeBuffer = settings.readOnly ? 0 : settings.maxWriteBufferSize
      recovery = new Recovery(context, settings.recovery, writeBuffer, trees)
      yield* recovery.replay()
      const { filterOf } = settings
      for (const tree of trees.values()) tree.offerFilter(filterOf?.(tree.name), filterOf)
      if (!settings.readOnly) {
        this.journal = yield* recovery.finish()
        yield* recovery.removeOrphans(this.journal.numbers)
      }
    } catch (error) {
      recovery?.close()
      for (const tree of trees.values()) tree.close()
      throw error
    }
    recovery.close()
    this.recovery = recovery.report
    this.#queue.start(recovery.nextSeqno)
    this.#isRecovering = false
    if (this.journal !== undefined) this.#startKeeper(this.journal)
    for (const tree of trees.values()) {
      this.keyspaces.add(new Keyspace(tree))
      if (slice.isOver) yield* slice.pass
    }
    this.#keeper?.evictSoon()
  }

  #startKeeper(journal: JournalManager): void {
    const { syncInterval, maxJournalSize } = this.settings
    const keeper = new JournalKeeper({
      vfs: this.#vfs,
      directory: this.path,
      manifest: this.#manifest,
      journal,
      queue: this.#queue,
      syncInterval,
      maxJournalSize,
      watermarks: () => this.keyspaces.unflushed(),
      flushedSeqno: (id) => this.keyspaces.flushedSeqno(id),
      sealTree: (id) => {
        const keyspace = this.keyspaces.byId(id)
        if (keyspace !== undefined) this.maintenance.rotate(keyspace)
      },
      counters: this.counters,
      onState: (source, problem) => this.#health.set(source, problem),
      flushTree: (id) => this.#flushTree(id),
    })
    this.#keeper = keeper
    journal.onSync = (milliseconds) => this.counters.syncs.add(milliseconds)
    this.writer.start(journal, keeper)
  }

  *#flushTree(id: number): Flow<void> {
    const keyspace = this.keyspaces.byId(id)
    if (keyspace === undefined) return
    this.maintenance.rotate(keyspace)
    yield* this.maintenance.flush(keyspace)
  }

  /** It did not open. */
  *#abandon(): Flow<void> {
    yield* this.#remover.stop()
    this.journal?.close()
    this.#manifest.close()
    this.#vfs.close()
    this.#lock?.release()
  }

  // --- states ------------------------------------------------------------------------------------

  get status(): EngineStatus {
    return this.#status === 'open' ? this.#health.status : this.#status
  }

  /** Throws DB_CLOSED once it is closing. */
  check(): void {
    if (this.#status !== 'open') throw this.closedError()
  }

  closedError(): ShaleError {
    return new ShaleError('DB_CLOSED', 'the database is closed', { path: this.path })
  }

  #maintenanceState(problem: ShaleError | undefined): void {
    this.#health.set('maintenance', problem)
    // A manifest that takes no more commits does not heal.
    const { failure } = this.#manifest
    if (failure !== undefined && !this.settings.readOnly) this.#queue.fail(failure)
  }

  closeSnapshot(seqno: number, isAbandoned: boolean): void {
    this.snapshots.close(seqno)
    if (isAbandoned) this.counters.snapshotsAbandoned++
    if (this.#status !== 'open') return
    if (this.#mayHold) this.#releaseHeld()
    this.maintenance.readsEnded(seqno)
  }

  /** What was dropped may not have been visible yet when the drop ended. */
  #afterFlush(evict: () => void): void {
    if (this.#mayHold) this.#releaseHeld()
    evict()
  }

  #rotateTree(tree: number): void {
    const keyspace = this.keyspaces.byId(tree)
    if (keyspace !== undefined) this.maintenance.rotate(keyspace)
  }

  #releaseHeld(): void {
    const view = { snapshots: this.snapshots.seqnos(), visible: this.#queue.visible }
    const trees = this.keyspaces.all().map(({ tree }) => tree)
    for (const tree of trees) tree.releaseHeld(view)
    this.#mayHold = trees.some((tree) => tree.holdsOlder)
  }

  /** Reads see commits with a smaller seqno. */
  get visible(): number {
    return this.#queue.visible
  }

  figures(): DatabaseFigures {
    this.check()
    return databaseFigures(this, this.#manifest.bytes, this.#queue.nextSeqno)
  }

  // --- writes ------------------------------------------------------------------------------------

  /**
   * The keyspace with that name and these options; it is created if there is none. `filterOf` is
   * that of the handle.
   */
  *openKeyspace(
    name: string,
    given: TreeSettingsGiven,
    filterOf?: DatabaseSettings['filterOf'],
    strategy?: Strategy,
  ): Flow<Keyspace> {
    this.check()
    const filter = filterOf?.(name)
    // A creation is a commit and keeps its place in the order of all.
    this.#queue.drain()
    return yield* this.keyspaces.open(name, given, { filter, filterOwner: filterOf, strategy })
  }

  #checkWritable(): void {
    this.check()
    if (this.settings.readOnly) {
      throw new ShaleError('READ_ONLY', 'the database was opened read-only', { path: this.path })
    }
  }

  /** Throws why a write may not even be tried. */
  checkWrite(keyspace: Keyspace): void {
    this.#checkWritable()
    if (keyspace.isDeleted) {
      const { name } = keyspace
      throw new ShaleError('KEYSPACE_DELETED', 'the keyspace was deleted', { keyspace: name })
    }
  }

  /** Commits one entry, which was checked. */
  writeOneSync(entries: Uint8Array, durability: Durability): void {
    this.#runSync(entries, 1, durability)
  }

  /** The same; the bytes must not change any more. */
  async writeOne(entries: Uint8Array, durability: Durability): Promise<void> {
    return this.#run(entries, 1, durability)
  }

  /** Commits the entries of a batch. */
  writeSync(entries: Uint8Array, durability: Durability): void {
    this.#checkWritable()
    const { count, hasRanges } = checkedBatch(entries, (id) => this.#checkEntry(id))
    if (count > 0) this.#runSync(entries, count, durability, hasRanges)
  }

  /** The same; the bytes are copied. */
  async write(entries: Uint8Array, durability: Durability): Promise<void> {
    this.#checkWritable()
    const { count, hasRanges } = checkedBatch(entries, (id) => this.#checkEntry(id))
    if (count > 0) await this.#run(new Uint8Array(entries), count, durability, hasRanges)
  }

  #checkEntry(keyspaceId: number): void {
    const keyspace = this.keyspaces.byId(keyspaceId)
    if (keyspace === undefined) {
      throw new ShaleError('INVALID_ARGUMENT', 'an entry names no keyspace of this database')
    }
    this.checkWrite(keyspace)
  }

  /** When a write was called; 0 if nobody wants to know. */
  #begin(isSlow: boolean): number {
    return isSlow ? performance.now() : this.counters.commits.begin()
  }

  #commit(
    entries: Uint8Array,
    count: number,
    durability: Durability,
    hasRanges: boolean,
    begun: number,
    isSlow: boolean,
  ): Commit {
    const journal = journalForm(entries, CODECS[this.settings.journalCompression])
    return { entries, journal, count, durability, hasRanges, begun, isSlow }
  }

  #runSync(entries: Uint8Array, count: number, durability: Durability, hasRanges = false): void {
    const { isFree } = this.control
    const isSlow = durability === 'sync' || !isFree
    const begun = this.#begin(isSlow)
    if (!isFree || this.#queue.hasDeferred) {
      // What goes before it may ask the application, whose own writes use the same memory.
      entries = new Uint8Array(entries)
      if (!isFree) this.#admitSync()
      this.check()
    }
    this.writer.isSyncCaller = true
    this.counters.workedSince = 0
    try {
      this.#queue.run(this.#commit(entries, count, durability, hasRanges, begun, isSlow))
    } finally {
      this.writer.isSyncCaller = false
    }
  }

  /**
   * Under full pressure the writer does what makes room: nobody else can. That goes for the writes
   * as well that were parked before; they are committed first.
   */
  #admitSync(): void {
    do {
      this.#queue.drain()
      if (!this.maintenance.isRetryDue) this.#throwRefusal()
      this.control.delay(() => this.maintenance.relieve())
    } while (this.control.letFirstGo())
  }

  /** The same for an ingestion, which brings a run to level 0: an async one waits for room. */
  readonly #admitRun: Io<void> = new Io<void>(
    () => {
      if (!this.control.isFree) this.#admitSync()
    },
    async () => {
      if (!this.control.isFree) await this.control.admitted(0)
    },
  )

  #throwRefusal(): void {
    const { refusal } = this.control
    if (refusal !== undefined) throw refusal
  }

  async #run(
    entries: Uint8Array,
    count: number,
    durability: Durability,
    hasRanges = false,
  ): Promise<void> {
    const { isFree } = this.control
    const isSlow = durability === 'sync' || !isFree
    const begun = this.#begin(isSlow)
    if (!isFree) {
      const admitted = new Promise<void>((resolve, reject) => {
        this.control.admit(entries.length, (refusal) => {
          if (refusal !== undefined) reject(refusal)
          else this.#defer(entries, count, durability, hasRanges, begun).then(resolve, reject)
        })
      })
      return keepAlive(admitted)
    }
    return this.#queue.defer(this.#commit(entries, count, durability, hasRanges, begun, isSlow))
  }

  /** Rejects whatever fails: a timer may have called, who has nobody to tell. */
  async #defer(
    entries: Uint8Array,
    count: number,
    durability: Durability,
    hasRanges: boolean,
    begun: number,
  ): Promise<void> {
    return this.#queue.defer(this.#commit(entries, count, durability, hasRanges, begun, true))
  }

  /** Makes every acknowledged commit survive what `durability` says. */
  *persist(durability: Durability): Flow<void> {
    this.check()
    const keeper = this.#keeper
    if (keeper === undefined) return
    if (durability !== 'buffered') this.#queue.drain()
    if (this.#queue.failure !== undefined) throw this.#queue.syncFailed()
    if (durability === 'os') keeper.handOver()
    else if (durability === 'sync') yield* keeper.ensureDurable(this.#queue.nextSeqno - 1)
  }

  /** An ingestion into a keyspace: it becomes a commit of its own. */
  startIngestion(keyspace: Keyspace): OpenIngestion {
    const check = (): void => {
      if (this.#queue.failure !== undefined) throw this.#queue.dbFailed()
      if (keyspace.isDeleted) this.checkWrite(keyspace)
    }
    this.checkWrite(keyspace)
    check()
    const { tree } = keyspace
    let seqno = 0
    const hold = (): number => this.#queue.hold(() => tree.settleIngestion())
    return this.#ingestions.start(keyspace, {
      admit: this.#admitRun,
      check,
      begin: () => (seqno = this.#appendRecord(tablesChanged(tree.id), hold)),
      end: () => this.#queue.release(seqno),
    })
  }

  /**
   * A commit that says something of a keyspace. It is handed over, and `publish` gives it its
   * seqno, which is returned.
   */
  #appendRecord(record: Uint8Array, publish: () => number): number {
    this.#queue.drain()
    if (this.#queue.failure !== undefined) throw this.#queue.dbFailed()
    const journal = this.journal!
    const mark = journal.mark()
    journal.stage(1, this.#queue.nextSeqno, record)
    try {
      this.#keeper!.handOver()
    } catch (error) {
      journal.cutBack(mark)
      throw error
    }
    return publish()
  }

  // --- maintenance -------------------------------------------------------------------------------

  /** Seals the active memtable of a keyspace; false if it was empty. */
  rotate(keyspace: Keyspace): boolean {
    if (this.#status !== 'open' || this.settings.readOnly) return false
    this.#queue.drain()
    return this.maintenance.rotate(keyspace)
  }

  /** Everything that was written to a keyspace goes to tables. */
  *flush(keyspace: Keyspace): Flow<void> {
    this.checkWrite(keyspace)
    this.#queue.drain()
    this.maintenance.rotate(keyspace)
    yield* this.maintenance.flush(keyspace)
  }

  // --- close -------------------------------------------------------------------------------------

  /**
   * What was acknowledged as buffered is in this process alone: the end of the environment must not
   * lose it. That of a thread is not the end of the process, whose other threads may go on here.
   */
  #leave(): void {
    this.writer.mayBuffer = false
    try {
      if (this.#queue.failure === undefined) {
        this.#queue.drain()
        this.journal?.handOver()
      }
    } finally {
      if (!isMainThread) {
        this.#status = 'closed'
        this.#vfs.close()
        this.#lock?.release()
      }
    }
  }

  /**
   * Ends everything: memtables go to tables, the journal is synced, the directory is unlocked.
   * Throws what kept something from becoming durable; it is closed all the same. May be called
   * again while it runs, by a sync caller who cannot wait for that.
   */
  *close(): Flow<void> {
    if (this.#status === 'closed') return
    this.#status = 'closing'
    this.#health.close()
    this.control.close(this.closedError())
    let problem: unknown
    try {
      if (!this.#isLettingGo) yield* this.#end()
    } catch (error) {
      problem = error
    }
    if (this.#hasEnded) return
    yield* this.#letGo()
    if (problem !== undefined) throw problem as Error
  }

  /** A sync caller may have come to the end of it before an async one. */
  get #hasEnded(): boolean {
    return this.#status === 'closed'
  }

  *#end(): Flow<void> {
    const keeper = this.#keeper
    this.#queue.drain()
    yield* this.#ingestions.end()
    let problem: unknown
    if (keeper !== undefined) {
      try {
        keeper.handOver()
        yield* keeper.ensureDurable(this.journal!.handedOver)
        yield* this.keyspaces.finish()
      } catch (error) {
        problem = error
      }
    }
    this.#throttle.stop()
    if (keeper !== undefined) yield* keeper.stop()
    yield* this.maintenance.stop(this.closedError())
    yield* this.#manifest.settle()
    if (problem !== undefined) throw problem as Error
    if (keeper === undefined) return
    yield* each(this.keyspaces.all(), LAST_FLUSHES_MAX, (keyspace) => this.#flushLast(keyspace))
    if (this.#queue.failure !== undefined) throw this.#queue.syncFailed()
    yield* endJournals({
      vfs: this.#vfs,
      directory: this.path,
      manifest: this.#manifest,
      journal: this.journal!,
      isFlushed: this.keyspaces.unflushed().size === 0,
      lastSeqno: this.#queue.nextSeqno - 1,
    })
  }

  /** What cannot be flushed stays in the journal, which is synced. */
  *#flushLast(keyspace: Keyspace): Flow<void> {
    keyspace.tree.rotate()
    try {
      yield* this.maintenance.flushLast(keyspace)
    } catch (error) {
      if (error instanceof ShaleError && error.code === 'SYNC_FAILED') this.#queue.fail(error)
    }
  }

  *#letGo(): Flow<void> {
    this.#isLettingGo = true
    this.#takeBackAtExit()
    const slice = new Slice(() => this.#vfs.monotonicMillis())
    for (const { tree } of this.keyspaces.all()) {
      tree.close(this.closedError())
      if (slice.isOver) yield* slice.pass
    }
    yield* this.#reads.none
    if (this.#hasEnded) return
    yield* this.#remover.stop()
    this.journal?.close()
    this.#manifest.close()
    this.#vfs.close()
    this.#lock?.release()
    this.#status = 'closed'
  }
}

function* openTree(context: TreeContext, state: TreeState): Flow<Tree> {
  try {
    return yield* Tree.open(context, state)
  } catch (error) {
    throw withKeyspace(error, state.name)
  }
}
