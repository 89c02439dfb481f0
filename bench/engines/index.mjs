// Every store that a workload can run on, loaded only in the process that uses it.

import { NATIVE, SKIPLIST, TYPESCRIPT } from '../levels.mjs'

const LOADERS = {
  [NATIVE]: async () => (await import('./shale.mjs')).shale({ engine: 'native' }),
  [TYPESCRIPT]: async () => (await import('./shale.mjs')).shale({ engine: 'typescript' }),
  [SKIPLIST]: async () =>
    (await import('./shale.mjs')).shale({ engine: 'native', memtable: 'skiplist' }),
  'classic-level': async () => (await import('../peers/classic-level.mjs')).classicLevel,
  lmdb: async () => (await import('../peers/lmdb.mjs')).lmdb,
  rocksdb: async () => (await import('../peers/rocksdb.mjs')).rocksdb,
  'better-sqlite3': async () => (await import('../peers/sqlite.mjs')).sqlite,
  'sorted-btree': async () => (await import('../peers/sorted-btree.mjs')).sortedBTree,
}

/** Opens the store `name`; `options` are those of the workload. */
export async function openEngine(name, dir, options) {
  const open = await LOADERS[name]()
  return open(dir, options)
}
