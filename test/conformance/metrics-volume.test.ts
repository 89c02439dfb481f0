// Metrics against what others count: the operating system, and the cache under a scan and a
// compaction that must not wash it out.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { Database, Keyspace } from '../../lib/index.ts'
import { openDatabase } from '../support/engine.ts'
import { PATIENT } from '../support/patient.ts'
import { scaled, scratchDirectory } from '../support/scratch.ts'

const IO = '/proc/self/io'

function keyOf(i: number): string {
  return `key ${String(i).padStart(8, '0')}`
}

/** Does not compress. */
function noise(seed: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size)
  let state = seed + 1
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    bytes[i] = state >>> 16
  }
  return bytes
}

/** Bytes that this process has handed to the system. */
function bytesHandedOver(): number {
  return Number(/^wchar: (\d+)$/m.exec(readFileSync(IO, 'latin1'))![1])
}

function putIntoFiles(db: Database): number {
  const { journal, flushes, compactions } = db.metrics()
  return journal.bytesWritten + flushes.bytesWritten + compactions.bytesWritten
}

test('write amplification agrees with what the system has counted', async (context) => {
  context.skip(!existsSync(IO), `there is no ${IO}`)
  const db = await openDatabase(join(scratchDirectory(), 'db'))
  onTestFinished(() => db.close())
  for (const kvSeparation of [undefined, { threshold: 512, compression: 'none' as const }]) {
    const name = kvSeparation === undefined ? 'plain' : 'separated'
    const options = { compaction: PATIENT, maxMemtableSize: 1 << 30 }
    // One after the other.
    // oxlint-disable-next-line no-await-in-loop
    const keyspace = await db.keyspace(name, { ...options, ...(kvSeparation && { kvSeparation }) })
    const count = scaled(5000)
    const begin = { system: bytesHandedOver(), ours: putIntoFiles(db) }
    for (let table = 0; table < 4; table++) {
      for (let i = 0; i < count; i++) {
        keyspace.insertSync(keyOf((i * 7919) % count), noise(i + table, i % 2 === 0 ? 100 : 1000))
      }
      // oxlint-disable-next-line no-await-in-loop
      await keyspace.rotateMemtableAndWait()
    }
    // oxlint-disable-next-line no-await-in-loop
    await keyspace.majorCompaction()
    const system = bytesHandedOver() - begin.system
    const ours = putIntoFiles(db) - begin.ours
    const given = 4 * count * (keyOf(0).length + 550)
    const { writeAmplification } = keyspace.metrics()
    console.log(
      `${name}: the system counts ${(system / given).toFixed(3)} bytes for each byte given, ` +
        `the files ${(ours / given).toFixed(3)}, the keyspace ${writeAmplification.toFixed(3)}`,
    )
    expect(ours / system).toBeGreaterThan(0.9)
    expect(ours / system).toBeLessThan(1.1)
    expect((writeAmplification * given) / system).toBeGreaterThan(0.9)
    expect((writeAmplification * given) / system).toBeLessThan(1.1)
  }
})

const HOT_KEYS = 300

/** Hit rate of reads of the hot keys, one of each. */
function hotRate(db: Database, hot: Keyspace): number {
  const before = db.metrics().cache
  for (let i = 0; i < HOT_KEYS; i++) expect(hot.getSync(keyOf(i * 40))).toBeDefined()
  const { hits, misses } = db.metrics().cache
  const grown = { hits: hits - before.hits, misses: misses - before.misses }
  return grown.hits / (grown.hits + grown.misses)
}

function lowest(rates: readonly number[]): string {
  return `${(100 * Math.min(...rates)).toFixed(1)} %`
}

test('a full scan and a compaction do not wash out the cache', async () => {
  const path = join(scratchDirectory(), 'db')
  const cacheSize = 4 << 20
  const first = await openDatabase(path)
  const options = { compaction: PATIENT, compression: 'none' as const, maxMemtableSize: 1 << 30 }
  const count = scaled(30_000)
  for (const name of ['hot', 'large']) {
    // One after the other.
    // oxlint-disable-next-line no-await-in-loop
    const keyspace = await first.keyspace(name, options)
    const entries = name === 'hot' ? 40 * HOT_KEYS : count
    for (let table = 0; table < 2; table++) {
      for (let i = table; i < entries; i += 2) keyspace.insertSync(keyOf(i), noise(i, 400))
      // oxlint-disable-next-line no-await-in-loop
      await keyspace.rotateMemtableAndWait()
    }
  }
  await first.close()
  const db = await openDatabase(path, { cacheSize })
  onTestFinished(() => db.close())
  const [hot, large] = [await db.keyspace('hot'), await db.keyspace('large')]
  expect(large.diskSpace()).toBeGreaterThan(2 * cacheSize)

  const cold = hotRate(db, hot)
  for (let round = 0; round < 5; round++) hotRate(db, hot)
  const before = hotRate(db, hot)
  const duringScan: number[] = []
  let rows = 0
  for (const _ of large.iter()) if (++rows % 5000 === 0) duringScan.push(hotRate(db, hot))
  expect(rows).toBe(count)
  rows = 0
  for (const _ of hot.iter()) if (++rows % 5000 === 0) duringScan.push(hotRate(db, hot))
  expect(rows).toBe(40 * HOT_KEYS)
  const afterScan = hotRate(db, hot)

  const duringCompaction: number[] = []
  const state = { isDone: false }
  const compacted = large.majorCompaction().finally(() => {
    state.isDone = true
  })
  do {
    // The compaction has its turns in between.
    // oxlint-disable-next-line no-await-in-loop
    await setImmediate()
    duringCompaction.push(hotRate(db, hot))
  } while (!state.isDone)
  await compacted
  const afterCompaction = hotRate(db, hot)
  console.log(
    `hit rates of hot keys: cold ${lowest([cold])}, before ${lowest([before])}; ` +
      `full scans: during ${lowest(duringScan)}, after ${lowest([afterScan])}; ` +
      `compaction: during ${lowest(duringCompaction)}, after ${lowest([afterCompaction])}`,
  )
  expect(cold).toBeLessThan(0.5)
  expect(before).toBe(1)
  for (const rate of [...duringScan, ...duringCompaction]) expect(rate).toBeGreaterThan(0.95)
  expect(afterScan).toBeGreaterThan(0.95)
  expect(afterCompaction).toBeGreaterThan(0.95)
  expect(db.metrics().cache.size).toBeLessThanOrEqual(cacheSize)
})
