// Which stores stand beside shale in which kind of workload.

export const MEMORY = ['shale', 'shale skiplist', 'lmdb', 'sorted-btree']
export const MEMORY_ALL = [...MEMORY, 'classic-level', 'better-sqlite3']
export const TABLES = ['shale tables', 'classic-level', 'lmdb']
export const JOURNALED = ['shale database', 'classic-level', 'lmdb', 'rocksdb', 'better-sqlite3']

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
