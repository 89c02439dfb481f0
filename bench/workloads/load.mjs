// What does it cost to keep a large set of entries: loading it in random order, writing all of it
// again, removing half? How even is the rate, how long does one operation take, how much is
// written, what is left on the disk, how much memory does it take, and how fast are reads then,
// with a cache that is smaller than the data?

import { check, KEY_BYTES, shuffled, VALUE_BYTES, valueOf } from '../data.mjs'
import { JOURNALED } from '../levels.mjs'
import { bytesOnDisk, bytesWritten, peakMiB, phase, times } from '../phases.mjs'

const MIB = 2 ** 20
const ENTRY_BYTES = KEY_BYTES + VALUE_BYTES
const READS = 300_000

export const title = 'random load, overwrites, removals, 64 MiB cache'
export const engines = JOURNALED.filter((store) => store !== 'better-sqlite3')
export const sizes = [5_000_000]
export const slow = {
  'classic-level': { rounds: 1 },
  rocksdb: { rounds: 1 },
  lmdb: { rounds: 1, entries: 1_000_000 },
}
export const options = { level: 'database', cacheSize: 64 * MIB }

export async function run({ open, dir, entries }) {
  const store = await open(dir)
  const rows = {}
  const timeline = []
  const add = async (row, order, live) => {
    const before = bytesWritten()
    const { figures, timeline: part } = await write(store, row, order)
    await store.settle()
    const written = bytesWritten() - before
    rows[row] = { ...figures, bytesWrittenPerByte: times(written, order.length * ENTRY_BYTES) }
    rows[row].bytesOnDiskPerByte = times(bytesOnDisk(dir), live * ENTRY_BYTES)
    const from = timeline.length === 0 ? 0 : timeline.at(-1).second + 1
    timeline.push(...part.map((point) => ({ ...point, second: from + point.second, phase: row })))
  }
  await add('random load', shuffled(entries), entries)
  const load = rows['random load']
  load.peakMiB = peakMiB()
  // Over what the cache and the memtables are allowed.
  if (store.budgetBytes) load.peakMiBOverBudget = load.peakMiB - store.budgetBytes / MIB
  if (store.levels) {
    const runs = timeline.map(({ levels }) => levels[0]?.runs ?? 0)
    load.level0Runs = Math.max(...runs)
  }
  rows['random get after it'] = await reads(store, shuffled(entries, 2).subarray(0, READS))
  await add('random overwrite', shuffled(entries, 3), entries)
  const removed = shuffled(entries, 4).subarray(0, entries >> 1)
  await add('removal of half', removed, entries - removed.length)
  const left = shuffled(entries, 4).subarray(removed.length)
  rows['random get of the rest'] = await reads(store, left.subarray(0, READS))
  await store.close()
  return { ...rows, timeline }
}

function write(store, row, order) {
  const observe = () => (store.levels ? { levels: store.levels() } : {})
  const isRemoval = row === 'removal of half'
  if (store.insertSync) {
    const operation = isRemoval
      ? (i) => store.removeSync(i)
      : (i) => store.insertSync(i, valueOf(i))
    return phase(order, operation, { observe })
  }
  const operation = isRemoval
    ? (part) => store.removeMany(part)
    : (part) => store.batch(part, valueOf)
  return phase(order, operation, { parts: 100, observe })
}

async function reads(store, sample) {
  const { figures } = await phase(sample, (i) => check(store.getSync(i), i))
  return figures
}
