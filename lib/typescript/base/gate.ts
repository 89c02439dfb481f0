/**
 * One at a time, for flows: an asynchronous one waits until those before it have left, a sync one
 * passes at once. It runs to its end without a break, and nobody else could go on meanwhile.
 */

import { Io } from './flow.ts'

export class Gate {
  #isBusy = false
  readonly #waiting: (() => void)[] = []

  /** Gives the function to leave by; to be called once. */
  readonly enter: Io<() => void> = new Io<() => void>(
    () => () => {},
    async () => {
      if (this.#isBusy) await new Promise<void>((resolve) => this.#waiting.push(resolve))
      this.#isBusy = true
      return () => this.#leave()
    },
  )

  #leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#isBusy = false
    else next()
  }
}
