// What is counted: each field moves when it should, and by how much.

import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type {
  Database,
  DatabaseOptions,
  Keyspace,
  KeyspaceMetrics,
  KeyspaceOptions,
  LoadMetrics,
} from '../../lib/index.ts'
import { openDatabase, openTreeSync } from '../support/engine.ts'
import { nextEngine } from '../support/next-engine.ts'
import { PATIENT } from '../support/patient.ts'
import { expectScenario } from '../support/scenario.ts'
import { failure, scaled, scratchDirectory } from '../support/scratch.ts'

/** Nothing is synced unless it is asked for. */
const QUIET: DatabaseOptions = { syncInterval: 0 }
/** Index and filter are blocks like others. */
const UNPINNED: KeyspaceOptions = { compaction: PATIENT, pinIndex: false, pinFilter: false }

interface Opened {
  readonly path: string
  readonly db: Database
  readonly keyspace: Keyspace
}

async function open(
  options: KeyspaceOptions = { compaction: PATIENT },
  path: string = join(scratchDirectory(), 'db'),
): Promise<Opened> {
  const db = await openDatabase(path, QUIET)
  onTestFinished(() => db.close())
  return { path, db, keyspace: await db.keyspace('k', options) }
}

function keyOf(i: number): string {
  return `key ${String(i).padStart(6, '0')}`
}

const KEY_BYTES = 10
const VALUE = 'v'.repeat(100)
/** Of an entry in the journal, besides key and value: docs/format.md, "Batch entries". */
const ENTRY_HEADER_BYTES = 12

/** Tables in level 0 of `count` keys each, the n-th of them keys n, n + tables, ... */
async function fill(keyspace: Keyspace, tables: number, count: number): Promise<void> {
  for (let table = 0; table < tables; table++) {
    for (let i = 0; i < count; i++) keyspace.insertSync(keyOf(i * tables + table), VALUE)
    // One after the other.
    // oxlint-disable-next-line no-await-in-loop
    await keyspace.rotateMemtableAndWait()
  }
}

/** The same in a database that has just been opened: nothing is in its cache. */
async function openCold(tables: number, count: number, options: KeyspaceOptions): Promise<Opened> {
  const path = join(scratchDirectory(), 'db')
  const first = await openDatabase(path)
  await fill(await first.keyspace('k', options), tables, count)
  await first.close()
  return open({}, path)
}

/** What loads have grown by since the last call. */
function loadsOf(
  metrics: () => KeyspaceMetrics,
  which: 'blockLoads' | 'blobLoads',
): () => LoadMetrics {
  let before = metrics()[which]
  return () => {
    const now = metrics()[which]
    const grown = { cached: now.cached - before.cached, io: now.io - before.io }
    before = now
    return grown
  }
}

function expectFrozen(value: unknown): void {
  if (typeof value !== 'object' || value === null) return
  if (value instanceof Map) {
    for (const item of value.values()) expectFrozen(item)
    return
  }
  expect(Object.isFrozen(value)).toBe(true)
  for (const item of Object.values(value)) expectFrozen(item)
}

const NO_LATENCY = { count: 0, p50: 0, p99: 0, p999: 0, max: 0 }

describe('a database', () => {
  test('starts from zero; what it returns is a frozen copy', async () => {
    const path = join(scratchDirectory(), 'db')
    const db = await openDatabase(path, { ...QUIET, cacheSize: 1 << 20 })
    const metrics = db.metrics()
    expect(metrics.cache).toEqual({ capacity: 1 << 20, size: 0, hits: 0, misses: 0 })
    const { count, bytes } = metrics.journal
    expect({ count, bytes }).toEqual({ count: db.journalCount, bytes: db.journalDiskSpace() })
    expect(metrics.writes).toEqual({
      inserts: 0,
      removes: 0,
      batches: 0,
      bytes: 0,
      stalls: 0,
      stallMs: 0,
    })
    const noJobs = { active: 0, completed: 0, ms: 0, bytesWritten: 0 }
    expect(metrics.flushes).toEqual(noJobs)
    expect(metrics.compactions).toEqual({ ...noJobs, bytesRead: 0 })
    expect(metrics.snapshots).toEqual({ open: 0, abandoned: 0, oldestSeqno: undefined })
    expect(metrics.iterators).toEqual({ open: 0, abandoned: 0 })
    expect(metrics.events).toEqual({ dropped: 0 })
    expect(metrics.latency.get).toEqual(NO_LATENCY)
    expect(metrics.latency.insert).toEqual(NO_LATENCY)
    expect(metrics.latency.flush).toEqual(NO_LATENCY)
    expect(metrics.latency.compaction).toEqual(NO_LATENCY)
    expect(metrics.keyspaces).toEqual(new Map())

    const keyspace = await db.keyspace('k')
    await db.keyspace('__proto__')
    keyspace.insertSync('a', 'b')
    expect(metrics.writes.inserts).toBe(0)
    const { keyspaces } = db.metrics()
    expect(keyspaces).toBeInstanceOf(Map)
    expect([...keyspaces.keys()].toSorted()).toEqual(['__proto__', 'k'])
    expect(keyspaces.get('k')).toEqual(keyspace.metrics())
    expectFrozen(db.metrics())
    expectFrozen(keyspace.metrics())
    await db.close()
  })

  test('writes: entries, their bytes, and commits of several', async () => {
    const { db, keyspace } = await open()
    const other = await db.keyspace('other')
    const before = db.metrics().journal
    keyspace.insertSync('abc', '12345')
    await keyspace.insert('def', '', { durability: 'buffered' })
    keyspace.removeSync('abc')
    await keyspace.removeWeak('def')
    await keyspace.removeRange({ gte: 'aaa', lt: 'bb' })
    keyspace.removeRangeSync({ gte: 'b' })
    keyspace.removeRangeSync({ gte: 'z', lt: 'a' }) // empty: no commit
    await db.batch().insert(keyspace, 'k', 'vv').insert(other, 'k', 'v').remove(other, 'l').commit()
    await db.batch().insert(keyspace, 'single', '1').commit()
    const { writes, latency, journal } = db.metrics()
    const bytes = 8 + 3 + 3 + 3 + 5 + 1 + (3 + 2 + 1) + 7
    expect(writes).toMatchObject({ inserts: 5, removes: 5, batches: 1, bytes, stalls: 0 })
    expect(latency.insert.count).toBe(8)
    // One write each, the buffered one with the next; perhaps one that states what is durable.
    const appends = journal.appends - before.appends
    expect(appends).toBeGreaterThanOrEqual(7)
    expect(appends).toBeLessThanOrEqual(9)
    expect(journal.bytesWritten - before.bytesWritten).toBeGreaterThan(bytes + 10 * 12)
    expect(journal.bytes).toBe(db.journalDiskSpace())
  })

  test('refused and failed writes count nowhere', async () => {
    const { db, keyspace } = await open()
    expect((await failure(() => keyspace.insertSync('', 'v'))).code).toBe('INVALID_KEY')
    expect((await failure(() => keyspace.insert('k', 7 as never))).code).toBe('INVALID_VALUE')
    expect((await failure(() => keyspace.getSync(''))).code).toBe('INVALID_KEY')
    const { writes, latency } = db.metrics()
    expect(writes).toMatchObject({ inserts: 0, bytes: 0 })
    expect([latency.insert.count, latency.get.count]).toEqual([0, 0])
  })

  test('syncs of the journal, each timed', async () => {
    const { db, keyspace } = await open()
    const before = db.metrics().journal.syncs
    for (let i = 0; i < 3; i++) keyspace.insertSync(`${i}`, 'v', { durability: 'sync' })
    const { journal, latency } = db.metrics()
    expect(journal.syncs - before).toBe(3)
    expect(latency.sync.count).toBe(journal.syncs)
    expect(latency.sync.p50).toBeGreaterThan(0)
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => keyspace.insert(`${i}`, 'w', { durability: 'sync' })),
    )
    const shared = db.metrics().journal.syncs - journal.syncs
    expect(shared).toBeGreaterThanOrEqual(1)
    expect(shared).toBeLessThanOrEqual(20)
    // A write that waited for a sync took at least as long as one.
    expect(db.metrics().latency.insert.max).toBeGreaterThanOrEqual(latency.sync.p50 / 2)
  })

  test('point reads of all forms, whatever they find; no scans, no getMany', async () => {
    const { db, keyspace } = await open()
    await fill(keyspace, 1, 1000)
    keyspace.insertSync('in memory', 'v')
    const target = Buffer.alloc(100)
    const rounds = 100
    for (let i = 0; i < rounds; i++) {
      for (const key of [keyOf(i), 'in memory', 'nowhere']) {
        keyspace.getSync(key)
        keyspace.getTextSync(key)
        keyspace.getIntoSync(key, target)
        keyspace.sizeOfSync(key)
        keyspace.containsKeySync(key)
        // One after the other.
        // oxlint-disable-next-line no-await-in-loop
        await Promise.all([
          keyspace.get(key),
          keyspace.getText(key),
          keyspace.sizeOf(key),
          keyspace.containsKey(key),
        ])
      }
    }
    const { get } = db.metrics().latency
    expect(get.count).toBe(rounds * 3 * 9)
    expect(get.p50).toBeGreaterThan(0)
    expect(get.p99).toBeGreaterThanOrEqual(get.p50)
    expect(get.p999).toBeGreaterThanOrEqual(get.p99)
    expect(get.max).toBeGreaterThanOrEqual(get.p999)
    expect(get.max).toBeLessThan(60_000_000)
    keyspace.getManySync([keyOf(1), keyOf(2)])
    await keyspace.getMany([keyOf(1), keyOf(2)])
    keyspace.iter().toArraySync()
    keyspace.firstKeyValueSync()
    keyspace.lenSync()
    expect(db.metrics().latency.get.count).toBe(get.count)
  })

  test('flushes and compactions', async () => {
    const { db, keyspace } = await open()
    await fill(keyspace, 2, 500)
    const bytes = keyspace.diskSpace()
    const flushed = db.metrics()
    expect(flushed.flushes).toMatchObject({ active: 0, completed: 2, bytesWritten: bytes })
    expect(flushed.flushes.ms).toBeGreaterThan(0)
    expect(flushed.latency.flush.count).toBe(2)
    // The sum of two is what the longer one took at least.
    expect(flushed.latency.flush.max).toBeLessThanOrEqual(flushed.flushes.ms * 1000 + 1)
    await keyspace.rotateMemtableAndWait() // nothing to do
    expect(db.metrics().flushes.completed).toBe(2)

    await keyspace.majorCompaction()
    const { compactions, latency } = db.metrics()
    const written = { bytesRead: bytes, bytesWritten: keyspace.diskSpace() }
    expect(compactions).toMatchObject({ active: 0, completed: 1, ...written })
    expect(compactions.completed).toBe(db.compactionsCompleted)
    expect(compactions.ms).toBeGreaterThan(0)
    expect(latency.compaction.count).toBe(1)
    await keyspace.dropRange({})
    expect(db.metrics().compactions).toMatchObject({ completed: 2, ...written })
    expect(db.metrics().latency.compaction.count).toBe(2)
  })

  test('snapshots and iterators that are open', async () => {
    const { db, keyspace } = await open()
    for (let i = 0; i < 10; i++) keyspace.insertSync(keyOf(i), VALUE)
    const first = db.snapshot()
    keyspace.insertSync('a', 'b')
    const second = db.snapshot()
    const third = db.snapshot()
    const { seqno } = first
    expect(db.metrics().snapshots).toEqual({ open: 3, abandoned: 0, oldestSeqno: seqno })
    first.close()
    first.close()
    expect(db.metrics().snapshots).toMatchObject({ open: 2, oldestSeqno: second.seqno })
    second.close()
    expect(db.metrics().snapshots).toMatchObject({ open: 1, oldestSeqno: third.seqno })
    third.close()
    expect(db.metrics().snapshots).toEqual({ open: 0, abandoned: 0, oldestSeqno: undefined })

    const open2 = (): number => db.metrics().iterators.open
    const cursor = keyspace.iter().cursor()
    const rows = keyspace.iter({ batchSize: 1 })[Symbol.iterator]()
    rows.next()
    expect(open2()).toBe(2)
    cursor.close()
    cursor.close()
    expect(open2()).toBe(1)
    rows.return?.()
    for (const _ of keyspace.iter({ batchSize: 1 })) {
      expect(open2()).toBe(1)
      break
    }
    for (const _ of keyspace.iter());
    for await (const _ of keyspace.iter({ batchSize: 1 })) expect(open2()).toBe(1)
    keyspace.lenSync()
    await keyspace.firstKeyValue()
    expect(db.metrics().iterators).toEqual({ open: 0, abandoned: 0 })
  })

  test('what is dropped without close is told apart', async () => {
    const directory = scratchDirectory()
    await expectScenario({
      script: new URL('metrics-child.mjs', import.meta.url),
      name: 'abandoned',
      engines: [nextEngine(join(directory, 'db'))],
      directory,
      flags: ['--expose-gc'],
    })
  })
})

describe('a keyspace', () => {
  test('what it holds', async () => {
    const { db, keyspace } = await open()
    await fill(keyspace, 2, 300)
    keyspace.insertSync('in memory', VALUE)
    const metrics = keyspace.metrics()
    expect(metrics.memtableBytes).toBe(db.writeBufferSize)
    expect(metrics.memtableBytes).toBeGreaterThan(100)
    expect(metrics.tableBytes).toBe(keyspace.diskSpace())
    expect(metrics).toMatchObject({ blobBytes: 0, staleBlobBytes: 0 })
    const levelsOf = (): unknown =>
      keyspace.version().levels.map((runs) => ({
        tables: runs.flat().length,
        runs: runs.length,
        bytes: runs.flat().reduce((sum, { size }) => sum + size, 0),
      }))
    expect(metrics.levels).toEqual(levelsOf())
    expect(metrics.levels[0]).toMatchObject({ tables: 2, runs: 2 })
    await keyspace.majorCompaction()
    expect(keyspace.metrics().levels).toEqual(levelsOf())
    expect(keyspace.metrics().levels.at(-1)).toMatchObject({ tables: 1, runs: 1 })
  })

  test('amplification, by the byte', async () => {
    const { keyspace } = await open({ compaction: PATIENT, compression: 'none' })
    expect(keyspace.metrics()).toMatchObject({
      writeAmplification: 1,
      spaceAmplification: 1,
      readAmplification: 0,
    })
    const count = 400
    for (let i = 0; i < count; i++) keyspace.insertSync(keyOf(i), VALUE)
    const given = count * (KEY_BYTES + VALUE.length)
    let put = given + count * ENTRY_HEADER_BYTES
    expect(keyspace.metrics().writeAmplification).toBeCloseTo(put / given, 9)
    await keyspace.rotateMemtableAndWait()
    const first = keyspace.diskSpace()
    put += first
    expect(keyspace.metrics().writeAmplification).toBeCloseTo(put / given, 9)
    expect(keyspace.metrics().spaceAmplification).toBe(1)
    await keyspace.majorCompaction()
    const bottom = keyspace.diskSpace()
    put += bottom
    expect(keyspace.metrics().writeAmplification).toBeCloseTo(put / given, 9)
    for (let i = 0; i < count; i += 2) keyspace.insertSync(keyOf(i), VALUE)
    await keyspace.rotateMemtableAndWait()
    const all = keyspace.diskSpace()
    expect(keyspace.metrics().spaceAmplification).toBeCloseTo(all / bottom, 9)
    expect(all).toBeGreaterThan(bottom)
  })

  test('amplification counts what was ingested, and what was flushed for it', async () => {
    const { keyspace } = await open({ compaction: PATIENT, compression: 'none' })
    keyspace.insertSync('before', VALUE)
    const ingestion = await keyspace.startIngestion()
    const count = 400
    for (let i = 0; i < count; i++) ingestion.write(keyOf(i), VALUE)
    await ingestion.finish()
    const given = count * (KEY_BYTES + VALUE.length) + 'before'.length + VALUE.length
    const journaled = 'before'.length + VALUE.length + ENTRY_HEADER_BYTES
    const put = journaled + keyspace.diskSpace()
    expect(keyspace.metrics().writeAmplification).toBeCloseTo(put / given, 9)
  })

  test('several keyspaces of one batch, with values that the journal compresses', async () => {
    const { db, keyspace } = await open()
    const other = await db.keyspace('other', { compaction: PATIENT })
    const large = 'large '.repeat(10_000)
    const before = db.metrics().journal.bytesWritten
    await db.batch().insert(keyspace, 'k', large).insert(other, 'k', VALUE).commit()
    const stored = db.metrics().journal.bytesWritten - before
    expect(stored).toBeLessThan(large.length / 2)
    const put = (of: Keyspace, given: number): number => of.metrics().writeAmplification * given
    expect(put(other, 1 + VALUE.length)).toBeCloseTo(ENTRY_HEADER_BYTES + 1 + VALUE.length, 6)
    // Together they are the record but for its header, and a record that states what is durable.
    const both = put(keyspace, 1 + large.length) + put(other, 1 + VALUE.length)
    expect(both).toBeLessThan(stored)
    expect(both).toBeGreaterThan(stored - 100)
  })

  test('filters: queries, negatives, false positives', async () => {
    const { keyspace } = await open({ compaction: PATIENT, filter: { bitsPerKey: 2 } })
    const count = 2000
    await fill(keyspace, 1, count)
    const { filter: none } = keyspace.metrics()
    expect(none).toEqual({ queries: 0, negatives: 0, falsePositives: 0 })
    for (let i = 0; i < count; i += 2) keyspace.getSync(keyOf(i))
    const hits = count / 2
    expect(keyspace.metrics().filter).toEqual({ queries: hits, negatives: 0, falsePositives: 0 })
    // Between keys that are there.
    for (let i = 0; i < count - 1; i++) keyspace.containsKeySync(`${keyOf(i)}x`)
    const { queries, negatives, falsePositives } = keyspace.metrics().filter
    expect(queries).toBe(hits + count - 1)
    expect(negatives + falsePositives).toBe(count - 1)
    // At two bits for each key, two of five pass.
    expect(falsePositives).toBeGreaterThan(0.2 * count)
    expect(falsePositives).toBeLessThan(0.6 * count)
    // Behind all keys, no table is asked.
    keyspace.getSync('z')
    expect(keyspace.metrics().filter.queries).toBe(queries)
  })

  test('without filters nobody asks them', async () => {
    const { keyspace } = await open({ compaction: PATIENT, filter: 'none' })
    await fill(keyspace, 1, 100)
    keyspace.getSync(keyOf(1))
    keyspace.getSync(`${keyOf(1)}x`)
    expect(keyspace.metrics().filter).toEqual({ queries: 0, negatives: 0, falsePositives: 0 })
  })

  test.each(['sync', 'async'] as const)('blocks that point reads load, %s', async (form) => {
    const { keyspace } = await openCold(1, 1000, UNPINNED)
    const read = async (i: number): Promise<void> => {
      const found = form === 'sync' ? keyspace.getTextSync(keyOf(i)) : keyspace.getText(keyOf(i))
      expect(await found).toBe(VALUE)
    }
    const loads = loadsOf(() => keyspace.metrics(), 'blockLoads')
    await read(0)
    expect(loads()).toEqual({ cached: 0, io: 3 }) // filter, index, data
    await read(0)
    expect(loads()).toEqual({ cached: 3, io: 0 })
    await read(999)
    expect(loads()).toEqual({ cached: 2, io: 1 })
    expect(keyspace.metrics().readAmplification).toBe(3)
    // What the filter rules out takes no more than the filter.
    await keyspace.get(`${keyOf(1)}x`)
    expect(loads()).toEqual({ cached: 1, io: 0 })
    expect(keyspace.metrics().readAmplification).toBe(10 / 4)
    // Memory answers.
    keyspace.insertSync(keyOf(0), VALUE)
    await read(0)
    expect(loads()).toEqual({ cached: 0, io: 0 })
    expect(keyspace.metrics().readAmplification).toBe(10 / 4)
  })

  test('what is pinned is not loaded', async () => {
    const { keyspace } = await openCold(2, 500, {
      compaction: PATIENT,
      pinIndex: true,
      pinFilter: true,
    })
    const loads = loadsOf(() => keyspace.metrics(), 'blockLoads')
    expect(keyspace.getTextSync(keyOf(7))).toBe(VALUE)
    expect(loads()).toEqual({ cached: 0, io: 1 })
    expect(keyspace.getTextSync(keyOf(7))).toBe(VALUE)
    expect(loads()).toEqual({ cached: 1, io: 0 })
  })

  test('scans count their blocks; compactions do not', async () => {
    const { keyspace } = await openCold(1, 2000, UNPINNED)
    const blocks = keyspace.version().levels.flat(2)[0]!.blockCount
    expect(blocks).toBeGreaterThan(40)
    const loads = loadsOf(() => keyspace.metrics(), 'blockLoads')
    expect(await keyspace.len()).toBe(2000)
    const { cached, io } = loads()
    expect(cached + io).toBe(blocks + 1)
    expect(keyspace.metrics().readAmplification).toBe(0)
    keyspace.iter().toArraySync()
    expect(loads()).toEqual({ cached: blocks + 1, io: 0 })
    await keyspace.majorCompaction()
    expect(loads()).toEqual({ cached: 0, io: 0 })
  })

  test('the first item of a scan takes at most two blocks for each source', async () => {
    const runs = 8
    for (const partitionIndex of [false, true]) {
      const options = { ...UNPINNED, partitionIndex, partitionFilter: partitionIndex }
      // One after the other.
      // oxlint-disable-next-line no-await-in-loop
      const { keyspace } = await openCold(runs, scaled(2000), options)
      expect(keyspace.metrics().levels[0]!.runs).toBe(runs)
      const loads = loadsOf(() => keyspace.metrics(), 'blockLoads')
      const first = keyspace.iter()[Symbol.iterator]()
      expect(String(first.next().value?.[0])).toBe(keyOf(0))
      const front = loads()
      expect(front.io).toBeGreaterThanOrEqual(runs)
      expect(front.cached + front.io).toBeLessThanOrEqual(2 * runs)
      const middle = keyspace.range({ gte: keyOf(scaled(1000)) }).cursor()
      // oxlint-disable-next-line no-await-in-loop
      expect(String((await middle.next())?.[0])).toBe(keyOf(scaled(1000)))
      // Where the key lies between two blocks, the first of them is looked into in vain.
      const { cached, io } = loads()
      expect(cached + io).toBeLessThanOrEqual(3 * runs)
      expect(keyspace.lastKeyValueSync()).toBeDefined()
      const back = loads()
      expect(back.cached + back.io).toBeLessThanOrEqual(2 * runs)
      first.return?.()
      middle.close()
    }
  })
})

describe('separated values', () => {
  const SEPARATED: KeyspaceOptions = {
    compaction: PATIENT,
    kvSeparation: { threshold: 64, compression: 'none', stalenessThreshold: 1 },
  }

  test('one that is not in the cache is one miss', async () => {
    const { db, keyspace } = await openCold(1, 200, SEPARATED)
    const missesOf = async (read: () => unknown): Promise<number> => {
      const { misses } = db.metrics().cache
      await read()
      return db.metrics().cache.misses - misses
    }
    // The block comes into the cache.
    expect(keyspace.sizeOfSync(keyOf(1))).toBe(VALUE.length)
    expect(keyspace.sizeOfSync(keyOf(2))).toBe(VALUE.length)
    expect(await missesOf(() => keyspace.sizeOfSync(keyOf(1)))).toBe(0)
    expect(await missesOf(() => keyspace.getSync(keyOf(1)))).toBe(1)
    expect(await missesOf(() => keyspace.get(keyOf(2)))).toBe(1)
    expect(await missesOf(() => keyspace.get(keyOf(2)))).toBe(0)
  })

  test('keys, sizes and presence read no blob', async () => {
    const { keyspace } = await openCold(1, 200, SEPARATED)
    expect(keyspace.isKvSeparated).toBe(true)
    const loads = loadsOf(() => keyspace.metrics(), 'blobLoads')
    const nothing = { cached: 0, io: 0 }
    expect([...keyspace.iter().keys()].length).toBe(200)
    let keys = 0
    for await (const _ of keyspace.iter().keys()) keys++
    expect(keys).toBe(200)
    expect(keyspace.sizeOfSync(keyOf(7))).toBe(VALUE.length)
    expect(await keyspace.sizeOf(keyOf(8))).toBe(VALUE.length)
    expect(keyspace.containsKeySync(keyOf(9))).toBe(true)
    expect(await keyspace.containsKey(keyOf(10))).toBe(true)
    expect(keyspace.lenSync() + (await keyspace.len())).toBe(400)
    expect(await keyspace.isEmpty()).toBe(false)
    expect(loads()).toEqual(nothing)
    let asked = 0
    for (const entry of keyspace.iter().entries()) {
      expect(entry.size).toBe(VALUE.length)
      if (entry.key.toString() === keyOf(3)) {
        expect(loads()).toEqual(nothing)
        expect(entry.valueSync().toString()).toBe(VALUE)
        asked++
      }
    }
    expect(asked).toBe(1)
    expect(loads()).toEqual({ cached: 0, io: 1 })
    await keyspace.majorCompaction()
    expect(loads()).toEqual(nothing)
  })

  test('values are counted by where they come from', async () => {
    const { keyspace } = await openCold(1, 100, SEPARATED)
    const loads = loadsOf(() => keyspace.metrics(), 'blobLoads')
    expect(keyspace.getTextSync(keyOf(1))).toBe(VALUE)
    expect(await keyspace.getText(keyOf(2))).toBe(VALUE)
    expect(loads()).toEqual({ cached: 0, io: 2 })
    expect(keyspace.getTextSync(keyOf(1))).toBe(VALUE)
    expect(await keyspace.getText(keyOf(2))).toBe(VALUE)
    expect(loads()).toEqual({ cached: 2, io: 0 })
    keyspace.iter().toArraySync()
    const scanned = loads()
    expect(scanned.cached + scanned.io).toBe(100)
  })

  test('bytes in use and garbage', async () => {
    const { keyspace } = await open(SEPARATED)
    await fill(keyspace, 1, 200)
    const before = keyspace.metrics()
    expect(before.blobBytes).toBeGreaterThan(200 * VALUE.length)
    expect(before.staleBlobBytes).toBe(0)
    expect(before.tableBytes + before.blobBytes).toBe(keyspace.diskSpace())
    for (let i = 0; i < 100; i++) keyspace.insertSync(keyOf(i), VALUE)
    await keyspace.rotateMemtableAndWait()
    const [table] = keyspace.version().levels[0]!.flat()
    const tables = keyspace.version().levels.flat(2)
    expect(table).toBeDefined()
    await keyspace.compact({
      kind: 'merge',
      tables: tables.map(({ id }) => id),
      destinationLevel: 6,
      targetSize: 1 << 26,
    })
    const after = keyspace.metrics()
    expect(after.staleBlobBytes).toBe(keyspace.fragmentedBlobBytes())
    expect(after.staleBlobBytes).toBeGreaterThan(100 * VALUE.length)
    const live = keyspace
      .version()
      .levels.flat(2)
      .flatMap(({ blobs }) => blobs)
      .reduce((sum, { bytes }) => sum + bytes, 0)
    const wanted = keyspace.diskSpace() / (after.levels.at(-1)!.bytes + live)
    expect(after.spaceAmplification).toBeCloseTo(wanted, 9)
    expect(after.spaceAmplification).toBeGreaterThan(1.2)
  })
})

describe('a bare tree', () => {
  test('counts like a keyspace, without a journal', async () => {
    const tree = openTreeSync(join(scratchDirectory(), 'tree'), {
      compaction: PATIENT,
      compression: 'none',
      pinIndex: true,
      pinFilter: true,
    })
    expect(tree.metrics().writeAmplification).toBe(1)
    for (let i = 0; i < 100; i++) tree.insertSync(keyOf(i), VALUE, i)
    tree.removeSync('gone', 100)
    tree.removeRangeSync({ gte: 'x', lt: 'yz' }, 101)
    expect(tree.metrics().writeAmplification).toBe(0)
    expect(tree.metrics().memtableBytes).toBe(tree.memtableSize())
    await tree.flush()
    const given = 100 * (KEY_BYTES + VALUE.length) + 4 + 3
    expect(tree.metrics().writeAmplification).toBeCloseTo(tree.diskSpace() / given, 9)
    tree.majorCompactionSync()
    const loads = loadsOf(() => tree.metrics(), 'blockLoads')
    expect(tree.getTextSync(keyOf(5), 200)).toBe(VALUE)
    expect(loads()).toEqual({ cached: 0, io: 1 })
    expect(tree.metrics()).toMatchObject({
      readAmplification: 1,
      spaceAmplification: 1,
      tableBytes: tree.diskSpace(),
    })
    expect(tree.metrics().filter.queries).toBe(1)
    expectFrozen(tree.metrics())
    await tree.close()
    expect((await failure(() => tree.metrics())).code).toBe('DB_CLOSED')
  })
})

describe('bad input', () => {
  test('the wrong object, and after close', async () => {
    const { db, keyspace } = await open()
    const { metrics: takenOff } = db
    expect((await failure(() => takenOff.call(keyspace as never))).code).toBe('INVALID_ARGUMENT')
    const { metrics: ofKeyspace } = keyspace
    expect((await failure(() => ofKeyspace.call({} as never))).code).toBe('INVALID_ARGUMENT')
    await db.close()
    expect((await failure(() => db.metrics())).code).toBe('DB_CLOSED')
    expect((await failure(() => keyspace.metrics())).code).toBe('DB_CLOSED')
  })
})
