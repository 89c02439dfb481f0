// The life of a bare tree, drawn from a seed: writes and ingestions at seqnos of the caller, reads
// at all of them, flush, plans, the gc seqno, and reopening, which loses what was not flushed.

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LeveledCompaction, MAX_SEQNO } from '../../../lib/index.ts'
import type { Tree, TreeOptions } from '../../../lib/index.ts'
import { openTree, openTreeSync } from '../../support/engine.ts'
import { scaled, quickDirectory, testSeed } from '../../support/scratch.ts'
import { Random } from '../../typescript/support/random.ts'
import { expectSame } from '../../support/same.ts'

const OPERATIONS = scaled(3000)

/** One version of a key: undefined = removed. */
interface Written {
  readonly key: string
  readonly value: string | undefined
  readonly seqno: number
  /** Of a range that was removed, from the key on; null: it has none. */
  readonly end?: string | null
}

const SETS: Record<string, TreeOptions> = {
  defaults: {},
  'small blocks': { dataBlockSize: 64, restartInterval: 2, compression: 'lz4', cacheSize: 10_000 },
  'separated values': {
    dataBlockSize: 64,
    cacheSize: 10_000,
    kvSeparation: { threshold: 8, fileSize: 4096 },
  },
  'separated in the background': {
    backgroundCompaction: true,
    maxMemtableSize: 8192,
    compaction: new LeveledCompaction({ l0Threshold: 2, targetSize: 8192, levelRatio: 3 }),
    kvSeparation: { threshold: 1, fileSize: 4096, stalenessThreshold: 0.1, compression: 'zstd' },
  },
  'in the background': {
    backgroundCompaction: true,
    maxMemtableSize: 8192,
    dataBlockSize: 512,
    compaction: new LeveledCompaction({ l0Threshold: 2, targetSize: 8192, levelRatio: 3 }),
  },
}

/** What a read at `seqno` sees, in order of the keys. */
function seenAt(written: readonly Written[], seqno: number): Map<string, string> {
  const seen = new Map<string, string>()
  for (const one of written) {
    if (one.seqno >= seqno) break
    const { key: start, end } = one
    if (end !== undefined) {
      for (const key of seen.keys()) {
        if (key >= start && (end === null || key < end)) seen.delete(key)
      }
    } else if (one.value === undefined) seen.delete(one.key)
    else seen.set(one.key, one.value)
  }
  return new Map([...seen].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

async function check(tree: Tree, written: readonly Written[], seqno: number): Promise<void> {
  const seen = [...seenAt(written, seqno)]
  const pairs = (rows: [Buffer, Buffer][]): string[] => rows.map(String)
  const expected = seen.map(String)
  expectSame(pairs(tree.iter(seqno).toArraySync()), expected)
  expectSame(pairs(await tree.iter(seqno, { reverse: true }).toArray()), expected.toReversed())
  const keys = Array.from({ length: 20 }, (_, i) => `key${i * 3}`)
  const values = keys.map((key) => seenAt(written, seqno).get(key))
  expectSame(
    tree.getManySync(keys, seqno).map((value) => value?.toString()),
    values,
  )
  expectSame(
    (await tree.getMany(keys, seqno)).map((value) => value?.toString()),
    values,
  )
  const entries = [...tree.iter(seqno).entries()]
  expectSame(
    entries.map(({ key, size }) => [key.toString(), size]),
    seen.map(([key, value]) => [key, value.length]),
  )
  expectSame(
    entries.map((entry) => `${entry.key.toString()},${entry.valueSync().toString()}`),
    expected,
  )
  expect(tree.firstKeyValueSync(seqno)?.join()).toBe(expected[0])
  expect(tree.lastKeyValueSync(seqno)?.join()).toBe(expected.at(-1))
}

/** A plan that means something for the tables of now. */
async function compact(tree: Tree, random: Random): Promise<void> {
  const levels = tree.version().levels.map((runs) => runs.flat().map(({ id }) => id))
  const from = levels.findIndex((tables) => tables.length > 0)
  const to = levels.findIndex((tables, level) => level > from && tables.length > 0)
  const tables = levels[from]
  if (tables === undefined || random.below(3) === 0) {
    await tree.compact(new LeveledCompaction({ l0Threshold: 1 + random.below(3) }))
  } else if (to < 0) {
    const destinationLevel = Math.min(6, from + 1)
    tree.compactSync({ kind: 'merge', tables, destinationLevel, targetSize: 4096 })
  } else {
    const both = [...tables, ...(levels[to] ?? [])]
    await tree.compact({ kind: 'merge', tables: both, destinationLevel: to, targetSize: 8192 })
  }
}

/** Entries at one seqno; what came of them. */
async function ingest(tree: Tree, random: Random, seqno: number): Promise<Written[]> {
  const isSync = random.below(2) === 0
  const ingestion = isSync ? tree.startIngestionSync(seqno) : await tree.startIngestion(seqno)
  const keys = Array.from({ length: 60 }, (_, i) => `key${i}`).toSorted()
  const written: Written[] = []
  for (const key of keys.filter(() => random.below(3) === 0)) {
    const value = random.below(4) === 0 ? undefined : `${seqno} ${'v'.repeat(random.below(40))}`
    if (value === undefined) ingestion.writeTombstone(key)
    else ingestion.write(key, value)
    written.push({ key, value, seqno })
  }
  if (random.below(6) === 0) {
    ingestion.abort()
    return []
  }
  const count = isSync ? ingestion.finishSync() : await ingestion.finish()
  expect(count).toBe(written.length)
  return written
}

test.each(Object.entries(SETS))('%s', { timeout: 100 * OPERATIONS }, async (name, options) => {
  const seed = testSeed()
  const random = new Random(seed)
  const path = join(quickDirectory(), name)
  let tree = await openTree(path, options)
  let written: Written[] = []
  let seqno = 1
  let gcSeqno = 0
  for (let i = 0; i < OPERATIONS; i++) {
    const draw = random.below(1000)
    if (draw < 8) {
      const [a, b] = [`key${random.below(60)}`, `key${random.below(60)}`]
      const end = draw === 0 ? null : b
      const range = end === null ? { gte: a } : { gte: a, lt: end }
      const { itemSize } = tree.removeRangeSync(range, seqno)
      expect(itemSize > 0).toBe(end === null || a < end)
      if (itemSize > 0) written.push({ key: a, value: undefined, seqno, end })
      seqno += 1 + random.below(2)
    } else if (draw < 10) {
      if (draw === 8) await tree.clear(seqno)
      else tree.clearSync(seqno)
      written.push({ key: '', value: undefined, seqno, end: null })
      seqno++
    } else if (draw < 930) {
      const key = `key${random.below(60)}`
      const size = random.below(50) === 0 ? 3000 : random.below(30)
      const value = random.below(4) === 0 ? undefined : `${i} ${'v'.repeat(size)}`
      if (value === undefined) tree.removeSync(key, seqno)
      else tree.insertSync(key, value, seqno)
      written.push({ key, value, seqno })
      seqno += 1 + random.below(2)
    } else if (draw < 940) {
      tree.rotateMemtable()
    } else if (draw < 960) {
      if (draw % 2 === 0) await tree.flush()
      else tree.flushSync()
    } else if (draw < 965) {
      gcSeqno = Math.max(gcSeqno, seqno - random.below(100))
      tree.setGcSeqno(gcSeqno)
    } else if (draw < 970) {
      if (options.backgroundCompaction !== true) await compact(tree, random)
    } else if (draw < 973) {
      await tree.majorCompaction({ targetSize: 4096 + random.below(10_000) })
    } else if (draw < 990) {
      await check(tree, written, gcSeqno + random.below(seqno - gcSeqno + 1))
      await check(tree, written, MAX_SEQNO)
    } else if (draw < 995) {
      const before = tree.highestPersistedSeqno ?? 0
      await tree.close()
      tree = draw % 2 === 0 ? await openTree(path, options) : openTreeSync(path, options)
      const persisted = tree.highestPersistedSeqno ?? 0
      expect(persisted).toBeGreaterThanOrEqual(before)
      expect(tree.gcSeqno).toBeLessThanOrEqual(gcSeqno)
      written = written.filter((one) => one.seqno <= persisted)
      seqno = Math.max(persisted, gcSeqno) + 1
    } else {
      written.push(...(await ingest(tree, random, seqno)))
      seqno++
    }
  }
  await check(tree, written, MAX_SEQNO)
  await tree.close()
  console.log(`tree model, ${name}: ${OPERATIONS} operations, SEED=${seed}`)
})
