/**
 * A table of a tree: what the manifest says of it, and the open file that all who read it share.
 */

import type { Cache } from '../base/cache.ts'
import type { Flow } from '../base/flow.ts'
import { compareBytes } from '../base/slice.ts'
import { corruption, isErrno } from '../base/status.ts'
import type { TableCounters } from '../table/table-counters.ts'
import type { TableProperties } from '../table/table-format.ts'
import { TableReader } from '../table/table-reader.ts'
import type { FileCache } from '../vfs/file-cache.ts'
import { fileName, pathIn } from '../vfs/file-name.ts'
import type { TableMeta } from './table-meta.ts'
import type { TablePlace } from './version.ts'

/** Of one version; a table that was moved is another one over the same file. */
export interface Table {
  readonly meta: TableMeta
  readonly shared: SharedTable
}

/**
 * The last one to let go closes the file; if the table was replaced meanwhile, it is handed to
 * `onObsolete`, since nobody reads it any more.
 */
export class SharedTable {
  readonly reader: TableReader
  readonly #onObsolete: () => void
  #holders = 1
  #replaced = false

  /** Held once. */
  constructor(reader: TableReader, onObsolete: () => void) {
    this.reader = reader
    this.#onObsolete = onObsolete
  }

  acquire(): void {
    this.#holders++
  }

  release(): void {
    if (--this.#holders > 0) return
    this.reader.close()
    if (this.#replaced) this.#onObsolete()
  }

  /** No version will name it any more. */
  replace(): void {
    this.#replaced = true
  }
}

export interface PinOptions {
  readonly pinIndex: boolean
  readonly pinFilter: boolean
}

export interface TableContext {
  readonly directory: string
  readonly cache: Cache
  readonly files: FileCache
  /** Removes a file that nobody reads and the manifest does not name. */
  readonly remove: (path: string, bytes: number) => void
}

/** A table that the manifest names, or is about to; held once. */
export function* openTable(
  context: TableContext,
  meta: TableMeta,
  pins: PinOptions,
  counters: TableCounters,
): Flow<Table> {
  const { directory, cache, files, remove } = context
  const { fileNumber, size, globalSeqno, blobs } = meta
  const path = pathIn(directory, fileName('table', fileNumber))
  const file = files.file(path)
  try {
    const length = yield* file.size()
    if (length !== size) {
      const least = Math.min(length, size)
      throw corruption('the table has another size than the manifest says', path, least)
    }
    const isIt = (properties: TableProperties): boolean => agrees(meta, properties)
    const found = { file, fileNumber, size, globalSeqno, blobs }
    const reader = yield* TableReader.open({ ...found, cache, counters, ...pins, agrees: isIt })
    return { meta, shared: new SharedTable(reader, () => remove(path, size)) }
  } catch (error) {
    file.close()
    if (!isErrno(error, 'ENOENT')) throw error
    throw corruption('the manifest names a table that is missing', path)
  }
}

/** Whether a table says of itself what the manifest says of it. */
function agrees(meta: TableMeta, properties: TableProperties): boolean {
  return (
    properties.itemCount === meta.itemCount &&
    properties.tombstoneCount === meta.tombstoneCount &&
    properties.weakTombstoneCount === meta.weakTombstoneCount &&
    properties.rangeTombstoneCount === meta.rangeTombstoneCount &&
    properties.blockCount === meta.blockCount &&
    compareBytes(properties.firstKey, meta.firstKey) === 0 &&
    compareBytes(properties.lastKey, meta.lastKey) === 0 &&
    properties.lastKeyBound === meta.lastKeyBound &&
    properties.lowestSeqno + meta.globalSeqno === meta.lowestSeqno &&
    properties.highestSeqno + meta.globalSeqno === meta.highestSeqno
  )
}

/** The same table in another place. */
export function placed(table: Table, place: TablePlace): Table {
  return { meta: { ...table.meta, ...place }, shared: table.shared }
}
