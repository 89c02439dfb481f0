// Flows that take turns in an order that a test chooses: each turn is one call of the system.

import type { Flow } from '../../../lib/typescript/base/flow.ts'

interface Running {
  readonly flow: Flow<void>
  answer: unknown
}

export class Interleaved {
  readonly #running: Running[] = []
  /** What ended flows. */
  readonly failures: unknown[] = []

  /** Flows that are not at their end. */
  get count(): number {
    return this.#running.length
  }

  /** Goes to the first call: a job claims what it works on before that. */
  start(flow: Flow<void>): void {
    this.#running.push({ flow, answer: undefined })
    this.turn(this.#running.length - 1)
  }

  /** One of them goes on to its next call, which is made at once. */
  turn(which: number): void {
    const at = which % this.#running.length
    const running = this.#running[at]
    if (running === undefined) return
    try {
      const step = running.flow.next(running.answer)
      if (step.done === true) {
        this.#running.splice(at, 1)
        return
      }
      try {
        running.answer = step.value.sync()
      } catch (error) {
        // The flow is told at once: it may go on, or end.
        const after = running.flow.throw(error)
        if (after.done === true) this.#running.splice(at, 1)
        else running.answer = after.value.sync()
      }
    } catch (error) {
      this.failures.push(error)
      this.#running.splice(at, 1)
    }
  }

  /** All of them to their ends, in turns. */
  finish(): void {
    for (let which = 0; this.#running.length > 0; which++) this.turn(which)
  }
}
