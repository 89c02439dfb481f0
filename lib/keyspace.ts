/** Keyspaces: named, ordered maps of a database, each an LSM-tree of its own. */

import {
  LATEST,
  TOMBSTONE,
  WEAK_TOMBSTONE,
  type DatabaseEngine,
  type KeyspaceEngine,
} from './engine.ts'
import { EntryBytes } from './entry-bytes.ts'
import { planData, type CompactionPlan } from './compaction-plan.ts'
import { makeEntryRange, type EntryRange } from './entry-range.ts'
import { ShaleError } from './errors.ts'
import {
  boundsOfPrefix,
  boundsOfRange,
  EVERYTHING,
  readKeyRange,
  scanOptions,
  type Bounds,
  type KeyRange,
} from './keys.ts'
import { makeIngestion, type Ingestion } from './ingestion.ts'
import { keyspaceMetrics, type KeyspaceMetrics } from './metrics.ts'
import { heldOptions, type HeldKeyspaceOptions } from './options.ts'
import {
  checkSignal,
  readIterOptions,
  readMajorOptions,
  readRangeOptions,
  readReadOptions,
  seqnoOf,
  unlessAborted,
  type IterOptions,
  type IterSpec,
  type MajorCompactionOptions,
  type RangeOptions,
  type ReadOptions,
} from './read-options.ts'
import {
  count,
  countSync,
  endPair,
  endPairSync,
  FIRST,
  isEmpty,
  isEmptySync,
  LAST,
  manyKeys,
  targetOffset,
} from './reads.ts'
import { rejected, uncloneable, wrongReceiver } from './receiver.ts'
import type { Pair } from './rows.ts'
import type { Durability, KeyInput, ValueInput } from './types.ts'
import { makeVersion, type Version } from './version.ts'
import type { WriteOptions } from './write-batch.ts'

/** What a keyspace needs from its database. */
export interface KeyspaceOwner {
  readonly engine: DatabaseEngine
  readonly path: string
  readonly defaultDurability: Durability
  readonly maxValueSize: number
  readonly closing: boolean
  /** The durability that WriteOptions name, or `fallback`. */
  durabilityOf(options: unknown, fallback: Durability): Durability
  /** Throws DB_CLOSED once closing. */
  checkOpen(): void
}

const TOKEN = Symbol('keyspace')

/** For Database only. */
export let makeKeyspace: (owner: KeyspaceOwner, engine: KeyspaceEngine) => Keyspace
/** For Database only: the keyspace was opened again, perhaps with other options. */
export let refreshKeyspace: (keyspace: Keyspace) => void
/** The id of a keyspace of `owner`; throws for anything else. */
export let keyspaceIdOf: (keyspace: unknown, owner: object) => number

/**
 * A named, ordered map from keys to values.
 *
 * Sync forms wait for what they need; async forms never block the event loop, and answer without
 * leaving the thread when the data is in memory. Returned bytes belong to the caller. Absence is
 * `undefined`.
 *
 * Every method may fail with INVALID_ARGUMENT (called on something else), DB_CLOSED,
 * KEYSPACE_DELETED, and, where it may touch the disk, IO_ERROR, CORRUPTION, TOO_MANY_OPEN_FILES or
 * OUT_OF_MEMORY; writes also with READ_ONLY, DB_FAILED, DISK_FULL, SYNC_FAILED and, in their sync
 * forms, STALLED.
 */
export class Keyspace {
  readonly #owner: KeyspaceOwner
  readonly #engine: KeyspaceEngine
  #durability: Durability

  private constructor(token: symbol, owner: KeyspaceOwner, engine: KeyspaceEngine) {
    if (token !== TOKEN) {
      throw new ShaleError('INVALID_ARGUMENT', 'a Keyspace is made by database.keyspace()')
    }
    this.#owner = owner
    this.#engine = engine
    this.#durability = owner.defaultDurability
    uncloneable(this)
    refreshKeyspace(this)
  }

  static {
    makeKeyspace = (owner, engine) => new Keyspace(TOKEN, owner, engine)
    refreshKeyspace = (keyspace) => {
      // Opened while its database closes: nothing is written through it any more.
      if (keyspace.#owner.closing) return
      const held = keyspace.#engine.settings().durability
      keyspace.#durability = held ?? keyspace.#owner.defaultDurability
    }
    keyspaceIdOf = (keyspace, owner) => {
      if (typeof keyspace !== 'object' || keyspace === null || !(#engine in keyspace)) {
        throw new ShaleError('INVALID_ARGUMENT', 'keyspace must be a Keyspace')
      }
      const k = keyspace
      if (k.#owner !== owner) {
        throw new ShaleError('INVALID_ARGUMENT', 'the keyspace belongs to another database')
      }
      return k.#engine.id
    }
  }

  get id(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'id')
    return this.#engine.id
  }

  get name(): string {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'name')
    return this.#engine.name
  }

  /** The directory that holds its files: the database's. */
  get path(): string {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'path')
    return this.#owner.path
  }

  /** Whether large values are kept in blob files. */
  get isKvSeparated(): boolean {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'isKvSeparated')
    return this.#engine.settings().kvSeparation !== undefined
  }

  /** What holds now, stored and given options together. */
  get options(): HeldKeyspaceOptions {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'options')
    return heldOptions(this.#engine.settings(), this.#owner.defaultDurability)
  }

  // --- writes ------------------------------------------------------------------------------------

  /** Stores `value` under `key`. Resolves when the write has reached its durability. */
  insert(key: KeyInput, value: ValueInput, options?: WriteOptions): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'insert'))
    try {
      const durability = options === undefined ? this.#durability : this.#durabilityOf(options)
      return this.#engine.insert(key, value, durability)
    } catch (error) {
      return rejected(error)
    }
  }

  insertSync(key: KeyInput, value: ValueInput, options?: WriteOptions): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'insertSync')
    const durability = options === undefined ? this.#durability : this.#durabilityOf(options)
    this.#engine.insertSync(key, value, durability)
  }

  /** Removes `key`; does nothing visible when it is absent. */
  remove(key: KeyInput, options?: WriteOptions): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'remove'))
    try {
      return this.#engine.remove(TOMBSTONE, key, this.#durabilityOf(options))
    } catch (error) {
      return rejected(error)
    }
  }

  removeSync(key: KeyInput, options?: WriteOptions): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'removeSync')
    this.#engine.removeSync(TOMBSTONE, key, this.#durabilityOf(options))
  }

  /**
   * Single delete: cheaper to clean up, but only for keys written at most once since their last
   * removal; otherwise an older value may come back.
   */
  removeWeak(key: KeyInput, options?: WriteOptions): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'removeWeak'))
    try {
      return this.#engine.remove(WEAK_TOMBSTONE, key, this.#durabilityOf(options))
    } catch (error) {
      return rejected(error)
    }
  }

  removeWeakSync(key: KeyInput, options?: WriteOptions): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'removeWeakSync')
    this.#engine.removeSync(WEAK_TOMBSTONE, key, this.#durabilityOf(options))
  }

  /**
   * Removes every key in the range at the cost of one write, whatever it holds: a range tombstone,
   * which hides what was written before it. Compactions take the entries away.
   *
   * @throws ShaleError INVALID_RANGE, INVALID_KEY
   */
  removeRange(range: KeyRange, options?: WriteOptions): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'removeRange'))
    try {
      const durability = this.#durabilityOf(options)
      const entries = this.#rangeTombstone(readKeyRange(range))
      return entries.length > 0 ? this.#owner.engine.write(entries, durability) : Promise.resolve()
    } catch (error) {
      return rejected(error)
    }
  }

  removeRangeSync(range: KeyRange, options?: WriteOptions): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'removeRangeSync')
    const durability = this.#durabilityOf(options)
    const entries = this.#rangeTombstone(readKeyRange(range))
    if (entries.length > 0) this.#owner.engine.writeSync(entries, durability)
  }

  /**
   * Removes everything: a range without bounds, whose tables are then dropped as wholes. Open
   * snapshots still see what was there.
   */
  clear(): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'clear'))
    try {
      const entries = this.#rangeTombstone(EVERYTHING)
      return this.#owner.engine.write(entries, this.#durability).then(() => {
        if (!this.#owner.closing) this.#engine.rotateMemtable()
      })
    } catch (error) {
      return rejected(error)
    }
  }

  clearSync(): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'clearSync')
    this.#owner.engine.writeSync(this.#rangeTombstone(EVERYTHING), this.#durability)
    this.#engine.rotateMemtable()
  }

  /**
   * Begins a sorted bulk load: the way to fill a keyspace with much that is sorted already, several
   * times as fast as batches. Its entries go straight to tables, once, past the journal and the
   * memtables; what it costs besides is a sync of its files, and a flush, when it finishes. Each
   * one is a run in level 0, so a few large ones serve better than many small ones; of a few
   * thousand entries a batch is cheaper. Several may be open at a time: the one that finishes last
   * is the newest.
   */
  startIngestion(): Promise<Ingestion> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'startIngestion'))
    try {
      this.#owner.checkOpen()
      return this.#engine.startIngestion().then((engine) => makeIngestion(this.#owner, engine))
    } catch (error) {
      return rejected(error)
    }
  }

  startIngestionSync(): Ingestion {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'startIngestionSync')
    this.#owner.checkOpen()
    return makeIngestion(this.#owner, this.#engine.startIngestionSync())
  }

  // --- point reads -------------------------------------------------------------------------------

  /**
   * The value under `key`, or undefined. It is copied: a value of many MiB holds the event loop for
   * as long as that takes, also where its bytes were fetched by another thread.
   */
  get(key: KeyInput, options?: ReadOptions): Promise<Buffer | undefined> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'get'))
    if (options === undefined) return this.#engine.get(key, LATEST)
    return this.#read(options, (seqno) => this.#engine.get(key, seqno))
  }

  getSync(key: KeyInput, options?: ReadOptions): Buffer | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'getSync')
    return this.#engine.getSync(key, options === undefined ? LATEST : this.#seqno(options))
  }

  /** The value as a string (UTF-8): the fastest form for text and JSON. */
  getText(key: KeyInput, options?: ReadOptions): Promise<string | undefined> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'getText'))
    return this.#read(options, (seqno) => this.#engine.getText(key, seqno))
  }

  getTextSync(key: KeyInput, options?: ReadOptions): string | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'getTextSync')
    return this.#engine.getTextSync(key, options === undefined ? LATEST : this.#seqno(options))
  }

  /**
   * Copies the value into `target` at `offset` (0) and returns its full length, or undefined if
   * absent. Where it does not fit nothing is copied, and the length tells.
   */
  getIntoSync(
    key: KeyInput,
    target: Uint8Array,
    offset?: number,
    options?: ReadOptions,
  ): number | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'getIntoSync')
    const at = targetOffset(target, offset)
    return this.#engine.getIntoSync(key, this.#seqno(options), target, at)
  }

  /** The values under up to 1,000,000 keys, in their order, all from one state. */
  getMany(keys: readonly KeyInput[], options?: ReadOptions): Promise<(Buffer | undefined)[]> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'getMany'))
    return this.#read(options, (seqno) => this.#engine.getMany(manyKeys(keys), seqno))
  }

  getManySync(keys: readonly KeyInput[], options?: ReadOptions): (Buffer | undefined)[] {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'getManySync')
    const seqno = this.#seqno(options)
    return this.#engine.getManySync(manyKeys(keys), seqno)
  }

  containsKey(key: KeyInput, options?: ReadOptions): Promise<boolean> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'containsKey'))
    return this.#read(options, (seqno) =>
      this.#engine.sizeOf(key, seqno).then((size) => size !== undefined),
    )
  }

  containsKeySync(key: KeyInput, options?: ReadOptions): boolean {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'containsKeySync')
    const seqno = options === undefined ? LATEST : this.#seqno(options)
    return this.#engine.sizeOfSync(key, seqno) !== undefined
  }

  /** Bytes of the value, or undefined if absent. Reads no blob. */
  sizeOf(key: KeyInput, options?: ReadOptions): Promise<number | undefined> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'sizeOf'))
    return this.#read(options, (seqno) => this.#engine.sizeOf(key, seqno))
  }

  sizeOfSync(key: KeyInput, options?: ReadOptions): number | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'sizeOfSync')
    return this.#engine.sizeOfSync(key, options === undefined ? LATEST : this.#seqno(options))
  }

  /** The entry with the smallest key. */
  firstKeyValue(options?: ReadOptions): Promise<Pair | undefined> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'firstKeyValue'))
    return this.#read(options, (seqno) => endPair(this.#engine, FIRST, seqno))
  }

  firstKeyValueSync(options?: ReadOptions): Pair | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'firstKeyValueSync')
    return endPairSync(this.#engine, FIRST, this.#seqno(options))
  }

  /** The entry with the largest key. */
  lastKeyValue(options?: ReadOptions): Promise<Pair | undefined> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'lastKeyValue'))
    return this.#read(options, (seqno) => endPair(this.#engine, LAST, seqno))
  }

  lastKeyValueSync(options?: ReadOptions): Pair | undefined {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'lastKeyValueSync')
    return endPairSync(this.#engine, LAST, this.#seqno(options))
  }

  /** Number of keys, by a full scan. */
  len(options?: ReadOptions): Promise<number> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'len'))
    return this.#read(options, (seqno, signal) => count(this.#engine, seqno, signal))
  }

  lenSync(options?: ReadOptions): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'lenSync')
    return countSync(this.#engine, this.#seqno(options))
  }

  isEmpty(options?: ReadOptions): Promise<boolean> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'isEmpty'))
    return this.#read(options, (seqno) => isEmpty(this.#engine, seqno))
  }

  isEmptySync(options?: ReadOptions): boolean {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'isEmptySync')
    return isEmptySync(this.#engine, this.#seqno(options))
  }

  /** Versions and tombstones in memtables and tables: an upper bound of len(), at no cost. */
  approximateLen(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'approximateLen')
    return this.#engine.treeFigures().approximateLen
  }

  // --- ranges ------------------------------------------------------------------------------------

  /** All entries. */
  iter(options?: IterOptions): EntryRange {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'iter')
    return this.#range(EVERYTHING, readIterOptions(options))
  }

  /** The entries between the bounds. */
  range(range: RangeOptions): EntryRange {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'range')
    const given = readRangeOptions(range)
    return this.#range(boundsOfRange(given), given)
  }

  /** The entries whose key starts with `prefix`; an empty prefix means all. */
  prefix(prefix: KeyInput, options?: IterOptions): EntryRange {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'prefix')
    return this.#range(boundsOfPrefix(prefix), readIterOptions(options))
  }

  // --- maintenance -------------------------------------------------------------------------------

  /** Seals the active memtable, to be flushed in the background; false if it was empty. */
  rotateMemtable(): boolean {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'rotateMemtable')
    return this.#engine.rotateMemtable()
  }

  /** Seals the active memtable and waits until everything sealed is in durable tables. */
  rotateMemtableAndWait(): Promise<void> {
    if (!(#engine in Object(this)))
      return rejected(wrongReceiver('Keyspace', 'rotateMemtableAndWait'))
    return this.#engine.rotateMemtableAndWait()
  }

  rotateMemtableAndWaitSync(): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'rotateMemtableAndWaitSync')
    this.#engine.rotateMemtableAndWaitSync()
  }

  /** Merges all tables into the last level. */
  majorCompaction(options?: MajorCompactionOptions): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'majorCompaction'))
    try {
      return this.#engine.majorCompaction(readMajorOptions(options))
    } catch (error) {
      return rejected(error)
    }
  }

  majorCompactionSync(options?: { targetSize?: number }): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'majorCompactionSync')
    this.#engine.majorCompactionSync(readMajorOptions(options))
  }

  /**
   * Drops the tables that lie inside the range, without reading them: the cheapest way to be rid of
   * much. What is in memory, and tables that reach beyond the range, stay; so does a table while an
   * older one that it overlaps does. Snapshots go on reading what was there. To remove exactly a
   * range: `removeRange`.
   *
   * @throws ShaleError INVALID_RANGE, INVALID_KEY
   */
  dropRange(range: KeyRange): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'dropRange'))
    try {
      this.#owner.checkOpen()
      const { lower, upper, empty } = readKeyRange(range)
      return empty ? Promise.resolve() : this.#engine.dropRange(lower, upper)
    } catch (error) {
      return rejected(error)
    }
  }

  dropRangeSync(range: KeyRange): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'dropRangeSync')
    this.#owner.checkOpen()
    const { lower, upper, empty } = readKeyRange(range)
    if (!empty) this.#engine.dropRangeSync(lower, upper)
  }

  /**
   * Runs a plan of the caller's own, made from `version()`. A plan that drops tables may bring to
   * light what these hid.
   *
   * @throws ShaleError PLAN_STALE when a table of it is gone or busy; INVALID_ARGUMENT when it
   *   would put newer entries below older ones
   */
  compact(plan: CompactionPlan): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Keyspace', 'compact'))
    try {
      return this.#engine.compact(planData(plan))
    } catch (error) {
      return rejected(error)
    }
  }

  // --- figures -----------------------------------------------------------------------------------

  /** Bytes of tables that hold the range, estimated from the indexes; blob files do not count. */
  approximateSize(range: KeyRange): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'approximateSize')
    const { lower, upper, empty } = readKeyRange(range)
    return empty ? 0 : this.#engine.approximateSize(lower, upper)
  }

  /** Files that hold its separated values. */
  blobFileCount(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'blobFileCount')
    return this.#engine.treeFigures().blobFileCount
  }

  /** Bytes in blob files that no table points to any more; they go as these are rewritten. */
  fragmentedBlobBytes(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'fragmentedBlobBytes')
    return this.#engine.treeFigures().fragmentedBlobBytes
  }

  /** Bytes of its tables and blob files. */
  diskSpace(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'diskSpace')
    return this.#engine.treeFigures().diskSpace
  }

  tableCount(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'tableCount')
    return this.#engine.treeFigures().tableCount
  }

  l0TableCount(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'l0TableCount')
    return this.#engine.treeFigures().l0TableCount
  }

  /** What its reads and writes have cost since the database was opened, and what it holds. */
  metrics(): KeyspaceMetrics {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'metrics')
    return keyspaceMetrics(this.#engine.metrics())
  }

  /** The current version. Immutable; holding it pins no files. */
  version(): Version {
    if (!(#engine in Object(this))) throw wrongReceiver('Keyspace', 'version')
    return makeVersion(this.#engine.version())
  }

  #durabilityOf(options: unknown): Durability {
    return this.#owner.durabilityOf(options, this.#durability)
  }

  /** The commit that removes what is inside; no bytes for an empty range. */
  #rangeTombstone(bounds: Bounds): Uint8Array {
    this.#owner.checkOpen()
    const entries = new EntryBytes()
    if (!bounds.empty) entries.addRange(this.#engine.id, bounds)
    return entries.bytes
  }

  #seqno(options: unknown): number {
    return seqnoOf(readReadOptions(options), this.#owner, LATEST)
  }

  /** An async read: nothing throws synchronously, and a signal may end it. */
  #read<T>(
    options: unknown,
    read: (seqno: number, signal: AbortSignal | undefined) => Promise<T>,
  ): Promise<T> {
    try {
      const spec = readReadOptions(options)
      const { signal } = spec
      return unlessAborted(read(seqnoOf(spec, this.#owner, LATEST), signal), signal)
    } catch (error) {
      return rejected(error)
    }
  }

  #range(bounds: Bounds, given: IterSpec): EntryRange {
    const owner = this.#owner
    owner.checkOpen()
    seqnoOf(given, owner, LATEST)
    const source = {
      reads: this.#engine,
      owner,
      signal: given.signal,
      check: () => {
        owner.checkOpen()
        checkSignal(given.signal)
      },
      seqno: () => {
        owner.checkOpen()
        return seqnoOf(given, owner, LATEST)
      },
    }
    return makeEntryRange({ source, bounds, options: scanOptions(given) })
  }
}
