// How fast are reads from tables when all blocks are in the cache?

import { ABSENT, shuffled, valueOf } from '../data.mjs'
import { fill, TABLES } from '../levels.mjs'
import { throughput } from '../measure.mjs'
import { pointReads } from './memtable-reads.mjs'
import { scans } from './memtable-scans.mjs'

export const title = 'tables, all cached'
export const engines = TABLES
export const sizes = [100_000, 1_000_000]
export const options = { level: 'tables' }

export async function run({ open, entries }) {
  const store = await open()
  await fill(store, shuffled(entries), valueOf)
  for (let i = 0; i < entries; i++) store.getSync(i)
  const absent = throughput(shuffled(entries, 6), (i) => {
    if (store.getSync(i + ABSENT) !== undefined) throw new Error('an absent key was found')
  })
  const rows = { ...pointReads(store, entries), 'absent get': absent }
  Object.assign(rows, await scans(store, entries))
  await store.close()
  return rows
}
