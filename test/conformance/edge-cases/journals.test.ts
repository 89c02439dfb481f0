// What is found again after a crash: edge cases 34 to 38.

import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { LeveledCompaction } from '../../../lib/index.ts'
import type { Database, DatabaseOptions, Keyspace, KeyspaceOptions } from '../../../lib/index.ts'
import { partsOf } from '../../engines/support/parts.ts'
import { filesOf, imageOf, placesOf } from '../../support/files.ts'
import { PATIENT } from '../../support/patient.ts'
import { databaseAt, newDatabase, numbered, seen } from '../../support/trees.ts'

/** Nothing is synced, nor compressed, unless it is asked for. */
const QUIET: DatabaseOptions = { syncInterval: 0, journalCompression: 'none' }

test('edge case 34: garbage behind the last whole batch is cut off, also once more', async () => {
  const database = await newDatabase(QUIET)
  const [a, b] = [await database.keyspace('a'), await database.keyspace('b')]
  for (const round of ['first', 'second', 'third']) {
    const batch = database.batch()
    for (const key of ['x', 'y', 'z']) batch.insert(a, key, `${round} ${key} of a`)
    for (const key of ['x', 'y', 'z']) batch.insert(b, key, `${round} ${key} of b`)
    await batch.commit()
  }
  const expected = (round: string): string[] =>
    ['a', 'b'].map((of) =>
      ['x', 'y', 'z'].map((key) => `${key}=${round} ${key} of ${of}`).join(' '),
    )
  const rows = async (of: Database): Promise<string[]> => [
    seen(await of.keyspace('a')),
    seen(await of.keyspace('b')),
  ]
  expect(await rows(database)).toEqual(expected('third'))

  const image = imageOf(database)
  const { file } = placesOf(image, 'third z of b')[0]!
  const name = file.slice(image.length + 1)
  const parts = partsOf(name, readFileSync(file))
  const [header, last] = [parts[0]!, parts.at(-1)!]
  const bytes = readFileSync(file).subarray(0, last.end)
  const lastRecord = bytes.subarray(last.offset)
  const previous = bytes.subarray(parts.at(-2)!.offset, last.offset)
  const garbage = Buffer.from(Array.from({ length: 500 }, (_, i) => (i * i * 31 + 7) % 256))
  const tails: Record<string, Buffer> = {
    nothing: Buffer.alloc(0),
    zeros: Buffer.alloc(5000),
    garbage,
    'zeros and garbage': Buffer.concat([Buffer.alloc(100), garbage]),
    'the last batch again': lastRecord,
    'many batches again': Buffer.concat([previous, lastRecord, previous, lastRecord]),
    'half a batch': lastRecord.subarray(0, lastRecord.length / 2),
    'the head of a batch': lastRecord.subarray(0, 32),
    'the end of a batch': lastRecord.subarray(40),
    'the header of a journal': bytes.subarray(0, header.end + 4),
    'one byte': Buffer.from([1]),
  }
  for (const [tail, behind] of Object.entries(tails)) {
    const torn = imageOf({ path: image })
    const journal = file.replace(image, torn)
    writeFileSync(journal, Buffer.concat([bytes, behind]))
    for (const readOnly of [true, false]) {
      const again = await databaseAt(torn, { ...QUIET, readOnly })
      expect(await rows(again), tail).toEqual(expected('third'))
      const isClean = behind.every((byte) => byte === 0)
      expect(again.recovery.bytesDropped > 0, tail).toBe(!isClean)
      expect(again.seqno, tail).toBe(database.seqno)
      if (!readOnly) await (await again.keyspace('a')).insert('w', 'later')
      await again.close()
    }
    const third = await databaseAt(torn, { ...QUIET, recovery: 'strict' })
    expect(third.recovery, tail).toMatchObject({ bytesDropped: 0, files: [] })
    expect((await rows(third))[0], tail).toBe(`w=later ${expected('third')[0]}`)
    await third.close()
  }

  // A batch that was torn off is gone as a whole, wherever it was torn.
  for (let length = 1; length < lastRecord.length; length += 27) {
    const torn = imageOf({ path: image })
    const journal = file.replace(image, torn)
    truncateSync(journal, last.offset + length)
    // Space that was reserved reads as zeros.
    if (length % 2 === 0) appendFileSync(journal, Buffer.alloc(1000))
    for (let opening = 0; opening < 2; opening++) {
      const again = await databaseAt(torn, QUIET)
      expect(await rows(again)).toEqual(expected('second'))
      expect(again.recovery.bytesDropped > 0).toBe(opening === 0)
      await again.close()
    }
  }
})

/** Goes on writing until there is another journal: that is made ready in the background. */
async function nextJournal(database: Database, keyspace: Keyspace): Promise<void> {
  const { journalCount } = database
  while (database.journalCount === journalCount) {
    await keyspace.insert('another', 'v'.repeat(1000))
    await setTimeout(1)
  }
}

test('edge case 35: from several journals each keyspace replays what it lacks', async () => {
  const options = { ...QUIET, maxJournalSize: 2 ** 20 }
  const database = await newDatabase(options)
  const names = ['early', 'late', 'never']
  const keyspaces = await Promise.all(
    names.map(async (name) => database.keyspace(name, { compaction: PATIENT })),
  )
  const [early, late, never] = keyspaces as [
    (typeof keyspaces)[0],
    (typeof keyspaces)[0],
    (typeof keyspaces)[0],
  ]
  const rounds = 75
  for (let round = 0; round < rounds; round++) {
    for (const [i, keyspace] of keyspaces.entries()) {
      await keyspace.insert(numbered(round % 50), `${round} `.repeat(1000 + i))
      if (round % 9 === 8) await keyspace.remove(numbered((round * 7) % 50))
    }
    if (round === 25) {
      await nextJournal(database, never)
      await early.rotateMemtableAndWait()
    }
    if (round === 50) {
      await nextJournal(database, never)
      await late.rotateMemtableAndWait()
    }
  }
  // The last operation is a tombstone, of a key that is in a table alone.
  await early.remove(numbered(3))
  await never.removeWeak('was never there')
  expect(database.journalCount).toBeGreaterThan(2)
  expect(filesOf(database.path, 'journal').length).toBeGreaterThan(2)
  const expected = keyspaces.map((keyspace) => seen(keyspace))
  const { seqno } = database
  const image = imageOf(database)
  for (let opening = 0; opening < 2; opening++) {
    const again = await databaseAt(imageOf({ path: image }), options)
    expect(again.seqno).toBe(seqno)
    // What is in no table needs all of them.
    expect(again.recovery.commitsReplayed).toBeGreaterThan(2 * rounds)
    for (const [i, name] of names.entries()) {
      const keyspace = await again.keyspace(name)
      expect(seen(keyspace)).toBe(expected[i])
      // Nothing that is in a table was taken to the memtable again.
      if (name === 'late') expect(keyspace.approximateLen()).toBe(late.approximateLen())
      await keyspace.insert('new', 'row')
      expect(keyspace.getTextSync('new')).toBe('row')
      expect(keyspace.containsKeySync(numbered(3))).toBe(name !== 'early' && i > 0)
    }
    expect(again.seqno).toBe(seqno + names.length)
    await again.close()
    const third = await databaseAt(again.path, options)
    expect(third.recovery.commitsReplayed).toBe(0)
    expect(seen(await third.keyspace('never'))).toBe(`${expected[2]} new=row`)
    await third.close()
  }
})

test('edge case 36: what was cleared stays so after a replay, from any journal', async () => {
  const options = { ...QUIET, maxJournalSize: 2 ** 20 }
  const database = await newDatabase(options)
  const other = await database.keyspace('other')
  const inTables = await database.keyspace('cleared in tables', { compaction: PATIENT })
  const inMemory = await database.keyspace('cleared in memory')
  const again = await database.keyspace('filled again', { kvSeparation: { threshold: 2000 } })
  const all = [other, inTables, inMemory, again]
  for (const keyspace of all) {
    for (let i = 0; i < 20; i++) await keyspace.insert(numbered(i), `${i} `.repeat(1000))
  }
  await Promise.all([inTables.rotateMemtableAndWait(), again.rotateMemtableAndWait()])
  await inTables.clear()
  inMemory.clearSync()
  await again.clear()
  await again.insert('a', 'later')
  await again.insert('b', 'v'.repeat(4000))
  const rows = seen(other)
  const expected: Record<string, string> = {
    other: rows,
    'cleared in tables': '',
    'cleared in memory': '',
    'filled again': `a=later b=${'v'.repeat(4000)}`,
  }
  const check = async (image: string): Promise<void> => {
    for (let opening = 0; opening < 2; opening++) {
      const opened = await databaseAt(image, options)
      for (const [name, shown] of Object.entries(expected)) {
        const keyspace = await opened.keyspace(name)
        expect(seen(keyspace), name).toBe(shown)
        if (opening > 0) await keyspace.rotateMemtableAndWait()
        expect(seen(keyspace), name).toBe(shown)
      }
      await opened.close()
    }
  }
  const active = imageOf(database)
  const count = database.journalCount
  // The same in a journal that is sealed: it lies behind others then.
  const padding = await database.keyspace('padding')
  for (let i = 0; database.journalCount < count + 2; i++) {
    await padding.insert(numbered(i), 'v'.repeat(10_000))
  }
  const sealed = imageOf(database)
  await check(active)
  await check(sealed)
  await database.close()
  await check(database.path)
})

test('edge case 37: sealed memtables and runs that an open finds are worked off', async () => {
  const options = { ...QUIET, maxStall: 60_000 }
  const database = await newDatabase(options)
  const shape: KeyspaceOptions = {
    maxMemtableSize: 4096,
    compaction: new LeveledCompaction({ l0Threshold: 2 }),
  }
  const keyspace = await database.keyspace('k', shape)
  await database.compactor.pause()
  for (let i = 0; i < 400; i++) {
    await keyspace.insert(numbered(i % 150), `value ${i}`.repeat(10))
    if (i % 40 === 39) await keyspace.rotateMemtableAndWait()
  }
  // Several are sealed and not flushed when the process dies.
  for (let i = 0; i < 20; i++) {
    keyspace.insertSync(numbered(i), `sealed ${i}`)
    keyspace.rotateMemtable()
  }
  const image = imageOf(database)
  const expected = seen(keyspace)
  const runs = keyspace.version().levels[0]?.length ?? 0
  expect(runs).toBeGreaterThan(6)

  const again = await databaseAt(image, options)
  await again.compactor.drain()
  const found = await again.keyspace('k')
  expect(found.version().levels[0]?.length ?? 0).toBeLessThan(2)
  expect(seen(found)).toBe(expected)
  // Writers do not wait for what nobody would do.
  const writes = Array.from({ length: 300 }, async (_, i) =>
    found.insert(numbered(i % 150), `later ${i}`.repeat(10)),
  )
  await Promise.all(writes)
  for (let i = 0; i < 300; i++) found.insertSync(numbered(i % 150), `last ${i}`.repeat(10))
  expect(found.getTextSync(numbered(7))).toBe('last 157'.repeat(10))
  await found.rotateMemtableAndWait()
  expect(again.outstandingFlushes).toBe(0)
  await again.close()

  // The same where the runs were left by a close.
  await database.close()
  const third = await databaseAt(database.path, options)
  await third.compactor.drain()
  const last = await third.keyspace('k')
  expect(last.version().levels[0]?.length ?? 0).toBeLessThan(2)
  expect(seen(last)).toBe(expected)
})

test('edge case 38: values of many MiB in journal, memtable, table and blob file', async () => {
  const MIB = 2 ** 20
  const random = Buffer.allocUnsafe(5 * MIB)
  for (let i = 0, x = 1; i < random.length; i++) {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0
    random[i] = x >>> 24
  }
  const values: Record<string, Buffer> = {
    incompressible: random,
    compressible: Buffer.alloc(9 * MIB, 'a text that repeats itself, and again '),
    'just over a limit': Buffer.alloc(4 * MIB + 1, 7),
  }
  const ways = [
    ['none', false],
    ['lz4', true],
    ['zstd', false],
  ] as const
  for (const [journalCompression, isSeparated] of ways) {
    const database = await newDatabase({ journalCompression })
    const keyspace = await database.keyspace('k', {
      compression: journalCompression,
      ...(isSeparated && { kvSeparation: { compression: journalCompression } }),
    })
    for (const [key, value] of Object.entries(values)) await keyspace.insert(key, value)
    keyspace.insertSync('small', 'value')
    const shown = `${journalCompression} ${isSeparated}`
    const check = async (of: Database): Promise<void> => {
      const found = await of.keyspace('k')
      for (const [key, value] of Object.entries(values)) {
        expect(found.getSync(key)?.equals(value), `${shown} ${key}`).toBe(true)
        expect((await found.get(key))?.equals(value), `${shown} ${key}`).toBe(true)
        expect(found.sizeOfSync(key), shown).toBe(value.length)
      }
      expect(await found.len(), shown).toBe(4)
    }
    await check(database)
    const journals = filesOf(database.path, 'journal')
    const journaled = journals.reduce((sum, file) => sum + statSync(file).size, 0)
    expect(journaled > 18 * MIB, shown).toBe(journalCompression === 'none')
    const image = imageOf(database)
    await database.close()
    for (const path of [image, database.path]) {
      const again = await databaseAt(path)
      await check(again)
      if (path === image) await (await again.keyspace('k')).majorCompaction()
      await check(again)
      await again.close()
    }
  }
})
