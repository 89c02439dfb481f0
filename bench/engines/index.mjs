// Every store that a workload can run on, loaded only in the process that uses it.

const LOADERS = {
  shale: async () => (await import('./shale.mjs')).radix,
  'shale skiplist': async () => (await import('./shale.mjs')).skiplist,
  'shale tables': async () => (await import('./shale.mjs')).tables,
  'shale database': async () => (await import('./shale.mjs')).database,
  'classic-level': async () => (await import('../peers/classic-level.mjs')).classicLevel,
  lmdb: async () => (await import('../peers/lmdb.mjs')).lmdb,
  rocksdb: async () => (await import('../peers/rocksdb.mjs')).rocksdb,
  'better-sqlite3': async () => (await import('../peers/sqlite.mjs')).sqlite,
  'sorted-btree': async () => (await import('../peers/sorted-btree.mjs')).sortedBTree,
}

export async function openEngine(name, dir, options = {}) {
  const open = await LOADERS[name]()
  return open(dir, options)
}
