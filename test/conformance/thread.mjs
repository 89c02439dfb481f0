// A thread of threads.test.ts: opens a database and says what it finds, or why it cannot.

import { parentPort, workerData } from 'node:worker_threads'
import { Database } from '../../dist/esm/index.js'

const { path, engine, end } = workerData

/** Ends without a close, with commits that are buffered. */
async function leave() {
  const db = await Database.open(path, { engine })
  const keyspace = await db.keyspace('k')
  for (let i = 0; i < 100; i++) keyspace.insertSync(`key ${i}`, 'v', { durability: 'buffered' })
  if (end === 'exit') process.exit(0)
  if (end === 'throw') throw new Error('nobody catches this')
}
/** Says what it finds, or why it cannot. */
async function read() {
  try {
    const db = await Database.open(path, { engine })
    const keyspace = await db.keyspace('k')
    parentPort.postMessage({ read: await keyspace.getText('key') })
    await db.close()
  } catch (error) {
    parentPort.postMessage({ code: error.code, sameProcess: error.sameProcess })
  }
}

if (end !== undefined) {
  await leave()
} else {
  await read()
}
