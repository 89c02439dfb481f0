// Tables and the files of a directory: edge cases 25 to 30. The cases 31 to 33, on blob files, are
// in blobs.test.ts.

import { copyFileSync, mkdirSync, readFileSync, readdirSync } from 'node:fs'
import { renameSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { LeveledCompaction, MAX_SEQNO } from '../../../lib/index.ts'
import type { FilterPolicy, KeyspaceOptions, TreeOptions } from '../../../lib/index.ts'
import { openDatabase, openDatabaseSync, openTreeSync } from '../../support/engine.ts'
import { filesOf } from '../../support/files.ts'
import { PATIENT } from '../../support/patient.ts'
import { failure, scratchDirectory } from '../../support/scratch.ts'
import { newKeyspace, newTree, numbered, seen, tablesOf } from '../../support/trees.ts'

test('edge case 25: filters of hardly any bits, of no keys, cut behind the last key', async () => {
  const cases: readonly (readonly [FilterPolicy, readonly number[]])[] = [
    ['none', [0, 3]],
    [{ bitsPerKey: 0.01 }, [0, 1, 300]],
    [{ bitsPerKey: 1.5 }, [2]],
    [{ falsePositiveRate: 0.5 }, [300]],
    [{ falsePositiveRate: 1e-9 }, [0, 1]],
    // A part of 256 bytes is full at 205 keys: it ends in the midst, right at and behind the last.
    [{ bitsPerKey: 10 }, [204, 205, 206, 410]],
  ]
  for (const [filter, counts] of cases) {
    for (const partitionFilter of [false, true]) {
      for (const rows of counts) {
        const options: TreeOptions = {
          compaction: PATIENT,
          filter,
          partitionFilter,
          partitionIndex: partitionFilter,
          dataBlockSize: 128,
        }
        const shown = `${JSON.stringify(options.filter)} ${partitionFilter} ${rows}`
        const tree = await newTree(options)
        for (let i = 0; i < rows; i++) tree.insertSync(numbered(2 * i), 'value', 1)
        if (rows === 0) {
          // A table of a range tombstone alone has no key to enter.
          tree.insertSync('z', 'below', 1)
          await tree.flush()
          tree.removeRangeSync({ gte: 'a' }, 2)
        }
        await tree.flush()
        expect(tree.tableCount(), shown).toBe(rows === 0 ? 2 : 1)
        await tree.close()
        const again = openTreeSync(tree.path)
        for (let i = 0; i < rows; i++) {
          expect(again.containsKeySync(numbered(2 * i), MAX_SEQNO), shown).toBe(true)
          expect(again.containsKeySync(numbered(2 * i + 1), MAX_SEQNO), shown).toBe(false)
        }
        expect(again.containsKeySync(`${numbered(2 * rows)} behind`, MAX_SEQNO)).toBe(false)
        expect(again.lenSync(MAX_SEQNO), shown).toBe(rows)
        again.closeSync()
      }
    }
  }
})

test('edge case 26: versions of one key are never spread over two tables of a run', async () => {
  const tree = await newTree({ compaction: PATIENT, dataBlockSize: 256, compression: 'none' })
  const versions = 40
  let seqno = 0
  for (let i = 0; i < 12; i++) {
    for (let version = 0; version < (i % 3 === 0 ? versions : 3); version++) {
      tree.insertSync(numbered(i), `version ${version} `.repeat(20), ++seqno)
    }
  }
  await tree.flush()
  await tree.majorCompaction({ targetSize: 4096 })
  const tables = tablesOf(tree)
  expect(tables.length).toBeGreaterThan(3)
  for (const [i, { firstKey, lastKey, itemCount }] of tables.entries()) {
    const next = tables[i + 1]
    if (next !== undefined) expect(Buffer.compare(lastKey, next.firstKey)).toBeLessThan(0)
    // One that holds a key with all its versions is larger than what it was to be.
    if (firstKey.equals(lastKey)) expect([3, versions]).toContain(itemCount)
  }
  expect(tables.some(({ itemCount }) => itemCount >= versions)).toBe(true)
  for (let at = 1, i = 0; i < 12; i++) {
    for (let version = 0; version < (i % 3 === 0 ? versions : 3); version++, at++) {
      const expected = `version ${version} `.repeat(20)
      expect(tree.getTextSync(numbered(i), at + 1)).toBe(expected)
    }
  }
})

test('edge case 27: a flipped byte anywhere in a table is told, or changes nothing', async () => {
  const made = await newTree({ compaction: PATIENT, dataBlockSize: 128, filter: { bitsPerKey: 8 } })
  for (let i = 0; i < 20; i++) made.insertSync(numbered(i), `value ${i}`, i + 1)
  made.removeRangeSync({ gte: numbered(3), lt: numbered(5) }, 30)
  await made.flush()
  await made.close()
  const [table = ''] = filesOf(made.path, 'table')
  const whole = readFileSync(table)
  const expected = Array.from({ length: 20 }, (_, i) =>
    i === 3 || i === 4 ? 'gone' : `value ${i}`,
  )
  const read = (): string[] => {
    const tree = openTreeSync(made.path, { cacheSize: 0 })
    try {
      const points = expected.map((_, i) => tree.getTextSync(numbered(i), MAX_SEQNO) ?? 'gone')
      const rows = tree.iter(MAX_SEQNO).toArraySync().length
      return [...points, `${rows} rows`]
    } finally {
      tree.closeSync()
    }
  }
  const right = [...expected, '18 rows']
  expect(read()).toEqual(right)
  let told = 0
  for (let at = 0; at < whole.length; at += at < 32 ? 1 : 11) {
    const bytes = Buffer.from(whole)
    bytes[at]! ^= 1 << (at % 8)
    writeFileSync(table, bytes)
    try {
      expect(read(), `byte ${at}`).toEqual(right)
    } catch (error) {
      expect(error, `byte ${at}`).toMatchObject({ code: 'CORRUPTION', path: table })
      told++
    }
  }
  // All of it is read to answer, so nothing is passed over.
  expect(told).toBe(32 + Math.ceil((whole.length - 32) / 11))
  writeFileSync(table, whole)
  expect(read()).toEqual(right)
})

test('edge case 28: orphans of a crash go at the next open, a missing file fails it', async () => {
  const kvSeparation = { threshold: 100, compression: 'none' } as const
  const { path, database, keyspace } = await newKeyspace({ compaction: PATIENT, kvSeparation })
  keyspace.insertSync('large', 'v'.repeat(1000))
  keyspace.insertSync('small', 'value')
  await keyspace.rotateMemtableAndWait()
  await database.close()
  const expected = `large=${'v'.repeat(1000)} small=value`
  const [[table = ''], [blob = '']] = [filesOf(path, 'table'), filesOf(path, 'blob')]
  // What a crash leaves of files that were being made; those of 777 and 778 had come to an end.
  copyFileSync(table, join(path, '000777.table'))
  copyFileSync(blob, join(path, '000778.blob'))
  const torn = ['000779.table', '000780.blob', '000781.journal', '000782.manifest']
  for (const name of torn) writeFileSync(join(path, name), readFileSync(table).subarray(0, 10))
  const orphans = ['000777.table', '000778.blob', ...torn]

  const again = await openDatabase(path)
  const found = await again.keyspace('k')
  expect(seen(found)).toBe(expected)
  await expect.poll(() => readdirSync(path).filter((name) => orphans.includes(name))).toEqual([])
  // Their numbers are not used a second time.
  found.insertSync('later', 'value')
  await found.rotateMemtableAndWait()
  const ids = tablesOf(found).map(({ id }) => id)
  expect(Math.max(...ids)).toBeGreaterThan(782)
  await again.close()

  for (const file of [table, blob]) {
    renameSync(file, `${file}.away`)
    const error = await failure(() => openDatabase(path))
    expect(error).toMatchObject({ code: 'CORRUPTION', path: file })
    renameSync(`${file}.away`, file)
  }
  const whole = openDatabaseSync(path)
  expect(seen(whole.keyspaceSync('k'))).toBe(expected.replace(' small', ' later=value small'))
  whole.closeSync()
})

test('edge case 29: foreign files stay; a directory may be moved, or given relative', async () => {
  const directory = scratchDirectory()
  const [path, moved] = [join(directory, 'db'), join(directory, 'moved')]
  const database = await openDatabase(path)
  const keyspace = await database.keyspace('k', { kvSeparation: { threshold: 100 } })
  keyspace.insertSync('a', 'value')
  keyspace.insertSync('b', 'v'.repeat(500))
  await keyspace.rotateMemtableAndWait()
  keyspace.insertSync('c', 'in the journal')
  await database.close()
  const foreign = ['.DS_Store', '._000001.table', '._db', 'notes.txt', '1.table', '000001.tables']
  for (const name of foreign) writeFileSync(join(path, name), `of ${name}`)
  mkdirSync(join(path, 'a directory'))
  renameSync(path, moved)

  const expected = `a=value b=${'v'.repeat(500)} c=in the journal`
  const before = process.cwd()
  onTestFinished(() => process.chdir(before))
  process.chdir(directory)
  const again = await openDatabase('moved')
  process.chdir(before)
  expect(relative(directory, again.path)).toBe('moved')
  const found = await again.keyspace('k')
  expect(seen(found)).toBe(expected)
  found.insertSync('d', 'later')
  await found.rotateMemtableAndWait()
  await found.majorCompaction()
  await again.close()
  for (const name of foreign) expect(readFileSync(join(moved, name), 'utf8')).toBe(`of ${name}`)
  expect(readdirSync(join(moved, 'a directory'))).toEqual([])
  expect(readdirSync(directory)).toEqual(['moved'])

  const last = openDatabaseSync(moved)
  expect(seen(last.keyspaceSync('k'))).toBe(`${expected} d=later`)
  last.closeSync()
})

test('edge case 30: tables that were written with other options are read as they are', async () => {
  const shapes: KeyspaceOptions[] = [
    { dataBlockSize: 64, compression: 'none', filter: 'none', restartInterval: 1 },
    { dataBlockSize: 4096, compression: 'lz4', filter: { bitsPerKey: 10 }, hashIndexRatio: 1 },
    {
      dataBlockSize: [16_384, 64],
      compression: ['none', 'lz4'],
      partitionIndex: true,
      partitionFilter: true,
      restartInterval: 255,
      indexCompression: 'lz4',
    },
    { pinIndex: false, pinFilter: false, expectPointReadHits: true, memtable: 'skiplist' },
  ]
  const path = join(scratchDirectory(), 'db')
  const model = new Map<string, string>()
  for (const [round, shape] of shapes.entries()) {
    const database = await openDatabase(path, { cacheSize: round % 2 === 0 ? 0 : 2 ** 20 })
    const keyspace = await database.keyspace('k', { ...shape, compaction: PATIENT })
    for (let i = 0; i < 200; i++) {
      const key = numbered((i * 3 + round) % 400)
      keyspace.insertSync(key, `${round} of ${i}`)
      model.set(key, `${round} of ${i}`)
    }
    await keyspace.rotateMemtableAndWait()
    expect(keyspace.tableCount()).toBe(round + 1)
    const rows = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1))
    const expected = rows.map((row) => row.join('=')).join(' ')
    expect(seen(keyspace)).toBe(expected)
    for (const [key, value] of model) expect(keyspace.getTextSync(key)).toBe(value)
    await database.close()
  }
  const database = await openDatabase(path)
  const compaction = new LeveledCompaction({ l0Threshold: 2 })
  const keyspace = await database.keyspace('k', { compaction, dataBlockSize: 512 })
  await keyspace.majorCompaction()
  expect(keyspace.tableCount()).toBe(1)
  for (const [key, value] of model) expect(keyspace.getTextSync(key)).toBe(value)
  await database.close()
})
