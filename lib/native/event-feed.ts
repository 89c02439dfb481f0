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

const feeds = new Set<WeakRef<EventFeed>>()

/** The queue in the addon; 0 once it was given back. */
interface Source {
  handle: number
}

function release(source: Source): void {
  META[META_HANDLE] = source.handle
  source.handle = 0
  door.release()
}

const abandoned = new FinalizationRegistry<Source>(release)

export class EventFeed {
  readonly #source: Source
  readonly #handler: Handler
  readonly #listed = new WeakRef(this)

  /** Of the database whose core is `handle`, from now on. */
  static open(handle: number, handler: Handler): EventFeed {
    META[META_HANDLE] = handle
    door.listen()
    const status = META[META_STATUS] as number
    if (status !== 0) throw failure(status)
    return new EventFeed({ handle: META[META_HANDLE] }, handler)
  }

  private constructor(source: Source, handler: Handler) {
    this.#source = source
    this.#handler = handler
    abandoned.register(this, source, source)
    feeds.add(this.#listed)
  }

  /** What has not been delivered goes. */
  end(): void {
    if (this.#source.handle === 0) return
    feeds.delete(this.#listed)
    abandoned.unregister(this.#source)
    release(this.#source)
  }

  deliver(): void {
    META[META_HANDLE] = this.#source.handle
    const taken = door.takeEvents()
    if (taken === undefined) return
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

/** To all who listen in this environment. */
export function deliverEvents(): void {
  for (const listed of feeds) {
    const feed = listed.deref()
    if (feed === undefined) feeds.delete(listed)
    else feed.deliver()
  }
}
