/** What was counted, as the seam describes it. */

import type { DatabaseMetricsData, KeyspaceMetricsData } from '../engine.ts'
import { sum } from './base/numbers.ts'
import type { Database } from './db/database.ts'
import type { Tree } from './tree/tree.ts'
import { staleBytes } from './tree/version-blobs.ts'
import type { Version } from './tree/version.ts'
import type { Table } from './tree/table.ts'

export function databaseMetrics(database: Database): DatabaseMetricsData {
  const { cache, counters, journal, snapshots, maintenance, control } = database
  const { figures } = maintenance
  const { journalCount, journalDiskSpace } = database.figures()
  const { inserts, removes, batches, bytes, iterators } = counters
  return {
    cache: cache.stats(),
    journal: {
      count: journalCount,
      bytes: journalDiskSpace,
      appends: journal?.appends ?? 0,
      syncs: counters.syncs.count,
      bytesWritten: journal?.bytesWritten ?? 0,
    },
    writes: { inserts, removes, batches, bytes, stalls: control.stalls, stallMs: control.stallMs },
    compactions: {
      active: maintenance.jobs().length,
      completed: figures.completed,
      ms: figures.compacting,
      bytesRead: figures.bytesRead,
      bytesWritten: figures.bytesWritten,
    },
    flushes: {
      active: figures.activeFlushes,
      completed: figures.flushes.count,
      ms: figures.flushing,
      bytesWritten: figures.flushedBytes,
    },
    snapshots: {
      open: snapshots.count,
      abandoned: counters.snapshotsAbandoned,
      oldestSeqno: snapshots.seqnos()[0],
    },
    iterators: { ...iterators },
    events: { dropped: counters.eventsDropped },
    latency: {
      get: counters.gets.summary(),
      insert: counters.commits.summary(),
      sync: counters.syncs.summary(),
      flush: figures.flushes.summary(),
      compaction: figures.compactions.summary(),
    },
    keyspaces: database.keyspaces.all().map(({ name, tree }) => [name, keyspaceMetrics(tree)]),
  }
}

export function keyspaceMetrics(tree: Tree): KeyspaceMetricsData {
  const { counters, superVersion } = tree
  const { version } = superVersion
  const { tables, blobs, givenBytes, fileBytes } = counters
  const levels = version.levels.map((runs) => {
    const { length: runCount } = runs
    return { tables: runs.flat().length, runs: runCount, bytes: bytesOf(runs.flat()) }
  })
  return {
    memtableBytes: tree.activeBytes + tree.sealedBytes,
    tableBytes: version.tableBytes,
    blobBytes: version.blobBytes,
    staleBlobBytes: sum([...version.blobs.values()].map(staleBytes)),
    levels,
    filter: {
      queries: tables.filterQueries,
      negatives: tables.filterNegatives,
      falsePositives: tables.filterFalsePositives,
    },
    blockLoads: { cached: tables.loadsCached, io: tables.loadsIo },
    blobLoads: { cached: blobs.loadsCached, io: blobs.loadsIo },
    writeAmplification: givenBytes === 0 ? 1 : fileBytes / givenBytes,
    spaceAmplification: spaceAmplification(version),
    readAmplification: tables.lookups === 0 ? 0 : tables.lookupLoads / tables.lookups,
  }
}

function spaceAmplification({ levels, blobs, tableBytes, blobBytes }: Version<Table>): number {
  const deepest = levels.findLast((runs) => runs.length > 0)
  if (deepest === undefined) return 1
  const live = bytesOf(deepest.flat()) + sum([...blobs.values()].map(({ usedBytes }) => usedBytes))
  return (tableBytes + blobBytes) / live
}

function bytesOf(tables: readonly Table[]): number {
  return sum(tables.map(({ meta }) => meta.size))
}
