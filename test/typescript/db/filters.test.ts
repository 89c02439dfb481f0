// Filters that answer with promises, on the one thread that sync callers hold; and who is let go
// while one is waited for.

import { expect, test } from 'vitest'
import type { ApplicationFilterSource, CheckedVerdict, FilterSource } from '../../../lib/engine.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import { CompactionWatch } from '../../../lib/typescript/db/compaction-watch.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { rejection } from '../../support/scratch.ts'
import { get, openSmall, put, rowsIn, SMALL_TREE } from '../support/databases.ts'

/** Removes what is 'old'; its answers wait until they are told to come. */
class Late {
  readonly #open: (() => void)[] = []
  asked = 0
  isOpen = false
  readonly source: ApplicationFilterSource = {
    type: 'application',
    name: 'late',
    keyspace: 'a',
    needsBlobValues: true,
    patience: Infinity,
    judge: async (entries) => {
      this.asked++
      if (!this.isOpen) await new Promise<void>((resolve) => this.#open.push(resolve))
      return entries.map(({ value }): CheckedVerdict => (String(value) === 'old' ? 1 : 0))
    },
  }

  answer(): void {
    this.isOpen = true
    for (const go of this.#open.splice(0)) go()
  }
}

const filterOf = (source: FilterSource) => (): FilterSource => source

test('sync writers leave level 0 to the event loop, and are not refused', async () => {
  const late = new Late()
  const database = openSmall(new MemVfs(), { maxWriteBufferSize: 1 << 20 })
  const keyspace = runSync(database.openKeyspace('a', SMALL_TREE, filterOf(late.source)))
  for (let i = 0; i < 3000; i++) put(database, keyspace, `k${(i * 37) % 500}`, `${i % 7} value`)
  expect(keyspace.tree.level0Runs).toBeGreaterThan(12)
  expect(late.asked).toBeGreaterThan(0)
  expect(database.status).toBe('open')
  put(database, keyspace, 'k1', 'old')
  late.answer()
  runSync(database.flush(keyspace))
  await database.maintenance.drain()
  expect(keyspace.tree.level0Runs).toBeLessThan(3)
  await run(database.maintenance.majorCompaction(keyspace, undefined))
  expect(get(database, keyspace, 'k1')).toBeUndefined()
  expect(Object.keys(rowsIn(database, keyspace))).toHaveLength(499)
  expect(database.status).toBe('open')
  runSync(database.close())
})

test('a caller is let go who waits for a job that waits for its filter', async () => {
  const late = new Late()
  const database = openSmall()
  const keyspace = runSync(database.openKeyspace('a', SMALL_TREE, filterOf(late.source)))
  for (let i = 0; i < 4; i++) {
    put(database, keyspace, 'b', 'old')
    put(database, keyspace, `a${i}`, 'new')
    runSync(database.flush(keyspace))
  }
  await expect.poll(() => late.asked, { timeout: 20_000 }).toBeGreaterThan(0)
  const watch = new CompactionWatch()
  const major = rejection(async () =>
    run(database.maintenance.majorCompaction(keyspace, undefined, watch)),
  )
  watch.stop()
  expect((await major).code).toBe('ABORTED')
  expect(database.maintenance.jobs()).toHaveLength(1)
  late.answer()
  await database.maintenance.drain()
  await run(database.maintenance.majorCompaction(keyspace, undefined))
  expect(Object.keys(rowsIn(database, keyspace))).toEqual(['a0', 'a1', 'a2', 'a3'])
  runSync(database.close())
})

test('a sync compaction takes the tables of one that waits', async () => {
  const late = new Late()
  const database = openSmall()
  const keyspace = runSync(
    database.openKeyspace('a', { ...SMALL_TREE, kvSeparation: undefined }, filterOf(late.source)),
  )
  put(database, keyspace, 'a', 'old')
  runSync(database.flush(keyspace))
  const major = rejection(async () =>
    run(database.maintenance.majorCompaction(keyspace, undefined, new CompactionWatch())),
  )
  await expect.poll(() => late.asked).toBe(1)
  // It cannot wait for the filter either, and says so; the other one begins anew.
  const error = await rejection(async () =>
    runSync(database.maintenance.majorCompaction(keyspace, undefined)),
  )
  expect(error.message).toContain('an async filter needs the async form')
  await expect.poll(() => late.asked).toBe(3)
  runSync(database.close())
  expect((await major).code).toBe('ABORTED')
})

test('the event loop has its turns between the batches', async () => {
  let batches = 0
  const source: ApplicationFilterSource = {
    ...new Late().source,
    judge: (entries) => {
      batches++
      // Longer than a job works in a row.
      for (const end = performance.now() + 3; performance.now() < end;);
      return entries.map((): CheckedVerdict => 0)
    },
  }
  const database = openSmall()
  const given = { ...SMALL_TREE, maxMemtableSize: 1 << 20 }
  const keyspace = runSync(database.openKeyspace('a', given, filterOf(source)))
  for (let i = 0; i < 5000; i++) put(database, keyspace, `k${i}`, 'v')
  await run(database.flush(keyspace))
  let turns = 0
  let hasEnded = false
  const count = (): void => {
    turns++
    if (!hasEnded) setImmediate(count)
  }
  setImmediate(count)
  await run(database.maintenance.majorCompaction(keyspace, undefined))
  hasEnded = true
  expect(batches).toBeGreaterThan(15)
  expect(turns).toBeGreaterThan(batches / 2)
  runSync(database.close())
})
