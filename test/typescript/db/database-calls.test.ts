// Calls of a database that meet: keyspaces that are created, and closes with everything in flight.

import { beforeEach, describe, expect, test } from 'vitest'
import { ShaleError } from '../../../lib/errors.ts'
import { Io, run, runSync } from '../../../lib/typescript/base/flow.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { keepEverything, keepNothing, MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { OpenMode } from '../../../lib/typescript/vfs/vfs.ts'
import { failure, rejection, testSeed } from '../../support/scratch.ts'
import { contentsIn, keyspaceOf, openSmall, put, putLater } from '../support/databases.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { Random } from '../support/random.ts'
import { holdTimers, settle, Turns } from '../support/turns.ts'

beforeEach(() => {
  holdTimers()
})

describe('the creation of a keyspace', () => {
  test('is helped on by a sync caller, wherever the async one stands', async () => {
    for (let steps = 0; steps < 8; steps++) {
      const machine = new MemVfs()
      const late = new LateVfs(machine)
      const turns = new Turns(late, new Random(testSeed()))
      const database = openSmall(late)
      const creation = run(database.openKeyspace('a', {}))
      await settle()
      await turns.oldest(steps)
      const keyspace = keyspaceOf(database, 'a', {})
      put(database, keyspace, 'k', 'v', 'sync')
      expect(contentsIn(openSmall(machine.crash(keepNothing)))).toEqual({ a: { k: 'v' } })
      expect(await turns.until(creation)).toBe(keyspace)
      await turns.until(run(database.close()))
    }
  })

  test('that the manifest refuses is taken back, and may be tried again', async () => {
    const machine = new MemVfs()
    const faults = new FaultVfs(machine)
    const late = new LateVfs(faults)
    const turns = new Turns(late, new Random(testSeed()))
    const database = openSmall(late)
    faults.setPlan([{ operation: 'write', file: 'manifest', nth: 0, kind: 'ENOSPC' }])
    const call = async (): Promise<unknown> => run(database.openKeyspace('a', {}))
    const refused = [rejection(call), rejection(call)]
    await turns.rest()
    for (const error of refused) expect((await error).code).toBe('DISK_FULL')
    expect(database.keyspaces.names()).toEqual([])
    expect(contentsIn(openSmall(machine.crash(keepEverything)))).toEqual({})
    expect(contentsIn(openSmall(machine.crash(keepNothing)))).toEqual({})
    const keyspace = keyspaceOf(database)
    put(database, keyspace, 'k', 'v', 'sync')
    for (const policy of [keepEverything, keepNothing]) {
      expect(contentsIn(openSmall(machine.crash(policy)))).toEqual({ a: { k: 'v' } })
    }
    await turns.until(run(database.close()))
  })

  test('that cannot even be taken back ends writing', async () => {
    const faults = new FaultVfs(new MemVfs())
    const database = openSmall(faults)
    const keyspace = keyspaceOf(database)
    faults.setPlan([
      { operation: 'write', file: 'manifest', nth: 0, kind: 'ENOSPC' },
      { operation: 'write', file: 'journal', nth: 1, kind: 'ENOSPC', sticky: true },
    ])
    expect((await failure(() => keyspaceOf(database, 'b'))).code).toBe('DISK_FULL')
    expect(database.status).toBe('failed')
    expect((await failure(() => put(database, keyspace, 'k', 'v'))).code).toBe('DB_FAILED')
    faults.setPlan([])
    await failure(() => runSync(database.close()))
    const again = openSmall(faults)
    put(again, keyspaceOf(again, 'b'), 'k', 'v')
    runSync(again.close())
  })
})

describe('close', () => {
  /** Everything that can be in flight. */
  function inFlight(late: LateVfs) {
    const database = openSmall(late, { maxWriteBufferSize: 32 * 1024 })
    const [a, b] = ['a', 'b'].map((name) => keyspaceOf(database, name))
    for (let table = 0; table < 3; table++) {
      for (let i = 0; i < 10; i++) put(database, a!, `k${i}`, `${table}`)
      runSync(database.flush(a!))
    }
    const acknowledged: string[] = []
    const write = async (key: string, bytes: number, durability: 'os' | 'sync'): Promise<void> => {
      await putLater(database, b!, key, 'v'.repeat(bytes), durability)
      acknowledged.push(key)
    }
    const calls: Promise<unknown>[] = [
      write('synced', 10, 'sync'),
      write('behind', 10, 'os'),
      run(database.openKeyspace('c', {})),
      run(database.persist('sync')),
      run(database.maintenance.majorCompaction(a!, undefined)),
      run(database.flush(b!)),
      run(database.openKeyspace('a', { maxMemtableSize: 4000 })),
      ...Array.from({ length: 30 }, (_, i) => write(`parked ${i}`, 2000, 'os')),
      database.maintenance.drain(),
      database.maintenance.pause(),
    ]
    return { database, calls, acknowledged }
  }

  for (const form of ['async', 'sync'] as const) {
    test(`${form}: settles every promise, and the directory opens clean`, async () => {
      for (let steps = 0; steps < 60; steps += 3) {
        const machine = new MemVfs()
        const late = new LateVfs(machine)
        const turns = new Turns(late, new Random(testSeed() + steps))
        const { database, calls, acknowledged } = inFlight(late)
        const answers = Promise.allSettled(calls)
        await settle()
        await turns.oldest(steps)
        if (form === 'sync') runSync(database.close())
        else await turns.until(run(database.close()))
        expect(database.status).toBe('closed')
        // What it left behind goes on beside the next one.
        const again = openSmall(machine)
        expect(again.recovery.bytesDropped).toBe(0)
        await turns.rest()
        for (const answer of await answers) {
          if (answer.status === 'fulfilled') continue
          const error = answer.reason as ShaleError
          expect(error).toBeInstanceOf(ShaleError)
          expect(['DB_CLOSED', 'ABORTED'], error.stack).toContain(error.code)
        }
        const contents = contentsIn(again)
        expect(Object.keys(contents['b']!)).toEqual(expect.arrayContaining(acknowledged))
        expect(Object.values(contents['a']!)).toEqual(Array.from({ length: 10 }, () => '2'))
        put(again, keyspaceOf(again, 'b'), 'k', 'v', 'sync')
        for (const keyspace of again.keyspaces.all()) runSync(again.flush(keyspace))
        runSync(again.close())
        expect(machine.openFiles).toBe(0)
        const last = openSmall(machine.crash(keepNothing))
        expect(contentsIn(last)['b']!['k']).toBe('v')
      }
    })
  }
})

test('a flush of what no journal has fails instead of syncing for ever', async () => {
  const database = openSmall()
  const keyspace = keyspaceOf(database)
  const bytes = Buffer.from('k')
  keyspace.tree.insert(0, 99, bytes, 0, 1, bytes, 0, 1)
  const { code, message } = await failure(() => runSync(database.flush(keyspace)))
  expect([code, message]).toEqual(['CORRUPTION', 'a memtable holds a commit that is in no journal'])
})

test('a read that ends early makes no directory look like one without a database', async () => {
  const machine = new MemVfs()
  const database = openSmall(machine)
  put(database, keyspaceOf(database), 'k', 'v', 'sync')
  const left = machine.killed()
  // Nothing but zeros, and fewer of them than the file has bytes.
  const open = left.open.bind(left)
  left.open = (path: string, mode: OpenMode) =>
    Io.now(() => {
      const file = open(path, mode).sync()
      if (!path.endsWith('.manifest')) return file
      file.read = (_, target) => Io.now(() => (target.fill(0), target.length >> 1))
      return file
    })
  expect((await failure(() => openSmall(left))).code).toBe('CORRUPTION')
  left.open = open
  expect(contentsIn(openSmall(left))).toEqual({ a: { k: 'v' } })
})
