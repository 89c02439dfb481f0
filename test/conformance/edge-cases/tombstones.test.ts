// When tombstones go, and what goes with them: edge cases 14 to 18.

import { expect, test } from 'vitest'
import { MAX_SEQNO } from '../../../lib/index.ts'
import type { Tree } from '../../../lib/index.ts'
import { filesOf } from '../../support/files.ts'
import { PATIENT } from '../../support/patient.ts'
import { scaled } from '../../support/scratch.ts'
import { newKeyspace, newTree, numbered, seenAt, tablesOf } from '../../support/trees.ts'

/** What the tables of a tree hold: items, tombstones, weak ones. */
function counts(tree: Tree): number[] {
  const tables = tablesOf(tree)
  const sum = (of: 'itemCount' | 'tombstoneCount' | 'weakTombstoneCount'): number =>
    tables.reduce((total, table) => total + table[of], 0)
  return [sum('itemCount'), sum('tombstoneCount'), sum('weakTombstoneCount')]
}

test('edge case 14: a weak tombstone and its value go together, with no read between', async () => {
  const kept = await newTree()
  kept.insertSync('a', 'value', 1)
  kept.removeWeakSync('a', 2)
  kept.setGcSeqno(2)
  await kept.flush()
  expect(counts(kept)).toEqual([2, 0, 1])
  expect([seenAt(kept, 2), seenAt(kept, 3)]).toEqual(['a=value', ''])
  await kept.majorCompaction()
  expect([seenAt(kept, 2), seenAt(kept, 3)]).toEqual(['a=value', ''])
  kept.setGcSeqno(3)
  await kept.majorCompaction()
  expect(kept.tableCount()).toBe(0)

  const gone = await newTree()
  gone.insertSync('a', 'value', 1)
  gone.removeWeakSync('a', 2)
  gone.setGcSeqno(3)
  await gone.flush()
  expect(gone.tableCount()).toBe(0)
  expect(gone.getSync('a', MAX_SEQNO)).toBeUndefined()
})

test('edge case 14, a queue: what goes in at one end and out at the other is gone', async () => {
  const { database, keyspace } = await newKeyspace(undefined, { maxStall: 60_000 })
  const length = scaled(20_000)
  const ahead = 10
  for (let i = 0; i < length + ahead; i++) {
    if (i < length) keyspace.insertSync(numbered(i), 'job')
    if (i >= ahead) keyspace.removeWeakSync(numbered(i - ahead))
    if (i % 1000 !== 500) continue
    // A peek from either end, over all that was removed.
    const [first] = keyspace.firstKeyValueSync() ?? []
    const [last] = keyspace.lastKeyValueSync() ?? []
    expect([String(first), String(last)]).toEqual([numbered(i - ahead + 1), numbered(i)])
    if (i % 5000 === 500) await keyspace.rotateMemtableAndWait()
  }
  expect([keyspace.firstKeyValueSync(), keyspace.lastKeyValueSync()]).toEqual([
    undefined,
    undefined,
  ])
  expect(keyspace.isEmptySync()).toBe(true)
  await keyspace.rotateMemtableAndWait()
  await keyspace.majorCompaction()
  expect([keyspace.tableCount(), keyspace.approximateLen()]).toEqual([0, 0])
  expect(keyspace.isEmptySync()).toBe(true)
  await database.close()
})

test('edge case 15: a tombstone stays down to the last level, or while reads need it', async () => {
  const tree = await newTree()
  tree.insertSync('a', 'value', 1)
  tree.removeSync('a', 2)
  tree.setGcSeqno(3)
  await tree.flush()
  // The value is collected; something may lie below the tombstone.
  expect(counts(tree)).toEqual([1, 1, 0])
  await tree.majorCompaction()
  expect(tree.tableCount()).toBe(0)

  const read = await newTree()
  read.insertSync('a', 'value', 1)
  read.removeSync('a', 2)
  read.setGcSeqno(2)
  await read.flush()
  await read.majorCompaction()
  expect(counts(read)).toEqual([2, 1, 0])
  expect([seenAt(read, 2), seenAt(read, 3)]).toEqual(['a=value', ''])
  read.setGcSeqno(3)
  await read.majorCompaction()
  expect(read.tableCount()).toBe(0)

  // Above an older table it stays, below nothing it goes.
  const deep = await newTree()
  const targetSize = 65_536
  const mergeTo = async (level: number, destinationLevel: number): Promise<void> => {
    const tables = deep
      .version()
      .levels[level]!.flat()
      .map(({ id }) => id)
    await deep.compact({ kind: 'merge', tables, destinationLevel, targetSize })
  }
  deep.insertSync('a', 'value', 1)
  await deep.flush()
  await mergeTo(0, 6)
  deep.removeSync('a', 2)
  deep.setGcSeqno(3)
  await deep.flush()
  await mergeTo(0, 5)
  expect(counts(deep)).toEqual([2, 1, 0])
  expect(seenAt(deep, 3)).toBe('')
  await deep.majorCompaction()
  expect(deep.tableCount()).toBe(0)
})

test('edge case 16: weak tombstones over each other, several values, a pointer', async () => {
  const histories: Record<string, (tree: Tree) => void> = {
    'weak over weak': (tree) => {
      tree.insertSync('a', 'first', 1)
      tree.removeWeakSync('a', 2)
      tree.removeWeakSync('a', 3)
    },
    'weak over a tombstone': (tree) => {
      tree.insertSync('a', 'first', 1)
      tree.removeSync('a', 2)
      tree.removeWeakSync('a', 3)
    },
    'weak over several values': (tree) => {
      for (let seqno = 1; seqno <= 4; seqno++) tree.insertSync('a', `value ${seqno}`, seqno)
      tree.removeWeakSync('a', 5)
    },
    'weak over a pointer': (tree) => {
      tree.insertSync('a', 'separated '.repeat(100), 1)
      tree.removeWeakSync('a', 2)
    },
  }
  const kvSeparation = { threshold: 100, compression: 'none' } as const
  for (const [name, write] of Object.entries(histories)) {
    for (const gcSeqno of [0, 2, 9]) {
      const tree = await newTree({ compaction: PATIENT, kvSeparation })
      write(tree)
      tree.insertSync('b', 'stays', 6)
      tree.setGcSeqno(gcSeqno)
      expect(tree.getSync('a', 9), name).toBeUndefined()
      const before = Array.from({ length: 10 }, (_, seqno) => seenAt(tree, seqno))
      for (const step of ['flush', 'majorCompaction'] as const) {
        await tree[step]()
        for (let seqno = gcSeqno; seqno < 10; seqno++) {
          expect(seenAt(tree, seqno), `${name}, ${step} at ${seqno}`).toBe(before[seqno])
        }
      }
      tree.setGcSeqno(9)
      await tree.majorCompaction()
      expect(seenAt(tree, 9), name).toBe('b=stays')
      expect(counts(tree), name).toEqual([1, 0, 0])
      expect(tree.blobFileCount(), name).toBe(0)
      await tree.close()
    }
  }
})

test('edge case 17: a flush of nothing makes no table, and frees its memtable', async () => {
  const tree = await newTree()
  const empty = tree.memtableSize()
  for (let i = 0; i < 100; i++) {
    tree.insertSync(numbered(i), 'value', 2 * i + 1)
    tree.removeWeakSync(numbered(i), 2 * i + 2)
  }
  expect(tree.memtableSize()).toBeGreaterThan(empty)
  tree.setGcSeqno(201)
  await tree.flush()
  expect([tree.tableCount(), tree.memtableSize(), tree.approximateLen()]).toEqual([0, empty, 0])
  expect(filesOf(tree.path, 'table')).toEqual([])
  tree.insertSync('a', 'later', 300)
  await tree.flush()
  expect([tree.tableCount(), seenAt(tree, MAX_SEQNO)]).toEqual([1, 'a=later'])

  const kvSeparation = { threshold: 10 }
  const { path, database, keyspace } = await newKeyspace({ compaction: PATIENT, kvSeparation })
  const before = database.writeBufferSize
  keyspace.insertSync('a', 'a value that would be separated')
  keyspace.removeWeakSync('a')
  await keyspace.rotateMemtableAndWait()
  expect([keyspace.tableCount(), keyspace.blobFileCount()]).toEqual([0, 0])
  expect([filesOf(path, 'table'), filesOf(path, 'blob')]).toEqual([[], []])
  expect([database.writeBufferSize, database.outstandingFlushes]).toEqual([before, 0])
})

test('edge case 18: approximateLen counts sealed memtables as well', async () => {
  const tree = await newTree()
  tree.insertSync('a', '1', 1)
  tree.removeSync('a', 2)
  expect(tree.approximateLen()).toBe(2)
  tree.rotateMemtable()
  expect(tree.approximateLen()).toBe(2)
  tree.insertSync('b', '3', 3)
  tree.rotateMemtable()
  tree.insertSync('c', '4', 4)
  expect(tree.approximateLen()).toBe(4)
  await tree.flush()
  expect([tree.approximateLen(), tree.lenSync(MAX_SEQNO)]).toEqual([4, 2])
})
