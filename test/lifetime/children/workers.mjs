// Several environments on one core: workers that come and go, in every way a worker can go.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { key, main, value } from '../../support/scenario.mjs'

const script = new URL('worker.mjs', import.meta.url)

/** The library, loaded only where a scenario wants it in the main thread. */
const load = () => import('../../../dist/esm/index.js')

function start(workerData, settings = {}) {
  const worker = new Worker(script, { workerData, ...settings })
  worker.acknowledged = -1
  worker.on('message', (message) => {
    if (message.acknowledged !== undefined) worker.acknowledged = message.acknowledged
  })
  worker.failed = new Promise((resolve) => worker.once('error', resolve))
  worker.ended = new Promise((resolve) => worker.once('exit', resolve))
  return worker
}

async function verify(path, acknowledged) {
  const { Database } = await load()
  const db = await Database.open(path)
  const keyspace = await db.keyspace('k')
  for (const [id, last] of acknowledged) {
    for (let i = 0; i <= last; i++) {
      assert.equal(keyspace.getTextSync(`${id}/${key(i)}`), value(i), `worker ${id}, commit ${i}`)
      assert.equal(keyspace.getTextSync(`${id}/sync/${key(i)}`), value(i))
    }
  }
  keyspace.insertSync('still', 'writable')
  await db.close()
}

const ENDINGS = {
  return: 0,
  returnPending: 0,
  throw: 1,
  exit: 3,
  exitInCallback: 3,
  exitInVisitor: 3,
  exitWhileClosing: 3,
  terminated: 1,
  terminatedInLoop: 1,
}

/** One worker ends that way while two others, and the main thread, go on committing. */
async function ending(directory, how) {
  const { Database } = await load()
  const path = join(directory, 'db')
  const db = await Database.open(path)
  const keyspace = await db.keyspace('k')
  const others = [1, 2].map((id) => start({ path, id, ending: 'close', writes: 1500 }))
  const leaving = start({ path, id: 0, ending: how, writes: 200 })
  const state = { running: true }
  const committing = (async () => {
    for (let i = 0; state.running; i++) await keyspace.insert(`main/${i}`, value(i))
  })()
  if (how === 'terminated') {
    while (leaving.acknowledged < 250) await once(leaving, 'message')
    await leaving.terminate()
  } else if (how === 'terminatedInLoop') {
    for (let message; message !== 'looping';) [message] = await once(leaving, 'message')
    await leaving.terminate()
  }
  assert.equal(await leaving.ended, ENDINGS[how])
  if (how === 'throw') assert.match((await leaving.failed).message, /the worker throws/)
  for (const other of others) assert.equal(await other.ended, 0)
  state.running = false
  await committing
  await db.close()
  await verify(path, [[0, leaving.acknowledged], ...others.map((o, i) => [i + 1, 1499])])
}

/** The addon is loaded by a worker only, and goes with it. */
async function workerOnly(directory, how) {
  const path = join(directory, 'db')
  for (let round = 0; round < 3; round++) {
    const worker = start({ path, id: round, ending: how, writes: 50 })
    assert.equal(await worker.ended, ENDINGS[how])
  }
  await verify(
    path,
    [0, 1, 2].map((id) => [id, 49]),
  )
}

/** Eight environments share one core: each sees what all wrote. */
async function many(directory) {
  const path = join(directory, 'db')
  const workers = Array.from({ length: 8 }, (_, id) =>
    start({ path, id, ending: 'close', writes: 200 }),
  )
  for (const worker of workers) assert.equal(await worker.ended, 0)
  await verify(
    path,
    workers.map((_, id) => [id, 199]),
  )
}

/** Ended at every stage of opening and closing. */
async function terminatedEarly(directory) {
  const path = join(directory, 'db')
  for (let round = 0; round < 12; round++) {
    const worker = start({ path, id: round, ending: 'exitWhileClosing', writes: round % 3 })
    if (round % 4 === 0) await once(worker, 'online')
    if (round % 4 === 1) await once(worker, 'message')
    if (round % 4 !== 3) await worker.terminate()
    await worker.ended
  }
  await verify(path, [])
}

/** A tree in a worker that exits with flush and compaction running. */
async function tree(directory) {
  const path = join(directory, 'db')
  const worker = start({ path, id: 1, ending: 'tree', writes: 10 })
  assert.equal(await worker.ended, 3)
  const { Tree } = await load()
  const opened = await Tree.open(`${path}-tree-1`)
  assert([0, 2000].includes(opened.lenSync(Number.MAX_SAFE_INTEGER)))
  await opened.close()
}

/** Other options than those that the core of this process was opened with. */
async function otherOptions(directory) {
  const { Database } = await load()
  const path = join(directory, 'db')
  const db = await Database.open(path)
  const worker = start({ path, id: 1, ending: 'close', options: { cacheSize: 77_777_777 } })
  const error = await worker.failed
  assert.equal(error.code, 'DB_LOCKED')
  assert.equal(error.sameProcess, true)
  assert.equal(await worker.ended, 1)
  await db.close()
}

/** Two copies of the addon in one process: the second one finds the directory locked. */
async function twoCopies(directory) {
  const { Database } = await load()
  const { loadAddon } = await import('../../../dist/cjs/native/binding.js')
  const require = createRequire(import.meta.url)
  const file = Object.keys(require.cache).find((name) => name.endsWith('.node'))
  assert.equal(require(file), loadAddon())
  const copy = join(directory, 'copy.node')
  copyFileSync(file, copy)
  const path = join(directory, 'db')
  const db = await Database.open(path)
  const keyspace = await db.keyspace('k')
  await keyspace.insert('a', '1')
  const env = { ...process.env, SHALE_ADDON: copy }
  const refused = start({ path, id: 1, ending: 'close' }, { env })
  const error = await refused.failed
  assert.equal(error.code, 'DB_LOCKED')
  assert.equal(error.pid, process.pid)
  await refused.ended
  assert.equal(keyspace.getTextSync('a'), '1')
  await db.close()
  const later = start({ path, id: 1, ending: 'close', writes: 5 }, { env })
  assert.equal(await later.ended, 0)
  await verify(path, [[1, 4]])
}

/** Two copies of the library that load one addon share one core. */
async function twoLibraries(directory) {
  const require = createRequire(import.meta.url)
  const first = await load()
  for (const name of Object.keys(require.cache)) {
    if (!name.endsWith('.node')) delete require.cache[name]
  }
  const second = require('../../../dist/cjs/index.js')
  assert.notEqual(first.Database, second.Database)
  const path = join(directory, 'db')
  const one = await first.Database.open(path)
  const two = await second.Database.open(path)
  const a = await one.keyspace('k')
  const b = await two.keyspace('k')
  for (let i = 0; i < 2000; i++) {
    a.insertSync(key(i), value(i))
    assert.equal(b.getTextSync(key(i)), value(i))
    await b.insert(`b${i}`, value(i))
    assert.equal(String(await a.get(`b${i}`)), value(i))
  }
  await one.close()
  assert.equal(b.lenSync(), 4000)
  await two.close()
}

await main({
  ending,
  workerOnly,
  many,
  terminatedEarly,
  tree,
  otherOptions,
  twoCopies,
  twoLibraries,
})
