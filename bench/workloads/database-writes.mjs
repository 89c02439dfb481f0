// How fast does a database with its journal take single writes and batches ('os': survives kill
// -9)?

import { shuffled, valueOf } from '../data.mjs'
import { JOURNALED } from '../levels.mjs'
import { once } from '../measure.mjs'

export const title = "database, 'os' journal: writes"
export const engines = JOURNALED
export const sizes = [100_000]
export const options = { level: 'database' }

export async function run({ open, entries }) {
  const order = shuffled(entries)
  const rows = {}
  await rowOf(open, order.subarray(0, 5000), awaited)
  rows['random insertSync'] = await rowOf(open, order, oneByOne)
  rows['awaited insert'] = await rowOf(open, order, awaited)
  rows['batches of 100 (items)'] = await rowOf(open, order, batches)
  return rows
}

async function rowOf(open, order, write) {
  const store = await open()
  const works = write !== oneByOne || store.insertSync !== undefined
  const result = works ? await once(order.length, () => write(store, order)) : undefined
  await store.close()
  return result
}

function oneByOne(store, order) {
  for (const i of order) store.insertSync(i, valueOf(i))
}

async function awaited(store, order) {
  for (const i of order) await store.insert(i, valueOf(i))
}

async function batches(store, order) {
  for (let at = 0; at < order.length; at += 100) {
    await store.batch(order.subarray(at, at + 100), valueOf)
  }
}
