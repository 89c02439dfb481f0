// What each option of reads, ranges and major compactions does: docs/options.md names them all.

import { expect, test } from 'vitest'
import type { IterOptions, Keyspace, RangeOptions } from '../../../lib/index.ts'
import { PATIENT } from '../../support/patient.ts'
import { failure, rejection } from '../../support/scratch.ts'
import { newKeyspace, numbered, seen } from '../../support/trees.ts'

async function letters(): Promise<Keyspace> {
  const { keyspace } = await newKeyspace()
  for (const key of 'abcd') keyspace.insertSync(key, '1')
  return keyspace
}

function keysOf(keyspace: Keyspace, range: RangeOptions): string {
  return Array.from(keyspace.range(range).keys(), String).join('')
}

test('option ReadOptions.snapshot: reads what it holds', async () => {
  const { database, keyspace } = await newKeyspace()
  keyspace.insertSync('a', '1')
  const snapshot = database.snapshot()
  keyspace.insertSync('a', '2')
  keyspace.insertSync('b', '3')
  const options = { snapshot }
  expect([keyspace.getTextSync('a'), keyspace.getTextSync('a', options)]).toEqual(['2', '1'])
  expect(await keyspace.getText('a', options)).toBe('1')
  expect((await keyspace.getMany(['a', 'b'], options)).map(String)).toEqual(['1', 'undefined'])
  expect([keyspace.lenSync(), keyspace.lenSync(options)]).toEqual([2, 1])
  expect([seen(keyspace), seen(keyspace, options)]).toEqual(['a=2 b=3', 'a=1'])
  expect(keysOf(keyspace, { gte: 'a', ...options })).toBe('a')
  expect(keyspace.lastKeyValueSync(options)?.map(String)).toEqual(['a', '1'])
})

test('option ReadOptions.signal: ends a read', async () => {
  const keyspace = await letters()
  const signal = AbortSignal.abort('enough')
  for (const call of [
    () => keyspace.get('a', { signal }),
    () => keyspace.getMany(['a'], { signal }),
    () => keyspace.len({ signal }),
    () => keyspace.iter({ signal }).toArray(),
    () => keyspace.getSync('a', { signal }),
  ]) {
    expect(await failure(call)).toMatchObject({ code: 'ABORTED', cause: 'enough' })
  }
  const later = new AbortController()
  const rows = keyspace.iter({ signal: later.signal })[Symbol.asyncIterator]()
  expect((await rows.next()).done).toBe(false)
  later.abort()
  expect((await failure(async () => rows.next())).code).toBe('ABORTED')
})

test('option IterOptions.reverse: begins at the last key', async () => {
  const keyspace = await letters()
  const options: IterOptions = { reverse: true }
  expect(Array.from(keyspace.iter(options).keys(), String).join('')).toBe('dcba')
  expect(keysOf(keyspace, { lt: 'd', ...options })).toBe('cba')
  expect(Array.from(keyspace.prefix('c', options).keys(), String)).toEqual(['c'])
  expect(String(keyspace.iter(options).cursor().nextBackSync()?.[0])).toBe('a')
})

test('option IterOptions.limit: is how many rows come', async () => {
  const keyspace = await letters()
  const counts = [0, 1, 3, 4, 9, -1, undefined].map((limit) => {
    const options = limit === undefined ? {} : { limit }
    return keyspace.iter(options).toArraySync().length
  })
  expect(counts).toEqual([0, 1, 3, 4, 4, 4, 4])
  expect(keysOf(keyspace, { reverse: true, limit: 2 })).toBe('dc')
  expect(await keyspace.range({ gt: 'a', limit: 2 }).toArray()).toHaveLength(2)
})

test('option IterOptions.batchSize: is how much is fetched at a time', async () => {
  const { keyspace } = await newKeyspace()
  for (let i = 0; i < 100; i++) keyspace.insertSync(numbered(i), 'v'.repeat(100))
  const batches = (options: IterOptions): number => {
    let [count, last] = [0, Infinity]
    keyspace.iter(options).forEachRawSync((_, keyOffset) => {
      // Each batch begins anew.
      if (keyOffset <= last) count++
      last = keyOffset
    })
    return count
  }
  expect(batches({ batchSize: 1 })).toBe(100)
  expect(batches({ batchSize: 1000 })).toBeGreaterThanOrEqual(10)
  expect(batches({ batchSize: 1000 })).toBeLessThan(20)
  expect(batches({ batchSize: 2 ** 20 })).toBe(1)
  // Left out, the batches grow.
  expect(batches({})).toBeGreaterThan(1)
  expect(batches({})).toBeLessThan(10)
})

test('option KeyRange.gt: leaves out the bound', async () => {
  const keyspace = await letters()
  expect([keysOf(keyspace, { gt: 'b' }), keysOf(keyspace, { gt: '`' })]).toEqual(['cd', 'abcd'])
})

test('option KeyRange.gte: begins with the bound', async () => {
  const keyspace = await letters()
  expect([keysOf(keyspace, { gte: 'b' }), keysOf(keyspace, { gte: 'e' })]).toEqual(['bcd', ''])
})

test('option KeyRange.lt: ends before the bound', async () => {
  const keyspace = await letters()
  expect([keysOf(keyspace, { lt: 'b' }), keysOf(keyspace, { lt: 'e' })]).toEqual(['a', 'abcd'])
})

test('option KeyRange.lte: ends with the bound', async () => {
  const keyspace = await letters()
  expect([keysOf(keyspace, { lte: 'b' }), keysOf(keyspace, { lte: '`' })]).toEqual(['ab', ''])
})

async function filled(): Promise<Keyspace> {
  const { keyspace } = await newKeyspace({ compaction: PATIENT, compression: 'none' })
  for (let i = 0; i < 200; i++) keyspace.insertSync(numbered(i), 'v'.repeat(200))
  await keyspace.rotateMemtableAndWait()
  return keyspace
}

test('option MajorCompactionOptions.targetSize: is the size of outputs', async () => {
  const keyspace = await filled()
  await keyspace.majorCompaction({ targetSize: 2 ** 20 })
  expect(keyspace.tableCount()).toBe(1)
  await keyspace.majorCompaction({ targetSize: 4096 })
  expect(keyspace.tableCount()).toBeGreaterThan(5)
})

test('option MajorCompactionOptions.onProgress: is told how far it is', async () => {
  const keyspace = await filled()
  const told: number[] = []
  await keyspace.majorCompaction({ onProgress: ({ done, total }) => told.push(done / total) })
  expect(told.at(-1)).toBe(1)
  expect(told).toEqual(told.toSorted((a, b) => a - b))
})

test('option MajorCompactionOptions.signal: stops it without a trace', async () => {
  const keyspace = await filled()
  const before = keyspace.version().levels.flat(2)
  const signal = AbortSignal.abort()
  expect((await rejection(() => keyspace.majorCompaction({ signal }))).code).toBe('ABORTED')
  expect(keyspace.version().levels.flat(2)).toEqual(before)
})

test('batchSize bounds what a cursor reads at once, too', async () => {
  const keyspace = await filled()
  const loads = (batchSize: number): number => {
    const { cached, io } = keyspace.metrics().blockLoads
    const cursor = keyspace.iter({ batchSize }).cursor()
    for (let i = 0; i < 4; i++) cursor.nextSync()
    cursor.close()
    const after = keyspace.metrics().blockLoads
    return after.cached + after.io - cached - io
  }
  expect(loads(16)).toBeLessThan(loads(65_536))
})
