import { ClassicLevel } from 'classic-level'
import { keyBuffer } from '../data.mjs'

const MIB = 2 ** 20

export async function classicLevel(dir, { durability = 'os', cacheSize = 512 * MIB } = {}) {
  const db = new ClassicLevel(dir, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    cacheSize,
    writeBufferSize: 64 * MIB,
  })
  await db.open()
  const key = keyBuffer()
  const sync = durability === 'sync'
  const own = (i) => Buffer.from(key(i))
  const scan = async (options, visit) => {
    let count = 0
    const iterator = db.iterator(options)
    for (let rows; (rows = await iterator.nextv(1000)).length > 0;) {
      for (const [k, v] of rows) visit(k, v)
      count += rows.length
    }
    await iterator.close()
    return count
  }
  return {
    insert: (i, value) => db.put(own(i), Buffer.from(value), { sync }),
    getSync: (i) => db.getSync(key(i)),
    get: (i) => db.get(own(i)),
    containsSync: (i) => db.getSync(key(i)) !== undefined,
    batch: (numbers, valueOf) =>
      db.batch(
        Array.from(numbers, (i) => ({ type: 'put', key: own(i), value: Buffer.from(valueOf(i)) })),
        { sync },
      ),
    removeMany: (numbers) =>
      db.batch(
        Array.from(numbers, (i) => ({ type: 'del', key: own(i) })),
        { sync },
      ),
    scan: (visit) => scan({}, visit),
    scanFrom: (i, limit) => scan({ gte: own(i), limit }, () => {}),
    scanReverse: (visit) => scan({ reverse: true }, visit),
    prefix: (text, visit) =>
      scan({ gte: Buffer.from(text), lt: Buffer.from(`${text}\u007f`) }, visit),
    settle: () => db.compactRange(Buffer.from('k'), Buffer.from('l')),
    close: () => db.close(),
  }
}
