/**
 * Slows writers down before memory or level 0 grow out of bounds.
 *
 * Two pressures, each from 0 (free) to 1 (stop): bytes in memtables over all keyspaces against the
 * write buffer, and runs in level 0 (sealed memtables count as runs to come). Between them async
 * writes are paid for by the byte, at a rate that follows from the measured speed of flush or
 * compaction: at pressure 1/2 it equals that speed, towards 1 it goes to zero, so that writers
 * settle where the background keeps up. Whoever cannot go yet is parked, and goes on in order.
 *
 * A sync writer cannot wait for a background that shares its thread. It does the work itself; see
 * Maintenance.relieve.
 */

import type { ShaleError } from '../../errors.ts'
import { Fifo } from '../base/fifo.ts'
import type { Vfs } from '../vfs/vfs.ts'
import { Timer } from './timer.ts'

/** Level 0 of no keyspace goes above this debt of runs; flushes wait for compaction there. */
export const LEVEL0_RUNS_MAX = 12

const SOFT_MEMORY_SHARE = 0.6
const LEVEL0_RUNS_SOFT = 6
/** Bytes per second, until something was measured. */
const FIRST_RATE = 64 * 2 ** 20
/** A measured speed below it is not believed. */
const RATE_FLOOR = 2 ** 20
const SMOOTHING = 0.3
/** Writes that go on in one turn of the event loop. */
const RELEASED_MAX = 512
/** Milliseconds of debt that are not waited for, and at most. */
const CREDIT = 1
const DEBT_MAX = 50

/** Writers begin to be delayed, or nothing delays them any more, after so many milliseconds. */
export type OnStall = (reason: 'memory' | 'level0', active: boolean, ms: number) => void

/** Told that the write may go on, or why not. */
export type GoOn = (refusal: ShaleError | undefined) => void

interface Parked {
  readonly bytes: number
  readonly goOn: GoOn
  /** Milliseconds. */
  readonly since: number
}

type Verdict = 'go' | 'wait' | 'stop' | 'refuse'

export class WriteControl {
  /** Bytes of memtables from which writers are slowed, and stopped. */
  readonly softMemory: number
  readonly #hardMemory: number
  readonly #vfs: Vfs
  #memory = 0
  #level0Runs = 0
  #pressure = 0
  /** Bytes per second; 0: unlimited. */
  #rate = 0
  #flushRate = FIRST_RATE
  #compactionRate = FIRST_RATE
  /** When the debt of the writes that were let in ends. */
  #paidUntil = 0
  #obstacle: ShaleError | undefined
  #closed: ShaleError | undefined
  readonly #parked = new Fifo<Parked>()
  readonly #onStall: OnStall
  /** From the first writer who is delayed until nothing would delay one. */
  #stall: { readonly reason: 'memory' | 'level0'; readonly begun: number } | undefined
  /** Writes that were delayed, and the milliseconds of all of them. */
  stalls = 0
  stallMs = 0
  readonly #release: Timer

  constructor(vfs: Vfs, maxWriteBufferSize: number, onStall: OnStall = () => {}) {
    this.#vfs = vfs
    this.#onStall = onStall
    this.#hardMemory = maxWriteBufferSize
    this.softMemory = Math.floor(maxWriteBufferSize * SOFT_MEMORY_SHARE)
    this.#release = new Timer(() => this.#releaseParked())
  }

  /** Nothing to pay, nobody parked. */
  get isFree(): boolean {
    return this.#pressure === 0 && this.#parked.length === 0 && this.#closed === undefined
  }

  get #memoryPressure(): number {
    return share(this.#memory, this.softMemory, this.#hardMemory)
  }

  get #level0Pressure(): number {
    return share(this.#level0Runs, LEVEL0_RUNS_SOFT, LEVEL0_RUNS_MAX)
  }

  get isMemoryFull(): boolean {
    return this.#memory >= this.#hardMemory
  }

  get isLevel0Full(): boolean {
    return this.#level0Runs >= LEVEL0_RUNS_MAX
  }

  /** Why no write may go; undefined if one may. */
  get refusal(): ShaleError | undefined {
    if (this.#closed !== undefined) return this.#closed
    return this.#pressure >= 1 ? this.#obstacle : undefined
  }

  // --- writers -----------------------------------------------------------------------------------

  /** Calls `goOn` here and now, or later, behind those that wait already. */
  admit(bytes: number, goOn: GoOn): void {
    const { refusal } = this
    if (refusal !== undefined) return goOn(refusal)
    const verdict = this.#parked.length > 0 ? 'wait' : this.#judge()
    if (verdict === 'go') {
      this.#charge(bytes)
      return goOn(undefined)
    }
    this.#beginStall()
    this.#parked.push({ bytes, goOn, since: this.#vfs.monotonicMillis() })
    if (verdict === 'wait') this.#scheduleRelease()
  }

  /** Resolves when a write may go on. */
  async admitted(bytes: number): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.admit(bytes, (refusal) => {
        if (refusal === undefined) resolve()
        else reject(refusal)
      })
    })
  }

  #judge(): Verdict {
    if (this.refusal !== undefined) return 'refuse'
    if (this.#pressure >= 1) return 'stop'
    const isInDebt = this.#paidUntil > this.#vfs.monotonicMillis() + CREDIT
    return this.#pressure > 0 && isInDebt ? 'wait' : 'go'
  }

  #charge(bytes: number): void {
    if (this.#rate <= 0) return
    const now = this.#vfs.monotonicMillis()
    const cost = (bytes * 1000) / this.#rate
    this.#paidUntil = Math.min(Math.max(this.#paidUntil, now) + cost, now + DEBT_MAX)
  }

  #scheduleRelease(): void {
    const wait = this.#paidUntil - this.#vfs.monotonicMillis()
    this.#release.arm(Math.max(0, Math.ceil(wait)))
  }

  /** Lets parked writes go in their order, as far as the debt allows. */
  #releaseParked(): void {
    for (let count = 0; this.#parked.length > 0; count++) {
      if (count === RELEASED_MAX) return this.#release.arm(0)
      const verdict = this.#judge()
      if (verdict === 'stop') return // the next change goes on here
      if (verdict === 'wait') return this.#scheduleRelease()
      const { refusal } = this
      const parked = this.#parked.shift()!
      if (refusal === undefined) this.#charge(parked.bytes)
      this.#letGo(parked, refusal)
    }
    this.#endStall()
  }

  #letGo({ goOn, since }: Parked, refusal: ShaleError | undefined): void {
    if (refusal === undefined) this.#noteDelay(since)
    goOn(refusal)
  }

  #noteDelay(since: number): void {
    this.stalls++
    this.stallMs += this.#vfs.monotonicMillis() - since
  }

  #beginStall(): void {
    if (this.#stall !== undefined) return
    const reason = this.#memoryPressure > this.#level0Pressure ? 'memory' : 'level0'
    this.#stall = { reason, begun: this.#vfs.monotonicMillis() }
    this.#onStall(reason, true, 0)
  }

  #endStall(): void {
    if (this.#pressure === 0 && this.#parked.length === 0) this.#finishStall()
  }

  #finishStall(): void {
    if (this.#stall === undefined) return
    const { reason, begun } = this.#stall
    this.#stall = undefined
    this.#onStall(reason, false, this.#vfs.monotonicMillis() - begun)
  }

  /** A sync writer under full pressure works instead of waiting: it is delayed by what it does. */
  delay(work: () => void): void {
    if (!this.isMemoryFull && !this.isLevel0Full) return work()
    const since = this.#vfs.monotonicMillis()
    this.#beginStall()
    work()
    this.#noteDelay(since)
  }

  /**
   * For a sync writer, who goes behind all that are parked and cannot wait: the first of them goes,
   * whatever is owed, or is refused. False if none is parked.
   */
  letFirstGo(): boolean {
    const first = this.#parked.shift()
    if (first === undefined) return false
    const { refusal } = this
    if (refusal === undefined) this.#charge(first.bytes)
    this.#letGo(first, refusal)
    return true
  }

  // --- the background ----------------------------------------------------------------------------

  /** Bytes in memtables over all keyspaces. */
  setMemory(bytes: number): void {
    this.#memory = bytes
    if (bytes > this.softMemory || this.#pressure > 0) this.#update()
  }

  /** The largest debt of runs in level 0, sealed memtables included, over all keyspaces. */
  setLevel0(runs: number): void {
    if (runs === this.#level0Runs) return
    this.#level0Runs = runs
    this.#update()
  }

  noteFlush(bytes: number, milliseconds: number): void {
    this.#flushRate = smooth(this.#flushRate, bytes, milliseconds)
  }

  noteCompaction(bytes: number, milliseconds: number): void {
    this.#compactionRate = smooth(this.#compactionRate, bytes, milliseconds)
  }

  /** Why memtables cannot be flushed now; undefined once they can. */
  setObstacle(obstacle: ShaleError | undefined): void {
    this.#obstacle = obstacle
    this.#update()
  }

  /** Refuses everybody, now and later. */
  close(refusal: ShaleError): void {
    this.#closed = refusal
    this.#release.stop()
    for (const { goOn } of this.#parked.takeAll()) goOn(refusal)
    this.#finishStall()
  }

  /** The stronger pressure decides; its own background speed sets the rate. */
  #update(): void {
    const memory = this.#memoryPressure
    const level0 = this.#level0Pressure
    this.#pressure = Math.max(memory, level0)
    const base = memory > level0 ? this.#flushRate : this.#compactionRate
    this.#rate = this.#pressure === 0 ? 0 : (base * (1 - this.#pressure)) / this.#pressure
    if (this.#pressure === 0) this.#paidUntil = 0
    if (this.#parked.length === 0) return this.#endStall()
    this.#release.cancel()
    this.#release.arm(0)
  }
}

function smooth(before: number, bytes: number, milliseconds: number): number {
  if (bytes === 0 || milliseconds === 0) return before
  const rate = (bytes * 1000) / milliseconds
  return before + SMOOTHING * (Math.max(rate, RATE_FLOOR) - before)
}

function share(value: number, soft: number, hard: number): number {
  if (value <= soft) return 0
  return Math.min(1, (value - soft) / Math.max(1, hard - soft))
}
