import { RocksLevel } from '@nxtedition/rocksdb'
import { keyBuffer } from '../data.mjs'

/** The fastest RocksDB binding that installs from the registry. */
export async function rocksdb(dir, { durability = 'os', cacheSize = 512 * 2 ** 20 } = {}) {
  const db = new RocksLevel(dir, { keyEncoding: 'buffer', valueEncoding: 'buffer', cacheSize })
  await db.open()
  const key = keyBuffer()
  const sync = durability === 'sync'
  return {
    insertSync: (i, value) => {
      const batch = db.batch()
      batch.put(Buffer.from(key(i)), Buffer.from(value))
      batch.writeSync({ sync })
    },
    insert: (i, value) => db.put(Buffer.from(key(i)), Buffer.from(value), { sync }),
    get: (i) => db.get(Buffer.from(key(i))),
    batch: (numbers, valueOf) =>
      db.batch(
        Array.from(numbers, (i) => ({
          type: 'put',
          key: Buffer.from(key(i)),
          value: Buffer.from(valueOf(i)),
        })),
        { sync },
      ),
    settle: () => {},
    close: () => db.close(),
  }
}
