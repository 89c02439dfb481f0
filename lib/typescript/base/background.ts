/** Flows that run behind everybody's back, and who has to wait for their end. */

import { Io, run } from './flow.ts'
import type { Flow } from './flow.ts'

export class Background {
  readonly #running = new Set<Promise<void>>()

  /** Runs it; its failure, if it has one, is told. */
  begin(flow: Flow<void>, onFailure: (error: unknown) => void): void {
    const running = run(flow)
      .catch(onFailure)
      .finally(() => {
        this.#running.delete(running)
      })
    this.#running.add(running)
  }

  /** Until none runs. A sync caller cannot wait: what runs must find out by itself. */
  readonly end: Io<void> = new Io<void>(
    () => undefined,
    async () => {
      while (this.#running.size > 0) {
        // Those that end may begin others.
        // oxlint-disable-next-line no-await-in-loop
        await Promise.all(this.#running)
      }
    },
  )
}
