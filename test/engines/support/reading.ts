// Everything that can be read of a directory with one engine, as a value: figures, contents, and
// failures key by key.

import { Database, MAX_SEQNO, Tree } from '../../../lib/index.ts'
import type { DatabaseOptions, Engine, Keyspace } from '../../../lib/index.ts'
import { failureOf, outcomeSync, type Failure, type Outcome } from './outcome.ts'

export interface ReadingOptions {
  readonly recovery: NonNullable<DatabaseOptions['recovery']>
  readonly readOnly: boolean
}

/** What opening a directory came to. */
export type Reading =
  | { readonly refused: Failure }
  | { readonly opened: object; readonly reads: readonly Outcome[]; readonly closed: Outcome }

/** Keys that are looked for one by one. */
type Keys = readonly Uint8Array[]

/** With a cache, one engine may need a damaged block that the other has no use for. */
const UNCACHED = { cacheSize: 0 }

export function readDatabase(
  path: string,
  engine: Engine,
  { recovery, readOnly }: ReadingOptions,
  keys: Keys,
): Reading {
  let db: Database
  try {
    const options = { ...UNCACHED, recovery, readOnly, createIfMissing: false }
    db = Database.openSync(path, { ...options, engine })
  } catch (error) {
    return { refused: failureOf(error, path) }
  }
  let keyspaces: readonly Keyspace[]
  try {
    keyspaces = db.listKeyspaceNames().map((name) => db.keyspaceSync(name))
  } catch (error) {
    db.closeSync()
    return { refused: failureOf(error, path) }
  }
  const opened = {
    recovery: db.recovery,
    seqno: db.seqno,
    keyspaces: keyspaces.map((keyspace) => ({
      name: keyspace.name,
      id: keyspace.id,
      options: JSON.stringify(keyspace.options),
      // Otherwise it may be flushed and compacted meanwhile.
      levels: readOnly ? keyspace.version().levels : [],
    })),
  }
  const reads = keyspaces.flatMap((keyspace) => readKeyspace(keyspace, path, keys))
  return { opened, reads, closed: outcomeSync(path, () => db.closeSync()) }
}

function readKeyspace(keyspace: Keyspace, path: string, keys: Keys): Outcome[] {
  return [
    outcomeSync(path, () => keyspace.iter().toArraySync()),
    outcomeSync(path, () => keyspace.iter({ reverse: true }).toArraySync()),
    ...keys.map((key) => outcomeSync(path, () => keyspace.getSync(key))),
  ]
}

/** Of a bare tree. */
export function readTree(path: string, engine: Engine, keys: Keys): Reading {
  let tree: Tree
  try {
    tree = Tree.openSync(path, { ...UNCACHED, engine })
  } catch (error) {
    return { refused: failureOf(error, path) }
  }
  const { gcSeqno, highestSeqno } = tree
  const opened = { gcSeqno, highestSeqno, levels: tree.version().levels }
  const reads = [
    outcomeSync(path, () => tree.iter(MAX_SEQNO).toArraySync()),
    outcomeSync(path, () => tree.iter(MAX_SEQNO, { reverse: true }).toArraySync()),
    ...keys.map((key) => outcomeSync(path, () => tree.getSync(key, MAX_SEQNO))),
  ]
  return { opened, reads, closed: outcomeSync(path, () => tree.closeSync()) }
}
