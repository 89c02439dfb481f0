// Which stores stand beside shale in which kind of workload, and how they are filled.

/** Both engines of shale, and what only the native one has. */
export const NATIVE = 'shale (native)'
export const TYPESCRIPT = 'shale (typescript)'
export const SKIPLIST = 'shale skiplist (native)'
export const SHALE = [NATIVE, TYPESCRIPT]

export const MEMORY = [...SHALE, SKIPLIST, 'lmdb', 'sorted-btree']
export const MEMORY_ALL = [...MEMORY, 'classic-level', 'better-sqlite3']
export const TABLES = [...SHALE, 'classic-level', 'lmdb']
export const JOURNALED = [...SHALE, 'classic-level', 'lmdb', 'rocksdb', 'better-sqlite3']

/** Fills a store with every number of `order`, by the quickest road it has. */
export async function fill(store, order, valueOf) {
  if (store.load !== undefined) {
    for (let at = 0; at < order.length; at += 10_000) {
      store.load(order.subarray(at, at + 10_000), valueOf)
    }
  } else if (store.insertSync !== undefined) {
    for (const i of order) store.insertSync(i, valueOf(i))
  } else {
    for (let at = 0; at < order.length; at += 1000) {
      await store.batch(order.subarray(at, at + 1000), valueOf)
    }
  }
  await store.settle()
}
