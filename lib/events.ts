/** Events of a database: who listens, and how they are told. */

import type { CompactionPlan } from './compaction-plan.ts'
import type { DatabaseEngine, EngineEvent, EngineStatus } from './engine.ts'
import { kindOf, ShaleError } from './errors.ts'

/** What listeners are given. */
export interface DatabaseEvents {
  /** Memtables of a keyspace went to tables in level 0. */
  flush: {
    readonly keyspace: string
    readonly tables: number
    /** Of tables and blob files that were written. */
    readonly bytes: number
    readonly ms: number
  }
  /** A plan was carried out. */
  compaction: {
    readonly keyspace: string
    readonly plan: Readonly<CompactionPlan>
    /** Of the tables that were merged; 0 where none was read. */
    readonly bytesRead: number
    readonly bytesWritten: number
    readonly ms: number
  }
  /**
   * Writers begin to be delayed (`active`), because of memory that waits to be flushed or of what
   * waits in level 0; or nothing delays them any more, after `ms`.
   */
  stall: { readonly reason: 'memory' | 'level0'; readonly active: boolean; readonly ms: number }
  /** Another `status`; `cause` is why it is degraded or failed. */
  status: { readonly status: EngineStatus; readonly cause?: ShaleError }
  /**
   * Something failed that nobody has called for, and may be tried again: each failed flush and
   * compaction, a failed sync, the first of several failures in a row to write the journal or to
   * make and remove its files. What a call waits for rejects that call as well.
   */
  error: {
    readonly error: ShaleError
    readonly during: 'flush' | 'compaction' | 'sync' | 'journal' | 'filter' | 'strategy'
  }
}

export type DatabaseEventName = keyof DatabaseEvents
export type DatabaseListener<E extends DatabaseEventName> = (payload: DatabaseEvents[E]) => void

type AnyListener = (payload: object) => void

const NAMES = ['flush', 'compaction', 'stall', 'status', 'error'] as const

/** Those of one handle. The engine tells of nothing while there are none. */
export class Listeners {
  readonly #engine: DatabaseEngine
  readonly #byEvent = new Map<DatabaseEventName, Set<AnyListener>>()
  #isTold = false

  constructor(engine: DatabaseEngine) {
    this.#engine = engine
  }

  add(event: unknown, listener: unknown): void {
    const [name, call] = checked(event, listener)
    const listeners = this.#byEvent.get(name) ?? new Set()
    this.#byEvent.set(name, listeners.add(call))
    this.#listen()
  }

  remove(event: unknown, listener: unknown): void {
    const [name, call] = checked(event, listener)
    const listeners = this.#byEvent.get(name)
    if (listeners?.delete(call) !== true || listeners.size > 0) return
    this.#byEvent.delete(name)
    this.#listen()
  }

  #listen(): void {
    const isWanted = this.#byEvent.size > 0
    if (isWanted === this.#isTold) return
    this.#engine.listen(isWanted ? (events) => this.#deliver(events) : undefined)
    this.#isTold = isWanted
  }

  #deliver(events: readonly EngineEvent[]): void {
    for (const event of events) {
      const listeners = this.#byEvent.get(event.type)
      if (listeners === undefined) continue
      const payload = payloadOf(event)
      // One of them may take others away, or bring others.
      const called = [...listeners]
      for (const listener of called) if (listeners.has(listener)) tell(listener, payload)
    }
  }
}

function checked(event: unknown, listener: unknown): [DatabaseEventName, AnyListener] {
  const name = NAMES.find((known) => known === event)
  if (name === undefined) {
    const names = NAMES.map((known) => `'${known}'`).join(', ')
    throw new ShaleError('INVALID_ARGUMENT', `event must be one of ${names}`)
  }
  if (typeof listener !== 'function') {
    const kind = kindOf(listener)
    throw new ShaleError('INVALID_ARGUMENT', `listener must be a function, not ${kind}`)
  }
  return [name, listener as AnyListener]
}

function payloadOf(event: EngineEvent): object {
  const payload: Partial<EngineEvent> = { ...event }
  delete payload.type
  if (event.type === 'compaction') {
    const tables = Object.freeze([...event.plan.tables])
    Object.assign(payload, { plan: Object.freeze({ ...event.plan, tables }) })
  }
  return Object.freeze(payload)
}

/** What a listener throws is its own failure: nobody who works here may stumble over it. */
function tell(listener: AnyListener, payload: object): void {
  try {
    listener(payload)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
