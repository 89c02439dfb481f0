/**
 * Which tables make up a tree, at one moment. Never changed: an edit makes the next version.
 *
 * A newer entry of a key is in a smaller level, or in a newer run of the same level. Levels above 0
 * usually hold one run.
 */

import { ShaleError } from '../../errors.ts'
import { LEVEL_COUNT } from '../base/limits.ts'
import { corruption } from '../base/status.ts'
import type { BlobFile } from '../blob/blob-file.ts'
import { changeLevels, NO_LEVELS } from './levels.ts'
import type { Levels } from './levels.ts'
import type { TableMeta } from './table-meta.ts'
import { changeBlobs, NO_BLOBS } from './version-blobs.ts'
import type { VersionBlobs } from './version-blobs.ts'

/** A table of a version: its description, and what the owner of the version keeps with it. */
export interface Listed {
  readonly meta: TableMeta
}

export interface TablePlace {
  readonly level: number
  readonly runOrder: number
}

/** The change from one version to the next. */
export interface VersionEdit<T extends Listed> {
  /** They stand where their descriptions say. */
  readonly added?: readonly T[]
  /** File numbers. */
  readonly removed?: readonly number[]
  /** Blob files that tables which are added point into. */
  readonly blobsAdded?: readonly BlobFile[]
  /** By file number; `moved` makes the table that stands in the other place. */
  readonly moved?: ReadonlyMap<number, TablePlace>
}

export class Version<T extends Listed> {
  readonly id: number
  readonly levels: Levels<T>
  readonly blobs: VersionBlobs
  readonly tableCount: number
  readonly itemCount: number
  readonly rangeTombstoneCount: number
  /** Of tables. */
  readonly tableBytes: number
  /** Of blob files. */
  readonly blobBytes: number
  /** Made by the first search. */
  #byNumber: ReadonlyMap<number, T> | undefined

  private constructor(id: number, levels: Levels<T>, blobs: VersionBlobs) {
    this.id = id
    this.levels = levels
    this.blobs = blobs
    let [tableCount, itemCount, rangeTombstoneCount, bytes] = [0, 0, 0, 0]
    for (const run of levels.flat()) {
      tableCount += run.length
      for (const { meta } of run) {
        itemCount += meta.itemCount
        rangeTombstoneCount += meta.rangeTombstoneCount
        bytes += meta.size
      }
    }
    this.tableCount = tableCount
    this.itemCount = itemCount
    this.rangeTombstoneCount = rangeTombstoneCount
    this.tableBytes = bytes
    let blobBytes = 0
    for (const { file } of blobs.values()) blobBytes += file.meta.size
    this.blobBytes = blobBytes
  }

  /** CORRUPTION if a table has no level, or tables of a run meet. */
  static of<T extends Listed>(
    id: number,
    tables: Iterable<T>,
    blobs: VersionBlobs = NO_BLOBS,
  ): Version<T> {
    return new Version(id, changeLevels<T>(NO_LEVELS, new Set(), tables, metaOf), blobs)
  }

  get isEmpty(): boolean {
    return this.tableCount === 0
  }

  /** Level by level, newest run first, in key order. */
  tables(): T[] {
    return this.levels.flat(2)
  }

  find(fileNumber: number): T | undefined {
    this.#byNumber ??= new Map(this.tables().map((table) => [table.meta.fileNumber, table]))
    return this.#byNumber.get(fileNumber)
  }

  /**
   * What options that are given per level are looked up by: 0 for level 0, 1 for the first level in
   * use below it, and so on. Levels fill from the bottom, so the first in use moves up as a tree
   * grows.
   */
  policyLevel(level: number): number {
    if (level === 0) return 0
    const first = this.levels.findIndex((runs, i) => i > 0 && runs.length > 0)
    return first < 0 || level <= first ? 1 : level - first + 1
  }

  /**
   * The next version. PLAN_STALE if a table is not there, or tables of a run would meet: someone
   * else was faster. CORRUPTION if the edit contradicts itself. `place` makes the same table in
   * another place.
   */
  apply(id: number, edit: VersionEdit<T>, place: (table: T, to: TablePlace) => T): Version<T> {
    const {
      added = [],
      removed = [],
      moved = new Map<number, TablePlace>(),
      blobsAdded = [],
    } = edit
    if (new Set(removed).size < removed.length) throw corruption('a table is removed twice')
    const gone = new Set(removed.map((number) => this.#present(number)))
    const come = new Map<number, T>()
    for (const [number, to] of moved) {
      const table = this.#present(number)
      if (gone.has(table)) throw corruption('a table is moved and removed')
      gone.add(table)
      come.set(number, place(table, to))
    }
    for (const table of added) {
      const number = table.meta.fileNumber
      const known = this.find(number)
      const isFree = known === undefined || gone.has(known)
      if (!isFree || come.has(number)) throw corruption('a table is added twice')
      come.set(number, table)
    }
    for (const { meta } of come.values()) {
      if (meta.level >= LEVEL_COUNT) throw corruption('a level does not exist')
    }
    let levels: Levels<T>
    try {
      levels = changeLevels(this.levels, gone, come.values(), metaOf)
    } catch (error) {
      throw stale('tables of a run would meet', error)
    }
    const blobs = changeBlobs(this.blobs, blobsAdded, metasOf(gone), metasOf(come.values()))
    return new Version(id, levels, blobs)
  }

  /** PLAN_STALE if it is gone. */
  #present(fileNumber: number): T {
    const table = this.find(fileNumber)
    if (table === undefined) throw stale('a table is no longer there')
    return table
  }
}

function metaOf({ meta }: Listed): TableMeta {
  return meta
}

function metasOf(tables: Iterable<Listed>): TableMeta[] {
  return Array.from(tables, metaOf)
}

function stale(message: string, cause?: unknown): ShaleError {
  return new ShaleError('PLAN_STALE', message, { cause })
}
