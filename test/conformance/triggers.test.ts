// What is compacted although no level is too large: tables that are mostly tombstones, and tables
// that are too old.

import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { LeveledCompaction, SizeTieredCompaction } from '../../lib/index.ts'
import type { CompactionStrategy, Database, Keyspace, UpkeepOptions } from '../../lib/index.ts'
import { openDatabase, openTreeSync } from '../support/engine.ts'
import { scratchDirectory } from '../support/scratch.ts'

/** No level is ever too large, nor are there too many runs. */
function patient(options: UpkeepOptions = {}): LeveledCompaction {
  return new LeveledCompaction({ l0Threshold: 1000, ...options })
}

interface Opened {
  readonly path: string
  readonly database: Database
  readonly keyspace: Keyspace
}

async function open(
  compaction?: CompactionStrategy,
  path = join(scratchDirectory(), 'db'),
): Promise<Opened> {
  const database = await openDatabase(path)
  onTestFinished(() => database.close())
  const options = compaction === undefined ? {} : { compaction }
  return { path, database, keyspace: await database.keyspace('k', options) }
}

/** Both in one table. */
async function flushed(keyspace: Keyspace, inserted: string, removed = ''): Promise<void> {
  for (const key of removed) keyspace.removeSync(key)
  for (const key of inserted) keyspace.insertSync(key, 'v')
  await keyspace.rotateMemtableAndWait()
}

interface Counts {
  readonly tables: number
  readonly items: number
  /** Of all kinds. */
  readonly tombstones: number
}

function countsOf(keyspace: Pick<Keyspace, 'version'>): Counts {
  const tables = keyspace.version().levels.flat(2)
  const sum = (counts: number[]): number => counts.reduce((a, b) => a + b, 0)
  return {
    tables: tables.length,
    items: sum(tables.map(({ itemCount }) => itemCount)),
    tombstones: sum(
      tables.map((table) => {
        return table.tombstoneCount + table.weakTombstoneCount + table.rangeTombstoneCount
      }),
    ),
  }
}

function ids(keyspace: Pick<Keyspace, 'version'>): number[] {
  return keyspace
    .version()
    .levels.flat(2)
    .map(({ id }) => id)
}

function keys(keyspace: Keyspace, options = {}): string {
  return keyspace
    .iter(options)
    .toArraySync()
    .map(([key]) => String(key))
    .join('')
}

describe('tombstones', () => {
  test('end with what they hide, though no level is too large', async () => {
    const { database, keyspace } = await open(patient())
    await flushed(keyspace, 'abcdefgh')
    await flushed(keyspace, '', 'bcd')
    await database.compactor.drain()
    expect(countsOf(keyspace)).toEqual({ tables: 1, items: 5, tombstones: 0 })
    expect(keys(keyspace)).toBe('aefgh')
  })

  test.each([
    ['weak ones', (keyspace: Keyspace) => 'bcd'.split('').map((k) => keyspace.removeWeakSync(k))],
    ['range tombstones', (keyspace: Keyspace) => keyspace.removeRangeSync({ gte: 'b', lte: 'd' })],
  ])('%s as well', async (_, remove) => {
    const { database, keyspace } = await open(patient())
    await flushed(keyspace, 'abcdefgh')
    remove(keyspace)
    await keyspace.rotateMemtableAndWait()
    await database.compactor.drain()
    expect(countsOf(keyspace)).toEqual({ tables: 1, items: 5, tombstones: 0 })
    expect(keys(keyspace)).toBe('aefgh')
  })

  test('are left where there are fewer of them than the share', async () => {
    const { database, keyspace } = await open(patient({ tombstoneShare: 0.6 }))
    await flushed(keyspace, 'abcdefgh')
    await flushed(keyspace, 'xy', 'bc')
    await database.compactor.drain()
    expect(countsOf(keyspace)).toEqual({ tables: 2, items: 12, tombstones: 2 })
    expect(keys(keyspace)).toBe('adefghxy')
  })

  test('with a share of 1 only tables of them alone go', async () => {
    const { database, keyspace } = await open(patient({ tombstoneShare: 1 }))
    await flushed(keyspace, 'abcdefgh')
    await flushed(keyspace, 'x', 'bcdefg')
    await database.compactor.drain()
    expect(countsOf(keyspace)).toEqual({ tables: 2, items: 15, tombstones: 6 })
    // The only value of the upper one goes: now it holds nothing else.
    await flushed(keyspace, '', 'x')
    await database.compactor.drain()
    expect(countsOf(keyspace)).toEqual({ tables: 1, items: 2, tombstones: 0 })
    expect(keys(keyspace)).toBe('ah')
  })

  test.each([
    ['leveled', new LeveledCompaction({ targetSize: 16_384 })],
    ['size-tiered', new SizeTieredCompaction({ baseSize: 16_384 })],
  ])('a queue does not crawl over what was taken from it: %s', async (_, compaction) => {
    const { database, keyspace } = await open(compaction)
    const nameOf = (i: number): string => `job ${String(i).padStart(6, '0')}`
    const value = Buffer.alloc(100, 'v')
    let [head, tail] = [0, 0]
    for (let round = 0; round < 16; round++) {
      for (let i = 0; i < 500; i++) keyspace.insertSync(nameOf(tail++), value)
      // Most of what there is, and once all of it.
      const end = round === 15 ? tail : tail - 200
      while (head < end) keyspace.removeSync(nameOf(head++))
      // oxlint-disable-next-line no-await-in-loop
      await keyspace.rotateMemtableAndWait()
      // oxlint-disable-next-line no-await-in-loop
      await database.compactor.drain()
      const { items, tombstones } = countsOf(keyspace)
      expect(tombstones).toBeLessThanOrEqual(items / 2)
      expect(keyspace.lenSync()).toBe(tail - head)
    }
    // Nothing is left that a scan would have to pass.
    expect(countsOf(keyspace)).toEqual({ tables: 0, items: 0, tombstones: 0 })
    expect(keyspace.isEmptySync()).toBe(true)
  })

  test('wait for a snapshot that sees what they hide, and do not turn in circles', async () => {
    const { database, keyspace } = await open(patient())
    await flushed(keyspace, 'abcdef')
    const snapshot = database.snapshot()
    await flushed(keyspace, '', 'abcdef')
    await database.compactor.drain()
    const { items, tombstones } = countsOf(keyspace)
    expect([items, tombstones]).toEqual([12, 6])
    const completed = database.compactionsCompleted
    // A look at it, and another one.
    for (const key of 'xy') {
      // oxlint-disable-next-line no-await-in-loop
      await flushed(keyspace, key)
      // oxlint-disable-next-line no-await-in-loop
      await database.compactor.drain()
    }
    await setTimeout(100)
    expect(database.compactionsCompleted - completed).toBeLessThanOrEqual(2)
    expect(countsOf(keyspace).tombstones).toBe(6)
    expect(keys(keyspace, { snapshot })).toBe('abcdef')
    snapshot.close()
    // Nothing is written: the end of the snapshot is what it goes on with.
    await expect.poll(() => countsOf(keyspace).tombstones, { timeout: 20_000 }).toBe(0)
    await database.compactor.drain()
    expect(countsOf(keyspace).items).toBe(2)
    expect(keys(keyspace)).toBe('xy')
  })

  test('a snapshot from behind them is no reason to wait', async () => {
    const { database, keyspace } = await open(patient())
    await flushed(keyspace, 'abcdef')
    for (const key of 'abcdef') keyspace.removeSync(key)
    const snapshot = database.snapshot()
    await keyspace.rotateMemtableAndWait()
    await database.compactor.drain()
    expect(countsOf(keyspace).tables).toBe(0)
    expect(keys(keyspace, { snapshot })).toBe('')
    snapshot.close()
  })
})

describe('age', () => {
  test('a table is rewritten when it is too old, though nothing is written', async () => {
    const { database, keyspace } = await open(patient({ maxAgeSeconds: 0.5 }))
    await flushed(keyspace, 'abc')
    const [written] = ids(keyspace)
    const replaced = (): boolean => !ids(keyspace).includes(written!)
    await expect.poll(replaced, { timeout: 20_000 }).toBe(true)
    const [rewritten] = ids(keyspace)
    await expect.poll(() => ids(keyspace)[0]! > rewritten!, { timeout: 20_000 }).toBe(true)
    expect(keys(keyspace)).toBe('abc')
    expect(countsOf(keyspace)).toEqual({ tables: 1, items: 3, tombstones: 0 })
    expect(database.compactionsCompleted).toBeGreaterThanOrEqual(2)
  })

  test('it goes to what it meets below, and a snapshot is no reason to wait', async () => {
    const compaction = new SizeTieredCompaction({ minRuns: 64, maxAgeSeconds: 0.5 })
    const { database, keyspace } = await open(compaction)
    const snapshot = database.snapshot()
    await flushed(keyspace, 'ace')
    await flushed(keyspace, 'bcd')
    const runs = (): number => keyspace.version().levels.flat().length
    await expect.poll(runs, { timeout: 20_000 }).toBe(1)
    expect(keys(keyspace)).toBe('abcde')
    expect(keys(keyspace, { snapshot })).toBe('')
    snapshot.close()
  })

  test('without one nothing is rewritten', async () => {
    const { database, keyspace } = await open(patient())
    await flushed(keyspace, 'abc')
    await flushed(keyspace, 'bcd')
    await database.compactor.drain()
    const before = ids(keyspace)
    await setTimeout(300)
    await database.compactor.drain()
    expect(ids(keyspace)).toEqual(before)
  })
})

describe('the numbers of it', () => {
  const context = { busyTables: new Set<number>(), seenBelow: Number.MAX_SAFE_INTEGER }

  test.each([
    ['leveled', patient],
    ['size-tiered', (options: UpkeepOptions) => new SizeTieredCompaction(options)],
  ])('survive a reopen: %s', async (_, make) => {
    const first = await open(make({ tombstoneShare: 0.75, maxAgeSeconds: 3600 }))
    const { path } = first
    await flushed(first.keyspace, 'abcdef')
    // Of four entries two, and of four three.
    await flushed(first.keyspace, 'xy', 'ab')
    await first.database.compactor.drain()
    expect(countsOf(first.keyspace)).toMatchObject({ tables: 2, tombstones: 2 })
    await first.database.close()

    const { database, keyspace } = await open(undefined, path)
    const { compaction } = keyspace.options
    const version = keyspace.version()
    const now = Date.now()
    expect(compaction.choose(version, { ...context, now })).toBeUndefined()
    expect(compaction.choose(version, { ...context, now: now + 3600_000 })?.kind).toBe('merge')
    await flushed(keyspace, 'y', 'abx')
    await database.compactor.drain()
    expect(countsOf(keyspace).tables).toBeLessThan(3)
  })

  test('hold from when they are given, though nothing is written', async () => {
    const first = await open(patient({ tombstoneShare: 1 }))
    const { path } = first
    await flushed(first.keyspace, 'abcdef')
    await flushed(first.keyspace, 'x', 'abcde')
    await first.database.compactor.drain()
    expect(countsOf(first.keyspace).tombstones).toBe(5)
    await first.database.close()

    const { database, keyspace } = await open(patient({ tombstoneShare: 0.8 }), path)
    await database.compactor.drain()
    expect(countsOf(keyspace)).toEqual({ tables: 1, items: 2, tombstones: 0 })
    expect(keys(keyspace)).toBe('fx')
    // The same with an age.
    await database.keyspace('k', { compaction: patient({ maxAgeSeconds: 0.2 }) })
    const [before] = ids(keyspace)
    await expect.poll(() => ids(keyspace)[0] !== before, { timeout: 20_000 }).toBe(true)
  })
})

describe('a bare tree', () => {
  test('takes one decision: what the strategy wants, then tombstones', async () => {
    const tree = openTreeSync(join(scratchDirectory(), 'tree'), { compaction: patient() })
    onTestFinished(() => tree.close())
    let seqno = 1
    const write = (inserted: string, removed: string): void => {
      for (const key of inserted) tree.insertSync(key, 'v', seqno++)
      for (const key of removed) tree.removeSync(key, seqno++)
      tree.flushSync()
    }
    write('abcdef', '')
    write('', 'bc')
    write('', 'de')
    // The runs are too many: that comes first.
    tree.compactSync(new LeveledCompaction({ l0Threshold: 3 }))
    expect(countsOf(tree)).toEqual({ tables: 1, items: 10, tombstones: 4 })
    // Every read may still need all of it.
    await tree.compact(patient({ tombstoneShare: 0.1 }))
    expect(countsOf(tree)).toEqual({ tables: 1, items: 10, tombstones: 4 })
    tree.setGcSeqno(seqno)
    // Not by the numbers of the tree, but by those that are given.
    await tree.compact(patient())
    expect(countsOf(tree).tombstones).toBe(4)
    await tree.compact(patient({ tombstoneShare: 0.4 }))
    expect(countsOf(tree)).toEqual({ tables: 1, items: 2, tombstones: 0 })
    const [before] = ids(tree)
    await setTimeout(5)
    tree.compactSync(patient({ maxAgeSeconds: 0.001 }))
    expect(ids(tree)).not.toContain(before)
    expect(countsOf(tree).items).toBe(2)
  })

  test('with compaction in the background goes on when its gc seqno rises', async () => {
    const tree = openTreeSync(join(scratchDirectory(), 'tree'), {
      compaction: patient(),
      backgroundCompaction: true,
    })
    onTestFinished(() => tree.close())
    for (const [i, key] of 'abcdef'.split('').entries()) tree.insertSync(key, 'v', i + 1)
    await tree.flush()
    for (const [i, key] of 'abcdef'.split('').entries()) tree.removeSync(key, i + 11)
    await tree.flush()
    await tree.compactor.drain()
    expect(countsOf(tree)).toEqual({ tables: 1, items: 12, tombstones: 6 })
    tree.setGcSeqno(20)
    await expect.poll(() => countsOf(tree).tables, { timeout: 20_000 }).toBe(0)
  })
})
