// shale at its two levels. The memtable of a bare tree, its tables, and a database with its
// journal.

import { Database, MAX_SEQNO, Tree } from 'shale'
import { keyBuffer } from '../data.mjs'

const MIB = 2 ** 20

/** A bare tree; `options.settled`: everything is flushed and merged before it is read. */
function openTree(dir, { memtable, settled = false, entries }) {
  const tree = Tree.openSync(dir, {
    memtable,
    maxMemtableSize: 4095 * MIB,
    cacheSize: 512 * MIB,
    compression: settled ? ['none', 'none', 'lz4'] : 'none',
  })
  const key = keyBuffer()
  let seqno = 1
  const all = (options) => tree.iter(MAX_SEQNO, options)
  return {
    entries,
    insertSync: (i, value) => tree.insertSync(key(i), value, seqno++),
    removeSync: (i) => tree.removeSync(key(i), seqno++),
    getSync: (i) => tree.getSync(key(i), MAX_SEQNO),
    containsSync: (i) => tree.containsKeySync(key(i), MAX_SEQNO),
    getManySync: (numbers) =>
      tree.getManySync(
        numbers.map((i) => Buffer.from(key(i))),
        MAX_SEQNO,
      ),
    scan: (visit) => visitPairs(all(), visit),
    scanReverse: (visit) => visitPairs(all({ reverse: true }), visit),
    scanVisitor: (visit) => all().forEachSync(visit),
    scanRaw: (visit) => all().forEachRawSync(visit),
    prefix: (text, visit) => visitPairs(tree.prefix(text, MAX_SEQNO), visit),
    /** After loading: what the level under test is. */
    settle: () => {
      if (!settled) return
      tree.flushSync()
      tree.majorCompactionSync()
      if (tree.memtableSize() > MIB) throw new Error('not everything is in tables')
    },
    memoryBytes: () => tree.memtableSize(),
    close: () => tree.closeSync(),
  }
}

function visitPairs(range, visit) {
  let count = 0
  for (const [key, value] of range) {
    visit(key, value)
    count++
  }
  return count
}

export function radix(dir, options) {
  return openTree(dir, { ...options, memtable: 'radix' })
}

export function skiplist(dir, options) {
  return openTree(dir, { ...options, memtable: 'skiplist' })
}

export function tables(dir, options) {
  return openTree(dir, { ...options, memtable: 'auto', settled: true })
}

export function database(dir, { durability = 'os', cacheSize = 512 * MIB } = {}) {
  const db = Database.openSync(dir, { durability, cacheSize })
  const keyspace = db.keyspaceSync('bench')
  const key = keyBuffer()
  const batch = db.batch()
  return {
    insertSync: (i, value) => keyspace.insertSync(key(i), value),
    insert: (i, value) => keyspace.insert(key(i), value),
    getSync: (i) => keyspace.getSync(key(i)),
    get: (i) => keyspace.get(key(i)),
    batch: (numbers, valueOf) => {
      for (const i of numbers) batch.insert(keyspace, key(i), valueOf(i))
      return batch.commit()
    },
    scan: (visit) => visitPairs(keyspace.iter(), visit),
    settle: () => db.compactor.drain(),
    /** Of the cache and, by default, of the memtables. */
    budgetBytes: cacheSize + 256 * MIB,
    /** Figures of the engine for the load. */
    levels: () => ({ level0Runs: keyspace.version().levels[0]?.length ?? 0 }),
    close: () => db.close(),
  }
}
