// Work that races other work, and the end of a database: edge cases 39 and 40.

import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { LeveledCompaction } from '../../../lib/index.ts'
import type { Keyspace } from '../../../lib/index.ts'
import { openDatabase } from '../../support/engine.ts'
import { filesOf, flipByte, placesOf } from '../../support/files.ts'
import { PATIENT } from '../../support/patient.ts'
import { rejection, scaled, scratchDirectory } from '../../support/scratch.ts'
import { databaseAt, newDatabase, newKeyspace, numbered, seen } from '../../support/trees.ts'

const RESTLESS = new LeveledCompaction({ l0Threshold: 2, targetSize: 8192 })

test('edge case 39: clear() beside flushes and compactions leaves what came after it', async () => {
  const database = await newDatabase({ workerThreads: 4 })
  const names = ['a', 'b', 'c', 'd']
  const run = async (name: string): Promise<void> => {
    const keyspace = await database.keyspace(name, {
      maxMemtableSize: 4096,
      compaction: RESTLESS,
      ...(name === 'd' && { kvSeparation: { threshold: 50, fileSize: 8192 } }),
    })
    for (let round = 0; round < scaled(6); round++) {
      const value = (i: number): string => `${round} of ${i} `.repeat(10)
      const writes = Array.from({ length: 120 }, async (_, i) =>
        keyspace.insert(numbered(i), value(i)),
      )
      const others: Promise<unknown>[] = [
        keyspace.rotateMemtableAndWait(),
        keyspace.majorCompaction({ targetSize: 4096 }),
      ]
      if (round % 3 === 1) others.push(keyspace.dropRange({ gte: numbered(30), lt: numbered(60) }))
      await Promise.all(writes)
      const cleared = keyspace.clear()
      others.push(keyspace.majorCompaction(), keyspace.rotateMemtableAndWait())
      await cleared
      expect(keyspace.isEmptySync()).toBe(true)
      await keyspace.insert('left', `${round}`)
      keyspace.insertSync(numbered(round), 'after')
      others.push(keyspace.rotateMemtableAndWait())
      await Promise.all(others)
      expect(seen(keyspace)).toBe(`${numbered(round)}=after left=${round}`)
      await keyspace.remove(numbered(round))
    }
  }
  await Promise.all(names.map(run))
  await database.compactor.drain()
  expect(database.status).toBe('open')
  await database.close()
  const again = await databaseAt(database.path)
  for (const name of names) {
    expect(seen(await again.keyspace(name))).toBe(`left=${scaled(6) - 1}`)
  }
})

test('edge case 39, a failed compaction: its inputs are free again, nothing is lost', async () => {
  const path = join(scratchDirectory(), 'db')
  const made = await openDatabase(path)
  const options = { compaction: PATIENT, compression: 'none', dataBlockSize: 256 } as const
  const keyspace = await made.keyspace('k', options)
  for (let i = 0; i < 50; i++) keyspace.insertSync(numbered(i), `older ${i}`.padEnd(40))
  await keyspace.rotateMemtableAndWait()
  for (let i = 0; i < 50; i += 2) keyspace.insertSync(numbered(i), `newer ${i}`)
  await keyspace.rotateMemtableAndWait()
  const rows = seen(keyspace)
  await made.close()
  const place = placesOf(path, 'older 21')[0]!
  const whole = `${place.file}.whole`
  copyFileSync(place.file, whole)
  flipByte(place)

  const database = await databaseAt(path, { cacheSize: 0 })
  const found = await database.keyspace('k')
  const tables = found
    .version()
    .levels.flat(2)
    .map(({ id }) => id)
  const merge = { kind: 'merge', tables, destinationLevel: 6, targetSize: 65_536 } as const
  for (let attempt = 0; attempt < 3; attempt++) {
    expect((await rejection(() => found.compact(merge))).code).toBe('CORRUPTION')
    expect((await rejection(() => found.majorCompaction())).code).toBe('CORRUPTION')
    expect(found.tableCount()).toBe(2)
    expect(database.compactor.jobs()).toEqual([])
  }
  expect(filesOf(path, 'table')).toHaveLength(2)
  copyFileSync(whole, place.file)
  await found.compact(merge)
  expect(found.tableCount()).toBe(1)
  expect(seen(found)).toBe(rows)
})

test('edge case 39, several workers: no insert is lost beside their compactions', async () => {
  const { database, keyspace } = await newKeyspace(
    { maxMemtableSize: 8192, compaction: RESTLESS },
    { workerThreads: 4, maxStall: 60_000 },
  )
  const model = new Map<string, string>()
  const write = async (of: Keyspace, i: number): Promise<void> => {
    const [key, value] = [numbered((i * 7919) % 1500), `value ${i}`.padEnd(60)]
    model.set(key, value)
    if (i % 2 === 0) of.insertSync(key, value)
    else await of.insert(key, value)
  }
  const compactions: Promise<void>[] = []
  for (let i = 0; i < scaled(6000); i++) {
    await write(keyspace, i)
    if (i % 1000 === 0) compactions.push(keyspace.majorCompaction({ targetSize: 8192 }))
  }
  await Promise.all(compactions)
  await keyspace.rotateMemtableAndWait()
  await database.compactor.drain()
  expect(database.compactionsCompleted).toBeGreaterThan(3)
  const rows = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1))
  expect(seen(keyspace)).toBe(rows.map((row) => row.join('=')).join(' '))
  for (const [key, value] of rows) expect(keyspace.getTextSync(key)).toBe(value)
})

/** What another process is told that opens a directory. */
function openElsewhere(path: string): string {
  const script = fileURLToPath(new URL('children/open.mjs', import.meta.url))
  const engine = process.env['SHALE_ENGINE'] === 'native' ? 'native' : 'typescript'
  const { stdout, stderr } = spawnSync(process.execPath, [script, path, engine], {
    encoding: 'utf8',
  })
  return stdout.trim() || stderr
}

/** Files below a directory that this process has open. */
function openFilesIn(path: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith(path) ? [target] : []
    } catch {
      return [] // closed meanwhile, as the one that read the directory
    }
  })
}

test('edge case 40: a second process is refused, and a close gives everything back', async () => {
  const { path, database, keyspace } = await newKeyspace()
  for (let i = 0; i < 100; i++) keyspace.insertSync(numbered(i), 'value')
  await keyspace.rotateMemtableAndWait()
  await keyspace.majorCompaction()
  const snapshot = database.snapshot()
  const iterated = keyspace.iter()[Symbol.iterator]()
  iterated.next()
  expect(openElsewhere(path)).toBe(`DB_LOCKED ${process.pid}`)
  if (process.platform === 'linux') expect(openFilesIn(path).length).toBeGreaterThan(0)
  await database.close()
  expect(snapshot.closed).toBe(true)
  if (process.platform === 'linux') expect(openFilesIn(path)).toEqual([])
  expect(existsSync(join(path, 'lock'))).toBe(false)
  expect(openElsewhere(path)).toBe('opened')
  const again = await databaseAt(path)
  expect(await (await again.keyspace('k')).len()).toBe(100)
})
