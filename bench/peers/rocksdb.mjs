// Single synchronous calls have no public form here.
/* oxlint-disable no-underscore-dangle */

import { RocksLevel } from '@nxtedition/rocksdb'
import { keyBuffer } from '../data.mjs'

/**
 * The fastest RocksDB binding that installs from the registry. Its batches write on the calling
 * thread; `put` drops its options, so that single writes are batches of one.
 */
export async function rocksdb(dir, { durability = 'os', cacheSize = 512 * 2 ** 20 } = {}) {
  const db = new RocksLevel(dir, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    cacheSize,
    walCompression: false,
  })
  await db.open()
  const key = keyBuffer()
  const options = { sync: durability === 'sync' }
  const entry = (i, value) => ({
    type: 'put',
    key: Buffer.from(key(i)),
    value: Buffer.from(value),
  })
  const one = db.batch()
  const reads = {}
  return {
    insertSync: (i, value) => {
      one._put(key(i), value)
      one._writeSync(options)
      one._clear()
    },
    insert: (i, value) => db.batch([entry(i, value)], options),
    removeSync: (i) => {
      one._del(key(i))
      one._writeSync(options)
      one._clear()
    },
    getSync: (i) => db._getManySync([key(i)], reads)[0],
    get: (i) => db.get(Buffer.from(key(i))),
    batch: (numbers, valueOf) =>
      db.batch(
        Array.from(numbers, (i) => entry(i, valueOf(i))),
        options,
      ),
    scanFrom: async (i, limit) => {
      const iterator = db.iterator({ gte: Buffer.from(key(i)), limit })
      const rows = await iterator.all()
      return rows.length
    },
    settle: () => {},
    close: async () => {
      await one.close()
      await db.close()
    },
  }
}
