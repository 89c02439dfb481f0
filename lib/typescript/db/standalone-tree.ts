/**
 * One bare LSM-tree in a directory of its own, without a journal; the caller supplies seqnos. What
 * is not flushed is lost at close.
 */

import { isMainThread } from 'node:worker_threads'
import type { EntryKind, PlanData, StrategySetting, TreeEngineSettings } from '../../engine.ts'
import { ShaleError } from '../../errors.ts'
import { Cache } from '../base/cache.ts'
import { Io } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { READ_ALL, SEQNO_MAX } from '../base/internal-key.ts'
import { Pending } from '../base/pending.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { equalBytes } from '../base/slice.ts'
import { MEMTABLE_BYTES_MAX } from '../memtable/memtable.ts'
import { BARE_TREE } from '../tree/manifest-edit.ts'
import type { Manifest } from '../tree/manifest.ts'
import { changedOptions, decodeOptions, encodeOptions, newOptions } from '../tree/options.ts'
import type { RetentionView } from '../tree/retention.ts'
import { Tree } from '../tree/tree.ts'
import type { TreeContext } from '../tree/tree.ts'
import type { ClosableVfs } from '../vfs/closable-vfs.ts'
import { tryRemove } from '../vfs/directory.ts'
import { FileCache } from '../vfs/file-cache.ts'
import { parseFileName, pathIn } from '../vfs/file-name.ts'
import { FileRemover } from '../vfs/file-remover.ts'
import type { Vfs } from '../vfs/vfs.ts'
import type { DirectoryLock } from './directory-lock.ts'
import { atExit } from './at-exit.ts'
import { checkCodecs } from './keyspaces.ts'
import { Ingestions } from './ingestions.ts'
import type { OpenIngestion } from './ingestions.ts'
import { Keyspace } from './keyspace.ts'
import { Maintenance } from './maintenance.ts'
import type { CompactionWatch } from './compaction-watch.ts'
import { openDirectory } from './open-directory.ts'
import type { OpenedDirectory } from './open-directory.ts'
import type { Strategy } from './strategies.ts'

/** Id of the only tree of a directory. */
const TREE_ID = 1
/** Compactions that run at the same time in the background. */
const COMPACTIONS_MAX = 1

const RULES = {
  kind: BARE_TREE,
  createIfMissing: true,
  errorIfExists: false,
  readOnly: false,
} as const

export class StandaloneTree {
  readonly path: string
  readonly maintenance: Maintenance
  readonly #vfs: ClosableVfs
  readonly #settings: TreeEngineSettings
  readonly #lock: DirectoryLock | undefined
  readonly #manifest: Manifest
  readonly #remover: FileRemover
  readonly #ingestions: Ingestions
  readonly #reads = new Pending()
  #keyspace!: Keyspace
  /** What reads still need, as the caller says, and as the manifest does. */
  #gcSeqno = 0
  #recordedGcSeqno = 0
  #isClosed = false
  #takeBackAtExit: () => void = () => {}
  /** Only what the directory is held by is left to be given back. */
  #isLettingGo = false
  #hasEnded = false

  private constructor(
    path: string,
    settings: TreeEngineSettings,
    { vfs, lock, manifest }: OpenedDirectory,
  ) {
    this.path = path
    this.#vfs = vfs
    this.#settings = settings
    this.#lock = lock
    this.#manifest = manifest
    this.#remover = new FileRemover(vfs)
    this.maintenance = new Maintenance({
      vfs,
      control: undefined,
      maxCompactions: COMPACTIONS_MAX,
      isAutomatic: settings.backgroundCompaction,
      // What fails is told by the call that wanted it, and tried again in the background.
      afterFlush: Io.now(() => {}),
      onFatal: () => {},
      onState: () => {},
      onLacking: () => {},
      events: undefined,
    })
    this.#ingestions = new Ingestions(this.maintenance, () => this.closedError())
  }

  static *open(
    vfs: Vfs,
    path: string,
    settings: TreeEngineSettings,
    strategy?: Strategy,
  ): Flow<StandaloneTree> {
    checkCodecs(settings.tree)
    const directory = yield* openDirectory(vfs, path, RULES)
    const opened = new StandaloneTree(path, settings, directory)
    try {
      yield* opened.#applyOptions()
      yield* opened.#openTree(strategy)
      opened.#takeBackAtExit = atExit(() => opened.#leave())
      return opened
    } catch (error) {
      yield* opened.#letGo()
      throw error
    }
  }

  *#applyOptions(): Flow<void> {
    const state = this.#manifest.state.trees.get(TREE_ID)
    const { tree: given } = this.#settings
    if (state === undefined) {
      const options = encodeOptions(newOptions(given))
      const created = { tree: this.#manifest.newTreeId(), name: '', createdSeqno: 0, options }
      yield* this.#manifest.commit({ treesCreated: [created] })
      return
    }
    const options = encodeOptions(changedOptions(decodeOptions(state.options), given))
    if (equalBytes(options, state.options)) return
    yield* this.#manifest.commit({ treeOptions: [{ tree: TREE_ID, options }] })
  }

  *#openTree(strategy: Strategy | undefined): Flow<void> {
    const state = this.#manifest.state.trees.get(TREE_ID)!
    this.#gcSeqno = state.gcSeqno
    this.#recordedGcSeqno = state.gcSeqno
    const tree = yield* Tree.open(this.#context(), state)
    tree.offerFilter(this.#settings.filter, this)
    this.#keyspace = new Keyspace(tree)
    this.#keyspace.strategy = strategy
    for (const name of yield* this.#vfs.list(this.path)) {
      const { kind, number } = parseFileName(name)
      const isOurs = kind === 'table' || kind === 'blob'
      const isNamed = state.tables.has(number) || state.blobFiles.has(number)
      if (isOurs && !isNamed) yield* tryRemove(this.#vfs, pathIn(this.path, name))
    }
    this.maintenance.opened(this.#keyspace)
  }

  #context(): TreeContext {
    const { cacheSize, maxOpenFiles } = this.#settings
    return {
      vfs: this.#vfs,
      directory: this.path,
      manifest: this.#manifest,
      cache: new Cache(cacheSize),
      files: new FileCache(this.#vfs, maxOpenFiles),
      remove: (path, bytes) => this.#remover.remove(path, bytes),
      removeDue: this.#remover.due,
      view: () => this.#view(),
      beforeFlushCommit: function* () {},
      // Reads at any seqno from the gc seqno on may come at any time.
      atASeqno: (_, install) => {
        this.rotate()
        // Reads above an ingestion that is about to be there must see it.
        const { highestSeqno, ingestingSeqno = highestSeqno } = this.tree
        install(Math.min(highestSeqno, ingestingSeqno))
      },
      reads: this.#reads,
      throttle: function* () {},
    }
  }

  /**
   * Everything that a read at the gc seqno or above may need is kept. If that cannot be recorded,
   * what the manifest says holds.
   */
  *#view(): Flow<RetentionView> {
    try {
      yield* this.#recordGcSeqno()
    } catch {
      // The job fails for the same reason, or succeeds with the older one.
    }
    return { snapshots: [], visible: this.#recordedGcSeqno }
  }

  /** Not before a job may drop what reads below it would need, and not for every call. */
  *#recordGcSeqno(): Flow<void> {
    const wanted = this.#gcSeqno
    if (wanted === this.#recordedGcSeqno) return
    yield* this.#manifest.commit({ gcSeqnos: [{ tree: TREE_ID, seqno: wanted }] })
    this.#recordedGcSeqno = Math.max(this.#recordedGcSeqno, wanted)
  }

  get tree(): Tree {
    return this.#keyspace.tree
  }

  /** Throws DB_CLOSED once it is closing. */
  check(): void {
    if (this.#isClosed) throw this.closedError()
  }

  closedError(): ShaleError {
    return new ShaleError('DB_CLOSED', 'the tree is closed', { path: this.path })
  }

  /** Key and value are parts of arrays that are copied. */
  add(
    kind: EntryKind,
    seqno: number,
    key: Uint8Array,
    keyEnd: number,
    value: Uint8Array,
    valueEnd: number,
  ): { itemSize: number; memtableSize: number } {
    this.#checkSeqno(seqno)
    this.tree.counters.givenBytes += keyEnd + valueEnd
    return this.#added(this.tree.insert(kind, seqno, key, 0, keyEnd, value, 0, valueEnd))
  }

  /** The keys are copied. */
  addRange(range: RangeTombstone): { itemSize: number; memtableSize: number } {
    this.#checkSeqno(range.seqno)
    this.tree.counters.givenBytes += range.start.length + (range.end?.length ?? 0)
    return this.#added(this.tree.insertRange(range))
  }

  #checkSeqno(seqno: number): void {
    this.check()
    const sealed = this.tree.highestSealedSeqno
    if (seqno >= SEQNO_MAX || seqno < sealed) throw badSeqno(seqno, sealed)
  }

  #added(itemSize: number): { itemSize: number; memtableSize: number } {
    const { tree } = this
    const memtableSize = tree.activeBytes
    this.maintenance.countActive(this.#keyspace)
    if (tree.isFull && this.#settings.backgroundCompaction) {
      this.maintenance.keepUp(this.#keyspace)
      this.rotate()
    } else if (memtableSize >= MEMTABLE_BYTES_MAX || tree.holdsTooManyRanges) {
      this.rotate()
    }
    return { itemSize, memtableSize }
  }

  get gcSeqno(): number {
    return this.#gcSeqno
  }

  setGcSeqno(seqno: number): void {
    this.check()
    if (seqno < this.#gcSeqno || seqno > READ_ALL) {
      const message = `gcSeqno ${seqno} is below what it was: ${this.#gcSeqno}`
      throw new ShaleError('INVALID_ARGUMENT', message)
    }
    const before = this.#gcSeqno
    this.#gcSeqno = seqno
    this.tree.releaseHeld({ snapshots: [], visible: seqno })
    if (seqno > before) this.maintenance.readsEnded(before)
  }

  rotate(): boolean {
    return !this.#isClosed && this.maintenance.rotate(this.#keyspace)
  }

  *flush(): Flow<void> {
    this.check()
    this.rotate()
    yield* this.maintenance.flush(this.#keyspace)
    yield* this.maintenance.dropCovered(this.#keyspace)
  }

  /** An ingestion whose entries get this seqno: above all others, now and when it finishes. */
  startIngestion(seqno: number): OpenIngestion {
    this.check()
    const check = (): void => this.#checkIngestion(seqno)
    check()
    const order = { admit: this.#admitRun, check, begin: () => seqno, end: () => {} }
    return this.#ingestions.start(this.#keyspace, order)
  }

  /** Nobody waits here: writers do not either. */
  readonly #admitRun = new Io<void>(
    () => {
      if (this.#settings.backgroundCompaction) this.maintenance.makeRoom(this.#keyspace)
    },
    async () => {},
  )

  #checkIngestion(seqno: number): void {
    const { highestSeqno, activeBytes, sealedBytes, superVersion } = this.tree
    const isEmpty = activeBytes + sealedBytes === 0 && superVersion.version.isEmpty
    const isFirst = isEmpty && highestSeqno === 0
    if (seqno < SEQNO_MAX && (isFirst || seqno > highestSeqno)) return
    const bounds = `above ${highestSeqno}, the highest so far, and below ${SEQNO_MAX}`
    throw new ShaleError('INVALID_ARGUMENT', `seqno ${seqno} is not ${bounds}`)
  }

  /** One decision of a strategy and its execution, or a plan. */
  *compact(what: StrategySetting | PlanData, watch: CompactionWatch): Flow<void> {
    this.check()
    const plan = 'type' in what ? yield* this.#decide(what) : what
    if (plan !== undefined) yield* this.maintenance.compact(this.#keyspace, plan, watch)
  }

  *#decide(strategy: StrategySetting): Flow<PlanData | undefined> {
    yield* this.maintenance.dropCovered(this.#keyspace)
    return this.tree.choosePlan(strategy) ?? (yield* this.tree.upkeepPlan(strategy))
  }

  *majorCompaction(targetSize: number | undefined, watch: CompactionWatch): Flow<void> {
    this.check()
    yield* this.maintenance.majorCompaction(this.#keyspace, targetSize, watch)
  }

  *dropRange(
    lower: Uint8Array | undefined,
    upper: Uint8Array | undefined,
    watch: CompactionWatch,
  ): Flow<void> {
    this.check()
    yield* this.maintenance.dropRange(this.#keyspace, lower, upper, watch)
  }

  /** May be called again while it runs, by a sync caller who cannot wait for that. */
  *close(): Flow<void> {
    if (this.#hasEnded) return
    this.#isClosed = true
    let problem: unknown
    try {
      if (!this.#isLettingGo) yield* this.#end()
    } catch (error) {
      problem = error
    }
    if (this.#hasEnded) return
    this.tree.close(this.closedError())
    yield* this.#reads.none
    if (this.#hasEnded) return
    yield* this.#letGo()
    if (problem !== undefined) throw problem as Error
  }

  *#end(): Flow<void> {
    yield* this.#ingestions.end()
    yield* this.maintenance.stop(this.closedError())
    yield* this.#manifest.settle()
    yield* this.#recordGcSeqno()
    yield* this.#manifest.recordFileNumbers()
  }

  /** A thread ends, but not its process: others may go on here. */
  #leave(): void {
    if (isMainThread) return
    this.#isClosed = true
    this.#vfs.close()
    this.#lock?.release()
  }

  *#letGo(): Flow<void> {
    this.#isLettingGo = true
    this.#takeBackAtExit()
    yield* this.#remover.stop()
    this.#manifest.close()
    this.#vfs.close()
    this.#lock?.release()
    this.#hasEnded = true
  }
}

/** Nothing could follow an entry that has the largest of all seqnos. */
function badSeqno(seqno: number, sealed: number): ShaleError {
  const message =
    seqno < sealed
      ? `seqno ${seqno} is below ${sealed}, the highest that was sealed`
      : `seqno ${seqno} is for reads; an entry has at most ${SEQNO_MAX - 1}`
  return new ShaleError('INVALID_ARGUMENT', message)
}
