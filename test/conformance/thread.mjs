// A thread of threads.test.ts: opens a database and says what it finds, or why it cannot.

import { parentPort, workerData } from 'node:worker_threads'
import { Database } from '../../dist/esm/index.js'

const { path, engine } = workerData
try {
  const db = await Database.open(path, { engine })
  const keyspace = await db.keyspace('k')
  parentPort.postMessage({ read: await keyspace.getText('key') })
  await db.close()
} catch (error) {
  parentPort.postMessage({ code: error.code, sameProcess: error.sameProcess })
}
