/** Calls that are under way, and who waits for the last of them. */

import { Io } from './flow.ts'

export class Pending {
  #count = 0
  #waiting: (() => void)[] = []

  begin(): void {
    this.#count++
  }

  end(): void {
    if (--this.#count > 0) return
    for (const told of this.#waiting.splice(0)) told()
  }

  /** Until none is under way; a sync caller does not wait. */
  readonly none: Io<void> = new Io<void>(
    () => undefined,
    async () => {
      while (this.#count > 0) {
        // Those that end may be followed by others.
        // oxlint-disable-next-line no-await-in-loop
        await new Promise<void>((resolve) => this.#waiting.push(resolve))
      }
    },
  )
}
