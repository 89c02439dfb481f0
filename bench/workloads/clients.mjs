// Four async clients, half reads half writes, on a million entries: how many operations, and how
// long does the event loop wait?

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { check, randomFrom, SEED, shuffled, valueOf } from '../data.mjs'
import { fill, JOURNALED } from '../levels.mjs'

const CLIENTS = 4
const SECONDS = 3

export const title = '4 async clients, half gets half puts'
export const engines = JOURNALED
export const sizes = [1_000_000]
export const options = { level: 'database' }
export const slow = { lmdb: { rounds: 1 }, rocksdb: { rounds: 1 }, 'better-sqlite3': { rounds: 1 } }

export async function run({ open, entries }) {
  const store = await open()
  await fill(store, shuffled(entries), valueOf)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  const until = performance.now() + SECONDS * 1000
  let operations = 0
  const client = async (number) => {
    const random = randomFrom(SEED + number)
    while (performance.now() < until) {
      const i = random(entries)
      if (random(2) === 0) check(await store.get(i), i)
      else await store.insert(i, Buffer.from(valueOf(i)))
      // An application comes back to the event loop now and then; so does this one.
      if (++operations % 64 === 0) await new Promise(setImmediate)
    }
  }
  delay.enable()
  await Promise.all(Array.from({ length: CLIENTS }, (_, number) => client(number)))
  delay.disable()
  await store.close()
  const ms = (nanos) => Number((nanos / 1e6).toFixed(2))
  return {
    'mixed operations': {
      rate: operations / SECONDS,
      loopDelayP99Ms: ms(delay.percentile(99)),
      loopDelayMaxMs: ms(delay.max),
    },
  }
}
