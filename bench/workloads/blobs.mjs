// Large values: 16 KiB each, half of it noise. shale keeps them apart from their keys
// (kvSeparation), and gathers what became garbage by itself.

import { randomFrom, shuffled } from '../data.mjs'
import { NATIVE, TYPESCRIPT } from '../levels.mjs'
import { bytesOnDisk, bytesWritten, peakMiB, phase, times } from '../phases.mjs'

const VALUE_BYTES = 16_384
const MIB = 2 ** 20

export const title = 'values of 16 KiB, 64 MiB cache'
export const engines = [NATIVE, TYPESCRIPT, 'classic-level', 'rocksdb', 'lmdb']
export const sizes = [30_000]
export const options = { level: 'database', cacheSize: 64 * MIB, kvSeparation: {} }
export const slow = {
  'classic-level': { rounds: 1 },
  rocksdb: { rounds: 1 },
  lmdb: { rounds: 1 },
}

const noise = Buffer.alloc(VALUE_BYTES)
const random = randomFrom(13)
for (let at = 0; at < VALUE_BYTES; at++) noise[at] = random(256)

const value = Buffer.alloc(
  VALUE_BYTES,
  'a large value, of which one half is text and one half noise ',
)

/** Of key i in round r; valid until the next one is made. */
function valueOf(i, round = 0) {
  const from = (i * 7919) % (VALUE_BYTES / 2)
  noise.copy(value, 8, from, from + VALUE_BYTES / 2)
  value.writeUInt32LE(i, 0)
  value.writeUInt32LE(round, 4)
  return value
}

function check(found, i) {
  if (found?.length !== VALUE_BYTES) throw new Error(`key ${i}: missing or of another length`)
  if (found.readUInt32LE(0) !== i) throw new Error(`key ${i}: wrong value`)
}

export async function run({ open, dir, entries }) {
  const store = await open(dir)
  const rows = {}
  const write = async (row, order, round) => {
    const make = (i) => valueOf(i, round)
    const before = bytesWritten()
    const { figures } = store.insertSync
      ? await phase(order, (i) => store.insertSync(i, make(i)))
      : await phase(order, (part) => store.batch(part, make), { parts: 10 })
    await store.settle()
    rows[row] = {
      ...figures,
      bytesWrittenPerByte: times(bytesWritten() - before, order.length * VALUE_BYTES),
      bytesOnDiskPerByte: times(bytesOnDisk(dir), entries * VALUE_BYTES),
    }
  }
  await write('load', shuffled(entries), 0)
  rows.load.peakMiB = peakMiB()
  const sample = shuffled(entries, 2).subarray(0, 10_000)
  rows['random get'] = (await phase(sample, (i) => check(store.getSync(i), i))).figures
  if (store.keys) {
    const { figures } = await phase(new Uint32Array(3), () => {
      const seen = store.keys()
      if (seen !== entries) throw new Error(`a scan of keys saw ${seen} of ${entries}`)
    })
    rows['scan of keys'] = { rate: figures.rate * entries }
  }
  await write('overwrite of half', shuffled(entries, 3).subarray(0, entries >> 1), 1)
  await write('overwrite of all', shuffled(entries, 4), 2)
  await store.close()
  return rows
}
