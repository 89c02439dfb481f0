// shale at its two levels: a bare tree, in memory or in tables, and a database with its journal.

import { Database, MAX_SEQNO, Tree } from 'shale'
import { keyBuffer } from '../data.mjs'

const MIB = 2 ** 20

/** How one form of shale opens what the `level` of a workload says. */
export function shale(form) {
  return (dir, options) => OPENERS[options.level](dir, { ...form, ...options })
}

const OPENERS = {
  memtable: openTree,
  tables: (dir, options) => openTree(dir, { ...options, settled: true }),
  database: openDatabase,
}

/** `settled`: everything is flushed and merged before it is read. */
function openTree(dir, { engine, memtable = 'auto', settled = false }) {
  const tree = Tree.openSync(dir, {
    engine,
    memtable,
    maxMemtableSize: 4095 * MIB,
    cacheSize: 512 * MIB,
    compression: settled ? ['none', 'none', 'lz4'] : 'none',
  })
  const key = keyBuffer()
  let seqno = 1
  const all = (options) => tree.iter(MAX_SEQNO, options)
  return {
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

function openDatabase(dir, { engine, durability = 'os', cacheSize = 512 * MIB, kvSeparation }) {
  const db = Database.openSync(dir, { engine, durability, cacheSize })
  const keyspace = db.keyspaceSync('bench', kvSeparation && { kvSeparation })
  const key = keyBuffer()
  const batch = db.batch()
  return {
    insertSync: (i, value) => keyspace.insertSync(key(i), value),
    insert: (i, value) => keyspace.insert(key(i), value),
    removeSync: (i) => keyspace.removeSync(key(i)),
    getSync: (i) => keyspace.getSync(key(i)),
    get: (i) => keyspace.get(key(i)),
    batch: (numbers, valueOf) => {
      for (const i of numbers) batch.insert(keyspace, key(i), valueOf(i))
      return batch.commit()
    },
    ingest: async (numbers, valueOf) => {
      const ingestion = await keyspace.startIngestion()
      for (const i of numbers) ingestion.write(key(i), valueOf(i))
      return ingestion.finish()
    },
    scan: (visit) => visitPairs(keyspace.iter(), visit),
    /** As pairs, from key i on. */
    scanFrom: (i, limit) => visitPairs(keyspace.range({ gte: key(i), limit }), () => {}),
    keys: () => {
      let count = 0
      for (const _ of keyspace.iter().keys()) count++
      return count
    },
    snapshot: () => {
      const snapshot = db.snapshot()
      return {
        getSync: (bytes) => keyspace.getSync(bytes, { snapshot }),
        close: () => snapshot.close(),
      }
    },
    memtableBytes: () => db.writeBufferSize,
    flush: () => keyspace.rotateMemtableAndWait(),
    settle: () => db.compactor.drain(),
    /** Of the cache and, by default, of the memtables. */
    budgetBytes: cacheSize + 256 * MIB,
    levels: () =>
      keyspace.version().levels.map((runs) => ({
        runs: runs.length,
        bytes: runs.flat().reduce((sum, { size }) => sum + size, 0),
      })),
    close: () => db.close(),
  }
}
