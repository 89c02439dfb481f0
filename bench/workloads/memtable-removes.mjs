// How fast are keys removed again?

import { ascending, shuffled, valueOf } from '../data.mjs'
import { fill, MEMORY } from '../levels.mjs'
import { once } from '../measure.mjs'

export const title = 'memtable: removals'
export const engines = MEMORY
export const sizes = [10_000, 100_000, 1_000_000]

export async function run({ open, entries }) {
  const rows = {}
  for (const [name, order] of [
    ['sequential remove', ascending(entries)],
    ['random remove', shuffled(entries, 3)],
  ]) {
    const store = await open()
    await fill(store, shuffled(entries), valueOf)
    rows[name] = await once(entries, () => {
      for (const i of order) store.removeSync(i)
    })
    if (store.containsSync(order[0])) throw new Error('a removed key is there')
    await store.close()
  }
  return rows
}
