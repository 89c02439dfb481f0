// Key-value separation through the public API: what a value far from its key must not change, what
// is read and what is not, and how garbage goes.

import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { FifoCompaction, LeveledCompaction, ShaleError } from '../../lib/index.ts'
import type {
  Database,
  Keyspace,
  KeyspaceOptions,
  KvSeparationOptions,
  Snapshot,
} from '../../lib/index.ts'
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
  const [only] = keyspace.iter({ limit: 1 }).entries()
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
  expect(String(await only?.value())).toBe(large('first 0'))
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
  for (let i = 0; i < count; i++) {
    const value = i % 2 === 0 ? `again ${i}` : `${i}`
    expect(keyspace.getTextSync(keyOf(i))).toBe(large(value))
  }
  const files = keyspace.blobFileCount()
  await db.close()
  expect(blobsIn(path)).toHaveLength(files)
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

test('edge case 10: a snapshot reads on while blob files are relocated and go', async () => {
  const { path, db, keyspace } = await open()
  for (let i = 0; i < 30; i++) keyspace.insertSync(keyOf(i), large(`first ${i}`))
  await flush(keyspace)
  const snapshot = db.snapshot()
  const iterated = keyspace.iter()[Symbol.iterator]()
  iterated.next()
  for (let round = 0; round < 4; round++) {
    for (let i = 0; i < 30; i++) keyspace.insertSync(keyOf(i), large(`round ${round} ${i}`))
    await flush(keyspace)
    await keyspace.majorCompaction()
  }
  for (let i = 0; i < 30; i++) {
    expect(keyspace.getSync(keyOf(i), { snapshot })?.toString()).toBe(large(`first ${i}`))
    expect(keyspace.getTextSync(keyOf(i))).toBe(large(`round 3 ${i}`))
  }
  expect(keyspace.iter({ snapshot }).toArraySync()).toHaveLength(30)
  for (let i = 1; i < 30; i++) {
    expect((iterated.next().value as [Buffer, Buffer])[1].toString()).toBe(large(`first ${i}`))
  }
  snapshot.close()
  await keyspace.majorCompaction()
  await keyspace.majorCompaction()
  expect(keyspace.fragmentedBlobBytes()).toBe(0)
  const files = keyspace.version().blobFiles.length
  await db.close()
  expect(blobsIn(path)).toHaveLength(files)
})

test('a blob file that is missing is named when the database is opened', async () => {
  const { path, db, keyspace } = await open()
  keyspace.insertSync('a', large('a'))
  await flush(keyspace)
  await db.close()
  const [name] = blobsIn(path)
  const blob = join(path, name!)
  renameSync(blob, `${path}.away`)
  const error = await failure(() => openDatabaseSync(path))
  expect(error).toMatchObject({ code: 'CORRUPTION', path: blob, keyspace: 'values' })
  const bytes = readFileSync(`${path}.away`)
  writeFileSync(blob, bytes.subarray(0, -1))
  expect(await failure(() => openDatabase(path))).toMatchObject({ code: 'CORRUPTION', path: blob })
  writeFileSync(blob, bytes)
  const again = await open(path, {})
  expect(again.keyspace.getTextSync('a')).toBe(large('a'))
  await again.db.close()
})

test('a flipped byte is found by every read of the value, and by no other', async () => {
  const { path, db, keyspace } = await open()
  for (const key of ['a', 'b', 'c']) keyspace.insertSync(key, large(key, 1200))
  await flush(keyspace)
  await db.close()
  const [name] = blobsIn(path)
  const blob = join(path, name!)
  const bytes = readFileSync(blob)
  const offset = 32 + 24 + 1 + 1200
  bytes[offset + 500]! ^= 1
  writeFileSync(blob, bytes)
  const again = await open(path, {})
  const { keyspace: read } = again
  const damage = { code: 'CORRUPTION', path: blob, offset }
  expect(read.getTextSync('a')).toBe(large('a', 1200))
  expect(await read.getText('c')).toBe(large('c', 1200))
  expect(await failure(() => read.getSync('b'))).toMatchObject(damage)
  expect(await failure(() => read.get('b'))).toMatchObject(damage)
  expect(await failure(() => read.getMany(['a', 'b']))).toMatchObject(damage)
  expect(await failure(() => read.iter().toArraySync())).toMatchObject(damage)
  expect(await failure(() => read.iter({ reverse: true }).toArray())).toMatchObject(damage)
  const [, second] = read.iter().entries()
  expect(await failure(() => second?.value())).toMatchObject(damage)
  expect(Array.from(read.iter().keys(), String)).toEqual(['a', 'b', 'c'])
  await again.db.close()
})

test.each(['none', 'lz4', 'zstd'] as const)(
  'edge case 31: values that %s compresses are the same after relocation and reopening',
  async (compression) => {
    const path = join(scratchDirectory(), 'db')
    const kvSeparation = { ...SEPARATION, fileSize: 20_000, compression }
    const first = await open(path, { kvSeparation, compaction: QUIET })
    const random = Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * i * 7919) >>> 5))
    const values = new Map<string, Buffer>()
    const put = (keyspace: Keyspace, i: number, round: number): void => {
      const text = Buffer.from(large(`${round} ${i}`, 2000 + 100 * i))
      const value = i % 4 === 0 ? Buffer.concat([random, text]) : text
      keyspace.insertSync(keyOf(i), value)
      values.set(keyOf(i), value)
    }
    for (let i = 0; i < 40; i++) put(first.keyspace, i, 0)
    put(first.keyspace, 40, 5000)
    await flush(first.keyspace)
    for (let i = 0; i < 40; i += 3) put(first.keyspace, i, 1)
    await flush(first.keyspace)
    const files = new Set(first.keyspace.version().blobFiles.map(({ id }) => id))
    await first.keyspace.majorCompaction()
    await first.keyspace.majorCompaction()
    await first.db.compactor.drain()
    expect(first.keyspace.fragmentedBlobBytes()).toBe(0)
    const after = first.keyspace.version().blobFiles
    expect(after.filter(({ id }) => !files.has(id)).length).toBeGreaterThan(0)
    const check = (keyspace: Keyspace): void => {
      for (const [key, value] of values) expect(keyspace.getSync(key)?.equals(value)).toBe(true)
      for (const [key, value] of keyspace.iter()) {
        expect(values.get(key.toString())?.equals(value)).toBe(true)
      }
    }
    check(first.keyspace)
    await first.db.close()
    const again = await open(path, {})
    check(again.keyspace)
    await again.db.close()
  },
)

test('edge case 32: clear() gives blob files back, and separation outlives an open', async () => {
  const { path, db, keyspace } = await open()
  for (let i = 0; i < 20; i++) keyspace.insertSync(keyOf(i), large(`${i}`))
  await flush(keyspace)
  expect(keyspace.blobFileCount()).toBeGreaterThan(1)
  await keyspace.clear()
  await flush(keyspace)
  await db.compactor.drain()
  expect([keyspace.lenSync(), keyspace.blobFileCount()]).toEqual([0, 0])
  expect(keyspace.fragmentedBlobBytes()).toBe(0)
  keyspace.insertSync('new', large('new'))
  await db.close()
  const again = await open(path, {})
  expect(again.keyspace.isKvSeparated).toBe(true)
  expect(again.keyspace.iter().toArraySync().map(String)).toEqual([`new,${large('new')}`])
  expect(again.keyspace.blobFileCount()).toBe(1)
  await again.db.close()
  expect(blobsIn(path)).toHaveLength(1)
})

test('edge case 33: many versions of few keys over files cut in the midst of a merge', async () => {
  const path = join(scratchDirectory(), 'db')
  const { db, keyspace } = await open(path)
  const expected = new Map<string, string>()
  const snapshots: { of: Snapshot; seen: Map<string, string> }[] = []
  for (let round = 0; round < 12; round++) {
    for (let i = 0; i < 9; i++) {
      const key = keyOf((round * 5 + i * 7) % 17)
      const value = large(`${round} ${i}`, 100 + ((round * 811 + i * 131) % 3000))
      keyspace.insertSync(key, value)
      expected.set(key, value)
    }
    if (round % 4 === 1) snapshots.push({ of: db.snapshot(), seen: new Map(expected) })
    await flush(keyspace)
    if (round % 3 === 2) await keyspace.majorCompaction({ targetSize: 4096 })
  }
  const check = (): void => {
    for (const [key, value] of expected) expect(keyspace.getTextSync(key)).toBe(value)
    for (const { of, seen } of snapshots) {
      const rows = new Map(
        keyspace
          .iter({ snapshot: of })
          .toArraySync()
          .map(([k, v]) => [k, v]),
      )
      const texts = [...rows].map(([k, v]) => [String(k), String(v)])
      expect(texts).toEqual([...seen].toSorted(([a], [b]) => (a < b ? -1 : 1)))
    }
  }
  check()
  await keyspace.majorCompaction()
  check()
  for (const { of } of snapshots.splice(0)) of.close()
  await keyspace.majorCompaction()
  await keyspace.majorCompaction()
  check()
  expect(keyspace.fragmentedBlobBytes()).toBe(0)
  await db.close()
})

test('a weak removal takes a separated value with it', async () => {
  const { path, db, keyspace } = await open()
  keyspace.insertSync('a', large('a'))
  keyspace.insertSync('b', large('b'))
  await flush(keyspace)
  keyspace.removeWeakSync('a')
  await flush(keyspace)
  expect(keyspace.getSync('a')).toBeUndefined()
  await keyspace.majorCompaction()
  expect(
    keyspace
      .version()
      .levels.flat(2)
      .map(({ itemCount }) => itemCount),
  ).toEqual([1])
  expect(keyspace.getSync('a')).toBeUndefined()
  expect(keyspace.getTextSync('b')).toBe(large('b'))
  await keyspace.majorCompaction()
  expect(keyspace.fragmentedBlobBytes()).toBe(0)
  await db.close()
  expect(blobsIn(path)).toHaveLength(1)
})

test('separation is for the whole life of a keyspace, its numbers are not', async () => {
  const path = join(scratchDirectory(), 'db')
  const { db, keyspace } = await open(path)
  const plain = await db.keyspace('plain')
  expect([plain.isKvSeparated, plain.options.kvSeparation]).toEqual([false, undefined])
  expect([plain.blobFileCount(), plain.fragmentedBlobBytes()]).toEqual([0, 0])
  keyspace.insertSync('a', large('a'))
  plain.insertSync('a', large('a', 10_000))
  await Promise.all([flush(keyspace), flush(plain)])
  expect([keyspace.blobFileCount(), plain.blobFileCount()]).toEqual([1, 0])
  await db.close()
  const again = await openDatabase(path)
  const on = await failure(() => again.keyspace('plain', { kvSeparation: {} }))
  expect(on.code).toBe('INVALID_OPTION')
  const kvSeparation = { threshold: 100_000, stalenessThreshold: 1, ageCutoff: 1 }
  const other = await again.keyspace('values', { kvSeparation })
  expect(other.options.kvSeparation).toEqual({
    ...kvSeparation,
    fileSize: 64 * 2 ** 20,
    compression: 'lz4',
  })
  other.insertSync('b', large('b'))
  await flush(other)
  // What is separated stays so.
  await other.majorCompaction()
  expect(other.blobFileCount()).toBe(1)
  expect(['a', 'b'].map((key) => other.getTextSync(key))).toEqual(['a', 'b'].map((k) => large(k)))
  await again.close()
})

test('a lower threshold separates what compactions meet', async () => {
  const path = join(scratchDirectory(), 'db')
  const first = await open(path)
  first.keyspace.insertSync('a', 'not so large')
  await flush(first.keyspace)
  await first.db.close()
  const { db, keyspace } = await open(path, { kvSeparation: { threshold: 5 } })
  expect(keyspace.blobFileCount()).toBe(0)
  await keyspace.majorCompaction()
  expect(keyspace.blobFileCount()).toBe(1)
  expect(keyspace.getTextSync('a')).toBe('not so large')
  await db.close()
})

test('a limit of FIFO counts what tables point to', async () => {
  const path = join(scratchDirectory(), 'db')
  const compaction = new FifoCompaction({ limit: 50_000 })
  const { db, keyspace } = await open(path, { kvSeparation: SEPARATION, compaction })
  for (let i = 0; i < 20; i++) {
    keyspace.insertSync(keyOf(i), large(`${i}`, 10_000))
    await flush(keyspace)
  }
  await db.compactor.drain()
  expect(keyspace.lenSync()).toBe(4)
  expect(keyspace.blobFileCount()).toBe(4)
  expect(keyspace.diskSpace()).toBeLessThan(50_000)
  await db.close()
})

test('large values go by many slices, and come back', async () => {
  const { db, keyspace } = await open()
  const value = Buffer.alloc(9_000_000, 'a value of many MiB that is written in slices ')
  await keyspace.insert('large', value)
  await flush(keyspace)
  expect((await keyspace.get('large'))?.equals(value)).toBe(true)
  expect(keyspace.getSync('large')?.equals(value)).toBe(true)
  for await (const [, found] of keyspace.iter()) expect(found.equals(value)).toBe(true)
  await keyspace.insert('large', value.subarray(1))
  await flush(keyspace)
  await keyspace.majorCompaction()
  await keyspace.majorCompaction()
  expect([keyspace.blobFileCount(), keyspace.sizeOfSync('large')]).toEqual([1, 8_999_999])
  await db.close()
})

test('what a bare tree separates', () => {
  const path = join(scratchDirectory(), 'tree')
  const tree = openTreeSync(path, { kvSeparation: SEPARATION })
  expect(tree.isKvSeparated).toBe(true)
  tree.insertSync('a', large('first'), 1)
  tree.flushSync()
  tree.insertSync('a', large('second'), 5)
  tree.insertSync('b', 'small', 6)
  tree.flushSync()
  const [table] = tree.version().levels.flat(2)
  expect(table?.blobs.map(({ id }) => id)).toEqual([tree.version().blobFiles.at(-1)?.id])
  tree.majorCompactionSync()
  expect([tree.getTextSync('a', 3), tree.getTextSync('a', 9)]).toEqual([
    large('first'),
    large('second'),
  ])
  const [entry] = tree.iter(3).entries()
  tree.setGcSeqno(9)
  tree.majorCompactionSync()
  expect(tree.blobFileCount()).toBe(1)
  expect(tree.fragmentedBlobBytes()).toBe(0)
  expect(entry?.valueSync().toString()).toBe(large('first'))
  tree.closeSync()
  expect(() => openTreeSync(path, { kvSeparation: { threshold: 0 } })).toThrow(ShaleError)
  const again = openTreeSync(path)
  expect(again.getTextSync('a', 9)).toBe(large('second'))
  again.closeSync()
})
