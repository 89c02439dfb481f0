// One directory, one holder: each engine against itself and the other, in one process, in threads
// and across processes; holders that die, and owners that only seem to live or to be gone.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { Database, Tree, type Engine } from '../../lib/index.ts'
import { decodeOwner } from '../../lib/typescript/db/lock-owner.ts'
import { failure, scratchDirectory } from '../support/scratch.ts'
import { startProcess, startWorker, type Answer } from './support/holders.ts'
import { forgedOwners, recordOf, TOKEN } from './support/owners.ts'

const ENGINES = ['native', 'typescript'] as const
const PAIRS = ENGINES.flatMap((holder) => ENGINES.map((opener) => ({ holder, opener })))
const MIXED = PAIRS.filter(({ holder, opener }) => holder !== opener)

async function newDatabase(engine: Engine = 'native'): Promise<string> {
  const path = join(scratchDirectory(), 'db')
  const db = await Database.open(path, { engine })
  await db.keyspace('k')
  await db.close()
  return path
}

function lockFiles(path: string): string[] {
  return readdirSync(path).filter((name) => name.startsWith('lock'))
}

interface Holder {
  readonly path: string
  readonly pid: number
  /** What the message adds if the holder is this process. */
  readonly why?: string
}

async function expectLocked(
  call: () => unknown,
  { path, pid, why = ': no other thread or engine can share it' }: Holder,
): Promise<void> {
  const error = await failure(call)
  expect([error.code, error.retryable, error.pid, error.path]).toEqual([
    'DB_LOCKED',
    true,
    pid,
    path,
  ])
  const isHere = pid === process.pid
  expect(error.sameProcess).toBe(isHere)
  const where = isHere ? `in this process${why}` : `in process ${pid}`
  expect(error.message).toBe(`${path} is open already, ${where}`)
}

function expectAnswer(answer: Answer, path: string, pid: number, word: RegExp): void {
  expect(answer).toMatchObject({ code: 'DB_LOCKED', retryable: true, path, pid })
  expect(answer.sameProcess).toBe(pid === process.pid)
  expect(answer.message).toMatch(word)
}

describe('in one process', () => {
  test.each(MIXED)('$holder holds it against $opener, and gives it back', async (pair) => {
    const path = await newDatabase()
    for (const readOnly of [false, true]) {
      // oxlint-disable-next-line no-await-in-loop
      const db = await Database.open(path, { engine: pair.holder, readOnly })
      for (const options of [{}, { readOnly: true }]) {
        const given = { ...options, engine: pair.opener }
        // oxlint-disable-next-line no-await-in-loop
        await expectLocked(() => Database.openSync(path, given), { path, pid: process.pid })
        // oxlint-disable-next-line no-await-in-loop
        await expectLocked(async () => Database.open(path, given), { path, pid: process.pid })
      }
      // oxlint-disable-next-line no-await-in-loop
      await expectLocked(() => Tree.openSync(path, { engine: pair.opener }), {
        path,
        pid: process.pid,
      })
      expect(lockFiles(path)).toEqual(['lock'])
      expect(db.keyspaceSync('k').getSync('a')).toBe(undefined)
      // oxlint-disable-next-line no-await-in-loop
      await db.close()
      expect(lockFiles(path)).toEqual([])
    }
    await (await Database.open(path, { engine: pair.opener })).close()
  })

  test.each(ENGINES)(
    '%s shares with itself what is opened alike, and only that',
    async (engine) => {
      const path = await newDatabase()
      const first = await Database.open(path, { engine, cacheSize: 1000 })
      const second = Database.openSync(path, { engine, cacheSize: 1000 })
      first.keyspaceSync('k').insertSync('a', '1')
      expect(second.keyspaceSync('k').getTextSync('a')).toBe('1')
      const other = { engine, cacheSize: 2000, readOnly: true }
      const holder = { path, pid: process.pid, why: ', with another readOnly, cacheSize' }
      await expectLocked(() => Database.openSync(path, other), holder)
      await expectLocked(async () => Database.open(path, other), holder)
      await first.close()
      expect(lockFiles(path)).toEqual(['lock'])
      expect(second.keyspaceSync('k').getTextSync('a')).toBe('1')
      second.closeSync()
      expect(lockFiles(path)).toEqual([])
    },
  )

  test.each(PAIRS)('a bare tree of $holder is open once, also for $opener', async (pair) => {
    const path = join(scratchDirectory(), 'tree')
    const tree = await Tree.open(path, { engine: pair.holder })
    await expectLocked(() => Tree.openSync(path, { engine: pair.opener }), {
      path,
      pid: process.pid,
    })
    tree.insertSync('a', '1', 1)
    await tree.flush()
    await tree.close()
    const again = Tree.openSync(path, { engine: pair.opener })
    expect(again.getTextSync('a', 2)).toBe('1')
    again.closeSync()
  })
})

describe('threads of one process', () => {
  test('share a database of the native engine', async () => {
    const path = await newDatabase()
    const [first, second] = await Promise.all([startWorker(), startWorker()])
    for (const { ask } of [first, second]) {
      // oxlint-disable-next-line no-await-in-loop
      expect(await ask({ name: 'open', path, options: { engine: 'native' } })).toEqual({
        result: 'held',
      })
    }
    await first.ask({ name: 'write', key: 'a', value: '1' })
    expect(await second.ask({ name: 'read', key: 'a' })).toEqual({ result: '1' })
    for (const { ask } of [first, second]) {
      // oxlint-disable-next-line no-await-in-loop
      expect(await ask({ name: 'close' })).toEqual({ result: 'closed' })
    }
  })

  test('are refused by each other with the TypeScript engine, until one lets go', async () => {
    const path = await newDatabase()
    const options = { engine: 'typescript' } as const
    const [first, second] = await Promise.all([startWorker(), startWorker()])
    expect(await first.ask({ name: 'open', path, options })).toEqual({ result: 'held' })
    for (const name of ['open', 'openAsync'] as const) {
      // oxlint-disable-next-line no-await-in-loop
      const answer = await second.ask({ name, path, options })
      expectAnswer(answer, path, process.pid, /in this process: no other thread/)
    }
    await expectLocked(() => Database.openSync(path, options), { path, pid: process.pid })
    await first.ask({ name: 'write', key: 'a', value: '1' })
    await first.ask({ name: 'close' })
    expect(await second.ask({ name: 'open', path, options })).toEqual({ result: 'held' })
    expect(await second.ask({ name: 'read', key: 'a' })).toEqual({ result: '1' })
    await second.ask({ name: 'close' })
  })

  test.each(MIXED)('with $holder in one keep $opener out of the other', async (pair) => {
    const path = await newDatabase()
    const worker = await startWorker()
    const opened = await worker.ask({ name: 'open', path, options: { engine: pair.holder } })
    expect(opened).toEqual({ result: 'held' })
    const here = { path, pid: process.pid }
    await expectLocked(() => Database.openSync(path, { engine: pair.opener }), here)
    await worker.ask({ name: 'close' })
    await (await Database.open(path, { engine: pair.opener })).close()
  })
})

describe('across processes', () => {
  test.each(PAIRS)('$holder holds it against $opener, and gives it back', async (pair) => {
    const path = await newDatabase()
    const holder = await startProcess()
    for (const readOnly of [false, true]) {
      // oxlint-disable-next-line no-await-in-loop
      const opened = await holder.ask({
        name: 'open',
        path,
        options: { engine: pair.holder, readOnly },
      })
      expect(opened).toEqual({ result: 'held' })
      for (const options of [{}, { readOnly: true }]) {
        const given = { ...options, engine: pair.opener }
        const there = { path, pid: holder.pid }
        // oxlint-disable-next-line no-await-in-loop
        await expectLocked(() => Database.openSync(path, given), there)
        // oxlint-disable-next-line no-await-in-loop
        await expectLocked(async () => Database.open(path, given), there)
      }
      expect(lockFiles(path)).toEqual(['lock'])
      // oxlint-disable-next-line no-await-in-loop
      expect(await holder.ask({ name: 'close' })).toEqual({ result: 'closed' })
      expect(lockFiles(path)).toEqual([])
    }
    await (await Database.open(path, { engine: pair.opener })).close()
  })

  test.each(PAIRS)('$opener takes over from $holder that was killed', async (pair) => {
    const path = await newDatabase()
    const holder = await startProcess()
    await holder.ask({ name: 'open', path, options: { engine: pair.holder } })
    await holder.ask({ name: 'write', key: 'a', value: 'kept' })
    expect(decodeOwner(readFileSync(join(path, 'lock'))).pid).toBe(holder.pid)
    await holder.kill()
    expect(lockFiles(path)).toEqual(['lock'])
    const db = await Database.open(path, { engine: pair.opener })
    expect(decodeOwner(readFileSync(join(path, 'lock'))).pid).toBe(process.pid)
    expect(db.keyspaceSync('k').getTextSync('a')).toBe('kept')
    await db.close()
    expect(lockFiles(path)).toEqual([])
  })

  test.each(PAIRS)('$holder that stands still holds it against $opener', async (pair) => {
    const path = await newDatabase()
    const holder = await startProcess()
    await holder.ask({ name: 'open', path, options: { engine: pair.holder } })
    process.kill(holder.pid, 'SIGSTOP')
    const there = { path, pid: holder.pid }
    await expectLocked(() => Database.openSync(path, { engine: pair.opener }), there)
    process.kill(holder.pid, 'SIGCONT')
    expect(await holder.ask({ name: 'close' })).toEqual({ result: 'closed' })
  })

  test.each(PAIRS)('a bare tree of $holder keeps $opener out', async (pair) => {
    const path = join(scratchDirectory(), 'tree')
    const holder = await startProcess()
    const options = { engine: pair.holder }
    await holder.ask({ name: 'open', kind: 'tree', path, options })
    const there = { path, pid: holder.pid }
    await expectLocked(() => Tree.openSync(path, { engine: pair.opener }), there)
    await holder.kill()
    Tree.openSync(path, { engine: pair.opener }).closeSync()
  })
})

describe.each(ENGINES)('an owner file that %s finds', (engine) => {
  test.each(Object.entries(forgedOwners()))('of %s', async (_, { record, isGone }) => {
    const path = await newDatabase()
    writeFileSync(join(path, 'lock'), record)
    if (isGone) {
      for (const readOnly of [true, false]) {
        const db = Database.openSync(path, { engine, readOnly })
        expect(decodeOwner(readFileSync(join(path, 'lock'))).pid).toBe(process.pid)
        db.closeSync()
        expect(lockFiles(path)).toEqual([])
        writeFileSync(join(path, 'lock'), record)
      }
      return
    }
    for (const readOnly of [true, false]) {
      // oxlint-disable-next-line no-await-in-loop
      const error = await failure(() => Database.openSync(path, { engine, readOnly }))
      const pid = Number(record.readBigUInt64LE(24))
      expect([error.code, error.pid, error.path]).toEqual(['DB_LOCKED', pid, path])
    }
    expect(lockFiles(path)).toEqual(['lock'])
    expect(readFileSync(join(path, 'lock'))).toEqual(record)
  })

  test('is taken over by one: who holds the claim', async () => {
    const path = await newDatabase()
    const { record: dead } = forgedOwners()['a reused pid']!
    const claim = join(path, `lock.${TOKEN}.claim`)
    writeFileSync(join(path, 'lock'), dead)
    writeFileSync(claim, recordOf({ token: 'aabbccddeeff0011', pid: process.ppid, startTime: 0n }))
    const error = await failure(() => Database.openSync(path, { engine }))
    expect([error.code, error.pid, error.sameProcess]).toEqual(['DB_LOCKED', process.ppid, false])
    expect(readFileSync(join(path, 'lock'))).toEqual(dead)
    // The one who holds the claim dies before it replaced the lock, or wrote its own record.
    for (const rest of [recordOf({ token: 'aabbccddeeff0011', startTime: 1n }), Buffer.alloc(0)]) {
      writeFileSync(join(path, 'lock'), dead)
      writeFileSync(claim, rest)
      const db = Database.openSync(path, { engine })
      expect(decodeOwner(readFileSync(join(path, 'lock'))).pid).toBe(process.pid)
      db.closeSync()
      expect(existsSync(claim)).toBe(false)
    }
  })

  test('leaves no rest behind, and touches none that may be in use', async () => {
    const path = await newDatabase()
    const owners = forgedOwners()
    const rests = {
      'lock.00000000000000aa': owners['a reused pid']!.record,
      'lock.00000000000000bb.new': owners['another boot']!.record,
      'lock.00000000000000cc': owners['another process that runs']!.record,
      'lock.notes': owners['a reused pid']!.record,
    }
    for (const [name, record] of Object.entries(rests)) writeFileSync(join(path, name), record)
    Database.openSync(path, { engine }).closeSync()
    expect(lockFiles(path)).toEqual(['lock.00000000000000cc', 'lock.notes'])
  })
})
