// Backpressure: who waits, who does the work itself, and that nobody is passed by.

import { beforeEach, describe, expect, test } from 'vitest'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Database } from '../../../lib/typescript/db/database.ts'
import type { Keyspace } from '../../../lib/typescript/db/keyspace.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure, rejection, testSeed } from '../../support/scratch.ts'
import {
  contentsIn,
  entryOf,
  get,
  keyspaceOf,
  openSmall,
  put,
  putLater,
} from '../support/databases.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { Random } from '../support/random.ts'
import { holdTimers, settle, Turns } from '../support/turns.ts'

const BUFFER = 64 * 1024
/** Bytes of commits that go together. */
const TOGETHER = 300 * 1024
const VALUE = 'v'.repeat(2000)

/** A database under pressure: its background has no turn unless the test gives it one. */
class Pressed {
  readonly faults: FaultVfs = new FaultVfs(new MemVfs())
  readonly late: LateVfs = new LateVfs(this.faults)
  readonly turns: Turns = new Turns(this.late, new Random(testSeed()))
  readonly database: Database = openSmall(this.late, { maxWriteBufferSize: BUFFER })
  readonly keyspace: Keyspace = keyspaceOf(this.database, 'a', { maxMemtableSize: 1 << 20 })
  /** Keys of writes that were answered, in that order. */
  readonly done: string[] = []
  readonly calls: Promise<void>[] = []

  call(key: string, value: string = VALUE): void {
    const write = async (): Promise<void> => {
      await putLater(this.database, this.keyspace, key, value)
      this.done.push(key)
    }
    const call = write()
    call.catch(() => {})
    this.calls.push(call)
  }

  /** Async writes until so many wait. */
  async fill(waiting: number): Promise<void> {
    while (this.calls.length < this.done.length + waiting) {
      this.call(`k${this.calls.length}`)
      await settle()
    }
    expect(this.memory).toBeGreaterThan(BUFFER / 2)
  }

  get memory(): number {
    return this.database.figures().writeBufferSize
  }

  get keys(): string[] {
    return this.calls.map((_, i) => `k${i}`)
  }
}

beforeEach(() => {
  holdTimers()
})

describe('async writes', () => {
  test('wait while memory is full, and go on in their order once it is flushed', async () => {
    const pressed = new Pressed()
    await pressed.fill(400)
    expect(pressed.memory).toBeLessThan(BUFFER + 4000)
    while (pressed.done.length < pressed.calls.length) {
      await pressed.turns.some()
      // What is let in together is not counted one by one.
      expect(pressed.memory).toBeLessThan(BUFFER + TOGETHER)
    }
    expect(pressed.done).toEqual(pressed.keys)
    expect(contentsIn(pressed.database)).toEqual({
      a: Object.fromEntries(pressed.keys.map((key) => [key, VALUE])),
    })
    await pressed.turns.until(run(pressed.database.close()))
  })

  test('that wait are refused by close, and nothing else is lost', async () => {
    const pressed = new Pressed()
    await pressed.fill(3)
    const accepted = pressed.done.length
    const answers = Promise.allSettled(pressed.calls)
    runSync(pressed.database.close())
    const refusals = (await answers).filter(({ status }) => status === 'rejected')
    expect(refusals.map((refusal) => (refusal as PromiseRejectedResult).reason.code)).toEqual(
      Array.from({ length: 3 }, () => 'DB_CLOSED'),
    )
    await pressed.turns.rest()
    const again = openSmall(pressed.faults)
    expect(Object.keys(contentsIn(again)['a']!)).toHaveLength(accepted)
    runSync(again.close())
  })

  test('go on after one batch over many keyspaces filled the write buffer', async () => {
    const { database, turns } = new Pressed()
    // None of the memtables is full by its own limit.
    const keyspaces = Array.from({ length: 16 }, (_, i) =>
      keyspaceOf(database, `many ${i}`, { maxMemtableSize: 1 << 20 }),
    )
    const batch = Buffer.concat(
      keyspaces.map((keyspace) => entryOf(keyspace, 'k', 'v'.repeat(BUFFER / 12))),
    )
    await database.write(batch, 'os')
    expect(database.figures().writeBufferSize).toBeGreaterThan(BUFFER)
    const next = putLater(database, keyspaces[0]!, 'next', VALUE)
    await turns.until(next)
    await turns.rest()
    expect(database.figures().writeBufferSize).toBeLessThan(BUFFER * 0.6)
    await turns.until(run(database.close()))
  })
})

describe('sync writes', () => {
  test('go behind those that wait', async () => {
    const pressed = new Pressed()
    await pressed.fill(1)
    for (const value of ['1', '2', '3']) pressed.call('same', value)
    put(pressed.database, pressed.keyspace, 'same', 'last')
    expect(get(pressed.database, pressed.keyspace, 'same')).toBe('last')
    await settle()
    expect(pressed.done.slice(-3)).toEqual(['same', 'same', 'same'])
    await pressed.turns.rest()
    expect(get(pressed.database, pressed.keyspace, 'same')).toBe('last')
    runSync(pressed.database.close())
  })

  test('do what makes room themselves', () => {
    const { database, keyspace } = new Pressed()
    const rows: Record<string, string> = {}
    for (let i = 0; i < 300; i++) {
      put(database, keyspace, `k${i}`, (rows[`k${i}`] = VALUE))
      expect(database.figures().writeBufferSize).toBeLessThan(BUFFER + 4000)
    }
    expect(contentsIn(database)).toEqual({ a: rows })
    runSync(database.close())
  })
})

describe('a full disk', () => {
  test('refuses all writes once memory is full, and they go on when there is room', async () => {
    const pressed = new Pressed()
    const { database, keyspace, faults, turns } = pressed
    faults.setPlan([{ operation: 'write', file: 'table', nth: 0, kind: 'ENOSPC', sticky: true }])
    await pressed.fill(5)
    const answers = Promise.allSettled(pressed.calls)
    // The flush fails: what waits is told why.
    for (let left = 100; left > 0; left--) await turns.some()
    const refusals = (await answers).filter(({ status }) => status === 'rejected')
    expect(refusals.map((refusal) => (refusal as PromiseRejectedResult).reason.code)).toEqual(
      refusals.map(() => 'DISK_FULL'),
    )
    expect(refusals.length).toBeGreaterThan(0)
    expect(database.status).toBe('degraded')
    expect((await failure(() => put(database, keyspace, 'x', VALUE))).code).toBe('DISK_FULL')
    const late = rejection(() => putLater(database, keyspace, 'x', VALUE))
    expect((await late).code).toBe('DISK_FULL')
    expect(get(database, keyspace, 'k0')).toBe(VALUE)
    faults.setPlan([])
    await turns.rest()
    expect(database.status).toBe('open')
    put(database, keyspace, 'x', VALUE)
    await turns.until(putLater(database, keyspace, 'y', VALUE))
    await turns.until(run(database.close()))
    const again = openSmall(faults)
    expect(Object.keys(contentsIn(again)['a']!).toSorted()).toEqual(
      [...pressed.done, 'x', 'y'].toSorted(),
    )
    runSync(again.close())
  })
})
