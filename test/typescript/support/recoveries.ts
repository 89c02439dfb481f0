// Directories of databases made step by step without a database: manifest, journals and trees as a
// writer makes them, and what recovery makes of them.

import { expect } from 'vitest'
import type { RecoveryFigures } from '../../../lib/engine.ts'
import { Cache } from '../../../lib/typescript/base/cache.ts'
import { Io, run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import { READ_ALL } from '../../../lib/typescript/base/internal-key.ts'
import { Pending } from '../../../lib/typescript/base/pending.ts'
import { Recovery } from '../../../lib/typescript/db/recovery.ts'
import { putEntryHeader } from '../../../lib/typescript/db/write-batch.ts'
import { LogWriter } from '../../../lib/typescript/journal/log-writer.ts'
import type { RecoveryMode } from '../../../lib/typescript/journal/log-reader.ts'
import type { JournalManager } from '../../../lib/typescript/journal/manager.ts'
import { DATABASE } from '../../../lib/typescript/tree/manifest-edit.ts'
import type { ManifestEdit } from '../../../lib/typescript/tree/manifest-edit.ts'
import { Manifest } from '../../../lib/typescript/tree/manifest.ts'
import { encodeOptions, newOptions } from '../../../lib/typescript/tree/options.ts'
import { Tree } from '../../../lib/typescript/tree/tree.ts'
import type { TreeContext } from '../../../lib/typescript/tree/tree.ts'
import { FileCache } from '../../../lib/typescript/vfs/file-cache.ts'
import { fileName } from '../../../lib/typescript/vfs/file-name.ts'
import { keepEverything, MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { failure } from '../../support/scratch.ts'
import { putFile, readFile } from './machine.ts'

export const journalPath = (number: number): string => `/db/${fileName('journal', number)}`

// --- commits -------------------------------------------------------------------------------------

export interface Entry {
  readonly tree: number
  readonly key: string
  /** Undefined: a tombstone. */
  readonly value?: string | undefined
}

export function entryBytes(
  kind: number,
  tree: number,
  key: string | Uint8Array,
  value: string | Uint8Array = '',
  codec = 0,
): Buffer {
  const [k, v] = [Buffer.from(key as string), Buffer.from(value as string)]
  const bytes = Buffer.alloc(12 + k.length + v.length)
  putEntryHeader(bytes, 0, kind, codec, k.length, tree, v.length)
  k.copy(bytes, 12)
  v.copy(bytes, 12 + k.length)
  return bytes
}

export function batchBytes(entries: readonly Entry[]): Buffer {
  return Buffer.concat(
    entries.map(({ tree, key, value }) =>
      entryBytes(value === undefined ? 1 : 0, tree, key, value),
    ),
  )
}

export const OPTIONS: Uint8Array = encodeOptions(newOptions({}))

/** Of a keyspace whose memtable is full at once. */
export const TINY_OPTIONS: Uint8Array = encodeOptions(newOptions({ maxMemtableSize: 1 }))

// --- a directory ---------------------------------------------------------------------------------

/** Makes what a database would have made; nothing is synced unless a call says so. */
export class DirectoryMaker {
  readonly vfs: MemVfs
  readonly manifest: Manifest
  /** By number. */
  readonly journals: Map<number, LogWriter> = new Map()

  constructor(vfs: MemVfs) {
    this.vfs = vfs
    vfs.makeDir('/db').sync()
    vfs.syncDir('/').sync()
    this.manifest = runSync(Manifest.create(vfs, '/db', DATABASE))
  }

  /** Keyspaces that the manifest knows, created by commits that no journal has. */
  keyspaces(names: readonly string[], options: Uint8Array = OPTIONS): this {
    const treesCreated = names.map((name) => {
      return { tree: this.manifest.newTreeId(), name, createdSeqno: 0, options }
    })
    return this.edit({ treesCreated })
  }

  edit(edit: ManifestEdit): this {
    runSync(this.manifest.commit(edit))
    return this
  }

  /** A new journal, which the manifest names unless it is told otherwise. */
  journal({ named = true } = {}): LogWriter {
    const number = this.manifest.newFileNumber()
    const writer = runSync(LogWriter.create(this.vfs, journalPath(number), 'journal', number))
    runSync(writer.sync())
    this.vfs.syncDir('/db').sync()
    if (named) this.edit({ journalsAdded: [number] })
    this.journals.set(number, writer)
    return writer
  }

  /** States its final length. */
  seal(writer: LogWriter, length: number = writer.end): this {
    return this.edit({ journalsSealed: [{ file: writer.fileNumber, length }] })
  }
}

/** Appends commits of one entry: key `k<seqno>`, value `v<seqno>`. */
export function commits(writer: LogWriter, first: number, last: number, tree = 1): void {
  for (let seqno = first; seqno <= last; seqno++) {
    writer.append(1, seqno, entryBytes(0, tree, `k${seqno}`, `v${seqno}`))
  }
}

/** What a keyspace holds after `commits`, as `contentsOf` shows it. */
export function rows(first: number, last: number): Record<string, string> {
  const all: Record<string, string> = {}
  for (let seqno = first; seqno <= last; seqno++) all[`k${seqno}`] = `v${seqno}`
  return all
}

/** Syncs, and says so. */
export function synced(writer: LogWriter): void {
  runSync(writer.sync())
  writer.witness()
}

// --- recovery ------------------------------------------------------------------------------------

export function contextOf(vfs: Vfs, manifest: Manifest): TreeContext {
  return {
    vfs,
    manifest,
    directory: '/db',
    cache: new Cache(1 << 20),
    reads: new Pending(),
    files: new FileCache(vfs, 100),
    remove: (path) => {
      vfs.remove(path).sync()
    },
    removeDue: Io.now(() => {}),
    // oxlint-disable-next-line require-yield
    *view() {
      return { snapshots: [], visible: READ_ALL }
    },
    *beforeFlushCommit() {
      // All that is flushed here is durable.
    },
    atASeqno: (_, install) => install(0),
    *throttle() {
      // Nothing is compacted.
    },
  }
}

export type Contents = Readonly<Record<string, Readonly<Record<string, string>>>>

/** What a read sees of a tree. */
export function rowsOf(tree: Tree): Record<string, string> {
  const found: Record<string, string> = {}
  const cursor = tree.superVersion.cursor(READ_ALL, { lower: undefined, upper: undefined }, false)
  const settle = (): void => {
    while (cursor.missing !== undefined) {
      cursor.missing.sync()
      cursor.retry()
    }
  }
  cursor.start()
  for (settle(); cursor.valid; cursor.next(), settle()) {
    const key = Buffer.from(cursor.key.subarray(0, cursor.keyEnd)).toString()
    const value = cursor.value.subarray(cursor.valueBegin, cursor.valueEnd)
    found[key] = Buffer.from(value).toString()
  }
  return found
}

export interface RecoverOptions {
  readonly mode?: RecoveryMode
  readonly writeBuffer?: number
  readonly readOnly?: boolean
  /** To be filled. */
  readonly trees?: Map<number, Tree>
}

/** An open directory, as the database has it after recovery. */
export interface Recovered {
  readonly contents: Contents
  readonly report: RecoveryFigures
  readonly nextSeqno: number
  readonly manifest: Manifest
  readonly trees: ReadonlyMap<number, Tree>
  /** Undefined when it is only read. */
  readonly journals: JournalManager | undefined
  close(): void
}

export function* recovering(vfs: Vfs, options: RecoverOptions = {}): Flow<Recovered> {
  const { mode = 'tail', writeBuffer = 1 << 26, readOnly = false, trees = new Map() } = options
  const manifest = yield* Manifest.load(vfs, '/db', readOnly)
  const context = contextOf(vfs, manifest)
  let journals: JournalManager | undefined
  let recovery: Recovery | undefined
  const close = (): void => {
    for (const tree of trees.values()) tree.close()
    journals?.close()
    manifest.close()
  }
  try {
    for (const [id, state] of manifest.state.trees) {
      trees.set(id, yield* Tree.open(context, state))
    }
    recovery = new Recovery(context, mode, readOnly ? 0 : writeBuffer, trees)
    yield* recovery.replay()
    if (!readOnly) {
      journals = yield* recovery.finish()
      yield* recovery.removeOrphans(journals.numbers)
    }
    const contents: Record<string, Record<string, string>> = {}
    for (const tree of trees.values()) contents[tree.name] = rowsOf(tree)
    const { report, nextSeqno } = recovery
    return { contents, report, nextSeqno, manifest, trees, journals, close }
  } catch (error) {
    close()
    throw error
  } finally {
    recovery?.close()
  }
}

/** Recovers a directory and leaves it open. */
export function recover(vfs: Vfs, options?: RecoverOptions): Recovered {
  return runSync(recovering(vfs, options))
}

/** Recovers a directory and lets go of it, as a process that dies; no file must stay open. */
export function recoverAndDie(vfs: MemVfs, options?: RecoverOptions): Recovered {
  vfs.openFiles = 0
  try {
    const recovered = recover(vfs, options)
    recovered.close()
    return recovered
  } finally {
    expect(vfs.openFiles).toBe(0)
  }
}

/** The same, every call awaited. */
export async function recoverAsync(vfs: Vfs, options?: RecoverOptions): Promise<Recovered> {
  return run(recovering(vfs, options))
}

/** The active journal of a process that is gone, to write on in it. */
export function reopened(vfs: Vfs, { activeNumber, activeBytes }: JournalManager): LogWriter {
  const file = vfs.open(journalPath(activeNumber), 'write').sync()
  return new LogWriter(file, activeNumber, activeBytes, 0)
}

/** Names of the files of one kind. */
export function filesOf(vfs: Vfs, kind: string): string[] {
  return vfs
    .list('/db')
    .sync()
    .filter((name) => name.endsWith(`.${kind}`))
    .toSorted()
}

/** The report of a recovery that drops nothing, but for the commits replayed. */
export const NOTHING_DROPPED: Omit<RecoveryFigures, 'commitsReplayed'> = {
  bytesDropped: 0,
  commitsDropped: 0,
  files: [],
}

/** A directory with a keyspace `a`, id 1. */
export function newDirectory(): DirectoryMaker {
  return new DirectoryMaker(new MemVfs()).keyspaces(['a'])
}

/** What a killed process leaves, and the disk has. */
export function killed({ vfs }: DirectoryMaker): MemVfs {
  return vfs.crash(keepEverything)
}

/** The error of a recovery, as a user sees it. */
export async function refusal(made: DirectoryMaker, options?: RecoverOptions): Promise<unknown[]> {
  const vfs = killed(made)
  const { code, message, path, offset } = await failure(() => recoverAndDie(vfs, options))
  return [code, message, path, offset]
}

/** Puts other bytes in the place of a file's. */
export function changeFile(
  vfs: MemVfs,
  path: string,
  how: (bytes: Buffer) => Uint8Array | void,
): void {
  const bytes = readFile(vfs, path)
  putFile(vfs, path, how(bytes) ?? bytes)
}

export function flipBit(vfs: MemVfs, { fileNumber }: LogWriter, at: number): void {
  changeFile(vfs, journalPath(fileNumber), (bytes) => void (bytes[at]! ^= 1))
}
