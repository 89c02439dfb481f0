import Database from 'better-sqlite3'
import { join } from 'node:path'
import { keyBuffer } from '../data.mjs'

export function sqlite(dir, { durability = 'os' } = {}) {
  const db = new Database(join(dir, '..', `${Date.now()}-sqlite.db`))
  db.pragma('journal_mode = WAL')
  db.pragma(`synchronous = ${durability === 'sync' ? 'FULL' : 'OFF'}`)
  db.exec('CREATE TABLE kv (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID')
  const put = db.prepare('INSERT OR REPLACE INTO kv VALUES (?, ?)')
  const one = db.prepare('SELECT v FROM kv WHERE k = ?').pluck()
  const remove = db.prepare('DELETE FROM kv WHERE k = ?')
  const exists = db.prepare('SELECT 1 FROM kv WHERE k = ?').pluck()
  const between = db.prepare('SELECT k, v FROM kv WHERE k >= ? AND k < ? ORDER BY k').raw()
  const from = db.prepare('SELECT k, v FROM kv WHERE k >= ? ORDER BY k LIMIT ?').raw()
  const key = keyBuffer()
  const many = db.transaction((numbers, valueOf) => {
    for (const i of numbers) put.run(key(i), valueOf(i))
  })
  const scan = (low, high, visit) => {
    let count = 0
    for (const [k, v] of between.iterate(Buffer.from(low), Buffer.from(high))) {
      visit(k, v)
      count++
    }
    return count
  }
  return {
    insertSync: (i, value) => put.run(key(i), value),
    insert: async (i, value) => put.run(key(i), value),
    removeSync: (i) => remove.run(key(i)),
    getSync: (i) => one.get(key(i)),
    get: async (i) => one.get(key(i)),
    containsSync: (i) => exists.get(key(i)) === 1,
    batch: async (numbers, valueOf) => many(numbers, valueOf),
    load: many,
    scan: (visit) => scan('k', 'l', visit),
    scanFrom: (i, limit) => from.all(key(i), limit).length,
    prefix: (text, visit) => scan(text, `${text}\u007f`, visit),
    settle: () => {},
    close: () => db.close(),
  }
}
