// Tables of test entries: written to a machine in memory and opened again.

import { Cache } from '../../../lib/typescript/base/cache.ts'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import type { BlobReference } from '../../../lib/typescript/table/blob-references.ts'
import {
  BLOCKED,
  FOUND,
  PointLookup,
  TableReader,
} from '../../../lib/typescript/table/table-reader.ts'
import { TableWriter } from '../../../lib/typescript/table/table-writer.ts'
import type {
  FinishedTable,
  TableWriteOptions,
} from '../../../lib/typescript/table/table-writer.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { inside } from './entries.ts'
import type { Entry } from './entries.ts'

export const TABLE = 12
export const PATH = '/db/000012.table'

export const PLAIN: TableWriteOptions = {
  fileNumber: TABLE,
  blockSize: 4096,
  restartInterval: 10,
  hashIndexRatio: 0,
  codec: 0,
  indexCodec: 0,
  bitsPerKey: 10,
  partitionIndex: false,
  partitionFilter: false,
  createdAt: 1_700_000_000_000,
}

/** Writes sorted entries, at least one. */
export function writeTable(
  vfs: Vfs,
  entries: readonly Entry[],
  options: Partial<TableWriteOptions> = {},
): FinishedTable {
  const file = vfs.open(PATH, 'create').sync()
  const writer = new TableWriter({ ...PLAIN, ...options })
  for (const { kind, seqno, key: keyBytes, value } of entries) {
    const { bytes, begin, end } = inside(keyBytes)
    writer.add(kind, seqno, bytes, begin, end, value, 0, value.length)
    bytes.fill(0xee)
    if (writer.isFull) runSync(writer.drain(file))
  }
  const written = runSync(writer.finish(file))
  file.close()
  return written
}

export interface OpenOptions {
  readonly cacheSize?: number
  readonly pin?: boolean
  readonly globalSeqno?: number
  readonly path?: string
  readonly fileNumber?: number
  readonly blobs?: readonly BlobReference[]
}

export function openTable(vfs: Vfs, options: OpenOptions = {}): TableReader {
  const { cacheSize = 1 << 20, pin = false, globalSeqno = 0, path = PATH } = options
  const file = vfs.open(path, 'read').sync()
  try {
    return runSync(
      TableReader.open({
        file,
        fileNumber: options.fileNumber ?? TABLE,
        size: file.size().sync(),
        globalSeqno,
        blobs: options.blobs ?? [],
        cache: new Cache(cacheSize),
        pinIndex: pin,
        pinFilter: pin,
      }),
    )
  } catch (error) {
    file.close()
    throw error
  }
}

/** A point read, with every block that it lacks. */
export function findIn(table: TableReader, key: Buffer, readSeqno: number): Entry | undefined {
  const lookup = new PointLookup()
  const { bytes, begin, end } = inside(key)
  lookup.start(bytes, begin, end, readSeqno)
  let found = table.find(lookup)
  while (found === BLOCKED) {
    lookup.missing!.sync()
    found = table.find(lookup)
  }
  if (found !== FOUND) return undefined
  const { seqno, kind, value, valueBegin, valueEnd } = lookup
  return { key, seqno, kind, value: Buffer.from(value.slice(valueBegin, valueEnd)) }
}
