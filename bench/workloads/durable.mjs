// How fast are writes that survive power loss, with one writer and with 32 at once?

import { shuffled, valueOf } from '../data.mjs'
import { JOURNALED } from '../levels.mjs'
import { once } from '../measure.mjs'

export const title = "database, 'sync': an fsync per write"
export const engines = JOURNALED
export const sizes = [5000]
export const options = { level: 'database', durability: 'sync' }

export async function run({ open, entries }) {
  return {
    '1 writer': await writers(open, entries, 1),
    '32 writers': await writers(open, entries, 32),
  }
}

async function writers(open, entries, count) {
  const store = await open()
  const order = shuffled(entries)
  let next = 0
  const writer = async () => {
    while (next < order.length) {
      const i = order[next++]
      await store.insert(i, Buffer.from(valueOf(i)))
    }
  }
  const result = await once(entries, () => Promise.all(Array.from({ length: count }, writer)))
  await store.close()
  return result
}
