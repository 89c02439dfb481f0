// A worker thread of filters.mjs: opens the database with a filter, and ends as it was told.

import { parentPort, workerData } from 'node:worker_threads'
import { Database } from '../../../dist/esm/index.js'

const { path, answer, ending } = workerData

async function filter(entries) {
  parentPort.postMessage('asked')
  if (answer === 'never') {
    if (ending === 'exits') setTimeout(() => process.exit(3), 20)
    if (ending === 'returns') parentPort.close()
    if (ending === 'closes') setTimeout(() => void db.close(), 20)
    await new Promise(() => {})
  }
  await new Promise((resolve) => setTimeout(resolve, 5))
  return entries.map(() => answer)
}

function filterForEver() {
  parentPort.postMessage('asked')
  for (;;);
}

const name = `of a worker that ${ending}`
const compactionFilters = () => ({
  name,
  filter: ending === 'terminatedInFilter' ? filterForEver : filter,
})
const db = await Database.open(path, { compactionFilters })
parentPort.postMessage('open')
parentPort.on('message', () => {
  parentPort.close()
  void db.close()
})
