// Tables as the manifest names them, made up for tests.

import type { TableMeta } from '../../../lib/typescript/tree/table-meta.ts'

export function tableMeta(
  fileNumber: number,
  firstKey: string,
  lastKey: string,
  change: Partial<TableMeta> = {},
): TableMeta {
  return {
    fileNumber,
    level: 1,
    runOrder: 1,
    size: 358,
    itemCount: 4,
    tombstoneCount: 1,
    weakTombstoneCount: 0,
    rangeTombstoneCount: 0,
    blockCount: 1,
    firstKey: new Uint8Array(Buffer.from(firstKey)),
    lastKey: new Uint8Array(Buffer.from(lastKey)),
    lastKeyBound: 0,
    lowestSeqno: 3,
    highestSeqno: 7,
    globalSeqno: 0,
    createdAt: 1_700_000_000_000,
    codec: 1,
    blobs: [],
    ...change,
  }
}
