/**
 * What all records of a manifest together say; docs/format.md, 6.2.
 *
 * A state is never changed: an edit makes the next one, which shares all trees that it does not
 * touch. So an edit that does not fit leaves no trace, and whoever holds a state may keep it.
 */

import { FILE_NUMBER_MAX } from '../base/limits.ts'
import { corruption } from '../base/status.ts'
import { LOG_HEADER_BYTES } from '../journal/log-format.ts'
import { changeLevels, NO_LEVELS } from './levels.ts'
import type { Levels } from './levels.ts'
import { BARE_TREE, DATABASE } from './manifest-edit.ts'
import type { BlobAdded, DirectoryKind, ManifestEdit, TreeCreated } from './manifest-edit.ts'
import type { TableMeta } from './table-meta.ts'

export type BlobFileState = Omit<BlobAdded, 'tree' | 'file'> & {
  readonly staleItems: number
  readonly staleBytes: number
}

export interface TreeState {
  readonly id: number
  readonly name: string
  readonly createdSeqno: number
  /** Encoded; options.ts. */
  readonly options: Uint8Array
  /** Entries with a smaller seqno are in tables or were cleared. */
  readonly flushedSeqno: number
  /** Entries with a smaller seqno were cleared. */
  readonly clearedSeqno: number
  /** A bare tree's lower bound for reads. */
  readonly gcSeqno: number
  /** By file number. */
  readonly tables: ReadonlyMap<number, TableMeta>
  /** The same where they stand. */
  readonly levels: Levels<TableMeta>
  readonly blobFiles: ReadonlyMap<number, BlobFileState>
}

export interface ManifestState {
  readonly kind: DirectoryKind
  readonly nextFileNumber: number
  readonly nextTreeId: number
  /** The next commit gets a higher seqno. */
  readonly lastSeqno: number
  /** There is nothing to replay. */
  readonly cleanShutdown: boolean
  readonly trees: ReadonlyMap<number, TreeState>
  /** Final lengths, by file number; undefined: not sealed. */
  readonly journals: ReadonlyMap<number, number | undefined>
}

export function emptyState(kind: DirectoryKind): ManifestState {
  return {
    kind,
    nextFileNumber: 0,
    nextTreeId: 0,
    lastSeqno: 0,
    cleanShutdown: false,
    trees: new Map(),
    journals: new Map(),
  }
}

/** A tree without anything. */
export function newTree({ tree: id, name, createdSeqno, options }: TreeCreated): MutableTree {
  return {
    id,
    name,
    createdSeqno,
    options,
    flushedSeqno: 0,
    clearedSeqno: 0,
    gcSeqno: 0,
    tables: new Map(),
    levels: NO_LEVELS,
    blobFiles: new Map(),
  }
}

/** The edit that makes `state` out of nothing. */
export function snapshotOf(state: ManifestState): ManifestEdit {
  const trees = [...state.trees.values()]
  const seqnos = (name: 'flushedSeqno' | 'clearedSeqno' | 'gcSeqno') =>
    trees.flatMap((tree) => (tree[name] > 0 ? [{ tree: tree.id, seqno: tree[name] }] : []))
  const blobs = trees.flatMap(({ id: tree, blobFiles }) =>
    [...blobFiles].map(([file, blob]) => ({ tree, file, ...blob })),
  )
  return {
    snapshot: state.kind,
    nextFileNumber: state.nextFileNumber,
    nextTreeId: state.nextTreeId,
    lastSeqno: state.lastSeqno,
    cleanShutdown: state.cleanShutdown,
    journalsAdded: [...state.journals.keys()],
    journalsSealed: [...state.journals].flatMap(([file, length]) =>
      length === undefined ? [] : [{ file, length }],
    ),
    treesCreated: trees.map(({ id: tree, name, createdSeqno, options }) => {
      return { tree, name, createdSeqno, options }
    }),
    flushedSeqnos: seqnos('flushedSeqno'),
    clearedSeqnos: seqnos('clearedSeqno'),
    gcSeqnos: seqnos('gcSeqno'),
    tablesAdded: trees.flatMap(({ id: tree, tables }) =>
      [...tables.values()].map((table) => ({ tree, table })),
    ),
    blobsAdded: blobs,
    blobsStale: blobs.filter(({ staleItems, staleBytes }) => staleItems > 0 || staleBytes > 0),
  }
}

/** The state after `edit`; CORRUPTION if it does not fit. */
export function applyEdit(state: ManifestState, edit: ManifestEdit): ManifestState {
  return new Change(state, new Map(state.journals), new Map(state.trees)).apply(edit)
}

/**
 * A state that grows edit by edit and is nobody else's until it is complete: no edit copies what it
 * does not touch. One that does not fit leaves a trace.
 */
export class GrowingState {
  #state: ManifestState
  readonly #journals = new Map<number, number | undefined>()
  readonly #trees = new Map<number, TreeState>()
  readonly #names = new Set<string>()

  constructor(kind: DirectoryKind) {
    this.#state = emptyState(kind)
  }

  get state(): ManifestState {
    return this.#state
  }

  apply(edit: ManifestEdit): void {
    const change = new Change(this.#state, this.#journals, this.#trees, this.#names)
    this.#state = change.apply(edit)
  }
}

type MutableTree = {
  -readonly [K in keyof TreeState]: TreeState[K]
} & {
  tables: Map<number, TableMeta>
  blobFiles: Map<number, BlobFileState>
}

/** A tree that an edit touches. */
interface Touched {
  /** A copy. */
  readonly tree: MutableTree
  readonly tablesBefore: ReadonlyMap<number, TableMeta>
  /** Files of tables that came, went or were moved. */
  readonly changed: Set<number>
  blobFilesGone: boolean
}

/** More added files than this are looked for in one walk over all there are. */
const FEW_FILES = 16

function check(holds: boolean, message: string): void {
  if (!holds) throw corruption(message)
}

/** One edit on its way to the next state. */
class Change {
  readonly #before: ManifestState
  readonly #journals: Map<number, number | undefined>
  readonly #trees: Map<number, TreeState>
  readonly #touched = new Map<number, Touched>()
  /** Of all trees; made by the first creation, unless it is given. */
  #names: Set<string> | undefined
  /** Files that the edit adds. */
  readonly #added: number[] = []

  /** The maps become those of the next state. */
  constructor(
    state: ManifestState,
    journals: Map<number, number | undefined>,
    trees: Map<number, TreeState>,
    names?: Set<string>,
  ) {
    this.#before = state
    this.#journals = journals
    this.#trees = trees
    this.#names = names
  }

  apply(edit: ManifestEdit): ManifestState {
    const before = this.#before
    const lastSeqno = edit.lastSeqno ?? before.lastSeqno
    check(lastSeqno >= before.lastSeqno, 'the last seqno decreases')
    const nextFileNumber = edit.nextFileNumber ?? before.nextFileNumber
    check(nextFileNumber >= before.nextFileNumber, 'the next file number decreases')
    const nextTreeId = edit.nextTreeId ?? before.nextTreeId
    check(nextTreeId >= before.nextTreeId, 'the next tree id decreases')
    this.#applyJournals(edit)
    this.#applyTrees(edit, nextTreeId)
    this.#applyTables(edit)
    this.#applyBlobs(edit)
    for (const id of edit.treesDeleted ?? []) {
      const { name } = this.#tree(id)
      this.#names?.delete(name)
      this.#trees.delete(id)
      this.#touched.delete(id)
    }
    for (const touched of this.#touched.values()) placeTables(touched)
    this.#checkFiles(nextFileNumber)
    return {
      kind: before.kind,
      nextFileNumber,
      nextTreeId,
      lastSeqno,
      cleanShutdown: edit.cleanShutdown ?? before.cleanShutdown,
      trees: this.#trees,
      journals: this.#journals,
    }
  }

  #applyJournals({ journalsAdded = [], journalsSealed = [], journalsRemoved = [] }: ManifestEdit) {
    const journals = this.#journals
    check(this.#before.kind === DATABASE || journalsAdded.length === 0, 'a bare tree has a journal')
    for (const file of journalsAdded) {
      check(!journals.has(file), 'a journal is added twice')
      this.#added.push(file)
      journals.set(file, undefined)
    }
    for (const { file, length } of journalsSealed) {
      check(journals.has(file), 'a journal is sealed that is not there')
      check(length >= LOG_HEADER_BYTES, 'a journal ends before it begins')
      const known = journals.get(file)
      check(known === undefined || known === length, 'a journal is sealed twice')
      journals.set(file, length)
    }
    for (const file of journalsRemoved) {
      check(journals.delete(file), 'a journal is removed that is not there')
    }
  }

  #applyTrees(edit: ManifestEdit, nextTreeId: number): void {
    for (const created of edit.treesCreated ?? []) this.#create(created, nextTreeId)
    for (const { tree, options } of edit.treeOptions ?? []) this.#tree(tree).options = options
    for (const { tree: id, seqno } of edit.flushedSeqnos ?? []) {
      const tree = this.#tree(id)
      check(seqno >= tree.flushedSeqno, 'a flushed seqno decreases')
      tree.flushedSeqno = seqno
    }
    for (const { tree: id, seqno } of edit.clearedSeqnos ?? []) {
      const tree = this.#tree(id)
      check(seqno >= tree.clearedSeqno, 'a cleared seqno decreases')
      tree.clearedSeqno = seqno
    }
    for (const { tree: id, seqno } of edit.gcSeqnos ?? []) {
      const tree = this.#tree(id)
      check(seqno >= tree.gcSeqno, 'a gc seqno decreases')
      tree.gcSeqno = seqno
    }
  }

  #create(created: TreeCreated, nextTreeId: number): void {
    const { tree: id, name } = created
    check(!this.#trees.has(id), 'a tree is created twice')
    check(id < nextTreeId, 'a tree id is not below the next one')
    const isBare = this.#before.kind === BARE_TREE
    check(isBare ? id === 1 && name === '' : name !== '', 'the name of a tree is wrong')
    this.#names ??= new Set([...this.#trees.values()].map((tree) => tree.name))
    check(!this.#names.has(name), 'two trees have one name')
    this.#names.add(name)
    const tree = newTree(created)
    this.#trees.set(id, tree)
    this.#touched.set(id, touchedTree(tree, new Map()))
  }

  #applyTables({ tablesRemoved = [], tablesMoved = [], tablesAdded = [] }: ManifestEdit): void {
    for (const { tree: id, file } of tablesRemoved) {
      const tables = this.#tablesOf(id, file)
      check(tables.delete(file), 'a table is removed that is not there')
    }
    for (const { tree: id, file, level, runOrder } of tablesMoved) {
      const tables = this.#tablesOf(id, file)
      const table = tables.get(file)
      if (table === undefined) throw corruption('a table is moved that is not there')
      tables.set(file, { ...table, level, runOrder })
    }
    for (const { tree: id, table } of tablesAdded) {
      const tables = this.#tablesOf(id, table.fileNumber)
      check(!tables.has(table.fileNumber), 'a table is added twice')
      this.#added.push(table.fileNumber)
      tables.set(table.fileNumber, table)
    }
  }

  #applyBlobs({ blobsRemoved = [], blobsAdded = [], blobsStale = [] }: ManifestEdit): void {
    for (const { tree, file } of blobsRemoved) {
      const touched = this.#touch(tree)
      touched.blobFilesGone = true
      check(touched.tree.blobFiles.delete(file), 'a blob file is removed that is not there')
    }
    for (const { tree, file, size, itemCount, frameBytes, rawBytes } of blobsAdded) {
      const { blobFiles } = this.#tree(tree)
      check(!blobFiles.has(file), 'a blob file is added twice')
      this.#added.push(file)
      const blob = { size, itemCount, frameBytes, rawBytes, staleItems: 0, staleBytes: 0 }
      blobFiles.set(file, blob)
    }
    for (const { tree, file, staleItems, staleBytes } of blobsStale) {
      const { blobFiles } = this.#tree(tree)
      const blob = blobFiles.get(file)
      if (blob === undefined) throw corruption('a blob file is changed that is not there')
      const fits = staleItems <= blob.itemCount && staleBytes <= blob.frameBytes
      check(fits, 'a blob file has more garbage than content')
      blobFiles.set(file, { ...blob, staleItems, staleBytes })
    }
  }

  /** The tables of a tree, of which `file` is about to change. */
  #tablesOf(id: number, file: number): Map<number, TableMeta> {
    const { tree, changed } = this.#touch(id)
    changed.add(file)
    return tree.tables
  }

  /** A tree to be changed. */
  #tree(id: number): MutableTree {
    return this.#touch(id).tree
  }

  #touch(id: number): Touched {
    const known = this.#touched.get(id)
    if (known !== undefined) return known
    const tree = this.#trees.get(id)
    if (tree === undefined) throw corruption('a tree is changed that is not there')
    const { tables, blobFiles } = tree
    const copy = { ...tree, tables: new Map(tables), blobFiles: new Map(blobFiles) }
    const touched = touchedTree(copy, tables)
    this.#trees.set(id, copy)
    this.#touched.set(id, touched)
    return touched
  }

  /** Numbers of files are below the next one, and each is named once. */
  #checkFiles(nextFileNumber: number): void {
    check(nextFileNumber > 0 && nextFileNumber <= FILE_NUMBER_MAX, 'no file number is left')
    for (const file of this.#added) {
      check(file < nextFileNumber, 'a file number is not below the next one')
    }
    // Whatever was named before is below the number that was the next one then.
    const isNew = this.#added.every((file) => file >= this.#before.nextFileNumber)
    check(isNew ? this.#areDistinct() : this.#areNamedOnce(), 'a file number is named twice')
  }

  #areDistinct(): boolean {
    return new Set(this.#added).size === this.#added.length
  }

  #areNamedOnce(): boolean {
    return this.#added.length > FEW_FILES
      ? this.#allNamedOnce()
      : this.#added.every(this.#isNamedOnce)
  }

  readonly #isNamedOnce = (file: number): boolean => {
    let uses = this.#journals.has(file) ? 1 : 0
    for (const { tables, blobFiles } of this.#trees.values()) {
      uses += Number(tables.has(file)) + Number(blobFiles.has(file))
    }
    return uses <= 1
  }

  #allNamedOnce(): boolean {
    const names = new Set(this.#journals.keys())
    let uses = names.size
    for (const { tables, blobFiles } of this.#trees.values()) {
      for (const file of tables.keys()) names.add(file)
      for (const file of blobFiles.keys()) names.add(file)
      uses += tables.size + blobFiles.size
    }
    return names.size === uses
  }
}

function touchedTree(tree: MutableTree, tablesBefore: Touched['tablesBefore']): Touched {
  return { tree, tablesBefore, changed: new Set(), blobFilesGone: false }
}

/** Puts the tables that have changed where they stand. */
function placeTables({ tree, tablesBefore, changed, blobFilesGone }: Touched): void {
  const removed = new Set<TableMeta>()
  const added: TableMeta[] = []
  for (const file of changed) {
    const [was, is] = [tablesBefore.get(file), tree.tables.get(file)]
    if (was !== undefined) removed.add(was)
    if (is !== undefined) added.push(is)
  }
  for (const { blobs } of blobFilesGone ? tree.tables.values() : added) {
    const areThere = blobs.every(({ fileNumber }) => tree.blobFiles.has(fileNumber))
    check(areThere, 'a table points into a blob file that is not there')
  }
  tree.levels = changeLevels(tree.levels, removed, added, (table) => table)
}
