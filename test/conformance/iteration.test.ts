// Iterations: what ends them, and what their rows share.

import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Database, EntryRange, IterOptions } from '../../lib/index.ts'
import { openDatabaseSync, openTreeSync } from '../support/engine.ts'
import { scratchDirectory } from '../support/scratch.ts'

const ROWS = 1000

/** A keyspace of ROWS entries: many in each batch, and more than one batch. */
function filled(): { database: Database; range: (options?: IterOptions) => EntryRange } {
  const database = openDatabaseSync(join(scratchDirectory(), 'db'), { cacheSize: 0 })
  onTestFinished(() => database.closeSync())
  const keyspace = database.keyspaceSync('k')
  const batch = database.batch()
  for (let i = 0; i < ROWS; i++) batch.insert(keyspace, `key${10_000 + i}`, `value${i}`)
  batch.commitSync()
  return { database, range: (options) => keyspace.iter(options) }
}

/** The sides of a range: each has iterators of its own. */
const SIDES = [
  ['pairs', (range: EntryRange) => range],
  ['keys', (range: EntryRange) => range.keys()],
  ['values', (range: EntryRange) => range.values()],
  ['entries', (range: EntryRange) => range.entries()],
] as const

describe.each(SIDES)('%s', (_, side) => {
  test('end with close, whatever was fetched before', async () => {
    const { database, range } = filled()
    const sync = side(range())[Symbol.iterator]()
    const async = side(range())[Symbol.asyncIterator]()
    const ended = side(range({ limit: 1 }))[Symbol.iterator]()
    for (let i = 0; i < 3; i++) {
      sync.next()
      await async.next()
      ended.next()
    }
    const closed = database.close()
    expect(() => sync.next()).toThrow(expect.objectContaining({ code: 'DB_CLOSED' }))
    await expect(async.next()).rejects.toMatchObject({ code: 'DB_CLOSED' })
    expect(ended.next()).toEqual({ done: true, value: undefined })
    // As with any iterator, nothing comes after an error.
    expect(sync.next()).toEqual({ done: true, value: undefined })
    expect(await async.next()).toEqual({ done: true, value: undefined })
    await closed
  })

  test('end with their signal, at the next step', async () => {
    const { range } = filled()
    const forSync = new AbortController()
    const rows: unknown[] = []
    expect(() => {
      for (const row of side(range({ signal: forSync.signal }))) {
        if (rows.push(row) === 3) forSync.abort('enough')
      }
    }).toThrow(expect.objectContaining({ code: 'ABORTED', cause: 'enough' }))
    expect(rows).toHaveLength(3)

    const forAsync = new AbortController()
    rows.length = 0
    const iterate = async (): Promise<void> => {
      for await (const row of side(range({ signal: forAsync.signal }))) {
        if (rows.push(row) === 3) forAsync.abort()
      }
    }
    await expect(iterate()).rejects.toMatchObject({ code: 'ABORTED' })
    expect(rows).toHaveLength(3)
  })
})

test('the iterators of a closed tree are ended', async () => {
  const tree = openTreeSync(join(scratchDirectory(), 'tree'))
  for (let i = 0; i < ROWS; i++) tree.insertSync(`key${i}`, 'value', i)
  const sync = tree.iter(ROWS)[Symbol.iterator]()
  const async = tree.iter(ROWS)[Symbol.asyncIterator]()
  sync.next()
  await async.next()
  tree.closeSync()
  expect(() => sync.next()).toThrow(expect.objectContaining({ code: 'DB_CLOSED' }))
  await expect(async.next()).rejects.toMatchObject({ code: 'DB_CLOSED' })
})

test('a visitor that fires the signal is not called again', () => {
  const { range } = filled()
  for (const visitor of ['forEachSync', 'forEachRawSync'] as const) {
    const controller = new AbortController()
    let rows = 0
    expect(() =>
      range({ signal: controller.signal })[visitor](() => {
        if (++rows === 3) controller.abort()
      }),
    ).toThrow(expect.objectContaining({ code: 'ABORTED' }))
    expect(rows).toBe(3)
  }
})

test('a signal that fires while the disk is waited for', async () => {
  const { database, range } = filled()
  await database.keyspaceSync('k').rotateMemtableAndWait()
  for (const next of [
    (given: EntryRange) => given[Symbol.asyncIterator]().next(),
    (given: EntryRange) => given.cursor().next(),
  ]) {
    const controller = new AbortController()
    const row = next(range({ signal: controller.signal }))
    controller.abort()
    await expect(row).rejects.toMatchObject({ code: 'ABORTED' })
  }
})

describe('the memory that rows share cannot be transferred away', () => {
  function giveAway({ buffer }: Buffer): void {
    try {
      structuredClone(buffer, { transfer: [buffer as ArrayBuffer] })
    } catch (error) {
      // Runtimes refuse, each in its words, where Node.js 20 copies.
      expect(error).toMatchObject({ name: expect.stringMatching(/^(DataCloneError|TypeError)$/) })
    }
  }

  test('from the disk', async () => {
    const { database, range } = filled()
    await database.keyspaceSync('k').rotateMemtableAndWait()
    const values: Buffer[] = []
    for await (const [, value] of range()) {
      giveAway(value)
      values.push(value)
    }
    expect(values.map(String)).toEqual(Array.from({ length: ROWS }, (_, i) => `value${i}`))
  })

  test('in large batches', () => {
    const { range } = filled()
    const values: Buffer[] = []
    for (const [, value] of range({ batchSize: 256 * 1024 })) {
      giveAway(value)
      values.push(value)
    }
    expect(values.map(String)).toEqual(Array.from({ length: ROWS }, (_, i) => `value${i}`))
  })
})
