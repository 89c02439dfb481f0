/** Work that goes on from promise to promise leaves the event loop its turns. */

/** Milliseconds that memory may answer one such work in a row. */
const SHARE = 1

export class Turn {
  #ends = Infinity
  #passing: Promise<void> | undefined

  /** Whether the event loop should have its turn before more is done; then call `pass`. */
  get isOver(): boolean {
    const now = performance.now()
    if (this.#ends === Infinity) this.#ends = now + SHARE
    return now >= this.#ends
  }

  /** Resolves when timers and I/O had their turn, for all at once who wait for it. */
  pass(): Promise<void> {
    this.#passing ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#passing = undefined
        this.#ends = performance.now() + SHARE
        resolve()
      })
    })
    return this.#passing
  }
}
