// Both ends, bounds and block layouts of iterations: edge cases 19 to 24.

import { join } from 'node:path'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { MAX_SEQNO } from '../../../lib/index.ts'
import type { Cursor, Keyspace, KeyRange, RangeOptions, TreeOptions } from '../../../lib/index.ts'
import { openDatabase } from '../../support/engine.ts'
import { flipByte, placesOf } from '../../support/files.ts'
import { PATIENT } from '../../support/patient.ts'
import { failure, scaled, scratchDirectory, testSeed } from '../../support/scratch.ts'
import { newKeyspace, newTree, numbered, seen } from '../../support/trees.ts'

type Row = [string, string]

/** Rows in several tables, a sealed memtable and the active one, with holes between them. */
async function layered(): Promise<{ keyspace: Keyspace; rows: Row[] }> {
  const { keyspace } = await newKeyspace({
    compaction: PATIENT,
    dataBlockSize: 64,
    restartInterval: 3,
    partitionIndex: true,
  })
  const model = new Map<string, string>()
  for (let layer = 0; layer < 6; layer++) {
    for (let i = 0; i < 60; i++) {
      const key = numbered((i * (2 * layer + 1) + layer) % 97)
      if ((i + layer) % 6 === 0) {
        keyspace.removeSync(key)
        model.delete(key)
      } else {
        keyspace.insertSync(key, `${layer}.${i}`)
        model.set(key, `${layer}.${i}`)
      }
    }
    if (layer < 4) await keyspace.rotateMemtableAndWait()
    if (layer === 2) await keyspace.majorCompaction()
    if (layer === 4) keyspace.rotateMemtable()
  }
  return { keyspace, rows: [...model].toSorted(([a], [b]) => (a < b ? -1 : 1)) }
}

const rowOf = (pair: readonly [Buffer, Buffer] | undefined): Row | undefined =>
  pair && [String(pair[0]), String(pair[1])]

test('edge case 19: from both ends in any order, every row comes exactly once', async () => {
  const { keyspace, rows } = await layered()
  const step = async (
    cursor: Cursor,
    isFront: boolean,
    isSync: boolean,
  ): Promise<Row | undefined> => {
    if (isSync) return rowOf(isFront ? cursor.nextSync() : cursor.nextBackSync())
    return rowOf(await (isFront ? cursor.next() : cursor.nextBack()))
  }
  const steps = fc.array(fc.tuple(fc.boolean(), fc.boolean()), { maxLength: rows.length + 5 })
  const bounds = fc.tuple(fc.nat(rows.length), fc.nat(rows.length), fc.boolean())
  await fc.assert(
    fc.asyncProperty(steps, bounds, async (taken, [a, b, reverse]) => {
      const [from, to] = [Math.min(a, b), Math.max(a, b)]
      const range: RangeOptions = { reverse, ...(from > 0 && { gte: rows[from]?.[0] ?? 'z' }) }
      if (to < rows.length) range.lt = rows[to]![0]
      const left = rows.slice(from, to)
      if (reverse) left.reverse()
      const cursor = keyspace.range(range).cursor()
      for (const [isFront, isSync] of taken) {
        expect(await step(cursor, isFront, isSync)).toEqual(isFront ? left.shift() : left.pop())
      }
      // Turn by turn to the end, and beyond it.
      for (let turn = 0; left.length > 0; turn++) {
        const isFront = turn % 2 === 0
        expect(await step(cursor, isFront, true)).toEqual(isFront ? left.shift() : left.pop())
      }
      expect([cursor.nextSync(), cursor.nextBackSync()]).toEqual([undefined, undefined])
      cursor.close()
    }),
    { seed: testSeed(), numRuns: scaled(100) },
  )
})

test('edge case 20: bounds outside of all keys, on keys, between, empty and inverted', async () => {
  const keys = ['b', 'bb', 'd', 'f', 'f\0']
  const bounds = ['a', 'b', 'b\0', 'ba', 'bb', 'c', 'd', 'e', 'f', 'f\0', 'f\0\0', 'g', '\xff']
  const { keyspace } = await newKeyspace({ compaction: PATIENT, dataBlockSize: 64 })
  for (const key of keys) keyspace.insertSync(key, `the value of ${key}`.padEnd(60))
  const isIn = (key: string, { gt, gte, lt, lte }: KeyRange): boolean => {
    const order = (bound: unknown): number =>
      Buffer.compare(Buffer.from(key), Buffer.from(bound as string))
    return (
      (gt === undefined || order(gt) > 0) &&
      (gte === undefined || order(gte) >= 0) &&
      (lt === undefined || order(lt) < 0) &&
      (lte === undefined || order(lte) <= 0)
    )
  }
  const lowers: KeyRange[] = [{}, ...bounds.flatMap((at) => [{ gt: at }, { gte: at }])]
  const uppers: KeyRange[] = [{}, ...bounds.flatMap((at) => [{ lt: at }, { lte: at }])]
  for (const place of ['memtable', 'table'] as const) {
    if (place === 'table') await keyspace.rotateMemtableAndWait()
    for (const lower of lowers) {
      for (const upper of uppers) {
        const range = { ...lower, ...upper }
        const expected = keys.filter((key) => isIn(key, range))
        const found = keyspace.range(range)
        const shown = `${place} ${JSON.stringify(range)}`
        expect(Array.from(found.keys(), String), shown).toEqual(expected)
        expect(Array.from(found.rev().keys(), String), shown).toEqual(expected.toReversed())
        const cursor = found.cursor()
        expect(String(cursor.nextBackSync()?.[0]), shown).toBe(String(expected.at(-1)))
        cursor.close()
      }
    }
  }
})

test('bounds outside of what many keys have in common', async () => {
  const { keyspace } = await newKeyspace({ compaction: PATIENT, dataBlockSize: 64 })
  const keys = Array.from({ length: 97 }, (_, i) => numbered(i))
  for (let i = 0; i < keys.length; i++) {
    const key = keys[(i * 67) % keys.length]!
    keyspace.insertSync(key, `the value of ${key}`)
  }
  const places = [
    'a',
    'k',
    'key',
    'key ',
    'key 0',
    'key 000',
    'key 000~',
    'key 0~',
    'key!',
    'l',
    'z',
  ]
  for (const place of ['memtable', 'table'] as const) {
    if (place === 'table') await keyspace.rotateMemtableAndWait()
    for (const at of places) {
      const [below, above] = [keys.filter((key) => key < at), keys.filter((key) => key > at)]
      const shown = `${place} ${at}`
      for (const [range, expected] of [
        [{ lt: at }, below],
        [{ lte: at }, below],
        [{ gt: at }, above],
        [{ gte: at }, above],
      ] as const) {
        expect(Array.from(keyspace.range(range).keys(), String), shown).toEqual(expected)
        expect(Array.from(keyspace.range(range).rev().keys(), String), shown).toEqual(
          expected.toReversed(),
        )
      }
      const [cursor, back] = [keyspace.iter().cursor(), keyspace.iter().rev().cursor()]
      cursor.seek(at)
      expect(cursor.nextSync()?.[0].toString(), shown).toBe(above[0])
      back.seek(at)
      expect(back.nextSync()?.[0].toString(), shown).toBe(below.at(-1))
      cursor.close()
      back.close()
    }
  }
})

test('edge case 21: from the back, the upper bound in a later block or index part', async () => {
  const rows = 400
  const { keyspace } = await newKeyspace({
    compaction: PATIENT,
    dataBlockSize: 64,
    partitionIndex: true,
    partitionFilter: true,
    compression: 'none',
  })
  for (let i = 0; i < rows; i++) keyspace.insertSync(numbered(2 * i), `value ${i}`.padEnd(30))
  await keyspace.rotateMemtableAndWait()
  const [table] = keyspace.version().levels.flat(2)
  expect(table!.blockCount).toBeGreaterThan(rows / 4)
  for (let at = 0; at <= 2 * rows; at++) {
    const below = Math.min(2 * Math.ceil(at / 2) - 2, 2 * rows - 2)
    const [lt, lte] = [{ lt: numbered(at) }, { lte: numbered(at) }]
    const last = keyspace.range(lt).cursor()
    expect(String(last.nextBackSync()?.[0])).toBe(below < 0 ? 'undefined' : numbered(below))
    expect(String(last.nextBackSync()?.[0])).toBe(below < 2 ? 'undefined' : numbered(below - 2))
    last.close()
    const [included] = keyspace.range({ ...lte, reverse: true, limit: 1 }).keys()
    const upTo = Math.min(2 * Math.floor(at / 2), 2 * rows - 2)
    expect(String(included)).toBe(numbered(upTo))
    // A range of one row, and one of none, in the midst of a block.
    const one = keyspace.range({ gte: numbered(at), lte: numbered(at) }).cursor()
    expect(one.nextBackSync() !== undefined).toBe(at % 2 === 0 && at < 2 * rows)
    expect(one.nextSync()).toBeUndefined()
    one.close()
  }
})

test('edge case 22: prefixes that end in 0xff, are all 0xff, or hold each other', async () => {
  const bytes = (...of: number[]): Buffer => Buffer.from(of)
  const keys = [
    bytes(0),
    bytes(0, 0),
    bytes(0x61),
    bytes(0x61, 0),
    bytes(0x61, 0x62),
    bytes(0x61, 0x62, 0x63),
    bytes(0x61, 0xfe, 0xff),
    bytes(0x61, 0xff),
    bytes(0x61, 0xff, 0),
    bytes(0x61, 0xff, 0xff),
    bytes(0x61, 0xff, 0xff, 1),
    bytes(0x62),
    bytes(0xfe, 0xff),
    bytes(0xff),
    bytes(0xff, 0),
    bytes(0xff, 0xff),
    bytes(0xff, 0xff, 0xff),
  ]
  const { keyspace } = await newKeyspace({ compaction: PATIENT, dataBlockSize: 64 })
  for (const key of keys) keyspace.insertSync(key, 'value'.padEnd(30))
  const prefixes = [bytes(), ...keys, bytes(0x63), bytes(0x61, 0xff, 0xff, 0xff), bytes(0xff, 1)]
  for (const place of ['memtable', 'table']) {
    if (place === 'table') await keyspace.rotateMemtableAndWait()
    for (const prefix of prefixes) {
      const expected = keys.filter((key) => key.subarray(0, prefix.length).equals(prefix))
      const found = keyspace.prefix(prefix)
      const shown = `${place} ${prefix.toString('hex')}`
      expect([...found.keys()], shown).toEqual(expected)
      expect([...found.rev().keys()], shown).toEqual(expected.toReversed())
      const rows = await keyspace.prefix(prefix, { reverse: true, limit: 2 }).toArray()
      const last = expected.toReversed().slice(0, 2)
      expect(
        rows.map(([key]) => key),
        shown,
      ).toEqual(last)
    }
  }
})

test('edge case 23: restart intervals from 1 on, hash indexes, dense blocks', async () => {
  const rows = 60
  for (const restartInterval of [1, 7, 255]) {
    for (const hashIndexRatio of [0, 0.5, 8]) {
      for (const dataBlockSize of [64, 262_144]) {
        const options: TreeOptions = {
          compaction: PATIENT,
          restartInterval,
          hashIndexRatio,
          dataBlockSize,
          filter: 'none',
          compression: 'none',
        }
        const tree = await newTree(options)
        for (let i = 0; i < rows; i++) {
          tree.insertSync(numbered(2 * i), `value ${i}`.padEnd(70), 2 * i + 1)
          if (i % 5 === 0) tree.insertSync(numbered(2 * i), `again ${i}`, 2 * i + 2)
        }
        await tree.flush()
        const shown = JSON.stringify(options)
        const [{ blockCount } = { blockCount: 0 }] = tree.version().levels.flat(2)
        if (dataBlockSize === 64) expect(blockCount, shown).toBeGreaterThanOrEqual(rows)
        else expect(blockCount, shown).toBe(1)
        for (let i = 0; i < rows; i++) {
          const key = numbered(2 * i)
          const first = `value ${i}`.padEnd(70)
          const newest = i % 5 === 0 ? `again ${i}` : first
          expect(tree.getTextSync(key, MAX_SEQNO), shown).toBe(newest)
          expect(tree.getTextSync(key, 2 * i + 2), shown).toBe(first)
          expect(tree.getSync(key, 2 * i + 1), shown).toBeUndefined()
          expect(tree.getSync(numbered(2 * i + 1), MAX_SEQNO), shown).toBeUndefined()
          expect(tree.containsKeySync(`${key} behind`, MAX_SEQNO), shown).toBe(false)
        }
        const keys = Array.from(tree.iter(MAX_SEQNO).keys(), String)
        expect(keys, shown).toEqual(Array.from({ length: rows }, (_, i) => numbered(2 * i)))
        await tree.close()
      }
    }
  }
})

test('edge case 24: a damaged block ends a scan once, from either end', async () => {
  const path = join(scratchDirectory(), 'db')
  const made = await openDatabase(path)
  const keyspace = await made.keyspace('k', {
    compaction: PATIENT,
    dataBlockSize: 64,
    compression: 'none',
  })
  for (let i = 0; i < 100; i++) keyspace.insertSync(numbered(i), `older ${i}`.padEnd(60))
  await keyspace.rotateMemtableAndWait()
  for (let i = 0; i < 100; i += 2) keyspace.insertSync(numbered(i), `newer ${i}`)
  await keyspace.rotateMemtableAndWait()
  keyspace.removeSync(numbered(3))
  const rows = seen(keyspace).split(' key').length
  expect(rows).toBe(99)
  await made.close()
  const places = placesOf(path, 'older 51')
  expect(places).toHaveLength(1)
  flipByte(places[0]!)

  const database = await openDatabase(path, { cacheSize: 0 })
  const damaged = await database.keyspace('k')
  const expected = (i: number): string => (i % 2 === 0 ? `newer ${i}` : `older ${i}`.padEnd(60))
  for (const reverse of [false, true]) {
    const order = Array.from({ length: 100 }, (_, i) => (reverse ? 99 - i : i))
    const before = order.slice(0, order.indexOf(51)).filter((i) => i !== 3)
    const check = (found: readonly string[]): void => {
      // A batch of rows that could not be filled is not handed out.
      expect(found.length).toBeLessThanOrEqual(before.length)
      expect(found.length).toBeGreaterThan(0)
      expect(found).toEqual(before.slice(0, found.length).map(expected))
    }
    const options = { reverse, batchSize: 1 }
    const sync = damaged.iter(options)[Symbol.iterator]()
    const found: string[] = []
    const error = await failure(() => {
      for (let row = sync.next(); row.done !== true; row = sync.next()) {
        found.push(String(row.value[1]))
      }
    })
    expect(error).toMatchObject({ code: 'CORRUPTION', path: places[0]!.file })
    check(found)
    expect(sync.next().done).toBe(true)

    const async = damaged.iter(options)[Symbol.asyncIterator]()
    const later: string[] = []
    const rejected = await failure(async () => {
      for (let row = await async.next(); row.done !== true; row = await async.next()) {
        later.push(String(row.value[1]))
      }
    })
    expect(rejected).toMatchObject({ code: 'CORRUPTION', path: places[0]!.file })
    check(later)
    expect((await async.next()).done).toBe(true)
  }
  // What does not need the block is not affected, nor is what is newer.
  expect(damaged.range({ lt: numbered(50) }).toArraySync()).toHaveLength(49)
  expect(damaged.range({ gte: numbered(54) }).toArraySync()).toHaveLength(46)
  expect(damaged.getTextSync(numbered(52))).toBe('newer 52')
  await database.close()
})
