/** The options that databases, keyspaces and trees are opened with: shapes, ranges and defaults. */

import type {
  DatabaseSettings,
  FilterSetting,
  KvSeparationSetting,
  StrategySetting,
  TreeEngineSettings,
  TreeSettings,
  TreeSettingsGiven,
} from './engine.ts'
import { storedStrategy, strategySetting, type CompactionStrategy } from './compaction.ts'
import {
  filterFactory,
  filtersOf,
  filterSource,
  type CompactionFilter,
} from './compaction-filter.ts'
import { MAX_VALUE_BYTES, type ShaleError } from './errors.ts'
import {
  boolean,
  integer,
  isObject,
  LEVEL_LIST_MAX,
  number,
  oneOf,
  optionError,
  readOptions,
  share,
  type Check,
} from './option-checks.ts'
import type { Compression, Durability, EngineName, PerLevel } from './types.ts'
import { userSetting } from './user-strategy.ts'

const KIB = 1024
const MIB = 1024 * KIB

/** How a database is opened. Nothing here is stored with the data. */
export interface DatabaseOptions {
  /**
   * Which engine runs it: `'native'` in C++ (NOT_SUPPORTED where its binary does not load), or
   * `'typescript'`, with the same API and the same files, which works on the calling thread.
   * `'auto'`: the one that the environment variable SHALE_ENGINE names; else native where its
   * binary loads, else TypeScript, with a process warning (SHALE_TYPESCRIPT_ENGINE).
   * @default 'auto'
   */
  engine?: EngineName | 'auto'
  /** Makes the directory where there is none. @default true */
  createIfMissing?: boolean
  /** Refuses a directory where there is a database. @default false */
  errorIfExists?: boolean
  /** Recovers in memory and writes nothing. @default false */
  readOnly?: boolean
  /** Durability of writes that do not say otherwise. @default 'os' */
  durability?: Durability
  /**
   * Milliseconds until an `'os'` or `'buffered'` write is synced in the background; 0 = never.
   * @default 1000
   */
  syncInterval?: number
  /** Bytes of the block cache that all keyspaces share. @default 32 MiB */
  cacheSize?: number
  /** Descriptors kept open for tables, at least 16. @default 900 */
  maxOpenFiles?: number
  /**
   * Threads for compaction, 1 to 64; flush and sync have their own. In the TypeScript engine,
   * compactions that take turns. @default min(4, cores)
   */
  workerThreads?: number
  /**
   * Bytes of memtables over all keyspaces before writers are slowed, at least 1 MiB. @default 256
   * MiB
   */
  maxWriteBufferSize?: number
  /**
   * Milliseconds a sync write may wait for backpressure; then STALLED (retryable, nothing written).
   * Async forms wait as long as it takes. Sync writes of the TypeScript engine do not wait: they
   * make room themselves. @default 200
   */
  maxStall?: number
  /** Largest value, bytes. @default 2^30 */
  maxValueSize?: number
  /** Bytes per second that compactions may write; 0 = unlimited. @default 0 */
  compactionRateLimit?: number
  /**
   * Bytes of sealed journals before straggling keyspaces are flushed, at least 1 MiB. @default 512
   * MiB
   */
  maxJournalSize?: number
  /** Codec of values of 4 KiB and more in the journal. @default 'lz4' */
  journalCompression?: Compression
  /**
   * What to do about a damaged journal. `'tail'`: cut a tail torn by a crash, refuse damage before
   * it; `'strict'`: refuse both; `'salvage'`: keep every commit that can be read. @default 'tail'
   */
  recovery?: 'tail' | 'strict' | 'salvage'
  /**
   * The compaction filters of keyspaces by their names. Called once for each: at open for those
   * that exist, so that no compaction runs without, and when one is created. What it throws, or
   * returns and is no filter, fails that call with INVALID_OPTION. Nothing of filters is stored.
   * With several handles on one directory a keyspace has the first filter that one of them gives.
   */
  compactionFilters?: (keyspace: string) => CompactionFilter | undefined
}

/** Bits per key, or a rate of false positives between 1e-9 and 0.5, or no filter. */
export type FilterPolicy = 'none' | { bitsPerKey: number } | { falsePositiveRate: number }

/** How large values are kept apart from their keys. */
export interface KvSeparationOptions {
  /** Bytes from which a value goes to a blob file, 1 to 2^30. @default 1 KiB */
  threshold?: number
  /** Bytes after which a blob file is closed, 4 KiB to 1 TiB. @default 64 MiB */
  fileSize?: number
  /** Codec of values in blob files. @default 'lz4' */
  compression?: Compression
  /**
   * Share of a blob file that is garbage, above 0 and up to 1, from which its live values are moved
   * to a new one and it is removed. @default 0.25
   */
  stalenessThreshold?: number
  /**
   * Of the blob files that are due, the share that one compaction moves values out of, the oldest
   * first; 0 to 1, and at least one file. @default 0.25
   */
  ageCutoff?: number
}

/** How a keyspace is kept. Stored with it: on reopening, what is left out is as stored. */
export interface KeyspaceOptions {
  /**
   * Bytes after which the active memtable is sealed and flushed, 4 KiB to 4 GiB. @default 64 MiB
   */
  maxMemtableSize?: number
  /**
   * Index structure of the memtable, where there is a choice: the TypeScript engine has one (a
   * B+-tree). @default 'auto': what measures best (radix)
   */
  memtable?: 'auto' | 'skiplist' | 'radix'
  /** Bytes of a data block before compression, 64 to 4 MiB. @default 4 KiB */
  dataBlockSize?: PerLevel<number>
  /** Entries from one full key to the next, 1 to 255. @default [10, 16] */
  restartInterval?: PerLevel<number>
  /** Buckets per entry of a block's hash index, 0 to 8; 0 = none. @default 0 */
  hashIndexRatio?: PerLevel<number>
  /** Codec of data blocks. @default ['none', 'none', 'lz4'] */
  compression?: PerLevel<Compression>
  /** Codec of index blocks. @default 'none' */
  indexCompression?: PerLevel<Compression>
  /**
   * Tells without a read that a key is not in a table.
   * @default [{ falsePositiveRate: 1e-4 }, { bitsPerKey: 10 }]
   */
  filter?: PerLevel<FilterPolicy>
  /** Keeps the index of a table in memory while it is open. @default [true, true, false] */
  pinIndex?: PerLevel<boolean>
  /** The same for the filter. @default [true, false] */
  pinFilter?: PerLevel<boolean>
  /** Two-level index. @default [false, false, false, true] */
  partitionIndex?: PerLevel<boolean>
  /** Two-level filter. @default [false, false, false, true] */
  partitionFilter?: PerLevel<boolean>
  /** Leaves filters out of the last level: right when reads nearly always find. @default false */
  expectPointReadHits?: boolean
  /**
   * Which tables are merged, and when: a strategy of this package, or one of the application's own,
   * of which only the name is stored: it is given again with each open of the keyspace. @default
   * new LeveledCompaction()
   */
  compaction?: CompactionStrategy
  /**
   * Keeps large values in blob files, so that compactions move pointers instead. Decided when the
   * keyspace is created; given again later, it changes the numbers as a whole (INVALID_OPTION where
   * it is off). @default off
   */
  kvSeparation?: KvSeparationOptions
  /**
   * Durability of single writes. Worker threads that have the keyspace open learn of a change when
   * they open it again. @default the database's
   */
  durability?: Durability
}

/** How a bare tree is opened. */
export interface TreeOptions extends Omit<KeyspaceOptions, 'durability'> {
  /** As of a database. @default 'auto' */
  engine?: EngineName | 'auto'
  /** Bytes of the block cache. @default 16 MiB */
  cacheSize?: number
  /** Descriptors kept open for tables. @default 900 */
  maxOpenFiles?: number
  /** Flushes and compacts by itself. @default false: the caller says when */
  backgroundCompaction?: boolean
  /** Asked about what compactions rewrite. Not stored. @default none */
  compactionFilter?: CompactionFilter
}

function perLevel<T>(check: Check<T>): Check<readonly T[]> {
  return (value, name) => {
    if (!Array.isArray(value)) return [check(value, name)]
    if (value.length < 1 || value.length > LEVEL_LIST_MAX) {
      throw optionError(name, `one value or a list of 1 to ${LEVEL_LIST_MAX}`, value)
    }
    return Array.from(value as unknown[], (item, i) => check(item, `${name}[${i}]`))
  }
}

const filterPolicy: Check<FilterSetting> = (value, name) => {
  if (value === 'none') return value
  if (!isObject(value)) throw filterError(name, value)
  const given = readOptions(value, name, {
    bitsPerKey: number(0.01, 100),
    falsePositiveRate: number(1e-9, 0.5),
  })
  if (given.bitsPerKey !== undefined && given.falsePositiveRate === undefined) {
    return { bitsPerKey: given.bitsPerKey }
  }
  if (given.falsePositiveRate !== undefined && given.bitsPerKey === undefined) {
    return { falsePositiveRate: given.falsePositiveRate }
  }
  throw filterError(name, value)
}

function filterError(name: string, value: unknown): ShaleError {
  return optionError(name, "'none', { bitsPerKey } or { falsePositiveRate }", value)
}

const strategy: Check<StrategySetting> = (value, name) => {
  return strategySetting(value) ?? userSetting(value, name)
}

const compression = oneOf('none', 'lz4', 'zstd')

const kvSeparation: Check<KvSeparationSetting> = (value, name) => {
  if (!isObject(value)) throw optionError(name, 'a plain object', value)
  const given = readOptions(value, name, {
    threshold: integer(1, MAX_VALUE_BYTES),
    fileSize: integer(4 * KIB, 2 ** 40),
    compression,
    stalenessThreshold: share,
    ageCutoff: number(0, 1),
  })
  return Object.freeze({
    threshold: 1024,
    fileSize: 64 * MIB,
    compression: 'lz4',
    stalenessThreshold: 0.25,
    ageCutoff: 0.25,
    ...given,
  })
}

export const durability: Check<Durability> = oneOf('buffered', 'os', 'sync')
const engine = oneOf('native', 'typescript', 'auto')
const bytes = (min: number): Check<number> => integer(min, 2 ** 50)

const DATABASE_SCHEMA = {
  engine,
  createIfMissing: boolean,
  errorIfExists: boolean,
  readOnly: boolean,
  durability,
  syncInterval: integer(0, 86_400_000),
  cacheSize: bytes(0),
  maxOpenFiles: integer(16, 1_000_000),
  workerThreads: integer(1, 64),
  maxWriteBufferSize: bytes(MIB),
  maxStall: integer(0, 3_600_000),
  maxValueSize: integer(1, MAX_VALUE_BYTES),
  compactionRateLimit: bytes(0),
  maxJournalSize: bytes(MIB),
  journalCompression: compression,
  recovery: oneOf('tail', 'strict', 'salvage'),
  compactionFilters: filterFactory,
}

const TREE_SCHEMA = {
  maxMemtableSize: integer(4 * KIB, 4096 * MIB),
  memtable: oneOf('auto', 'skiplist', 'radix'),
  dataBlockSize: perLevel(integer(64, 4 * MIB)),
  restartInterval: perLevel(integer(1, 255)),
  hashIndexRatio: perLevel(number(0, 8)),
  compression: perLevel(compression),
  indexCompression: perLevel(compression),
  filter: perLevel(filterPolicy),
  pinIndex: perLevel(boolean),
  pinFilter: perLevel(boolean),
  partitionIndex: perLevel(boolean),
  partitionFilter: perLevel(boolean),
  expectPointReadHits: boolean,
  compaction: strategy,
  kvSeparation,
}
const KEYSPACE_SCHEMA = { ...TREE_SCHEMA, durability }
const TREE_OPEN_SCHEMA = {
  ...TREE_SCHEMA,
  engine,
  cacheSize: bytes(0),
  maxOpenFiles: integer(16, 1_000_000),
  backgroundCompaction: boolean,
  compactionFilter: filterSource,
}

export interface OpenSettings<T> {
  readonly engine: EngineName | 'auto'
  readonly settings: T
}

export function databaseSettings(options: unknown, cores: number): OpenSettings<DatabaseSettings> {
  const {
    engine: chosen = 'auto',
    compactionFilters,
    ...given
  } = readOptions(options, 'options', DATABASE_SCHEMA)
  const { maxValueSize = MAX_VALUE_BYTES } = given
  const settings: DatabaseSettings = {
    createIfMissing: true,
    errorIfExists: false,
    readOnly: false,
    durability: 'os',
    syncInterval: 1000,
    cacheSize: 32 * MIB,
    maxOpenFiles: 900,
    workerThreads: Math.max(1, Math.min(4, cores)),
    maxWriteBufferSize: 256 * MIB,
    maxStall: 200,
    maxValueSize,
    compactionRateLimit: 0,
    maxJournalSize: 512 * MIB,
    journalCompression: 'lz4',
    recovery: 'tail',
    ...given,
    filterOf: compactionFilters && filtersOf(compactionFilters, maxValueSize),
  }
  return { engine: chosen, settings }
}

export function keyspaceSettings(options: unknown): TreeSettingsGiven {
  return readOptions(options, 'options', KEYSPACE_SCHEMA)
}

export function treeSettings(options: unknown): OpenSettings<TreeEngineSettings> {
  const {
    engine: chosen = 'auto',
    cacheSize = 16 * MIB,
    maxOpenFiles = 900,
    backgroundCompaction = false,
    compactionFilter: filter,
    ...tree
  } = readOptions(options, 'options', TREE_OPEN_SCHEMA)
  const settings = { tree, cacheSize, maxOpenFiles, backgroundCompaction, filter }
  return { engine: chosen, settings }
}

/** Keyspace options as they hold, in the public shape. */
export type HeldKeyspaceOptions = Readonly<Required<Omit<KeyspaceOptions, 'kvSeparation'>>> & {
  /** Undefined: off. */
  readonly kvSeparation: Readonly<Required<KvSeparationOptions>> | undefined
}

export function heldOptions(
  held: TreeSettings,
  databaseDurability: Durability,
): HeldKeyspaceOptions {
  const { compaction, kvSeparation: separation, durability: own, ...rest } = held
  return Object.freeze({
    ...rest,
    compaction: storedStrategy(compaction),
    kvSeparation: separation && Object.freeze({ ...separation }),
    durability: own ?? databaseDurability,
  })
}
