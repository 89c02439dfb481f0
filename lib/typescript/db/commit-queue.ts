/**
 * The order of commits: when a commit is journaled, when it becomes visible, when it is durable.
 *
 * A commit passes three gates: it is appended to the journal and inserted into the memtables,
 * together with all that were called before it (a group, one system call); then, with durability
 * `sync`, the journal is synced; then it is published. Publishing goes in order of seqnos: what was
 * committed behind a pending sync commit waits for it, and behind an ingestion that finishes. A
 * sync caller does what others wait for here and now, so it never waits for the event loop.
 *
 * Invariants: seqnos are given in journal order without gaps, and a failed append gives none;
 * `visible` is above s only if every commit up to s is in the memtables, or in tables, and every
 * sync commit up to s is synced; after a failed sync nothing is published or appended any more.
 */

import { ShaleError } from '../../errors.ts'
import { Turn } from '../../turn.ts'
import type { Durability } from '../../types.ts'
import { run, runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { Gate } from '../base/gate.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'

export interface Commit {
  /** What the memtables take; docs/format.md, 5.1. */
  readonly entries: Uint8Array
  /** What the journal takes, where that differs: values compressed. */
  readonly journal: Uint8Array | undefined
  readonly count: number
  readonly durability: Durability
  /** Whether there are range tombstones among them. */
  readonly hasRanges?: boolean
  /** When it was called, ms; 0: it is not timed. */
  readonly begun?: number
  /** It waits for more than its turn. */
  readonly isSlow?: boolean
}

/** What becomes of commits. */
export interface CommitSink {
  /** Hands over the records of a group, with seqnos from `first` on. All or nothing. */
  append(commits: readonly Commit[], first: number): void
  /** Fills the memtables. */
  insert(commit: Commit, seqno: number): void
  /** Reads see it. */
  onVisible(commit: Commit): void
  /** Rotation and the like. */
  afterGroup(): void
  /** Highest seqno whose record was handed over to the operating system. */
  handedOver(): number
  /** Makes everything durable that was handed over before the call. */
  sync(): Flow<void>
  /** The journal failed for good. */
  onFailure(cause: ShaleError): void
}

type Settle = (error: ShaleError | undefined) => void

interface Deferred {
  readonly commit: Commit
  readonly settle: Settle
}

interface Invisible {
  readonly seqno: number
  readonly needsSync: boolean
  /** Undefined: a sync caller sees to it. */
  readonly settle: Settle | undefined
  /** Brings about what it is held for. */
  held?: (() => Flow<void>) | undefined
}

/** Commits that go together, and bytes of them. */
const GROUP_COMMITS_MAX = 256
const GROUP_BYTES_MAX = 2 ** 20
/** Bytes of deferred commits that may wait for the end of the running code. */
const DEFERRED_BYTES_MAX = 256 * 1024

export class CommitQueue {
  readonly #sink: CommitSink
  #nextSeqno = 1
  #visible = 1
  #synced = 0
  #deferred: Deferred[] = []
  #deferredBytes = 0
  #isDrainScheduled = false
  /** In order of seqnos. */
  #invisible: Invisible[] = []
  readonly #syncGate = new Gate()
  #isSyncScheduled = false
  #failure: ShaleError | undefined
  /** Writers that never wait for anything must not keep the event loop from turning. */
  readonly #turn = new Turn()

  constructor(sink: CommitSink) {
    this.#sink = sink
  }

  /** Before the first commit: the seqno it gets. Everything below counts as synced and visible. */
  start(nextSeqno: number): void {
    this.#nextSeqno = nextSeqno
    this.#visible = nextSeqno
    this.#synced = nextSeqno - 1
  }

  /** Of the next commit. */
  get nextSeqno(): number {
    return this.#nextSeqno
  }

  /** Plain reads see commits with a smaller seqno. */
  get visible(): number {
    return this.#visible
  }

  /** Highest durable seqno. */
  get synced(): number {
    return this.#synced
  }

  /** Whether commits of async callers go before the next one. */
  get hasDeferred(): boolean {
    return this.#deferred.length > 0
  }

  get failure(): ShaleError | undefined {
    return this.#failure
  }

  // --- commits -----------------------------------------------------------------------------------

  /** Returns when the commit is visible; throws if it failed without a trace, or SYNC_FAILED. */
  run(commit: Commit): void {
    this.drain()
    const seqno = this.#nextSeqno
    this.#runGroup([commit], [undefined])
    if (this.#visible <= seqno) runSync(this.#showUpTo(seqno))
    this.#sink.onVisible(commit)
  }

  /** The same for an async caller. Commits that are called together go together. */
  async defer(commit: Commit): Promise<void> {
    const error = await new Promise<ShaleError | undefined>((settle) => {
      this.#deferred.push({ commit, settle })
      this.#deferredBytes += commit.entries.length
      if (this.#deferredBytes > DEFERRED_BYTES_MAX) this.drain()
      else if (!this.#isDrainScheduled) {
        this.#isDrainScheduled = true
        queueMicrotask(() => {
          this.#isDrainScheduled = false
          this.drain()
        })
      }
    })
    if (error !== undefined) throw error
    this.#sink.onVisible(commit)
    if (this.#turn.isOver) await this.#turn.pass()
  }

  /** Commits everything that was deferred. */
  drain(): void {
    while (this.#deferred.length > 0) {
      const group = this.#takeGroup()
      try {
        this.#runGroup(
          group.map(({ commit }) => commit),
          group.map(({ settle }) => settle),
        )
      } catch (error) {
        for (const { settle } of group) settle(error as ShaleError)
      }
    }
  }

  #takeGroup(): Deferred[] {
    let bytes = 0
    let count = 0
    for (const { commit } of this.#deferred) {
      if (count === GROUP_COMMITS_MAX) break
      if (count > 0 && bytes + commit.entries.length > GROUP_BYTES_MAX) break
      bytes += commit.entries.length
      count++
    }
    this.#deferredBytes -= bytes
    return this.#deferred.splice(0, count)
  }

  /** Throws what was left without a trace. Otherwise each is settled, now or when it is visible. */
  #runGroup(commits: readonly Commit[], settles: readonly (Settle | undefined)[]): void {
    if (this.#failure !== undefined) throw this.dbFailed()
    const first = this.#nextSeqno
    if (first + commits.length - 1 > SEQNO_MAX) {
      throw new ShaleError('DB_FAILED', 'the sequence numbers of this database are used up')
    }
    this.#sink.append(commits, first)
    this.#nextSeqno = first + commits.length
    try {
      for (const [i, commit] of commits.entries()) this.#sink.insert(commit, first + i)
    } catch (error) {
      // The journal has what the memtables may lack: only a reopen brings them together again.
      this.fail(noMemory(error))
      for (const settle of settles) settle?.(this.syncFailed())
      if (settles[0] === undefined) throw this.syncFailed()
      return
    }
    for (const [i, { durability }] of commits.entries()) {
      this.#publish(first + i, durability === 'sync', settles[i])
    }
    this.#sink.afterGroup()
  }

  #publish(seqno: number, needsSync: boolean, settle: Settle | undefined): void {
    const isSynced = !needsSync || seqno <= this.#synced
    if (isSynced && this.#invisible.length === 0) {
      this.#visible = seqno + 1
      settle?.(undefined)
      return
    }
    this.#invisible.push({ seqno, needsSync, settle })
    if (settle !== undefined) this.#scheduleSync()
  }

  /** Gives the next seqno to a record that the caller has handed over and that needs no sync. */
  publishOne(): number {
    const seqno = this.#nextSeqno++
    this.#publish(seqno, false, undefined)
    return seqno
  }

  /**
   * The same for a record whose effect is still to come: nothing from here on is visible before
   * `release`. `complete` brings it about, for a sync caller who cannot wait.
   */
  hold(complete: () => Flow<void>): number {
    const seqno = this.#nextSeqno++
    this.#invisible.push({ seqno, needsSync: false, settle: undefined, held: complete })
    return seqno
  }

  /** The effect of a record is there, or will never be. */
  release(seqno: number): void {
    const held = this.#invisible.find((one) => one.seqno === seqno)
    if (held === undefined) return
    held.held = undefined
    this.#show()
  }

  // --- sync and visibility -----------------------------------------------------------------------

  #scheduleSync(): void {
    if (this.#isSyncScheduled) return
    this.#isSyncScheduled = true
    // Behind the running code, so that one sync serves all commits of it.
    queueMicrotask(() => {
      void this.#syncInvisible()
    })
  }

  async #syncInvisible(): Promise<void> {
    this.#isSyncScheduled = false
    const last = this.#invisible.findLast(({ needsSync }) => needsSync)
    if (last === undefined) return
    try {
      await run(this.#syncUntil(() => this.#synced >= last.seqno))
    } catch {
      // All who wait were told.
    }
  }

  /** For a sync caller: whatever keeps a commit from sight is done. */
  *#showUpTo(seqno: number): Flow<void> {
    while (this.#visible <= seqno) {
      const [first] = this.#invisible
      if (first?.held !== undefined) yield* first.held()
      else yield* this.#syncUntil(() => this.#visible > seqno || this.#isHeld)
    }
  }

  /** Whether the next commit to become visible waits for its effect. */
  get #isHeld(): boolean {
    return this.#invisible[0]?.held !== undefined
  }

  /** Makes every commit up to `seqno` durable; it must have been handed over. SYNC_FAILED. */
  *syncTo(seqno: number): Flow<void> {
    yield* this.#syncUntil(() => this.#synced >= seqno)
  }

  *#syncUntil(isDone: () => boolean): Flow<void> {
    while (!isDone()) {
      const leave = yield* this.#syncGate.enter
      try {
        if (isDone()) return
        if (this.#failure !== undefined) throw this.syncFailed()
        const target = this.#sink.handedOver()
        try {
          yield* this.#sink.sync()
        } catch (error) {
          this.fail(error as ShaleError)
          throw this.syncFailed()
        }
        if (this.#failure === undefined) this.#settleSynced(target)
      } finally {
        leave()
      }
    }
  }

  #settleSynced(target: number): void {
    this.#synced = Math.max(this.#synced, target)
    this.#show()
  }

  /** Publishes what waits for nothing any more. */
  #show(): void {
    let count = 0
    for (const { seqno, needsSync, held } of this.#invisible) {
      if ((needsSync && seqno > this.#synced) || held !== undefined) break
      this.#visible = seqno + 1
      count++
    }
    for (const { settle } of this.#invisible.splice(0, count)) settle?.(undefined)
  }

  // --- failure -----------------------------------------------------------------------------------

  /** The journal cannot be trusted any more: nothing is written from here on. */
  fail(cause: ShaleError): void {
    if (this.#failure !== undefined) return
    this.#failure = cause
    this.#sink.onFailure(cause)
    for (const { settle } of this.#invisible.splice(0)) settle?.(this.syncFailed())
  }

  /** For those whose commit may or may not survive. */
  syncFailed(): ShaleError {
    const { message, path, errno, syscall } = this.#failure as ShaleError
    return new ShaleError('SYNC_FAILED', message, {
      path,
      errno,
      syscall,
      indeterminate: true,
      cause: this.#failure,
    })
  }

  /** What writes are refused with from then on. */
  dbFailed(): ShaleError {
    const cause = this.#failure as ShaleError
    return new ShaleError('DB_FAILED', `writing has ended: ${cause.message}`, { cause })
  }
}

function noMemory(cause: unknown): ShaleError {
  const message = 'no memory for a commit that is in the journal'
  return new ShaleError('OUT_OF_MEMORY', message, { cause })
}
