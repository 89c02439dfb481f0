// Do two reading worker threads on one database slow each other down? Compared with two workers on
// two databases.

import { once } from 'node:events'
import { join } from 'node:path'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { check, shuffled, valueOf } from '../data.mjs'
import { openEngine } from '../engines/index.mjs'
import { fill, NATIVE, TYPESCRIPT } from '../levels.mjs'

const SECONDS = 2

export const title = 'two reading worker threads on one database'
export const engines = [NATIVE]
/** Said in place of a figure. */
export const without = {
  [TYPESCRIPT]: 'this engine is the thread that opened the database; others find it locked',
}
export const sizes = [100_000]
export const options = { level: 'database' }

if (!isMainThread) await readUntilDone(workerData)

async function readUntilDone({ dir, entries, seed }) {
  const store = await openEngine(NATIVE, dir, options)
  const order = shuffled(entries, seed)
  for (const i of order) check(store.getSync(i), i)
  parentPort.postMessage('ready')
  await once(parentPort, 'message')
  const until = performance.now() + SECONDS * 1000
  let reads = 0
  while (performance.now() < until) {
    for (let n = 0; n < 1000; n++, reads++)
      check(store.getSync(order[reads % entries]), order[reads % entries])
  }
  parentPort.postMessage(reads)
  await store.close()
}

export async function run({ open, entries, dir }) {
  const dirs = [join(dir, 'a'), join(dir, 'b')]
  const stores = []
  for (const path of dirs) {
    const store = await open(path)
    await fill(store, shuffled(entries), valueOf)
    stores.push(store)
  }
  const one = await readers([dirs[0]], entries)
  const shared = await readers([dirs[0], dirs[0]], entries)
  const separate = await readers(dirs, entries)
  for (const store of stores) await store.close()
  return {
    '1 worker': { rate: one },
    '2 workers, one database': { rate: shared, ofSeparate: Number((shared / separate).toFixed(2)) },
    '2 workers, two databases': { rate: separate },
  }
}

async function readers(dirs, entries) {
  const workers = dirs.map(
    (dir, n) => new Worker(new URL(import.meta.url), { workerData: { dir, entries, seed: n + 1 } }),
  )
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  const counts = workers.map((worker) => once(worker, 'message'))
  for (const worker of workers) worker.postMessage('go')
  const reads = await Promise.all(counts)
  await Promise.all(workers.map((worker) => once(worker, 'exit')))
  return reads.reduce((sum, [count]) => sum + count, 0) / SECONDS
}
