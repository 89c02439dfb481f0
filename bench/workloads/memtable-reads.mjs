// How fast are point reads from memory, values as Buffers, every one checked?

import { ascending, check, shuffled, valueOf } from '../data.mjs'
import { fill, MEMORY, MEMORY_ALL } from '../levels.mjs'
import { percentiles, throughput } from '../measure.mjs'

export const title = 'memtable: point reads'
export const engines = MEMORY_ALL
export const enginesAt = { 1_000_000: MEMORY }
export const sizes = [100_000, 1_000_000]
export const options = { level: 'memtable' }
export const slow = { 'classic-level': { rounds: 2 }, 'better-sqlite3': { rounds: 2 } }

export async function run({ open, entries }) {
  const store = await open()
  await fill(store, shuffled(entries), valueOf)
  const rows = pointReads(store, entries)
  const order = shuffled(entries, 5)
  let at = 0
  rows['random get'] = {
    ...rows['random get'],
    ...(await percentiles(() => {
      const i = order[at]
      check(store.getSync(i), i)
      at = at + 1 === entries ? 0 : at + 1
    })),
  }
  await store.close()
  return rows
}

export function pointReads(store, entries) {
  const get = (i) => {
    check(store.getSync(i), i)
  }
  const contains = (i) => {
    if (!store.containsSync(i)) throw new Error(`key ${i} is missing`)
  }
  return {
    'random get': throughput(shuffled(entries, 2), get),
    'sequential get': throughput(ascending(entries), get),
    contains: throughput(shuffled(entries, 4), contains),
  }
}
