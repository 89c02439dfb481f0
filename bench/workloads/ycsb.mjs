// The six mixes of YCSB on a million entries, keys drawn from a zipfian distribution (0.99): one
// client, single operations.
//   A half reads, half updates      B 95 % reads, 5 % updates       C reads
//   D 95 % reads of what is new, 5 % inserts                        E 95 % short scans, 5 % inserts
//   F half reads, half read-modify-writes

import { check, randomFrom, SEED, shuffled, valueOf } from '../data.mjs'
import { fill, JOURNALED } from '../levels.mjs'
import { phase } from '../phases.mjs'
import { zipfian } from '../zipfian.mjs'

const SCAN_MAX = 100
const OPERATIONS = 200_000
/** Sets of operations that take longer than a read. */
const FEWER = { E: 20_000 }

export const title = 'YCSB, zipfian keys'
export const engines = JOURNALED
export const sizes = [1_000_000]
export const options = { level: 'database', cacheSize: 64 * 2 ** 20 }
export const slow = { lmdb: { rounds: 1 }, rocksdb: { rounds: 1 }, 'better-sqlite3': { rounds: 1 } }

/** Part of a hundred operations that is not a read of a popular key, and what it is. */
const MIXES = {
  A: { percent: 50, other: 'update' },
  B: { percent: 5, other: 'update' },
  C: { percent: 0, other: 'update' },
  D: { percent: 5, other: 'insert', reads: 'latest' },
  E: { percent: 5, other: 'insert', reads: 'scan' },
  F: { percent: 50, other: 'readModifyWrite' },
}

export async function run({ open, entries }) {
  const store = await open()
  await fill(store, shuffled(entries), valueOf)
  // A popular key may be any of them.
  const scattered = shuffled(entries, 5)
  let count = entries
  const insert = store.insertSync ?? store.insert
  const random = randomFrom(SEED + 11)
  const popular = zipfian(entries, randomFrom(SEED + 12))
  const operations = {
    read: (i) => check(store.getSync(i), i),
    update: (i) => insert(i, valueOf(i)),
    insert: () => insert(count, valueOf(count++)),
    latest: () => {
      const i = count - 1 - popular()
      check(store.getSync(i), i)
    },
    scan: (i) => {
      const wanted = 1 + random(SCAN_MAX)
      const seen = (found) => {
        if (found !== Math.min(wanted, count - i)) throw new Error(`a scan saw ${found}`)
      }
      const found = store.scanFrom(i, wanted)
      return found instanceof Promise ? found.then(seen) : seen(found)
    },
    readModifyWrite: (i) => {
      const value = Buffer.from(store.getSync(i))
      check(value, i)
      value[value.length - 1] ^= 1
      return insert(i, value)
    },
  }
  const rows = {}
  for (const [name, { percent, other, reads = 'read' }] of Object.entries(MIXES)) {
    const order = new Uint32Array(FEWER[name] ?? OPERATIONS)
    const { figures } = await phase(order, () => {
      const i = scattered[popular()]
      return random(100) < percent ? operations[other](i) : operations[reads](i)
    })
    rows[name] = figures
  }
  await store.close()
  return rows
}
