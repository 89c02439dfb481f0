// Listeners in a process of their own. Run with --expose-gc.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Database } from '../../dist/esm/index.js'
import { collectUntil, main, openDatabase } from '../support/scenario.mjs'

async function until(isTrue) {
  for (let left = 2000; !isTrue(); left--) {
    assert(left > 0, 'it does not come')
    await setTimeout(5)
  }
}

async function flush(keyspace) {
  keyspace.insertSync('k', 'v')
  await keyspace.rotateMemtableAndWait()
}

async function throwing(directory) {
  const db = await openDatabase(join(directory, 'db'))
  const keyspace = await db.keyspace('k')
  const uncaught = []
  process.on('uncaughtException', (error) => uncaught.push(error))
  let told = 0
  db.on('flush', () => {
    throw new Error('of a listener')
  })
  db.on('flush', () => told++)
  for (let i = 1; i <= 3; i++) {
    await flush(keyspace)
    await until(() => told === i && uncaught.length === i)
  }
  for (const error of uncaught) assert.equal(error.message, 'of a listener')
  assert.equal(db.status, 'open')
  await db.close()
}

/** Ends by itself, although it listens and never closes. */
async function idle(directory) {
  const db = await openDatabase(join(directory, 'db'))
  const keyspace = await db.keyspace('k')
  let told = 0
  db.on('flush', () => told++).on('status', () => {})
  await flush(keyspace)
  await until(() => told === 1)
}

/** Other options than before are refused while the core of this process is open. */
const OTHER = { cacheSize: 77_777_777 }

async function dropped(directory) {
  const path = join(directory, 'db')
  const use = async () => {
    const db = await openDatabase(path)
    const keyspace = await db.keyspace('k')
    let told = 0
    db.on('flush', () => {
      assert.equal(db.status, 'open')
      told++
    })
    await flush(keyspace)
    await until(() => told === 1)
  }
  await use()
  await collectUntil(async () => {
    try {
      await (await openDatabase(path, OTHER)).close()
      return true
    } catch (error) {
      assert.equal(error.code, 'DB_LOCKED')
      return false
    }
  })
  // As long as anything of it is in use, listeners are told.
  let told = 0
  const keyspace = await openDatabase(path).then((db) => {
    db.on('flush', () => told++)
    return db.keyspace('k')
  })
  for (let round = 1; round <= 3; round++) {
    globalThis.gc()
    await setTimeout(5)
    await flush(keyspace)
    await until(() => told === round)
  }
}

async function threads(directory) {
  const path = join(directory, 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k')
  const workers = Array.from({ length: 2 }, () => {
    return new Worker(new URL(import.meta.url), { workerData: { path } })
  })
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  let told = 0
  db.on('flush', () => told++)
  const heard = workers.map((worker) => once(worker, 'message'))
  await flush(keyspace)
  for (const [message] of await Promise.all(heard)) {
    assert.equal(message.keyspace, 'k')
    assert.equal(message.tables, 1)
  }
  await until(() => told === 1)
  // One of them ends without a word; the others go on.
  await workers[0].terminate()
  const again = once(workers[1], 'message')
  await flush(keyspace)
  await again
  await until(() => told === 2)
  workers[1].postMessage('close')
  await once(workers[1], 'exit')
  await flush(keyspace)
  await until(() => told === 3)
  await db.close()
}

if (isMainThread) {
  await main({ throwing, idle, dropped, threads })
} else {
  const db = await Database.open(workerData.path, { engine: 'native' })
  db.on('flush', (payload) => parentPort.postMessage(payload))
  parentPort.once('message', () => void db.close())
  parentPort.postMessage('ready')
}
