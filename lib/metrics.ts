/**
 * What a database and its trees count while they work.
 *
 * Counters are always on and start from zero when the core is opened: they are those of this
 * process, of all handles and threads that share the core. Looking at them takes microseconds, and
 * no lock that a writer holds. What is returned is a frozen copy.
 */

import type { DatabaseMetricsData, KeyspaceMetricsData } from './engine.ts'

/** Blocks and values in memory. */
export interface CacheMetrics {
  /** Bytes. */
  readonly capacity: number
  readonly size: number
  /** Looks that found what they looked for, and that did not. */
  readonly hits: number
  readonly misses: number
}

export interface JournalMetrics {
  /** Files, the active one included. */
  readonly count: number
  /** Of these files. */
  readonly bytes: number
  /** Writes to a file: each of one commit, or of a group of them. */
  readonly appends: number
  /** Syncs of a file that succeeded. */
  readonly syncs: number
  /** By all appends. */
  readonly bytesWritten: number
}

/** What was committed. Entries of a batch count one by one. */
export interface WriteMetrics {
  readonly inserts: number
  /** Tombstones of all kinds: weak ones, and one for each removed range. */
  readonly removes: number
  /** Commits of more than one entry. */
  readonly batches: number
  /** Of keys and values, both ends of removed ranges included. */
  readonly bytes: number
  /** Writes that backpressure made wait, and the milliseconds that they waited, added up. */
  readonly stalls: number
  readonly stallMs: number
}

/** Of jobs that succeeded. */
export interface CompactionMetrics {
  /** Running now. */
  readonly active: number
  readonly completed: number
  /** Added up, with those of jobs that failed: `Database.timeCompacting`. */
  readonly ms: number
  /** Of the tables that were merged. */
  readonly bytesRead: number
  /** Of tables and blob files. */
  readonly bytesWritten: number
}

/** Of flushes that succeeded. */
export interface FlushMetrics {
  readonly active: number
  readonly completed: number
  readonly ms: number
  readonly bytesWritten: number
}

export interface SnapshotMetrics {
  readonly open: number
  /** Released by the garbage collector, because nobody closed them. */
  readonly abandoned: number
  /** What the oldest open one reads at: everything written since is kept for it. */
  readonly oldestSeqno: number | undefined
}

export interface IteratorMetrics {
  readonly open: number
  /**
   * Released by the garbage collector. An iteration that stops where it is told to closes itself;
   * one over `entries()` ends like this by design, since its entries still read from it.
   */
  readonly abandoned: number
}

/** Times in microseconds. Percentiles are within 3 %, of what was timed. */
export interface LatencyMetrics {
  /** Exact: of all, timed or not. */
  readonly count: number
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export interface EventMetrics {
  /** Events that no listener was told of, because too many waited; see `Database.on`. */
  readonly dropped: number
}

export interface DatabaseMetrics {
  readonly cache: CacheMetrics
  readonly journal: JournalMetrics
  readonly writes: WriteMetrics
  readonly compactions: CompactionMetrics
  readonly flushes: FlushMetrics
  readonly snapshots: SnapshotMetrics
  readonly iterators: IteratorMetrics
  readonly events: EventMetrics
  /**
   * - `get`: point reads (`get`, `getText`, `getInto`, `sizeOf`, `containsKey`), until the value is
   *   found; not scans, and not `getMany`. Of those that memory answers every 64th is timed, and
   *   stands for 64; of the others each.
   * - `insert`: commits, single writes as well as batches, from the call until they are visible. Of
   *   those that wait for nothing every 16th is timed, and stands for 16; of those that wait, for a
   *   sync or for backpressure, each.
   * - `sync`: of a journal file.
   * - `flush`, `compaction`: jobs.
   *
   * Looking at the clock for each would take a third of the time of a read.
   */
  readonly latency: Readonly<
    Record<'get' | 'insert' | 'sync' | 'flush' | 'compaction', LatencyMetrics>
  >
  /** By name. */
  readonly keyspaces: ReadonlyMap<string, KeyspaceMetrics>
}

export interface LevelMetrics {
  readonly tables: number
  readonly runs: number
  /** Of its tables. */
  readonly bytes: number
}

/** What filters of tables were asked by point reads. */
export interface FilterMetrics {
  readonly queries: number
  /** The table was passed over. */
  readonly negatives: number
  /** The filter let the read pass, and the table had nothing for it. */
  readonly falsePositives: number
}

/** From where what was read came: from memory, or from the file. */
export interface LoadMetrics {
  readonly cached: number
  readonly io: number
}

/** Of a keyspace, or of a bare tree. */
export interface KeyspaceMetrics {
  /** Bytes of memtables, active and sealed. */
  readonly memtableBytes: number
  readonly tableBytes: number
  /** Bytes of blob files, garbage included. */
  readonly blobBytes: number
  /** Bytes in blob files that no table points to any more. */
  readonly staleBlobBytes: number
  /** All levels, also those without tables. */
  readonly levels: readonly LevelMetrics[]
  readonly filter: FilterMetrics
  /**
   * Data, index and filter blocks that reads and scans asked for. What is pinned in memory is not
   * loaded, and what compactions read goes past the cache: neither counts.
   */
  readonly blockLoads: LoadMetrics
  /** Values in blob files that reads and scans asked for. Keys and lengths of values load none. */
  readonly blobLoads: LoadMetrics
  /**
   * Bytes that were put into files for each byte of keys and values that was written: its entries
   * in the journal, its tables and blob files by flushes, compactions and ingestions. 1 as long as
   * nothing was written. A bare tree has no journal.
   */
  readonly writeAmplification: number
  /**
   * Bytes of tables and blob files for each byte of the deepest level that has tables and of values
   * in blob files that are still in use. 1 without tables.
   */
  readonly spaceAmplification: number
  /** Blocks loaded for each point read, `getMany` included, that went to tables; 0 without any. */
  readonly readAmplification: number
}

/** For Database only. */
export function databaseMetrics({ keyspaces, ...data }: DatabaseMetricsData): DatabaseMetrics {
  const byName = keyspaces.map(([name, of]) => [name, keyspaceMetrics(of)] as const)
  return Object.freeze({ ...frozen(data), keyspaces: new Map(byName) })
}

/** For Keyspace and Tree only. */
export function keyspaceMetrics(data: KeyspaceMetricsData): KeyspaceMetrics {
  return frozen(data)
}

/** A frozen copy of plain data, all the way down. */
function frozen<T extends object>(data: T): T {
  const copy = (value: unknown): unknown =>
    typeof value === 'object' && value !== null ? frozen(value) : value
  const own = Array.isArray(data)
    ? data.map(copy)
    : Object.fromEntries(Object.entries(data).map(([name, value]) => [name, copy(value)]))
  return Object.freeze(own) as T
}
