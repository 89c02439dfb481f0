// The event loop as a test has it: nothing that waits goes on, and no timer fires, before the test
// says so, in an order drawn from a seed.

import { onTestFinished, vi } from 'vitest'
import type { LateVfs } from './late-vfs.ts'
import type { Random } from './random.ts'

const turnLoop = setImmediate

/** What is done goes on as far as it can without anything that waits. */
export async function settle(): Promise<void> {
  await new Promise((resolve) => turnLoop(resolve))
}

/** Timers and turns of the event loop are the test's, until it ends. */
export function holdTimers(): void {
  const toFake = ['setTimeout', 'clearTimeout', 'setImmediate', 'clearImmediate', 'performance']
  vi.useFakeTimers({ toFake: toFake as never })
  onTestFinished(async () => {
    // A flow that still waits for a turn would keep those of the next test waiting.
    for (let left = 100; left > 0 && vi.getTimerCount() > 0; left--) {
      vi.advanceTimersByTime(1)
      await settle()
    }
    vi.useRealTimers()
  })
}

/** Milliseconds after which every pause is over. */
const LONG = 10_000
/** Rounds after which whatever goes on will go on for ever. */
const ROUNDS_MAX = 100_000

export class Turns {
  readonly #late: LateVfs
  readonly #random: Random

  constructor(late: LateVfs, random: Random) {
    this.#late = late
    this.#random = random
  }

  /** Some of what waits goes on, or some time goes by. */
  async some(): Promise<void> {
    for (let left = this.#random.below(8); left > 0; left--) await this.#one()
  }

  async #one(): Promise<void> {
    if (this.#late.waiting > 0 && this.#random.below(4) > 0) this.#late.step(this.#random.next())
    else vi.advanceTimersByTime(this.#random.below(4) === 0 ? this.#random.below(30) : 0)
    await settle()
  }

  /** So many steps of what waits longest, each made or answered. */
  async oldest(steps: number): Promise<void> {
    for (let left = steps; left > 0; left--) {
      this.#late.step(0)
      await settle()
    }
  }

  /** Until nothing waits and nothing is due any more. */
  async rest(): Promise<void> {
    await settle()
    for (let round = 0; round < ROUNDS_MAX; round++) {
      if (this.#late.waiting > 0) this.#late.step(this.#random.next())
      else if (vi.getTimerCount() > 0) vi.advanceTimersByTime(LONG)
      else return
      await settle()
    }
    throw new Error('the background does not come to rest')
  }

  /** What the call is answered with, once it is; meanwhile whatever waits goes on. */
  async until<T>(promise: Promise<T>): Promise<T> {
    const state = { isSettled: false }
    const watched = promise.finally(() => {
      state.isSettled = true
    })
    watched.catch(() => {})
    await settle()
    for (let round = 0; !state.isSettled && round < ROUNDS_MAX; round++) await this.#one()
    if (!state.isSettled) throw new Error('a call is never answered')
    return watched
  }
}
