// A thread of user-strategy.test.ts: gives keyspace `k` its strategy and goes on until it is ended.

import { parentPort, workerData } from 'node:worker_threads'
import { Database } from '../../dist/esm/index.js'

const { path, name } = workerData

const db = await Database.open(path, { engine: 'native' })
await db.keyspace('k', {
  compaction: {
    name,
    choose({ levels: [top, below] }) {
      if (top.length < 2) return undefined
      const tables = [...top, ...below].flat().map(({ id }) => id)
      return { kind: 'merge', tables, destinationLevel: 1, targetSize: 2 ** 20 }
    },
  },
})
parentPort.postMessage('given')
parentPort.on('message', () => {
  db.closeSync()
  parentPort.postMessage('closed')
})
