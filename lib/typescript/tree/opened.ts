/** Open files of a tree, tables and blob files: those of a version, or what a job has written. */

import type { Flow } from '../base/flow.ts'
import { BlobFile } from '../blob/blob-file.ts'
import type { BlobCounters } from '../blob/blob-file.ts'
import type { BlobFileMeta } from '../blob/blob-writer.ts'
import type { TableMeta } from './table-meta.ts'
import { openTable } from './table.ts'
import type { PinOptions, Table, TableContext } from './table.ts'
import type { Version } from './version.ts'

export interface Opened {
  readonly tables: readonly Table[]
  readonly blobs: readonly BlobFile[]
}

/** All that a version lists. */
export function openedOf(version: Version<Table>): Opened {
  const blobs = [...version.blobs.values()]
  return { tables: version.tables(), blobs: blobs.map(({ file }) => file) }
}

/** Files that the manifest names, or is about to, each held once. */
export function* openFiles(
  context: TableContext,
  tables: readonly { readonly meta: TableMeta; readonly pins: PinOptions }[],
  blobs: Iterable<BlobFileMeta>,
  counters: BlobCounters,
): Flow<Opened> {
  const opened = { tables: [] as Table[], blobs: [] as BlobFile[] }
  try {
    for (const { meta, pins } of tables) opened.tables.push(yield* openTable(context, meta, pins))
    for (const meta of blobs) opened.blobs.push(yield* BlobFile.open(context, meta, counters))
    return opened
  } catch (error) {
    release(opened)
    throw error
  }
}

export function release({ tables, blobs }: Opened): void {
  for (const { shared } of tables) shared.release()
  for (const file of blobs) file.release()
}

/** No version will name them any more. */
export function replace({ tables, blobs }: Opened): void {
  for (const { shared } of tables) shared.replace()
  for (const file of blobs) file.replace()
}

/** Lets go of what was written for nothing. */
export function discard(opened: Opened): void {
  replace(opened)
  release(opened)
}

/** Of all files. */
export function bytesOf({ tables, blobs }: Opened): number {
  return [...tables, ...blobs].reduce((sum, { meta }) => sum + meta.size, 0)
}
