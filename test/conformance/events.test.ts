// What listeners are told, when, and what they cannot do to others.

import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import type {
  CompactionPlan,
  Database,
  DatabaseEventName,
  DatabaseOptions,
  Keyspace,
} from '../../lib/index.ts'
import { openDatabase } from '../support/engine.ts'
import { nextEngine } from '../support/next-engine.ts'
import { PATIENT } from '../support/patient.ts'
import { expectScenario } from '../support/scenario.ts'
import { failure, scratchDirectory } from '../support/scratch.ts'

const NAMES = ['flush', 'compaction', 'stall', 'status', 'error'] as const

interface Told {
  readonly event: DatabaseEventName
  readonly payload: Readonly<Record<string, unknown>>
}

interface Opened {
  readonly path: string
  readonly db: Database
  readonly keyspace: Keyspace
  /** All events so far. */
  readonly told: Told[]
}

function listenTo(db: Database): Told[] {
  const told: Told[] = []
  for (const event of NAMES) {
    db.on(event, (payload: object) => {
      expect(Object.isFrozen(payload)).toBe(true)
      told.push({ event, payload: { ...payload } })
    })
  }
  return told
}

async function open(options: DatabaseOptions = {}): Promise<Opened> {
  const path = join(scratchDirectory(), 'db')
  const db = await openDatabase(path, options)
  onTestFinished(() => db.close())
  const keyspace = await db.keyspace('k', { compaction: PATIENT })
  return { path, db, keyspace, told: listenTo(db) }
}

async function until(isTrue: () => boolean): Promise<void> {
  await expect.poll(isTrue, { timeout: 30_000, interval: 5 }).toBe(true)
}

/** Time for events that must not come. */
async function someTurns(): Promise<void> {
  for (let i = 0; i < 5; i++) await setTimeout(2)
}

const MS = expect.any(Number) as number

describe('events', () => {
  test('flush and compaction, with what was done, in order', async () => {
    const { db, keyspace, told } = await open()
    for (const key of 'abc') keyspace.insertSync(key, '1')
    await keyspace.rotateMemtableAndWait()
    const [first] = keyspace.version().levels.flat(2)
    for (const key of 'bcd') keyspace.insertSync(key, '2')
    await keyspace.rotateMemtableAndWait()
    const [second] = keyspace.version().levels.flat(2)
    await keyspace.majorCompaction({ targetSize: 1 << 20 })
    const [merged] = keyspace.version().levels.flat(2)
    const move: CompactionPlan = { kind: 'move', tables: [merged!.id], destinationLevel: 3 }
    await keyspace.compact(move)
    await keyspace.dropRange({})
    await until(() => told.length === 5)
    const flushed = { keyspace: 'k', tables: 1, ms: MS }
    const none = { keyspace: 'k', bytesRead: 0, bytesWritten: 0, ms: MS }
    expect(told).toEqual([
      { event: 'flush', payload: { ...flushed, bytes: first!.size } },
      { event: 'flush', payload: { ...flushed, bytes: second!.size } },
      {
        event: 'compaction',
        payload: {
          keyspace: 'k',
          plan: {
            kind: 'merge',
            tables: expect.arrayContaining([first!.id, second!.id]) as number[],
            destinationLevel: 6,
            targetSize: 1 << 20,
          },
          bytesRead: first!.size + second!.size,
          bytesWritten: merged!.size,
          ms: MS,
        },
      },
      { event: 'compaction', payload: { ...none, plan: move } },
      { event: 'compaction', payload: { ...none, plan: { kind: 'drop', tables: [merged!.id] } } },
    ])
    for (const { payload } of told) {
      expect(payload['ms']).toBeGreaterThanOrEqual(0)
    }
    const plan = told[2]!.payload['plan'] as CompactionPlan
    expect(Object.isFrozen(plan)).toBe(true)
    expect(Object.isFrozen(plan.tables)).toBe(true)
    expect(db.metrics().flushes.completed).toBe(2)
    expect(db.metrics().compactions.completed).toBe(3)
  })

  test('never inside of a call', async () => {
    const { db, keyspace } = await open()
    let isInside = true
    let calls = 0
    db.on('flush', () => {
      expect(isInside).toBe(false)
      calls++
    })
    for (let i = 0; i < 3; i++) {
      isInside = true
      keyspace.insertSync('k', 'v')
      keyspace.rotateMemtableAndWaitSync()
      expect(calls).toBe(i)
      isInside = false
      // One after the other.
      // oxlint-disable-next-line no-await-in-loop
      await until(() => calls === i + 1)
    }
  })

  test('only of what happened since somebody listens', async () => {
    const { db, keyspace } = await open()
    const path = join(scratchDirectory(), 'other')
    const quiet = await openDatabase(path)
    onTestFinished(() => quiet.close())
    const other = await quiet.keyspace('k', { compaction: PATIENT })
    other.insertSync('k', 'v')
    await other.rotateMemtableAndWait()
    await setImmediate()
    const told: number[] = []
    quiet.on('flush', ({ tables }) => told.push(tables))
    keyspace.insertSync('k', 'v')
    await keyspace.rotateMemtableAndWait()
    await someTurns()
    expect(told).toEqual([])
    expect(db.metrics().events.dropped).toBe(0)
    other.insertSync('k', 'v')
    await other.rotateMemtableAndWait()
    await until(() => told.length === 1)
  })

  test('on and off', async () => {
    const { db, keyspace } = await open()
    let [once, both] = [0, 0]
    const listener = (): void => void once++
    const shared = (): void => void both++
    expect(db.on('flush', listener)).toBe(db)
    db.on('flush', listener).on('flush', shared).on('compaction', shared)
    const flush = async (): Promise<void> => {
      keyspace.insertSync('k', 'v')
      await keyspace.rotateMemtableAndWait()
    }
    await flush()
    await until(() => both === 1)
    expect(once).toBe(1)
    expect(db.off('flush', listener)).toBe(db)
    db.off('flush', listener).off('error', listener)
    await flush()
    await until(() => both === 2)
    expect(once).toBe(1)
    db.off('flush', shared)
    await flush()
    await keyspace.majorCompaction()
    await until(() => both === 3)
    db.off('compaction', shared)
    await keyspace.dropRange({})
    await someTurns()
    expect([once, both]).toEqual([1, 3])
  })

  test('a listener may take others away, and itself', async () => {
    const { db, keyspace } = await open()
    const told: string[] = []
    const last = (): void => void told.push('last')
    const first = (): void => {
      told.push('first')
      db.off('flush', first).off('flush', last)
    }
    db.on('flush', first).on('flush', last)
    keyspace.insertSync('k', 'v')
    await keyspace.rotateMemtableAndWait()
    await until(() => told.length > 0)
    keyspace.insertSync('k', 'v')
    await keyspace.rotateMemtableAndWait()
    await someTurns()
    expect(told).toEqual(['first'])
  })

  test('bad input', async () => {
    const { db } = await open()
    const nothing = (): void => {}
    const wrong: [unknown, unknown][] = [
      ['flushed', nothing],
      ['', nothing],
      ['__proto__', nothing],
      ['constructor', nothing],
      [undefined, nothing],
      [Symbol('flush'), nothing],
      ['flush', undefined],
      ['flush', null],
      ['flush', {}],
      ['flush', 'flush'],
    ]
    for (const [event, listener] of wrong) {
      for (const method of ['on', 'off'] as const) {
        const call = (): unknown => db[method](event as never, listener as never)
        expect((await failure(call)).code, `${method} ${String(event)}`).toBe('INVALID_ARGUMENT')
      }
    }
    const on = db.on as (event: string, listener: () => void) => unknown
    expect((await failure(() => on.call({} as never, 'flush', nothing))).code).toBe(
      'INVALID_ARGUMENT',
    )
    await db.close()
    expect((await failure(() => db.on('flush', nothing))).code).toBe('DB_CLOSED')
    db.off('flush', nothing)
  })
})

describe('close', () => {
  test.each(['async', 'sync'] as const)('is the end of all events, %s', async (form) => {
    const { db, keyspace, told } = await open()
    keyspace.insertSync('k', 'v')
    if (form === 'async') await db.close()
    else db.closeSync()
    await until(() => told.some(({ payload }) => payload['status'] === 'closed'))
    await someTurns()
    expect(told).toEqual([
      { event: 'status', payload: { status: 'closing' } },
      { event: 'flush', payload: { keyspace: 'k', tables: 1, bytes: MS, ms: MS } },
      { event: 'status', payload: { status: 'closed' } },
    ])
  })

  test('of one of two handles is told to that one', async () => {
    const { db, keyspace, path, told } = await open()
    const second = await openDatabase(path, { engine: db.engine })
    const ofSecond = listenTo(second)
    await second.close()
    await until(() => ofSecond.length === 2)
    expect(ofSecond.map(({ payload }) => payload['status'])).toEqual(['closing', 'closed'])
    keyspace.insertSync('k', 'v')
    await keyspace.rotateMemtableAndWait()
    await until(() => told.length === 1)
    expect(told[0]!.event).toBe('flush')
    await someTurns()
    expect(ofSecond.length).toBe(2)
  })
})

describe('states', () => {
  // What a full or broken disk does, a folder that is away for a while does as well.
  test('degraded by a failing flush, and healed', async () => {
    const { db, keyspace, path, told } = await open()
    keyspace.insertSync('k', 'v')
    renameSync(path, `${path} away`)
    keyspace.rotateMemtable()
    await until(() => db.status === 'degraded')
    await until(() => told.some(({ event }) => event === 'status'))
    renameSync(`${path} away`, path)
    await until(() => db.status === 'open')
    await until(() => told.at(-1)?.payload['status'] === 'open')
    const [first, second] = told
    expect(first).toMatchObject({ event: 'error', payload: { during: 'flush' } })
    const { error } = first!.payload as { error: { code: string } }
    expect(error.code).toBe('IO_ERROR')
    expect(second).toEqual({ event: 'status', payload: { status: 'degraded', cause: error } })
    // It may have been tried again before the folder was back.
    const rest = told.slice(2).filter(({ event }) => event !== 'error')
    expect(rest.map(({ event }) => event).toSorted()).toEqual(['flush', 'status'])
    expect(told.at(-1)).toEqual({ event: 'status', payload: { status: 'open' } })
    expect(db.metrics().flushes.completed).toBe(1)
    expect(keyspace.tableCount()).toBe(1)
  })

  test('writers are delayed, and no longer', async () => {
    const { db, told } = await open({ maxWriteBufferSize: 1 << 20, syncInterval: 0 })
    const keyspace = await db.keyspace('many', { maxMemtableSize: 1 << 28 })
    const value = Buffer.alloc(4096, 'v')
    const writes = Array.from({ length: 2000 }, (_, i) => keyspace.insert(`key ${i}`, value))
    await Promise.all(writes)
    const stalls = (): Told['payload'][] =>
      told.filter(({ event }) => event === 'stall').map(({ payload }) => payload)
    await until(() => stalls().length > 0 && stalls().at(-1)!['active'] === false)
    let active: unknown
    for (const stall of stalls()) {
      expect(['memory', 'level0']).toContain(stall['reason'])
      if (stall['active'] === true) {
        expect(active).toBeUndefined()
        expect(stall['ms']).toBe(0)
        active = stall['reason']
      } else {
        expect(stall['reason']).toBe(active)
        expect(stall['ms']).toBeGreaterThanOrEqual(0)
        active = undefined
      }
    }
    const { writes: counted, latency } = db.metrics()
    expect(counted.inserts).toBe(2000)
    expect(counted.stalls).toBeGreaterThan(0)
    expect(counted.stalls).toBeLessThanOrEqual(2000)
    expect(counted.stallMs).toBeGreaterThan(0)
    expect(latency.insert.count).toBe(2000)
    // The longest wait is no shorter than the average of those that waited.
    expect(latency.insert.max / 1000).toBeGreaterThan((0.5 * counted.stallMs) / counted.stalls)
  })
})

describe('in a process of its own', () => {
  const script = new URL('events-child.mjs', import.meta.url)

  test.each([
    ['a listener that throws is an uncaught exception, and harms nobody', 'throwing'],
    ['listeners keep no process alive', 'idle'],
    ['what is dropped is collected, whatever its listeners hold', 'dropped'],
  ])('%s', async (_, name) => {
    const directory = scratchDirectory()
    const engines = [nextEngine(join(directory, 'db'))]
    await expectScenario({ script, name, engines, directory, flags: ['--expose-gc'] })
  })

  test('threads that share a core are each told', async () => {
    const directory = scratchDirectory()
    const engine = nextEngine(join(directory, 'db'))
    if (engine !== 'native') return // no other thread can open it
    await expectScenario({ script, name: 'threads', engines: [engine], directory })
  })
})
