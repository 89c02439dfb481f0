/** Open files of a tree, tables and blob files: those of a version, or what a job has written. */

import type { Flow } from '../base/flow.ts'
import { BlobFile } from '../blob/blob-file.ts'
import type { BlobFileMeta } from '../blob/blob-writer.ts'
import type { TableMeta } from './table-meta.ts'
import { openTable } from './table.ts'
import type { PinOptions, Table, TableContext } from './table.ts'
import type { JobFigures } from './tree-context.ts'
import type { TreeCounters } from './tree-counters.ts'
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
  counters: TreeCounters,
): Flow<Opened> {
  const opened = { tables: [] as Table[], blobs: [] as BlobFile[] }
  try {
    for (const { meta, pins } of tables) {
      opened.tables.push(yield* openTable(context, meta, pins, counters.tables))
    }
    for (const meta of blobs) opened.blobs.push(yield* BlobFile.open(context, meta, counters.blobs))
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

/** What a job has written. */
export function countWritten(figures: JobFigures, { tables, blobs }: Opened): void {
  figures.tables += tables.length
  for (const { meta } of [...tables, ...blobs]) figures.bytesWritten += meta.size
}
