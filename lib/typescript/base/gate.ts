/**
 * A few at a time, for flows: an asynchronous one waits until there is a place, in its order; a
 * sync one passes at once. It runs to its end without a break, and nobody else could go on
 * meanwhile.
 */

import { Fifo } from './fifo.ts'
import { Io } from './flow.ts'

export class Gate {
  #places: number
  readonly #waiting = new Fifo<() => void>()

  constructor(places = 1) {
    this.#places = places
  }

  /** Gives the function to leave by; to be called once. */
  readonly enter: Io<() => void> = new Io<() => void>(
    () => () => {},
    async () => {
      if (this.#places > 0) this.#places--
      else await new Promise<void>((resolve) => this.#waiting.push(resolve))
      return () => this.#leave()
    },
  )

  /** The next one has the place, or it is free. */
  #leave(): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#places++
    else next()
  }
}
