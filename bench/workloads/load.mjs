// What does a large random load cost: sustained rate, the longest single insert, bytes written,
// memory, and reads after it with a cache that is smaller than the data?

import { readFileSync } from 'node:fs'
import { check, shuffled, valueOf } from '../data.mjs'
import { JOURNALED } from '../levels.mjs'
import { throughput } from '../measure.mjs'

const MIB = 2 ** 20

export const title = 'load of random entries, 64 MiB cache'
export const engines = JOURNALED.filter((store) => store !== 'better-sqlite3')
export const sizes = [5_000_000]
export const slow = {
  'classic-level': { rounds: 3 },
  rocksdb: { rounds: 1 },
  lmdb: { rounds: 1, entries: 1_000_000 },
}
export const options = { level: 'database', cacheSize: 64 * MIB }

export async function run({ open, entries }) {
  const store = await open()
  const order = shuffled(entries)
  const before = bytesWritten()
  const started = performance.now()
  const longest = store.insertSync ? await single(store, order) : await batched(store, order)
  const ms = performance.now() - started
  await store.settle()
  const written = bytesWritten() - before
  const load = {
    rate: (entries / ms) * 1000,
    longestMs: Math.round(longest.ms),
    level0Runs: longest.runs,
    bytesWrittenPerByte: Number((written / (entries * 116)).toFixed(2)),
    peakMiB: Math.round(process.resourceUsage().maxRSS / 1024),
  }
  // Over what the cache and the memtables are allowed.
  if (store.budgetBytes) load.peakMiBOverBudget = load.peakMiB - store.budgetBytes / MIB
  const rows = { 'random load': load }
  if (store.getSync) {
    const sample = shuffled(entries, 2).subarray(0, 300_000)
    rows['random get after it'] = throughput(sample, (i) => {
      check(store.getSync(i), i)
    })
  }
  await store.close()
  return rows
}

async function single(store, order) {
  const longest = { ms: 0, runs: undefined }
  for (const [n, i] of order.entries()) {
    const started = performance.now()
    store.insertSync(i, valueOf(i))
    const ms = performance.now() - started
    if (ms > longest.ms) longest.ms = ms
    if (n % 50_000 === 0 && store.levels) {
      longest.runs = Math.max(longest.runs ?? 0, store.levels().level0Runs)
    }
  }
  return longest
}

async function batched(store, order) {
  const longest = { ms: 0, runs: undefined }
  for (let at = 0; at < order.length; at += 100) {
    const started = performance.now()
    await store.batch(order.subarray(at, at + 100), valueOf)
    longest.ms = Math.max(longest.ms, performance.now() - started)
  }
  return longest
}

/** Bytes that this process had the device write (Linux). */
function bytesWritten() {
  try {
    const [, bytes] = /write_bytes: (\d+)/.exec(readFileSync('/proc/self/io', 'latin1'))
    return Number(bytes)
  } catch {
    return Number.NaN
  }
}
