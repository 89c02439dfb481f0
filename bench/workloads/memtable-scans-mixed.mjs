// The same scans over records whose values have anything from 1 to 400 bytes.

import { mixedValueOf, shuffled } from '../data.mjs'
import { fill, SHALE } from '../levels.mjs'
import { scans } from './memtable-scans.mjs'

export const title = 'memtable: scans of mixed sizes (items)'
export const engines = [...SHALE, 'lmdb']
export const sizes = [100_000]
export const options = { level: 'memtable' }

export async function run({ open, entries }) {
  const store = await open()
  await fill(store, shuffled(entries), mixedValueOf)
  const rows = await scans(store, entries)
  await store.close()
  return rows
}
