// How fast is an awaited read of what is in memory?

import { check, shuffled, valueOf } from '../data.mjs'
import { fill, JOURNALED } from '../levels.mjs'
import { once, percentiles, throughput } from '../measure.mjs'

export const title = 'database: reads from memory'
export const engines = JOURNALED
export const sizes = [100_000]
export const options = { level: 'database' }
export const slow = { 'classic-level': { rounds: 2 }, rocksdb: { rounds: 2 } }

export async function run({ open, entries }) {
  const store = await open()
  await fill(store, shuffled(entries), valueOf)
  const order = shuffled(entries, 2)
  const awaited = async () => {
    for (const i of order) check(await store.get(i), i)
  }
  await awaited()
  const rows = { 'awaited get': await once(entries, awaited) }
  let at = 0
  const latency = await percentiles(async () => {
    const i = order[at]
    check(await store.get(i), i)
    at = at + 1 === entries ? 0 : at + 1
  })
  rows['awaited get'] = { ...rows['awaited get'], ...latency }
  if (store.getSync) {
    rows['random getSync'] = throughput(order, (i) => {
      check(store.getSync(i), i)
    })
  }
  await store.close()
  return rows
}
