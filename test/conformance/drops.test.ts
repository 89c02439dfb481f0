// Tables that are dropped as wholes, by a range, by age and size, or by a plan: what goes, what
// stays, and who still reads it. And runs that are merged by their size.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { FifoCompaction, SizeTieredCompaction } from '../../lib/index.ts'
import type { Database, Keyspace, KeyspaceOptions, Tree } from '../../lib/index.ts'
import { openDatabase, openTreeSync } from '../support/engine.ts'
import { PATIENT } from '../support/patient.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

async function open(
  options: KeyspaceOptions,
): Promise<{ path: string; database: Database; keyspace: Keyspace }> {
  const path = join(scratchDirectory(), 'db')
  const database = await openDatabase(path)
  onTestFinished(() => database.close())
  return { path, database, keyspace: await database.keyspace('k', options) }
}

/** One table with these keys; a value says which table it is from. */
async function flushed(keyspace: Keyspace, keys: string, value: string): Promise<void> {
  for (const key of keys) keyspace.insertSync(key, value)
  await keyspace.rotateMemtableAndWait()
}

type Source = Pick<Keyspace, 'iter'>

function seen(keyspace: Source, options = {}): string {
  const rows = keyspace.iter(options).toArraySync()
  return rows.map((row) => row.map(String).join('')).join(' ')
}

/** Files are removed in the background. */
async function expectFiles(path: string, kind: 'table' | 'blob', count: number): Promise<void> {
  const files = (): string[] => readdirSync(path).filter((name) => name.endsWith(`.${kind}`))
  await expect.poll(() => files().length, { timeout: 20_000 }).toBe(count)
}

async function expectTableFiles(path: string, count: number): Promise<void> {
  await expectFiles(path, 'table', count)
}

describe('dropRange', () => {
  test('drops whole tables; what reaches out of it stays, and what is in memory', async () => {
    const { path, keyspace } = await open({ compaction: PATIENT })
    await flushed(keyspace, 'abc', '1')
    await flushed(keyspace, 'def', '2')
    await flushed(keyspace, 'fgh', '3')
    keyspace.insertSync('e', '4')
    await keyspace.dropRange({ gte: 'b', lt: 'g' })
    expect(seen(keyspace)).toBe('a1 b1 c1 e4 f3 g3 h3')
    expect(keyspace.tableCount()).toBe(2)
    await expectTableFiles(path, 2)
    keyspace.dropRangeSync({})
    expect(seen(keyspace)).toBe('e4')
    await expectTableFiles(path, 0)
  })

  test('takes all forms of bounds', async () => {
    const { keyspace } = await open({ compaction: PATIENT })
    const forms = [
      [{ gte: 'd', lte: 'f' }, true],
      [{ gt: 'c', lt: 'g' }, true],
      [{ gte: 'd' }, true],
      [{ lte: 'f' }, true],
      [{ gt: 'd', lte: 'f' }, false],
      [{ gte: 'd', lt: 'f' }, false],
      [{ gte: 'f', lt: 'd' }, false],
    ] as const
    for (const [range, isInside] of forms) {
      await flushed(keyspace, 'def', '1')
      await keyspace.dropRange(range)
      expect(seen(keyspace), JSON.stringify(range)).toBe(isInside ? '' : 'd1 e1 f1')
      keyspace.dropRangeSync({})
    }
  })

  test('brings nothing older to light', async () => {
    const { keyspace } = await open({ compaction: PATIENT })
    await flushed(keyspace, 'az', '1')
    await flushed(keyspace, 'fgh', '2')
    for (const key of 'pq') keyspace.removeSync(key)
    await flushed(keyspace, 'r', '3')
    await keyspace.dropRange({ gt: 'a', lt: 'z' })
    // The wide one is not inside, and lies under both of the others.
    expect(seen(keyspace)).toBe('a1 f2 g2 h2 r3 z1')
    await keyspace.dropRange({ gte: 'a' })
    expect(seen(keyspace)).toBe('')
  })

  test('a snapshot goes on reading what was there, and one from behind does not', async () => {
    const { path, database, keyspace } = await open({ compaction: PATIENT })
    await flushed(keyspace, 'ab', '1')
    keyspace.insertSync('c', '2')
    const before = database.snapshot()
    await keyspace.dropRange({})
    const behind = database.snapshot()
    expect(seen(keyspace)).toBe('c2')
    expect(seen(keyspace, { snapshot: behind })).toBe('c2')
    expect(seen(keyspace, { snapshot: before })).toBe('a1 b1 c2')
    expect(keyspace.getTextSync('a', { snapshot: before })).toBe('1')
    expect(await keyspace.getText('a', { snapshot: behind })).toBeUndefined()
    const many = await keyspace.getMany(['a', 'c'], { snapshot: before })
    expect(many.map(String)).toEqual(['1', '2'])
    expect(await keyspace.len({ snapshot: before })).toBe(3)

    // Flushes and compactions change nothing of that, nor does another drop.
    keyspace.removeSync('a')
    await flushed(keyspace, 'bd', '3')
    await keyspace.majorCompaction()
    expect(seen(keyspace, { snapshot: before })).toBe('a1 b1 c2')
    expect(seen(keyspace, { snapshot: behind })).toBe('c2')
    await keyspace.dropRange({})
    expect(seen(keyspace)).toBe('')
    expect(seen(keyspace, { snapshot: before })).toBe('a1 b1 c2')
    expect(seen(keyspace, { snapshot: behind })).toBe('c2')
    before.close()
    expect(seen(keyspace, { snapshot: behind })).toBe('c2')
    behind.close()
    await expectTableFiles(path, 0)
  })

  test('the blob files of dropped tables go with their last reader', async () => {
    const kvSeparation = { threshold: 100, compression: 'none' } as const
    const { path, database, keyspace } = await open({ compaction: PATIENT, kvSeparation })
    const value = 'v'.repeat(1000)
    await flushed(keyspace, 'abc', value)
    expect(keyspace.blobFileCount()).toBe(1)
    await expectFiles(path, 'blob', 1)
    const snapshot = database.snapshot()
    await keyspace.dropRange({})
    expect(keyspace.blobFileCount()).toBe(0)
    expect(keyspace.getTextSync('b', { snapshot })).toBe(value)
    snapshot.close()
    await expectTableFiles(path, 0)
    await expectFiles(path, 'blob', 0)
  })

  test('what is dropped behind a commit that waits for its sync goes with it', async () => {
    const { path, keyspace } = await open({ compaction: PATIENT })
    await flushed(keyspace, 'wx', '1')
    await flushed(keyspace, 'abc', '1')
    const pending = keyspace.insert('x', '2', { durability: 'sync' })
    keyspace.dropRangeSync({ lt: 'd' })
    await pending
    // A table over another one: there is nothing to compact.
    await keyspace.rotateMemtableAndWait()
    expect(seen(keyspace)).toBe('w1 x2')
    await expectTableFiles(path, 2)
  })

  test('an iteration that was begun goes on', async () => {
    const { keyspace } = await open({ compaction: PATIENT })
    await flushed(keyspace, 'abc', '1')
    const rows = keyspace.iter({ batchSize: 1 })[Symbol.iterator]()
    expect(String(rows.next().value)).toBe('a,1')
    await keyspace.dropRange({})
    expect(String(rows.next().value)).toBe('b,1')
    expect(keyspace.isEmptySync()).toBe(true)
    expect(String(rows.next().value)).toBe('c,1')
  })

  test('holds after a reopen', async () => {
    const path = join(scratchDirectory(), 'db')
    let database = await openDatabase(path)
    let keyspace = await database.keyspace('k', { compaction: PATIENT })
    await flushed(keyspace, 'abc', '1')
    keyspace.insertSync('z', '2')
    await keyspace.dropRange({})
    const { seqno } = database
    await database.close()
    database = await openDatabase(path)
    onTestFinished(() => database.close())
    expect(database.seqno).toBeGreaterThanOrEqual(seqno)
    keyspace = await database.keyspace('k')
    expect(seen(keyspace)).toBe('z2')
  })

  test('bad input', async () => {
    const { database, keyspace } = await open({ compaction: PATIENT })
    await flushed(keyspace, 'abc', '1')
    expect((await rejection(() => keyspace.dropRange({ gt: 'a', gte: 'b' }))).code).toBe(
      'INVALID_RANGE',
    )
    expect((await failure(() => keyspace.dropRangeSync({ lt: '' }))).code).toBe('INVALID_KEY')
    const nothing = undefined as unknown as object
    expect((await rejection(() => keyspace.dropRange(nothing))).code).toBe('INVALID_ARGUMENT')
    expect(seen(keyspace)).toBe('a1 b1 c1')
    await database.close()
    expect((await rejection(() => keyspace.dropRange({}))).code).toBe('DB_CLOSED')
    expect((await failure(() => keyspace.dropRangeSync({}))).code).toBe('DB_CLOSED')
  })
})

describe('a bare tree', () => {
  const filled = (): Tree => {
    const tree = openTreeSync(join(scratchDirectory(), 'tree'))
    onTestFinished(() => tree.close())
    tree.insertSync('a', '1', 1)
    tree.insertSync('b', '2', 2)
    tree.flushSync()
    tree.insertSync('c', '3', 3)
    return tree
  }
  const at = (tree: Tree, seqno: number): string => {
    const rows = tree.iter(seqno).toArraySync()
    return rows.map((row) => row.map(String).join('')).join(' ')
  }

  test('reads at the seqnos of before see what was there, while they may come', async () => {
    const tree = filled()
    const before = tree.getVersionForSnapshot(4).version.id
    await tree.dropRange({})
    expect(at(tree, 4)).toBe('c3')
    expect(at(tree, 3)).toBe('a1 b2')
    expect(tree.getTextSync('a', 2)).toBe('1')
    expect(tree.versionHistory().length).toBe(2)
    expect(tree.getVersionForSnapshot(3).version.id).toBe(before)
    expect(tree.getVersionForSnapshot(4).version.levels.flat(2)).toEqual([])
    expect(tree.versionHistory()[0]!.version.levels.flat(2)).toEqual([])
    tree.insertSync('d', '4', 4)
    tree.flushSync()
    expect(at(tree, 3)).toBe('a1 b2')
    tree.setGcSeqno(4)
    tree.flushSync()
    expect(tree.versionHistory().length).toBe(1)
    expect(at(tree, 5)).toBe('c3 d4')
  })

  test('dropRangeSync drops what lies inside', () => {
    const tree = filled()
    tree.dropRangeSync({ gt: 'a' })
    expect(at(tree, 9)).toBe('a1 b2 c3')
    tree.dropRangeSync({ gte: 'a', lte: 'b' })
    expect(at(tree, 9)).toBe('c3')
  })
})

describe('compact(plan)', () => {
  test('merges, moves and drops what it names', async () => {
    const { database, keyspace } = await open({ compaction: PATIENT })
    await flushed(keyspace, 'ab', '1')
    await flushed(keyspace, 'bc', '2')
    const ids = (): number[] =>
      keyspace
        .version()
        .levels.flat(2)
        .map(({ id }) => id)
    const tables = ids()
    await keyspace.compact({ kind: 'merge', tables, destinationLevel: 5, targetSize: 10_000 })
    expect(keyspace.version().levels.map((runs) => runs.length)).toEqual([0, 0, 0, 0, 0, 1, 0])
    expect((await rejection(() => keyspace.compact({ kind: 'drop', tables }))).code).toBe(
      'PLAN_STALE',
    )
    await keyspace.compact({ kind: 'move', tables: ids(), destinationLevel: 6 })
    expect(seen(keyspace)).toBe('a1 b2 c2')
    const snapshot = database.snapshot()
    await keyspace.compact({ kind: 'drop', tables: ids() })
    expect(seen(keyspace)).toBe('')
    expect(seen(keyspace, { snapshot })).toBe('a1 b2 c2')
    snapshot.close()
  })

  test('ends before pause() and drain() do', async () => {
    const { database, keyspace } = await open({ compaction: PATIENT })
    const merge = async (): Promise<void> => {
      const tables = keyspace
        .version()
        .levels.flat(2)
        .map(({ id }) => id)
      await keyspace.compact({ kind: 'merge', tables, destinationLevel: 6, targetSize: 2 ** 20 })
    }
    await flushed(keyspace, 'ab', '1')
    await flushed(keyspace, 'ab', '2')
    await Promise.all([merge(), database.compactor.pause()])
    expect(database.compactor.jobs()).toEqual([])
    database.compactor.resume()
    await Promise.all([merge(), database.compactor.drain()])
    expect(seen(keyspace)).toBe('a2 b2')

    const tree = openTreeSync(join(scratchDirectory(), 'tree'), { compaction: PATIENT })
    onTestFinished(() => tree.close())
    for (let seqno = 1; seqno <= 4; seqno++) {
      tree.insertSync('key', `${seqno}`, seqno)
      tree.flushSync()
    }
    const tables = tree
      .version()
      .levels.flat(2)
      .map(({ id }) => id)
    const plan = { kind: 'merge', tables, destinationLevel: 6, targetSize: 2 ** 20 } as const
    await Promise.all([tree.compact(plan), tree.compactor.drain(), tree.compactor.pause()])
  })

  test('refuses what is no plan, or would put newer entries below older ones', async () => {
    const { database, keyspace } = await open({ compaction: PATIENT })
    const errors: unknown[] = []
    database.on('error', (event) => errors.push(event))
    await flushed(keyspace, 'ab', '1')
    await flushed(keyspace, 'ab', '2')
    await flushed(keyspace, 'ab', '3')
    const [newest, ...older] = keyspace.version().levels.flat(2)
    const tables = [newest!.id]
    const refused = [
      undefined,
      {},
      { kind: 'drop', tables: [] },
      { kind: 'drop', tables: ['1'] },
      { kind: 'move', tables, destinationLevel: 7 },
      { kind: 'move', tables, destinationLevel: 5 },
      { kind: 'move', tables: [newest!, ...older].map(({ id }) => id), destinationLevel: 6 },
      { kind: 'merge', tables, destinationLevel: 5 },
    ]
    for (const plan of refused) {
      expect((await rejection(() => keyspace.compact(plan as never))).code).toBe('INVALID_ARGUMENT')
    }
    expect(seen(keyspace)).toBe('a3 b3')
    // That was the caller's mistake.
    expect([database.status, errors]).toEqual(['open', []])
  })
})

describe('FifoCompaction', () => {
  const VALUE = 'v'.repeat(1000)

  test('keeps to its limit, and the newest', async () => {
    const compaction = new FifoCompaction({ limit: 60_000 })
    const { path, database, keyspace } = await open({ compaction, compression: 'none' })
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 10; i++) keyspace.insertSync(`key ${round * 10 + i}`, VALUE)
      await keyspace.rotateMemtableAndWait()
      await database.compactor.drain()
      expect(keyspace.diskSpace()).toBeLessThanOrEqual(60_000)
    }
    expect(keyspace.containsKeySync('key 199')).toBe(true)
    expect(keyspace.containsKeySync('key 0')).toBe(false)
    await expectTableFiles(path, keyspace.tableCount())
    // Whole tables went, the oldest first.
    const rows = keyspace.lenSync()
    expect(rows % 10).toBe(0)
    expect(keyspace.containsKeySync(`key ${200 - rows}`)).toBe(true)
    expect(keyspace.containsKeySync(`key ${199 - rows}`)).toBe(false)
  })

  test('of what was written over the newest version is there, or none', async () => {
    const compaction = new FifoCompaction({ limit: 40_000 })
    const { database, keyspace } = await open({ compaction, compression: 'none' })
    const snapshots = []
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 10; i++) {
        if ((round + i) % 5 === 0) keyspace.removeSync(`key ${i}`)
        else keyspace.insertSync(`key ${i}`, `${round} ${VALUE}`)
      }
      if (round % 4 === 0) {
        const rows = keyspace.iter().toArraySync()
        snapshots.push({ snapshot: database.snapshot(), rows })
      }
      await keyspace.rotateMemtableAndWait()
      await database.compactor.drain()
      for (let i = 0; i < 10; i++) {
        const found = keyspace.getTextSync(`key ${i}`)
        if (found !== undefined) expect(found.startsWith(`${round} `)).toBe(true)
        if ((round + i) % 5 === 0) expect(found).toBeUndefined()
      }
      for (const { snapshot, rows } of snapshots) {
        expect(keyspace.iter({ snapshot }).toArraySync()).toEqual(rows)
      }
    }
    for (const { snapshot } of snapshots) snapshot.close()
  })

  test('drops what is too old, also when nothing is written', async () => {
    const compaction = new FifoCompaction({ limit: 2 ** 30, ttlSeconds: 0.4 })
    const { path, keyspace } = await open({ compaction })
    await flushed(keyspace, 'abc', '1')
    expect(keyspace.lenSync()).toBe(3)
    await expect.poll(() => keyspace.lenSync(), { timeout: 20_000 }).toBe(0)
    await expectTableFiles(path, 0)
    await setTimeout(10)
    keyspace.insertSync('d', '2')
    expect(keyspace.getTextSync('d')).toBe('2')
  })

  test('is stored with its numbers', async () => {
    const path = join(scratchDirectory(), 'db')
    const compaction = new FifoCompaction({ limit: 12_345, ttlSeconds: 67.5 })
    const first = await openDatabase(path)
    await first.keyspace('k', { compaction })
    await first.close()
    const database = await openDatabase(path)
    onTestFinished(() => database.close())
    const held = (await database.keyspace('k')).options.compaction
    expect(held).toBeInstanceOf(FifoCompaction)
    expect(held.name).toBe('fifo')
    const again = await database.keyspace('k', { compaction: new SizeTieredCompaction() })
    expect(again.options.compaction).toBeInstanceOf(SizeTieredCompaction)
  })
})

describe('SizeTieredCompaction', () => {
  test('keeps the number of runs low, and every row', async () => {
    const compaction = new SizeTieredCompaction({ baseSize: 20_000, ratio: 2, minRuns: 3 })
    const { database, keyspace } = await open({ compaction })
    const model = new Map<string, string>()
    const runs = (): number => keyspace.version().levels.flat().length
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 30; i++) {
        const key = `key ${(round * 37 + i * 11) % 400}`
        if (i % 7 === 0) {
          keyspace.removeSync(key)
          model.delete(key)
        } else {
          const value = `${round} ${'v'.repeat(200)}`
          keyspace.insertSync(key, value)
          model.set(key, value)
        }
      }
      await keyspace.rotateMemtableAndWait()
      await database.compactor.drain()
      expect(runs()).toBeLessThan(12)
    }
    const rows = keyspace.iter().toArraySync()
    expect(rows.map((row) => row.map(String))).toEqual(
      [...model].toSorted(([a], [b]) => (a < b ? -1 : 1)),
    )
  })

  test('does not rewrite ascending keys', async () => {
    const compaction = new SizeTieredCompaction({ minRuns: 2 })
    const { database, keyspace } = await open({ compaction })
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 10; i++) keyspace.insertSync(`key ${1000 + round * 10 + i}`, 'v')
      await keyspace.rotateMemtableAndWait()
    }
    await database.compactor.drain()
    expect(keyspace.tableCount()).toBe(10)
    expect(keyspace.version().levels.flat().length).toBeLessThan(3)
    expect(keyspace.lenSync()).toBe(100)
  })
})
