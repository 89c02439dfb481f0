// What does one open snapshot cost while a gigabyte is written over what it sees? Memory and disk
// over time, with the snapshot and without; then every old value is read through it.

import {
  check,
  KEY_BYTES,
  keyBuffer,
  randomFrom,
  SEED,
  shuffled,
  VALUE_BYTES,
  valueOf,
} from '../data.mjs'
import { SHALE } from '../levels.mjs'
import { bytesOnDisk, peakMiB, phase } from '../phases.mjs'

const MIB = 2 ** 20
/** Bytes of keys and values that are written over the entries. */
const WRITTEN = 2 ** 30

export const title = 'one snapshot held while 1 GiB is written over it'
export const engines = SHALE
export const sizes = [500_000]
export const options = { level: 'database', cacheSize: 64 * MIB }
export const slow = Object.fromEntries(SHALE.map((store) => [store, { rounds: 1 }]))

export async function run({ open, dir, entries }) {
  const rows = {}
  const timeline = []
  for (const isHeld of [false, true]) {
    const row = isHeld ? 'with a snapshot' : 'without'
    const store = await open(`${dir}-${isHeld}`)
    for (const i of shuffled(entries)) store.insertSync(i, valueOf(i))
    await store.settle()
    const snapshot = isHeld ? store.snapshot() : undefined
    const observe = () => ({
      figures: {
        'memtables, MiB': store.memtableBytes() / MIB,
        'disk, MiB': bytesOnDisk(`${dir}-${isHeld}`) / MIB,
        'resident, MiB': process.memoryUsage.rss() / MIB,
      },
    })
    const random = randomFrom(SEED + 1)
    const operations = new Uint32Array(Math.ceil(WRITTEN / (KEY_BYTES + VALUE_BYTES)))
    for (let at = 0; at < operations.length; at++) operations[at] = random(entries)
    // Another value than that of the snapshot.
    const overwrite = (i) => store.insertSync(i, valueOf(i + entries))
    const { figures, timeline: part } = await phase(operations, overwrite, { observe })
    const most = (name) => Math.round(Math.max(...part.map((point) => point.figures[name])))
    rows[row] = {
      rate: figures.rate,
      memtablesMostMiB: most('memtables, MiB'),
      diskMostMiB: most('disk, MiB'),
      peakMiB: peakMiB(),
    }
    if (snapshot !== undefined) {
      const key = keyBuffer()
      for (let i = 0; i < entries; i++) check(snapshot.getSync(key(i)), i)
      snapshot.close()
    }
    await store.settle()
    rows[row].diskAfterwardsMiB = Math.round(bytesOnDisk(`${dir}-${isHeld}`) / MIB)
    const from = timeline.length === 0 ? 0 : timeline.at(-1).second + 1
    timeline.push(...part.map((point) => ({ ...point, second: from + point.second, phase: row })))
    await store.close()
  }
  return { ...rows, timeline }
}
