/** Something to be done after a while, once; it keeps no process alive. */

export class Timer {
  readonly #call: () => void
  #handle: NodeJS.Timeout | undefined
  #dueAt = Infinity
  #isStopped = false

  constructor(call: () => void) {
    this.#call = call
  }

  /** No effect while it is armed. */
  arm(milliseconds: number): void {
    if (this.#isStopped || this.#handle !== undefined) return
    this.#dueAt = performance.now() + milliseconds
    this.#handle = setTimeout(() => {
      this.cancel()
      this.#call()
    }, milliseconds)
    this.#handle.unref()
  }

  cancel(): void {
    clearTimeout(this.#handle)
    this.#handle = undefined
    this.#dueAt = Infinity
  }

  /** Whether its time has come, and the event loop has not. */
  get isDue(): boolean {
    return this.#dueAt !== Infinity && performance.now() > this.#dueAt
  }

  /** For good. */
  stop(): void {
    this.#isStopped = true
    this.cancel()
  }
}
