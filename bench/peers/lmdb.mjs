import { open } from 'lmdb'
import { keyBuffer } from '../data.mjs'

/** Without sync unless asked for: the fairest form beside a memtable and an 'os' journal. */
export function lmdb(dir, { durability = 'os' } = {}) {
  const db = open({
    path: dir,
    keyEncoding: 'binary',
    encoding: 'binary',
    noSync: durability !== 'sync',
    overlappingSync: false,
    compression: false,
  })
  const key = keyBuffer()
  const scan = (range, visit) => {
    let count = 0
    for (const { key: k, value } of range) {
      visit(k, value)
      count++
    }
    return count
  }
  return {
    insertSync: (i, value) => db.putSync(key(i), value),
    insert: (i, value) => db.put(Buffer.from(key(i)), Buffer.from(value)),
    removeSync: (i) => db.removeSync(key(i)),
    getSync: (i) => db.getBinary(key(i)),
    get: async (i) => db.getBinary(key(i)),
    containsSync: (i) => db.doesExist(key(i)),
    batch: (numbers, valueOf) =>
      db.transaction(() => {
        for (const i of numbers) void db.put(key(i), valueOf(i))
      }),
    load: (numbers, valueOf) =>
      db.transactionSync(() => {
        for (const i of numbers) db.putSync(key(i), valueOf(i))
      }),
    scan: (visit) => scan(db.getRange(), visit),
    scanFrom: (i, limit) => scan(db.getRange({ start: Buffer.from(key(i)), limit }), () => {}),
    scanReverse: (visit) => scan(db.getRange({ reverse: true }), visit),
    prefix: (text, visit) =>
      scan(db.getRange({ start: Buffer.from(text), end: Buffer.from(`${text}\u007f`) }), visit),
    settle: () => {},
    close: () => db.close(),
  }
}
