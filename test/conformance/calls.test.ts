// Calls that others overtake, that are large, or whose callbacks throw.

import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { openDatabase } from '../support/engine.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

afterEach(() => {
  vi.useRealTimers()
})

test.each(['close', 'closeSync'] as const)(
  'keyspace() overtaken by %s(): the truth',
  async (end) => {
    const path = join(scratchDirectory(), 'db')
    for (let i = 0; i < 5; i++) {
      const db = await openDatabase(path)
      const opening = db.keyspace(`k${i}`).catch((error: unknown) => error)
      await db[end]()
      const opened = (await opening) as {
        code?: string
        name: string
        getSync(key: string): unknown
      }
      const again = await openDatabase(path)
      expect(again.keyspaceExists(`k${i}`)).toBe(opened.code !== 'DB_CLOSED')
      await again.close()
      if (opened.code === 'DB_CLOSED') continue
      expect(opened.name).toBe(`k${i}`)
      expect((await failure(() => opened.getSync('key'))).code).toBe('DB_CLOSED')
    }
  },
)

test('what needs no value copies none', async () => {
  const size = 32 * 2 ** 20
  const db = await openDatabase(join(scratchDirectory(), 'db'), { cacheSize: 32 * size })
  const keyspace = await db.keyspace('k')
  const value = Buffer.alloc(size, 'v')
  keyspace.insertSync('key', value)
  // The second most of several times: what the collector gives back meanwhile hides what was
  // copied, and once somebody else may take memory.
  const copied = (read: () => unknown): number => {
    const held: unknown[] = []
    const times = Array.from({ length: 6 }, () => {
      const before = process.memoryUsage().external
      held.push(read())
      return process.memoryUsage().external - before
    })
    expect(held).not.toContain(undefined)
    return times.toSorted((a, b) => b - a)[1]!
  }
  // Bun tells of memory some time later.
  if ('bun' in process.versions) return
  expect(copied(() => keyspace.getSync('key'))).toBeGreaterThan(size / 2)
  expect(keyspace.sizeOfSync('key')).toBe(value.length)
  for (const flushed of [false, true]) {
    if (flushed) await keyspace.rotateMemtableAndWait()
    // The block that holds it comes into the cache.
    expect(keyspace.containsKeySync('key')).toBe(true)
    expect(copied(() => keyspace.containsKeySync('key'))).toBeLessThan(size / 2)
    expect(copied(() => keyspace.sizeOfSync('key'))).toBeLessThan(size / 2)
    expect(copied(() => keyspace.isEmptySync())).toBeLessThan(size / 2)
    expect(copied(() => [...keyspace.iter({ limit: 1 }).keys()])).toBeLessThan(size / 2)
  }
  expect(await keyspace.isEmpty()).toBe(false)
  await db.close()
})

test('an onProgress that throws is told once, and ends the compaction', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'))
  const keyspace = await db.keyspace('k')
  keyspace.insertSync('key', 'value')
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const thrown = new Error('from the callback')
  const onProgress = vi.fn(() => {
    throw thrown
  })
  const compacting = keyspace.majorCompaction({ onProgress })
  vi.advanceTimersByTime(1000)
  await expect(compacting).rejects.toBe(thrown)
  expect(onProgress).toHaveBeenCalledTimes(1)
  await db.close()
})

test('a read-only database takes no options that it cannot store', async () => {
  const path = join(scratchDirectory(), 'db')
  const first = await openDatabase(path)
  await first.keyspace('k', { dataBlockSize: 8192 })
  await first.close()
  const db = await openDatabase(path, { readOnly: true })
  const other = () => db.keyspace('k', { dataBlockSize: 16_384 })
  const error = await rejection(other)
  expect(error).toMatchObject({ code: 'READ_ONLY', keyspace: 'k' })
  const keyspace = await db.keyspace('k', { dataBlockSize: 8192 })
  expect(keyspace.options.dataBlockSize).toEqual([8192])
  await db.close()
})
