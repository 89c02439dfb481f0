// How fast are keys removed again?

import { ascending, shuffled, valueOf } from '../data.mjs'
import { fill, MEMORY } from '../levels.mjs'
import { once } from '../measure.mjs'

export const title = 'memtable: removals'
export const engines = MEMORY
export const sizes = [100_000]
export const options = { level: 'memtable' }

export async function run({ open, entries }) {
  await remove(open, ascending(Math.min(entries, 20_000)))
  return {
    'sequential remove': await remove(open, ascending(entries)),
    'random remove': await remove(open, shuffled(entries, 3)),
  }
}

async function remove(open, order) {
  const store = await open()
  await fill(store, shuffled(order.length), valueOf)
  const result = await once(order.length, () => {
    for (const i of order) store.removeSync(i)
  })
  if (store.containsSync(order[0])) throw new Error('a removed key is there')
  await store.close()
  return result
}
