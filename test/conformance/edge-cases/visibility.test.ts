// Which version of a key a read sees: edge cases 1 to 8.

import { expect, test } from 'vitest'
import { LeveledCompaction, MAX_SEQNO } from '../../../lib/index.ts'
import type { Keyspace, Snapshot, Tree } from '../../../lib/index.ts'
import { imageOf } from '../../support/files.ts'
import { PATIENT } from '../../support/patient.ts'
import { scaled } from '../../support/scratch.ts'
import {
  databaseAt,
  newDatabase,
  newKeyspace,
  newTree,
  numbered,
  seen,
  seenAt,
  tablesOf,
  treeAt,
} from '../../support/trees.ts'

/** Checks a tree with its data in each place where it can lie, and after a reopening. */
async function inEachPlace(tree: Tree, check: (of: Tree, place: string) => void): Promise<void> {
  check(tree, 'memtable')
  tree.rotateMemtable()
  check(tree, 'sealed memtable')
  await tree.flush()
  check(tree, 'level 0')
  await tree.majorCompaction()
  check(tree, 'last level')
  await tree.close()
  const again = await treeAt(tree.path)
  check(again, 'reopened')
  await again.close()
}

test('edge case 1: a read at R sees what is below R, and at 0 nothing at all', async () => {
  const tree = await newTree()
  tree.insertSync('a', 'zero', 0)
  tree.insertSync('b', 'seven', 7)
  await inEachPlace(tree, (of, place) => {
    expect(of.getSync('a', 0), place).toBeUndefined()
    expect(of.containsKeySync('a', 0), place).toBe(false)
    expect(of.sizeOfSync('a', 0), place).toBeUndefined()
    expect(of.getManySync(['a', 'b'], 0), place).toEqual([undefined, undefined])
    expect(of.getIntoSync('a', 0, Buffer.alloc(9)), place).toBeUndefined()
    expect([of.lenSync(0), of.isEmptySync(0)], place).toEqual([0, true])
    expect([of.firstKeyValueSync(0), of.lastKeyValueSync(0)], place).toEqual([undefined, undefined])
    const rows = [0, 1, 7, 8, MAX_SEQNO].map((seqno) => seenAt(of, seqno))
    expect(rows, place).toEqual(['', 'a=zero', 'a=zero', 'a=zero b=seven', 'a=zero b=seven'])
    expect([of.getTextSync('a', 1), of.getSync('b', 7)], place).toEqual(['zero', undefined])
    expect(of.getTextSync('b', 8), place).toBe('seven')
    expect(of.prefix('b', 7).toArraySync(), place).toEqual([])
    expect(of.range({ gte: 'a', reverse: true }, 7).toArraySync(), place).toHaveLength(1)
  })
})

test('edge case 2: sealed memtables hide what tables hold, and show what tables hide', async () => {
  const tree = await newTree()
  tree.insertSync('hidden', 'table', 1)
  tree.insertSync('overwritten', 'table', 2)
  tree.insertSync('shown', 'table', 3)
  tree.removeSync('shown', 4)
  tree.insertSync('in a range', 'table', 5)
  tree.removeWeakSync('weak', 6)
  await tree.flush()
  expect(seenAt(tree, 10)).toBe('hidden=table in a range=table overwritten=table')

  tree.removeSync('hidden', 10)
  tree.insertSync('overwritten', 'sealed', 11)
  tree.insertSync('shown', 'sealed', 12)
  tree.removeRangeSync({ gte: 'i', lt: 'j' }, 13)
  tree.insertSync('weak', 'sealed', 14)
  tree.rotateMemtable()
  const first = 'overwritten=sealed shown=sealed weak=sealed'
  expect(tree.versionHistory()[0]?.sealedMemtables).toHaveLength(1)
  expect(seenAt(tree, 20)).toBe(first)

  // The mirror, in a second sealed memtable and in the active one.
  tree.insertSync('hidden', 'again', 20)
  tree.removeSync('overwritten', 21)
  tree.removeWeakSync('shown', 22)
  tree.insertSync('in a range', 'again', 23)
  tree.rotateMemtable()
  expect(tree.versionHistory()[0]?.sealedMemtables).toHaveLength(2)
  const second = 'hidden=again in a range=again weak=sealed'
  expect(seenAt(tree, 30)).toBe(second)
  tree.removeSync('hidden', 30)
  tree.insertSync('overwritten', 'active', 31)
  const third = 'in a range=again overwritten=active weak=sealed'
  const check = (of: Tree, place: string): void => {
    const rows = [10, 20, 30, 40].map((seqno) => seenAt(of, seqno))
    const original = 'hidden=table in a range=table overwritten=table'
    expect(rows, place).toEqual([original, first, second, third])
    for (const [at, expected] of rows.entries()) {
      const points = ['hidden', 'in a range', 'overwritten', 'shown', 'weak'].flatMap((key) => {
        const value = of.getTextSync(key, 10 * (at + 1))
        return value === undefined ? [] : [`${key}=${value}`]
      })
      expect(points.join(' '), place).toBe(expected)
    }
  }
  await inEachPlace(tree, check)
})

test('edge case 3: of one key twice in a batch the last wins, after a replay as well', async () => {
  const { database, keyspace } = await newKeyspace()
  for (const key of 'abcdef') keyspace.insertSync(key, 'before')
  const batch = database.batch()
  batch.insert(keyspace, 'a', '1').remove(keyspace, 'a')
  batch.remove(keyspace, 'b').insert(keyspace, 'b', '2')
  batch.insert(keyspace, 'c', '1').insert(keyspace, 'c', '2').insert(keyspace, 'c', '3')
  batch.removeWeak(keyspace, 'd').insert(keyspace, 'd', '4')
  batch.insert(keyspace, 'e', '5').removeWeak(keyspace, 'e')
  batch.insert(keyspace, 'new', '6').remove(keyspace, 'new').insert(keyspace, 'new', '7')
  await batch.commit()
  const expected = 'b=2 c=3 d=4 f=before new=7'
  expect(seen(keyspace)).toBe(expected)
  const again = await databaseAt(imageOf(database))
  const replayed = await again.keyspace('k')
  expect(again.recovery.commitsReplayed).toBeGreaterThan(0)
  for (const of of [replayed, keyspace]) {
    expect(seen(of)).toBe(expected)
    await of.rotateMemtableAndWait()
    expect(seen(of)).toBe(expected)
    await of.majorCompaction()
    expect(seen(of)).toBe(expected)
  }
})

test('edge case 4: hundreds of versions of one key, over many blocks and index parts', async () => {
  const versions = scaled(600)
  const tree = await newTree({
    compaction: PATIENT,
    dataBlockSize: 64,
    partitionIndex: true,
    partitionFilter: true,
    compression: 'none',
  })
  tree.insertSync('j', 'neighbour', 1)
  tree.insertSync('l', 'neighbour', 1)
  // Every second seqno, so that reads fall between versions too; every seventh is a tombstone.
  for (let i = 1; i <= versions; i++) {
    if (i % 7 === 0) tree.removeSync('k', 2 * i)
    else tree.insertSync('k', `version ${i} `.repeat(3), 2 * i)
  }
  await inEachPlace(tree, (of, place) => {
    const blocks = tablesOf(of).map(({ blockCount }) => blockCount)
    for (const count of blocks) expect(count).toBeGreaterThan(versions / 3)
    for (let seqno = 0; seqno <= 2 * versions + 1; seqno++) {
      const newest = Math.ceil(seqno / 2) - 1
      const isThere = newest > 0 && newest % 7 !== 0
      const expected = isThere ? `version ${newest} `.repeat(3) : undefined
      expect(of.getTextSync('k', seqno), `${place}, at ${seqno}`).toBe(expected)
      if (seqno % 50 > 1) continue
      const neighbour = seqno > 1 ? ['neighbour'] : []
      const values = Array.from(of.iter(seqno).values(), String)
      const all = [...neighbour, ...(expected === undefined ? [] : [expected]), ...neighbour]
      expect(values, `${place}, at ${seqno}`).toEqual(all)
      const reversed = Array.from(of.iter(seqno, { reverse: true }).values(), String)
      expect(reversed, `${place}, at ${seqno}`).toEqual(all.toReversed())
    }
  })
})

test('edge case 5: tables apart from each other do not sink below one that both meet', async () => {
  const orders = [
    ['az', 'bc', 'xy'],
    ['az', 'xy', 'bc', 'az'],
    ['bc', 'az', 'xy', 'cx'],
    ['bc', 'xy', 'az', 'bc'],
  ]
  for (const order of orders) {
    const tree = await newTree()
    const model = new Map<string, string>()
    for (const [i, span] of order.entries()) {
      const [first, last] = [span.charCodeAt(0), span.charCodeAt(1)]
      for (let code = first; code <= last; code++) {
        const [key, value] = [String.fromCharCode(code), `${i}`]
        tree.insertSync(key, value, i + 1)
        model.set(key, value)
      }
      await tree.flush()
    }
    const rows = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1))
    const expected = rows.map(([key, value]) => `${key}=${value}`).join(' ')
    const check = (of: Tree): void => {
      expect(seenAt(of, MAX_SEQNO), order.join()).toBe(expected)
      for (const [key, value] of model) expect(of.getTextSync(key, MAX_SEQNO)).toBe(value)
    }
    check(tree)
    await tree.close()
    const again = await treeAt(tree.path)
    check(again)
    again.setGcSeqno(order.length + 1)
    for (let step = 0; step < 3; step++) {
      await again.compact(new LeveledCompaction({ l0Threshold: 2, targetSize: 4096 }))
      check(again)
    }
    await again.majorCompaction()
    check(again)
    expect(again.approximateLen()).toBe(model.size)
    await again.close()
  }
})

test('edge case 6: what is in tables alone is visible to snapshots after a reopening', async () => {
  const { path, database, keyspace } = await newKeyspace()
  for (const key of 'abc') keyspace.insertSync(key, 'value')
  // The last seqno is that of a tombstone.
  keyspace.removeSync('c')
  await keyspace.rotateMemtableAndWait()
  const { seqno } = database
  const [table] = tablesOf(keyspace)
  expect(table?.highestSeqno).toBe(seqno - 1)
  await database.close()
  const again = await databaseAt(path)
  expect(again.recovery.commitsReplayed).toBe(0)
  expect(again.visibleSeqno).toBeGreaterThanOrEqual(seqno)
  const snapshot = again.snapshot()
  const found = await again.keyspace('k')
  expect(seen(found, { snapshot })).toBe('a=value b=value')
  expect(await found.getText('b', { snapshot })).toBe('value')
  expect(await found.get('c', { snapshot })).toBeUndefined()
  await again.close()

  const tree = await newTree()
  tree.insertSync('a', 'value', 41)
  tree.removeSync('a', 42)
  await tree.flush()
  await tree.close()
  const reopened = await treeAt(tree.path)
  expect([reopened.highestSeqno, reopened.highestPersistedSeqno]).toEqual([42, 42])
})

test('edge case 7: a memtable is sealed once, however often that is asked for', async () => {
  const { database, keyspace } = await newKeyspace()
  expect(keyspace.rotateMemtable()).toBe(false)
  keyspace.insertSync('a', '1')
  await database.compactor.pause()
  expect([keyspace.rotateMemtable(), keyspace.rotateMemtable()]).toEqual([true, false])
  keyspace.insertSync('b', '2')
  const waits = Array.from({ length: 5 }, async () => keyspace.rotateMemtableAndWait())
  await Promise.all(waits)
  expect(keyspace.tableCount()).toBeLessThanOrEqual(2)
  expect(tablesOf(keyspace).reduce((sum, { itemCount }) => sum + itemCount, 0)).toBe(2)
  expect(keyspace.rotateMemtable()).toBe(false)
  expect(database.outstandingFlushes).toBe(0)

  const tree = await newTree()
  tree.insertSync('a', '1', 1)
  expect([tree.rotateMemtable(), tree.rotateMemtable()]).toEqual([true, false])
  await Promise.all([tree.flush(), tree.flush(), tree.flush()])
  expect(tree.tableCount()).toBe(1)
})

test('edge case 8: a snapshot among pending commits has each whole or not at all', async () => {
  const database = await newDatabase()
  const [a, b] = [await database.keyspace('a'), await database.keyspace('b')]
  const keys = Array.from({ length: 40 }, (_, i) => numbered(i))
  const valuesAt = (snapshot: Snapshot): (string | undefined)[] =>
    [a, b].flatMap((keyspace) => {
      const points = keyspace.getManySync(keys, { snapshot }).map((value) => value?.toString())
      const rows = Array.from(keyspace.iter({ snapshot }).values(), String)
      expect(rows).toEqual(points.filter((value) => value !== undefined))
      return points
    })
  // Between two plain reads a commit may become visible; each by itself has one state.
  const expectWhole = (keyspace: Keyspace): void => {
    expect(new Set(keyspace.getManySync(keys).map(String)).size).toBe(1)
    expect(new Set(Array.from(keyspace.iter().values(), String)).size).toBeLessThan(2)
  }
  const taken: { readonly snapshot: Snapshot; readonly value: string | undefined }[] = []
  const note = (snapshot: Snapshot): void => {
    const values = new Set(valuesAt(snapshot))
    expect(values.size).toBe(1)
    taken.push({ snapshot, value: [...values][0] })
  }
  const rounds = scaled(40)
  const commits: Promise<void>[] = []
  for (let round = 0; round < rounds; round++) {
    const batch = database.batch()
    for (const key of keys) batch.insert(a, key, `${round}`).insert(b, key, `${round}`)
    const durability = round % 3 === 0 ? 'os' : 'sync'
    const committed = batch.commit({ durability })
    commits.push(committed)
    note(database.snapshot())
    for (const keyspace of [a, b]) expectWhole(keyspace)
    if (round % 8 === 0) b.rotateMemtable()
    if (round % 5 !== 0) continue
    await committed
    note(database.snapshot())
    expect(taken.at(-1)?.value).toBe(`${round}`)
  }
  await Promise.all(commits)
  expect(new Set(valuesAt(database.snapshot()))).toEqual(new Set([`${rounds - 1}`]))
  // None of them has moved since.
  for (const { snapshot, value } of taken) {
    expect(new Set(valuesAt(snapshot))).toEqual(new Set([value]))
    snapshot.close()
  }
})
