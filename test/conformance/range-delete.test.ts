// Ranges that are removed at the cost of one write: what they hide, from whom, and until when.

import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { MAX_SEQNO } from '../../lib/index.ts'
import type { Database, Keyspace, KeyRange, Snapshot, Tree } from '../../lib/index.ts'
import { openDatabase, openDatabaseSync, openTree, openTreeSync } from '../support/engine.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

/** What data lies in; behind the last of them it is opened again. */
const STAGES = ['memtable', 'level 0', 'last level'] as const

const LONG = Buffer.alloc(65_535, 0x6d)
const LAST = Buffer.alloc(65_535, 0xff)
const KEYS: readonly Buffer[] = [
  '\0',
  '\0\0',
  'a',
  'a\0',
  'aa',
  'b',
  'ba',
  'm',
  'n',
  'z',
  '\xff',
  '\xff\xff',
]
  .map((key) => Buffer.from(key, 'latin1'))
  .concat([LONG, Buffer.concat([LONG.subarray(1), Buffer.of(0x6e)]), LAST])
  .toSorted((a, b) => Buffer.compare(a, b))

const name = (key: Uint8Array): string =>
  key.length > 9 ? `${key.length} x ${key.at(-1)}` : Buffer.from(key).toString('hex')

function isIn({ gt, gte, lt, lte }: KeyRange, key: Buffer): boolean {
  const order = (bound: unknown): number => Buffer.compare(key, Buffer.from(bound as Buffer))
  return (
    (gt === undefined || order(gt) > 0) &&
    (gte === undefined || order(gte) >= 0) &&
    (lt === undefined || order(lt) < 0) &&
    (lte === undefined || order(lte) <= 0)
  )
}

const text = (latin1: string): Buffer => Buffer.from(latin1, 'latin1')

/** A database that is closed when the test ends, and can be opened again. */
class Opened {
  readonly path = join(scratchDirectory(), 'db')
  database = openDatabaseSync(this.path)

  constructor() {
    onTestFinished(() => this.database.close())
  }

  keyspace(of = 'k'): Keyspace {
    return this.database.keyspaceSync(of)
  }

  async reopen(): Promise<void> {
    await this.database.close()
    this.database = await openDatabase(this.path)
  }
}

/** Checks a keyspace by every kind of read. */
async function expectKeys(
  keyspace: Keyspace,
  expected: readonly Buffer[],
  snapshot?: Snapshot,
): Promise<void> {
  const options = snapshot === undefined ? {} : { snapshot }
  const names = expected.map(name)
  expect([...keyspace.iter(options).keys()].map(name)).toEqual(names)
  const backward = await keyspace.iter({ ...options, reverse: true }).toArray()
  expect(backward.map(([key]) => name(key))).toEqual(names.toReversed())
  const there = new Set(names)
  for (const key of KEYS) {
    const isThere = there.has(name(key))
    expect(keyspace.containsKeySync(key, options)).toBe(isThere)
    expect((await keyspace.get(key, options)) !== undefined).toBe(isThere)
    expect(keyspace.sizeOfSync(key, options) !== undefined).toBe(isThere)
    expect(keyspace.getTextSync(key, options) !== undefined).toBe(isThere)
    expect(keyspace.getIntoSync(key, Buffer.alloc(99), 0, options) !== undefined).toBe(isThere)
  }
  const many = KEYS.map((key) => there.has(name(key)))
  expect(keyspace.getManySync(KEYS, options).map((value) => value !== undefined)).toEqual(many)
  const values = await keyspace.getMany(KEYS, options)
  expect(values.map((value) => value !== undefined)).toEqual(many)
  expect(keyspace.firstKeyValueSync(options)?.map(name)[0]).toBe(names[0])
  expect((await keyspace.lastKeyValue(options))?.map(name)[0]).toBe(names.at(-1))
  expect(keyspace.lenSync(options)).toBe(names.length)
  expect(await keyspace.isEmpty(options)).toBe(names.length === 0)
}

/** Runs a check with the data in each place where it can be, and after each reopening. */
async function atEachStage(opened: Opened, check: () => Promise<void>): Promise<void> {
  for (const stage of STAGES) {
    for (const keyspaceName of opened.database.listKeyspaceNames()) {
      const keyspace = opened.keyspace(keyspaceName)
      if (stage === 'level 0') await keyspace.rotateMemtableAndWait()
      if (stage === 'last level') await keyspace.majorCompaction()
    }
    await check()
  }
  await opened.reopen()
  await check()
}

function fill(keyspace: Keyspace, keys: readonly Buffer[] = KEYS): void {
  for (const [i, key] of keys.entries()) keyspace.insertSync(key, `value ${i}`)
}

describe('bounds', () => {
  const ranges: readonly KeyRange[] = [
    {},
    { gt: text('a') },
    { gte: text('a') },
    { lt: text('b') },
    { lte: text('b') },
    { gt: text('a'), lt: text('n') },
    { gte: text('a'), lte: text('n') },
    { gte: text('a\0'), lt: text('aa') },
    { gt: text('a'), lte: text('a') },
    { gte: text('m'), lt: text('a') },
    { gte: text('ab'), lt: text('ac') },
    { lt: text('\0') },
    { lte: text('\0') },
    { gte: text('\xff') },
    { gt: text('\xff\xff') },
    { lt: text('\xff') },
    { gte: LONG, lte: LONG },
    { gt: LONG },
    { lt: LONG },
    { gt: LAST },
    { gte: LAST },
    { lt: LAST },
    { lte: LAST },
  ]
  const shown = ranges.map((range) => {
    const parts = Object.entries(range).map(([bound, key]) => `${bound} ${name(key as Buffer)}`)
    return [`{ ${parts.join(', ')} }`, range] as const
  })

  test.each(shown)('%s', async (_, range) => {
    const opened = new Opened()
    const left = KEYS.filter((key) => !isIn(range, key))
    for (const [form, older] of [
      ['over the memtable', false],
      ['over tables', true],
    ] as const) {
      const keyspace = opened.keyspace(form)
      fill(keyspace)
      if (older) await keyspace.majorCompaction()
      if (older) keyspace.removeRangeSync(range)
      else await keyspace.removeRange(range)
      await expectKeys(keyspace, left)
    }
    await atEachStage(opened, async () => {
      await expectKeys(opened.keyspace('over the memtable'), left)
      await expectKeys(opened.keyspace('over tables'), left)
    })
    // What comes later is there.
    const keyspace = opened.keyspace('over tables')
    fill(keyspace)
    await expectKeys(keyspace, KEYS)
  })

  test('text is its UTF-8', async () => {
    const opened = new Opened()
    const keyspace = opened.keyspace()
    fill(keyspace, [Buffer.from('ä'), Buffer.from('ö'), Buffer.from('z')])
    keyspace.removeRangeSync({ gt: 'z', lt: 'ö' })
    expect([...keyspace.iter().keys()].map(String)).toEqual(['z', 'ö'])
  })
})

describe('bad input', () => {
  const bad: readonly (readonly [unknown, string])[] = [
    [{ gt: 'a', gte: 'a' }, 'INVALID_RANGE'],
    [{ lt: 'a', lte: 'a' }, 'INVALID_RANGE'],
    [{ gte: '' }, 'INVALID_KEY'],
    [{ lt: 7 }, 'INVALID_KEY'],
    [{ lt: 'lone \ud800' }, 'INVALID_KEY'],
    [{ gte: Buffer.alloc(65_536) }, 'KEY_TOO_LARGE'],
    [{ from: 'a' }, 'INVALID_OPTION'],
    ['a', 'INVALID_ARGUMENT'],
    [null, 'INVALID_ARGUMENT'],
  ]

  test('is refused with nothing changed', async () => {
    const opened = new Opened()
    const { database } = opened
    const keyspace = opened.keyspace()
    fill(keyspace)
    const { seqno } = database
    const tree = openTreeSync(join(scratchDirectory(), 'tree'))
    for (const [range, code] of bad) {
      const given = range as KeyRange
      const batch = database.batch()
      expect((await failure(() => keyspace.removeRangeSync(given))).code).toBe(code)
      expect((await rejection(() => keyspace.removeRange(given))).code).toBe(code)
      expect((await failure(() => batch.removeRange(keyspace, given))).code).toBe(code)
      expect(batch.length).toBe(0)
      expect((await failure(() => tree.removeRangeSync(given, 1))).code).toBe(code)
    }
    const options = { durability: 'never' } as never
    expect((await failure(() => keyspace.removeRangeSync({}, options))).code).toBe('INVALID_OPTION')
    expect((await failure(() => tree.removeRangeSync({}, -1))).code).toBe('INVALID_ARGUMENT')
    expect((await failure(() => tree.clearSync(1.5))).code).toBe('INVALID_ARGUMENT')
    expect(database.seqno).toBe(seqno)
    await expectKeys(keyspace, KEYS)
    expect(tree.highestSeqno).toBe(undefined)
    tree.closeSync()
    for (const call of [() => tree.removeRangeSync({}, 1), () => tree.clearSync(1)]) {
      expect((await failure(call)).code).toBe('DB_CLOSED')
    }
  })

  test('nothing is written for an empty range', async () => {
    const opened = new Opened()
    const { database } = opened
    const keyspace = opened.keyspace()
    const { seqno } = database
    const empty = { gte: 'b', lt: 'a' }
    keyspace.removeRangeSync(empty)
    await keyspace.removeRange(empty)
    const batch = database.batch().removeRange(keyspace, empty)
    expect(batch.length).toBe(0)
    await batch.commit()
    expect(database.seqno).toBe(seqno)
    const tree = openTreeSync(join(scratchDirectory(), 'tree'))
    expect(tree.removeRangeSync(empty, 5)).toEqual({ itemSize: 0, memtableSize: 0 })
    expect(tree.highestSeqno).toBe(undefined)
    tree.closeSync()
  })

  test('a database that is closed or read-only refuses it', async () => {
    const opened = new Opened()
    const keyspace = opened.keyspace()
    fill(keyspace)
    await opened.database.close()
    for (const call of [() => keyspace.removeRangeSync({}), () => keyspace.clearSync()]) {
      expect((await failure(call)).code).toBe('DB_CLOSED')
    }
    for (const call of [() => keyspace.removeRange({}), () => keyspace.clear()]) {
      expect((await rejection(call)).code).toBe('DB_CLOSED')
    }
    opened.database = await openDatabase(opened.path, { readOnly: true })
    const reader = opened.keyspace()
    expect((await failure(() => reader.removeRangeSync({}))).code).toBe('READ_ONLY')
    expect((await rejection(() => reader.clear())).code).toBe('READ_ONLY')
    await expectKeys(reader, KEYS)
  })
})

describe('batches', () => {
  const key = (one: string): Buffer => Buffer.from(one)
  const found = (keyspace: Keyspace): string[] =>
    keyspace
      .iter()
      .toArraySync()
      .map(([one, value]) => `${String(one)}=${String(value)}`)

  test('a range cancels what the batch did before in it, and nothing behind it', async () => {
    const opened = new Opened()
    const { database } = opened
    const [one, two] = [opened.keyspace('one'), opened.keyspace('two')]
    for (const keyspace of [one, two]) fill(keyspace, ['a', 'b', 'c', 'd'].map(key))
    const batch = database.batch()
    batch.insert(one, 'b', 'cancelled').insert(two, 'b', 'elsewhere').remove(one, 'd')
    batch.insert(one, 'd', 'outside').removeWeak(one, 'c').insert(one, 'bb', 'cancelled')
    batch.removeRange(one, { gte: 'b', lt: 'd' }).insert(one, 'c', 'behind')
    batch.removeRange(two, { gte: 'c' }).insert(two, 'd', 'behind').remove(two, 'a')
    expect(batch.length).toBe(11)
    await batch.commit()
    const check = async (): Promise<void> => {
      expect(found(opened.keyspace('one'))).toEqual(['a=value 0', 'c=behind', 'd=outside'])
      expect(found(opened.keyspace('two'))).toEqual(['b=elsewhere', 'd=behind'])
      expect(opened.keyspace('one').getTextSync('bb')).toBe(undefined)
      return Promise.resolve()
    }
    await check()
    await atEachStage(opened, check)
  })

  test('of several ranges each cancels what stands before it', async () => {
    const opened = new Opened()
    const keyspace = opened.keyspace()
    const batch = opened.database.batch()
    batch.insert(keyspace, 'a', '1').insert(keyspace, 'c', '1')
    batch.removeRange(keyspace, { lt: 'b' }).insert(keyspace, 'a', '2').insert(keyspace, 'b', '2')
    batch.removeRange(keyspace, { gte: 'b', lt: 'c' }).insert(keyspace, 'bb', '3')
    batch.commitSync()
    const check = async (): Promise<void> => {
      expect(found(opened.keyspace())).toEqual(['a=2', 'bb=3', 'c=1'])
      return Promise.resolve()
    }
    await check()
    await atEachStage(opened, check)
  })

  test('a weak removal behind a range brings nothing back', async () => {
    const opened = new Opened()
    const keyspace = opened.keyspace()
    fill(keyspace, [key('a'), key('b')])
    await keyspace.majorCompaction()
    keyspace.removeRangeSync({})
    keyspace.insertSync('a', 'again')
    await keyspace.rotateMemtableAndWait()
    keyspace.removeWeakSync('a')
    const check = async (): Promise<void> => {
      expect(found(opened.keyspace())).toEqual([])
      return Promise.resolve()
    }
    await check()
    await atEachStage(opened, check)
  })
})

describe('readers', () => {
  test('snapshots see what was there before, between and after', async () => {
    const opened = new Opened()
    const { database } = opened
    const keyspace = opened.keyspace()
    const some = KEYS.filter((key) => key.length < 9)
    const states: { readonly snapshot: Snapshot; readonly keys: readonly Buffer[] }[] = []
    const hold = (keys: readonly Buffer[]): void => {
      states.push({ snapshot: database.snapshot(), keys })
    }
    const check = async (): Promise<void> => {
      for (const { snapshot, keys } of states) await expectKeys(keyspace, keys, snapshot)
    }
    hold([])
    fill(keyspace)
    hold(KEYS)
    const range = { gte: text('a'), lt: text('n') }
    const left = KEYS.filter((key) => !isIn(range, key))
    keyspace.removeRangeSync(range)
    hold(left)
    await keyspace.rotateMemtableAndWait()
    fill(keyspace, some)
    hold(KEYS.filter((key) => left.includes(key) || some.includes(key)))
    await check()
    await keyspace.clear()
    hold([])
    await check()
    fill(keyspace, some)
    hold(some)
    for (const step of ['flush', 'compact', 'close some', 'compact', 'close all', 'compact']) {
      if (step === 'flush') await keyspace.rotateMemtableAndWait()
      if (step === 'compact') await keyspace.majorCompaction({ targetSize: 4096 })
      if (step === 'close some') {
        for (const i of [4, 3, 1]) states.splice(i, 1)[0]!.snapshot.close()
      }
      if (step === 'close all') for (const { snapshot } of states.splice(0)) snapshot.close()
      await check()
      await expectKeys(keyspace, some)
    }
    const tables = keyspace.version().levels.flat(2)
    expect(tables.map(({ itemCount }) => itemCount)).toEqual([some.length])
    expect(tables.map(({ rangeTombstoneCount }) => rangeTombstoneCount)).toEqual([0])
  })

  test('iterations that are open go on as they began', async () => {
    const opened = new Opened()
    const keyspace = opened.keyspace()
    fill(keyspace)
    await keyspace.rotateMemtableAndWait()
    using cursor = keyspace.iter().cursor()
    const rows = keyspace.iter().keys()[Symbol.iterator]()
    const seen = [name(cursor.nextSync()![0])]
    const iterated = [name(rows.next().value as Buffer)]
    keyspace.removeRangeSync({ gte: text('a') })
    await keyspace.clear()
    await keyspace.majorCompaction()
    for (let pair = cursor.nextSync(); pair !== undefined; pair = await cursor.next()) {
      seen.push(name(pair[0]))
    }
    for (let row = rows.next(); row.done !== true; row = rows.next()) iterated.push(name(row.value))
    expect(seen).toEqual(KEYS.map(name))
    expect(iterated).toEqual(KEYS.map(name))
    expect(keyspace.isEmptySync()).toBe(true)
  })

  test('a cursor seeks and turns over what is removed', async () => {
    const opened = new Opened()
    const keyspace = opened.keyspace()
    const numbered = (i: number): string => `key ${10_000 + i}`
    for (let i = 0; i < 300; i++) keyspace.insertSync(numbered(i), 'v')
    await keyspace.rotateMemtableAndWait()
    keyspace.removeRangeSync({ gte: numbered(50), lt: numbered(250) })
    for (const i of [100, 101, 180]) keyspace.insertSync(numbered(i), 'again')
    const check = (): Promise<void> => {
      using cursor = opened
        .keyspace()
        .range({ gte: numbered(40), lt: numbered(260) })
        .cursor()
      const left = Array.from({ length: 300 }, (_, i) => i)
        .filter((i) => i >= 40 && i < 260)
        .filter((i) => i < 50 || i >= 250 || [100, 101, 180].includes(i))
        .map(numbered)
      const front = left.slice(0, 12)
      const back = left.slice(12).toReversed()
      expect(front.map(() => String(cursor.nextSync()![0]))).toEqual(front)
      expect(back.map(() => String(cursor.nextBackSync()![0]))).toEqual(back)
      expect(cursor.nextSync()).toBe(undefined)
      cursor.seek(numbered(60))
      expect(String(cursor.nextSync()?.[0])).toBe(numbered(100))
      return Promise.resolve()
    }
    await check()
    await atEachStage(opened, check)
  })
})

describe('what is written down', () => {
  test('is replayed from the journal', async () => {
    const opened = new Opened()
    const { database, path } = opened
    const [one, two] = [opened.keyspace('one'), opened.keyspace('two')]
    fill(one)
    fill(two)
    await two.rotateMemtableAndWait()
    const range = { gt: text('a'), lte: text('n') }
    one.removeRangeSync(range)
    await database.batch().insert(two, 'before', '').removeRange(two, {}).commit()
    two.insertSync(KEYS[3]!, 'behind')
    await database.persist('sync')
    const copy = `${path} copy`
    cpSync(path, copy, { recursive: true })
    for (const file of readdirSync(copy)) if (file.startsWith('lock')) rmSync(join(copy, file))
    onTestFinished(() => rmSync(copy, { recursive: true, force: true }))
    for (let round = 0; round < 2; round++) {
      const again = await openDatabase(copy)
      if (round === 0) expect(again.recovery.commitsReplayed).toBeGreaterThan(KEYS.length)
      await expectKeys(
        again.keyspaceSync('one'),
        KEYS.filter((key) => !isIn(range, key)),
      )
      await expectKeys(again.keyspaceSync('two'), [KEYS[3]!])
      expect(again.keyspaceSync('two').containsKeySync('before')).toBe(false)
      await again.close()
    }
  })

  test('cleared stays cleared, and can be filled again', async () => {
    const opened = new Opened()
    for (let round = 0; round < 3; round++) {
      const keyspace = opened.keyspace()
      fill(keyspace)
      if (round === 1) await keyspace.majorCompaction()
      await expectKeys(keyspace, KEYS)
      if (round === 2) await keyspace.clear()
      else keyspace.clearSync()
      await expectKeys(keyspace, [])
      await opened.reopen()
      await expectKeys(opened.keyspace(), [])
    }
    await opened.database.compactor.drain()
    expect(opened.keyspace().tableCount()).toBe(0)
  })

  test('tables say what they hold', async () => {
    const opened = new Opened()
    const keyspace = opened.keyspace()
    const before = opened.database.snapshot()
    fill(keyspace, [text('c'), text('y')])
    keyspace.removeRangeSync({ gte: 'a', lt: 'f' })
    const between = opened.database.snapshot()
    fill(keyspace, [text('d')])
    await keyspace.rotateMemtableAndWait()
    keyspace.removeRangeSync({ gte: 'x' })
    await keyspace.rotateMemtableAndWait()
    const tables = keyspace.version().levels.flat(2)
    const held = tables.map(({ firstKey, lastKey, itemCount, rangeTombstoneCount }) => {
      return `${String(firstKey)}-${String(lastKey)}: ${itemCount} ${rangeTombstoneCount}`
    })
    expect(held.toSorted()).toEqual(['a-y: 2 1', 'x-: 0 1'])
    // The one that came last, alone in its table.
    expect(Math.max(...tables.map(({ highestSeqno }) => highestSeqno))).toBe(
      opened.database.seqno - 1,
    )
    before.close()
    between.close()
  })
})

describe('what is hidden', () => {
  const ROWS = 20_000
  const numbered = (i: number): string => `key ${100_000 + i}`

  /** A keyspace whose only table has bytes that no read may look at, from its rows on. */
  async function damaged(): Promise<Opened> {
    const opened = new Opened()
    const keyspace = opened.keyspace()
    const batch = opened.database.batch()
    for (let i = 0; i < ROWS; i++) batch.insert(keyspace, numbered(i), `value ${i}`)
    await batch.commit()
    await keyspace.majorCompaction()
    await opened.database.close()
    const files = readdirSync(opened.path).filter((file) => file.endsWith('.table'))
    expect(files).toHaveLength(1)
    const path = join(opened.path, files[0]!)
    const bytes = readFileSync(path)
    bytes.fill(0xee, Math.floor(bytes.length / 4), Math.floor(bytes.length / 2))
    writeFileSync(path, bytes)
    opened.database = await openDatabase(opened.path)
    return opened
  }

  test('is not read by a scan', async () => {
    const opened = await damaged()
    const keyspace = opened.keyspace()
    expect((await failure(() => keyspace.lenSync())).code).toBe('CORRUPTION')
    const [first, last] = [numbered(100), numbered(ROWS - 100)]
    keyspace.removeRangeSync({ gte: first, lt: last })
    expect(keyspace.lenSync()).toBe(200)
    expect(await keyspace.iter({ reverse: true }).toArray()).toHaveLength(200)
    expect(keyspace.range({ gte: first }).toArraySync()).toHaveLength(100)
    expect(String([...keyspace.range({ gte: first }).keys()][0])).toBe(last)
    expect(keyspace.range({ gte: first, lt: last }).toArraySync()).toEqual([])
    const backward = await keyspace.range({ lt: last, reverse: true }).toArray()
    expect(String(backward[0]?.[0])).toBe(numbered(99))
    keyspace.removeRangeSync({})
    expect(keyspace.isEmptySync()).toBe(true)
    expect(await keyspace.lastKeyValue()).toBe(undefined)
    expect(keyspace.lenSync()).toBe(0)
  })

  test('is dropped without being read, once no snapshot needs it', async () => {
    const opened = await damaged()
    const keyspace = opened.keyspace()
    const { compactor } = opened.database
    const before = opened.database.snapshot()
    await keyspace.clear()
    await keyspace.rotateMemtableAndWait()
    await compactor.drain()
    expect(
      keyspace
        .version()
        .levels.flat(2)
        .map(({ itemCount }) => itemCount),
    ).toContain(ROWS)
    expect(keyspace.getTextSync(numbered(0), { snapshot: before })).toBe('value 0')
    before.close()
    await compactor.drain()
    expect(keyspace.tableCount()).toBe(0)
    expect(opened.database.status).toBe('open')
  })
})

describe('bare trees', () => {
  const seen = (tree: Tree, seqno: number): string =>
    [...tree.iter(seqno).keys()].map(String).join('')

  test('hide what has a smaller seqno from reads above', async () => {
    const path = join(scratchDirectory(), 'tree')
    let tree = await openTree(path)
    for (const [i, key] of ['a', 'b', 'c', 'd'].entries()) tree.insertSync(key, key, i + 1)
    const { itemSize, memtableSize } = tree.removeRangeSync({ gte: 'a', lt: 'd' }, 7)
    expect(itemSize).toBeGreaterThan(2)
    expect(memtableSize).toBeGreaterThanOrEqual(itemSize)
    expect(tree.versionHistory()[0]!.activeMemtable).toMatchObject({
      itemCount: 4,
      highestSeqno: 7,
    })
    tree.insertSync('b', 'again', 9)
    tree.removeRangeSync({ gte: 'd' }, 11)
    // It is for what is written before it as well as behind it.
    tree.insertSync('c', 'late', 8)
    expect(tree.highestSeqno).toBe(11)
    for (const stage of ['memtable', 'flushed', 'compacted', 'reopened']) {
      if (stage === 'flushed') await tree.flush()
      if (stage === 'compacted') await tree.majorCompaction()
      if (stage === 'reopened') {
        await tree.close()
        tree = await openTree(path)
      }
      const states = [1, 2, 5, 7, 8, 9, 10, 11, 12].map((seqno) => seen(tree, seqno))
      expect(states, stage).toEqual(['', 'a', 'abcd', 'abcd', 'd', 'cd', 'bcd', 'bcd', 'bc'])
      expect(tree.getTextSync('a', 7)).toBe('a')
      expect(tree.getTextSync('a', 8)).toBe(undefined)
      expect(tree.getTextSync('d', 12)).toBe(undefined)
    }
    expect(tree.highestPersistedSeqno).toBe(11)
    await tree.close()
  })

  test('a clear is flushed, and drops tables that no read needs', async () => {
    const path = join(scratchDirectory(), 'tree')
    let tree = openTreeSync(path)
    for (let i = 0; i < 100; i++) tree.insertSync(`key ${i}`, 'v', 1 + i)
    tree.flushSync()
    expect(tree.tableCount()).toBe(1)
    await tree.clear(200)
    expect(seen(tree, MAX_SEQNO)).toBe('')
    expect(tree.lenSync(101)).toBe(100)
    tree.closeSync()
    tree = openTreeSync(path)
    expect(seen(tree, MAX_SEQNO)).toBe('')
    expect(tree.lenSync(200)).toBe(100)
    tree.setGcSeqno(201)
    tree.flushSync()
    expect(tree.tableCount()).toBe(0)
    tree.insertSync('a', 'v', 300)
    tree.clearSync(301)
    expect(tree.isEmptySync(MAX_SEQNO)).toBe(true)
    expect(tree.isEmptySync(301)).toBe(false)
    tree.closeSync()
  })

  test('a seqno that was sealed is refused, as for any write', async () => {
    const tree = openTreeSync(join(scratchDirectory(), 'tree'))
    tree.removeRangeSync({}, 9)
    expect(tree.rotateMemtable()).toBe(true)
    expect((await failure(() => tree.removeRangeSync({}, 8))).code).toBe('INVALID_ARGUMENT')
    expect((await failure(() => tree.removeRangeSync({}, MAX_SEQNO))).code).toBe('INVALID_ARGUMENT')
    tree.removeRangeSync({}, 9)
    tree.closeSync()
  })
})

test('many ranges in one memtable: a queue that is trimmed at each step', async () => {
  const opened = new Opened()
  const keyspace = opened.keyspace()
  const numbered = (i: number): string => `job ${100_000 + i}`
  const STEPS = 3000
  for (let i = 0; i < STEPS; i++) {
    keyspace.insertSync(numbered(i), 'x')
    if (i % 3 === 0) keyspace.removeRangeSync({ lt: numbered(i - 2) })
  }
  const check = async (): Promise<void> => {
    const left = [...opened.keyspace().iter().keys()].map(String)
    const first = STEPS - 1 - ((STEPS - 1) % 3) - 2
    expect(left).toEqual(Array.from({ length: STEPS - first }, (_, i) => numbered(first + i)))
    return Promise.resolve()
  }
  await check()
  await atEachStage(opened, check)
})

test('close does not wait for a clear', async () => {
  const opened = new Opened()
  const database: Database = opened.database
  const keyspace = opened.keyspace()
  fill(keyspace)
  const cleared = keyspace.clear()
  await database.close()
  await cleared
  opened.database = await openDatabase(opened.path)
  await expectKeys(opened.keyspace(), [])
})
