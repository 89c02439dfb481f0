// Blob files of test values: written to a machine in memory and opened again.

import type { BlobPointer } from '../../../lib/typescript/base/blob-pointer.ts'
import { Cache } from '../../../lib/typescript/base/cache.ts'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { BlobCounters, BlobFile } from '../../../lib/typescript/blob/blob-file.ts'
import type { BlobContext } from '../../../lib/typescript/blob/blob-file.ts'
import { BlobWriter } from '../../../lib/typescript/blob/blob-writer.ts'
import type { BlobFileMeta, BlobWriteOptions } from '../../../lib/typescript/blob/blob-writer.ts'
import { FileCache } from '../../../lib/typescript/vfs/file-cache.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import type { Random } from './random.ts'

export const BLOB = 15
export const BLOB_PATH = '/db/000015.blob'

export interface Item {
  readonly key: Buffer
  readonly seqno: number
  readonly value: Buffer
}

/** In internal order: two versions of each key, values that compress and values that do not. */
export function randomItems(random: Random, count: number, valueMax: number): Item[] {
  return Array.from({ length: count }, (_, i) => {
    const value = Buffer.alloc(random.below(valueMax + 1), 'value ')
    if (random.below(2) === 0)
      for (let at = 0; at < value.length; at++) value[at] = random.below(256)
    return { key: Buffer.from(`key ${100_000 + (i >> 1)}`), seqno: 10_000 - i, value }
  })
}

export interface WrittenBlobs {
  readonly meta: BlobFileMeta
  readonly pointers: readonly BlobPointer[]
}

/** Writes at least one item. What was handed in is overwritten as soon as that is allowed. */
export function writeBlobs(
  vfs: Vfs,
  items: readonly Item[],
  options: Partial<BlobWriteOptions> = {},
): WrittenBlobs {
  const file = vfs.open(BLOB_PATH, 'create').sync()
  const createdAt = 1_700_000_000_000
  const writer = new BlobWriter({ fileNumber: BLOB, codec: 1, createdAt, ...options })
  const pointers = items.map(({ key, seqno, value }) => {
    const bytes = Buffer.concat([Buffer.from('<'), key, value, Buffer.from('>')])
    const keyEnd = 1 + key.length
    const add = writer.add(seqno, bytes, 1, keyEnd, bytes, keyEnd, bytes.length - 1)
    const pointer = runSync(add)
    if (writer.isFull) runSync(writer.drain(file))
    if (value.length <= 131_072) bytes.fill(0xee)
    return pointer
  })
  const meta = runSync(writer.finish(file))
  file.close()
  return { meta, pointers }
}

/** What blob files of one database share; `removed` gets the paths of those that went. */
export function blobContext(vfs: Vfs, cacheSize = 1 << 20, removed: string[] = []): BlobContext {
  return {
    directory: '/db',
    cache: new Cache(cacheSize),
    files: new FileCache(vfs, 8),
    remove: (path) => removed.push(path),
  }
}

export function openBlobs(
  context: BlobContext,
  meta: BlobFileMeta,
  counters = new BlobCounters(),
): BlobFile {
  return runSync(BlobFile.open(context, meta, counters))
}

/** The value of an item, from memory or from the file. */
export function valueOf(file: BlobFile, pointer: BlobPointer, { key }: Item): Uint8Array {
  const bytes = Buffer.concat([Buffer.from('<'), key, Buffer.from('>')])
  const end = bytes.length - 1
  return file.cached(pointer, bytes, 1, end) ?? runSync(file.load(pointer, bytes, 1, end))
}
