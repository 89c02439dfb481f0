// How fast do single writes go into memory, in order and at random?

import { ascending, shuffled, valueOf } from '../data.mjs'
import { MEMORY } from '../levels.mjs'
import { once } from '../measure.mjs'

export const title = 'memtable: single writes'
export const engines = MEMORY
export const enginesAt = { 1_000_000: MEMORY.filter((store) => store !== 'lmdb') }
export const sizes = [100_000, 1_000_000]
export const options = { level: 'memtable' }

export async function run({ open, entries }) {
  const rows = {}
  await write(open, ascending(Math.min(entries, 20_000)), 'insertSync')
  rows['sequential insert'] = await write(open, ascending(entries), 'insertSync')
  rows['random insert'] = await write(open, shuffled(entries), 'insertSync')
  return rows
}

async function write(open, order, method) {
  const store = await open()
  const result = await once(order.length, () => {
    for (const i of order) store[method](i, valueOf(i))
  })
  const bytes = store.memoryBytes?.()
  if (bytes !== undefined) result.bytesPerEntry = Math.round(bytes / order.length - 116)
  await store.close()
  return result
}
