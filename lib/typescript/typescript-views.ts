/** What a tree is made of, as the seam describes it. Copies: holding one pins nothing. */

import type {
  BlobFileData,
  Compression,
  MemtableData,
  SuperVersionData,
  TableData,
  TreeFigures,
  VersionData,
} from '../engine.ts'
import type { Memtable } from './memtable/memtable.ts'
import type { SuperVersion } from './tree/super-version.ts'
import type { TableMeta } from './tree/table-meta.ts'
import type { Table } from './tree/table.ts'
import type { Tree } from './tree/tree.ts'
import { staleBytes } from './tree/version-blobs.ts'
import type { VersionBlob } from './tree/version-blobs.ts'
import type { Version } from './tree/version.ts'

/** By the numbers of base/compression.ts. */
const CODEC_NAMES: readonly Compression[] = ['none', 'lz4', 'zstd']

export function versionData({ id, levels, blobs }: Version<Table>): VersionData {
  return {
    id,
    levels: levels.map((runs) => runs.map((run) => run.map(({ meta }) => tableData(meta)))),
    blobFiles: [...blobs.values()].map(blobFileData).toSorted((a, b) => a.id - b.id),
  }
}

function blobFileData(blob: VersionBlob): BlobFileData {
  const { fileNumber: id, size, itemCount } = blob.file.meta
  return { id, size, itemCount, staleBytes: staleBytes(blob) }
}

export function superVersionData(superVersion: SuperVersion): SuperVersionData {
  const { version, seqno, active, sealed } = superVersion
  return {
    version: versionData(version),
    seqno,
    activeMemtable: memtableData(active),
    sealedMemtables: sealed.map(memtableData),
  }
}

export function treeFigures(tree: Tree): TreeFigures {
  const { version } = tree.superVersion
  const { itemCount, highestSeqno, flushedSeqno } = tree
  const memtableSize = tree.activeBytes + tree.sealedBytes
  const isEmpty = memtableSize === 0 && version.isEmpty
  return {
    approximateLen: itemCount,
    memtableSize,
    tableCount: version.tableCount,
    l0TableCount: version.levels[0]?.flat().length ?? 0,
    diskSpace: version.tableBytes + version.blobBytes,
    blobFileCount: version.blobs.size,
    fragmentedBlobBytes: [...version.blobs.values()].reduce((sum, b) => sum + staleBytes(b), 0),
    highestSeqno: highestSeqno !== 0 || !isEmpty ? highestSeqno : undefined,
    highestPersistedSeqno: flushedSeqno !== 0 ? flushedSeqno - 1 : undefined,
  }
}

function tableData(meta: TableMeta): TableData {
  return {
    id: meta.fileNumber,
    level: meta.level,
    size: meta.size,
    itemCount: meta.itemCount,
    tombstoneCount: meta.tombstoneCount,
    weakTombstoneCount: meta.weakTombstoneCount,
    rangeTombstoneCount: meta.rangeTombstoneCount,
    firstKey: Buffer.from(meta.firstKey),
    lastKey: Buffer.from(meta.lastKey),
    lowestSeqno: meta.lowestSeqno,
    highestSeqno: meta.highestSeqno,
    createdAt: meta.createdAt,
    compression: CODEC_NAMES[meta.codec] ?? 'none',
    blockCount: meta.blockCount,
    blobs: meta.blobs.map(({ fileNumber: id, bytes }) => ({ id, bytes })),
  }
}

function memtableData(memtable: Memtable): MemtableData {
  return {
    id: memtable.id,
    size: memtable.size,
    itemCount: memtable.itemCount,
    highestSeqno: memtable.isEmpty ? undefined : memtable.highestSeqno,
  }
}
