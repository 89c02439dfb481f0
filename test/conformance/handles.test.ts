// Two handles on one directory: what one of them has opened or brought ends with it, while the
// other one goes on.

import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { prefixDropFilter } from '../../lib/index.ts'
import type { CompactionFilter, Database, DatabaseOptions, Keyspace } from '../../lib/index.ts'
import { openDatabase } from '../support/engine.ts'
import { filterOf, flushed, HeldFilter, seen } from '../support/filters.ts'
import { PATIENT } from '../support/patient.ts'
import { rejection, scratchDirectory } from '../support/scratch.ts'

interface Handle {
  readonly database: Database
  readonly keyspace: Keyspace
}

/** Handles on one database; each with its options. */
async function handles(...options: readonly DatabaseOptions[]): Promise<Handle[]> {
  const path = join(scratchDirectory(), 'db')
  const opened: Handle[] = []
  for (const given of options) {
    const engine = opened[0]?.database.engine
    const database = await openDatabase(path, { ...given, ...(engine && { engine }) })
    onTestFinished(() => database.close())
    opened.push({ database, keyspace: await database.keyspace('k', { compaction: PATIENT }) })
  }
  return opened
}

const filtered = (filter: CompactionFilter): DatabaseOptions => ({
  compactionFilters: () => filter,
})

test('a filter goes with the handle that brought it: the next one takes its place', async () => {
  const asked: string[] = []
  const telling = filterOf(({ key }) => {
    asked.push(String(key))
    return 'remove'
  })
  const [one, two, three] = (await handles(
    filtered(telling),
    filtered(prefixDropFilter(['b'])),
    {},
  )) as [Handle, Handle, Handle]
  await flushed(two.keyspace, { a: '1', b: '1', c: '1' })
  await one.database.close()
  await two.keyspace.majorCompaction()
  expect(seen(two.keyspace)).toBe('a=1 c=1')
  await two.database.close()
  await flushed(three.keyspace, { b: '2' })
  await three.keyspace.majorCompaction()
  expect(seen(three.keyspace)).toBe('a=1 b=2 c=1')
  expect(asked).toEqual([])
})

test('a compaction that waits for a filter of a closed handle removes nothing', async () => {
  const held = new HeldFilter(() => 'remove')
  const [one, two] = (await handles(filtered(held), {})) as [Handle, Handle]
  await flushed(two.keyspace, { a: '1', b: '1' })
  const asked = held.asked()
  const compacted = two.keyspace.majorCompaction()
  await asked
  await one.database.close()
  // Whoever asked for it may be told, or gets another one.
  const [outcome] = await Promise.allSettled([compacted])
  if (outcome?.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'ABORTED' })
  expect(seen(two.keyspace)).toBe('a=1 b=1')
  await two.keyspace.majorCompaction()
  expect(seen(two.keyspace)).toBe('a=1 b=1')
  await expect.poll(() => two.database.status, { timeout: 20_000 }).toBe('open')
})

test('snapshots and iterations end with their handle, and pin nothing any more', async () => {
  const [one, two] = (await handles({}, {})) as [Handle, Handle]
  for (let i = 0; i < 50; i++) two.keyspace.insertSync(`key ${i}`, 'old')
  await two.keyspace.rotateMemtableAndWait()
  const snapshots = [one.database.snapshot(), one.database.snapshot()]
  const iteration = one.keyspace.iter()[Symbol.iterator]()
  iteration.next()
  const cursor = one.keyspace.iter().cursor()
  expect(await cursor.next()).toBeDefined()
  expect(two.database.metrics()).toMatchObject({
    snapshots: { open: 2 },
    iterators: { open: 2 },
  })
  await one.database.close()
  expect(two.database.metrics().snapshots).toMatchObject({ open: 0, oldestSeqno: undefined })
  expect((await rejection(() => cursor.next())).code).toBe('DB_CLOSED')
  for (const snapshot of snapshots) {
    expect(snapshot.closed).toBe(true)
    snapshot.close()
  }
  // Old versions are kept for nobody.
  for (let i = 0; i < 50; i++) two.keyspace.insertSync(`key ${i}`, 'new')
  await two.keyspace.rotateMemtableAndWait()
  await two.keyspace.majorCompaction()
  expect(two.keyspace.approximateLen()).toBe(50)
  expect(two.database.metrics().snapshots.open).toBe(0)
})

test('of two snapshots of one moment one is closed', async () => {
  const [one] = (await handles({})) as [Handle]
  one.keyspace.insertSync('key', 'old')
  const [first, second] = [one.database.snapshot(), one.database.snapshot()]
  first.close()
  first.close()
  one.keyspace.insertSync('key', 'new')
  await one.keyspace.rotateMemtableAndWait()
  expect(one.keyspace.getTextSync('key', { snapshot: second })).toBe('old')
  expect(one.database.metrics().snapshots.open).toBe(1)
})

test('compactions that ask no filter go on when another handle closes', async () => {
  const options = { compactionRateLimit: 10_000 }
  const [one, two] = (await handles(options, options)) as [Handle, Handle]
  await flushed(two.keyspace, { a: '1'.repeat(10_000) })
  await flushed(two.keyspace, { a: '2'.repeat(10_000) })
  const tables = two.keyspace
    .version()
    .levels.flat(2)
    .map(({ id }) => id)
  // It owes a second.
  const plan = { kind: 'merge', tables, destinationLevel: 6, targetSize: 2 ** 20 } as const
  const compacted = two.keyspace.compact(plan)
  await expect.poll(() => two.database.compactor.jobs().length).toBe(1)
  await one.database.close()
  await compacted
  expect(two.keyspace.tableCount()).toBe(1)
})
