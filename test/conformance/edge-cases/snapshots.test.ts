// What snapshots and iterations still see when what they read is destroyed: edge cases 9 to 13, of
// which blobs.test.ts has number 10.

import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { FifoCompaction, LeveledCompaction } from '../../../lib/index.ts'
import type { Database, Keyspace, KeyspaceOptions, Snapshot } from '../../../lib/index.ts'
import { filesOf } from '../../support/files.ts'
import { PATIENT } from '../../support/patient.ts'
import { scaled } from '../../support/scratch.ts'
import { flushed, newDatabase, newKeyspace, numbered, seen, tablesOf } from '../../support/trees.ts'

/** Ways to be rid of what there is. */
const DESTRUCTIONS: Record<string, (database: Database, keyspace: Keyspace) => Promise<void>> = {
  'FIFO drop': async (database, keyspace) => {
    await database.keyspace(keyspace.name, { compaction: new FifoCompaction({ limit: 1 }) })
    await database.compactor.drain()
  },
  clear: async (_, keyspace) => keyspace.clear(),
  dropRange: async (_, keyspace) => keyspace.dropRange({}),
  removeRange: async (_, keyspace) => keyspace.removeRange({ gte: 'a', lt: 'z' }),
  'drop plan': async (_, keyspace) => {
    await keyspace.compact({ kind: 'drop', tables: tablesOf(keyspace).map(({ id }) => id) })
  },
}

test('edge case 9: a snapshot survives FIFO drops, clear, dropped ranges and plans', async () => {
  for (const [name, destroy] of Object.entries(DESTRUCTIONS)) {
    for (const kvSeparation of [undefined, { threshold: 4 }]) {
      const options: KeyspaceOptions = {
        compaction: PATIENT,
        ...(kvSeparation !== undefined && { kvSeparation }),
      }
      const { path, database, keyspace } = await newKeyspace(options)
      await flushed(keyspace, 'ab', 'first')
      await flushed(keyspace, 'bc', 'second')
      const before = database.snapshot()
      const iterated = keyspace.iter({ batchSize: 1 })[Symbol.iterator]()
      iterated.next()
      await destroy(database, keyspace)
      const behind = database.snapshot()
      await flushed(keyspace, 'bd', 'third')
      const check = async (): Promise<void> => {
        const [old, now] = [{ snapshot: before }, { snapshot: behind }]
        expect(seen(keyspace, old), name).toBe('a=first b=second c=second')
        expect(await keyspace.getText('a', old), name).toBe('first')
        expect(keyspace.getManySync(['b', 'd'], old).map(String), name).toEqual([
          'second',
          'undefined',
        ])
        expect(seen(keyspace, now), name).toBe('')
        expect(keyspace.getSync('c', now), name).toBeUndefined()
        expect(await keyspace.len(now), name).toBe(0)
      }
      await check()
      await keyspace.majorCompaction()
      await check()
      await destroy(database, keyspace)
      await check()
      expect(seen(keyspace), name).toBe('')
      const rest = [iterated.next(), iterated.next(), iterated.next()]
      const values = rest.map(({ value }) => (value === undefined ? '' : String(value)))
      expect(values, name).toEqual(['b,second', 'c,second', ''])
      // With the last of them its tables go.
      before.close()
      behind.close()
      if (name !== 'removeRange') {
        await database.compactor.drain()
        const orphans = (): number => filesOf(path, 'table').length - keyspace.tableCount()
        await expect.poll(orphans, { timeout: 20_000 }).toBe(0)
      }
      await database.close()
    }
  }
})

test('edge case 11: a pointer is followed in the blob files of its own version', async () => {
  const { database, keyspace } = await newKeyspace(
    {
      compaction: PATIENT,
      kvSeparation: { threshold: 16, fileSize: 4096, stalenessThreshold: 0.05, ageCutoff: 1 },
    },
    { cacheSize: 0 },
  )
  const value = (i: number, round: number): string => `${round} of ${i} `.repeat(60)
  const write = async (round: number): Promise<void> => {
    // One in three keeps what it had, in a file that loses its others.
    for (let i = 0; i < 60; i++) if (i % 3 > 0) keyspace.insertSync(numbered(i), value(i, round))
    await keyspace.rotateMemtableAndWait()
  }
  for (let i = 0; i < 60; i += 3) keyspace.insertSync(numbered(i), value(i, 0))
  await write(0)
  for (let round = 1; round <= scaled(8); round++) {
    await write(round)
    // Reads that wait for the disk while the files that they need are replaced and go.
    const compacted = keyspace.majorCompaction()
    const iterated = keyspace.iter().toArray()
    const entries = [...keyspace.iter().entries()]
    const reads: Promise<void>[] = []
    for (let i = 0; i < 60; i++) {
      const expected = value(i, i % 3 > 0 ? round : 0)
      reads.push(
        keyspace.getText(numbered(i)).then((found) => {
          expect(found).toBe(expected)
        }),
        entries[i]!.value().then((found) => {
          expect(found.toString()).toBe(expected)
        }),
      )
      if (i % 7 === 0) await setImmediate()
    }
    await Promise.all(reads)
    const rows = (await iterated).map(([, found]) => found.toString())
    expect(rows).toEqual(Array.from({ length: 60 }, (_, i) => value(i, i % 3 > 0 ? round : 0)))
    await compacted
  }
  await database.close()
})

test('edge case 12: an iteration outlives its handle, and what is written meanwhile', async () => {
  const database = await newDatabase()
  const rows = 300
  const begin = async (): Promise<{
    readonly sync: Iterator<[Buffer, Buffer]>
    readonly async: AsyncIterator<[Buffer, Buffer]>
  }> => {
    const keyspace = await database.keyspace('k', { compaction: PATIENT, dataBlockSize: 256 })
    for (let i = 0; i < rows; i++) keyspace.insertSync(numbered(i), `value ${i}`)
    await keyspace.rotateMemtableAndWait()
    for (let i = 0; i < rows; i += 2) keyspace.insertSync(numbered(i), `changed ${i}`)
    const range = keyspace.iter({ batchSize: 200 })
    const iterators = { sync: range[Symbol.iterator](), async: range[Symbol.asyncIterator]() }
    expect(String(iterators.sync.next().value)).toBe(`${numbered(0)},changed 0`)
    expect(String((await iterators.async.next()).value)).toBe(`${numbered(0)},changed 0`)
    return iterators
  }
  const iterators = await begin()
  for (let i = 1; i < rows; i++) {
    const expected = `${numbered(i)},${i % 2 === 0 ? 'changed' : 'value'} ${i}`
    const keyspace = await database.keyspace('k')
    if (i === 20) await keyspace.rotateMemtableAndWait()
    if (i === 40) await keyspace.majorCompaction()
    if (i === 60) await keyspace.clear()
    if (i === 80) await keyspace.dropRange({})
    keyspace.insertSync(numbered(rows - i), 'later')
    keyspace.removeSync(numbered(i + 1))
    expect(String(iterators.sync.next().value)).toBe(expected)
    expect(String((await iterators.async.next()).value)).toBe(expected)
  }
  expect(iterators.sync.next().done).toBe(true)
  expect((await iterators.async.next()).done).toBe(true)
})

test('edge case 13: thousands of snapshots, closed in any order, hold nothing', async () => {
  const { database, keyspace } = await newKeyspace({
    compaction: new LeveledCompaction({ l0Threshold: 2 }),
  })
  const closed = database.snapshot()
  closed.close()
  closed.close()
  const open: Snapshot[] = []
  for (let i = 0; i < scaled(10_000); i++) {
    if (i % 10 === 0) keyspace.insertSync('key', `${i}`)
    const snapshot = database.snapshot()
    expect(snapshot.closed).toBe(false)
    if (i % 3 === 0) open.push(snapshot)
    else snapshot.close()
    // Neither the oldest nor the newest of those that are open.
    const [other] = open.length > 50 ? open.splice((i * 7) % 50, 1) : []
    other?.close()
    other?.close()
  }
  const [first] = open
  expect(keyspace.getSync('key', { snapshot: first! })).toBeDefined()
  for (const snapshot of open) snapshot.close()
  for (const snapshot of open) snapshot.close()
  expect(open.every((snapshot) => snapshot.closed)).toBe(true)
  await keyspace.majorCompaction()
  await keyspace.rotateMemtableAndWait()
  await keyspace.majorCompaction()
  expect(keyspace.approximateLen()).toBe(1)
  // One that is open still holds what it sees.
  const last = database.snapshot()
  const value = keyspace.getTextSync('key')
  keyspace.insertSync('key', 'newest')
  await keyspace.rotateMemtableAndWait()
  await keyspace.majorCompaction()
  expect(keyspace.getTextSync('key', { snapshot: last })).toBe(value)
  expect(keyspace.approximateLen()).toBe(2)
})
