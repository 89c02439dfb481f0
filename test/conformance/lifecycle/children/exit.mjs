// The end of the process: by itself, by process.exit, by an error, with everything open.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { key, main, openDatabase, openTree, value } from '../../../support/scenario.mjs'

async function open(directory) {
  const db = await openDatabase(join(directory, 'db'))
  const keyspace = await db.keyspace('k', { maxMemtableSize: 64 * 1024 })
  for (let i = 0; i < 1000; i++) keyspace.insertSync(key(i), value(i))
  return { db, keyspace }
}

/** Calls of every kind whose answers never come. */
function leavePending(db, keyspace) {
  for (let i = 0; i < 100; i++) {
    void keyspace.insert(`late ${i}`, value(i, 20_000), { durability: 'sync' })
    void keyspace.get(key(i))
  }
  void keyspace.iter()[Symbol.asyncIterator]().next()
  void keyspace.rotateMemtableAndWait()
  void keyspace.majorCompaction()
  void db.keyspace('late')
}

/** A hundred buffered commits, and one more in the last listener of all. */
async function writeBuffered(directory) {
  const db = await openDatabase(join(directory, 'db'))
  const keyspace = await db.keyspace('k')
  const insert = (i) => keyspace.insertSync(key(i), value(i), { durability: 'buffered' })
  for (let i = 0; i < 100; i++) insert(i)
  process.on('exit', () => {
    insert(100)
    console.log('leaving')
  })
  return db
}

await main({
  /** Nothing pending: the process ends although database, iterator, snapshot and tree are open. */
  async idle(directory) {
    const { db, keyspace } = await open(directory)
    globalThis.kept = [
      db,
      db.snapshot(),
      keyspace.iter().cursor(),
      await openTree(join(directory, 'tree')),
    ]
  },

  /** A pending call keeps the process: what follows its answer runs. */
  async pendingKeeps(directory) {
    const { keyspace } = await open(directory)
    void (async () => {
      for (let i = 0; i < 20; i++) await keyspace.insert(key(i), 'x', { durability: 'sync' })
      await keyspace.rotateMemtableAndWait()
      console.log('answered')
    })()
  },

  /** So do reads that wait for the disk, or pass over much. */
  async pendingReadsKeep(directory) {
    const { db, keyspace } = await open(directory)
    const other = await db.keyspace('other')
    other.insertSync('big', Buffer.alloc(8 * 2 ** 20, 'v'))
    await other.rotateMemtableAndWait()
    for (let i = 0; i < 40_000; i++) other.removeSync(key(i))
    await db.close()
    const again = await openDatabase(join(directory, 'db'))
    const found = await again.keyspace('other')
    void (async () => {
      assert.equal((await found.get('big')).length, 8 * 2 ** 20)
      assert.equal((await found.getMany(['big', 'none']))[0].length, 8 * 2 ** 20)
      let rows = 0
      for await (const row of found.iter()) rows += row.length / 2
      assert.equal(rows, 1)
      console.log('answered')
    })()
    void keyspace
  },

  async exitOpen(directory) {
    await open(directory)
    console.log('leaving')
    process.exit(7)
  },

  async exitPending(directory) {
    const { db, keyspace } = await open(directory)
    leavePending(db, keyspace)
    console.log('leaving')
    process.exit(7)
  },

  async exitInCallback(directory) {
    const { db, keyspace } = await open(directory)
    leavePending(db, keyspace)
    await keyspace.insert('a', 'b', { durability: 'sync' })
    console.log('leaving')
    process.exit(7)
  },

  async exitInVisitor(directory) {
    const { keyspace } = await open(directory)
    keyspace.iter().forEachSync(() => {
      console.log('leaving')
      process.exit(7)
    })
  },

  async exitWhileClosing(directory) {
    const { db } = await open(directory)
    void db.close()
    console.log('leaving')
    process.exit(7)
  },

  /** In the handler of the exit event sync calls still work. */
  async closeAtExit(directory) {
    const { db, keyspace } = await open(directory)
    process.on('exit', () => {
      keyspace.insertSync('at exit', 'written')
      db.closeSync()
      console.log('leaving')
    })
    process.exit(7)
  },

  async uncaught(directory) {
    const { db, keyspace } = await open(directory)
    leavePending(db, keyspace)
    console.log('leaving')
    setImmediate(() => {
      throw new Error('nobody catches this')
    })
  },

  async bufferedExit(directory) {
    await writeBuffered(directory)
    process.exit(7)
  },

  async bufferedClosing(directory) {
    const db = await openDatabase(join(directory, 'db'))
    const keyspace = await db.keyspace('k')
    for (let i = 0; i <= 100; i++) keyspace.insertSync(key(i), value(i), { durability: 'buffered' })
    console.log('leaving')
    void db.close()
    process.exit(7)
  },

  async bufferedUncaught(directory) {
    await writeBuffered(directory)
    setImmediate(() => {
      throw new Error('nobody catches this')
    })
  },

  /** The database is open in a worker alone. */
  async bufferedWorker(directory) {
    if (isMainThread) {
      const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) })
      await new Promise((resolve) => worker.once('message', resolve))
      console.log('leaving')
      process.exit(7)
    }
    const db = await openDatabase(join(directory, 'db'))
    const keyspace = await db.keyspace('k')
    for (let i = 0; i <= 100; i++) keyspace.insertSync(key(i), value(i), { durability: 'buffered' })
    parentPort.postMessage('written')
    setInterval(() => {}, 1000)
    await new Promise(() => {})
  },

  async bufferedEnd(directory) {
    await writeBuffered(directory)
  },

  async checkBuffered(directory) {
    const db = await openDatabase(join(directory, 'db'))
    const keyspace = await db.keyspace('k')
    assert.equal(await keyspace.len(), 101)
    assert.equal(keyspace.getTextSync(key(100)), value(100))
    await db.close()
  },

  /** As after a kill: the first ones, however many. */
  async checkPrefix(directory) {
    const db = await openDatabase(join(directory, 'db'))
    const keyspace = await db.keyspace('k')
    const found = Array.from(keyspace.iter().keys(), String)
    assert.deepEqual(
      found,
      found.map((_, i) => key(i)),
    )
    await db.close()
  },

  /** What was written before such an end is there. */
  async check(directory) {
    const { db, keyspace } = await open(directory)
    assert.equal(keyspace.getTextSync(key(999)), value(999))
    assert.equal(db.status, 'open')
    await db.close()
  },
})
