/**
 * Events on their way from a database to those who listen. Nothing is made or kept while nobody
 * does.
 */

import { EVENTS_MAX } from '../../engine.ts'
import type { EngineEvent } from '../../engine.ts'
import { wakeLoop } from '../base/keep-alive.ts'
import type { DatabaseCounters } from './database-counters.ts'

type Handler = (events: readonly EngineEvent[]) => void
type Stall = EngineEvent & { readonly type: 'stall' }

/**
 * What waits for the handler of one handle, which is called in a turn of the event loop of its own.
 * The database does not hold it: who drops the handle drops it as well, but for what has happened
 * until then.
 */
export class EventQueue {
  readonly #handler: Handler
  readonly #counters: DatabaseCounters
  #waiting: EngineEvent[] = []
  /** Stalls whose begin was told, or will be. */
  readonly #stalls = new Set<Stall['reason']>()
  #isScheduled = false
  #hasEnded = false

  constructor(handler: Handler, counters: DatabaseCounters) {
    this.#handler = handler
    this.#counters = counters
  }

  push(event: EngineEvent): void {
    if (this.#hasEnded) return
    if (!this.#take(event)) {
      this.#counters.eventsDropped++
      return
    }
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.#deliver()).unref()
    wakeLoop()
  }

  #take(event: EngineEvent): boolean {
    const isFull = this.#waiting.length >= EVENTS_MAX
    if (isFull && !this.#mustTake(event)) return false
    if (event.type === 'stall') {
      if (event.active) this.#stalls.add(event.reason)
      else this.#stalls.delete(event.reason)
    }
    // Of several states that nobody has seen the last one will do.
    if (isFull && event.type === 'status' && this.#waiting.at(-1)?.type === 'status') {
      this.#waiting.pop()
    }
    this.#waiting.push(event)
    return true
  }

  #mustTake(event: EngineEvent): boolean {
    if (event.type === 'status') return true
    return event.type === 'stall' && !event.active && this.#stalls.has(event.reason)
  }

  #deliver(): void {
    this.#isScheduled = false
    const events = this.#waiting
    this.#waiting = []
    if (events.length > 0) this.#handler(events)
  }

  /** The last one. It is told even if the loop has nothing else to do. */
  close(event: EngineEvent): void {
    this.push(event)
    this.#hasEnded = true
    setImmediate(() => this.#deliver())
  }

  /** Nobody listens any more. */
  end(): void {
    this.#hasEnded = true
    this.#waiting = []
  }
}

/** All queues of a database. */
export class Events {
  readonly #queues = new Set<WeakRef<EventQueue>>()

  /** Whether events are worth to be made. */
  get areWanted(): boolean {
    return this.#queues.size > 0
  }

  add(queue: EventQueue): void {
    this.#queues.add(new WeakRef(queue))
  }

  remove(queue: EventQueue): void {
    for (const known of this.#queues) if (known.deref() === queue) this.#queues.delete(known)
  }

  tell(event: EngineEvent): void {
    for (const known of this.#queues) {
      const queue = known.deref()
      if (queue === undefined) this.#queues.delete(known)
      else queue.push(event)
    }
  }
}
