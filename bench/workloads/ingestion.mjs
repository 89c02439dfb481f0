// Sorted data: by batches, and by an ingestion. A batch is acknowledged when it is in the journal;
// what is ingested, when it is durable in tables.

import { ascending, valueOf } from '../data.mjs'
import { SHALE } from '../levels.mjs'
import { once } from '../measure.mjs'

const BATCH = 1000

export const title = 'sorted data, batches against an ingestion'
export const engines = SHALE
export const sizes = [1_000_000]
export const options = { level: 'database' }

export async function run({ open, entries }) {
  const order = ascending(entries)
  const rows = {}
  await rowOf(open, order.subarray(0, 20_000), batches)
  rows['batches of 1000 (items)'] = await rowOf(open, order, batches)
  rows['batches of 1000, until they are in tables'] = await rowOf(open, order, settledBatches)
  rows.ingestion = await rowOf(open, order, ingestion)
  return rows
}

async function rowOf(open, order, write) {
  const store = await open()
  const result = await once(order.length, () => write(store, order))
  const seen = store.keys()
  if (seen !== order.length) throw new Error(`${seen} of ${order.length} rows are there`)
  await store.close()
  return result
}

async function batches(store, order) {
  for (let at = 0; at < order.length; at += BATCH) {
    await store.batch(order.subarray(at, at + BATCH), valueOf)
  }
}

async function settledBatches(store, order) {
  await batches(store, order)
  await store.flush()
}

async function ingestion(store, order) {
  await store.ingest(order, valueOf)
}
