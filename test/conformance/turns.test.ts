// What goes on from promise to promise leaves the event loop its turns.

import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import type { Cursor, Database, Keyspace } from '../../lib/index.ts'
import { openDatabase } from '../support/engine.ts'
import { scratchDirectory } from '../support/scratch.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

/** How often the event loop came round while `work` was done. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0
  let done = false
  const count = (): void => {
    turns++
    if (!done) setImmediate(count)
  }
  setImmediate(count)
  try {
    await work()
  } finally {
    done = true
  }
  return turns
}

/** Whether the event loop has its turn before `work` is done: microtasks alone do not end it. */
async function takesTurns(work: Promise<unknown>): Promise<boolean> {
  let ended = false
  const end = work.then(() => {
    ended = true
  })
  for (let i = 0; i < 1000; i++) await Promise.resolve()
  const early = ended
  await end
  return !early
}

/** A keyspace of 30,000 rows, all in memory. */
async function openFilled(): Promise<{ db: Database; keyspace: Keyspace }> {
  const db = await openDatabase(join(scratchDirectory(), 'db'))
  const keyspace = await db.keyspace('k')
  const batch = db.batch()
  for (let i = 0; i < 30_000; i++) batch.insert(keyspace, `key${i}`, 'value'.repeat(10))
  batch.commitSync()
  return { db, keyspace }
}

test('scans that memory answers', async () => {
  const { db, keyspace } = await openFilled()
  // A clock by which every look costs a millisecond.
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now++)
  expect(await turnsDuring(() => keyspace.len())).toBeGreaterThan(0)
  expect(await turnsDuring(() => keyspace.iter().toArray())).toBeGreaterThan(10)
  const iterate = async (): Promise<void> => {
    let rows = 0
    for await (const key of keyspace.iter({ reverse: true }).keys()) rows += Math.min(1, key.length)
    expect(rows).toBe(30_000)
  }
  expect(await turnsDuring(iterate)).toBeGreaterThan(5)
  await db.close()
})

const single: Readonly<Record<string, (keyspace: Keyspace, i: number) => Promise<unknown>>> = {
  get: (keyspace, i) => keyspace.get(`key${i}`),
  'get of nothing': (keyspace) => keyspace.get('absent'),
  getText: (keyspace, i) => keyspace.getText(`key${i}`),
  containsKey: (keyspace, i) => keyspace.containsKey(`key${i}`),
  sizeOf: (keyspace, i) => keyspace.sizeOf(`key${i}`),
  insert: (keyspace, i) => keyspace.insert(`key${i}`, 'new'),
  remove: (keyspace, i) => keyspace.remove(`key${i}`),
}

test.each(Object.keys(single))('one call after the other that memory answers: %s', async (name) => {
  const { db, keyspace } = await openFilled()
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now++)
  const one = async (): Promise<void> => {
    for (let i = 0; i < 1000; i++) await single[name]!(keyspace, i)
  }
  expect(await turnsDuring(one)).toBeGreaterThan(10)
  await db.close()
})

test.each(['next', 'nextBack'] as const)('cursors that memory answers: %s', async (next) => {
  const { db, keyspace } = await openFilled()
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now++)
  let rows = 0
  const walk = async (): Promise<void> => {
    const cursor = keyspace.iter().cursor()
    while (await cursor[next]()) rows++
  }
  expect(await turnsDuring(walk)).toBeGreaterThan(10)
  expect(rows).toBe(30_000)

  // What is called while it waits for its turn.
  const waiting = async (): Promise<[Cursor, Promise<unknown>]> => {
    const cursor = keyspace.iter().cursor()
    await cursor[next]()
    for (;;) {
      const step = cursor[next]()
      let ended = false
      void step.finally(() => (ended = true)).catch(() => undefined)
      for (let i = 0; i < 10; i++) await Promise.resolve()
      if (!ended) return [cursor, step]
    }
  }
  const [busy, step] = await waiting()
  expect(() => busy.nextSync()).toThrow(expect.objectContaining({ code: 'ITERATOR_BUSY' }))
  expect(await step).toHaveLength(2)
  const [left, last] = await waiting()
  left.close()
  await expect(last).rejects.toMatchObject({ code: 'ITERATOR_CLOSED' })
  const [, late] = await waiting()
  const closed = db.close()
  await expect(late).rejects.toMatchObject({ code: 'DB_CLOSED' })
  await closed
})

test.each([['a turn'], ['the disk']])('calls that overlap while one waits for %s', async (what) => {
  const db = await openDatabase(join(scratchDirectory(), 'db'), { cacheSize: 0 })
  const keyspace = await db.keyspace('k')
  for (let i = 0; i < 2000; i++) keyspace.insertSync(`key${i}`, 'value'.repeat(10))
  if (what === 'the disk') await keyspace.rotateMemtableAndWait()
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now++)
  const rows = keyspace.iter()[Symbol.asyncIterator]()
  await rows.next()
  const several = Array.from({ length: 2000 }, () => rows.next())
  const ended = rows.return?.()
  expect((await Promise.all(several)).filter((row) => row.done !== true)).toHaveLength(1999)
  expect(await ended).toEqual({ done: true, value: undefined })
  await db.close()
})

test('many tombstones in memory are not passed over in one go', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'))
  const keyspace = await db.keyspace('k')
  const batch = db.batch()
  for (let i = 0; i < 100_000; i++) batch.remove(keyspace, `key${i}`)
  batch.insert(keyspace, 'l', 'v')
  batch.commitSync()
  for (const reverse of [false, true]) {
    if (reverse) keyspace.insertSync('k', 'v')
    const read = (): Promise<unknown> =>
      reverse ? keyspace.iter({ reverse, limit: 2 }).toArray() : keyspace.firstKeyValue()
    expect(await takesTurns(read())).toBe(true)
    const [key] = (reverse ? keyspace.lastKeyValueSync() : keyspace.firstKeyValueSync()) ?? []
    expect(key?.toString()).toBe('l')
  }
  expect(await keyspace.iter().keys()[Symbol.asyncIterator]().next()).toMatchObject({ done: false })
  expect((await keyspace.iter().toArray()).map(([key]) => key.toString())).toEqual(['k', 'l'])
  await db.close()
})

test.each([['memory'], ['the disk']])('many keys at once, from %s', async (from) => {
  const db = await openDatabase(join(scratchDirectory(), 'db'))
  const keyspace = await db.keyspace('k')
  const names = Array.from({ length: 20_000 }, (_, i) => `key${i}`)
  const batch = db.batch()
  for (const name of names) batch.insert(keyspace, name, name)
  batch.commitSync()
  if (from === 'the disk') await keyspace.rotateMemtableAndWait()
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now++)
  const keys = names.map((name) => Buffer.from(name))
  let values: (Buffer | undefined)[] = []
  const turns = await turnsDuring(async () => {
    const reading = keyspace.getMany(keys)
    // All of them are of the moment of the call, in bytes and in values.
    for (const key of keys) key.fill(0)
    batch.clear()
    for (const name of names) batch.remove(keyspace, name)
    batch.commitSync()
    values = await reading
  })
  expect(turns).toBeGreaterThan(10)
  expect(values.map(String)).toEqual(names)
  expect(await keyspace.get('key7')).toBe(undefined)
  const closed = keyspace.getMany(names).catch((error: unknown) => error)
  await db.close()
  expect(await closed).toMatchObject({ code: 'DB_CLOSED' })
})
