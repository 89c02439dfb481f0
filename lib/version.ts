/** Typed views of what a tree is made of. They are copies: holding one pins no file. */

import type {
  BlobFileData,
  BlobReferenceData,
  MemtableData,
  SuperVersionData,
  TableData,
  VersionData,
} from './engine.ts'
import { ShaleError } from './errors.ts'
import type { Compression } from './types.ts'

/** What of a blob file the entries of a table point to. */
export interface BlobReferenceInfo {
  /** Of the blob file. */
  readonly id: number
  /** As the file has them, with their keys and headers. */
  readonly bytes: number
}

/** One blob file of a version: values that are kept apart from their keys. */
export interface BlobFileInfo {
  readonly id: number
  /** Bytes of the file. */
  readonly size: number
  /** Values in it, garbage included. */
  readonly itemCount: number
  /** Bytes of values, with their keys and headers, that no table points to any more. */
  readonly staleBytes: number
}

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
  /** Blob files that its entries point into, by ascending id. */
  readonly blobs: readonly BlobReferenceInfo[]
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
 * Which tables and blob files made up a tree at one moment. Level 0 first; in a level, the newest
 * run first; in a run, tables in key order with disjoint ranges.
 */
export class Version {
  readonly id: number
  readonly levels: readonly (readonly (readonly TableInfo[])[])[]
  /** By ascending id. */
  readonly blobFiles: readonly BlobFileInfo[]

  private constructor(token: symbol, data: VersionData) {
    if (token !== TOKEN) throw new ShaleError('INVALID_ARGUMENT', 'a Version is made by version()')
    this.id = data.id
    this.levels = Object.freeze(
      data.levels.map((runs) =>
        Object.freeze(runs.map((tables) => Object.freeze(tables.map(tableInfo)))),
      ),
    )
    this.blobFiles = Object.freeze(data.blobFiles.map(frozenCopy))
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
    this.activeMemtable = frozenCopy(data.activeMemtable)
    this.sealedMemtables = Object.freeze(data.sealedMemtables.map(frozenCopy))
    Object.freeze(this)
  }

  static {
    makeSuperVersion = (data) => new SuperVersion(TOKEN, data)
  }
}

function tableInfo(table: TableData): TableInfo {
  return Object.freeze({ ...table, blobs: Object.freeze(table.blobs.map(frozenCopy)) })
}

function frozenCopy<T extends MemtableData | BlobFileData | BlobReferenceData>(of: T): Readonly<T> {
  return Object.freeze<T>({ ...of })
}
