/** Compactions pay for what they write, all from one purse: they leave the disk to others. */

import { Io } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import type { Vfs } from '../vfs/vfs.ts'

/** Milliseconds of one pause: closing does not wait longer. */
const PAUSE_MAX = 20

export class Throttle {
  readonly #vfs: Vfs
  /** Bytes per second; 0: unlimited. */
  readonly #rate: number
  #paidUntil = 0
  #isStopped = false

  constructor(vfs: Vfs, rate: number) {
    this.#vfs = vfs
    this.#rate = rate
  }

  /** Waits until they are paid for, or nobody wants what they are for any more. */
  *pay(bytes: number, isWanted: () => boolean): Flow<void> {
    if (this.#rate === 0 || bytes === 0) return
    const until =
      Math.max(this.#paidUntil, this.#vfs.monotonicMillis()) + (bytes * 1000) / this.#rate
    this.#paidUntil = until
    for (;;) {
      const left = until - this.#vfs.monotonicMillis()
      if (left <= 0 || this.#isStopped || !isWanted()) return
      if (!(yield* this.#pause(left))) return
    }
  }

  /** False for a sync caller, who does not sleep: what it owes is left to those behind it. */
  #pause(milliseconds: number): Io<boolean> {
    const sleep = this.#vfs.sleep(Math.min(milliseconds, PAUSE_MAX))
    return new Io(
      () => false,
      async () => {
        await sleep.async()
        return true
      },
    )
  }

  stop(): void {
    this.#isStopped = true
  }
}
