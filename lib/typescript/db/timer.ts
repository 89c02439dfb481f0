/** Something to be done after a while, once; it keeps no process alive. */

export class Timer {
  readonly #call: () => void
  #handle: NodeJS.Timeout | undefined
  #isStopped = false

  constructor(call: () => void) {
    this.#call = call
  }

  get isArmed(): boolean {
    return this.#handle !== undefined
  }

  /** No effect while it is armed. */
  arm(milliseconds: number): void {
    if (this.#isStopped || this.#handle !== undefined) return
    this.#handle = setTimeout(() => {
      this.#handle = undefined
      this.#call()
    }, milliseconds)
    this.#handle.unref()
  }

  cancel(): void {
    clearTimeout(this.#handle)
    this.#handle = undefined
  }

  /** For good. */
  stop(): void {
    this.#isStopped = true
    this.cancel()
  }
}
