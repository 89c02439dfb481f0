// Events of a database whose calls fail when they are told to, and of a handler whose loop does not
// turn.

import { beforeEach, describe, expect, test } from 'vitest'
import { EVENTS_MAX } from '../../../lib/engine.ts'
import type { EngineEvent } from '../../../lib/engine.ts'
import { ShaleError } from '../../../lib/errors.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Database } from '../../../lib/typescript/db/database.ts'
import { DatabaseCounters } from '../../../lib/typescript/db/database-counters.ts'
import { EventQueue, Events } from '../../../lib/typescript/db/event-queue.ts'
import type { Keyspace } from '../../../lib/typescript/db/keyspace.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { databaseMetrics } from '../../../lib/typescript/typescript-metrics.ts'
import { failure, rejection, testSeed } from '../../support/scratch.ts'
import { keyspaceOf, openSmall, put, putLater, SMALL_TREE } from '../support/databases.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { Random } from '../support/random.ts'
import { holdTimers, settle, Turns } from '../support/turns.ts'

beforeEach(() => {
  holdTimers()
})

function flushed(tables: number): EngineEvent {
  return { type: 'flush', keyspace: 'k', tables, bytes: 1, ms: 1 }
}
function stalled(active: boolean, reason: 'memory' | 'level0' = 'memory'): EngineEvent {
  return { type: 'stall', reason, active, ms: 0 }
}
const FAILED: EngineEvent = {
  type: 'error',
  error: new ShaleError('IO_ERROR', 'failed'),
  during: 'flush',
}

describe('a queue', () => {
  interface Listening {
    readonly counters: DatabaseCounters
    readonly queue: EventQueue
    readonly batches: (readonly EngineEvent[])[]
    readonly turn: () => Promise<void>
  }

  function listening(): Listening {
    const counters = new DatabaseCounters()
    const batches: (readonly EngineEvent[])[] = []
    const queue = new EventQueue((events) => batches.push(events), counters)
    const turns = new Turns(new LateVfs(new MemVfs()), new Random(testSeed()))
    return { counters, queue, batches, turn: () => turns.rest() }
  }

  test('hands over all events of a turn at once, in order', async () => {
    const { queue, batches, turn } = listening()
    for (let i = 0; i < 3; i++) queue.push(flushed(i))
    await settle()
    expect(batches).toEqual([])
    await turn()
    queue.push(flushed(3))
    await turn()
    expect(batches).toEqual([[flushed(0), flushed(1), flushed(2)], [flushed(3)]])
  })

  test('holds so many, and counts what it drops', async () => {
    const { queue, counters, batches, turn } = listening()
    queue.push(stalled(true))
    for (let i = 1; i < EVENTS_MAX + 10; i++) queue.push(flushed(i))
    expect(counters.eventsDropped).toBe(10)
    queue.push(FAILED)
    queue.push(stalled(true, 'level0'))
    // Nobody was told of its begin.
    queue.push(stalled(false, 'level0'))
    expect(counters.eventsDropped).toBe(13)
    for (const status of ['degraded', 'open', 'degraded'] as const) {
      queue.push({ type: 'status', status })
    }
    queue.push(stalled(false))
    queue.push(stalled(false))
    expect(counters.eventsDropped).toBe(14)
    await turn()
    const [events] = batches
    expect(events).toHaveLength(EVENTS_MAX + 2)
    expect(events!.slice(EVENTS_MAX)).toEqual([
      { type: 'status', status: 'degraded' },
      stalled(false),
    ])
    queue.push(FAILED)
    await turn()
    expect(batches[1]).toEqual([FAILED])
    expect(counters.eventsDropped).toBe(14)
  })

  test('hands over what happened before it was closed, and nothing else', async () => {
    const { queue, batches, turn } = listening()
    queue.push(flushed(1))
    queue.close({ type: 'status', status: 'closed' })
    queue.push(flushed(2))
    await turn()
    expect(batches).toEqual([[flushed(1), { type: 'status', status: 'closed' }]])
  })

  test('that is ended hands over nothing', async () => {
    const { queue, batches, turn } = listening()
    queue.push(flushed(1))
    queue.end()
    queue.push(flushed(2))
    await turn()
    expect(batches).toEqual([])
  })

  test('of a database that nobody listens to is not there', () => {
    const events = new Events()
    const { queue } = listening()
    expect(events.areWanted).toBe(false)
    events.add(queue)
    expect(events.areWanted).toBe(true)
    events.remove(queue)
    expect(events.areWanted).toBe(false)
  })
})

class Machine {
  readonly faults: FaultVfs = new FaultVfs(new MemVfs())
  readonly late: LateVfs = new LateVfs(this.faults)
  readonly turns: Turns = new Turns(this.late, new Random(testSeed()))
  readonly database: Database = openSmall(this.late, { syncInterval: 0 })
  readonly keyspace: Keyspace = keyspaceOf(this.database, 'k', {
    ...SMALL_TREE,
    maxMemtableSize: 1 << 20,
  })
  readonly told: EngineEvent[] = []
  readonly queue: EventQueue = new EventQueue((events) => {
    this.told.push(...events)
  }, this.database.counters)

  constructor() {
    this.database.events.add(this.queue)
  }

  put(key: string, value = 'v'): void {
    put(this.database, this.keyspace, key, value)
  }
}

describe('a database', () => {
  test('tells of each flush that fails, and how it is because of that', async () => {
    const { database, keyspace, faults, turns, told, ...machine } = new Machine()
    put(database, keyspace, 'k', 'v')
    faults.setPlan([{ operation: 'sync', file: 'table', nth: 0, kind: 'EIO', sticky: true }])
    database.rotate(keyspace)
    while (faults.fired < 3) await turns.some()
    faults.setPlan([])
    await turns.rest()
    const errors = told.filter(({ type }) => type === 'error')
    expect(errors.length).toBeGreaterThanOrEqual(2)
    for (const event of errors) {
      expect(event).toMatchObject({ during: 'flush', error: { code: 'IO_ERROR' } })
    }
    const rest = told.filter(({ type }) => type === 'status' || type === 'flush')
    expect(rest).toEqual([
      { type: 'status', status: 'degraded', cause: (errors[0] as { error: ShaleError }).error },
      expect.objectContaining({ type: 'flush', keyspace: 'k', tables: 1 }),
      { type: 'status', status: 'open' },
    ])
    expect(told[0]?.type).toBe('error')
    expect(databaseMetrics(database).flushes).toMatchObject({ active: 0, completed: 1 })
    expect(machine.queue).toBeDefined()
    await turns.until(run(database.close()))
  })

  test('tells of each compaction that fails', async () => {
    const machine = new Machine()
    const { database, keyspace, faults, turns, told } = machine
    for (let i = 0; i < 2; i++) {
      machine.put('k', `${i}`)
      runSync(database.flush(keyspace))
    }
    faults.setPlan([{ operation: 'create', file: 'table', nth: 0, kind: 'ENOSPC' }])
    const major = run(database.maintenance.majorCompaction(keyspace, undefined))
    expect((await rejection(() => turns.until(major))).code).toBe('DISK_FULL')
    await turns.rest()
    const failed = told.filter(({ type }) => type === 'error')
    expect(failed).toHaveLength(1)
    expect(failed[0]).toMatchObject({ during: 'compaction', error: { code: 'DISK_FULL' } })
    expect(told.filter(({ type }) => type === 'status')).toMatchObject([
      { status: 'degraded', cause: { code: 'DISK_FULL' } },
      { status: 'open' },
    ])
    await turns.until(run(database.close()))
  })

  test('one that is stopped is none that failed', async () => {
    const machine = new Machine()
    const { database, keyspace, turns, told } = machine
    await database.maintenance.pause()
    for (let i = 0; i < 2; i++) {
      machine.put('k', `${i}`)
      runSync(database.flush(keyspace))
    }
    const major = rejection(() => run(database.maintenance.majorCompaction(keyspace, undefined)))
    await settle()
    await turns.until(run(database.close()))
    expect((await major).code).toBe('ABORTED')
    await turns.rest()
    expect(told.map(({ type }) => type)).not.toContain('error')
    expect(told.map(({ type }) => type)).not.toContain('status')
  })

  test('a full disk: the first refused write in a row', async () => {
    const machine = new Machine()
    const { database, faults, turns, told } = machine
    for (const refused of [2, 1]) {
      faults.setPlan([
        { operation: 'write', file: 'journal', nth: 0, kind: 'ENOSPC', sticky: true },
      ])
      for (let i = 0; i < refused; i++) {
        // One after the other.
        // oxlint-disable-next-line no-await-in-loop
        expect((await failure(() => machine.put('refused'))).code).toBe('DISK_FULL')
      }
      faults.setPlan([])
      machine.put('taken')
    }
    await turns.rest()
    const degraded = [
      { type: 'error', during: 'journal', error: { code: 'DISK_FULL' } },
      { type: 'status', status: 'degraded', cause: { code: 'DISK_FULL' } },
      { type: 'status', status: 'open' },
    ]
    expect(told).toMatchObject([...degraded, ...degraded])
    const { writes, latency } = databaseMetrics(database)
    expect(writes.inserts).toBe(2)
    expect(latency.insert.count).toBe(2)
    await turns.until(run(database.close()))
  })

  test('a failed sync ends writing', async () => {
    const machine = new Machine()
    const { database, keyspace, faults, turns, told } = machine
    machine.put('k')
    faults.setPlan([{ operation: 'sync', file: 'journal', nth: 0, kind: 'EIO' }])
    const call = (): Promise<void> => putLater(database, keyspace, 'l', 'v', 'sync')
    expect((await rejection(() => turns.until(call()))).code).toBe('SYNC_FAILED')
    expect((await failure(() => machine.put('m'))).code).toBe('DB_FAILED')
    await turns.rest()
    expect(told).toMatchObject([
      { type: 'error', during: 'sync', error: { code: 'SYNC_FAILED' } },
      { type: 'status', status: 'failed', cause: { code: 'SYNC_FAILED' } },
    ])
    expect(databaseMetrics(database).latency.insert.count).toBe(1)
    await turns.until(run(database.close()).catch(() => {}))
  })

  test('delays: whoever is delayed first begins it, and it ends with the pressure', async () => {
    const machine = new Machine()
    const { database, keyspace, turns, told } = machine
    const value = 'v'.repeat(50_000)
    const writes = Array.from({ length: 40 }, (_, i) => {
      return putLater(database, keyspace, `k${i}`, value)
    })
    await turns.until(Promise.all(writes))
    await turns.rest()
    const stalls = told.filter(({ type }) => type === 'stall')
    expect(stalls.length).toBeGreaterThanOrEqual(2)
    stalls.forEach((event, i) => {
      expect(event).toMatchObject({ active: i % 2 === 0 })
      expect(event).toMatchObject(i % 2 === 0 ? { ms: 0 } : { reason: reasonOf(stalls[i - 1]) })
    })
    expect(stalls.length % 2).toBe(0)
    const { stalls: delayed, stallMs } = databaseMetrics(database).writes
    expect(delayed).toBeGreaterThan(0)
    expect(delayed).toBeLessThanOrEqual(40)
    expect(stallMs).toBeGreaterThan(0)
    await turns.until(run(database.close()))
  })

  test('a sync writer is delayed by the work it does', async () => {
    const machine = new Machine()
    const { database, turns, told } = machine
    const value = 'v'.repeat(50_000)
    for (let i = 0; i < 60; i++) machine.put(`k${i}`, value)
    expect(databaseMetrics(database).writes.stalls).toBeGreaterThan(0)
    expect(databaseMetrics(database).latency.insert.count).toBe(60)
    await turns.rest()
    const types = new Set(told.map(({ type }) => type))
    expect(types.has('stall')).toBe(true)
    const stalls = told.filter(({ type }) => type === 'stall')
    expect(stalls.at(-1)).toMatchObject({ active: false })
    await turns.until(run(database.close()))
  })
})

function reasonOf(event: EngineEvent | undefined): string | undefined {
  return event?.type === 'stall' ? event.reason : undefined
}
