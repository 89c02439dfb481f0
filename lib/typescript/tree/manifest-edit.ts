/**
 * One record of a manifest: a list of edits that takes effect as a whole; docs/format.md, 6.1.
 *
 * Edits apply by ascending id, so an edit here is one list per id, in the order of the ids.
 */

import { CODEC_MAX } from '../base/compression.ts'
import { Decoder, Encoder } from '../base/coding.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'
import { KEY_BYTES_MAX, LEVEL_COUNT, NAME_BYTES_MAX } from '../base/limits.ts'
import { compareBytes, copyOf } from '../base/slice.ts'
import { corruption } from '../base/status.ts'
import type { BlobReference } from '../table/blob-references.ts'
import { BOUND_INCLUSIVE, BOUND_UNBOUNDED } from '../table/table-format.ts'
import type { TableMeta } from './table-meta.ts'

/** Numbers are on disk. */
export const DATABASE = 1
/** A bare tree: one tree with id 1 and an empty name, no journals. */
export const BARE_TREE = 2
export type DirectoryKind = typeof DATABASE | typeof BARE_TREE

export interface JournalLength {
  readonly file: number
  readonly length: number
}

export interface TreeCreated {
  readonly tree: number
  readonly name: string
  readonly createdSeqno: number
  /** Encoded; options.ts. */
  readonly options: Uint8Array
}

export interface TreeSeqno {
  readonly tree: number
  readonly seqno: number
}

export interface TreeFile {
  readonly tree: number
  readonly file: number
}

export interface TableMoved extends TreeFile {
  readonly level: number
  readonly runOrder: number
}

export interface TableAdded {
  readonly tree: number
  readonly table: TableMeta
}

export interface BlobAdded extends TreeFile {
  readonly size: number
  readonly itemCount: number
  readonly frameBytes: number
  readonly rawBytes: number
}

export interface BlobStale extends TreeFile {
  /** Totals. */
  readonly staleItems: number
  readonly staleBytes: number
}

/** What the lists of an edit hold. */
interface EditItems {
  journalsAdded: number
  journalsSealed: JournalLength
  journalsRemoved: number
  treesCreated: TreeCreated
  treeOptions: Pick<TreeCreated, 'tree' | 'options'>
  flushedSeqnos: TreeSeqno
  clearedSeqnos: TreeSeqno
  gcSeqnos: TreeSeqno
  tablesRemoved: TreeFile
  tablesMoved: TableMoved
  tablesAdded: TableAdded
  blobsRemoved: TreeFile
  blobsAdded: BlobAdded
  blobsStale: BlobStale
  treesDeleted: number
}
type EditLists = { readonly [K in keyof EditItems]?: readonly EditItems[K][] | undefined }

/** What changes: lists that are not there are empty, numbers that are not there stay. */
export interface ManifestEdit extends EditLists {
  /** The record states everything. */
  readonly snapshot?: DirectoryKind | undefined
  readonly nextFileNumber?: number | undefined
  readonly nextTreeId?: number | undefined
  readonly lastSeqno?: number | undefined
  readonly cleanShutdown?: boolean | undefined
  /** The manifest that holds from now on. */
  readonly successor?: number | undefined
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** How one edit is written and read. */
interface Coder<T> {
  readonly write: (out: Encoder, item: T) => unknown
  readonly read: (body: Decoder) => T
}

// --- fields --------------------------------------------------------------------------------------

function check(holds: boolean, message: string): void {
  if (!holds) throw corruption(message)
}

function treeId(body: Decoder): number {
  const id = body.varint()
  check(id > 0 && id < 2 ** 32, 'a tree id is out of range')
  return id
}

function fileNumber(body: Decoder): number {
  const number = body.varint()
  check(number > 0, 'a file number is zero')
  return number
}

function seqnoOf(body: Decoder): number {
  const seqno = body.varint()
  check(seqno <= SEQNO_MAX, 'a seqno is too large')
  return seqno
}

function levelOf(body: Decoder): number {
  const level = body.u8()
  check(level < LEVEL_COUNT, 'a level is out of range')
  return level
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function nameOf(body: Decoder): string {
  const bytes = body.prefixed()
  check(bytes.length <= NAME_BYTES_MAX, 'a name is too long')
  try {
    return utf8.decode(bytes)
  } catch {
    throw corruption('a name is not UTF-8')
  }
}

function writeTable(out: Encoder, { tree, table }: TableAdded): void {
  out.varint(tree).varint(table.fileNumber).u8(table.level).varint(table.runOrder)
  out.varint(table.size).varint(table.itemCount).varint(table.tombstoneCount)
  out.varint(table.weakTombstoneCount).varint(table.rangeTombstoneCount).varint(table.blockCount)
  out.prefixed(table.firstKey).prefixed(table.lastKey).u8(table.lastKeyBound)
  out.varint(table.lowestSeqno).varint(table.highestSeqno).varint(table.globalSeqno)
  out.varint(table.createdAt).u8(table.codec).varint(table.blobs.length)
  for (const blob of table.blobs) {
    out.varint(blob.fileNumber).varint(blob.itemCount).varint(blob.bytes)
  }
}

function readTable(body: Decoder): TableAdded {
  // An object literal is evaluated in the order of its text, which is that of the fields.
  const tree = treeId(body)
  const table: TableMeta = {
    fileNumber: fileNumber(body),
    level: levelOf(body),
    runOrder: body.varint(),
    size: body.varint(),
    itemCount: body.varint(),
    tombstoneCount: body.varint(),
    weakTombstoneCount: body.varint(),
    rangeTombstoneCount: body.varint(),
    blockCount: body.varint(),
    firstKey: copyOf(body.prefixed()),
    lastKey: copyOf(body.prefixed()),
    lastKeyBound: body.u8(),
    lowestSeqno: seqnoOf(body),
    highestSeqno: seqnoOf(body),
    globalSeqno: seqnoOf(body),
    createdAt: body.varint(),
    codec: body.u8(),
    blobs: readBlobs(body),
  }
  const { firstKey, lastKey, lastKeyBound: bound } = table
  check(firstKey.length > 0 && firstKey.length <= KEY_BYTES_MAX, 'a first key is out of range')
  check(lastKey.length <= KEY_BYTES_MAX && bound <= BOUND_UNBOUNDED, 'a last key is out of range')
  if (bound === BOUND_UNBOUNDED) {
    check(lastKey.length === 0, 'a table without upper end has a last key')
  } else {
    const order = compareBytes(firstKey, lastKey)
    check(bound === BOUND_INCLUSIVE ? order <= 0 : order < 0, 'the keys of a table descend')
  }
  check(table.lowestSeqno <= table.highestSeqno, 'the seqnos of a table descend')
  check(table.codec <= CODEC_MAX, 'a codec is unknown')
  return { tree, table }
}

/** Bytes of the shortest blob reference. */
const BLOB_REFERENCE_BYTES_MIN = 3

function readBlobs(body: Decoder): BlobReference[] {
  const count = body.varint()
  check(count <= body.left / BLOB_REFERENCE_BYTES_MIN, 'a count is too large')
  const blobs: BlobReference[] = []
  for (let i = 0; i < count; i++) {
    const number = fileNumber(body)
    check(number > (blobs.at(-1)?.fileNumber ?? 0), 'blob references do not ascend')
    const itemCount = body.varint()
    check(itemCount > 0, 'a blob reference is none')
    blobs.push({ fileNumber: number, itemCount, bytes: body.varint() })
  }
  return blobs
}

const fileCoder: Coder<number> = {
  write: (out, file) => out.varint(file),
  read: fileNumber,
}

const treeSeqno: Coder<TreeSeqno> = {
  write: (out, { tree, seqno }) => out.varint(tree).varint(seqno),
  read: (body) => ({ tree: treeId(body), seqno: seqnoOf(body) }),
}

const treeFile: Coder<TreeFile> = {
  write: (out, { tree, file }) => out.varint(tree).varint(file),
  read: (body) => ({ tree: treeId(body), file: fileNumber(body) }),
}

// --- edits ---------------------------------------------------------------------------------------

type NumberName = 'nextFileNumber' | 'nextTreeId' | 'lastSeqno' | 'successor'

const SNAPSHOT = 1
const CLEAN_SHUTDOWN = 5
const SUCCESSOR = 21

/** Edits of one number, by id. */
const NUMBERS: ReadonlyMap<number, readonly [NumberName, (body: Decoder) => number]> = new Map<
  number,
  readonly [NumberName, (body: Decoder) => number]
>([
  [2, ['nextFileNumber', fileNumber]],
  [3, ['nextTreeId', treeId]],
  [4, ['lastSeqno', seqnoOf]],
  [SUCCESSOR, ['successor', fileNumber]],
])

interface ListCoder extends Coder<unknown> {
  readonly name: keyof EditItems
}

function list<K extends keyof EditItems>(
  id: number,
  name: K,
  { write, read }: Coder<EditItems[K]>,
): [number, ListCoder] {
  return [id, { name, read, write: (out, item) => write(out, item as EditItems[K]) }]
}

/** Edits that a record may hold several of, by id. */
const LISTS: ReadonlyMap<number, ListCoder> = new Map([
  list(6, 'journalsAdded', fileCoder),
  list(7, 'journalsSealed', {
    write: (out, { file, length }) => out.varint(file).varint(length),
    read: (body) => ({ file: fileNumber(body), length: body.varint() }),
  }),
  list(8, 'journalsRemoved', fileCoder),
  list(9, 'treesCreated', {
    write: (out, { tree, name, createdSeqno, options }) =>
      out.varint(tree).prefixed(Buffer.from(name)).varint(createdSeqno).prefixed(options),
    read: (body) => ({
      tree: treeId(body),
      name: nameOf(body),
      createdSeqno: seqnoOf(body),
      options: copyOf(body.prefixed()),
    }),
  }),
  list(10, 'treeOptions', {
    write: (out, { tree, options }) => out.varint(tree).prefixed(options),
    read: (body) => ({ tree: treeId(body), options: copyOf(body.prefixed()) }),
  }),
  list(11, 'flushedSeqnos', treeSeqno),
  list(12, 'clearedSeqnos', treeSeqno),
  list(13, 'gcSeqnos', treeSeqno),
  list(14, 'tablesRemoved', treeFile),
  list(15, 'tablesMoved', {
    write: (out, { tree, file, level, runOrder }) =>
      out.varint(tree).varint(file).u8(level).varint(runOrder),
    read: (body) => ({ ...treeFile.read(body), level: levelOf(body), runOrder: body.varint() }),
  }),
  list(16, 'tablesAdded', { write: writeTable, read: readTable }),
  list(17, 'blobsRemoved', treeFile),
  list(18, 'blobsAdded', {
    write: (out, blob) => {
      out.varint(blob.tree).varint(blob.file).varint(blob.size)
      out.varint(blob.itemCount).varint(blob.frameBytes).varint(blob.rawBytes)
    },
    read: (body) => ({
      ...treeFile.read(body),
      size: body.varint(),
      itemCount: body.varint(),
      frameBytes: body.varint(),
      rawBytes: body.varint(),
    }),
  }),
  list(19, 'blobsStale', {
    write: (out, { tree, file, staleItems, staleBytes }) =>
      out.varint(tree).varint(file).varint(staleItems).varint(staleBytes),
    read: (body) => ({
      ...treeFile.read(body),
      staleItems: body.varint(),
      staleBytes: body.varint(),
    }),
  }),
  list(20, 'treesDeleted', { write: (out, tree) => out.varint(tree), read: treeId }),
])

/** The payload of a record. */
export function encodeEdit(edit: ManifestEdit): Uint8Array {
  const out = new Encoder()
  const body = new Encoder()
  const put = (id: number, write: (to: Encoder) => void): void => {
    body.clear()
    write(body)
    out.field(id, body.view())
  }
  for (let id = SNAPSHOT; id <= SUCCESSOR; id++) {
    const number = NUMBERS.get(id)
    const items = LISTS.get(id)
    if (id === SNAPSHOT) {
      if (edit.snapshot !== undefined) put(id, (to) => to.u8(edit.snapshot!))
    } else if (id === CLEAN_SHUTDOWN) {
      if (edit.cleanShutdown !== undefined) put(id, (to) => to.u8(Number(edit.cleanShutdown)))
    } else if (number !== undefined) {
      const value = edit[number[0]]
      if (value !== undefined) put(id, (to) => to.varint(value))
    } else if (items !== undefined) {
      for (const item of edit[items.name] ?? []) put(id, (to) => items.write(to, item))
    }
  }
  return out.view()
}

/** What a payload says; CORRUPTION if it is not a list of edits. */
export function decodeEdit(payload: Uint8Array): ManifestEdit {
  const record = new Decoder(payload)
  const edit: Mutable<ManifestEdit> = {}
  const lists: Partial<Record<keyof EditItems, unknown[]>> = {}
  let last = 0
  check(!record.done, 'an empty record')
  while (!record.done) {
    const id = record.varint()
    check(id >= last, 'edits are not in order')
    const length = record.varint()
    const begin = record.skip(length)
    const body = new Decoder(payload, begin, begin + length)
    const number = NUMBERS.get(id)
    const items = LISTS.get(id)
    if (id === SNAPSHOT) {
      check(last === 0, 'a snapshot is not the first edit')
      const kind = body.u8()
      check(kind === DATABASE || kind === BARE_TREE, 'the kind of a directory is unknown')
      edit.snapshot = kind as DirectoryKind
    } else if (id === CLEAN_SHUTDOWN) {
      const flag = body.u8()
      check(flag <= 1, 'a flag is neither 0 nor 1')
      edit.cleanShutdown = flag === 1
    } else if (number !== undefined) {
      check(id !== SUCCESSOR || last === 0, 'a successor is not alone in its record')
      edit[number[0]] = number[1](body)
    } else if (items !== undefined) {
      const known = (lists[items.name] ??= [])
      known.push(items.read(body))
    } else {
      throw corruption('an edit is unknown')
    }
    body.finish()
    last = id
  }
  return { ...edit, ...(lists as ManifestEdit) }
}
