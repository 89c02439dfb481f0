// What each option of compaction filters does, and of what is compacted although no level is too
// large: docs/options.md has them all.

import { expect, test } from 'vitest'
import { LeveledCompaction, prefixDropFilter, ttlFilter } from '../../../lib/index.ts'
import type { CompactionFilter } from '../../../lib/index.ts'
import { openTreeSync } from '../../support/engine.ts'
import { countsIn, filterOf, flushed, openFiltered, seen } from '../../support/filters.ts'
import { newDatabase } from '../../support/trees.ts'
import { scratchDirectory } from '../../support/scratch.ts'

const HOUR = 3_600_000

/** Eight bytes: the moment `ago` milliseconds back. */
function stamp(ago: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(Date.now() - ago))
  return bytes
}

/** What is left of values that begin with so many bytes and then have a time two hours back. */
async function left(filter: CompactionFilter, before: number): Promise<number> {
  const { keyspace } = await openFiltered(filter)
  const value = Buffer.concat([Buffer.alloc(before, 0xff), stamp(2 * HOUR)])
  keyspace.insertSync('key', value)
  await keyspace.rotateMemtableAndWait()
  await keyspace.majorCompaction()
  return keyspace.lenSync()
}

test('option TtlFilterOptions.in: says whether keys or values have the time', async () => {
  const old = stamp(2 * HOUR)
  for (const where of ['key', 'value'] as const) {
    const { keyspace } = await openFiltered(ttlFilter({ in: where, offset: 0, ttl: HOUR }))
    keyspace.insertSync(old, 'a value without a time')
    keyspace.insertSync('a key without a time', old)
    await keyspace.rotateMemtableAndWait()
    await keyspace.majorCompaction()
    expect(keyspace.containsKeySync(old)).toBe(where === 'value')
    expect(keyspace.containsKeySync('a key without a time')).toBe(where === 'key')
  }
})

test('option TtlFilterOptions.offset: says where the time begins', async () => {
  expect(await left(ttlFilter({ in: 'value', offset: 3, ttl: HOUR }), 3)).toBe(0)
  expect(await left(ttlFilter({ in: 'value', offset: 0, ttl: HOUR }), 3)).toBe(1)
})

test('option TtlFilterOptions.ttl: is how long an entry lasts', async () => {
  expect(await left(ttlFilter({ in: 'value', offset: 0, ttl: HOUR }), 0)).toBe(0)
  expect(await left(ttlFilter({ in: 'value', offset: 0, ttl: 3 * HOUR }), 0)).toBe(1)
})

test('option DatabaseOptions.compactionFilters: gives keyspaces their filters', async () => {
  const database = await newDatabase({
    compactionFilters: (name) => (name === 'filtered' ? prefixDropFilter(['a']) : undefined),
  })
  for (const name of ['filtered', 'plain']) {
    const keyspace = await database.keyspace(name)
    await flushed(keyspace, { a1: '1', b1: '1' })
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe(name === 'filtered' ? 'b1=1' : 'a1=1 b1=1')
  }
})

test('option TreeOptions.compactionFilter: is asked what a compaction rewrites', () => {
  const compactionFilter = filterOf(({ key }) => (String(key) === 'b' ? 'remove' : 'keep'))
  const tree = openTreeSync(scratchDirectory(), { compactionFilter })
  for (const [i, key] of ['a', 'b', 'c'].entries()) tree.insertSync(key, 'value', i + 1)
  tree.setGcSeqno(10)
  tree.flushSync()
  tree.majorCompactionSync()
  expect([...tree.iter(11).keys()].map(String)).toEqual(['a', 'c'])
  tree.closeSync()
})

test('option UpkeepOptions.tombstoneShare: is the share that is compacted', async () => {
  for (const tombstoneShare of [0.25, 0.75]) {
    const compaction = new LeveledCompaction({ l0Threshold: 1000, tombstoneShare })
    const database = await newDatabase()
    const keyspace = await database.keyspace('k', { compaction })
    await flushed(keyspace, { a: '1', b: '1', c: '1', d: '1' })
    keyspace.removeSync('b')
    keyspace.insertSync('c', '2')
    await keyspace.rotateMemtableAndWait()
    await database.compactor.drain()
    expect(countsIn(keyspace).tombstones).toBe(tombstoneShare === 0.25 ? 0 : 1)
    expect(seen(keyspace)).toBe('a=1 c=2 d=1')
  }
})

test('option UpkeepOptions.maxAgeSeconds: is when a table is rewritten', async () => {
  const idOf = async (maxAgeSeconds: number | undefined): Promise<() => number> => {
    const age = maxAgeSeconds === undefined ? {} : { maxAgeSeconds }
    const database = await newDatabase()
    const compaction = new LeveledCompaction(age)
    const keyspace = await database.keyspace('k', { compaction })
    await flushed(keyspace, { a: '1' })
    await database.compactor.drain()
    return () => keyspace.version().levels.flat(2)[0]!.id
  }
  const [old, young] = [await idOf(0.2), await idOf(undefined)]
  const before = [old(), young()]
  await expect.poll(old, { timeout: 20_000 }).not.toBe(before[0])
  expect(young()).toBe(before[1])
})
