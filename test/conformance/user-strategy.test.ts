// Strategies of the application: stored by name, given again with the keyspace, asked in the
// background, and what becomes of bad answers.

import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { describe, expect, onTestFinished, test } from 'vitest'
import { LeveledCompaction } from '../../lib/index.ts'
import type {
  CompactionPlan,
  CompactionStrategy,
  Database,
  DatabaseEvents,
  Keyspace,
  ShaleError,
  StrategyContext,
  Version,
} from '../../lib/index.ts'
import { openDatabase, openTree } from '../support/engine.ts'
import { collectGarbage } from '../support/collect.ts'
import { failure, scratchDirectory } from '../support/scratch.ts'

const MIB = 2 ** 20

/** Merges all runs of level 0 into level 1 once there are so many. */
class Pairs implements CompactionStrategy {
  readonly name: string
  readonly seen: { readonly version: Version; readonly context: StrategyContext }[] = []

  constructor(name = 'pairs') {
    this.name = name
  }

  choose(version: Version, context: StrategyContext): CompactionPlan | undefined {
    this.seen.push({ version, context })
    const [top, below] = version.levels
    if (top!.length < 2) return undefined
    const tables = [...top!, ...below!].flat().map(({ id }) => id)
    return { kind: 'merge', tables, destinationLevel: 1, targetSize: MIB }
  }
}

/** Answers whatever it is told to. */
function answering(name: string, answer: (version: Version) => unknown): CompactionStrategy {
  return { name, choose: (version) => answer(version) as CompactionPlan | undefined }
}

interface Opened {
  readonly path: string
  readonly db: Database
  readonly errors: DatabaseEvents['error'][]
  readonly states: DatabaseEvents['status'][]
}

async function open(path = join(scratchDirectory(), 'db')): Promise<Opened> {
  const db = await openDatabase(path)
  onTestFinished(() => db.close())
  const errors: DatabaseEvents['error'][] = []
  const states: DatabaseEvents['status'][] = []
  db.on('error', (event) => errors.push(event)).on('status', (event) => states.push(event))
  return { path, db, errors, states }
}

async function run(keyspace: Keyspace, ...keys: string[]): Promise<void> {
  for (const key of keys) keyspace.insertSync(key, `the value of ${key}`)
  await keyspace.rotateMemtableAndWait()
}

function runsOf(keyspace: Pick<Keyspace, 'version'>): number[] {
  return keyspace.version().levels.map((runs) => runs.length)
}

/** A keyspace with a strategy of which nothing is left but its name. */
async function forget(path: string, name: string): Promise<void> {
  const db = await openDatabase(path)
  await db.keyspace('k', { compaction: new Pairs(name) })
  await db.close()
}

async function until(isTrue: () => boolean): Promise<void> {
  await expect.poll(isTrue, { timeout: 30_000, interval: 5 }).toBe(true)
}

describe('in the background', () => {
  test('its plans are carried out, and it is asked until it wants nothing', async () => {
    const { db, errors } = await open()
    const strategy = new Pairs()
    const keyspace = await db.keyspace('k', { compaction: strategy })
    await run(keyspace, 'a', 'c')
    await db.compactor.drain()
    expect(runsOf(keyspace).slice(0, 2)).toEqual([1, 0])
    await run(keyspace, 'b', 'c')
    await db.compactor.drain()
    expect(runsOf(keyspace).slice(0, 2)).toEqual([0, 1])
    expect(Array.from(keyspace.iter().keys(), String)).toEqual(['a', 'b', 'c'])
    expect(errors).toEqual([])
    expect(db.status).toBe('open')
    const { version, context } = strategy.seen.at(-1)!
    expect(version.levels[1]![0]!.map(({ itemCount }) => itemCount)).toEqual([3])
    expect([...context.busyTables]).toEqual([])
    expect(Math.abs(context.now - Date.now())).toBeLessThan(60_000)
    expect(context.seenBelow).toBeGreaterThan(0)
    expect(Object.isFrozen(context)).toBe(true)
  })

  test('also in a bare tree', async () => {
    const compaction = new Pairs()
    const path = join(scratchDirectory(), 'tree')
    const tree = await openTree(path, { compaction, backgroundCompaction: true })
    onTestFinished(() => tree.close())
    for (const seqno of [1, 2]) {
      tree.insertSync('k', 'v', seqno)
      tree.rotateMemtable()
      // oxlint-disable-next-line no-await-in-loop
      await tree.flush()
    }
    await tree.compactor.drain()
    expect(runsOf(tree).slice(0, 2)).toEqual([0, 1])
  })

  test('sync writers alone get it as well', async () => {
    const { db } = await open()
    const keyspace = db.keyspaceSync('k', { compaction: new Pairs(), maxMemtableSize: MIB })
    const value = 'v'.repeat(1000)
    for (let i = 0; i < 5000; i++) keyspace.insertSync(`key ${i % 1000}`, value)
    keyspace.rotateMemtableAndWaitSync()
    await db.compactor.drain()
    // How many flushes there were is for the engine to say: one run may be left alone.
    const [top, below] = runsOf(keyspace)
    expect(top).toBeLessThan(2)
    expect(below).toBe(1)
    expect(keyspace.lenSync()).toBe(1000)
  })

  test('paused, it is not asked', async () => {
    const { db } = await open()
    const strategy = new Pairs()
    const keyspace = await db.keyspace('k', { compaction: strategy })
    await db.compactor.pause()
    const { length } = strategy.seen
    await run(keyspace, 'a')
    await run(keyspace, 'b')
    await setTimeout(50)
    expect(strategy.seen.length).toBe(length)
    db.compactor.resume()
    await db.compactor.drain()
    expect(runsOf(keyspace).slice(0, 2)).toEqual([0, 1])
  })

  test('may call the database, and close it', async () => {
    const { db, path } = await open()
    let calls = 0
    const opened: { keyspace?: Keyspace } = {}
    const compaction = answering('busy', () => {
      const { keyspace } = opened
      if (keyspace === undefined || calls++ > 0) return undefined
      keyspace.insertSync('from choose', 'v')
      expect(keyspace.getSync('a')?.toString()).toBe('the value of a')
      db.closeSync()
      return undefined
    })
    const keyspace = await db.keyspace('k', { compaction })
    opened.keyspace = keyspace
    keyspace.insertSync('a', 'the value of a')
    keyspace.rotateMemtable()
    await until(() => db.status === 'closed')
    const again = await openDatabase(path)
    onTestFinished(() => again.close())
    const stored = await again.keyspace('k')
    expect(Array.from(stored.iter().keys(), String)).toEqual(['a', 'from choose'])
  })
})

describe('stored by name', () => {
  test('until it is given again nothing is compacted, and the status says so', async () => {
    const { db, path } = await open()
    await run(await db.keyspace('k', { compaction: new Pairs('mine') }), 'a')
    await db.close()
    const { db: again, states } = await open(path)
    expect(again.status).toBe('degraded')
    const keyspace = await again.keyspace('k')
    expect(keyspace.options.compaction.name).toBe('mine')
    await run(keyspace, 'b')
    await run(keyspace, 'c')
    await again.compactor.drain()
    expect(runsOf(keyspace)[0]).toBe(3)
    expect(again.status).toBe('degraded')

    const strategy = new Pairs('mine')
    await again.keyspace('k', { compaction: strategy })
    await again.compactor.drain()
    expect(runsOf(keyspace).slice(0, 2)).toEqual([0, 1])
    expect(again.status).toBe('open')
    expect(keyspace.options.compaction).toBe(strategy)
    await until(() => states.some(({ status }) => status === 'open'))
  })

  test('what stands for one that nobody gave can be passed on, and decides nothing', async () => {
    const path = join(scratchDirectory(), 'db')
    await forget(path, 'forgotten')
    const { db: again } = await open(path)
    const keyspace = await again.keyspace('k')
    let { compaction } = keyspace.options
    for (let i = 0; i < 20 && compaction instanceof Pairs; i++) {
      compaction = new LeveledCompaction()
      // oxlint-disable-next-line no-await-in-loop
      await collectGarbage()
      compaction = keyspace.options.compaction
    }
    expect(compaction).not.toBeInstanceOf(Pairs)
    expect(compaction.name).toBe('forgotten')
    const other = await again.keyspace('l', { compaction })
    expect(other.options.compaction.name).toBe('forgotten')
    await again.keyspace('k', { compaction: new Pairs('forgotten') })
    expect(again.status).toBe('degraded')
    await again.keyspace('l', { compaction: new Pairs('forgotten') })
    expect(again.status).toBe('open')
  })

  test('another strategy takes its place, of either kind', async () => {
    const { db, path, states } = await open()
    await db.keyspace('k', { compaction: new Pairs('first') })
    await db.keyspace('k', { compaction: new Pairs('second') })
    const keyspace = await db.keyspace('k')
    expect(keyspace.options.compaction.name).toBe('second')
    await run(keyspace, 'a')
    await db.keyspace('k', { compaction: new LeveledCompaction({ l0Threshold: 2 }) })
    await run(keyspace, 'b')
    await db.compactor.drain()
    expect(runsOf(keyspace)[0]).toBe(0)
    expect(states).toEqual([])
    await db.close()
    const { db: again } = await open(path)
    expect(again.status).toBe('open')
  })

  test('one given under another name does not stand for it', async () => {
    const { db, path } = await open()
    await db.keyspace('k', { compaction: new Pairs('mine') })
    await db.close()
    const { db: again } = await open(path)
    await again.keyspace('l', { compaction: new Pairs('yours') })
    expect(again.status).toBe('degraded')
    await again.keyspace('k', { compaction: new Pairs('yours') })
    expect(again.status).toBe('open')
  })

  test('the options of a keyspace can be given to another', async () => {
    const { db } = await open()
    const strategy = new Pairs()
    const first = await db.keyspace('a', { compaction: strategy })
    const second = await db.keyspace('b', { compaction: first.options.compaction })
    await run(second, 'a')
    await run(second, 'b')
    await db.compactor.drain()
    expect(runsOf(second).slice(0, 2)).toEqual([0, 1])
  })

  test('readers need none', async () => {
    const { db, path } = await open()
    await run(await db.keyspace('k', { compaction: new Pairs('mine') }), 'a')
    await db.close()
    const reader = await openDatabase(path, { readOnly: true })
    onTestFinished(() => reader.close())
    expect(reader.status).toBe('open')
    const keyspace = await reader.keyspace('k', { compaction: new Pairs('mine') })
    expect(keyspace.getSync('a')?.toString()).toBe('the value of a')
  })
})

test.each(['close', 'terminate'])(
  'native: it goes with the thread that gave it, by %s',
  async (end) => {
    const { db, path } = await open()
    if (db.engine !== 'native') return
    const script = new URL('strategy-thread.mjs', import.meta.url)
    const worker = new Worker(script, { workerData: { path, name: 'of a thread' } })
    onTestFinished(() => void worker.terminate())
    expect(await once(worker, 'message')).toEqual(['given'])
    const keyspace = await db.keyspace('k')
    expect(db.status).toBe('open')
    await run(keyspace, 'a')
    await run(keyspace, 'b')
    await db.compactor.drain()
    expect(runsOf(keyspace).slice(0, 2)).toEqual([0, 1])

    if (end === 'terminate') {
      await worker.terminate()
    } else {
      worker.postMessage('close')
      expect(await once(worker, 'message')).toEqual(['closed'])
    }
    // Deno ends the thread later than it says.
    await expect.poll(() => db.status, { timeout: 10_000 }).toBe('degraded')
    await run(keyspace, 'c')
    await run(keyspace, 'd')
    await db.compactor.drain()
    expect(runsOf(keyspace).slice(0, 2)).toEqual([2, 1])
    await db.keyspace('k', { compaction: new Pairs('of a thread') })
    await db.compactor.drain()
    expect(runsOf(keyspace).slice(0, 2)).toEqual([0, 1])
    expect(db.status).toBe('open')
  },
)

describe('a bad answer', () => {
  const broken = new Error('broken')
  const merge = { kind: 'merge', tables: [1_000_000], destinationLevel: 1, targetSize: MIB }
  test.each<[string, (version: Version) => unknown, RegExp]>([
    [
      'a throw',
      () => {
        throw broken
      },
      /'bad' failed/,
    ],
    ['a promise', async () => Promise.reject(broken), /answered with a promise/],
    ['a string', () => 'merge', /answered with a string/],
    ['null', () => null, /answered with/],
    ['an unknown kind', () => ({ ...merge, kind: 'split' }), /answered with an invalid plan/],
    ['a table that is gone', () => merge, /cannot be carried out/],
    [
      'more than a second',
      () => {
        const end = performance.now() + 1050
        while (performance.now() < end);
        return undefined
      },
      /took \d+ ms/,
    ],
  ])('%s', async (_, answer, message) => {
    const { db, errors } = await open()
    let isGood = false
    const good = new Pairs('bad')
    const keyspace = await db.keyspace('k', {
      compaction: {
        name: 'bad',
        choose: (version, context): CompactionPlan | undefined =>
          isGood ? good.choose(version, context) : (answer(version) as undefined),
      },
    })
    await run(keyspace, 'a')
    await until(() => errors.length > 0)
    const { error, during } = errors[0]!
    expect(during).toBe('strategy')
    expect([error.code, error.message]).toEqual(['ABORTED', expect.stringMatching(message)])
    await run(keyspace, 'b')
    // It counts as no plan.
    await db.compactor.drain()
    expect(runsOf(keyspace)[0]).toBe(2)
    expect(db.status).toBe('open')
    // It is asked again by itself.
    isGood = true
    await until(() => runsOf(keyspace)[1] === 1)
  })
})

describe('Tree.compact', () => {
  test('one decision of it', async () => {
    const tree = await openTree(join(scratchDirectory(), 'tree'))
    onTestFinished(() => tree.close())
    const strategy = new Pairs()
    await tree.compact(strategy)
    for (const seqno of [1, 2]) {
      tree.insertSync('k', 'v', seqno)
      tree.rotateMemtable()
      tree.flushSync()
    }
    tree.setGcSeqno(2)
    await tree.compact(strategy)
    expect(runsOf(tree).slice(0, 2)).toEqual([0, 1])
    expect(strategy.seen.map(({ context }) => context.seenBelow)).toEqual([0, 2])
    tree.compactSync(strategy)
    expect(runsOf(tree).slice(0, 2)).toEqual([0, 1])
    const bad = answering('bad', () => ({ kind: 'drop', tables: [] }))
    const error = await failure(async () => tree.compact(bad))
    expect([error.code, (error.cause as ShaleError).code]).toEqual(['ABORTED', 'INVALID_ARGUMENT'])
    const gone = answering('stale', () => ({ kind: 'drop', tables: [999] }))
    expect((await failure(async () => tree.compact(gone))).code).toBe('PLAN_STALE')
  })
})

test.each([
  ['no object', 'leveled'],
  ['no method', { name: 'mine' }],
  ['no name', { choose: (): undefined => undefined }],
  ['an empty name', { name: '', choose: (): undefined => undefined }],
  ['a long name', { name: 'n'.repeat(129), choose: () => undefined }],
  ['half a character', { name: '\ud800', choose: () => undefined }],
])('refused: %s', async (_, compaction) => {
  const { db } = await open()
  const options = { compaction: compaction as CompactionStrategy }
  const error = await failure(async () => db.keyspace('k', options))
  expect(error.code).toBe('INVALID_OPTION')
  expect(error.message).toMatch(/compaction/)
})
