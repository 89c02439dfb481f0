/** Typed views of what a tree is made of. They are copies: holding one pins no file. */

import type { MemtableData, SuperVersionData, TableData, VersionData } from './engine.ts'
import { ShaleError } from './errors.ts'
import type { Compression } from './types.ts'

/** One table file of a version. */
export interface TableInfo {
  readonly id: number
  readonly level: number
  /** Bytes of the file. */
  readonly size: number
  /** Versions of keys, tombstones included. */
  readonly itemCount: number
  readonly tombstoneCount: number
  readonly weakTombstoneCount: number
  readonly rangeTombstoneCount: number
  readonly firstKey: Buffer
  readonly lastKey: Buffer
  readonly lowestSeqno: number
  readonly highestSeqno: number
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly compression: Compression
  readonly blockCount: number
}

export interface MemtableInfo {
  readonly id: number
  /** Bytes, index included. */
  readonly size: number
  readonly itemCount: number
  readonly highestSeqno: number | undefined
}

const TOKEN = Symbol('version')

/** For Keyspace and Tree only. */
export let makeVersion: (data: VersionData) => Version
/** For Tree only. */
export let makeSuperVersion: (data: SuperVersionData) => SuperVersion

/**
 * Which tables made up a tree at one moment. Level 0 first; in a level, the newest run first; in a
 * run, tables in key order with disjoint ranges.
 */
export class Version {
  readonly id: number
  readonly levels: readonly (readonly (readonly TableInfo[])[])[]

  private constructor(token: symbol, data: VersionData) {
    if (token !== TOKEN) throw new ShaleError('INVALID_ARGUMENT', 'a Version is made by version()')
    this.id = data.id
    this.levels = Object.freeze(
      data.levels.map((runs) =>
        Object.freeze(runs.map((tables) => Object.freeze(tables.map(tableInfo)))),
      ),
    )
    Object.freeze(this)
  }

  static {
    makeVersion = (data) => new Version(TOKEN, data)
  }
}

/** What a reader pins: a version with the memtables above it. */
export class SuperVersion {
  readonly version: Version
  /** Highest seqno inserted when it came to be. */
  readonly seqno: number
  readonly activeMemtable: MemtableInfo
  /** Newest first. */
  readonly sealedMemtables: readonly MemtableInfo[]

  private constructor(token: symbol, data: SuperVersionData) {
    if (token !== TOKEN) {
      throw new ShaleError('INVALID_ARGUMENT', 'a SuperVersion is made by versionHistory()')
    }
    this.version = makeVersion(data.version)
    this.seqno = data.seqno
    this.activeMemtable = memtableInfo(data.activeMemtable)
    this.sealedMemtables = Object.freeze(data.sealedMemtables.map(memtableInfo))
    Object.freeze(this)
  }

  static {
    makeSuperVersion = (data) => new SuperVersion(TOKEN, data)
  }
}

function tableInfo(table: TableData): TableInfo {
  return Object.freeze({ ...table })
}

function memtableInfo(memtable: MemtableData): MemtableInfo {
  return Object.freeze({ ...memtable })
}
