// What the options of memtables, of separated values and of bare trees do, and what strategies make
// of theirs: docs/options.md names them all.

import { readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import {
  FifoCompaction,
  LeveledCompaction,
  MAX_SEQNO,
  SizeTieredCompaction,
} from '../../../lib/index.ts'
import type { KvSeparationOptions, Tree, Version } from '../../../lib/index.ts'
import { openTree } from '../../support/engine.ts'
import { filesOf, flipByteInPlace, placesOf } from '../../support/files.ts'
import { nextEngine } from '../../support/next-engine.ts'
import { PATIENT } from '../../support/patient.ts'
import { failure, rejection, scratchDirectory } from '../../support/scratch.ts'
import { newKeyspace, newTree, numbered, tablesOf } from '../../support/trees.ts'

const MIB = 2 ** 20

test('option KeyspaceOptions.maxMemtableSize: seals and flushes what is larger', async () => {
  for (const maxMemtableSize of [16_384, 64 * MIB]) {
    const { database, keyspace } = await newKeyspace({ maxMemtableSize, compaction: PATIENT })
    const options = { maxMemtableSize, compaction: PATIENT, backgroundCompaction: true }
    const tree = await newTree(options)
    for (let i = 0; i < 200; i++) {
      await keyspace.insert(numbered(i), 'v'.repeat(1000))
      tree.insertSync(numbered(i), 'v'.repeat(1000), i + 1)
    }
    const isSmall = maxMemtableSize < MIB
    if (isSmall) {
      await expect.poll(() => keyspace.tableCount(), { timeout: 30_000 }).toBeGreaterThan(0)
      await expect.poll(() => tree.tableCount(), { timeout: 30_000 }).toBeGreaterThan(0)
      await expect.poll(() => database.writeBufferSize, { timeout: 30_000 }).toBeLessThan(100_000)
    } else {
      expect([keyspace.tableCount(), tree.tableCount()]).toEqual([0, 0])
      expect(database.writeBufferSize).toBeGreaterThan(200_000)
    }
  }
})

test('option KeyspaceOptions.memtable: picks the structure, where there is a choice', async () => {
  const sizes = new Map<string, number>()
  let engine = ''
  for (const memtable of ['auto', 'radix', 'skiplist'] as const) {
    const { database, keyspace } = await newKeyspace({ memtable })
    engine = database.engine
    expect(keyspace.options.memtable).toBe(memtable)
    const tree = await newTree({ memtable, engine: database.engine })
    for (let i = 0; i < 1000; i++) {
      keyspace.insertSync(numbered(i), 'value')
      tree.insertSync(numbered(i), 'value', i + 1)
    }
    expect(await keyspace.len()).toBe(1000)
    expect(tree.lenSync(MAX_SEQNO)).toBe(1000)
    sizes.set(memtable, tree.memtableSize())
  }
  expect(sizes.get('radix')).toBe(sizes.get('auto'))
  // A node of a list and one of a tree do not take the same.
  if (engine === 'native') expect(sizes.get('skiplist')).not.toBe(sizes.get('radix'))
  else expect(sizes.get('skiplist')).toBe(sizes.get('radix'))
})

test('option KeyspaceOptions.compaction: decides what is merged, also if given later', async () => {
  const { database, keyspace } = await newKeyspace({ compaction: PATIENT })
  for (let run = 0; run < 3; run++) {
    for (const key of 'ab') keyspace.insertSync(key, `${run}`)
    await keyspace.rotateMemtableAndWait()
  }
  await database.compactor.drain()
  expect(keyspace.tableCount()).toBe(3)
  // Nobody writes: it is the other strategy that wants it.
  await database.keyspace('k', { compaction: new LeveledCompaction({ l0Threshold: 2 }) })
  await database.compactor.drain()
  expect(keyspace.tableCount()).toBe(1)
  expect(keyspace.getTextSync('a')).toBe('2')
  await database.keyspace('k', { compaction: new FifoCompaction({ limit: 1 }) })
  await database.compactor.drain()
  expect(keyspace.tableCount()).toBe(0)
})

test('option KeyspaceOptions.kvSeparation: keeps large values in blob files', async () => {
  for (const kvSeparation of [undefined, {}]) {
    const given = { compaction: PATIENT, ...(kvSeparation !== undefined && { kvSeparation }) }
    const [{ path, keyspace }, tree] = [await newKeyspace(given), await newTree(given)]
    keyspace.insertSync('a', 'v'.repeat(5000))
    tree.insertSync('a', 'v'.repeat(5000), 1)
    await keyspace.rotateMemtableAndWait()
    await tree.flush()
    const count = kvSeparation === undefined ? 0 : 1
    expect([keyspace.isKvSeparated, tree.isKvSeparated]).toEqual([count === 1, count === 1])
    expect([keyspace.blobFileCount(), tree.blobFileCount()]).toEqual([count, count])
    expect(filesOf(path, 'blob')).toHaveLength(count)
    expect(keyspace.getTextSync('a')).toBe('v'.repeat(5000))
  }
})

/** A tree with rows of 1,000 bytes in blob files of some four each. */
async function separated(options: KvSeparationOptions): Promise<Tree> {
  const kvSeparation = { threshold: 100, fileSize: 4096, compression: 'none', ...options } as const
  const tree = await newTree({ compaction: PATIENT, kvSeparation })
  for (let i = 0; i < 20; i++) tree.insertSync(numbered(i), `${i} `.padEnd(1000, 'v'), i + 1)
  await tree.flush()
  return tree
}

/** Rewrites the tables, as a strategy would have it. */
async function merge(tree: Tree): Promise<void> {
  const tables = tablesOf(tree).map(({ id }) => id)
  await tree.compact({ kind: 'merge', tables, destinationLevel: 6, targetSize: MIB })
}

/** Overwrites one row in two, so that half of each file is garbage. */
async function halfStale(tree: Tree): Promise<number> {
  for (let i = 0; i < 20; i += 2) tree.insertSync(numbered(i), 'small', 100 + i)
  tree.setGcSeqno(200)
  await tree.flush()
  await merge(tree)
  return tree.fragmentedBlobBytes()
}

test('option KvSeparationOptions.threshold: says what is large', async () => {
  const [low, high] = [await separated({ threshold: 1000 }), await separated({ threshold: 1001 })]
  expect(low.blobFileCount()).toBeGreaterThan(0)
  expect(high.blobFileCount()).toBe(0)
})

test('option KvSeparationOptions.fileSize: ends a blob file', async () => {
  const [small, large] = [await separated({}), await separated({ fileSize: MIB })]
  expect(small.blobFileCount()).toBeGreaterThanOrEqual(4)
  expect(large.blobFileCount()).toBe(1)
})

test('option KvSeparationOptions.compression: makes blob files smaller', async () => {
  const bytes = (tree: Tree): number =>
    tree.version().blobFiles.reduce((sum, { size }) => sum + size, 0)
  const plain = bytes(await separated({ compression: 'none' }))
  expect(plain).toBeGreaterThan(20_000)
  for (const compression of ['lz4', 'zstd'] as const) {
    expect(bytes(await separated({ compression }))).toBeLessThan(plain / 2)
  }
})

test('option KvSeparationOptions.stalenessThreshold: says when garbage is collected', async () => {
  for (const stalenessThreshold of [0.3, 0.9]) {
    const tree = await separated({ stalenessThreshold, ageCutoff: 1 })
    expect(await halfStale(tree)).toBeGreaterThan(9000)
    await merge(tree)
    if (stalenessThreshold === 0.3) expect(tree.fragmentedBlobBytes()).toBe(0)
    else expect(tree.fragmentedBlobBytes()).toBeGreaterThan(9000)
    expect(tree.getTextSync(numbered(7), MAX_SEQNO)).toBe('7 '.padEnd(1000, 'v'))
  }
})

test('option KvSeparationOptions.ageCutoff: says how many files one compaction moves', async () => {
  const moved: number[] = []
  for (const ageCutoff of [0, 0.5, 1]) {
    const tree = await separated({ stalenessThreshold: 0.3, ageCutoff })
    await halfStale(tree)
    const before = tree.version().blobFiles.map(({ id }) => id)
    await merge(tree)
    const after = new Set(tree.version().blobFiles.map(({ id }) => id))
    const gone = before.filter((id) => !after.has(id))
    // The oldest of them.
    expect(gone).toEqual(before.slice(0, gone.length))
    moved.push(gone.length)
    if (ageCutoff === 1) expect(gone).toEqual(before)
  }
  expect(moved[0]).toBe(1)
  expect(moved[1]).toBeGreaterThan(1)
  expect(moved[2]).toBeGreaterThan(moved[1]!)
})

// --- bare trees ----------------------------------------------------------------------------------

test('option TreeOptions.engine: runs the one that is named', async () => {
  const path = join(scratchDirectory(), 'tree')
  const engine = nextEngine(path)
  const tree = await openTree(path, { engine })
  expect(tree.engine).toBe(engine)
  await tree.close()
  const unknown = { engine: 'other' as 'auto' }
  expect((await rejection(() => openTree(path, unknown))).code).toBe('INVALID_OPTION')
})

test('option TreeOptions.cacheSize: keeps blocks that were read', async () => {
  for (const cacheSize of [0, MIB]) {
    const tree = await newTree({ compaction: PATIENT, compression: 'none', cacheSize })
    tree.insertSync('a', 'the value', 1)
    await tree.flush()
    expect(tree.getTextSync('a', MAX_SEQNO)).toBe('the value')
    flipByteInPlace(placesOf(tree.path, 'the value')[0]!)
    if (cacheSize > 0) expect(tree.getTextSync('a', MAX_SEQNO)).toBe('the value')
    else expect((await failure(() => tree.getSync('a', MAX_SEQNO))).code).toBe('CORRUPTION')
  }
})

test.runIf(process.platform === 'linux')(
  'option TreeOptions.maxOpenFiles: bounds the descriptors of tables',
  async () => {
    for (const maxOpenFiles of [16, 900]) {
      const tree = await newTree({ compaction: PATIENT, maxOpenFiles, cacheSize: 0 })
      for (let i = 0; i < 40; i++) {
        tree.insertSync(numbered(i), 'value', i + 1)
        await tree.flush()
      }
      for (let i = 0; i < 40; i++) expect(tree.getTextSync(numbered(i), MAX_SEQNO)).toBe('value')
      const open = readdirSync('/proc/self/fd').filter((fd) => {
        try {
          const file = readlinkSync(`/proc/self/fd/${fd}`)
          return file.startsWith(tree.path) && file.endsWith('.table')
        } catch {
          return false // the one that read the directory
        }
      })
      if (maxOpenFiles === 16) expect(open.length).toBeLessThanOrEqual(16)
      else expect(open.length).toBeGreaterThan(16)
    }
  },
)

test('option TreeOptions.backgroundCompaction: flushes and compacts unasked', async () => {
  for (const backgroundCompaction of [false, true]) {
    const tree = await newTree({
      backgroundCompaction,
      maxMemtableSize: 8192,
      compaction: new LeveledCompaction({ l0Threshold: 2 }),
    })
    for (let i = 0; i < 1000; i++) tree.insertSync(numbered(i % 100), 'v'.repeat(50), i + 1)
    if (!backgroundCompaction) {
      expect([tree.tableCount(), tree.compactor.state]).toEqual([0, 'idle'])
      continue
    }
    await expect.poll(() => tree.tableCount(), { timeout: 30_000 }).toBeGreaterThan(0)
    await tree.flush()
    await tree.compactor.drain()
    expect(tree.l0TableCount()).toBeLessThan(2)
  }
})

// --- strategies ----------------------------------------------------------------------------------

const idle = { busyTables: new Set<number>(), now: Date.now() }

/** A tree of runs over each other in level 0, of about so many bytes each. */
async function runsOf(...sizes: readonly number[]): Promise<Version> {
  const tree = await newTree({ compaction: PATIENT, compression: 'none', filter: 'none' })
  let seqno = 0
  for (const size of sizes) {
    for (let i = 0; i < 10; i++) tree.insertSync(numbered(i), 'v'.repeat(size / 10), ++seqno)
    await tree.flush()
  }
  return tree.version()
}

test('option LeveledOptions.l0Threshold: is the number of runs that are merged', async () => {
  const version = await runsOf(100, 100, 100)
  expect(new LeveledCompaction({ l0Threshold: 4 }).choose(version, idle)).toBeUndefined()
  const plan = new LeveledCompaction({ l0Threshold: 3 }).choose(version, idle)
  expect(plan).toMatchObject({ kind: 'merge', destinationLevel: 6 })
  expect(plan?.tables).toHaveLength(3)
})

test('option LeveledOptions.targetSize: is the size of outputs', async () => {
  const counts: number[] = []
  for (const targetSize of [4096, MIB]) {
    const compaction = new LeveledCompaction({ l0Threshold: 2, targetSize })
    const { database, keyspace } = await newKeyspace({ compaction, compression: 'none' })
    await database.compactor.pause()
    for (let run = 0; run < 2; run++) {
      for (let i = 0; i < 100; i++) keyspace.insertSync(numbered(i), 'v'.repeat(500))
      await keyspace.rotateMemtableAndWait()
    }
    database.compactor.resume()
    await database.compactor.drain()
    counts.push(keyspace.tableCount())
  }
  expect(counts[0]).toBeGreaterThan(8)
  expect(counts[1]).toBe(1)
})

test('option LeveledOptions.levelRatio: is how much a level may hold', async () => {
  const tree = await newTree({ compaction: PATIENT, compression: 'none', filter: 'none' })
  // Above a full last level 20,000 bytes, and above these the base level, which holds 4,096.
  for (const [i, [level, size]] of [
    [6, 2000],
    [5, 2000],
    [4, 10],
  ].entries()) {
    for (let row = 0; row < 10; row++) {
      tree.insertSync(numbered(row), 'v'.repeat(size!), 10 * i + row + 1)
    }
    await tree.flush()
    const tables = tree
      .version()
      .levels[0]!.flat()
      .map(({ id }) => id)
    await tree.compact({ kind: 'move', tables, destinationLevel: level! })
  }
  const plan = (levelRatio: number | readonly number[]): unknown =>
    new LeveledCompaction({ l0Threshold: 1, targetSize: 4096, levelRatio }).choose(
      tree.version(),
      idle,
    )
  expect(plan(2)).toMatchObject({ kind: 'merge', destinationLevel: 6 })
  expect(plan(10)).toBeUndefined()
  expect(plan([2, 10])).toMatchObject({ destinationLevel: 6 })
  expect(plan([10, 2])).toBeUndefined()
})

test('option SizeTieredOptions.minRuns: is the number of runs that are merged', async () => {
  const version = await runsOf(100, 100, 100)
  expect(new SizeTieredCompaction({ minRuns: 4 }).choose(version, idle)).toBeUndefined()
  const plan = new SizeTieredCompaction({ minRuns: 3 }).choose(version, idle)
  expect(plan?.tables).toHaveLength(3)
})

test('option SizeTieredOptions.baseSize: makes small runs equal', async () => {
  const version = await runsOf(100, 100, 20_000, 20_000)
  const choose = (baseSize: number): number | undefined =>
    new SizeTieredCompaction({ baseSize, minRuns: 4 }).choose(version, idle)?.tables.length
  expect(choose(4096)).toBeUndefined()
  expect(choose(MIB)).toBe(4)
})

test('option SizeTieredOptions.ratio: is how much larger the next tier is', async () => {
  const version = await runsOf(10_000, 10_000, 100_000, 100_000)
  const choose = (ratio: number): number | undefined =>
    new SizeTieredCompaction({ baseSize: 4096, ratio, minRuns: 4 }).choose(version, idle)?.tables
      .length
  expect(choose(4)).toBeUndefined()
  expect(choose(100)).toBe(4)
})

test('option FifoOptions.limit: drops the oldest tables above it', async () => {
  const version = await runsOf(10_000, 10_000, 10_000)
  const oldestFirst = version.levels.flat(2).map(({ id }) => id)
  const choose = (limit: number): readonly number[] | undefined =>
    new FifoCompaction({ limit }).choose(version, idle)?.tables
  expect(choose(MIB)).toBeUndefined()
  expect(choose(25_000)).toEqual([Math.min(...oldestFirst)])
  expect(choose(1)).toHaveLength(3)
})

test('option FifoOptions.ttlSeconds: drops tables of that age', async () => {
  const version = await runsOf(100)
  const { createdAt } = version.levels.flat(2)[0]!
  const choose = (age: number, ttlSeconds?: number): unknown =>
    new FifoCompaction({ limit: MIB, ...(ttlSeconds !== undefined && { ttlSeconds }) }).choose(
      version,
      { busyTables: new Set(), now: createdAt + age },
    )
  expect(choose(9_000, 10)).toBeUndefined()
  expect(choose(11_000, 10)).toMatchObject({ kind: 'drop' })
  expect(choose(1e12)).toBeUndefined()
})
