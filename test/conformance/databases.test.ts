// Databases: keyspaces and their options, batches, snapshots, figures, and opening without writing.

import { createHash } from 'node:crypto'
import { cpSync, existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LeveledCompaction } from '../../lib/index.ts'
import type { Database, KeyspaceOptions } from '../../lib/index.ts'
import { openDatabase, openDatabaseSync } from '../support/engine.ts'
import { nextEngine } from '../support/next-engine.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

/** Sync writes wait as long as a slow machine takes. */
const PATIENT = { maxStall: 60_000 }

/** The files of a directory but for its lock, with what their contents come down to. */
function filesOf(path: string): string[] {
  const names = readdirSync(path).filter((name) => !name.startsWith('lock'))
  return names.toSorted().map((name) => {
    const contents = readFileSync(join(path, name))
    return `${name} ${createHash('sha256').update(contents).digest('hex')}`
  })
}

test('keyspaces keep their options, whoever opens them', async () => {
  const path = join(scratchDirectory(), 'db')
  const given: KeyspaceOptions = {
    maxMemtableSize: 123_456,
    memtable: 'skiplist',
    dataBlockSize: [512, 1024],
    restartInterval: 7,
    hashIndexRatio: [0, 1.25],
    compression: ['none', 'lz4', 'zstd'],
    indexCompression: 'lz4',
    filter: [{ falsePositiveRate: 0.01 }, { bitsPerKey: 7.5 }, 'none'],
    pinIndex: [true, false],
    pinFilter: false,
    partitionIndex: [false, true],
    partitionFilter: true,
    expectPointReadHits: true,
    compaction: new LeveledCompaction({ l0Threshold: 3, targetSize: 65_536, levelRatio: [4, 8.5] }),
    durability: 'buffered',
  }
  const first = await openDatabase(path)
  const held = (await first.keyspace('k', given)).options
  expect(held).toMatchObject({
    maxMemtableSize: 123_456,
    filter: given.filter,
    restartInterval: [7],
  })
  expect((await first.keyspace('plain')).options).not.toEqual(held)
  await first.close()

  const second = await openDatabase(path)
  const again = await second.keyspace('k')
  expect(again.options).toEqual(held)
  // What is given is stored, the rest stays.
  const changed = await second.keyspace('k', { restartInterval: 9, durability: 'sync' })
  expect(changed).toBe(again)
  expect(changed.options).toEqual({ ...held, restartInterval: [9], durability: 'sync' })
  const options = changed.options
  await second.close()

  const third = openDatabaseSync(path)
  expect(third.listKeyspaceNames()).toEqual(['k', 'plain'])
  expect(third.keyspaceSync('k').options).toEqual(options)
  third.closeSync()
})

test('a keyspace that was never written is there again', async () => {
  const path = join(scratchDirectory(), 'db')
  const names = Array.from({ length: 50 }, (_, i) => `keyspace ${i}`)
  const db = await openDatabase(path)
  await Promise.all(names.map(async (name) => db.keyspace(name)))
  expect(db.keyspaceCount).toBe(50)
  await db.close()
  const again = await openDatabase(path)
  expect(again.listKeyspaceNames()).toEqual(names.toSorted())
  expect(new Set(names.map((name) => again.keyspaceSync(name).id)).size).toBe(50)
  await again.close()
})

test('a batch is one commit over keyspaces', async () => {
  const path = join(scratchDirectory(), 'db')
  const db = await openDatabase(path)
  const [a, b] = [await db.keyspace('a'), await db.keyspace('b')]
  await a.insert('removed', 'x')
  const before = db.snapshot()
  const seqno = db.seqno
  const batch = db.batch().insert(a, 'k', 'first').insert(b, 'k', Buffer.alloc(10_000, 'b'))
  batch.insert(a, 'k', 'last').remove(a, 'removed')
  expect(batch.length).toBe(4)
  await batch.commit({ durability: 'sync' })
  expect(db.seqno).toBe(seqno + 1)
  expect(db.visibleSeqno).toBe(db.seqno)
  expect(before.seqno).toBe(seqno)
  expect([a.getTextSync('k'), a.getTextSync('removed'), b.sizeOfSync('k')]).toEqual([
    'last',
    undefined,
    10_000,
  ])
  const held = { snapshot: before }
  expect(a.getTextSync('k', held)).toBeUndefined()
  expect(a.getTextSync('removed', held)).toBe('x')
  expect(b.isEmptySync(held)).toBe(true)
  await db.close()
  const again = await openDatabase(path)
  expect((await again.keyspace('a')).iter().toArraySync().join()).toBe('k,last')
  expect((await again.keyspace('b')).getSync('k')).toEqual(Buffer.alloc(10_000, 'b'))
  await again.close()
})

test('a snapshot does not move under writes, flush and compaction', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'), PATIENT)
  const [a, b] = [await db.keyspace('a', { maxMemtableSize: 4096 }), await db.keyspace('b')]
  const key = (i: number): string => `key${String(i).padStart(4, '0')}`
  for (let i = 0; i < 500; i++) {
    const batch = db.batch().insert(a, key(i), `old ${i}`).insert(b, key(i), `old ${i}`)
    batch.commitSync()
  }
  const snapshot = db.snapshot()
  const old = Array.from({ length: 500 }, (_, i) => [key(i), `old ${i}`].join())
  const check = async (): Promise<void> => {
    for (const keyspace of [a, b]) {
      expect(keyspace.iter({ snapshot }).toArraySync().map(String)).toEqual(old)
      expect((await keyspace.iter({ snapshot }).toArray()).map(String)).toEqual(old)
      expect(keyspace.getTextSync(key(7), { snapshot })).toBe('old 7')
      expect(await keyspace.len({ snapshot })).toBe(500)
    }
  }
  for (let i = 0; i < 500; i += 2) {
    a.insertSync(key(i), `new ${i}`)
    b.removeSync(key(i))
  }
  await check()
  await Promise.all([a.rotateMemtableAndWait(), b.rotateMemtableAndWait()])
  await check()
  await Promise.all([a.majorCompaction(), b.majorCompaction()])
  await check()
  expect(b.lenSync()).toBe(250)
  snapshot.close()
  await Promise.all([a.majorCompaction(), b.majorCompaction()])
  expect(a.approximateLen()).toBe(500)
  expect(b.approximateLen()).toBe(250)
  expect(a.getTextSync(key(8))).toBe('new 8')
  await db.close()
})

test('weak removals take one insertion with them', async () => {
  const path = join(scratchDirectory(), 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k')
  for (let i = 0; i < 200; i++) await keyspace.insert(`key${i}`, 'value')
  await keyspace.rotateMemtableAndWait()
  for (let i = 0; i < 200; i += 2) await keyspace.removeWeak(`key${i}`)
  expect(keyspace.lenSync()).toBe(100)
  await db.close()
  const again = await openDatabase(path)
  const found = await again.keyspace('k')
  expect(found.lenSync()).toBe(100)
  await found.majorCompaction()
  expect(found.approximateLen()).toBe(100)
  expect(found.containsKeySync('key0')).toBe(false)
  await again.close()
})

test('a weak removal that overrides others of its batch hides all that they hid', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'))
  const keyspace = await db.keyspace('k')
  await keyspace.insert('a', 'one')
  await keyspace.insert('b', 'one')
  await keyspace.rotateMemtableAndWait()
  await keyspace.insert('a', 'two')
  await keyspace.insert('b', 'two')
  const batch = db.batch()
  batch.remove(keyspace, 'a').removeWeak(keyspace, 'a')
  batch.remove(keyspace, 'b').insert(keyspace, 'b', 'three').removeWeak(keyspace, 'b')
  await batch.commit()
  expect(keyspace.lenSync()).toBe(0)
  await keyspace.rotateMemtableAndWait()
  expect(keyspace.lenSync()).toBe(0)
  await keyspace.majorCompaction()
  expect(keyspace.lenSync()).toBe(0)
  await db.close()
})

test('an empty batch is committed where nothing may be written', async () => {
  const path = join(scratchDirectory(), 'db')
  openDatabaseSync(path).closeSync()
  const db = openDatabaseSync(path, { readOnly: true })
  await db.batch().commit()
  db.batch().commitSync()
  await db.close()
})

test('opens of a new folder, all at once, share what one of them made', async () => {
  for (let round = 0; round < 10; round++) {
    const path = join(scratchDirectory(), 'db')
    const engine = nextEngine(path)
    const first = openDatabase(path, { engine })
    const second = openDatabase(path, { engine })
    // oxlint-disable-next-line no-await-in-loop
    for (let i = 0; i < round; i++) await new Promise(setImmediate)
    // oxlint-disable-next-line no-await-in-loop
    const all = await Promise.all([first, second, openDatabase(path, { engine })])
    // oxlint-disable-next-line no-await-in-loop
    const [one, two] = await Promise.all(all.map((db) => db.keyspace('k')))
    one!.insertSync('key', 'value')
    expect(two!.getTextSync('key')).toBe('value')
    // oxlint-disable-next-line no-await-in-loop
    await Promise.all(all.map((db) => db.close()))
  }
})

test("a sync close ends an async one, and the directory is the next opener's alone", async () => {
  const path = join(scratchDirectory(), 'db')
  for (let turns = 0; turns < 40; turns++) {
    const db = openDatabaseSync(path)
    const closing = db.close()
    // oxlint-disable-next-line no-await-in-loop
    for (let i = 0; i < turns; i++) await new Promise(setImmediate)
    db.closeSync()
    const next = openDatabaseSync(path)
    // oxlint-disable-next-line no-await-in-loop
    await closing
    expect(existsSync(join(path, 'lock'))).toBe(true)
    next.closeSync()
  }
})

test('what memory and disk hold is told', async () => {
  const path = join(scratchDirectory(), 'db')
  const db = await openDatabase(path, { cacheSize: 1_000_000 })
  const keyspace = await db.keyspace('k', { compression: 'none' })
  expect(db.cacheCapacity).toBe(1_000_000)
  expect([keyspace.tableCount(), keyspace.diskSpace(), keyspace.approximateLen()]).toEqual([
    0, 0, 0,
  ])
  const empty = db.writeBufferSize
  // A table that is alone would be moved to the last level.
  await db.compactor.pause()
  for (let i = 0; i < 1000; i++) keyspace.insertSync(`key${i}`, Buffer.alloc(100, i))
  expect(keyspace.approximateLen()).toBe(1000)
  expect(db.writeBufferSize).toBeGreaterThan(empty + 100_000)
  expect(db.journalDiskSpace()).toBeGreaterThan(100_000)
  expect(db.journalCount).toBeGreaterThanOrEqual(1)
  await keyspace.rotateMemtableAndWait()
  expect(db.outstandingFlushes).toBe(0)
  expect(keyspace.tableCount()).toBe(1)
  expect(keyspace.diskSpace()).toBeGreaterThan(100_000)
  expect(db.diskSpace()).toBeGreaterThan(keyspace.diskSpace())
  expect(keyspace.approximateSize({ gte: 'key0', lt: 'key1' })).toBeLessThan(10_000)
  expect(keyspace.approximateSize({})).toBeGreaterThan(90_000)
  expect(keyspace.approximateSize({ gte: 'x' })).toBe(0)

  const { levels } = keyspace.version()
  expect(levels.map((runs) => runs.length)).toEqual([1, 0, 0, 0, 0, 0, 0])
  const [table] = levels[0]![0]!
  expect(table).toMatchObject({
    level: 0,
    itemCount: 1000,
    tombstoneCount: 0,
    weakTombstoneCount: 0,
    rangeTombstoneCount: 0,
    firstKey: Buffer.from('key0'),
    lastKey: Buffer.from('key999'),
    compression: 'none',
    lowestSeqno: db.seqno - 1000,
    highestSeqno: db.seqno - 1,
  })
  const file = readdirSync(path).find((name) => name.endsWith('.table'))!
  expect(table!.size).toBe(statSync(join(path, file)).size)
  await db.close()
})

test('compaction is watched, stopped and waited for', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'), PATIENT)
  const compaction = new LeveledCompaction({ l0Threshold: 2 })
  const keyspace = await db.keyspace('k', { compaction })
  await db.compactor.pause()
  expect(db.compactor.state).toBe('paused')
  for (let run = 0; run < 6; run++) {
    for (let i = 0; i < 50; i++) keyspace.insertSync(`key${i}`, `run ${run}`)
    await keyspace.rotateMemtableAndWait()
  }
  expect(keyspace.tableCount()).toBe(6)
  expect(db.compactor.jobs()).toEqual([])
  const before = db.compactionsCompleted
  db.compactor.resume()
  await db.compactor.drain()
  expect(db.compactor.state).toBe('idle')
  expect(db.activeCompactions).toBe(0)
  expect(db.compactionsCompleted).toBeGreaterThan(before)
  expect(db.timeCompacting).toBeGreaterThanOrEqual(0)
  expect(keyspace.tableCount()).toBe(1)
  expect(keyspace.getTextSync('key7')).toBe('run 5')
  await db.close()
})

test('a major compaction tells how far it is, and ends with its signal', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'), PATIENT)
  const keyspace = await db.keyspace('k', { maxMemtableSize: 65_536 })
  for (let i = 0; i < 5000; i++) keyspace.insertSync(`key${i}`, 'value'.repeat(20))
  await keyspace.rotateMemtableAndWait()
  const told: { done: number; total: number; unit: string }[] = []
  await keyspace.majorCompaction({ targetSize: 65_536, onProgress: (at) => told.push({ ...at }) })
  const last = told.at(-1)
  expect(last).toMatchObject({ unit: 'bytes', done: last?.total })
  for (const [i, { done, total }] of told.entries()) {
    expect(done).toBeLessThanOrEqual(total)
    expect(done).toBeGreaterThanOrEqual(told[i - 1]?.done ?? 0)
  }
  const { levels } = keyspace.version()
  const tables = levels[6]?.flat() ?? []
  expect(tables.length).toBeGreaterThan(3)
  expect(levels.flat(2)).toHaveLength(tables.length)
  expect(tables.reduce((sum, table) => sum + table.itemCount, 0)).toBe(5000)

  const signal = AbortSignal.abort('no more')
  const stopped = await rejection(() => keyspace.majorCompaction({ signal }))
  expect(stopped).toMatchObject({ code: 'ABORTED', cause: 'no more' })
  expect(keyspace.lenSync()).toBe(5000)
  await db.close()
})

test('a read-only database writes nothing', async () => {
  const directory = scratchDirectory()
  const path = join(directory, 'db')
  const writer = await openDatabase(path)
  const filled = await writer.keyspace('k')
  for (let i = 0; i < 100; i++) filled.insertSync(`key${i}`, `value ${i}`)
  await filled.rotateMemtableAndWait()
  filled.insertSync('in the journal', 'only')
  const image = join(directory, 'image')
  cpSync(path, image, { recursive: true, filter: (file) => !file.endsWith('lock') })
  await writer.close()

  const before = filesOf(image)
  const db = await openDatabase(image, { readOnly: true })
  expect(db.recovery.commitsReplayed).toBeGreaterThan(0)
  const keyspace = await db.keyspace('k')
  expect(keyspace.getTextSync('in the journal')).toBe('only')
  expect(keyspace.lenSync()).toBe(101)
  const batch = db.batch().insert(keyspace, 'a', 'b')
  for (const call of [
    () => keyspace.insertSync('a', 'b'),
    () => keyspace.insert('a', 'b'),
    () => keyspace.remove('a'),
    () => batch.commit(),
    () => keyspace.rotateMemtableAndWait(),
    () => keyspace.majorCompaction(),
  ]) {
    expect((await failure(call)).code, String(call)).toBe('READ_ONLY')
  }
  expect((await rejection(() => db.keyspace('new'))).code).toBe('KEYSPACE_NOT_FOUND')
  expect(keyspace.getSync('a')).toBeUndefined()
  await db.close()
  expect(filesOf(image)).toEqual(before)
  expect(existsSync(join(image, 'lock'))).toBe(false)

  const absent = () => openDatabase(join(directory, 'none'), { readOnly: true })
  expect((await rejection(absent)).code).toBe('DB_NOT_FOUND')
})

test('writes beyond the write buffer: async ones wait, sync ones wait or say so', async () => {
  const path = join(scratchDirectory(), 'db')
  const options = { maxWriteBufferSize: 2 ** 20, maxStall: 1 }
  const db = await openDatabase(path, options)
  const keyspace = await db.keyspace('k', { maxMemtableSize: 256 * 1024 })
  const value = Buffer.alloc(16 * 1024, 'v')
  const written = new Set<string>()
  for (let i = 0; i < 200; i++) {
    const key = `sync ${i}`
    try {
      keyspace.insertSync(key, value)
      written.add(key)
    } catch (error) {
      expect(error).toMatchObject({ code: 'STALLED', retryable: true })
    }
  }
  const keys = Array.from({ length: 200 }, (_, i) => `async ${i}`)
  await Promise.all(keys.map(async (key) => keyspace.insert(key, value)))
  for (const key of keys) written.add(key)
  const found = (of: Database): string[] => Array.from(of.keyspaceSync('k').iter().keys(), String)
  expect(found(db)).toEqual([...written].toSorted())
  await db.close()
  const again = await openDatabase(path)
  expect(found(again)).toEqual([...written].toSorted())
  await again.close()
})
