/** The figures of a database. */

import type { DatabaseFigures } from '../../engine.ts'
import { sum } from '../base/numbers.ts'
import type { Database } from './database.ts'

export function databaseFigures(
  { keyspaces, journal, maintenance, cache, visible }: Database,
  manifestBytes: number,
  nextSeqno: number,
): DatabaseFigures {
  const trees = keyspaces.all().map(({ tree }) => tree)
  const journalDiskSpace = journal === undefined ? 0 : journal.sealedBytes + journal.activeBytes
  const fileBytes = trees.map(({ superVersion: { version } }) => {
    return version.tableBytes + version.blobBytes
  })
  return {
    writeBufferSize: maintenance.memory,
    outstandingFlushes: sum(trees.map((tree) => tree.sealedCount)),
    activeCompactions: maintenance.jobs().length,
    compactionsCompleted: maintenance.figures.completed,
    timeCompacting: maintenance.figures.compacting,
    journalCount: journal === undefined ? 0 : journal.count,
    journalDiskSpace,
    diskSpace: journalDiskSpace + manifestBytes + sum(fileBytes),
    cacheCapacity: cache.capacity,
    seqno: nextSeqno,
    visibleSeqno: visible,
  }
}
