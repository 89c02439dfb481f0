/** Work that goes on from promise to promise leaves the event loop its turns. */

/** Milliseconds that memory may answer one such work in a row. */
const SHARE = 1

export class Turn {
  #ends = Infinity

  /** Whether the event loop should have its turn before more is done; then call `pass`. */
  get isOver(): boolean {
    const now = performance.now()
    if (this.#ends === Infinity) this.#ends = now + SHARE
    return now >= this.#ends
  }

  /** Resolves when timers and I/O had their turn. */
  async pass(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#ends = performance.now() + SHARE
  }
}
