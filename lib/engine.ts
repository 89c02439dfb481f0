/**
 * The seam: what an engine gives and the public classes build on. Implemented twice, by
 * `lib/native` over the C++ core and by `lib/typescript` in TypeScript alone.
 *
 * Public classes check options, words and states and speak to the user; an engine stores and finds.
 * Keys and values pass through unchecked on the hot paths: the engine refuses a bad one by throwing
 * what `keyError` or `valueError` of `errors.ts` makes of it, so that both engines refuse alike.
 *
 * Rules: a `...Sync` method may block; its twin returns a promise, never throws synchronously and
 * never waits on the event loop. Returned Buffers belong to the caller. A seqno argument is a read
 * seqno (exclusive), or LATEST for the newest visible one.
 */

import type { ShaleError } from './errors.ts'
import type { DatabaseMetrics, KeyspaceMetrics } from './metrics.ts'
import type { RowBatch } from './row-batch.ts'
import type { ChoiceContext } from './strategy.ts'
import type {
  Compression,
  Durability,
  EngineName,
  KeyInput,
  PerLevel,
  ValueInput,
} from './types.ts'

/** Stands for the newest visible seqno at the time of the call. */
export const LATEST = -1

/** Numbers shared with the core: `Kind` in native/base/internal_key.h. */
export const VALUE = 0
export const TOMBSTONE = 1
export const WEAK_TOMBSTONE = 2
export const RANGE_TOMBSTONE = 3
/** What one key can be given. */
export type EntryKind = typeof VALUE | typeof TOMBSTONE | typeof WEAK_TOMBSTONE

/** Numbers shared with the core: `Durability` in native/db/options.h. */
export const DURABILITY_CODES: Readonly<Record<Durability, number>> = Object.freeze({
  buffered: 0,
  os: 1,
  sync: 2,
})

/** Checked and complete; sizes in bytes, times in milliseconds. */
export interface DatabaseSettings {
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
  readonly readOnly: boolean
  readonly durability: Durability
  readonly syncInterval: number
  readonly cacheSize: number
  readonly maxOpenFiles: number
  readonly workerThreads: number
  readonly maxWriteBufferSize: number
  readonly maxStall: number
  readonly maxValueSize: number
  readonly compactionRateLimit: number
  readonly maxJournalSize: number
  readonly journalCompression: Compression
  readonly recovery: 'tail' | 'strict' | 'salvage'
  /**
   * What compactions of a keyspace ask; the same answer whenever it is called. INVALID_OPTION: the
   * application gave no filter. Undefined: it gave none for any keyspace.
   */
  readonly filterOf: ((keyspace: string) => FilterSource | undefined) | undefined
}

/** What an engine asks about entries that a compaction would keep. */
export type FilterSource = TtlFilterSource | PrefixFilterSource | ApplicationFilterSource
/** Removes what is `ttl` milliseconds old; the engine's clock decides. */
export interface TtlFilterSource {
  readonly type: 'ttl'
  readonly in: 'key' | 'value'
  readonly offset: number
  readonly ttl: number
}
export interface PrefixFilterSource {
  readonly type: 'prefixes'
  readonly prefixes: readonly Uint8Array[]
}
export interface ApplicationFilterSource {
  readonly type: 'application'
  readonly name: string
  /** Undefined: of a bare tree. */
  readonly keyspace: string | undefined
  readonly needsBlobValues: boolean
  /** Milliseconds that an answer may take; `judge` sees to it where the event loop turns. */
  readonly patience: number
  /**
   * Checked verdicts, one for each entry. Throws or rejects with a ShaleError ABORTED. Called with
   * one batch at a time per job; the entries and their bytes belong to it.
   */
  judge(
    entries: readonly FilterEntry[],
  ): readonly CheckedVerdict[] | Promise<readonly CheckedVerdict[]>
}
export interface FilterEntry {
  readonly key: Buffer
  readonly value: Buffer | undefined
  readonly isLastLevel: boolean
}
/** 0 keep, 1 remove, 2 remove weakly, 3 destroy, or the new value (copied). */
export type CheckedVerdict = 0 | 1 | 2 | 3 | Uint8Array

export type FilterSetting =
  'none' | { readonly bitsPerKey: number } | { readonly falsePositiveRate: number }

/** How a strategy is stored: its type and its numbers. */
export type StrategySetting = LeveledSetting | SizeTieredSetting | FifoSetting | UserSetting
export interface LeveledSetting {
  readonly type: 'leveled'
  readonly name: string
  readonly l0Threshold: number
  readonly targetSize: number
  readonly levelRatio: readonly number[]
  readonly tombstoneShare: number
  /** Undefined: none. */
  readonly maxAgeSeconds: number | undefined
}
export interface SizeTieredSetting {
  readonly type: 'size-tiered'
  readonly name: string
  readonly baseSize: number
  readonly ratio: number
  readonly minRuns: number
  readonly tombstoneShare: number
  /** Undefined: none. */
  readonly maxAgeSeconds: number | undefined
}
export interface FifoSetting {
  readonly type: 'fifo'
  readonly name: string
  readonly limit: number
  /** Undefined: none. */
  readonly ttlSeconds: number | undefined
}
/** The application's own, or one that is not known here: stored by its name alone. */
export interface UserSetting {
  readonly type: 'user'
  readonly name: string
  /** Undefined: it is not given with this. Until it is, nothing is compacted by itself. */
  readonly source?: StrategySource | undefined
}

/** What an engine asks where the stored strategy has that name. */
export interface StrategySource {
  readonly name: string
  /** A checked plan, or none. Throws a ShaleError ABORTED. One call at a time. */
  choose(version: VersionData, context: ChoiceContext): PlanData | undefined
}

/** How large values are kept apart from their keys. */
export interface KvSeparationSetting {
  readonly threshold: number
  readonly fileSize: number
  readonly compression: Compression
  readonly stalenessThreshold: number
  readonly ageCutoff: number
}

/** Keyspace options after checking; lists are never empty. */
export interface TreeSettings {
  readonly maxMemtableSize: number
  readonly memtable: 'auto' | 'skiplist' | 'radix'
  readonly dataBlockSize: readonly number[]
  readonly restartInterval: readonly number[]
  readonly hashIndexRatio: readonly number[]
  readonly compression: readonly Compression[]
  readonly indexCompression: readonly Compression[]
  readonly filter: readonly FilterSetting[]
  readonly pinIndex: readonly boolean[]
  readonly pinFilter: readonly boolean[]
  readonly partitionIndex: readonly boolean[]
  readonly partitionFilter: readonly boolean[]
  readonly expectPointReadHits: boolean
  readonly compaction: StrategySetting
  /** Undefined: values lie beside their keys. It stays so; given again, the numbers change. */
  readonly kvSeparation: KvSeparationSetting | undefined
  /** Undefined: the database's. */
  readonly durability: Durability | undefined
}
/** What the caller gave; the rest is the stored value or the default. */
export type TreeSettingsGiven = { readonly [K in keyof TreeSettings]?: TreeSettings[K] }

export interface Engine {
  readonly name: EngineName
  openDatabase(path: string, settings: DatabaseSettings): Promise<DatabaseEngine>
  openDatabaseSync(path: string, settings: DatabaseSettings): DatabaseEngine
  openTree(path: string, settings: TreeEngineSettings): Promise<BareTreeEngine>
  openTreeSync(path: string, settings: TreeEngineSettings): BareTreeEngine
}

export interface TreeEngineSettings {
  readonly tree: TreeSettingsGiven
  readonly cacheSize: number
  readonly maxOpenFiles: number
  readonly backgroundCompaction: boolean
  readonly filter: FilterSource | undefined
}

export type EngineStatus = 'open' | 'degraded' | 'failed' | 'closing' | 'closed'

export interface RecoveryFigures {
  readonly commitsReplayed: number
  readonly bytesDropped: number
  readonly commitsDropped: number | undefined
  readonly files: readonly string[]
}

export interface DatabaseEngine {
  /** Absolute. */
  readonly path: string
  readonly recovery: RecoveryFigures
  readonly compactor: CompactorEngine
  status(): EngineStatus
  openKeyspace(name: string, given: TreeSettingsGiven): Promise<KeyspaceEngine>
  openKeyspaceSync(name: string, given: TreeSettingsGiven): KeyspaceEngine
  /** Sorted by their bytes. */
  keyspaceNames(): string[]
  /** `entries` as docs/format.md, "Batch entries"; copied before the call returns. */
  write(entries: Uint8Array, durability: Durability): Promise<void>
  writeSync(entries: Uint8Array, durability: Durability): void
  persist(durability: Durability): Promise<void>
  persistSync(durability: Durability): void
  /** Registers a snapshot and returns its read seqno; each needs one closeSnapshot. */
  openSnapshot(): number
  /** `isAbandoned`: nobody closed it, the collector found it. */
  closeSnapshot(seqno: number, isAbandoned?: boolean): void
  figures(): DatabaseFigures
  metrics(): DatabaseMetricsData
  /**
   * Events that happened from here on, for this handle; undefined ends it. Once per turn of the
   * loop at most, in order, and never inside of a call. The last one is the status 'closed'.
   *
   * It keeps no process alive, and a handle that was dropped is collected whatever its handler
   * holds. At most EVENTS_MAX events wait: beyond that flushes, compactions, errors and stalls that
   * begin are dropped and counted, of status changes the last one is kept.
   */
  listen(handler: ((events: readonly EngineEvent[]) => void) | undefined): void
  close(): Promise<void>
  closeSync(): void
}

/** As `metrics.ts` has them. */
export type KeyspaceMetricsData = KeyspaceMetrics
export type DatabaseMetricsData = Omit<DatabaseMetrics, 'keyspaces'> & {
  readonly keyspaces: readonly (readonly [string, KeyspaceMetricsData])[]
}

/** See DatabaseEngine.listen. */
export const EVENTS_MAX = 1024

export type EngineEvent =
  | { type: 'flush'; keyspace: string; tables: number; bytes: number; ms: number }
  | {
      type: 'compaction'
      keyspace: string
      plan: PlanData
      bytesRead: number
      bytesWritten: number
      ms: number
    }
  | { type: 'stall'; reason: 'memory' | 'level0'; active: boolean; ms: number }
  | { type: 'status'; status: EngineStatus; cause?: ShaleError }
  | { type: 'error'; error: ShaleError; during: EngineErrorSource }
export type EngineErrorSource = 'flush' | 'compaction' | 'sync' | 'journal' | 'filter' | 'strategy'

export interface DatabaseFigures {
  readonly writeBufferSize: number
  readonly outstandingFlushes: number
  readonly activeCompactions: number
  readonly compactionsCompleted: number
  /** Milliseconds. */
  readonly timeCompacting: number
  readonly journalCount: number
  readonly journalDiskSpace: number
  readonly diskSpace: number
  readonly cacheCapacity: number
  readonly seqno: number
  readonly visibleSeqno: number
}

export interface CompactorEngine {
  state(): 'idle' | 'running' | 'paused'
  jobs(): readonly JobData[]
  pause(): Promise<void>
  resume(): void
  drain(): Promise<void>
}
export interface JobData {
  readonly keyspace: string | undefined
  readonly plan: PlanData
  readonly done: number
  readonly total: number
}
export type PlanData =
  | { kind: 'merge'; tables: readonly number[]; destinationLevel: number; targetSize: number }
  | { kind: 'move'; tables: readonly number[]; destinationLevel: number }
  | {
      kind: 'drop'
      tables: readonly number[]
      /** No read can tell; for the engine's own plans. */
      isHidden?: boolean
    }

export interface MajorCompaction {
  readonly targetSize: number | undefined
  readonly onProgress: ((done: number, total: number) => void) | undefined
  readonly signal: AbortSignal | undefined
}

/** Reads of one tree, a keyspace's or a bare one. */
export interface ReadEngine {
  /** What holds now, stored and given together. */
  settings(): TreeSettings
  get(key: KeyInput, seqno: number): Promise<Buffer | undefined>
  getSync(key: KeyInput, seqno: number): Buffer | undefined
  getText(key: KeyInput, seqno: number): Promise<string | undefined>
  getTextSync(key: KeyInput, seqno: number): string | undefined
  /** `offset` lies inside `target`. */
  getIntoSync(key: KeyInput, seqno: number, target: Uint8Array, offset: number): number | undefined
  /** The error of a bad key names its index; nothing is read then. */
  getMany(keys: readonly KeyInput[], seqno: number): Promise<(Buffer | undefined)[]>
  getManySync(keys: readonly KeyInput[], seqno: number): (Buffer | undefined)[]
  /** Length of the value; also answers whether the key is there. Reads no blob. */
  sizeOf(key: KeyInput, seqno: number): Promise<number | undefined>
  sizeOfSync(key: KeyInput, seqno: number): number | undefined
  scan(range: ScanRange): ScanEngine
  /** The same numbers, read anew at each call. */
  treeFigures(): TreeFigures
  metrics(): KeyspaceMetricsData
  /** Bytes of tables in the range, from the indexes. */
  approximateSize(lower: Uint8Array | undefined, upper: Uint8Array | undefined): number
  version(): VersionData
}

export interface KeyspaceEngine extends ReadEngine {
  readonly id: number
  readonly name: string
  insert(key: KeyInput, value: ValueInput, durability: Durability): Promise<void>
  insertSync(key: KeyInput, value: ValueInput, durability: Durability): void
  remove(kind: EntryKind, key: KeyInput, durability: Durability): Promise<void>
  removeSync(kind: EntryKind, key: KeyInput, durability: Durability): void
  rotateMemtable(): boolean
  rotateMemtableAndWait(): Promise<void>
  rotateMemtableAndWaitSync(): void
  majorCompaction(options: MajorCompaction): Promise<void>
  majorCompactionSync(options: MajorCompaction): void
  dropRange(lower: Uint8Array | undefined, upper: Uint8Array | undefined): Promise<void>
  dropRangeSync(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void
  compact(plan: PlanData): Promise<void>
  /** READ_ONLY, DB_FAILED, KEYSPACE_DELETED. */
  startIngestion(): Promise<IngestionEngine>
  startIngestionSync(): IngestionEngine
}

export interface BareTreeEngine extends ReadEngine {
  readonly path: string
  readonly compactor: CompactorEngine
  /** Bytes of the entry and of the active memtable after it. */
  add(
    kind: EntryKind,
    key: KeyInput,
    value: ValueInput,
    seqno: number,
  ): { itemSize: number; memtableSize: number }
  /** A range tombstone; bounds as in ScanRange, not empty. */
  addRange(
    lower: Uint8Array,
    upper: Uint8Array | undefined,
    seqno: number,
  ): { itemSize: number; memtableSize: number }
  gcSeqno(): number
  setGcSeqno(seqno: number): void
  rotateMemtable(): boolean
  flush(): Promise<void>
  flushSync(): void
  compact(what: StrategySetting | PlanData): Promise<void>
  compactSync(what: StrategySetting | PlanData): void
  majorCompaction(options: MajorCompaction): Promise<void>
  majorCompactionSync(options: MajorCompaction): void
  dropRange(lower: Uint8Array | undefined, upper: Uint8Array | undefined): Promise<void>
  dropRangeSync(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void
  /** INVALID_ARGUMENT: something has that seqno or a higher one, now or when it finishes. */
  startIngestion(seqno: number): Promise<IngestionEngine>
  startIngestionSync(seqno: number): IngestionEngine
  /** Newest first. */
  superVersions(): readonly SuperVersionData[]
  /** What a read at `seqno` goes to. */
  superVersionFor(seqno: number): SuperVersionData
  close(): Promise<void>
  closeSync(): void
}

/** Rows of an ingestion on their way, and its end. */
export interface IngestionEngine {
  /**
   * Rows in ascending order, checked: `ingestion rows` of lib/ingestion-rows.ts. Copied or written
   * before it returns. Once it has failed, nothing but `abort` is called.
   */
  write(rows: Uint8Array): void
  /**
   * How many entries it has taken; all of them are visible now. Nothing is left of one that fails,
   * and nothing is called on it any more.
   */
  finish(): Promise<number>
  finishSync(): number
  /** What was written goes. Twice is once; after the close of the database it does nothing. */
  abort(): void
}

export interface TreeFigures {
  readonly approximateLen: number
  readonly memtableSize: number
  readonly tableCount: number
  readonly l0TableCount: number
  /** Of tables and blob files. */
  readonly diskSpace: number
  readonly blobFileCount: number
  /** Bytes of frames that no table points to. */
  readonly fragmentedBlobBytes: number
  readonly highestSeqno: number | undefined
  readonly highestPersistedSeqno: number | undefined
}

/** Bounds as keys: lower inclusive, upper exclusive, undefined = unbounded. */
export interface ScanRange {
  readonly lower: Uint8Array | undefined
  readonly upper: Uint8Array | undefined
  readonly seqno: number
  /** Closing the database does not end the scan: for visitors, which may close what they visit. */
  readonly outlivesClose?: boolean
}

/** What a row carries. Of a ROW_KEY row no blob is read; its header has the length of the value. */
export const ROW_ENTRY = 0
export const ROW_KEY = 1
export const ROW_VALUE = 2
export type RowContent = typeof ROW_ENTRY | typeof ROW_KEY | typeof ROW_VALUE

/**
 * An open scan over one pinned state: two cursors, one from each end, that know nothing of each
 * other. Who uses both compares keys to see where they meet. The close of its database ends it and
 * lets go of what it pins; fills that run then end first.
 */
export interface ScanEngine {
  /**
   * The next rows from that end, or undefined at the end. At least one row, of any size; then as
   * many as fit `byteLimit`, and never more than `countLimit`. `reuse`: a batch of this scan whose
   * memory may be overwritten (visitors); else the memory is fresh.
   */
  fill(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
  ): Promise<RowBatch | undefined>
  fillSync(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
    reuse?: RowBatch,
  ): RowBatch | undefined
  /**
   * What memory can answer now: undefined at the end, null if it takes I/O. Lets an async loop go
   * on without a promise.
   */
  fillFromMemory(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
  ): RowBatch | undefined | null
  /** The cursor of that end goes on at `key`: front at or after it, back at or before it. */
  seek(end: ScanEnd, key: Uint8Array): void
  /**
   * The value of a row, also while a fill runs; undefined if the key has none. Who needs no more
   * than this may let go of the scan without closing it: it is closed when it is collected.
   */
  value(key: Uint8Array): Promise<Buffer | undefined>
  valueSync(key: Uint8Array): Buffer | undefined
  /** Gives the pin back; twice is once. */
  close(): void
}
export const FRONT = 0
export const BACK = 1
export type ScanEnd = typeof FRONT | typeof BACK

export interface VersionData {
  readonly id: number
  readonly levels: readonly (readonly (readonly TableData[])[])[]
  /** By ascending id. */
  readonly blobFiles: readonly BlobFileData[]
}
export interface BlobFileData {
  readonly id: number
  readonly size: number
  readonly itemCount: number
  readonly staleBytes: number
}
export interface TableData {
  readonly id: number
  readonly level: number
  readonly size: number
  readonly itemCount: number
  readonly tombstoneCount: number
  readonly weakTombstoneCount: number
  readonly rangeTombstoneCount: number
  readonly firstKey: Buffer
  readonly lastKey: Buffer
  readonly lowestSeqno: number
  readonly highestSeqno: number
  readonly createdAt: number
  readonly compression: Compression
  readonly blockCount: number
  /** By ascending id. */
  readonly blobs: readonly BlobReferenceData[]
}
export interface BlobReferenceData {
  readonly id: number
  readonly bytes: number
}
export interface MemtableData {
  readonly id: number
  readonly size: number
  readonly itemCount: number
  readonly highestSeqno: number | undefined
}
export interface SuperVersionData {
  readonly version: VersionData
  readonly seqno: number
  readonly activeMemtable: MemtableData
  readonly sealedMemtables: readonly MemtableData[]
}

export type { Compression, Durability, EngineName, KeyInput, PerLevel, ValueInput }
