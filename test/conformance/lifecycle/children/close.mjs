// Closing: with work in flight, twice, at odd moments, and what every method says afterwards.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { LeveledCompaction, MAX_SEQNO } from '../../../../dist/esm/index.js'
import {
  allSettle,
  codeOf,
  failureOf,
  key,
  main,
  openDatabase,
  openDatabaseSync,
  openTree,
  value,
} from '../../../support/scenario.mjs'

const ENDED = ['DB_CLOSED', 'ABORTED']

/** A database whose entries are in tables and in no cache. */
async function openCold(path, entries) {
  const first = await openDatabase(path)
  const filled = await first.keyspace('k')
  for (let i = 0; i < entries; i++) filled.insertSync(key(i), value(i))
  await filled.rotateMemtableAndWait()
  await first.close()
  const db = await openDatabase(path, { cacheSize: 1024 * 1024 })
  return { db, keyspace: await db.keyspace('k', { pinIndex: false, pinFilter: false }) }
}

async function pendingWrites(directory) {
  const path = join(directory, 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k')
  const writes = []
  for (let i = 0; i < 400; i++) {
    writes.push(keyspace.insert(key(i), value(i), { durability: i % 3 === 0 ? 'sync' : 'os' }))
  }
  const large = Buffer.alloc(512 * 1024, 'x')
  for (let i = 400; i < 404; i++) writes.push(keyspace.insert(key(i), large))
  const batch = db.batch().insert(keyspace, key(404), 'in a batch')
  writes.push(batch.commit({ durability: 'sync' }))
  const closed = db.close()
  const late = codeOf(keyspace.insert('late', 'x'))
  const outcomes = await Promise.all(writes.map(codeOf))
  assert.equal(await late, 'DB_CLOSED')
  await closed
  const again = await openDatabase(path)
  const found = await again.keyspace('k')
  outcomes.forEach((code, i) => {
    assert(code === undefined || ENDED.includes(code), `write ${i}: ${code}`)
    if (code === undefined) assert(found.containsKeySync(key(i)), `acknowledged write ${i} is gone`)
  })
  assert.equal(found.getSync('late'), undefined)
  await again.close()
}

async function pendingReads(directory) {
  const entries = 30_000
  const { db, keyspace } = await openCold(join(directory, 'db'), entries)
  const reads = []
  for (let i = 0; i < 500; i++) {
    const at = (i * 7919) % entries
    reads.push(keyspace.get(key(at)).then((found) => assert.equal(String(found), value(at))))
    reads.push(keyspace.sizeOf(key(at)).then((size) => assert.equal(size, 100)))
  }
  reads.push(keyspace.getMany(Array.from({ length: 900 }, (_, i) => key(i * 30))))
  const cursor = keyspace.iter().cursor()
  reads.push(cursor.next())
  reads.push(keyspace.iter({ reverse: true }).toArray())
  reads.push(keyspace.len())
  const closed = db.close()
  let settled = 0
  for (const read of reads) read.catch(() => {}).finally(() => settled++)
  await closed
  await new Promise((resolve) => setImmediate(resolve))
  // Nothing is read any more when close has ended.
  assert.equal(settled, reads.length)
  await allSettle(reads, ENDED)
  assert.equal(await codeOf(cursor.next()), 'DB_CLOSED')
}

async function pendingJobs(directory) {
  const path = join(directory, 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k', { maxMemtableSize: 256 * 1024 })
  for (let i = 0; i < 40_000; i++) keyspace.insertSync(key((i * 7919) % 40_000), value(i))
  const progress = []
  const jobs = [
    keyspace.rotateMemtableAndWait(),
    keyspace.majorCompaction({ onProgress: (p) => progress.push(p) }),
    db.persist(),
    db.compactor.drain(),
    db.compactor.pause(),
    db.keyspace('another'),
  ]
  const closed = db.close()
  await allSettle(jobs, ENDED)
  await closed
  for (const { done, total, unit } of progress) assert(done <= total && unit === 'bytes')
  const again = await openDatabase(path)
  const found = await again.keyspace('k')
  assert.equal(await found.len(), 40_000)
  const controller = new AbortController()
  const stopped = found.majorCompaction({ signal: controller.signal })
  controller.abort()
  assert(['ABORTED', undefined].includes(await codeOf(stopped)))
  assert.equal(await found.len(), 40_000)
  await again.close()
}

async function twice(directory) {
  const path = join(directory, 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k')
  keyspace.insertSync('a', '1')
  const first = db.close()
  assert.equal(db.close(), first)
  assert.equal(db.status, 'closing')
  db.closeSync()
  assert.equal(db.status, 'closed')
  await first
  db.closeSync()
  await db.close()

  const second = openDatabaseSync(path)
  second.closeSync()
  await second.close()
  assert.equal(second.status, 'closed')

  const third = await openDatabase(path)
  assert.equal((await third.keyspace('k')).getTextSync('a'), '1')
  assert.equal(await codeOf(third[Symbol.asyncDispose]()), undefined)
  assert.equal(third.status, 'closed')
  const fourth = openDatabaseSync(path)
  assert.equal(fourth.keyspaceSync('k').getTextSync('a'), '1')
  fourth[Symbol.dispose]()
  assert.equal(fourth.status, 'closed')
  // Opening many at once and closing each as soon as it is there: one core or one after the other.
  const { engine } = fourth
  const openAndClose = async () => (await openDatabase(path, { engine })).close()
  await Promise.all(Array.from({ length: 8 }, openAndClose))
}

/** Two opens of one directory in one environment are two handles on one core. */
async function sharedCore(directory) {
  const path = join(directory, 'db')
  const one = await openDatabase(path)
  const two = await openDatabase(join(directory, '.', 'db'), { engine: one.engine })
  const a = await one.keyspace('k')
  const b = await two.keyspace('k')
  a.insertSync('x', '1')
  assert.equal(b.getTextSync('x'), '1')
  const snapshot = one.snapshot()
  await one.close()
  assert.equal(await codeOf(a.get('x')), 'DB_CLOSED')
  assert.equal(snapshot.closed, true)
  b.insertSync('y', '2')
  assert.equal(await b.getText('y'), '2')
  assert.equal(
    await codeOf(openDatabase(path, { engine: two.engine, cacheSize: 123_456_789 })),
    'DB_LOCKED',
  )
  await two.close()
  const three = await openDatabase(path, { cacheSize: 123_456_789 })
  assert.equal((await three.keyspace('k')).getTextSync('y'), '2')
  await three.close()
}

async function databaseAfterClose(directory) {
  const path = join(directory, 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k')
  keyspace.insertSync('a', '1')
  const snapshot = db.snapshot()
  const batch = db.batch().insert(keyspace, 'b', '2')
  const range = keyspace.iter()
  const iterator = range[Symbol.iterator]()
  iterator.next()
  const cursor = range.cursor()
  await db.close()

  const asyncCalls = {
    keyspace: () => db.keyspace('k'),
    persist: () => db.persist(),
    insert: () => keyspace.insert('a', 'b'),
    remove: () => keyspace.remove('a'),
    removeWeak: () => keyspace.removeWeak('a'),
    get: () => keyspace.get('a'),
    getSnapshot: () => keyspace.get('a', { snapshot }),
    getText: () => keyspace.getText('a'),
    getMany: () => keyspace.getMany(['a']),
    containsKey: () => keyspace.containsKey('a'),
    sizeOf: () => keyspace.sizeOf('a'),
    firstKeyValue: () => keyspace.firstKeyValue(),
    lastKeyValue: () => keyspace.lastKeyValue(),
    len: () => keyspace.len(),
    isEmpty: () => keyspace.isEmpty(),
    rotateMemtableAndWait: () => keyspace.rotateMemtableAndWait(),
    majorCompaction: () => keyspace.majorCompaction(),
    commit: () => batch.commit(),
    toArray: () => range.toArray(),
    next: () => cursor.next(),
    nextBack: () => cursor.nextBack(),
    pause: () => db.compactor.pause(),
    drain: () => db.compactor.drain(),
  }
  const syncCalls = {
    keyspaceSync: () => db.keyspaceSync('k'),
    keyspaceExists: () => db.keyspaceExists('k'),
    keyspaceCount: () => db.keyspaceCount,
    listKeyspaceNames: () => db.listKeyspaceNames(),
    batch: () => db.batch(),
    snapshot: () => db.snapshot(),
    persistSync: () => db.persistSync(),
    seqno: () => db.seqno,
    visibleSeqno: () => db.visibleSeqno,
    diskSpace: () => db.diskSpace(),
    insertSync: () => keyspace.insertSync('a', 'b'),
    removeSync: () => keyspace.removeSync('a'),
    removeWeakSync: () => keyspace.removeWeakSync('a'),
    getSync: () => keyspace.getSync('a'),
    getTextSync: () => keyspace.getTextSync('a'),
    getIntoSync: () => keyspace.getIntoSync('a', Buffer.alloc(8)),
    getManySync: () => keyspace.getManySync(['a']),
    containsKeySync: () => keyspace.containsKeySync('a'),
    sizeOfSync: () => keyspace.sizeOfSync('a'),
    firstKeyValueSync: () => keyspace.firstKeyValueSync(),
    lenSync: () => keyspace.lenSync(),
    isEmptySync: () => keyspace.isEmptySync(),
    approximateLen: () => keyspace.approximateLen(),
    approximateSize: () => keyspace.approximateSize({}),
    diskSpaceOfKeyspace: () => keyspace.diskSpace(),
    rotateMemtable: () => keyspace.rotateMemtable(),
    rotateMemtableAndWaitSync: () => keyspace.rotateMemtableAndWaitSync(),
    majorCompactionSync: () => keyspace.majorCompactionSync(),
    options: () => keyspace.options,
    version: () => keyspace.version(),
    commitSync: () => batch.commitSync(),
    iterate: () => [...range],
    toArraySync: () => range.toArraySync(),
    forEachSync: () => range.forEachSync(() => {}),
    nextSync: () => cursor.nextSync(),
    seek: () => cursor.seek('a'),
    state: () => db.compactor.state,
    jobs: () => db.compactor.jobs(),
    resume: () => db.compactor.resume(),
  }
  for (const [name, call] of Object.entries(asyncCalls)) {
    assert.equal(await failureOf(call, true), 'DB_CLOSED', name)
  }
  for (const [name, call] of Object.entries(syncCalls)) {
    assert.equal(await failureOf(call, false), 'DB_CLOSED', name)
  }
  assert.equal(snapshot.closed, true)
  snapshot.close()
  cursor.close()
  assert.equal(keyspace.name, 'k')
  assert.equal(db.path, path)
}

async function treeAfterClose(directory) {
  const tree = await openTree(join(directory, 'tree'))
  tree.insertSync('a', '1', 1)
  const range = tree.iter(MAX_SEQNO)
  const cursor = range.cursor()
  cursor.nextSync()
  const flushed = tree.flush()
  const closed = tree.close()
  assert([undefined, ...ENDED].includes(await codeOf(flushed)))
  await closed
  const asyncCalls = {
    get: () => tree.get('a', 9),
    getMany: () => tree.getMany(['a'], 9),
    len: () => tree.len(9),
    flush: () => tree.flush(),
    compact: () => tree.compact(new LeveledCompaction()),
    majorCompaction: () => tree.majorCompaction(),
    toArray: () => range.toArray(),
    next: () => cursor.next(),
    drain: () => tree.compactor.drain(),
  }
  const syncCalls = {
    insertSync: () => tree.insertSync('a', 'b', 5),
    removeSync: () => tree.removeSync('a', 5),
    removeWeakSync: () => tree.removeWeakSync('a', 5),
    getSync: () => tree.getSync('a', 9),
    lenSync: () => tree.lenSync(9),
    gcSeqno: () => tree.gcSeqno,
    setGcSeqno: () => tree.setGcSeqno(3),
    memtableSize: () => tree.memtableSize(),
    rotateMemtable: () => tree.rotateMemtable(),
    flushSync: () => tree.flushSync(),
    compactSync: () => tree.compactSync(new LeveledCompaction()),
    majorCompactionSync: () => tree.majorCompactionSync(),
    version: () => tree.version(),
    versionHistory: () => tree.versionHistory(),
    tableCount: () => tree.tableCount(),
    toArraySync: () => range.toArraySync(),
  }
  for (const [name, call] of Object.entries(asyncCalls)) {
    assert.equal(await failureOf(call, true), 'DB_CLOSED', name)
  }
  for (const [name, call] of Object.entries(syncCalls)) {
    assert.equal(await failureOf(call, false), 'DB_CLOSED', name)
  }
  tree.closeSync()
  await tree.close()
}

/** A visitor may close what it visits: the scan goes on over its state. */
async function closeInsideVisitor(directory) {
  const { db, keyspace } = await openCold(join(directory, 'db'), 20_000)
  const closing = []
  let visited = 0
  const total = keyspace.iter().forEachSync((k, v) => {
    assert.equal(k.toString(), key(visited))
    assert.equal(v.length, 100)
    if (visited++ === 10) closing.push(db.close())
  })
  assert.equal(total, 20_000)
  await Promise.all(closing)
}

await main({
  pendingWrites,
  pendingReads,
  pendingJobs,
  twice,
  sharedCore,
  databaseAfterClose,
  treeAfterClose,
  closeInsideVisitor,
})
