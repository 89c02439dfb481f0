/**
 * Trees: one bare LSM-tree in a directory of its own, without a journal; the caller supplies
 * seqnos.
 */

import { makeCompactor, type Compactor } from './compactor.ts'
import { strategySetting, type CompactionStrategy } from './compaction.ts'
import { planData, type CompactionPlan } from './compaction-plan.ts'
import {
  TOMBSTONE,
  VALUE,
  WEAK_TOMBSTONE,
  type BareTreeEngine,
  type EntryKind,
  type PlanData,
  type StrategySetting,
} from './engine.ts'
import { chooseEngine } from './engine-loader.ts'
import { makeEntryRange, type EntryRange } from './entry-range.ts'
import { FIRST_KEY } from './entry-bytes.ts'
import { kindOf, MAX_VALUE_BYTES, ShaleError } from './errors.ts'
import { makeIngestion, type Ingestion, type IngestionOwner } from './ingestion.ts'
import {
  boundsOfPrefix,
  boundsOfRange,
  EVERYTHING,
  readKeyRange,
  scanOptions,
  type Bounds,
  type KeyRange,
} from './keys.ts'
import { keyspaceMetrics, type KeyspaceMetrics } from './metrics.ts'
import { treeSettings, type TreeOptions } from './options.ts'
import { directoryPath } from './path.ts'
import {
  checkSignal,
  readBareIterOptions,
  readBareRangeOptions,
  readMajorOptions,
  type BareIterSpec,
  type IterOptions,
  type MajorCompactionOptions,
  type RangeOptions,
} from './read-options.ts'
import {
  count,
  countSync,
  endPairSync,
  FIRST,
  isEmptySync,
  LAST,
  manyKeys,
  targetOffset,
} from './reads.ts'
import { rejected, uncloneable, wrongReceiver } from './receiver.ts'
import type { Pair } from './rows.ts'
import type { EngineName, KeyInput, ValueInput } from './types.ts'
import { isUserStrategy, userSetting } from './user-strategy.ts'
import { makeSuperVersion, makeVersion, type SuperVersion, type Version } from './version.ts'

/** A read at this seqno sees everything, also what is being applied. */
export const MAX_SEQNO: number = Number.MAX_SAFE_INTEGER

/** What one write took. */
export interface WriteSize {
  /** Bytes of the entry in the memtable. */
  readonly itemSize: number
  /** Bytes of the active memtable after it. */
  readonly memtableSize: number
}

const TOKEN = Symbol('tree')

/**
 * One bare LSM-tree. The caller supplies seqnos: a read at seqno R sees exactly the entries with a
 * smaller one. There is no journal: what is not flushed is lost at close.
 *
 * Seqnos of writes must not go below the highest one that was sealed, nor up to MAX_SEQNO, which is
 * for reads. Flush and compaction keep
 * whatever a read at `gcSeqno` or above may need; it starts at 0 (keep everything) and never
 * decreases.
 */
export class Tree {
  readonly #engine: BareTreeEngine
  readonly #engineName: EngineName
  readonly #compactor: Compactor
  readonly #life: IngestionOwner & { closing: boolean } = {
    closing: false,
    maxValueSize: MAX_VALUE_BYTES,
    checkOpen: () => this.#checkOpen(),
  }
  #closing: Promise<void> | undefined

  private constructor(token: symbol, name: EngineName, engine: BareTreeEngine) {
    if (token !== TOKEN) throw new ShaleError('INVALID_ARGUMENT', 'a Tree is made by Tree.open()')
    this.#engine = engine
    this.#engineName = name
    this.#compactor = makeCompactor(engine.compactor)
    uncloneable(this)
  }

  /** Opens a tree, or creates it. The parent directory must exist. */
  static open(path: string | URL, options?: TreeOptions): Promise<Tree> {
    try {
      const directory = directoryPath(path)
      const { engine: chosen, settings } = treeSettings(options)
      const engine = chooseEngine(chosen)
      return engine
        .openTree(directory, settings)
        .then((opened) => new Tree(TOKEN, engine.name, opened))
    } catch (error) {
      return rejected(error)
    }
  }

  static openSync(path: string | URL, options?: TreeOptions): Tree {
    const directory = directoryPath(path)
    const { engine: chosen, settings } = treeSettings(options)
    const engine = chooseEngine(chosen)
    return new Tree(TOKEN, engine.name, engine.openTreeSync(directory, settings))
  }

  /** Absolute. */
  get path(): string {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'path')
    return this.#engine.path
  }

  get engine(): EngineName {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'engine')
    return this.#engineName
  }

  /** Whether large values are kept in blob files. */
  get isKvSeparated(): boolean {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'isKvSeparated')
    return this.#engine.settings().kvSeparation !== undefined
  }

  get compactor(): Compactor {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'compactor')
    return this.#compactor
  }

  // --- writes ------------------------------------------------------------------------------------

  insertSync(key: KeyInput, value: ValueInput, seqno: number): WriteSize {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'insertSync')
    return this.#engine.add(VALUE, key, value, checkSeqno(seqno))
  }

  removeSync(key: KeyInput, seqno: number): WriteSize {
    return Tree.#remove(this, 'removeSync', TOMBSTONE, key, seqno)
  }

  /** Single delete: only for keys written at most once since their last removal. */
  removeWeakSync(key: KeyInput, seqno: number): WriteSize {
    return Tree.#remove(this, 'removeWeakSync', WEAK_TOMBSTONE, key, seqno)
  }

  /**
   * Removes every key in the range: a range tombstone, which hides entries with a smaller seqno. Of
   * an empty range nothing is written.
   *
   * @throws ShaleError INVALID_RANGE, INVALID_KEY
   */
  removeRangeSync(range: KeyRange, seqno: number): WriteSize {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'removeRangeSync')
    checkSeqno(seqno)
    const { lower = FIRST_KEY, upper, empty } = readKeyRange(range)
    if (!empty) return this.#engine.addRange(lower, upper, seqno)
    this.#checkOpen()
    return { itemSize: 0, memtableSize: this.#engine.superVersions()[0]?.activeMemtable.size ?? 0 }
  }

  /** Removes everything with a smaller seqno, and flushes that. */
  clear(seqno: number): Promise<void> {
    try {
      Tree.#clear(this, 'clear', seqno)
      return this.#engine.flush()
    } catch (error) {
      return rejected(error)
    }
  }

  clearSync(seqno: number): void {
    Tree.#clear(this, 'clearSync', seqno)
    this.#engine.flushSync()
  }

  /**
   * Begins a sorted bulk load; see `Keyspace.startIngestion`. All of its entries get `seqno`, which
   * must be above every seqno inserted or ingested so far, and still so when it finishes (it is
   * rolled back otherwise).
   *
   * @throws ShaleError INVALID_ARGUMENT
   */
  startIngestion(seqno: number): Promise<Ingestion> {
    return Tree.#read(this, 'startIngestion', seqno, (engine) =>
      engine.startIngestion(seqno).then((ingestion) => makeIngestion(this.#life, ingestion)),
    )
  }

  startIngestionSync(seqno: number): Ingestion {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'startIngestionSync')
    return makeIngestion(this.#life, this.#engine.startIngestionSync(checkSeqno(seqno)))
  }

  // --- point reads -------------------------------------------------------------------------------

  get(key: KeyInput, seqno: number): Promise<Buffer | undefined> {
    return Tree.#read(this, 'get', seqno, (engine) => engine.get(key, seqno))
  }

  getSync(key: KeyInput, seqno: number): Buffer | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'getSync')
    return this.#engine.getSync(key, checkSeqno(seqno))
  }

  getTextSync(key: KeyInput, seqno: number): string | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'getTextSync')
    return this.#engine.getTextSync(key, checkSeqno(seqno))
  }

  /** As Keyspace.getIntoSync. */
  getIntoSync(
    key: KeyInput,
    seqno: number,
    target: Uint8Array,
    offset?: number,
  ): number | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'getIntoSync')
    const at = targetOffset(target, offset)
    return this.#engine.getIntoSync(key, checkSeqno(seqno), target, at)
  }

  getMany(keys: readonly KeyInput[], seqno: number): Promise<(Buffer | undefined)[]> {
    return Tree.#read(this, 'getMany', seqno, (engine) => engine.getMany(manyKeys(keys), seqno))
  }

  getManySync(keys: readonly KeyInput[], seqno: number): (Buffer | undefined)[] {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'getManySync')
    return this.#engine.getManySync(manyKeys(keys), checkSeqno(seqno))
  }

  containsKey(key: KeyInput, seqno: number): Promise<boolean> {
    return Tree.#read(this, 'containsKey', seqno, (engine) =>
      engine.sizeOf(key, seqno).then((size) => size !== undefined),
    )
  }

  containsKeySync(key: KeyInput, seqno: number): boolean {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'containsKeySync')
    return this.#engine.sizeOfSync(key, checkSeqno(seqno)) !== undefined
  }

  /** Bytes of the value, or undefined if absent. Reads no blob. */
  sizeOf(key: KeyInput, seqno: number): Promise<number | undefined> {
    return Tree.#read(this, 'sizeOf', seqno, (engine) => engine.sizeOf(key, seqno))
  }

  sizeOfSync(key: KeyInput, seqno: number): number | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'sizeOfSync')
    return this.#engine.sizeOfSync(key, checkSeqno(seqno))
  }

  firstKeyValueSync(seqno: number): Pair | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'firstKeyValueSync')
    return endPairSync(this.#engine, FIRST, checkSeqno(seqno))
  }

  lastKeyValueSync(seqno: number): Pair | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'lastKeyValueSync')
    return endPairSync(this.#engine, LAST, checkSeqno(seqno))
  }

  /** Number of keys, by a full scan. */
  len(seqno: number): Promise<number> {
    return Tree.#read(this, 'len', seqno, (engine) => count(engine, seqno))
  }

  lenSync(seqno: number): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'lenSync')
    return countSync(this.#engine, checkSeqno(seqno))
  }

  isEmptySync(seqno: number): boolean {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'isEmptySync')
    return isEmptySync(this.#engine, checkSeqno(seqno))
  }

  /** Versions and tombstones in memtables and tables: an upper bound of len(), at no cost. */
  approximateLen(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'approximateLen')
    return this.#engine.treeFigures().approximateLen
  }

  // --- ranges ------------------------------------------------------------------------------------

  iter(seqno: number, options?: Omit<IterOptions, 'snapshot'>): EntryRange {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'iter')
    return this.#range(EVERYTHING, readBareIterOptions(options), checkSeqno(seqno))
  }

  range(range: Omit<RangeOptions, 'snapshot'>, seqno: number): EntryRange {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'range')
    const given = readBareRangeOptions(range)
    return this.#range(boundsOfRange(given), given, checkSeqno(seqno))
  }

  prefix(prefix: KeyInput, seqno: number, options?: Omit<IterOptions, 'snapshot'>): EntryRange {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'prefix')
    const bounds = boundsOfPrefix(prefix)
    return this.#range(bounds, readBareIterOptions(options), checkSeqno(seqno))
  }

  // --- maintenance -------------------------------------------------------------------------------

  /** Reads at this seqno and above stay exact through flush and compaction. */
  get gcSeqno(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'gcSeqno')
    return this.#engine.gcSeqno()
  }

  setGcSeqno(seqno: number): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'setGcSeqno')
    this.#engine.setGcSeqno(checkSeqno(seqno))
  }

  /** Bytes of all memtables, active and sealed. */
  memtableSize(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'memtableSize')
    return this.#engine.treeFigures().memtableSize
  }

  /** Seals the active memtable; false if it was empty. */
  rotateMemtable(): boolean {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'rotateMemtable')
    return this.#engine.rotateMemtable()
  }

  /** Seals the active memtable and writes everything sealed to durable tables. */
  flush(): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Tree', 'flush'))
    return this.#engine.flush()
  }

  flushSync(): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'flushSync')
    this.#engine.flushSync()
  }

  /**
   * One decision of a strategy and its execution, or a plan.
   *
   * @throws ShaleError PLAN_STALE when a plan's tables are gone or busy, INVALID_ARGUMENT; ABORTED
   * when a strategy of the application fails
   */
  compact(what: CompactionStrategy | CompactionPlan): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Tree', 'compact'))
    try {
      const compaction = this.#compaction(what)
      return compaction === undefined ? Promise.resolve() : this.#engine.compact(compaction)
    } catch (error) {
      return rejected(error)
    }
  }

  compactSync(what: CompactionStrategy | CompactionPlan): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'compactSync')
    const compaction = this.#compaction(what)
    if (compaction !== undefined) this.#engine.compactSync(compaction)
  }

  /** Merges all tables into the last level. */
  majorCompaction(options?: MajorCompactionOptions): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Tree', 'majorCompaction'))
    try {
      return this.#engine.majorCompaction(readMajorOptions(options))
    } catch (error) {
      return rejected(error)
    }
  }

  majorCompactionSync(options?: { targetSize?: number }): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'majorCompactionSync')
    this.#engine.majorCompactionSync(readMajorOptions(options))
  }

  /**
   * Drops the tables that lie inside the range; see `Keyspace.dropRange`. Reads at seqnos up to the
   * highest inserted so far still see them, while `gcSeqno` allows such.
   */
  dropRange(range: KeyRange): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Tree', 'dropRange'))
    try {
      this.#checkOpen()
      const { lower, upper, empty } = readKeyRange(range)
      return empty ? Promise.resolve() : this.#engine.dropRange(lower, upper)
    } catch (error) {
      return rejected(error)
    }
  }

  dropRangeSync(range: KeyRange): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'dropRangeSync')
    this.#checkOpen()
    const { lower, upper, empty } = readKeyRange(range)
    if (!empty) this.#engine.dropRangeSync(lower, upper)
  }

  // --- views and figures -------------------------------------------------------------------------

  version(): Version {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'version')
    return makeVersion(this.#engine.version())
  }

  /** Newest first: the super versions that a reader still holds; the first is the current one. */
  versionHistory(): readonly SuperVersion[] {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'versionHistory')
    return this.#engine.superVersions().map(makeSuperVersion)
  }

  /**
   * What a read at `seqno` goes to: the current super version, which keeps all that a read at
   * `gcSeqno` or above may need, or one from before tables were dropped.
   */
  getVersionForSnapshot(seqno: number): SuperVersion {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'getVersionForSnapshot')
    return makeSuperVersion(this.#engine.superVersionFor(checkSeqno(seqno)))
  }

  /** Highest seqno inserted; undefined if none was. */
  get highestSeqno(): number | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'highestSeqno')
    return this.#engine.treeFigures().highestSeqno
  }

  /** Highest seqno in durable tables; undefined if none is. */
  get highestPersistedSeqno(): number | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'highestPersistedSeqno')
    return this.#engine.treeFigures().highestPersistedSeqno
  }

  tableCount(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'tableCount')
    return this.#engine.treeFigures().tableCount
  }

  l0TableCount(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'l0TableCount')
    return this.#engine.treeFigures().l0TableCount
  }

  /** Bytes of tables that hold the range, estimated from the indexes; blob files do not count. */
  approximateSize(range: KeyRange): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'approximateSize')
    const { lower, upper, empty } = readKeyRange(range)
    return empty ? 0 : this.#engine.approximateSize(lower, upper)
  }

  /** Files that hold its separated values. */
  blobFileCount(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'blobFileCount')
    return this.#engine.treeFigures().blobFileCount
  }

  /** Bytes in blob files that no table points to any more; they go as these are rewritten. */
  fragmentedBlobBytes(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'fragmentedBlobBytes')
    return this.#engine.treeFigures().fragmentedBlobBytes
  }

  /** Bytes of its tables and blob files. */
  diskSpace(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'diskSpace')
    return this.#engine.treeFigures().diskSpace
  }

  /** What its reads and writes have cost since it was opened, and what it holds. */
  metrics(): KeyspaceMetrics {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'metrics')
    return keyspaceMetrics(this.#engine.metrics())
  }

  // --- life cycle --------------------------------------------------------------------------------

  /** Waits for running calls and unlocks. Nothing is flushed. Closing twice is the same promise. */
  close(): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Tree', 'close'))
    this.#life.closing = true
    this.#closing ??= this.#engine.close()
    return this.#closing
  }

  closeSync(): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Tree', 'closeSync')
    this.#life.closing = true
    this.#closing ??= Promise.resolve()
    this.#engine.closeSync()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Tree.prototype.close.call(this)
  }

  [Symbol.dispose](): void {
    Tree.prototype.closeSync.call(this)
  }

  /** Static, so that a method on the wrong object gets as far as its check. */
  static #remove(
    tree: Tree,
    member: string,
    kind: EntryKind,
    key: KeyInput,
    seqno: number,
  ): WriteSize {
    if (!(#engine in Object(tree))) throw wrongReceiver('Tree', member)
    return tree.#engine.add(kind, key, '', checkSeqno(seqno))
  }

  static #clear(tree: Tree, member: string, seqno: number): void {
    if (!(#engine in Object(tree))) throw wrongReceiver('Tree', member)
    tree.#engine.addRange(FIRST_KEY, undefined, checkSeqno(seqno))
  }

  static #read<T>(
    tree: Tree,
    member: string,
    seqno: number,
    read: (engine: BareTreeEngine) => Promise<T>,
  ): Promise<T> {
    try {
      if (!(#engine in Object(tree))) throw wrongReceiver('Tree', member)
      checkSeqno(seqno)
      return read(tree.#engine)
    } catch (error) {
      return rejected(error)
    }
  }

  #range(bounds: Bounds, given: BareIterSpec, seqno: number): EntryRange {
    this.#checkOpen()
    const check = (): void => {
      this.#checkOpen()
      checkSignal(given.signal)
    }
    const source = {
      reads: this.#engine,
      owner: this.#life,
      signal: given.signal,
      check,
      seqno: () => {
        check()
        return seqno
      },
    }
    return makeEntryRange({ source, bounds, options: scanOptions(given) })
  }

  #checkOpen(): void {
    if (this.#life.closing) {
      throw new ShaleError('DB_CLOSED', 'the tree is closed', { path: this.#engine.path })
    }
  }

  /** Undefined: a strategy of the application wants nothing. */
  #compaction(what: unknown): StrategySetting | PlanData | undefined {
    const strategy = strategySetting(what)
    if (strategy !== undefined) return strategy
    if (!isUserStrategy(what)) return planData(what)
    const version = this.#engine.version()
    const jobs = this.#engine.compactor.jobs()
    return userSetting(what, 'compact').source?.choose(version, {
      busyTables: new Set(jobs.flatMap(({ plan }) => plan.tables)),
      now: Date.now(),
      seenBelow: this.#engine.gcSeqno(),
    })
  }
}

function checkSeqno(seqno: unknown): number {
  if (typeof seqno !== 'number' || !Number.isSafeInteger(seqno) || seqno < 0) {
    const got = typeof seqno === 'number' ? String(seqno) : kindOf(seqno)
    throw new ShaleError(
      'INVALID_ARGUMENT',
      `seqno must be an integer from 0 to 2^53-1, not ${got}`,
    )
  }
  return seqno
}
