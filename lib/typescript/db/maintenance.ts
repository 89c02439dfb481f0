/**
 * When memtables are flushed and levels compacted, and what happens when that fails.
 *
 * In the background one flush runs at a time, and as many compactions as the database was given
 * workers, over all keyspaces, with disjoint claims; the event loop gets its turns in between. A
 * flush never waits for a compaction, except that level 0 has a limit of runs. A job that failed is
 * tried again with a growing pause; meanwhile the state is degraded and heals by itself. A failed
 * sync is handed on: it ends writing.
 *
 * Sync callers do such work here and now, whatever of it is under way.
 */

import type { EngineErrorSource, PlanData } from '../../engine.ts'
import { isAsyncFilterFailure, isFilterFailure } from '../../compaction-filter.ts'
import { ShaleError } from '../../errors.ts'
import { Background } from '../base/background.ts'
import { Fifo } from '../base/fifo.ts'
import { Io, runSync, Slice } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { Waiters } from '../base/waiters.ts'
import { Gate } from '../base/gate.ts'
import { Highest } from '../base/highest.ts'
import type { CompactionJob } from '../tree/compaction-job.ts'
import type { JobFigures } from '../tree/tree.ts'
import { CompactionWatch } from './compaction-watch.ts'
import type { Keyspace } from './keyspace.ts'
import { isLevel0Full, level0Debt } from './level0.ts'
import { MaintenanceFigures } from './maintenance-figures.ts'
import type { MaintenanceParts } from './maintenance-parts.ts'
import { agePause, isAborted, isFatal, nextRetry } from './retry.ts'
import { Problems } from './problems.ts'
import { Strategies } from './strategies.ts'
import { Timer } from './timer.ts'

/**
 * Sealed memtables, and their bytes, at which a sync writer flushes them: small ones together,
 * since each flush costs syncs and a run in level 0.
 */
const SEALED_MAX = 4
const SEALED_BYTES_MAX = 4 * 2 ** 20

/** Async flushes of all keyspaces that run at once: each of them may go on in the same turn. */
const FLUSHES_MAX = 8

export class Maintenance {
  readonly figures: MaintenanceFigures
  /** Bytes of memtables, active and sealed, over all keyspaces. */
  memory = 0
  readonly #parts: MaintenanceParts
  readonly #strategies: Strategies
  readonly #background = new Background()
  readonly #keyspaces = new Set<Keyspace>()
  readonly #flushes = new Fifo<Keyspace>()
  readonly #flushGate = new Gate(FLUSHES_MAX)
  #isFlushing = false
  readonly #compactions = new Fifo<Keyspace>()
  #isPumping = false
  /** Compactions of the background that run or look for a plan. */
  #working = 0
  /** Of all that look for a plan in a row: thousands of keyspaces may have nothing to do. */
  readonly #looking: Slice
  /** Plans of callers that run or wait for a claim, of all keyspaces. */
  #wanted = 0
  readonly #running = new Map<CompactionJob, Keyspace>()
  /** Those of them that no caller follows. */
  readonly #unwatched = new Set<CompactionJob>()
  /** Debt of level 0, sealed memtables counted as runs. */
  readonly #level0 = new Highest<Keyspace>()
  /** The highest seqno of a read whose end may leave something to do, where there is one. */
  readonly #awaited = new Map<Keyspace, number>()
  readonly #problems: Problems
  readonly #timers = new Set<Timer>()
  /** Told when a job ends, when no job is running any more, and when nothing is left to do. */
  #jobWaiters: (() => void)[] = []
  readonly #pausers = new Waiters()
  readonly #drainers = new Waiters()
  /** When a flush that failed is tried again. */
  #retryAt = 0
  #isPaused = false
  #isStopping = false
  /** A sync writer flushes and compacts at this moment. */
  #worksForWriter = false

  constructor(parts: MaintenanceParts) {
    this.#parts = parts
    this.figures = new MaintenanceFigures(parts.events)
    this.#looking = new Slice(() => parts.vfs.monotonicMillis())
    this.#problems = new Problems((first) => {
      // A failing job is also why writers cannot be let go when memory is full.
      parts.control?.setObstacle(first)
      parts.onState(first)
    })
    this.#strategies = new Strategies({
      onLacking: parts.onLacking,
      onFailure: (error) => this.#tellFailure('strategy', error),
      after: (pause, call) => this.#after(pause, call),
      changed: (keyspace) => this.queueCompaction(keyspace),
    })
  }

  // --- memory and level 0 ------------------------------------------------------------------------

  /** A keyspace joins: counts what recovery left in it and schedules what it needs. */
  opened(keyspace: Keyspace): void {
    this.#keyspaces.add(keyspace)
    this.#strategies.look(keyspace)
    this.countActive(keyspace)
    this.#countSealed(keyspace)
    this.#countLevel0(keyspace)
    if (keyspace.tree.sealedCount > 0) this.#queueFlush(keyspace)
    this.queueCompaction(keyspace)
  }

  /** Its strategy may want something else now. */
  optionsChanged(keyspace: Keyspace): void {
    this.#strategies.look(keyspace)
    this.#countLevel0(keyspace)
    this.queueCompaction(keyspace)
  }

  /** Something was inserted. */
  countActive(keyspace: Keyspace): void {
    const active = keyspace.tree.activeBytes
    this.memory += active - keyspace.countedActive
    keyspace.countedActive = active
  }

  tellMemory(): void {
    this.#parts.control?.setMemory(this.memory)
  }

  /** Seals the active memtable, to be flushed in the background; false if it is empty. */
  rotate(keyspace: Keyspace): boolean {
    if (!keyspace.tree.rotate()) return false
    this.memory -= keyspace.countedActive
    keyspace.countedActive = 0
    this.#countSealed(keyspace)
    this.#countLevel0(keyspace)
    this.#queueFlush(keyspace)
    return true
  }

  #countSealed(keyspace: Keyspace): void {
    const sealed = keyspace.tree.sealedBytes
    this.memory += sealed - keyspace.countedSealed
    keyspace.countedSealed = sealed
    this.tellMemory()
  }

  #countLevel0(keyspace: Keyspace): void {
    const { level0Runs, sealedCount } = keyspace.tree
    this.#level0.set(keyspace, level0Debt(keyspace, level0Runs + sealedCount))
    const highest = keyspace.tree.highestAwaited
    if (highest < 0) this.#awaited.delete(keyspace)
    else this.#awaited.set(keyspace, highest)
    this.#tellLevel0()
  }

  #tellLevel0(): void {
    this.#parts.control?.setLevel0(this.#isPaused ? 0 : this.#level0.value)
  }

  /** Whether a sync writer should try again what has failed: nobody else may have had the time. */
  get isRetryDue(): boolean {
    return this.#parts.vfs.monotonicMillis() >= this.#retryAt
  }

  /**
   * What the event loop would have done if it had its turns: for sync writers under full pressure.
   * Throws why it cannot be done.
   */
  relieve(): void {
    this.#forWriter(() => {
      const { control } = this.#parts
      this.tellMemory()
      for (let isFull = control?.isMemoryFull; isFull === true; isFull = control?.isMemoryFull) {
        const keyspace = this.#largest()
        if (keyspace.countedActive + keyspace.countedSealed === 0) return
        this.rotate(keyspace)
        runSync(this.flush(keyspace))
      }
      if (control?.isLevel0Full !== true) return
      const fullest = this.#level0.holder
      if (fullest !== undefined) this.#compactNow(fullest)
    })
  }

  /** A filter or a strategy that is asked meanwhile may write: that write leaves it at that. */
  #forWriter(work: () => void): void {
    if (this.#worksForWriter) return
    this.#worksForWriter = true
    try {
      work()
    } finally {
      this.#worksForWriter = false
    }
  }

  #tryForWriter(work: () => void): void {
    try {
      this.#forWriter(work)
    } catch {
      // The state says so, and it is tried again.
    }
  }

  /**
   * A sync writer fills the next memtable before those before it are flushed: it does that itself,
   * rather than for all of them at once when the write buffer is full, and makes room in level 0.
   * Returns whether there was anything to do.
   */
  keepUp(keyspace: Keyspace): boolean {
    const { sealedCount, sealedBytes } = keyspace.tree
    if (sealedCount < SEALED_MAX && sealedBytes < SEALED_BYTES_MAX) return false
    this.#tryForWriter(() => {
      runSync(this.flush(keyspace))
      this.#makeRoom(keyspace)
    })
    return true
  }

  /** For a sync caller as well: compacts a level 0 that is full. */
  makeRoom(keyspace: Keyspace): void {
    this.#tryForWriter(() => this.#makeRoom(keyspace))
  }

  #makeRoom(keyspace: Keyspace): void {
    while (!this.#isPaused && isLevel0Full(keyspace) && this.#compactNow(keyspace));
  }

  #largest(): Keyspace {
    const bytes = (one: Keyspace): number => one.countedActive + one.countedSealed
    return [...this.#keyspaces].reduce((a, b) => (bytes(b) > bytes(a) ? b : a))
  }

  /**
   * Flushes first, since sealed memtables count as runs; then one compaction, if there is one. A
   * filter that answers with promises keeps it for the event loop: level 0 grows meanwhile.
   */
  #compactNow(keyspace: Keyspace): boolean {
    runSync(this.flush(keyspace))
    if (keyspace.tree.filterAnswersLater) return false
    let plan = runSync(this.#choosePlan(keyspace))
    if (plan === undefined) {
      runSync(keyspace.tree.takeOver())
      plan = runSync(this.#choosePlan(keyspace))
    }
    if (plan === undefined) return false
    try {
      runSync(this.compact(keyspace, plan))
    } catch (error) {
      // What was asked meanwhile may have closed the database.
      if (!isAsyncFilterFailure(error) && !this.#isStopping) throw error
    }
    return !keyspace.tree.filterAnswersLater && !this.#isStopping
  }

  // --- flush -------------------------------------------------------------------------------------

  #queueFlush(keyspace: Keyspace): void {
    if (this.#isStopping || !this.#parts.isAutomatic || keyspace.isFlushQueued) return
    keyspace.isFlushQueued = true
    this.#flushes.push(keyspace)
    if (this.#isFlushing) return
    this.#isFlushing = true
    this.#background.begin(this.#runFlushes(), (error) => this.#failed(error))
  }

  *#runFlushes(): Flow<void> {
    // Most of them may be done by others already.
    const slice = new Slice(() => this.#parts.vfs.monotonicMillis())
    try {
      for (;;) {
        if (slice.isOver) yield* slice.pass
        const keyspace = this.#flushes.shift()
        if (keyspace === undefined || this.#isStopping) return
        keyspace.isFlushQueued = false
        if (this.#mustHold(keyspace)) continue
        try {
          yield* this.flush(keyspace)
        } catch {
          // The state says so, and it is tried again.
        }
      }
    } finally {
      this.#isFlushing = false
    }
  }

  /** Level 0 is full: the flush waits until a compaction made room there. */
  #mustHold(keyspace: Keyspace): boolean {
    if (!isLevel0Full(keyspace)) return false
    if (this.#isPaused || keyspace.flushesNow || keyspace.isCompactionPausing) return false
    keyspace.isFlushHeld = true
    this.queueCompaction(keyspace)
    return true
  }

  /** A flush that waits for room in level 0 goes ahead: no compaction will make it. */
  #releaseFlush(keyspace: Keyspace): void {
    if (!keyspace.isFlushHeld) return
    keyspace.isFlushHeld = false
    keyspace.flushesNow = true
    this.#queueFlush(keyspace)
  }

  /** Writes everything sealed of a keyspace to tables; throws why it could not be. */
  *flush(keyspace: Keyspace): Flow<void> {
    const { control, afterFlush } = this.#parts
    const leave = yield* this.#flushGate.enter
    let figures: JobFigures & { readonly ms: number }
    try {
      figures = yield* this.#flushTree(keyspace)
    } catch (error) {
      this.#flushFailed(keyspace, error)
      throw error
    } finally {
      leave()
      this.#countSealed(keyspace)
      this.#countLevel0(keyspace)
    }
    keyspace.flushRetry = 0
    keyspace.flushesNow = false
    this.#problems.set('flush', keyspace, undefined)
    control?.noteFlush(figures.bytesWritten, figures.ms)
    this.queueCompaction(keyspace)
    if (figures.bytesWritten > 0) yield* afterFlush
  }

  /** Nothing follows from it any more: the database closes. */
  *flushLast(keyspace: Keyspace): Flow<void> {
    yield* this.#flushTree(keyspace)
  }

  /** Counts and tells what was written, if anything was. */
  *#flushTree({ tree }: Keyspace): Flow<JobFigures & { readonly ms: number }> {
    const { figures } = this
    const begin = this.#parts.vfs.monotonicMillis()
    figures.activeFlushes++
    let written: JobFigures
    try {
      written = yield* tree.flush()
    } finally {
      figures.activeFlushes--
    }
    const ms = this.#parts.vfs.monotonicMillis() - begin
    if (written.tables > 0) figures.flushed(tree, written, ms)
    return { ...written, ms }
  }

  /** Puts an ingestion into level 0, by `work`; throws why it could not be. */
  *ingest(keyspace: Keyspace, work: Flow<void>): Flow<void> {
    try {
      yield* work
    } catch (error) {
      this.#failed(error)
      throw error
    } finally {
      this.#countSealed(keyspace)
      this.#countLevel0(keyspace)
    }
    this.queueCompaction(keyspace)
    yield* this.#parts.afterFlush
  }

  #flushFailed(keyspace: Keyspace, error: unknown): void {
    if (isAborted(error)) return
    this.#tellFailure('flush', error)
    this.#problems.set('flush', keyspace, this.#failed(error))
    if (isFatal(error) || this.#isStopping) return
    keyspace.flushRetry = nextRetry(keyspace.flushRetry)
    this.#retryAt = this.#parts.vfs.monotonicMillis() + keyspace.flushRetry
    this.#after(keyspace.flushRetry, () => this.#queueFlush(keyspace))
  }

  // --- compaction --------------------------------------------------------------------------------

  queueCompaction(keyspace: Keyspace): void {
    if (this.#isStopping || !this.#parts.isAutomatic || keyspace.isCompactionQueued) return
    if (keyspace.isCompactionPausing) return
    keyspace.isCompactionQueued = true
    if (this.#compactions.length === 0 && this.#working === 0) this.#looking.begin()
    this.#compactions.push(keyspace)
    this.#pumpCompactions()
  }

  #pumpCompactions(): void {
    // Those that find nothing to do end at once, and come back here.
    if (this.#isPumping) return
    this.#isPumping = true
    const { maxCompactions } = this.#parts
    while (!this.#isPaused && this.#compactions.length > 0 && this.#working < maxCompactions) {
      const keyspace = this.#compactions.shift()!
      keyspace.isCompactionQueued = false
      this.#working++
      this.#background.begin(this.#compactNext(keyspace), (error) => this.#failed(error))
    }
    this.#isPumping = false
  }

  *#compactNext(keyspace: Keyspace): Flow<void> {
    try {
      if (this.#looking.isOver) yield* this.#looking.pass
      if (this.#isStopping || keyspace.isCompactionPausing) return
      if (this.#isPaused) {
        this.queueCompaction(keyspace)
        return
      }
      const plan = keyspace.wanted > 0 ? undefined : yield* this.#choosePlan(keyspace)
      if (plan === undefined) {
        this.#problems.set('compaction', keyspace, undefined)
        if (keyspace.compactions === 0) this.#releaseFlush(keyspace)
        this.#awaitAge(keyspace)
        return
      }
      yield* this.compact(keyspace, plan)
    } catch {
      // The state says so, and it is tried again.
    } finally {
      this.#working--
      this.#pumpCompactions()
      this.#tellIdle()
    }
  }

  /** Looks again when a table has become too old. */
  #awaitAge(keyspace: Keyspace): void {
    const due = keyspace.tree.dueIn
    if (due === undefined || keyspace.awaitsAge) return
    keyspace.awaitsAge = true
    this.#after(agePause(due), () => {
      keyspace.awaitsAge = false
      this.queueCompaction(keyspace)
    })
  }

  /**
   * Tables that nobody can miss go before anything is merged; what no level is too large for comes
   * last: tombstones and old tables, and then garbage in blob files.
   */
  *#choosePlan(keyspace: Keyspace): Flow<PlanData | undefined> {
    const { tree } = keyspace
    const covered = yield* tree.coveredPlan()
    if (covered !== undefined || keyspace.lacksStrategy) return covered
    const wanted = yield* this.#strategies.choose(keyspace)
    const plan = wanted ?? (yield* tree.upkeepPlan()) ?? tree.stalePlan()
    if (plan === undefined && keyspace.compactions === 0) {
      keyspace.level0Left = tree.level0Runs
      this.#countLevel0(keyspace)
    }
    return plan
  }

  /** Drops tables that nobody can miss, unless somebody else is about it. */
  *dropCovered(keyspace: Keyspace): Flow<void> {
    try {
      for (;;) {
        const plan = yield* keyspace.tree.coveredPlan()
        if (plan === undefined) return
        yield* this.compact(keyspace, plan)
      }
    } catch (error) {
      if (!isAborted(error)) throw error
    }
  }

  /** No read at this seqno will come any more: it may be all that something was kept for. */
  readsEnded(seqno: number): void {
    for (const [keyspace, highest] of this.#awaited) {
      if (seqno <= highest) this.queueCompaction(keyspace)
    }
  }

  /** Runs a plan; throws why it could not be. */
  *compact(keyspace: Keyspace, plan: PlanData, watch?: CompactionWatch): Flow<void> {
    const job = keyspace.tree.claim(plan)
    if (watch === undefined) this.#unwatched.add(job)
    else watch.job = job
    job.mayWait = watch !== undefined || !this.#isPaused
    this.#running.set(job, keyspace)
    keyspace.compactions++
    // Another worker may find a second plan beside this one.
    if (this.#parts.maxCompactions > 1) this.queueCompaction(keyspace)
    const { vfs, control } = this.#parts
    const begin = vfs.monotonicMillis()
    let problem: unknown
    try {
      const figures = yield* keyspace.tree.compact(job)
      const ms = vfs.monotonicMillis() - begin
      control?.noteCompaction(figures.bytesRead, ms)
      this.figures.compacted(keyspace.tree, plan, figures, ms)
      keyspace.compactionRetry = 0
      keyspace.isCompactionPausing = false
    } catch (error) {
      problem = error
      throw error
    } finally {
      this.#running.delete(job)
      this.#unwatched.delete(job)
      keyspace.compactions--
      this.figures.compacting += vfs.monotonicMillis() - begin
      this.#countLevel0(keyspace)
      this.#compactionEnded(keyspace, problem)
    }
  }

  #compactionEnded(keyspace: Keyspace, problem: unknown): void {
    // A sync caller asked what only others can wait for: that says nothing against them.
    const isHarmless = isAborted(problem) || isAsyncFilterFailure(problem)
    const hasFailed = problem !== undefined && !isHarmless
    if (hasFailed) this.#tellFailure(isFilterFailure(problem) ? 'filter' : 'compaction', problem)
    this.#problems.set('compaction', keyspace, hasFailed ? this.#failed(problem) : undefined)
    if (keyspace.isFlushHeld) {
      keyspace.isFlushHeld = false
      // While compactions fail, level 0 grows: waiting for them would try them again at once.
      if (hasFailed) keyspace.flushesNow = true
      this.#queueFlush(keyspace)
    }
    if (!hasFailed) {
      this.queueCompaction(keyspace)
    } else if (!this.#isStopping) {
      this.#pauseCompactions(keyspace, isFatal(problem))
    }
    this.#tellJobWaiters()
    this.#tellIdle()
  }

  /** Nor by another worker, who would find the same plan. */
  #pauseCompactions(keyspace: Keyspace, forEver: boolean): void {
    keyspace.isCompactionPausing = true
    if (forEver) return
    keyspace.compactionRetry = nextRetry(keyspace.compactionRetry)
    this.#after(keyspace.compactionRetry, () => {
      keyspace.isCompactionPausing = false
      this.queueCompaction(keyspace)
    })
  }

  /** Merges all tables into the last level. */
  majorCompaction(
    keyspace: Keyspace,
    targetSize: number | undefined,
    watch?: CompactionWatch,
  ): Flow<void> {
    return this.#runWhenFree(keyspace, () => keyspace.tree.majorPlan(targetSize), watch)
  }

  /** Drops the tables inside of the bounds. */
  dropRange(
    keyspace: Keyspace,
    lower: Uint8Array | undefined,
    upper: Uint8Array | undefined,
    watch?: CompactionWatch,
  ): Flow<void> {
    return this.#runWhenFree(keyspace, () => keyspace.tree.dropRangePlan(lower, upper), watch)
  }

  /** Runs a plan once none of its tables is busy; it is made anew until then. */
  *#runWhenFree(
    keyspace: Keyspace,
    makePlan: () => PlanData | undefined,
    watch: CompactionWatch = new CompactionWatch(),
  ): Flow<void> {
    keyspace.wanted++
    this.#wanted++
    watch.onStop = () => this.#tellJobWaiters()
    try {
      for (;;) {
        if (watch.isStopped || this.#isStopping) {
          throw new ShaleError('ABORTED', 'the compaction was stopped')
        }
        try {
          yield* this.dropCovered(keyspace)
          const plan = makePlan()
          if (plan === undefined) return
          yield* this.compact(keyspace, plan, watch)
          return
        } catch (error) {
          // Some of its tables are busy, or a sync caller took them over.
          if (!isAborted(error)) throw error
          if (keyspace.compactions > 0) yield* this.#jobEnd(keyspace)
        }
      }
    } finally {
      keyspace.wanted--
      this.#wanted--
      this.queueCompaction(keyspace)
      this.#tellIdle()
    }
  }

  /** They look again. */
  #tellJobWaiters(): void {
    for (const told of this.#jobWaiters.splice(0)) told()
  }

  /** Until a job of the keyspace has ended; a sync caller ends them. */
  #jobEnd(keyspace: Keyspace): Io<void> {
    return new Io<void>(
      () => runSync(keyspace.tree.takeOver()),
      async () => new Promise((resolve) => this.#jobWaiters.push(resolve)),
    )
  }

  // --- failures ----------------------------------------------------------------------------------

  /** What is not a failure of the system is a defect, and no less a problem. */
  #failed(error: unknown): ShaleError {
    if (isFatal(error) && !this.#isStopping) this.#parts.onFatal(error as ShaleError)
    return error as ShaleError
  }

  /** A failed sync ends writing: that is told instead. */
  #tellFailure(during: EngineErrorSource, error: unknown): void {
    if (!isFatal(error) && !this.#isStopping) this.figures.failed(during, error)
  }

  #after(milliseconds: number, call: () => void): void {
    const timer = new Timer(() => {
      this.#timers.delete(timer)
      call()
    })
    this.#timers.add(timer)
    timer.arm(milliseconds)
  }

  // --- pause, drain, stop ------------------------------------------------------------------------

  get state(): 'idle' | 'running' | 'paused' {
    if (this.#isPaused) return 'paused'
    return this.#running.size === 0 ? 'idle' : 'running'
  }

  jobs(): readonly { readonly keyspace: Keyspace; readonly job: CompactionJob }[] {
    return [...this.#running].map(([job, keyspace]) => ({ keyspace, job }))
  }

  /** No new job starts; resolves when none runs. Those of the background await no filter. */
  async pause(): Promise<void> {
    this.#isPaused = true
    for (const job of this.#unwatched) job.mayWait = false
    for (const keyspace of this.#keyspaces) this.#releaseFlush(keyspace)
    this.#tellLevel0()
    return this.#until(this.#pausers)
  }

  resume(): void {
    this.#isPaused = false
    for (const job of this.#unwatched) job.mayWait = true
    this.#tellLevel0()
    this.#pumpCompactions()
  }

  /** Resolves when no strategy has anything left to do. */
  async drain(): Promise<void> {
    return this.#until(this.#drainers)
  }

  async #until(waiters: Waiters): Promise<void> {
    const told = waiters.wait()
    this.#tellIdle()
    return told
  }

  #tellIdle(): void {
    // One that decides may start a job, and so may a major compaction that waits for one to end.
    if (this.#running.size > 0 || this.#working > 0 || this.#isStopping) return
    if (this.#isPaused && this.#wanted === 0) this.#pausers.resolve()
    if (this.#compactions.length > 0) return
    const { first } = this.#problems
    if (first === undefined) this.#drainers.resolve()
    else this.#drainers.reject(first)
  }

  /** Until no compaction runs, whoever began it; a sync caller does not wait. */
  #lastJobEnd(): Io<void> {
    return new Io<void>(
      () => undefined,
      async () => {
        while (this.#running.size > 0) {
          // One after the other.
          // oxlint-disable-next-line no-await-in-loop
          await new Promise<void>((resolve) => this.#jobWaiters.push(resolve))
        }
      },
    )
  }

  /** Nothing new begins; running compactions end without a commit. An async caller waits for it. */
  *stop(refusal: ShaleError): Flow<void> {
    this.#isStopping = true
    for (const timer of this.#timers) timer.stop()
    for (const job of this.#running.keys()) job.stop()
    this.#tellJobWaiters()
    yield* this.#background.end
    yield* this.#lastJobEnd()
    this.#pausers.reject(refusal)
    this.#drainers.reject(refusal)
  }
}
