/**
 * Events of a database, as the handle that listens gets them: taken from the core once per turn of
 * the event loop, before the answers of that turn.
 *
 * Only the handle holds its feed: one that is dropped is collected although somebody listens.
 */

import type { EngineEvent } from '../engine.ts'
import type { CoreError } from './addon.ts'
import { door, META } from './addon.ts'
import { errorOf, failure } from './failure.ts'
import { META_HANDLE, META_STATUS } from './protocol.ts'

/** An event as the door gives it: with what the core says about a failure. */
export type EventData =
  | Exclude<EngineEvent, { type: 'status' | 'error' }>
  | (Omit<Extract<EngineEvent, { type: 'status' }>, 'cause'> & { cause?: CoreError })
  | (Omit<Extract<EngineEvent, { type: 'error' }>, 'error'> & { error: CoreError })

type Handler = (events: readonly EngineEvent[]) => void

/** By the handle of their queue in the addon. */
const feeds = new Map<number, WeakRef<EventFeed>>()

/** Gives the queue back; what has not been delivered goes. */
function release(queue: number): void {
  if (!feeds.delete(queue)) return
  META[META_HANDLE] = queue
  door.release()
}

const abandoned = new FinalizationRegistry<number>(release)

export class EventFeed {
  readonly #queue: number
  readonly #handler: Handler

  /** Of the database whose core is `handle`, from now on. */
  static open(handle: number, handler: Handler): EventFeed {
    META[META_HANDLE] = handle
    door.listen()
    const status = META[META_STATUS] as number
    if (status !== 0) throw failure(status)
    return new EventFeed(META[META_HANDLE], handler)
  }

  private constructor(queue: number, handler: Handler) {
    this.#queue = queue
    this.#handler = handler
    abandoned.register(this, queue, this)
    feeds.set(queue, new WeakRef(this))
  }

  end(): void {
    abandoned.unregister(this)
    release(this.#queue)
  }

  deliver(taken: readonly EventData[]): void {
    const events = taken.map(eventOf)
    const last = events.at(-1)
    if (last?.type === 'status' && last.status === 'closed') this.end()
    this.#handler(events)
  }
}

function eventOf(event: EventData): EngineEvent {
  if (event.type === 'error') return { ...event, error: errorOf(event.error) }
  if (event.type !== 'status') return event
  const { cause, ...rest } = event
  return cause === undefined ? rest : { ...rest, cause: errorOf(cause) }
}

/**
 * To all who listen in this environment. Feeds without events are not looked at: that would keep
 * them alive for the rest of the turn.
 */
export function deliverEvents(): void {
  for (const [queue, feed] of feeds) {
    META[META_HANDLE] = queue
    const taken = door.takeEvents()
    if (taken !== undefined) feed.deref()?.deliver(taken)
  }
}
