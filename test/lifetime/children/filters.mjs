// Compaction filters of environments that come and go, and what a filter does to the thread and the
// process that gave it.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Database, LeveledCompaction, SizeTieredCompaction, Tree } from '../../../dist/esm/index.js'
import { codeOf, collectUntil, key, main } from '../../support/scenario.mjs'

const script = new URL('filter-worker.mjs', import.meta.url)
/** Nothing is compacted or moved unless it is asked for. */
const PATIENT = new SizeTieredCompaction({ minRuns: 64 })
/** A table that meets an older one is merged with it at once. */
const EAGER = new LeveledCompaction({ l0Threshold: 1 })

/** One table. */
async function fill(keyspace, count = 10) {
  for (let i = 0; i < count; i++) keyspace.insertSync(key(i), 'v')
  await keyspace.rotateMemtableAndWait()
}

/** A worker that has the database open, with a filter. */
async function start(workerData) {
  const worker = new Worker(script, { workerData })
  worker.asked = new Promise((resolve) => {
    worker.on('message', (message) => {
      if (message === 'asked') resolve()
    })
  })
  worker.ended = once(worker, 'exit')
  for (let message; message !== 'open';) [message] = await once(worker, 'message')
  return worker
}

const removing = { name: 'removes', filter: (entries) => entries.map(() => 'remove') }

async function workerGoes(directory, how) {
  const path = join(directory, 'db')
  const plain = await Database.open(path)
  const keyspace = await plain.keyspace('k', { compaction: PATIENT })
  await fill(keyspace)
  const worker = await start({ path, answer: 'never', ending: how })
  // Its filter is the first; the next one is ours.
  const db = await Database.open(path, { compactionFilters: () => removing })
  const waits = codeOf(keyspace.majorCompaction())
  await worker.asked
  if (how.startsWith('terminated')) await worker.terminate()
  const before = Date.now()
  assert.equal(await waits, 'ABORTED')
  assert(Date.now() - before < 8000, 'it waited for as long as a filter may take')
  if (how === 'closes') worker.postMessage('end')
  await worker.ended
  assert.equal(keyspace.lenSync(), 10)
  assert.equal(db.status, 'open')
  await keyspace.majorCompaction()
  assert.equal(keyspace.lenSync(), 0)
  await db.close()
  await plain.close()
}

async function answersAnotherThread(directory) {
  const path = join(directory, 'db')
  const db = await Database.open(path)
  const keyspace = await db.keyspace('k', { compaction: PATIENT })
  await fill(keyspace, 1000)
  const worker = await start({ path, answer: 'remove', ending: 'answers' })
  keyspace.majorCompactionSync()
  assert.equal(keyspace.lenSync(), 0)
  worker.postMessage('end')
  await worker.ended
  await db.close()
}

async function servedMeanwhile(directory) {
  const asked = []
  const compactionFilters = (name) => ({
    name,
    filter: (entries) => {
      asked.push(name)
      if (name === 'busy') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100)
      return entries.map(() => 'keep')
    },
  })
  const db = await Database.open(join(directory, 'db'), { compactionFilters, workerThreads: 2 })
  const busy = await db.keyspace('busy', { compaction: PATIENT })
  const calm = await db.keyspace('calm', { compaction: EAGER })
  for (let i = 0; i < 2000; i++) busy.insertSync(key(i), 'v')
  busy.rotateMemtableAndWaitSync()
  for (const value of ['1', '2']) {
    calm.insertSync('a', value)
    calm.rotateMemtableAndWaitSync()
  }
  // The event loop has had no turn since.
  busy.majorCompactionSync()
  assert(asked.indexOf('calm') < asked.lastIndexOf('busy'), String(asked))
  assert(asked.includes('calm'), String(asked))
  await db.close()
}

async function closesDatabase(directory) {
  const path = join(directory, 'db')
  const opened = {}
  const closing = {
    name: 'closes',
    filter: (entries) => {
      opened.db.closeSync()
      return entries.map(() => 'remove')
    },
  }
  const db = await Database.open(path, { compactionFilters: () => closing })
  opened.db = db
  const keyspace = await db.keyspace('k', { compaction: PATIENT })
  await fill(keyspace)
  assert.throws(() => keyspace.majorCompactionSync(), { code: 'ABORTED' })
  assert.equal(db.status, 'closed')
  const again = await Database.open(path)
  assert.equal((await again.keyspace('k')).lenSync(), 10)
  await again.close()
}

async function closesTree(directory) {
  for (const form of ['majorCompactionSync', 'compactSync']) {
    const path = join(directory, form)
    const opened = {}
    const compactionFilter = {
      name: 'closes',
      filter: (entries) => {
        opened.tree.closeSync()
        return entries.map(() => 'remove')
      },
    }
    const tree = await Tree.open(path, { compactionFilter, compaction: PATIENT })
    opened.tree = tree
    tree.insertSync('a', 'v', 1)
    tree.flushSync()
    const { id } = tree.version().levels[0].flat()[0]
    const plan = { kind: 'merge', tables: [id], destinationLevel: 2, targetSize: 4096 }
    const argument = form === 'compactSync' ? plan : undefined
    assert.throws(() => tree[form](argument), { code: 'ABORTED' })
    const again = await Tree.open(path)
    assert.equal(again.getTextSync('a', 9), 'v')
    await again.close()
  }
}

/** A compaction of the background waits for a promise that nobody settles. */
async function asksInBackground(directory, filter) {
  const path = join(directory, 'db')
  const compactionFilters = () => ({ name: 'asked', filter })
  const db = await Database.open(path, { compactionFilters })
  const keyspace = await db.keyspace('k', { compaction: EAGER })
  await fill(keyspace)
  await fill(keyspace)
  return db
}

async function keepsNothingAlive(directory) {
  let told
  const asked = new Promise((resolve) => (told = resolve))
  const timer = setTimeout(() => {}, 60_000)
  await asksInBackground(directory, () => {
    told()
    return new Promise(() => {})
  })
  await asked
  clearTimeout(timer)
  const started = Date.now()
  process.on('exit', () => assert(Date.now() - started < 8000, 'the process was kept alive'))
}

async function exitsInside(directory) {
  const timer = setTimeout(() => {}, 60_000)
  process.on('exit', () => console.log('done'))
  await asksInBackground(directory, () => process.exit(0))
  await new Promise(() => {})
  clearTimeout(timer)
}

async function collected(directory) {
  let gone = 0
  const registry = new FinalizationRegistry(() => gone++)
  const path = join(directory, 'db')
  await (async () => {
    const held = {}
    const filter = {
      name: 'refers',
      filter: (entries) => entries.map(() => (held.db.status === 'open' ? 'keep' : 'remove')),
    }
    held.db = await Database.open(path, { compactionFilters: () => filter })
    const keyspace = await held.db.keyspace('k', { compaction: PATIENT })
    await fill(keyspace)
    await keyspace.majorCompaction()
    registry.register(held.db, undefined)
    registry.register(filter, undefined)
  })()
  await collectUntil(() => gone === 2)
  // Its core is closing. With other options this is another one.
  let again
  await collectUntil(async () => {
    try {
      again = await Database.open(path, { cacheSize: 77_777_777 })
    } catch (error) {
      assert.equal(error.code, 'DB_LOCKED')
    }
    return again !== undefined
  })
  assert.equal((await again.keyspace('k')).lenSync(), 10)
  await again.close()
}

await main({
  workerGoes,
  answersAnotherThread,
  servedMeanwhile,
  closesDatabase,
  closesTree,
  keepsNothingAlive,
  exitsInside,
  collected,
})
