/** How a database is: what fails, what is told of it, and what its status is because of that. */

import type { EngineStatus } from '../../engine.ts'
import type { ShaleError } from '../../errors.ts'
import type { Events } from './event-queue.ts'
import type { JournalJob } from './journal-keeper.ts'

/** What may fail; 'failed': writing has ended. */
export type HealthSource = JournalJob | 'maintenance' | 'strategy' | 'failed'

export class Health {
  readonly #events: Events
  readonly #problems = new Map<HealthSource, ShaleError>()
  #status: EngineStatus = 'open'
  #isClosing = false

  constructor(events: Events) {
    this.#events = events
  }

  /** While it is open. */
  get status(): EngineStatus {
    return this.#status
  }

  /** Undefined: the source works again. */
  set(source: HealthSource, problem: ShaleError | undefined): void {
    if (problem === undefined) {
      if (!this.#problems.delete(source)) return
    } else if (this.#problems.has('failed')) {
      return
    } else {
      if (!this.#problems.has(source)) this.#tellError(source, problem)
      this.#problems.set(source, problem)
    }
    this.#update()
  }

  /** From here on the status is that it closes; failures are told all the same. */
  close(): void {
    this.#isClosing = true
  }

  /** Maintenance tells of its failures itself, one by one; that a strategy is missing is none. */
  #tellError(source: HealthSource, error: ShaleError): void {
    if (source === 'maintenance' || source === 'strategy') return
    const during = error.code === 'SYNC_FAILED' ? 'sync' : 'journal'
    this.#events.tell({ type: 'error', error, during })
  }

  #update(): void {
    const failure = this.#problems.get('failed')
    const [first] = this.#problems.values()
    const cause = failure ?? first
    const status = failure !== undefined ? 'failed' : cause === undefined ? 'open' : 'degraded'
    if (status === this.#status || this.#isClosing) return
    this.#status = status
    this.#events.tell({ type: 'status', status, ...(cause !== undefined && { cause }) })
  }
}
