// Sorted bulk loads: what an ingestion takes, when it is seen, by whom, and what its end leaves.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { MAX_SEQNO } from '../../lib/index.ts'
import type { Keyspace, Tree } from '../../lib/index.ts'
import { openDatabase, openTree } from '../support/engine.ts'
import { fill, ingest, insert, keyOf, open, reopen, seen } from '../support/ingestions.ts'
import { PATIENT } from '../support/patient.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

function filesIn(path: string): string[] {
  return readdirSync(path)
    .filter((name) => name.endsWith('.table') || name.endsWith('.blob'))
    .toSorted()
}

describe('finish', () => {
  test('shows all entries at once, to every kind of read', async () => {
    const { keyspace, database } = await open()
    insert(keyspace, 'bdx', '1')
    const ingestion = await keyspace.startIngestion()
    const before = database.seqno
    expect(ingestion.write('a', 'ingested')).toBe(undefined)
    ingestion.write(Buffer.from('b'), Buffer.from('ingested'))
    ingestion.write(new Uint8Array([0x63]), '')
    expect(seen(keyspace)).toBe('b1 d1 x1')
    expect(database.seqno).toBe(before)
    expect(await ingestion.finish()).toBe(3)
    expect(database.visibleSeqno).toBe(database.seqno)
    const expected = 'aingested bingested c d1 x1'
    expect(seen(keyspace)).toBe(expected)
    expect(seen(keyspace, { reverse: true })).toBe(expected.split(' ').toReversed().join(' '))
    expect(keyspace.getTextSync('b')).toBe('ingested')
    expect(String(await keyspace.get('a'))).toBe('ingested')
    expect(await keyspace.getText('c')).toBe('')
    expect(keyspace.sizeOfSync('b')).toBe(8)
    expect((await keyspace.getMany(['a', 'c', 'd', 'e'])).map(String)).toEqual([
      'ingested',
      '',
      '1',
      'undefined',
    ])
    expect(await keyspace.len()).toBe(5)
    expect(keyspace.firstKeyValueSync()?.map(String)).toEqual(['a', 'ingested'])
    expect(keyspace.containsKeySync('c')).toBe(true)
  })

  test('in its sync form', async () => {
    const { keyspace } = await open()
    const ingestion = keyspace.startIngestionSync()
    expect(fill(ingestion, 'abc', '1').finishSync()).toBe(3)
    expect(seen(keyspace)).toBe('a1 b1 c1')
    insert(keyspace, 'b', '2')
    expect(seen(keyspace)).toBe('a1 b2 c1')
  })

  test('of nothing changes nothing', async () => {
    const { path, keyspace, database } = await open()
    insert(keyspace, 'a', '1')
    const before = [database.seqno, keyspace.version().id, filesIn(path)]
    expect(await (await keyspace.startIngestion()).finish()).toBe(0)
    expect(keyspace.startIngestionSync().finishSync()).toBe(0)
    expect([database.seqno, keyspace.version().id, filesIn(path)]).toEqual(before)
  })

  test('takes one seqno, which its tables tell, and leaves one run in level 0', async () => {
    const { keyspace, database } = await open({ compaction: PATIENT })
    insert(keyspace, 'ab', '1')
    await ingest(keyspace, 'bcd', '2')
    const seqno = database.seqno - 1
    const [runs] = keyspace.version().levels
    // What was in memory is in a table below it.
    expect(runs?.map((run) => run.map(({ itemCount }) => itemCount))).toEqual([[3], [2]])
    expect(runs?.[0]?.[0]).toMatchObject({ lowestSeqno: seqno, highestSeqno: seqno })
    expect(runs?.[1]?.[0]?.highestSeqno).toBeLessThan(seqno)
    expect([keyspace.tableCount(), keyspace.l0TableCount()]).toEqual([2, 2])
    expect(keyspace.approximateLen()).toBe(5)
    expect(keyspace.approximateSize({})).toBe(keyspace.diskSpace())
    expect(database.writeBufferSize).toBe(0)
  })

  test('many entries, small and large, strings and bytes', async () => {
    const opened = await open()
    const ingestion = await opened.keyspace.startIngestion()
    const expected: [string, string][] = []
    for (let i = 0; i < 5000; i++) {
      const length = i % 100 === 0 ? 70_000 + i : i % 50
      const value = `ä${i}`.repeat(1 + length / 8).slice(0, length)
      const isText = i % 2 === 0
      ingestion.write(
        isText ? keyOf(i) : Buffer.from(keyOf(i)),
        isText ? value : Buffer.from(value),
      )
      expected.push([keyOf(i), value])
    }
    ingestion.write('l'.repeat(65_535), Buffer.alloc(3 * 2 ** 20, 'v'))
    expect(await ingestion.finish()).toBe(5001)
    const check = async (keyspace: Keyspace): Promise<void> => {
      const rows = (await keyspace.iter().toArray()).map((row) => row.map(String))
      expect(rows.pop()).toEqual(['l'.repeat(65_535), 'v'.repeat(3 * 2 ** 20)])
      expect(rows).toEqual(expected)
      const backward = keyspace.range({ lt: 'l', reverse: true }).toArraySync()
      expect(backward.map((row) => row.map(String))).toEqual(expected.toReversed())
      for (let i = 0; i < 5000; i += 37)
        expect(keyspace.getTextSync(keyOf(i))).toBe(expected[i]?.[1])
    }
    await check(opened.keyspace)
    await check((await reopen(opened)).keyspace)
  })

  test('a key or a value that is changed afterwards is what it was', async () => {
    const { keyspace } = await open()
    const ingestion = await keyspace.startIngestion()
    const key = Buffer.from('key 0')
    for (const size of [10, 100, 100_000]) {
      key[4]!++
      const value = Buffer.alloc(size, 'v')
      ingestion.write(key, value)
      value.fill('w')
    }
    key.fill('z')
    expect(await ingestion.finish()).toBe(3)
    expect(seen(keyspace)).toBe(
      [10, 100, 100_000].map((size, i) => `key ${i + 1}${'v'.repeat(size)}`).join(' '),
    )
  })
})

describe('order', () => {
  test('a key that is not above the one before is refused, and others may follow', async () => {
    const { keyspace } = await open()
    const ingestion = await keyspace.startIngestion()
    ingestion.write('m', '1')
    const refused = [
      () => ingestion.write('m', '2'),
      () => ingestion.write('a', '2'),
      () => ingestion.writeTombstone('m'),
      () => ingestion.writeWeakTombstone('l\xff'),
      () => ingestion.write(Buffer.from('m'), '2'),
    ]
    for (const call of refused) {
      const error = await failure(call)
      expect([error.code, error.retryable]).toEqual(['INGESTION_OUT_OF_ORDER', false])
    }
    ingestion.write('m\0', '1')
    expect((await failure(() => ingestion.write('m', '2'))).code).toBe('INGESTION_OUT_OF_ORDER')
    ingestion.write('ma', '1')
    ingestion.write(Buffer.of(0xff), '1')
    ingestion.write(Buffer.of(0xff, 0), '1')
    expect((await failure(() => ingestion.write('ÿ', '2'))).code).toBe('INGESTION_OUT_OF_ORDER')
    expect(await ingestion.finish()).toBe(5)
    expect(keyspace.lenSync()).toBe(5)
    expect(keyspace.getTextSync('m')).toBe('1')
  })

  test('is that of bytes, whatever the length', async () => {
    const { keyspace } = await open()
    const long = (last: number): Buffer => Buffer.concat([Buffer.alloc(300, 'p'), Buffer.of(last)])
    const ingestion = await keyspace.startIngestion()
    ingestion.write('p', '')
    ingestion.write(long(0x7f), '')
    expect((await failure(() => ingestion.write(long(0x7f), ''))).code).toBe(
      'INGESTION_OUT_OF_ORDER',
    )
    expect((await failure(() => ingestion.write(long(0x10), ''))).code).toBe(
      'INGESTION_OUT_OF_ORDER',
    )
    ingestion.write(long(0x80), '')
    ingestion.write('q', '')
    expect(await ingestion.finish()).toBe(4)
    expect(keyspace.lenSync()).toBe(4)
  })

  test('holds where rows are handed over, small ones and one that is large', async () => {
    const { keyspace } = await open()
    const ingestion = await keyspace.startIngestion()
    let i = 0
    // 64 KiB of rows go together; wherever that is cut, the last key counts.
    for (; i < 3000; i++) {
      ingestion.write(keyOf(i), 'x'.repeat(i % 70))
      const again = () => ingestion.write(keyOf(i), '')
      if (i % 7 === 0) expect((await failure(again)).code).toBe('INGESTION_OUT_OF_ORDER')
    }
    ingestion.write(keyOf(i), Buffer.alloc(100_000))
    const again = () => ingestion.write(keyOf(i), Buffer.alloc(100_000))
    expect((await failure(again)).code).toBe('INGESTION_OUT_OF_ORDER')
    expect((await failure(() => ingestion.write(keyOf(5), ''))).code).toBe('INGESTION_OUT_OF_ORDER')
    expect(await ingestion.finish()).toBe(3001)
    expect(keyspace.lenSync()).toBe(3001)
  })

  test('a key or a value that is refused leaves it usable', async () => {
    const { keyspace } = await open()
    const ingestion = await keyspace.startIngestion()
    ingestion.write('b', '1')
    expect((await failure(() => ingestion.write('', '1'))).code).toBe('INVALID_KEY')
    expect((await failure(() => ingestion.write('z\ud800', '1'))).code).toBe('INVALID_KEY')
    expect((await failure(() => ingestion.write('z', '\udfff'))).code).toBe('INVALID_VALUE')
    ingestion.write('c', '1')
    expect(await ingestion.finish()).toBe(2)
    expect(seen(keyspace)).toBe('b1 c1')
  })
})

describe('its end', () => {
  test('abort leaves nothing', async () => {
    const { path, keyspace, database } = await open()
    insert(keyspace, 'a', '1')
    const before = [database.seqno, keyspace.version().id]
    const ingestion = await keyspace.startIngestion()
    for (let i = 0; i < 2000; i++) ingestion.write(keyOf(i), Buffer.alloc(1000))
    expect(ingestion.abort()).toBe(undefined)
    expect(seen(keyspace)).toBe('a1')
    expect([database.seqno, keyspace.version().id]).toEqual(before)
    await expect.poll(() => filesIn(path), { timeout: 20_000 }).toEqual([])
    ingestion.abort()
  })

  test('after finish and after abort: INVALID_ARGUMENT', async () => {
    const { keyspace } = await open()
    const finished = fill(await keyspace.startIngestion(), 'ab', '1')
    await finished.finish()
    const sync = fill(keyspace.startIngestionSync(), 'c', '1')
    sync.finishSync()
    const aborted = fill(await keyspace.startIngestion(), 'xy', '1')
    aborted.abort()
    for (const ingestion of [finished, sync, aborted]) {
      for (const call of [
        () => ingestion.write('z', '1'),
        () => ingestion.writeTombstone('z'),
        () => ingestion.writeWeakTombstone('z'),
        () => ingestion.finishSync(),
      ]) {
        expect((await failure(call)).code).toBe('INVALID_ARGUMENT')
      }
      expect((await rejection(() => ingestion.finish())).code).toBe('INVALID_ARGUMENT')
      // Nothing is left to give up.
      ingestion.abort()
      ingestion[Symbol.dispose]()
    }
    expect(seen(keyspace)).toBe('a1 b1 c1')
  })

  test('while finish is pending it takes nothing, and is not given up', async () => {
    const { keyspace } = await open()
    const ingestion = fill(await keyspace.startIngestion(), 'abc', '1')
    const finished = ingestion.finish()
    for (const call of [
      () => ingestion.write('z', '1'),
      () => ingestion.abort(),
      () => ingestion.finishSync(),
    ]) {
      expect((await failure(call)).code).toBe('INVALID_ARGUMENT')
    }
    expect((await rejection(() => ingestion.finish())).code).toBe('INVALID_ARGUMENT')
    ingestion[Symbol.dispose]()
    expect(await finished).toBe(3)
    expect(seen(keyspace)).toBe('a1 b1 c1')
  })

  test('dispose gives up what was not finished', async () => {
    const { keyspace } = await open()
    const given = fill(await keyspace.startIngestion(), 'ab', '1')
    given[Symbol.dispose]()
    const kept = fill(await keyspace.startIngestion(), 'cd', '1')
    await kept.finish()
    kept[Symbol.dispose]()
    expect(seen(keyspace)).toBe('c1 d1')
    expect((await failure(() => given.write('z', '1'))).code).toBe('INVALID_ARGUMENT')
  })

  test('close rolls back what is open', async () => {
    const opened = await open()
    const { path, database, keyspace } = opened
    await ingest(keyspace, 'ab', '1')
    const ingestion = await keyspace.startIngestion()
    for (let i = 0; i < 2000; i++) ingestion.write(keyOf(i), Buffer.alloc(1000))
    const empty = await keyspace.startIngestion()
    const kept = keyspace.version().levels.flat(2)
    await database.close()
    expect(filesIn(path)).toHaveLength(kept.length)
    for (const one of [ingestion, empty]) {
      expect((await failure(() => one.write('z', '1'))).code).toBe('DB_CLOSED')
      expect((await failure(() => one.finishSync())).code).toBe('DB_CLOSED')
      expect((await rejection(() => one.finish())).code).toBe('DB_CLOSED')
      one.abort()
      one[Symbol.dispose]()
    }
    expect((await failure(() => keyspace.startIngestionSync())).code).toBe('DB_CLOSED')
    expect((await rejection(() => keyspace.startIngestion())).code).toBe('DB_CLOSED')
    expect(seen((await reopen(opened)).keyspace)).toBe('a1 b1')
  })

  test('closeSync does so as well', async () => {
    const opened = await open()
    const { path, database, keyspace } = opened
    const ingestion = keyspace.startIngestionSync()
    for (let i = 0; i < 2000; i++) ingestion.write(keyOf(i), Buffer.alloc(1000))
    database.closeSync()
    expect(filesIn(path)).toEqual([])
    expect((await failure(() => ingestion.finishSync())).code).toBe('DB_CLOSED')
    expect(seen((await reopen(opened)).keyspace)).toBe('')
  })

  test.each(['close', 'closeSync'] as const)('%s while finish is pending', async (how) => {
    for (const count of [3, 3000]) {
      const opened = await open()
      const { path, database, keyspace } = opened
      insert(keyspace, 'ab', '1')
      const ingestion = await keyspace.startIngestion()
      for (let i = 0; i < count; i++) ingestion.write(keyOf(i), Buffer.alloc(100))
      const finished = ingestion.finish().catch((error: unknown) => error)
      const closed = database[how]()
      const outcome = await finished
      await closed
      if (typeof outcome !== 'number') {
        expect(['DB_CLOSED', 'ABORTED']).toContain((outcome as { code: string }).code)
      }
      const again = await reopen(opened)
      const left = outcome === count ? count : 0
      expect(again.keyspace.lenSync()).toBe(2 + left)
      const tables = again.keyspace.version().levels.flat(2)
      expect(filesIn(path)).toHaveLength(tables.length)
    }
  })

  test('a handle of two on one database rolls back its own', async () => {
    const { path, database, keyspace } = await open()
    const other = await openDatabase(path, { engine: database.engine })
    const theirs = fill((await other.keyspace('k')).startIngestionSync(), 'ab', '1')
    const ours = fill(keyspace.startIngestionSync(), 'cd', '1')
    await other.close()
    expect((await failure(() => theirs.finishSync())).code).toBe('DB_CLOSED')
    await expect.poll(() => filesIn(path).length, { timeout: 20_000 }).toBeLessThanOrEqual(1)
    expect(await ours.finish()).toBe(2)
    expect(seen(keyspace)).toBe('c1 d1')
  })

  test('a read-only database refuses it', async () => {
    const { path, database, keyspace } = await open()
    await ingest(keyspace, 'ab', '1')
    await database.close()
    const readOnly = await openDatabase(path, { readOnly: true })
    onTestFinished(() => readOnly.close())
    const reads = await readOnly.keyspace('k')
    expect(seen(reads)).toBe('a1 b1')
    expect((await failure(() => reads.startIngestionSync())).code).toBe('READ_ONLY')
    expect((await rejection(() => reads.startIngestion())).code).toBe('READ_ONLY')
  })
})

describe('tombstones', () => {
  test.each(['memory', 'tables'] as const)('edge 2: hide what is in %s', async (where) => {
    const opened = await open()
    const { keyspace } = opened
    insert(keyspace, 'abcdef', '1')
    if (where === 'tables') await keyspace.rotateMemtableAndWait()
    const ingestion = await keyspace.startIngestion()
    ingestion.write('a', '2')
    ingestion.writeTombstone('b')
    ingestion.writeWeakTombstone('c')
    ingestion.writeTombstone('never')
    expect(await ingestion.finish()).toBe(4)
    expect(seen(keyspace)).toBe('a2 d1 e1 f1')
    expect(keyspace.getTextSync('b')).toBe(undefined)
    expect(keyspace.sizeOfSync('c')).toBe(undefined)
    // They are hidden in their turn, in memory and in tables.
    insert(keyspace, 'bc', '3')
    expect(seen(keyspace)).toBe('a2 b3 c3 d1 e1 f1')
    await keyspace.rotateMemtableAndWait()
    expect(seen(keyspace)).toBe('a2 b3 c3 d1 e1 f1')
    const again = await reopen(opened)
    expect(seen(again.keyspace)).toBe('a2 b3 c3 d1 e1 f1')
    await again.keyspace.majorCompaction()
    expect(seen(again.keyspace)).toBe('a2 b3 c3 d1 e1 f1')
    expect(again.keyspace.approximateLen()).toBe(6)
  })

  test('edge 2: later tombstones hide what was ingested, in memory and in tables', async () => {
    const opened = await open()
    const { keyspace } = opened
    await ingest(keyspace, 'abcdef', '1')
    keyspace.removeSync('a')
    keyspace.removeWeakSync('b')
    keyspace.removeRangeSync({ gte: 'c', lt: 'e' })
    expect(seen(keyspace)).toBe('e1 f1')
    await keyspace.rotateMemtableAndWait()
    expect(seen(keyspace)).toBe('e1 f1')
    await ingest(keyspace, 'bd', '2')
    expect(seen(keyspace)).toBe('b2 d2 e1 f1')
    const again = await reopen(opened)
    expect(seen(again.keyspace)).toBe('b2 d2 e1 f1')
    await again.keyspace.majorCompaction()
    expect(seen(again.keyspace)).toBe('b2 d2 e1 f1')
  })

  test('weak ones and the values below go in pairs, for whom they did not hide', async () => {
    const { keyspace, database } = await open()
    await ingest(keyspace, 'abc', '1')
    const snapshot = database.snapshot()
    const ingestion = await keyspace.startIngestion()
    for (const key of 'abcd') ingestion.writeWeakTombstone(key)
    await ingestion.finish()
    expect(seen(keyspace)).toBe('')
    await keyspace.majorCompaction()
    expect([seen(keyspace), seen(keyspace, { snapshot })]).toEqual(['', 'a1 b1 c1'])
    snapshot.close()
    await keyspace.majorCompaction()
    expect([seen(keyspace), keyspace.approximateLen()]).toEqual(['', 0])
  })
})

describe('snapshots', () => {
  test('edge 6: what was ingested is there for a snapshot after a reopen', async () => {
    const opened = await open()
    insert(opened.keyspace, 'ab', '1')
    await ingest(opened.keyspace, 'bcd', '2')
    const seqno = opened.database.seqno
    const { database, keyspace } = await reopen(opened)
    expect(database.seqno).toBeGreaterThanOrEqual(seqno)
    const snapshot = database.snapshot()
    expect(seen(keyspace, { snapshot })).toBe('a1 b2 c2 d2')
    expect(keyspace.getTextSync('c', { snapshot })).toBe('2')
    insert(keyspace, 'cd', '3')
    expect(seen(keyspace, { snapshot })).toBe('a1 b2 c2 d2')
    expect(seen(keyspace)).toBe('a1 b2 c3 d3')
    await keyspace.majorCompaction()
    expect(seen(keyspace, { snapshot })).toBe('a1 b2 c2 d2')
  })

  test('edge 9: one of before sees nothing of it, whatever becomes of the tables', async () => {
    const { database, keyspace } = await open()
    insert(keyspace, 'abc', '1')
    const before = database.snapshot()
    const ingestion = await keyspace.startIngestion()
    ingestion.write('a', '2')
    ingestion.writeTombstone('b')
    ingestion.write('d', '2')
    const meanwhile = database.snapshot()
    await ingestion.finish()
    const behind = database.snapshot()
    const check = (): void => {
      expect(seen(keyspace, { snapshot: before })).toBe('a1 b1 c1')
      expect(seen(keyspace, { snapshot: meanwhile })).toBe('a1 b1 c1')
      expect(seen(keyspace, { snapshot: behind })).toBe('a2 c1 d2')
      expect(keyspace.getTextSync('a', { snapshot: before })).toBe('1')
      expect(keyspace.containsKeySync('d', { snapshot: before })).toBe(false)
      expect(keyspace.getTextSync('b', { snapshot: before })).toBe('1')
      const backward = seen(keyspace, { snapshot: before, reverse: true })
      expect(backward).toBe('c1 b1 a1')
    }
    check()
    insert(keyspace, 'abcd', '3')
    await keyspace.rotateMemtableAndWait()
    check()
    await keyspace.majorCompaction()
    check()
    await keyspace.clear()
    await keyspace.rotateMemtableAndWait()
    await keyspace.majorCompaction()
    check()
    expect(seen(keyspace)).toBe('')
  })

  test('an iteration that began before goes on in its state', async () => {
    const { keyspace } = await open()
    insert(keyspace, 'acegik', '1')
    const cursor = keyspace.iter().cursor()
    expect(String(cursor.nextSync()?.[0])).toBe('a')
    await ingest(keyspace, 'bdfhj', '2')
    await keyspace.majorCompaction()
    const rest: string[] = []
    for (let row = cursor.nextSync(); row !== undefined; row = cursor.nextSync()) {
      rest.push(String(row[0]))
    }
    expect(rest.join('')).toBe('cegik')
    expect(seen(keyspace)).toBe('a1 b2 c1 d2 e1 f2 g1 h2 i1 j2 k1')
  })
})

describe('bare trees', () => {
  async function openBare(path = join(scratchDirectory(), 'tree')): Promise<Tree> {
    const tree = await openTree(path)
    onTestFinished(() => tree.close())
    return tree
  }
  const at = (tree: Tree, seqno: number): string =>
    tree
      .iter(seqno)
      .toArraySync()
      .map((row) => row.map(String).join(''))
      .join(' ')

  test('edge 6: entries have the seqno that was given, before and after a reopen', async () => {
    const path = join(scratchDirectory(), 'tree')
    const tree = await openBare(path)
    tree.insertSync('a', '1', 3)
    tree.insertSync('b', '1', 5)
    const ingestion = await tree.startIngestion(9)
    fill(ingestion, 'bc', '2')
    ingestion.writeTombstone('d')
    expect(await ingestion.finish()).toBe(3)
    const check = (one: Tree): void => {
      expect([at(one, 9), at(one, 10), at(one, MAX_SEQNO)]).toEqual([
        'a1 b1',
        'a1 b2 c2',
        'a1 b2 c2',
      ])
      expect([one.getTextSync('b', 9), one.getTextSync('b', 10)]).toEqual(['1', '2'])
      expect([one.sizeOfSync('c', 9), one.sizeOfSync('c', 10)]).toEqual([undefined, 1])
      expect([one.highestSeqno, one.highestPersistedSeqno]).toEqual([9, 9])
    }
    check(tree)
    expect(tree.version().levels[0]?.[0]?.[0]).toMatchObject({ lowestSeqno: 9, highestSeqno: 9 })
    await tree.close()
    const again = await openBare(path)
    check(again)
    await again.majorCompaction()
    check(again)
    again.insertSync('b', '3', 10)
    expect([at(again, 10), at(again, 11)]).toEqual(['a1 b2 c2', 'a1 b3 c2'])
  })

  test('the seqno must be above all others, when it begins and when it finishes', async () => {
    const tree = await openBare()
    tree.insertSync('a', '1', 7)
    for (const seqno of [0, 6, 7, MAX_SEQNO, -1, 1.5, Number.NaN, MAX_SEQNO + 1]) {
      const sync = await failure(() => tree.startIngestionSync(seqno))
      const async = await rejection(() => tree.startIngestion(seqno))
      expect([sync.code, async.code]).toEqual(['INVALID_ARGUMENT', 'INVALID_ARGUMENT'])
    }
    const overtaken = fill(tree.startIngestionSync(8), 'bc', '2')
    tree.insertSync('d', '1', 8)
    expect((await failure(() => overtaken.finishSync())).code).toBe('INVALID_ARGUMENT')
    expect((await failure(() => overtaken.write('z', '1'))).code).toBe('INVALID_ARGUMENT')
    expect(at(tree, MAX_SEQNO)).toBe('a1 d1')
    const first = fill(tree.startIngestionSync(10), 'ae', '3')
    const second = fill(tree.startIngestionSync(11), 'af', '4')
    expect(second.finishSync()).toBe(2)
    expect((await rejection(() => first.finish())).code).toBe('INVALID_ARGUMENT')
    expect(at(tree, MAX_SEQNO)).toBe('a4 d1 f4')
    expect(tree.highestSeqno).toBe(11)
  })

  test('a write below it is refused from then on', async () => {
    const tree = await openBare()
    await fill(tree.startIngestionSync(5), 'ab', '1').finish()
    expect((await failure(() => tree.insertSync('a', '2', 4))).code).toBe('INVALID_ARGUMENT')
    tree.insertSync('a', '2', 6)
    expect(at(tree, MAX_SEQNO)).toBe('a2 b1')
  })

  test('an empty tree takes 0, and nothing is known where nothing was ingested', async () => {
    const tree = await openBare()
    expect(await (await tree.startIngestion(3)).finish()).toBe(0)
    fill(await tree.startIngestion(4), 'ab', '1').abort()
    expect([tree.highestSeqno, tree.highestPersistedSeqno]).toEqual([undefined, undefined])
    expect(await fill(await tree.startIngestion(0), 'ab', '1').finish()).toBe(2)
    expect([at(tree, 0), at(tree, 1)]).toEqual(['', 'a1 b1'])
    expect([tree.highestSeqno, tree.highestPersistedSeqno]).toEqual([0, 0])
    expect((await failure(() => tree.startIngestionSync(0))).code).toBe('INVALID_ARGUMENT')
  })

  test('reads from gcSeqno on stay exact through compactions', async () => {
    const tree = await openBare()
    for (let round = 0; round < 5; round++) {
      const ingestion = await tree.startIngestion(10 * round + 5)
      for (const key of 'abc') if (round % 2 === 0 || key !== 'b') ingestion.write(key, `${round}`)
      if (round === 3) ingestion.writeTombstone('d')
      await ingestion.finish()
      tree.insertSync('d', `${round}`, 10 * round + 7)
    }
    tree.setGcSeqno(26)
    await tree.flush()
    const expected = [26, 28, 36, 38, 46].map((seqno) => at(tree, seqno))
    expect(expected).toEqual([
      'a2 b2 c2 d1',
      'a2 b2 c2 d2',
      'a3 b2 c3',
      'a3 b2 c3 d3',
      'a4 b4 c4 d3',
    ])
    await tree.majorCompaction()
    expect([26, 28, 36, 38, 46].map((seqno) => at(tree, seqno))).toEqual(expected)
  })

  test('close ends what is open', async () => {
    const path = join(scratchDirectory(), 'tree')
    const tree = await openBare(path)
    const ingestion = tree.startIngestionSync(1)
    for (let i = 0; i < 2000; i++) ingestion.write(keyOf(i), Buffer.alloc(1000))
    await tree.close()
    expect(filesIn(path)).toEqual([])
    expect((await failure(() => ingestion.write('z', '1'))).code).toBe('DB_CLOSED')
    expect((await failure(() => tree.startIngestionSync(2))).code).toBe('DB_CLOSED')
    expect((await rejection(() => tree.startIngestion(2))).code).toBe('DB_CLOSED')
  })
})
