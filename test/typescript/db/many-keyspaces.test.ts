// Hundreds of keyspaces: what is done for all of them leaves the event loop its turns, and what
// they have in common is not done for each.

import { beforeEach, expect, test, vi } from 'vitest'
import { breath, run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Database } from '../../../lib/typescript/db/database.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { testSeed } from '../../support/scratch.ts'
import { contentsIn, openSmall, opening, put } from '../support/databases.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { Random } from '../support/random.ts'
import { holdTimers, settle, Turns } from '../support/turns.ts'

const QUIET = { syncInterval: 0, maxOpenFiles: 1000 }
const COUNT = 200

/** Each with something in its memtable. */
function fill(database: Database, round: string): void {
  for (let i = 0; i < COUNT; i++) {
    const keyspace = runSync(database.openKeyspace(`k${i}`, {}))
    put(database, keyspace, `key ${round}`, `value ${i}`)
  }
}

/** A machine on which a millisecond goes by between any two looks at the clock. */
function slowMachine(): MemVfs {
  const machine = new MemVfs()
  let time = 0
  machine.monotonicMillis = () => ++time
  return machine
}

beforeEach(() => {
  vi.restoreAllMocks()
})

test('an async open passes turns from keyspace to keyspace', async () => {
  const machine = slowMachine()
  const before = openSmall(machine, QUIET)
  fill(before, '1')
  runSync(before.close())
  const turns = vi.spyOn(breath, 'async')
  const database = await run(opening(machine, QUIET))
  // A slice is two milliseconds, and each keyspace is looked at several times.
  expect(turns.mock.calls.length).toBeGreaterThan(COUNT)
  expect(Object.keys(contentsIn(database))).toHaveLength(COUNT)
  await run(database.close())
})

test('looks for something to compact pass turns', async () => {
  const database = openSmall(slowMachine(), QUIET)
  await database.maintenance.pause()
  fill(database, '1')
  const turns = vi.spyOn(breath, 'async')
  database.maintenance.resume()
  await database.maintenance.drain()
  expect(turns.mock.calls.length).toBeGreaterThan(COUNT / 3)
  runSync(database.close())
})

// With 105 a flush waits to sync the old generation of the manifest while another one retires it.
test.each([testSeed(), 105])(
  'flushes asked for together go on a few at a time, %i',
  async (seed) => {
    holdTimers()
    const late = new LateVfs(new MemVfs())
    const turns = new Turns(late, new Random(seed))
    const database = openSmall(late, QUIET)
    fill(database, '1')
    await turns.rest()
    const flushed = { all: false }
    const flushing = Promise.all(
      database.keyspaces.all().map(async (keyspace) => run(database.flush(keyspace))),
    ).finally(() => {
      flushed.all = true
    })
    let most = 0
    while (!flushed.all) {
      // oxlint-disable-next-line no-await-in-loop
      await settle()
      most = Math.max(most, late.waiting)
      // oxlint-disable-next-line no-await-in-loop
      await turns.some()
    }
    await flushing
    // Beside them no more than the eviction of journals.
    expect(most).toBeLessThan(12)
    await turns.until(run(database.close()))
  },
)

test('an async close flushes several at once, and they share syncs of the manifest', async () => {
  holdTimers()
  const memory = new MemVfs()
  const faults = new FaultVfs(memory)
  const late = new LateVfs(faults)
  const turns = new Turns(late, new Random(testSeed()))
  const database = openSmall(late, QUIET)
  fill(database, '1')
  await turns.rest()
  const before = faults.count('sync')
  const closed = { now: false }
  const closing = run(database.close()).finally(() => {
    closed.now = true
  })
  let most = 0
  while (!closed.now) {
    // oxlint-disable-next-line no-await-in-loop
    await settle()
    most = Math.max(most, late.waiting)
    // oxlint-disable-next-line no-await-in-loop
    if (late.waiting > 0) await turns.oldest(1)
    // oxlint-disable-next-line no-await-in-loop
    else await turns.some()
  }
  await closing
  expect(most).toBeGreaterThan(4)
  expect(most).toBeLessThan(12)
  // One of each table; those of the manifest are shared.
  expect(faults.count('sync') - before).toBeLessThan(1.5 * COUNT)
  const again = openSmall(memory, QUIET)
  expect(contentsIn(again)['k7']).toEqual({ 'key 1': 'value 7' })
  runSync(again.close())
})
