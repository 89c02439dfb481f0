// Trees and keyspaces as tests fill them and look at them: rows as text, tables in the order in
// which they were flushed.

import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type {
  Database,
  DatabaseOptions,
  EntryRange,
  Keyspace,
  KeyspaceOptions,
  ReadOptions,
  TableInfo,
  Tree,
  TreeOptions,
  Version,
} from '../../lib/index.ts'
import { openDatabase, openTree } from './engine.ts'
import { PATIENT } from './patient.ts'
import { scratchDirectory } from './scratch.ts'

/** A database in a directory of its own, closed when the test ends. */
export async function newDatabase(options?: DatabaseOptions): Promise<Database> {
  return databaseAt(join(scratchDirectory(), 'db'), options)
}

/** The same for one that is there. */
export async function databaseAt(path: string, options?: DatabaseOptions): Promise<Database> {
  const database = await openDatabase(path, options)
  onTestFinished(() => database.close())
  return database
}

export interface Opened {
  readonly path: string
  readonly database: Database
  readonly keyspace: Keyspace
}

/** A database with one keyspace. */
export async function newKeyspace(
  options: KeyspaceOptions = { compaction: PATIENT },
  databaseOptions?: DatabaseOptions,
): Promise<Opened> {
  const database = await newDatabase(databaseOptions)
  return { path: database.path, database, keyspace: await database.keyspace('k', options) }
}

export async function newTree(options: TreeOptions = { compaction: PATIENT }): Promise<Tree> {
  return treeAt(join(scratchDirectory(), 'tree'), options)
}

export async function treeAt(path: string, options?: TreeOptions): Promise<Tree> {
  const tree = await openTree(path, options)
  onTestFinished(() => tree.close())
  return tree
}

/** Rows as `key=value`, one behind the other. */
export function text(rows: Iterable<readonly [Buffer, Buffer]>): string {
  return Array.from(rows, (row) => row.map(String).join('=')).join(' ')
}

/** What a scan of a keyspace finds. */
export function seen(keyspace: { iter(options?: ReadOptions): EntryRange }, options = {}): string {
  return text(keyspace.iter(options).toArraySync())
}

/** What a scan of a tree finds at a seqno. */
export function seenAt(tree: Tree, seqno: number): string {
  return text(tree.iter(seqno).toArraySync())
}

/** One table with these keys of one letter each, all with that value. */
export async function flushed(keyspace: Keyspace, keys: string, value: string): Promise<void> {
  for (const key of keys) keyspace.insertSync(key, value)
  await keyspace.rotateMemtableAndWait()
}

export function tablesOf(tree: { version(): Version }): readonly TableInfo[] {
  return tree.version().levels.flat(2)
}

/** Keys that sort as their numbers do. */
export function numbered(i: number): string {
  return `key ${String(i).padStart(5, '0')}`
}
