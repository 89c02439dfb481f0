// Flushes and compactions behind everybody's back, and how they end.

import { beforeEach, describe, expect, test, vi } from 'vitest'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Database } from '../../../lib/typescript/db/database.ts'
import type { Keyspace } from '../../../lib/typescript/db/keyspace.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure, rejection, testSeed } from '../../support/scratch.ts'
import { contentsIn, keyspaceOf, openSmall, put } from '../support/databases.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { Random } from '../support/random.ts'
import { holdTimers, settle, Turns } from '../support/turns.ts'

class Machine {
  readonly memory: MemVfs = new MemVfs()
  readonly faults: FaultVfs = new FaultVfs(this.memory)
  readonly late: LateVfs = new LateVfs(this.faults)
  readonly turns: Turns = new Turns(this.late, new Random(testSeed()))
  readonly database: Database = openSmall(this.late)
  readonly keyspace: Keyspace = keyspaceOf(this.database)

  /** Tables in level 0, each with the same keys. */
  fill(tables: number, valueSize = 50): void {
    for (let table = 0; table < tables; table++) {
      const value = `${table}`.repeat(valueSize)
      for (let i = 0; i < 20; i++) put(this.database, this.keyspace, `k${i}`, value)
      runSync(this.database.flush(this.keyspace))
    }
  }

  get tables(): string[] {
    return this.memory
      .list('/db')
      .sync()
      .filter((name) => name.endsWith('.table'))
  }
}

beforeEach(() => {
  holdTimers()
})

describe('close', () => {
  test('ends major compactions, also one that waits for another to end', async () => {
    const machine = new Machine()
    const { database, keyspace, turns } = machine
    database.maintenance.pause().catch(() => {})
    // Many more steps to go than closing takes before it stops them.
    machine.fill(3, 5000)
    const before = machine.tables
    const major = (): Promise<void> =>
      run(database.maintenance.majorCompaction(keyspace, undefined))
    const first = rejection(major)
    const second = rejection(major)
    await settle()
    expect(database.maintenance.jobs()).toHaveLength(1)
    await turns.until(run(database.close()))
    for (const { code, message } of [await first, await second]) {
      expect([code, message]).toEqual(['ABORTED', 'the compaction was stopped'])
    }
    expect(machine.late.waiting).toBe(0)
    // Nothing is left of what they wrote.
    expect(machine.tables).toEqual(before)
    expect(machine.memory.openFiles).toBe(0)
  })
})

describe('a failing flush', () => {
  test('is tried again until it succeeds, and leaves nothing behind', async () => {
    const machine = new Machine()
    const { database, keyspace, faults, turns } = machine
    faults.setPlan([{ operation: 'sync', file: 'table', nth: 0, kind: 'EIO', sticky: true }])
    put(database, keyspace, 'k', 'v')
    database.rotate(keyspace)
    while (database.status === 'open') await turns.some()
    expect(database.status).toBe('degraded')
    expect(database.figures().outstandingFlushes).toBe(1)
    await turns.some()
    faults.setPlan([])
    await turns.rest()
    expect(database.status).toBe('open')
    expect(database.figures().outstandingFlushes).toBe(0)
    expect(machine.tables).toHaveLength(1)
    expect(contentsIn(database)).toEqual({ a: { k: 'v' } })
    await turns.until(run(database.close()))
  })
})

describe('a failing compaction', () => {
  test('keeps its inputs, and drain says why there is something left', async () => {
    const machine = new Machine()
    const { database, faults, turns } = machine
    faults.setPlan([{ operation: 'create', file: 'table', nth: 4, kind: 'EIO', sticky: true }])
    machine.fill(4)
    const drained = rejection(() => database.maintenance.drain())
    while (database.status === 'open') await turns.some()
    expect((await drained).code).toBe('IO_ERROR')
    expect(machine.tables.length).toBeGreaterThanOrEqual(4)
    expect(contentsIn(database)['a']!['k7']).toBe('3'.repeat(50))
    faults.setPlan([])
    await turns.rest()
    expect(database.status).toBe('open')
    await turns.until(database.maintenance.drain())
    await turns.rest()
    expect(machine.tables.length).toBeLessThan(4)
    expect(contentsIn(database)['a']!['k7']).toBe('3'.repeat(50))
    await turns.until(run(database.close()))
    expect(machine.memory.openFiles).toBe(0)
  })

  test('is tried again after a pause, not at once', async () => {
    const machine = new Machine()
    const { database, faults, late, turns } = machine
    faults.setPlan([{ operation: 'create', file: 'table', nth: 4, kind: 'EIO', sticky: true }])
    machine.fill(4)
    const manyTurns = async (): Promise<void> => {
      for (let left = 300; left > 0; left--) {
        late.step(0)
        // Some 30 ms in all: a pause is longer.
        vi.advanceTimersByTime(left % 10 === 0 ? 1 : 0)
        await settle()
      }
    }
    await manyTurns()
    expect(database.status).toBe('degraded')
    expect(faults.fired).toBe(1)
    vi.advanceTimersByTime(60)
    await manyTurns()
    expect(faults.fired).toBe(2)
    await turns.until(run(database.close()))
  })

  // The manifest takes no edit any more, and a plan that only moves tables needs nothing else.
  test('that fails at once is not tried for ever', async () => {
    const machine = new Machine()
    const { database, keyspace, faults, turns } = machine
    const { maintenance } = database
    await maintenance.pause()
    for (const key of ['a', 'b', 'c']) {
      put(database, keyspace, key, 'v')
      runSync(database.flush(keyspace))
    }
    expect(keyspace.tree.choosePlan()?.kind).toBe('move')
    faults.setPlan([{ operation: 'sync', file: 'manifest', nth: 0, kind: 'EIO' }])
    const given = { maxMemtableSize: 1 << 20 }
    expect((await failure(() => runSync(database.openKeyspace('a', given)))).code).toBe(
      'SYNC_FAILED',
    )
    expect(database.status).toBe('failed')
    let claims = 0
    const claim = keyspace.tree.claim.bind(keyspace.tree)
    keyspace.tree.claim = (plan) => {
      if (++claims === 10) maintenance.pause().catch(() => {})
      return claim(plan)
    }
    maintenance.resume()
    await turns.rest()
    expect(claims).toBe(1)
    await turns.until(run(database.close()).catch(() => {}))
  })
})
