/** shale: an embedded, ordered key-value store. */
/// <reference types="node" preserve="true" />

export { FifoCompaction, LeveledCompaction, SizeTieredCompaction } from './compaction.ts'
export type {
  CompactionStrategy,
  FifoOptions,
  LeveledOptions,
  SizeTieredOptions,
  UpkeepOptions,
  StrategyContext,
} from './compaction.ts'
export type { CompactionPlan } from './compaction-plan.ts'
export { prefixDropFilter, ttlFilter } from './compaction-filter.ts'
export type {
  CompactionEntry,
  CompactionFilter,
  FilterVerdict,
  TtlFilterOptions,
} from './compaction-filter.ts'
export { Compactor } from './compactor.ts'
export type { CompactionJob } from './compactor.ts'
export { Cursor } from './cursor.ts'
export { Database } from './database.ts'
export type { RecoveryReport } from './database.ts'
export { EntryRange } from './entry-range.ts'
export type { Entry } from './entry-range.ts'
export { ShaleError } from './errors.ts'
export type { ErrorCode } from './errors.ts'
export type { DatabaseEventName, DatabaseEvents, DatabaseListener } from './events.ts'
export { Ingestion } from './ingestion.ts'
export type { KeyRange } from './keys.ts'
export { Keyspace } from './keyspace.ts'
export type {
  CacheMetrics,
  CompactionMetrics,
  DatabaseMetrics,
  EventMetrics,
  FilterMetrics,
  FlushMetrics,
  IteratorMetrics,
  JournalMetrics,
  KeyspaceMetrics,
  LatencyMetrics,
  LevelMetrics,
  LoadMetrics,
  SnapshotMetrics,
  WriteMetrics,
} from './metrics.ts'
export type {
  DatabaseOptions,
  FilterPolicy,
  HeldKeyspaceOptions,
  KeyspaceOptions,
  KvSeparationOptions,
  TreeOptions,
} from './options.ts'
export type {
  IterOptions,
  MajorCompactionOptions,
  Progress,
  RangeOptions,
  ReadOptions,
} from './read-options.ts'
export { Snapshot } from './snapshot.ts'
export { MAX_SEQNO, Tree } from './tree.ts'
export type { WriteSize } from './tree.ts'
export type {
  Compression,
  Durability,
  EngineName as Engine,
  KeyInput,
  PerLevel,
  ValueInput,
} from './types.ts'
export { SuperVersion, Version } from './version.ts'
export type { BlobFileInfo, BlobReferenceInfo, MemtableInfo, TableInfo } from './version.ts'
export { WriteBatch } from './write-batch.ts'
export type { WriteOptions } from './write-batch.ts'
