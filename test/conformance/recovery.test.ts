// Opening what a crash or damage left: what is kept, what is dropped, and what is told.

import { readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Database, DatabaseOptions } from '../../lib/index.ts'
import { openDatabase, openDatabaseSync } from '../support/engine.ts'
import { flipByte, imageOf, placesOf } from '../support/files.ts'
import type { Place } from '../support/files.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

/** Nothing is synced, nor flushed, unless it is asked for. */
const QUIET: DatabaseOptions = { syncInterval: 0 }

/** The one file that holds `text`, and where it last does. */
function find(path: string, text: string): Place {
  const found = placesOf(path, text)
  expect(found).toHaveLength(1)
  return found[0]!
}

function rowsOf(db: Database): string {
  return db.keyspaceSync('k').iter().toArraySync().map(String).join(' ')
}

test('what was acknowledged is there after a kill', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'))
  const [a, b] = [await db.keyspace('a'), await db.keyspace('b')]
  for (let i = 0; i < 20; i++) {
    const batch = db.batch().insert(a, `key${i}`, `a${i}`).insert(b, `key${i}`, `b${i}`)
    await batch.commit({ durability: i % 2 === 0 ? 'os' : 'sync' })
    if (i === 9) await a.rotateMemtableAndWait()
  }
  const image = imageOf(db)
  const { seqno } = db
  await db.close()
  const again = await openDatabase(image)
  expect(again.seqno).toBe(seqno)
  expect(again.recovery).toMatchObject({ bytesDropped: 0, commitsDropped: 0, files: [] })
  expect(again.recovery.commitsReplayed).toBeGreaterThanOrEqual(10)
  for (const name of ['a', 'b']) {
    const keyspace = await again.keyspace(name)
    for (let i = 0; i < 20; i++) expect(await keyspace.getText(`key${i}`)).toBe(`${name}${i}`)
  }
  await again.close()
  const clean = await openDatabase(image)
  expect(clean.recovery.commitsReplayed).toBe(0)
  expect(clean.keyspaceSync('a').lenSync()).toBe(20)
  await clean.close()
})

test('what was replayed is flushed before anything is written', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'))
  const keyspace = await db.keyspace('k')
  for (const key of ['a', 'b', 'c']) keyspace.insertSync(key, 'value')
  await db.persist()
  // The witness of the sync is in the journal as well.
  await setTimeout(50)
  const image = imageOf(db)
  await db.close()
  const again = await openDatabase(image)
  await (await again.keyspace('k')).rotateMemtableAndWait()
  expect(again.status).toBe('open')
  expect(rowsOf(again)).toBe('a,value b,value c,value')
  await again.close()
})

test('a torn tail is cut off and told, or refused', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'), QUIET)
  const keyspace = await db.keyspace('k')
  await keyspace.insert('a', 'synced', { durability: 'sync' })
  for (const key of ['b', 'c', 'd']) await keyspace.insert(key, `written ${key}`)
  const torn = (): string => {
    const image = imageOf(db)
    const { file, at } = find(image, 'written d')
    truncateSync(file, at + 3)
    return image
  }
  const kept = torn()
  const cut = await openDatabase(kept, QUIET)
  expect(rowsOf(cut)).toBe('a,synced b,written b c,written c')
  expect(cut.recovery.bytesDropped).toBeGreaterThan(0)
  expect(cut.recovery.files).toHaveLength(1)
  await (await cut.keyspace('k')).insert('e', 'later')
  await cut.close()
  const again = await openDatabase(kept, QUIET)
  expect(rowsOf(again)).toBe('a,synced b,written b c,written c e,later')
  expect(again.recovery.bytesDropped).toBe(0)
  await again.close()

  const strict = await rejection(() => openDatabase(torn(), { recovery: 'strict' }))
  expect(strict.code).toBe('CORRUPTION')
  const salvaged = openDatabaseSync(torn(), { recovery: 'salvage' })
  expect(rowsOf(salvaged)).toBe('a,synced b,written b c,written c')
  salvaged.closeSync()
  await db.close()
})

test('damage before the durable end is refused, or read around', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'), QUIET)
  const keyspace = await db.keyspace('k')
  for (const key of ['a', 'b', 'c']) {
    await keyspace.insert(key, `synced ${key}`, { durability: 'sync' })
  }
  await keyspace.insert('d', 'written')
  const image = imageOf(db)
  await db.close()
  const place = find(image, 'synced b')
  flipByte(place)
  for (const recovery of ['tail', 'strict'] as const) {
    const error = await rejection(() => openDatabase(image, { recovery }))
    expect(error).toMatchObject({ code: 'CORRUPTION', path: place.file, retryable: false })
    expect(error.offset).toBeLessThan(place.at)
  }
  const salvaged = await openDatabase(image, { recovery: 'salvage' })
  expect(rowsOf(salvaged)).toBe('a,synced a c,synced c d,written')
  expect(salvaged.recovery.bytesDropped).toBeGreaterThan(0)
  expect(salvaged.recovery.files).toHaveLength(1)
  await salvaged.close()
  const again = await openDatabase(image, { recovery: 'strict' })
  expect(rowsOf(again)).toBe('a,synced a c,synced c d,written')
  await again.close()
})

test('a damaged block ends the reads that need it, and no others', async () => {
  const path = join(scratchDirectory(), 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k', { dataBlockSize: 256, compression: 'none' })
  for (let i = 100; i < 200; i++) keyspace.insertSync(`key${i}`, `value ${i} `.repeat(5))
  await keyspace.rotateMemtableAndWait()
  await db.close()
  const place = find(path, 'value 150')
  flipByte(place)
  const damaged = await openDatabase(path, { cacheSize: 0 })
  const found = await damaged.keyspace('k')
  for (const read of [
    () => found.getSync('key150'),
    () => found.get('key150'),
    () => found.getMany(['key100', 'key150']),
    () => found.iter().toArraySync(),
    () => found.len(),
  ]) {
    const error = await failure(read)
    expect(error, String(read)).toMatchObject({ code: 'CORRUPTION', path: place.file })
    expect(error.offset).toBeLessThanOrEqual(place.at)
    expect(error.message).not.toContain('value')
  }
  expect(found.getTextSync('key100')).toBe('value 100 '.repeat(5))
  expect(await found.getText('key199')).toBe('value 199 '.repeat(5))
  expect(found.range({ gte: 'key190' }).toArraySync()).toHaveLength(10)
  expect((await rejection(() => found.majorCompaction())).code).toBe('CORRUPTION')
  expect(found.range({ lt: 'key110' }).toArraySync()).toHaveLength(10)
  await damaged.close()
})

test('a table that is missing or short is named', async () => {
  const path = join(scratchDirectory(), 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k')
  keyspace.insertSync('key', 'value')
  await keyspace.rotateMemtableAndWait()
  await db.close()
  const table = join(
    path,
    readdirSync(path).find((name) => name.endsWith('.table'))!,
  )
  const contents = readFileSync(table)
  truncateSync(table, contents.length - 1)
  const short = await rejection(() => openDatabase(path))
  expect(short).toMatchObject({ code: 'CORRUPTION', path: table })
  rmSync(table)
  const missing = await rejection(() => openDatabase(path))
  expect(missing).toMatchObject({ code: 'CORRUPTION', path: table })
  writeFileSync(table, contents)
  const whole = await openDatabase(path)
  expect(rowsOf(whole)).toBe('key,value')
  await whole.close()
})

test('a database without its manifest is damaged, not new', async () => {
  const path = join(scratchDirectory(), 'db')
  const db = await openDatabase(path)
  await (await db.keyspace('k')).insert('key', 'value')
  await db.close()
  for (const name of readdirSync(path)) {
    if (name.endsWith('.manifest')) rmSync(join(path, name))
  }
  const left = readdirSync(path)
  for (const options of [{}, { createIfMissing: false }, { readOnly: true }]) {
    expect((await rejection(() => openDatabase(path, options))).code).toBe('CORRUPTION')
  }
  expect(readdirSync(path)).toEqual(left)
})
