// Key-value separation through the public API: what a value far from its key must not change, what
// is read and what is not, and how garbage goes.

import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FifoCompaction, LeveledCompaction, ShaleError } from '../../lib/index.ts'
import type { Database, Keyspace, KeyspaceOptions, KvSeparationOptions } from '../../lib/index.ts'
import { openDatabase, openDatabaseSync, openTreeSync } from '../support/engine.ts'
import { failure, scratchDirectory } from '../support/scratch.ts'

const SEPARATION: KvSeparationOptions = { threshold: 64, fileSize: 4096, compression: 'none' }
/** Nothing is compacted by itself but for the garbage of blob files. */
const QUIET = new LeveledCompaction({ l0Threshold: 1000 })

interface Opened {
  readonly path: string
  readonly db: Database
  readonly keyspace: Keyspace
}

async function open(
  path: string = join(scratchDirectory(), 'db'),
  options: KeyspaceOptions = { kvSeparation: SEPARATION, compaction: QUIET },
): Promise<Opened> {
  const db = await openDatabase(path)
  return { path, db, keyspace: await db.keyspace('values', options) }
}

function blobsIn(path: string): string[] {
  return readdirSync(path)
    .filter((name) => name.endsWith('.blob'))
    .toSorted()
}

function large(of: string, length = 1000): string {
  return `${of} `.repeat(length).slice(0, length)
}

function keyOf(i: number): string {
  return `key ${String(i).padStart(4, '0')}`
}

async function flush(keyspace: Keyspace): Promise<void> {
  await keyspace.rotateMemtableAndWait()
}

test('values at and around the threshold', async () => {
  const path = join(scratchDirectory(), 'db')
  const { db, keyspace } = await open(path)
  expect(keyspace.isKvSeparated).toBe(true)
  const lengths = [0, 1, 63, 64, 65, 5000, 200_000]
  for (const length of lengths) keyspace.insertSync(`of ${length}`, large('v', length))
  await flush(keyspace)
  const separated = keyspace.version().blobFiles.reduce((sum, { itemCount }) => sum + itemCount, 0)
  expect(separated).toBe(4)
  const check = (of: Keyspace): void => {
    for (const length of lengths) {
      expect(of.getTextSync(`of ${length}`)).toBe(large('v', length))
      expect(of.sizeOfSync(`of ${length}`)).toBe(length)
    }
  }
  check(keyspace)
  await db.close()
  const again = await open(path, {})
  check(again.keyspace)
  expect(again.keyspace.options.kvSeparation).toMatchObject({ ...SEPARATION, ageCutoff: 0.25 })
  await again.db.close()
})

test('a flush without large values writes no blob file', async () => {
  const { path, db, keyspace } = await open()
  keyspace.insertSync('a', 'small')
  await flush(keyspace)
  keyspace.insertSync('b', large('gone'))
  keyspace.removeSync('b')
  await flush(keyspace)
  expect([blobsIn(path), keyspace.blobFileCount()]).toEqual([[], 0])
  await db.close()
})

test('every way to read finds separated values', async () => {
  const path = join(scratchDirectory(), 'db')
  const first = await open(path)
  const expected: [string, string][] = []
  for (let i = 0; i < 60; i++) {
    const value = i % 3 === 0 ? 'small' : large(String(i), 100 + i)
    first.keyspace.insertSync(keyOf(i), value)
    expected.push([keyOf(i), value])
  }
  await flush(first.keyspace)
  await first.db.close()
  const { db, keyspace } = await open(path)
  const texts = (pairs: Iterable<readonly [Buffer, Buffer]>): string[][] =>
    Array.from(pairs, ([key, value]) => [key.toString(), value.toString()])
  expect(texts(await keyspace.iter().toArray())).toEqual(expected)
  expect(texts(keyspace.iter({ reverse: true }))).toEqual(expected.toReversed())
  const values: string[] = []
  for await (const value of keyspace.iter().values()) values.push(value.toString())
  expect(values).toEqual(expected.map(([, value]) => value))
  const visited: string[][] = []
  keyspace.iter().forEachSync((key, value) => {
    visited.push([key.toString(), value.toString()])
  })
  expect(visited).toEqual(expected)
  const cursor = keyspace.iter().cursor()
  expect(texts([cursor.nextSync()!, (await cursor.nextBack())!])).toEqual([
    expected[0],
    expected.at(-1),
  ])
  cursor.close()
  const keys = expected.map(([key]) => key)
  expect((await keyspace.getMany(keys)).map(String)).toEqual(values)
  expect(keyspace.getManySync(keys).map(String)).toEqual(values)
  const [, value] = expected[1]!
  const into = Buffer.alloc(value.length)
  expect(keyspace.getIntoSync(keyOf(1), into)).toBe(value.length)
  expect(into.toString()).toBe(value)
  expect(await keyspace.getText(keyOf(1))).toBe(value)
  expect(String((await keyspace.firstKeyValue())?.[1])).toBe('small')
  expect(String(keyspace.lastKeyValueSync()?.[1])).toBe(expected.at(-1)?.[1])
  await db.close()
})

test('keys, sizes and counts read no blob', async () => {
  const path = join(scratchDirectory(), 'db')
  const before = await open(path)
  for (let i = 0; i < 50; i++) before.keyspace.insertSync(keyOf(i), large(String(i), 500 + i))
  await flush(before.keyspace)
  await before.db.close()
  const { db, keyspace } = await open(path)
  // The files are opened anew by the reads that follow: what is read would be missed.
  for (const name of blobsIn(path)) {
    const bytes = readFileSync(join(path, name))
    writeFileSync(join(path, name), bytes.fill(0xee, 32, bytes.length - 64))
  }
  expect(keyspace.sizeOfSync(keyOf(7))).toBe(507)
  expect(await keyspace.sizeOf(keyOf(8))).toBe(508)
  expect(await keyspace.containsKey(keyOf(9))).toBe(true)
  expect(keyspace.containsKeySync('key 9999')).toBe(false)
  expect([await keyspace.len(), keyspace.lenSync()]).toEqual([50, 50])
  expect([await keyspace.isEmpty(), keyspace.isEmptySync()]).toEqual([false, false])
  const keys = Array.from({ length: 50 }, (_, i) => keyOf(i))
  expect(Array.from(keyspace.iter().keys(), String)).toEqual(keys)
  const sizes: number[] = []
  for await (const entry of keyspace.iter().entries()) sizes.push(entry.size)
  expect(sizes).toEqual(keys.map((_, i) => 500 + i))
  expect((await failure(() => keyspace.getSync(keyOf(7)))).code).toBe('CORRUPTION')
  await db.close()
})

test('an entry fetches its value late, from the state that was iterated', async () => {
  const { db, keyspace } = await open()
  for (let i = 0; i < 20; i++) keyspace.insertSync(keyOf(i), large(`first ${i}`))
  await flush(keyspace)
  const entries = [...keyspace.iter().entries()]
  const [left] = keyspace.iter({ reverse: true }).entries()
  for (let i = 0; i < 20; i++) keyspace.insertSync(keyOf(i), large('second'))
  await keyspace.majorCompaction()
  await keyspace.majorCompaction()
  expect(entries).toHaveLength(20)
  for (const [i, entry] of entries.entries()) {
    // What was handed out belongs to the caller.
    entry.key.fill(0)
    const value = i % 2 === 0 ? entry.valueSync() : await entry.value()
    expect(value.toString()).toBe(large(`first ${i}`))
    expect(entry.size).toBe(value.length)
  }
  expect(String(left?.valueSync())).toBe(large('first 19'))
  await db.close()
  expect((await failure(() => entries[0]?.value())).code).toBe('DB_CLOSED')
  expect((await failure(() => entries[0]?.valueSync())).code).toBe('DB_CLOSED')
})

test('overwritten values are garbage that is counted exactly', async () => {
  const kvSeparation = { ...SEPARATION, stalenessThreshold: 1 }
  const path = join(scratchDirectory(), 'db')
  const { db, keyspace } = await open(path, { kvSeparation, compaction: QUIET })
  const count = 40
  const frame = 24 + keyOf(0).length + 1000
  for (let i = 0; i < count; i++) keyspace.insertSync(keyOf(i), large(`${i}`))
  await flush(keyspace)
  expect(keyspace.fragmentedBlobBytes()).toBe(0)
  expect(keyspace.blobFileCount()).toBeGreaterThan(5)
  for (let i = 0; i < count; i += 2) keyspace.insertSync(keyOf(i), large(`again ${i}`))
  await flush(keyspace)
  expect(keyspace.fragmentedBlobBytes()).toBe(0)
  await keyspace.majorCompaction()
  expect(keyspace.fragmentedBlobBytes()).toBe((count / 2) * frame)
  expect(keyspace.diskSpace()).toBeGreaterThan(1.5 * count * frame)
  // What was garbage when it begins is none when it ends, however little that is.
  await keyspace.majorCompaction()
  expect(keyspace.fragmentedBlobBytes()).toBe(0)
  expect(keyspace.diskSpace()).toBeLessThan(1.2 * count * frame)
  const used = keyspace
    .version()
    .levels.flat(2)
    .flatMap(({ blobs }) => blobs)
  expect(used.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(count * frame)
  expect(blobsIn(path).length).toBe(keyspace.blobFileCount())
  for (let i = 0; i < count; i++) {
    const value = i % 2 === 0 ? `again ${i}` : `${i}`
    expect(keyspace.getTextSync(keyOf(i))).toBe(large(value))
  }
  await db.close()
})

test('garbage goes without a merge that the strategy wants', async () => {
  const dir = scratchDirectory()
  const kvSeparation = { ...SEPARATION, fileSize: 16_384, stalenessThreshold: 0.5, ageCutoff: 1 }
  const compaction = new LeveledCompaction({ l0Threshold: 2 })
  const { db, keyspace } = await open(join(dir, 'db'), { kvSeparation, compaction })
  for (let i = 0; i < 64; i++) keyspace.insertSync(keyOf(i), large(`${i}`))
  await flush(keyspace)
  for (let i = 0; i < 64; i++) {
    if (i % 4 !== 0) keyspace.insertSync(keyOf(i), large(`again ${i}`))
  }
  await flush(keyspace)
  await db.compactor.drain()
  const { blobFiles } = keyspace.version()
  for (const { staleBytes, size } of blobFiles) expect(staleBytes / size).toBeLessThan(0.5)
  expect(keyspace.fragmentedBlobBytes()).toBe(
    blobFiles.reduce((sum, { staleBytes }) => sum + staleBytes, 0),
  )
  for (let i = 0; i < 64; i++) {
    expect(keyspace.getTextSync(keyOf(i))).toBe(large(i % 4 === 0 ? `${i}` : `again ${i}`))
  }
  const before = db.compactionsCompleted
  await db.compactor.drain()
  expect(db.compactionsCompleted).toBe(before)
  await db.close()
})
