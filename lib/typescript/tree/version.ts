/**
 * Which tables make up a tree, at one moment. Never changed: an edit makes the next version.
 *
 * A level is a list of runs, newest first; a run is a list of tables in key order with disjoint
 * ranges. A newer entry of a key is in a smaller level, or in a newer run of the same level. Levels
 * above 0 usually hold one run.
 */

import { ShaleError } from '../../errors.ts'
import { LEVEL_COUNT } from '../base/limits.ts'
import { corruption } from '../base/status.ts'
import { anyMeet, groupRuns } from './table-meta.ts'
import type { TableMeta } from './table-meta.ts'

/** A table of a version: its description, and what the owner of the version keeps with it. */
export interface Listed {
  readonly meta: TableMeta
}

export type Run<T extends Listed> = readonly T[]

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
  /** By file number; `moved` makes the table that stands in the other place. */
  readonly moved?: ReadonlyMap<number, TablePlace>
}

export class Version<T extends Listed> {
  readonly id: number
  /** LEVEL_COUNT of them. */
  readonly levels: readonly (readonly Run<T>[])[]
  readonly tableCount: number
  readonly itemCount: number
  readonly bytes: number
  /** Made by the first search. */
  #byNumber: ReadonlyMap<number, T> | undefined

  /** CORRUPTION if a table has no level, or tables of a run meet. */
  constructor(id: number, tables: Iterable<T>) {
    const levels: T[][] = Array.from({ length: LEVEL_COUNT }, () => [])
    let [tableCount, itemCount, bytes] = [0, 0, 0]
    for (const table of tables) {
      const { level, itemCount: items, size } = table.meta
      const place = levels[level]
      if (place === undefined) throw corruption('a table is in a level that does not exist')
      place.push(table)
      tableCount++
      itemCount += items
      bytes += size
    }
    this.id = id
    this.levels = levels.map((level) => groupRuns(level, (table) => table.meta))
    this.tableCount = tableCount
    this.itemCount = itemCount
    this.bytes = bytes
    if (this.#runs().some((run) => anyMeet(run.map(({ meta }) => meta)))) {
      throw corruption('tables of a run meet')
    }
  }

  get isEmpty(): boolean {
    return this.tableCount === 0
  }

  /** Newest first, all levels. */
  #runs(): Run<T>[] {
    return this.levels.flat()
  }

  tables(): T[] {
    return this.#runs().flat()
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
    const { added = [], removed = [], moved = new Map<number, TablePlace>() } = edit
    const tables = new Map(this.tables().map((table) => [table.meta.fileNumber, table]))
    if (new Set(removed).size < removed.length) throw corruption('a table is removed twice')
    for (const number of [...removed, ...moved.keys()]) {
      if (!tables.has(number)) throw stale('a table is no longer there')
    }
    for (const number of removed) tables.delete(number)
    for (const [number, to] of moved) {
      const table = tables.get(number)
      if (table === undefined) throw corruption('a table is moved and removed')
      tables.set(number, place(table, to))
    }
    for (const table of added) {
      const number = table.meta.fileNumber
      if (tables.has(number)) throw corruption('a table is added twice')
      tables.set(number, table)
    }
    for (const { meta } of tables.values()) {
      if (meta.level >= LEVEL_COUNT) throw corruption('a level does not exist')
    }
    try {
      return new Version(id, tables.values())
    } catch (error) {
      throw stale('tables of a run would meet', error)
    }
  }
}

function stale(message: string, cause?: unknown): ShaleError {
  return new ShaleError('PLAN_STALE', message, { cause })
}
