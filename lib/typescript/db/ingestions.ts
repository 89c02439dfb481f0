/**
 * Ingestions that are under way, of a database or of a bare tree: who writes to them, how they
 * become a commit, and that they end before the directory is somebody else's.
 */

import type { ShaleError } from '../../errors.ts'
import { Io, runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import type { Ingestion, IngestionTurn } from '../tree/ingestion.ts'
import type { Keyspace } from './keyspace.ts'
import type { Maintenance } from './maintenance.ts'

/** How an ingestion becomes a commit. */
export interface IngestionOrder extends IngestionTurn {
  /** Waits until there is room for one more run in level 0. */
  readonly admit: Io<void>
  /** Throws why it may not. */
  check(): void
}

export class Ingestions {
  readonly #maintenance: Maintenance
  readonly #closedError: () => ShaleError
  readonly #open = new Set<OpenIngestion>()

  constructor(maintenance: Maintenance, closedError: () => ShaleError) {
    this.#maintenance = maintenance
    this.#closedError = closedError
  }

  /** It is let go of when it has come to its end. */
  start(keyspace: Keyspace, order: IngestionOrder): OpenIngestion {
    const opened = new OpenIngestion({
      keyspace,
      order,
      maintenance: this.#maintenance,
      closedError: this.#closedError,
      onEnd: () => this.#open.delete(opened),
    })
    this.#open.add(opened)
    return opened
  }

  /** Those that are finished now come to their end, the others are rolled back. */
  *end(): Flow<void> {
    for (const one of this.#open) yield* one.end()
  }
}

interface OpenIngestionParts {
  readonly keyspace: Keyspace
  readonly order: IngestionOrder
  readonly maintenance: Maintenance
  readonly closedError: () => ShaleError
  readonly onEnd: () => void
}

export class OpenIngestion {
  readonly #parts: OpenIngestionParts
  readonly #ingestion: Ingestion
  #state: 'open' | 'finishing' | 'ended' = 'open'
  /** Its database was closed by a caller who could not wait. */
  #isStopped = false
  #waiters: (() => void)[] = []

  constructor(parts: OpenIngestionParts) {
    this.#parts = parts
    this.#ingestion = parts.keyspace.tree.startIngestion()
  }

  get hasEnded(): boolean {
    return this.#state === 'ended'
  }

  /** Ingestion rows; they may change afterwards. Nothing is left of one that fails. */
  write(rows: Uint8Array): void {
    this.#checkOpen()
    try {
      runSync(this.#ingestion.add(rows))
    } catch (error) {
      // Who goes on without it may need the room at once.
      runSync(this.#ingestion.abandon())
      this.#leave()
      throw error
    }
  }

  /** How many entries are visible now. Nothing is left of one that fails. */
  *finish(): Flow<number> {
    this.#checkOpen()
    this.#state = 'finishing'
    const { count } = this.#ingestion
    try {
      if (count > 0) yield* this.#finish()
      return count
    } catch (error) {
      yield* this.#ingestion.abandon()
      if (this.#isStopped) throw this.#parts.closedError()
      throw error
    } finally {
      this.#leave()
    }
  }

  *#finish(): Flow<void> {
    const { keyspace, order, maintenance } = this.#parts
    order.check()
    yield* order.admit
    yield* this.#ingestion.end()
    // What is left to be flushed when it gets its seqno, and others wait for it, is little then.
    maintenance.rotate(keyspace)
    yield* maintenance.flush(keyspace)
    yield* maintenance.ingest(keyspace, keyspace.tree.ingest(this.#ingestion, this.#turn))
  }

  readonly #turn: IngestionTurn = {
    begin: () => {
      const { keyspace, order, maintenance } = this.#parts
      if (this.#isStopped) throw this.#parts.closedError()
      order.check()
      const seqno = order.begin()
      maintenance.rotate(keyspace)
      return seqno
    },
    end: () => this.#parts.order.end(),
  }

  /** Gives up, unless it has an end already. */
  abort(): void {
    if (this.#state !== 'open') return
    this.#ingestion.abandonSoon()
    this.#leave()
  }

  /** Its database is closed. */
  *end(): Flow<void> {
    if (this.#state === 'open') {
      this.#leave()
      yield* this.#ingestion.abandon()
    } else {
      yield* this.#untilEnded()
    }
  }

  /** Until it has finished; a sync caller sees to it, or stops what has got no seqno yet. */
  #untilEnded(): Io<void> {
    return new Io<void>(
      () => {
        this.#isStopped = true
        runSync(this.#parts.keyspace.tree.settleIngestion())
        runSync(this.#ingestion.abandon())
        this.#leave()
      },
      async () => {
        if (this.#state !== 'finishing') return
        await new Promise<void>((resolve) => this.#waiters.push(resolve))
      },
    )
  }

  #checkOpen(): void {
    if (this.#state !== 'open') throw this.#parts.closedError()
  }

  #leave(): void {
    this.#state = 'ended'
    this.#parts.onEnd()
    for (const told of this.#waiters.splice(0)) told()
  }
}
