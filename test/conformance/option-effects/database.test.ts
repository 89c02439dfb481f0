// What each option of a database does, and the durability of writes: docs/options.md has them all.

import { existsSync, readFileSync, readdirSync, readlinkSync, truncateSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { LeveledCompaction } from '../../../lib/index.ts'
import type {
  Database,
  DatabaseOptions,
  Keyspace,
  KeyspaceOptions,
  WriteOptions,
} from '../../../lib/index.ts'
import { partsOf } from '../../engines/support/parts.ts'
import { openDatabase, openDatabaseSync } from '../../support/engine.ts'
import { filesOf, flipByte, flipByteInPlace, imageOf, placesOf } from '../../support/files.ts'
import { nextEngine } from '../../support/next-engine.ts'
import { PATIENT } from '../../support/patient.ts'
import { failure, rejection, scratchDirectory } from '../../support/scratch.ts'
import { databaseAt, newDatabase, newKeyspace, numbered, seen } from '../../support/trees.ts'

const MIB = 2 ** 20
const QUIET = { syncInterval: 0, journalCompression: 'none' } as const

/** Whether a write is called durable by what is journaled behind it: then damage to it is told. */
async function isDurable(
  write: (keyspace: Keyspace, key: string, value: string) => Promise<void>,
  options: DatabaseOptions,
  keyspaceOptions: { durability?: 'os' | 'sync' } = {},
): Promise<boolean> {
  const database = await newDatabase({ ...QUIET, ...options })
  const keyspace = await database.keyspace('k', keyspaceOptions)
  await write(keyspace, 'first', 'the first value')
  await keyspace.insert('second', 'another one', { durability: 'os' })
  const image = imageOf(database)
  flipByte(placesOf(image, 'the first value')[0]!)
  try {
    const again = await databaseAt(image, QUIET)
    expect(seen(await again.keyspace('k'))).toBe('')
    return false
  } catch (error) {
    expect(error).toMatchObject({ code: 'CORRUPTION' })
    return true
  }
}

/** Whether a write may be in memory alone when its call returns. */
function isBuffered(database: Database, keyspace: Keyspace, options?: WriteOptions): boolean {
  // Native hands over what it has every 10 ms: sometimes right then.
  for (let i = 0; i < 200; i++) {
    const value = `buffered or not, ${i}`
    keyspace.insertSync('key', value, options)
    if (placesOf(database.path, value).length === 0) return true
  }
  return false
}

const plainly = async (keyspace: Keyspace, key: string, value: string): Promise<void> =>
  keyspace.insert(key, value)

test('option DatabaseOptions.engine: runs the one named, or that of SHALE_ENGINE', async () => {
  const path = join(scratchDirectory(), 'db')
  const engine = nextEngine(path)
  const named = await openDatabase(path, { engine })
  expect(named.engine).toBe(engine)
  await named.close()
  const before = process.env['SHALE_ENGINE']
  onTestFinished(() => {
    if (before === undefined) delete process.env['SHALE_ENGINE']
    else process.env['SHALE_ENGINE'] = before
  })
  process.env['SHALE_ENGINE'] = engine
  const chosen = await openDatabase(path, { engine: 'auto' })
  expect(chosen.engine).toBe(engine)
  await chosen.close()
})

test('option DatabaseOptions.createIfMissing: makes a directory, or refuses', async () => {
  const path = join(scratchDirectory(), 'db')
  expect((await rejection(() => openDatabase(path, { createIfMissing: false }))).code).toBe(
    'DB_NOT_FOUND',
  )
  expect(existsSync(path)).toBe(false)
  await (await openDatabase(path, { createIfMissing: true })).close()
  expect(existsSync(path)).toBe(true)
  await (await openDatabase(path, { createIfMissing: false })).close()
})

test('option DatabaseOptions.errorIfExists: refuses what is there', async () => {
  const path = join(scratchDirectory(), 'db')
  await (await openDatabase(path, { errorIfExists: true })).close()
  expect((await rejection(() => openDatabase(path, { errorIfExists: true }))).code).toBe(
    'DB_EXISTS',
  )
  await (await openDatabase(path, { errorIfExists: false })).close()
})

test('option DatabaseOptions.readOnly: reads, and writes nothing', async () => {
  const { path, database, keyspace } = await newKeyspace()
  keyspace.insertSync('a', 'value')
  const image = imageOf({ path })
  await database.close()
  const names = readdirSync(image)
  const open = await databaseAt(image, { readOnly: true })
  const found = await open.keyspace('k')
  expect(seen(found)).toBe('a=value')
  expect((await failure(() => found.insertSync('b', 'value'))).code).toBe('READ_ONLY')
  await open.close()
  expect(readdirSync(image)).toEqual(names)
})

test('option DatabaseOptions.durability: says when a write is acknowledged', async () => {
  expect(await isDurable(plainly, { durability: 'os' })).toBe(false)
  expect(await isDurable(plainly, { durability: 'sync' })).toBe(true)
  const buffered = await newDatabase({ ...QUIET, durability: 'buffered' })
  expect(isBuffered(buffered, await buffered.keyspace('k'))).toBe(true)
  const os = await newDatabase({ ...QUIET, durability: 'os' })
  expect(isBuffered(os, await os.keyspace('k'))).toBe(false)
})

test('option KeyspaceOptions.durability: goes before that of the database', async () => {
  expect(await isDurable(plainly, { durability: 'sync' }, { durability: 'os' })).toBe(false)
  expect(await isDurable(plainly, { durability: 'os' }, { durability: 'sync' })).toBe(true)
  const database = await newDatabase({ ...QUIET, durability: 'os' })
  const keyspace = await database.keyspace('k', { durability: 'buffered' })
  expect(isBuffered(database, keyspace)).toBe(true)
})

test('option WriteOptions.durability: goes before both', async () => {
  const writes = {
    insert: async (keyspace: Keyspace, key: string, value: string, options: WriteOptions) =>
      keyspace.insert(key, value, options),
    insertSync: async (keyspace: Keyspace, key: string, value: string, options: WriteOptions) => {
      keyspace.insertSync(key, value, options)
    },
  }
  for (const write of Object.values(writes)) {
    for (const durability of ['os', 'sync'] as const) {
      const form = async (keyspace: Keyspace, key: string, value: string): Promise<void> =>
        write(keyspace, key, value, { durability })
      const other = durability === 'os' ? 'sync' : 'os'
      expect(await isDurable(form, { durability: other })).toBe(durability === 'sync')
    }
  }
  const database = await newDatabase(QUIET)
  const keyspace = await database.keyspace('k')
  expect(isBuffered(database, keyspace, { durability: 'buffered' })).toBe(true)
  expect(isBuffered(database, keyspace, { durability: 'os' })).toBe(false)
})

test('option DatabaseOptions.syncInterval: syncs what was written, unasked', async () => {
  /** Types of the records in the journal: 1 for data, 2 for the witness of a sync. */
  const recordsOf = (database: Database): number[] => {
    const file = filesOf(database.path, 'journal').at(-1)!
    const bytes = readFileSync(file)
    const [, ...records] = partsOf(basename(file), bytes)
    return records.map(({ offset }) => bytes[offset + 8]!)
  }
  for (const syncInterval of [0, 20]) {
    const database = await newDatabase({ syncInterval })
    const keyspace = await database.keyspace('k')
    // That of the creation.
    await expect.poll(() => recordsOf(database).at(-1), { timeout: 30_000 }).toBe(2)
    await keyspace.insert('a', 'value')
    if (syncInterval > 0) {
      await expect.poll(() => recordsOf(database), { timeout: 30_000 }).toEqual([1, 2, 1, 2])
    } else {
      await setTimeout(300)
      expect(recordsOf(database)).toEqual([1, 2, 1])
    }
  }
})

test('option DatabaseOptions.cacheSize: keeps blocks that were read', async () => {
  for (const cacheSize of [0, MIB]) {
    const { path, database, keyspace } = await newKeyspace(
      { compaction: PATIENT, compression: 'none' },
      { cacheSize },
    )
    expect(database.cacheCapacity).toBe(cacheSize)
    keyspace.insertSync('a', 'the value')
    await keyspace.rotateMemtableAndWait()
    expect(keyspace.getTextSync('a')).toBe('the value')
    flipByteInPlace(placesOf(path, 'the value').find(({ file }) => file.endsWith('table'))!)
    if (cacheSize > 0) expect(keyspace.getTextSync('a')).toBe('the value')
    else expect((await failure(() => keyspace.getTextSync('a'))).code).toBe('CORRUPTION')
  }
})

test.runIf(process.platform === 'linux')(
  'option DatabaseOptions.maxOpenFiles: bounds the descriptors of tables',
  async () => {
    for (const maxOpenFiles of [16, 900]) {
      const { path, keyspace } = await newKeyspace(
        { compaction: PATIENT },
        { maxOpenFiles, cacheSize: 0 },
      )
      for (let i = 0; i < 40; i++) {
        keyspace.insertSync(numbered(i), 'value')
        await keyspace.rotateMemtableAndWait()
      }
      for (let i = 0; i < 40; i++) expect(keyspace.getTextSync(numbered(i))).toBe('value')
      expect(await keyspace.len()).toBe(40)
      const open = openTables(path)
      if (maxOpenFiles === 16) expect(open).toBeLessThanOrEqual(16)
      else expect(open).toBeGreaterThan(16)
    }
  },
)

function openTables(path: string): number {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return '' // the one that read the directory
    }
  })
  return targets.filter((file) => file.startsWith(path) && file.endsWith('.table')).length
}

test('option DatabaseOptions.workerThreads: bounds the compactions that run at once', async () => {
  for (const workerThreads of [1, 4]) {
    // So slow that they are seen running.
    const database = await newDatabase({ workerThreads, compactionRateLimit: 100_000 })
    await database.compactor.pause()
    const compaction = new LeveledCompaction({ l0Threshold: 2 })
    for (let i = 0; i < 8; i++) {
      const keyspace = await database.keyspace(`${i}`, { compaction, compression: 'none' })
      for (let run = 0; run < 2; run++) {
        for (let row = 0; row < 20; row++) keyspace.insertSync(numbered(row), 'v'.repeat(10_000))
        await keyspace.rotateMemtableAndWait()
      }
    }
    database.compactor.resume()
    let most = 0
    const deadline = Date.now() + (workerThreads === 1 ? 1500 : 30_000)
    while (Date.now() < deadline && most < 4) {
      most = Math.max(most, database.compactor.jobs().length)
      expect(database.activeCompactions).toBeLessThanOrEqual(workerThreads)
      await setTimeout(5)
    }
    expect(most).toBe(workerThreads)
    await database.close()
  }
})

test('option DatabaseOptions.compactionRateLimit: makes compactions take their time', async () => {
  const database = await newDatabase({ compactionRateLimit: 400_000 })
  // 400,000 bytes are written, in one compaction or in many.
  for (const keyspaces of [1, 10]) {
    const opened: Keyspace[] = []
    for (let i = 0; i < keyspaces; i++) {
      const options: KeyspaceOptions = { compaction: PATIENT, compression: 'none' }
      const keyspace = await database.keyspace(`${i} of ${keyspaces}`, options)
      for (let run = 0; run < 2; run++) {
        for (let row = 0; row < 40 / keyspaces; row++) {
          keyspace.insertSync(numbered(row), 'v'.repeat(10_000))
        }
        await keyspace.rotateMemtableAndWait()
      }
      opened.push(keyspace)
    }
    const begin = performance.now()
    for (const keyspace of opened) await keyspace.majorCompaction()
    expect(performance.now() - begin).toBeGreaterThan(500)
  }
})

test('a compaction that pays for what it wrote ends at once when it is aborted', async () => {
  const { database, keyspace } = await newKeyspace(
    { compaction: PATIENT, compression: 'none' },
    { compactionRateLimit: 1000 },
  )
  for (let run = 0; run < 2; run++) {
    for (let row = 0; row < 40; row++) keyspace.insertSync(numbered(row), 'v'.repeat(10_000))
    await keyspace.rotateMemtableAndWait()
  }
  const aborting = new AbortController()
  const compacted = rejection(() => keyspace.majorCompaction({ signal: aborting.signal }))
  await expect.poll(() => database.activeCompactions).toBe(1)
  aborting.abort()
  expect((await compacted).code).toBe('ABORTED')
  // It owes six minutes.
  await expect.poll(() => database.activeCompactions, { timeout: 20_000 }).toBe(0)
  expect(keyspace.tableCount()).toBe(2)
})

test('option DatabaseOptions.maxWriteBufferSize: bounds the bytes of memtables', async () => {
  for (const maxWriteBufferSize of [MIB, 256 * MIB]) {
    const { database, keyspace } = await newKeyspace(undefined, { maxWriteBufferSize })
    let most = 0
    for (let i = 0; i < 300; i++) {
      await keyspace.insert(numbered(i), Buffer.alloc(10_000, i))
      most = Math.max(most, database.writeBufferSize)
    }
    if (maxWriteBufferSize === MIB) expect(most).toBeLessThan(1.5 * MIB)
    else expect(most).toBeGreaterThan(2.5 * MIB)
    expect(await keyspace.len()).toBe(300)
  }
})

test('option DatabaseOptions.maxStall: ends the wait of a sync write', async () => {
  for (const maxStall of [0, 60_000]) {
    const { database, keyspace } = await newKeyspace(undefined, {
      maxWriteBufferSize: MIB,
      maxStall,
    })
    let stalled = 0
    for (let i = 0; i < 400; i++) {
      try {
        keyspace.insertSync(numbered(i), Buffer.alloc(16_384, i))
      } catch (error) {
        expect(error).toMatchObject({ code: 'STALLED', retryable: true })
        stalled++
      }
    }
    // Those of the TypeScript engine make room themselves.
    expect(stalled > 0).toBe(maxStall === 0 && database.engine === 'native')
    expect(await keyspace.len()).toBe(400 - stalled)
  }
})

test('option DatabaseOptions.maxValueSize: refuses larger values', async () => {
  const { database, keyspace } = await newKeyspace(undefined, { maxValueSize: 100 })
  await keyspace.insert('a', 'v'.repeat(100))
  const large = 'v'.repeat(101)
  for (const call of [
    () => keyspace.insert('b', large),
    () => keyspace.insertSync('b', large),
    () => database.batch().insert(keyspace, 'b', large),
  ]) {
    expect((await failure(call)).code).toBe('VALUE_TOO_LARGE')
  }
  expect(seen(keyspace)).toBe(`a=${'v'.repeat(100)}`)
})

test('option DatabaseOptions.maxJournalSize: flushes those that keep sealed journals', async () => {
  for (const maxJournalSize of [MIB, 512 * MIB]) {
    const database = await newDatabase({ maxJournalSize, journalCompression: 'none' })
    const straggler = await database.keyspace('straggler', { compaction: PATIENT })
    await straggler.insert('a', 'value')
    const busy = await database.keyspace('busy', { maxMemtableSize: 65_536 })
    const write = async (): Promise<void> => {
      for (let i = 0; i < 100; i++) await busy.insert(numbered(i), Buffer.alloc(10_000, i))
    }
    for (let round = 0; round < 3; round++) await write()
    if (maxJournalSize > MIB) {
      expect([straggler.tableCount(), database.journalCount]).toEqual([0, 1])
      expect(database.journalDiskSpace()).toBeGreaterThan(2.5 * MIB)
      continue
    }
    await expect.poll(() => straggler.tableCount(), { timeout: 30_000 }).toBe(1)
    await expect.poll(() => database.journalDiskSpace(), { timeout: 30_000 }).toBeLessThan(2 * MIB)
  }
})

test('option DatabaseOptions.journalCompression: makes journaled values smaller', async () => {
  const value = 'a text that goes on '.repeat(500)
  for (const journalCompression of ['none', 'lz4', 'zstd'] as const) {
    const { database, keyspace } = await newKeyspace(undefined, { journalCompression })
    await keyspace.insert('a', value)
    const isPlain = placesOf(database.path, value).length === 1
    expect(isPlain).toBe(journalCompression === 'none')
    const again = await databaseAt(imageOf(database))
    expect((await again.keyspace('k')).getTextSync('a')).toBe(value)
  }
})

test('option DatabaseOptions.recovery: says what becomes of a damaged journal', async () => {
  const database = await newDatabase(QUIET)
  const keyspace = await database.keyspace('k')
  await keyspace.insert('a', 'value a', { durability: 'sync' })
  await keyspace.insert('b', 'value b', { durability: 'sync' })
  await keyspace.insert('c', 'value c')
  const image = imageOf(database)
  const torn = (): string => {
    const copy = imageOf({ path: image })
    const { file, at } = placesOf(copy, 'value c')[0]!
    truncateSync(file, at + 3)
    return copy
  }
  const damaged = imageOf({ path: image })
  flipByte(placesOf(damaged, 'value a')[0]!)
  const open = async (path: string, recovery: 'tail' | 'strict' | 'salvage'): Promise<string> => {
    try {
      const again = openDatabaseSync(path, { ...QUIET, recovery })
      const rows = seen(again.keyspaceSync('k'))
      again.closeSync()
      return rows
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  expect(await open(torn(), 'tail')).toBe('a=value a b=value b')
  expect(await open(torn(), 'strict')).toBe('CORRUPTION')
  expect(await open(torn(), 'salvage')).toBe('a=value a b=value b')
  expect(await open(damaged, 'tail')).toBe('CORRUPTION')
  expect(await open(damaged, 'strict')).toBe('CORRUPTION')
  expect(await open(damaged, 'salvage')).toBe('b=value b c=value c')
})
