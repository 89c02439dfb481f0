// Bare trees: what databases do not have.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LeveledCompaction, MAX_SEQNO } from '../../lib/index.ts'
import type { Tree } from '../../lib/index.ts'
import { openDatabase, openTree, openTreeSync } from '../support/engine.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

test('MAX_SEQNO reads everything, and no entry has it', async () => {
  const tree = await openTree(join(scratchDirectory(), 'tree'))
  for (const call of [
    () => tree.insertSync('key', 'value', MAX_SEQNO),
    () => tree.removeSync('key', MAX_SEQNO),
    () => tree.removeWeakSync('key', MAX_SEQNO),
  ]) {
    const error = await failure(call)
    expect(error.code).toBe('INVALID_ARGUMENT')
    expect(error.message).toContain(`${MAX_SEQNO - 1}`)
  }
  expect(tree.highestSeqno).toBe(undefined)
  tree.insertSync('key', 'older', MAX_SEQNO - 2)
  tree.insertSync('key', 'newest', MAX_SEQNO - 1)
  expect(tree.getTextSync('key', MAX_SEQNO - 1)).toBe('older')
  for (const flushed of [false, true]) {
    if (flushed) await tree.flush()
    expect(tree.getTextSync('key', MAX_SEQNO)).toBe('newest')
    expect((await tree.get('key', MAX_SEQNO))?.toString()).toBe('newest')
    expect(tree.getManySync(['key'], MAX_SEQNO).join()).toBe('newest')
    expect(tree.iter(MAX_SEQNO).toArraySync().join()).toBe('key,newest')
  }
  await tree.close()
})

test('a value is what its memory holds, whatever a subclass says', () => {
  class Liar extends Uint8Array {
    override get length(): number {
      return 5
    }
    override subarray(): Uint8Array<ArrayBuffer> {
      throw new Error('called')
    }
  }
  const tree = openTreeSync(join(scratchDirectory(), 'tree'))
  for (const size of [3, 70_000]) {
    tree.insertSync('key', new Liar(Buffer.alloc(size, 7)), size)
    expect(tree.getSync('key', size + 1)).toEqual(Buffer.alloc(size, 7))
  }
  tree.closeSync()
})

test('options that the format has no room for are refused, and the tree opens again', async () => {
  const path = join(scratchDirectory(), 'tree')
  openTreeSync(path).closeSync()
  const error = await failure(() => openTreeSync(path, { pinIndex: Array(9).fill(true) }))
  expect(error.code).toBe('INVALID_OPTION')
  const widest = { pinIndex: Array(8).fill(true), dataBlockSize: Array(8).fill(4 * 2 ** 20) }
  openTreeSync(path, widest).closeSync()
  openTreeSync(path).closeSync()
})

test('ranges of a closed tree are refused when they are made', async () => {
  const tree = openTreeSync(join(scratchDirectory(), 'tree'))
  tree.closeSync()
  for (const call of [
    () => tree.iter(MAX_SEQNO),
    () => tree.range({}, MAX_SEQNO),
    () => tree.prefix('k', MAX_SEQNO),
  ]) {
    expect((await failure(call)).code).toBe('DB_CLOSED')
  }
})

test('what is flushed is found again, and the rest is not', async () => {
  const path = join(scratchDirectory(), 'tree')
  const tree = await openTree(path)
  const { itemSize, memtableSize } = tree.insertSync('a', '1', 5)
  expect(itemSize).toBeGreaterThan(1)
  expect(memtableSize).toBeGreaterThanOrEqual(itemSize)
  tree.insertSync('a', '2', 9)
  tree.removeSync('gone', 9)
  const read = (of: Tree): unknown[] => [5, 6, 9, 10].map((seqno) => of.getTextSync('a', seqno))
  expect(read(tree)).toEqual([undefined, '1', '1', '2'])
  expect([tree.highestSeqno, tree.highestPersistedSeqno]).toEqual([9, undefined])
  expect(tree.approximateLen()).toBe(3)
  await tree.flush()
  expect([tree.highestSeqno, tree.highestPersistedSeqno]).toEqual([9, 9])
  tree.insertSync('b', '3', 10)
  await tree.close()

  const again = openTreeSync(path)
  expect(read(again)).toEqual([undefined, '1', '1', '2'])
  expect(again.containsKeySync('b', MAX_SEQNO)).toBe(false)
  expect(again.lenSync(MAX_SEQNO)).toBe(1)
  expect([again.tableCount(), again.l0TableCount()]).toEqual([1, 1])
  again.closeSync()
})

test('versions are kept from the gc seqno on', async () => {
  const path = join(scratchDirectory(), 'tree')
  const tree = await openTree(path)
  for (let seqno = 1; seqno <= 20; seqno++) tree.insertSync('k', String(seqno), seqno)
  await tree.flush()
  await tree.majorCompaction()
  const read = (of: Tree, seqno: number): string => of.getTextSync('k', seqno) ?? 'none'
  for (let seqno = 1; seqno <= 21; seqno++) {
    expect(read(tree, seqno)).toBe(seqno === 1 ? 'none' : String(seqno - 1))
  }
  tree.setGcSeqno(15)
  await tree.majorCompaction()
  expect(tree.approximateLen()).toBe(7)
  for (let seqno = 15; seqno <= 21; seqno++) expect(read(tree, seqno)).toBe(String(seqno - 1))
  await tree.close()
  // What was dropped for it is gone, so it must not come back lower.
  const again = await openTree(path)
  expect(again.gcSeqno).toBe(15)
  expect(read(again, 5)).toBe('none')
  await again.close()
})

test('plans move, merge and drop tables', async () => {
  const path = join(scratchDirectory(), 'tree')
  const tree = await openTree(path, { compression: 'none' })
  for (const [i, key] of ['a', 'm', 'z'].entries()) {
    tree.insertSync(key, 'value', i + 1)
    await tree.flush()
  }
  const tablesOf = (of: Tree): number[][] =>
    of.version().levels.map((runs) => runs.flat().map(({ id }) => id))
  const filesOf = (): string[] => readdirSync(path).filter((name) => name.endsWith('.table'))
  const [level0 = []] = tablesOf(tree)
  expect(level0).toHaveLength(3)
  const files = filesOf()
  await tree.compact({ kind: 'move', tables: level0, destinationLevel: 3 })
  expect(new Set(tablesOf(tree)[3])).toEqual(new Set(level0))
  expect(tree.version().levels[3]).toHaveLength(1)
  expect(filesOf()).toEqual(files)
  const stale = await rejection(() =>
    tree.compact({ kind: 'move', tables: [9999], destinationLevel: 4 }),
  )
  expect(stale).toMatchObject({ code: 'PLAN_STALE', retryable: true })

  const [first = 0, ...rest] = tablesOf(tree)[3] ?? []
  tree.compactSync({ kind: 'merge', tables: rest, destinationLevel: 5, targetSize: 65_536 })
  expect(tablesOf(tree).map((tables) => tables.length)).toEqual([0, 0, 0, 1, 0, 1, 0])
  await tree.close()

  const again = await openTree(path)
  expect(again.iter(MAX_SEQNO).toArraySync().map(String)).toEqual(['a,value', 'm,value', 'z,value'])
  await again.compact({ kind: 'drop', tables: [first] })
  expect(Array.from(again.iter(MAX_SEQNO).keys(), String)).toEqual(['m', 'z'])
  expect(again.tableCount()).toBe(1)
  await again.compact(new LeveledCompaction())
  await again.close()
  expect(filesOf()).toHaveLength(1)
})

test('super versions are told while somebody holds them', async () => {
  const tree = await openTree(join(scratchDirectory(), 'tree'))
  tree.insertSync('a', '1', 1)
  const cursor = tree.iter(MAX_SEQNO).cursor()
  cursor.nextSync()
  expect(tree.rotateMemtable()).toBe(true)
  expect(tree.rotateMemtable()).toBe(false)
  tree.insertSync('b', '2', 2)
  const [sealed] = tree.versionHistory()
  expect(sealed?.sealedMemtables).toHaveLength(1)
  expect(sealed?.sealedMemtables[0]).toMatchObject({ itemCount: 1, highestSeqno: 1 })
  expect(sealed?.activeMemtable).toMatchObject({ itemCount: 1, highestSeqno: 2 })
  await tree.flush()
  const [current, ...older] = tree.versionHistory()
  expect(current?.sealedMemtables).toEqual([])
  expect(current?.version.levels.flat(2)).toMatchObject([{ itemCount: 2 }])
  expect(older).toHaveLength(1)
  expect(older[0]?.activeMemtable.itemCount).toBe(1)
  expect(tree.getVersionForSnapshot(1)).toEqual(current)
  cursor.close()
  expect(tree.versionHistory()).toHaveLength(1)
  await tree.close()
})

test('in the background a tree keeps itself small', async () => {
  const tree = await openTree(join(scratchDirectory(), 'tree'), {
    backgroundCompaction: true,
    maxMemtableSize: 16 * 1024,
    compaction: new LeveledCompaction({ l0Threshold: 2, targetSize: 16 * 1024 }),
  })
  for (let i = 0; i < 5000; i++) tree.insertSync(`key${(i * 7919) % 1000}`, 'v'.repeat(40), i + 1)
  tree.setGcSeqno(5001)
  await tree.flush()
  await tree.compactor.drain()
  expect(tree.l0TableCount()).toBeLessThan(4)
  expect(tree.lenSync(MAX_SEQNO)).toBe(1000)
  await tree.close()
})

test('a database is no tree, and a tree no database', async () => {
  const directory = scratchDirectory()
  const [a, b] = [join(directory, 'a'), join(directory, 'b')]
  await (await openDatabase(a)).close()
  expect((await rejection(() => openTree(a))).code).toBe('NOT_A_DATABASE')
  const tree = await openTree(b)
  const locked = await rejection(() => openDatabase(b, { engine: tree.engine }))
  expect(locked).toMatchObject({ code: 'DB_LOCKED', sameProcess: true })
  await tree.close()
  expect((await rejection(() => openDatabase(b))).code).toBe('NOT_A_DATABASE')
})
