// The order of commits: sync and async ones in any mixture, over a journal that is slow to sync.

import { beforeEach, describe, expect, test } from 'vitest'
import { ShaleError } from '../../../lib/errors.ts'
import { Io, run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import { CommitQueue } from '../../../lib/typescript/db/commit-queue.ts'
import type { Commit, CommitSink } from '../../../lib/typescript/db/commit-queue.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { Durability } from '../../../lib/types.ts'
import { failure, rejection, scaled, testSeed } from '../../support/scratch.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { Random } from '../support/random.ts'
import { holdTimers, settle, Turns } from '../support/turns.ts'

function commitOf(durability: Durability, bytes = 16): Commit {
  return { entries: new Uint8Array(bytes), journal: undefined, count: 1, durability }
}

/** A journal and memtables that count. */
class Journal implements CommitSink {
  readonly late: LateVfs = new LateVfs(new MemVfs())
  readonly queue: CommitQueue = new CommitQueue(this)
  /** Seqnos in groups, as they were appended. */
  readonly groups: number[][] = []
  readonly inserted: number[] = []
  /** When those that became visible were called. */
  readonly seen: (number | undefined)[] = []
  /** Highest seqno that is appended, handed over, and synced. */
  appended = 0
  handed = 0
  synced = 0
  syncs = 0
  appendError: ShaleError | undefined
  insertError: Error | undefined
  syncError: ShaleError | undefined
  cause: ShaleError | undefined

  constructor(nextSeqno = 1) {
    this.queue.start(nextSeqno)
    this.appended = this.handed = this.synced = nextSeqno - 1
  }

  append(commits: readonly Commit[], first: number): void {
    if (this.appendError !== undefined) throw this.appendError
    expect(first).toBe(this.appended + 1)
    this.groups.push(commits.map((_, i) => first + i))
    this.appended += commits.length
    if (commits.some(({ durability }) => durability !== 'buffered')) this.handed = this.appended
  }
  insert(_: Commit, seqno: number): void {
    if (this.insertError !== undefined) throw this.insertError
    this.inserted.push(seqno)
  }
  onVisible({ begun }: Commit): void {
    this.seen.push(begun)
  }
  afterGroup(): void {}
  handedOver(): number {
    return this.handed
  }
  *sync(): Flow<void> {
    const covered = this.handed
    this.syncs++
    yield* this.late.late(
      Io.now(() => {
        if (this.syncError !== undefined) throw this.syncError
      }),
    )
    this.synced = Math.max(this.synced, covered)
  }
  onFailure(cause: ShaleError): void {
    this.cause = cause
  }

  /** An async commit: what has become of it. */
  defer(durability: Durability): { done: boolean; readonly call: Promise<void> } {
    const call = this.queue.defer(commitOf(durability))
    const state = { done: false, call }
    call.then(
      () => (state.done = true),
      () => {},
    )
    return state
  }

  async answerSync(): Promise<void> {
    this.late.step(0)
    this.late.step(0)
    await settle()
  }
}

beforeEach(() => {
  holdTimers()
})

describe('commits', () => {
  test('that are called together go together', async () => {
    const { queue, groups, ...journal } = new Journal(8)
    expect(queue.visible).toBe(8)
    const calls = [1, 2, 3].map(() => queue.defer(commitOf('os')))
    expect(groups).toEqual([])
    await Promise.all(calls)
    expect(groups).toEqual([[8, 9, 10]])
    expect([queue.visible, queue.synced, journal.syncs]).toEqual([11, 7, 0])
  })

  test('of a sync caller come behind the async ones called before', async () => {
    const { queue, groups } = new Journal()
    const call = queue.defer(commitOf('os'))
    queue.run(commitOf('os'))
    expect(groups).toEqual([[1], [2]])
    expect(queue.visible).toBe(3)
    await call
  })

  test('are told of when they are visible, each once, and not when they fail', async () => {
    const journal = new Journal()
    const { queue, seen } = journal
    const called = (begun: number, durability: Durability = 'os'): Commit => {
      return { ...commitOf(durability), begun }
    }
    const first = queue.defer(called(1))
    const second = queue.defer(called(2))
    queue.run(called(3))
    await Promise.all([first, second])
    expect(new Set(seen)).toEqual(new Set([1, 2, 3]))
    expect(seen).toHaveLength(3)
    const synced = queue.defer(called(4, 'sync'))
    const behind = queue.defer(called(5))
    await settle()
    expect(seen).toHaveLength(3) // nothing is visible yet
    await journal.answerSync()
    await Promise.all([synced, behind])
    expect(seen.slice(3)).toEqual([4, 5])
    journal.appendError = new ShaleError('DISK_FULL', 'full')
    expect((await rejection(() => queue.defer(called(6)))).code).toBe('DISK_FULL')
    expect((await failure(() => queue.run(called(7)))).code).toBe('DISK_FULL')
    expect(seen).toHaveLength(5)
  })

  test('of many bytes do not wait for the end of the running code', () => {
    const { queue, groups } = new Journal()
    for (let i = 0; i < 5; i++) queue.defer(commitOf('os', 100_000)).catch(() => {})
    expect(groups).toEqual([[1, 2, 3]])
  })
})

describe('a sync commit', () => {
  test('of an async caller is seen when it is synced, and those behind it with it', async () => {
    const journal = new Journal()
    const { queue } = journal
    const synced = journal.defer('sync')
    const buffered = journal.defer('buffered')
    await settle()
    expect([queue.nextSeqno, queue.visible]).toEqual([3, 1])
    expect([synced.done, buffered.done]).toEqual([false, false])
    await journal.answerSync()
    expect([queue.visible, queue.synced]).toEqual([3, 2])
    expect([synced.done, buffered.done]).toEqual([true, true])
    expect(journal.syncs).toBe(1)
  })

  test('that is called while another is being synced has a sync of its own', async () => {
    const journal = new Journal()
    const first = journal.defer('sync')
    await settle()
    const second = journal.defer('sync')
    await settle()
    await journal.answerSync()
    expect([first.done, second.done]).toEqual([true, false])
    await journal.answerSync()
    expect([second.done, journal.syncs]).toEqual([true, 2])
  })

  test('does not keep a sync caller waiting, who syncs for both', async () => {
    for (const durability of ['buffered', 'os', 'sync'] as const) {
      const journal = new Journal()
      const pending = journal.defer('sync')
      await settle()
      expect(journal.late.waiting).toBe(1)
      journal.queue.run(commitOf(durability))
      expect([journal.queue.visible, journal.syncs]).toEqual([3, 2])
      await settle()
      expect(pending.done).toBe(true)
      // The other sync comes to its end and changes nothing.
      await journal.answerSync()
      expect([journal.queue.visible, journal.syncs]).toEqual([3, 2])
      expect(journal.queue.synced).toBe(durability === 'buffered' ? 1 : 2)
    }
  })

  test('of a sync caller is durable when it returns', () => {
    const journal = new Journal()
    journal.queue.run(commitOf('buffered'))
    journal.queue.run(commitOf('sync'))
    expect([journal.synced, journal.queue.visible]).toEqual([2, 3])
    runSync(journal.queue.syncTo(2))
    expect(journal.syncs).toBe(1)
  })
})

describe('a record whose effect is still to come', () => {
  /** Holds the next seqno; `complete` lets go of it, for whoever needs that. */
  function hold(journal: Journal): { readonly seqno: number; completed: number } {
    const held = { seqno: 0, completed: 0 }
    held.seqno = journal.queue.hold(function* () {
      held.completed++
      yield* Io.now(() => journal.queue.release(held.seqno))
    })
    journal.appended = journal.handed = held.seqno
    return held
  }

  test('holds back what is behind it, whatever that waits for', async () => {
    const journal = new Journal()
    const { queue } = journal
    queue.run(commitOf('os'))
    const { seqno } = hold(journal)
    const calls = (['os', 'sync', 'buffered'] as const).map((kind) => journal.defer(kind))
    await settle()
    expect([seqno, queue.nextSeqno, queue.visible]).toEqual([2, 6, 2])
    // What needs a sync gets it meanwhile, once.
    await journal.answerSync()
    expect([queue.synced, queue.visible, journal.syncs]).toEqual([5, 2, 1])
    expect(calls.map(({ done }) => done)).toEqual([false, false, false])
    queue.release(seqno)
    expect(queue.visible).toBe(6)
    await settle()
    expect(calls.map(({ done }) => done)).toEqual([true, true, true])
    expect(journal.late.waiting).toBe(0)
    queue.release(seqno)
    expect(queue.visible).toBe(6)
  })

  test('that is over does not let go of what still waits for its sync', async () => {
    const journal = new Journal()
    const { seqno } = hold(journal)
    const synced = journal.defer('sync')
    await settle()
    journal.queue.release(seqno)
    expect([journal.queue.visible, synced.done]).toEqual([2, false])
    await journal.answerSync()
    expect([journal.queue.visible, synced.done]).toEqual([3, true])
  })

  test('is brought to its end by a sync caller, with what lies before and behind it', async () => {
    for (const durability of ['buffered', 'os', 'sync'] as const) {
      const journal = new Journal()
      const before = journal.defer('sync')
      await settle()
      const first = hold(journal)
      const between = journal.defer('sync')
      await settle()
      const second = hold(journal)
      journal.queue.run(commitOf(durability))
      expect([first.completed, second.completed]).toEqual([1, 1])
      expect(journal.queue.visible).toBe(6)
      await settle()
      expect([before.done, between.done]).toEqual([true, true])
      await journal.answerSync()
      await journal.answerSync()
      expect(journal.queue.visible).toBe(6)
    }
  })

  test('is never seen once the journal has failed', async () => {
    const journal = new Journal()
    const { seqno } = hold(journal)
    const refused = rejection(() => journal.queue.defer(commitOf('sync')))
    await settle()
    journal.syncError = new ShaleError('IO_ERROR', 'fsync failed: EIO')
    await journal.answerSync()
    expect((await refused).code).toBe('SYNC_FAILED')
    journal.queue.release(seqno)
    expect(journal.queue.visible).toBe(1)
  })
})

describe('a failed append', () => {
  test('leaves no trace of the group, and those behind it get its numbers', async () => {
    const journal = new Journal()
    journal.appendError = new ShaleError('DISK_FULL', 'no space')
    const calls = [1, 2].map(() => rejection(() => journal.queue.defer(commitOf('sync'))))
    for (const refused of calls) expect((await refused).code).toBe('DISK_FULL')
    const refused = await failure(() => journal.queue.run(commitOf('os')))
    expect(refused.code).toBe('DISK_FULL')
    expect(journal.queue.nextSeqno).toBe(1)
    journal.appendError = undefined
    journal.queue.run(commitOf('os'))
    expect([journal.groups, journal.queue.visible]).toEqual([[[1]], 2])
    expect(journal.queue.failure).toBeUndefined()
  })
})

describe('a failed sync', () => {
  const cause = new ShaleError('IO_ERROR', 'fsync failed: EIO', { path: '/db/1' })

  test('ends writing: whoever waits does not know, and nobody is seen any more', async () => {
    const journal = new Journal()
    const { queue } = journal
    const waiting = (['sync', 'os', 'buffered'] as const).map((durability) =>
      rejection(() => queue.defer(commitOf(durability))),
    )
    await settle()
    journal.syncError = cause
    await journal.answerSync()
    for (const refused of waiting) {
      const { code, indeterminate, path } = await refused
      expect([code, indeterminate, path]).toEqual(['SYNC_FAILED', true, '/db/1'])
    }
    expect([queue.visible, journal.cause]).toEqual([1, cause])
    const later = [
      await failure(() => queue.run(commitOf('buffered'))),
      await rejection(() => queue.defer(commitOf('buffered'))),
    ]
    for (const refused of later) {
      expect([refused.code, refused.cause]).toEqual(['DB_FAILED', cause])
    }
    expect((await failure(() => runSync(queue.syncTo(1)))).code).toBe('SYNC_FAILED')
    expect(journal.groups).toEqual([[1, 2, 3]])
  })

  test('of a sync caller is told to the async one whose sync is under way', async () => {
    const journal = new Journal()
    const pending = rejection(() => journal.queue.defer(commitOf('sync')))
    await settle()
    journal.syncError = cause
    expect((await failure(() => journal.queue.run(commitOf('sync')))).code).toBe('SYNC_FAILED')
    // Its own may still succeed: of what it covers nobody can say.
    journal.syncError = undefined
    await journal.answerSync()
    expect((await pending).code).toBe('SYNC_FAILED')
    expect([journal.queue.visible, journal.queue.synced]).toEqual([1, 0])
  })
})

test('a commit that memory has no room for ends writing: the journal has it', async () => {
  const journal = new Journal()
  journal.insertError = new RangeError('Array buffer allocation failed')
  const { code, indeterminate } = await failure(() => journal.queue.run(commitOf('os')))
  expect([code, indeterminate]).toEqual(['SYNC_FAILED', true])
  expect(journal.cause?.code).toBe('OUT_OF_MEMORY')
  expect((await rejection(() => journal.queue.defer(commitOf('os')))).code).toBe('DB_FAILED')
})

test('any mixture of calls: seen in order, and no sooner than promised', async () => {
  for (let i = 0; i < scaled(60); i++) {
    const random = new Random(testSeed() + i)
    const journal = new Journal()
    const { queue, late } = journal
    const turns = new Turns(late, random)
    const needSync = new Set<number>()
    const calls: Promise<void>[] = []
    let visible = 1
    const check = (): void => {
      expect(queue.visible).toBeGreaterThanOrEqual(visible)
      visible = queue.visible
      for (const seqno of needSync) {
        if (seqno < visible) expect(journal.synced).toBeGreaterThanOrEqual(seqno)
      }
      expect(journal.inserted.length).toBeGreaterThanOrEqual(visible - 1)
    }
    const durable = (): Durability => (['buffered', 'os', 'sync'] as const)[random.below(3)]!
    let issued = 0
    for (let step = 0; step < 40; step++) {
      const lot = random.below(10)
      if (lot < 5) {
        const durability = durable()
        const seqno = ++issued
        if (durability === 'sync') needSync.add(seqno)
        const call = async (): Promise<void> => {
          await queue.defer(commitOf(durability))
          expect(queue.visible).toBeGreaterThan(seqno)
          if (durability === 'sync') expect(journal.synced).toBeGreaterThanOrEqual(seqno)
        }
        calls.push(call())
      } else if (lot < 7) {
        const durability = durable()
        const seqno = ++issued
        if (durability === 'sync') needSync.add(seqno)
        queue.run(commitOf(durability))
        expect(queue.visible).toBe(seqno + 1)
      } else if (lot < 8) {
        const target = journal.handed
        const syncing = queue.syncTo(target)
        if (random.below(2) === 0) runSync(syncing)
        else calls.push(run(syncing))
      } else await turns.some()
      check()
    }
    await turns.rest()
    await Promise.all(calls)
    check()
    expect([queue.visible, queue.nextSeqno]).toEqual([issued + 1, issued + 1])
    expect(journal.groups.flat()).toEqual(Array.from({ length: issued }, (_, at) => at + 1))
  }
})
