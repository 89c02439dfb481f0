// What slows writers down, and what must not.

import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { LeveledCompaction, SizeTieredCompaction } from '../../lib/index.ts'
import type { CompactionStrategy, Database } from '../../lib/index.ts'
import { openDatabase } from '../support/engine.ts'
import { scratchDirectory } from '../support/scratch.ts'

async function open(compaction: CompactionStrategy): Promise<Database> {
  const database = await openDatabase(join(scratchDirectory(), 'db'))
  onTestFinished(() => database.close())
  await database.keyspace('k', { compaction, compression: 'none' })
  return database
}

// Each run is a tier below the one before it: the strategy has nothing to do, however many.
test('runs that the strategy leaves where they are stop no writer', async () => {
  const strategy = new SizeTieredCompaction({ baseSize: 4096, ratio: 1.1, minRuns: 2 })
  const database = await open(strategy)
  const keyspace = database.keyspaceSync('k')
  const runs = 22
  for (let i = 0, size = 2 ** 18; i < runs; i++, size = Math.floor((size * 5) / 6)) {
    keyspace.insertSync('key', Buffer.alloc(size))
    // oxlint-disable-next-line no-await-in-loop
    await keyspace.rotateMemtableAndWait()
  }
  await database.compactor.drain()
  expect(keyspace.l0TableCount()).toBe(runs)
  await keyspace.insert('key', 'asynchronously')
  keyspace.insertSync('key', 'at once')
  expect(keyspace.getTextSync('key')).toBe('at once')
})

test('a strategy that was changed is asked at once', async () => {
  const database = await open(new LeveledCompaction({ l0Threshold: 1000 }))
  const keyspace = database.keyspaceSync('k')
  for (let i = 0; i < 6; i++) {
    keyspace.insertSync('key', `value ${i}`)
    // oxlint-disable-next-line no-await-in-loop
    await keyspace.rotateMemtableAndWait()
  }
  await database.compactor.drain()
  expect(keyspace.l0TableCount()).toBeGreaterThan(4)
  await database.keyspace('k', { compaction: new LeveledCompaction({ l0Threshold: 2 }) })
  await database.compactor.drain()
  expect(keyspace.l0TableCount()).toBeLessThan(2)
})
