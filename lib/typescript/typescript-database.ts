/** Databases of the TypeScript engine. */

import type {
  CompactorEngine,
  DatabaseEngine,
  DatabaseFigures,
  DatabaseMetricsData,
  EngineEvent,
  EngineStatus,
  KeyspaceEngine,
  RecoveryFigures,
  TreeSettingsGiven,
} from '../engine.ts'
import type { Durability } from '../types.ts'
import { run, runSync } from './base/flow.ts'
import type { Flow } from './base/flow.ts'
import { keepAlive } from './base/keep-alive.ts'
import type { Database } from './db/database.ts'
import { EventQueue } from './db/event-queue.ts'
import type { OpenIngestion } from './db/ingestions.ts'
import type { DatabaseHandle } from './db/registry.ts'
import { TypescriptCompactor } from './typescript-compactor.ts'
import { databaseMetrics } from './typescript-metrics.ts'
import { TypescriptKeyspace } from './typescript-keyspace.ts'
import type { Hold } from './tree/super-version.ts'
import type { KeyspaceOwner } from './typescript-keyspace.ts'
import { givenStrategy } from './typescript-strategy.ts'

/** Closes the handles of databases that were dropped. */
const abandoned = new FinalizationRegistry<DatabaseHandle>((handle) => {
  handle.abandon()
})

export class TypescriptDatabase implements DatabaseEngine, KeyspaceOwner {
  readonly path: string
  readonly recovery: RecoveryFigures
  readonly compactor: CompactorEngine
  readonly database: Database
  readonly holds: Set<Hold> = new Set()
  /** Read seqnos of the snapshots that are open through it, and how many at each. */
  readonly #snapshots = new Map<number, number>()
  readonly #handle: DatabaseHandle
  /** What this handle is told; the database knows it weakly. */
  #events: EventQueue | undefined
  #closing: Promise<void> | undefined

  constructor(handle: DatabaseHandle) {
    this.#handle = handle
    this.database = handle.database
    this.path = handle.database.path
    this.recovery = handle.database.recovery
    this.compactor = new TypescriptCompactor({
      maintenance: this.database.maintenance,
      check: () => this.check(),
    })
    abandoned.register(this, handle, this)
  }

  status(): EngineStatus {
    if (!this.#handle.isClosed) return this.database.status
    return this.#handle.hasEnded ? 'closed' : 'closing'
  }

  check(): void {
    if (this.#handle.isClosed) throw this.database.closedError()
    this.database.check()
  }

  async openKeyspace(name: string, given: TreeSettingsGiven): Promise<KeyspaceEngine> {
    return keepAlive(run(this.#openKeyspace(name, given)))
  }

  openKeyspaceSync(name: string, given: TreeSettingsGiven): KeyspaceEngine {
    return runSync(this.#openKeyspace(name, given))
  }

  *#openKeyspace(name: string, given: TreeSettingsGiven): Flow<KeyspaceEngine> {
    this.check()
    const { filterOf } = this.#handle
    const strategy = givenStrategy(given.compaction)
    const keyspace = yield* this.database.openKeyspace(name, given, filterOf, strategy)
    return new TypescriptKeyspace(this, keyspace)
  }

  keyspaceNames(): string[] {
    this.check()
    return this.database.keyspaces.names()
  }

  async write(entries: Uint8Array, durability: Durability): Promise<void> {
    this.check()
    return this.database.write(entries, durability)
  }

  writeSync(entries: Uint8Array, durability: Durability): void {
    this.check()
    this.database.writeSync(entries, durability)
  }

  async persist(durability: Durability): Promise<void> {
    this.check()
    return keepAlive(run(this.database.persist(durability)))
  }

  persistSync(durability: Durability): void {
    this.check()
    runSync(this.database.persist(durability))
  }

  openSnapshot(): number {
    this.check()
    const { snapshots, visible } = this.database
    snapshots.open(visible)
    this.#snapshots.set(visible, (this.#snapshots.get(visible) ?? 0) + 1)
    return visible
  }

  closeSnapshot(seqno: number, isAbandoned = false): void {
    const count = this.#snapshots.get(seqno)
    if (count === undefined) return // it has ended with this handle
    if (count === 1) this.#snapshots.delete(seqno)
    else this.#snapshots.set(seqno, count - 1)
    this.database.closeSnapshot(seqno, isAbandoned)
  }

  /** What is read through this handle ends, also where the database goes on for others. */
  #endReads(): void {
    for (const hold of this.holds) hold.end(this.database.closedError())
    for (const seqno of this.#snapshots.keys()) {
      while (this.#snapshots.has(seqno)) this.closeSnapshot(seqno)
    }
  }

  figures(): DatabaseFigures {
    this.check()
    return this.database.figures()
  }

  metrics(): DatabaseMetricsData {
    this.check()
    return databaseMetrics(this.database)
  }

  listen(handler: ((events: readonly EngineEvent[]) => void) | undefined): void {
    const { events, counters } = this.database
    if (this.#events !== undefined) {
      events.remove(this.#events)
      this.#events.end()
      this.#events = undefined
    }
    if (handler === undefined || this.#handle.isClosed) return
    this.#events = new EventQueue(handler, counters)
    events.add(this.#events)
  }

  owns(ingestion: OpenIngestion): void {
    this.#handle.owns(ingestion)
  }

  async close(): Promise<void> {
    abandoned.unregister(this)
    this.#closing ??= keepAlive(run(this.#close()))
    return this.#closing
  }

  closeSync(): void {
    abandoned.unregister(this)
    runSync(this.#close())
  }

  /** A sync caller may come to the end of it before an async one. */
  *#close(): Flow<void> {
    if (!this.#handle.isClosed) {
      this.#events?.push({ type: 'status', status: 'closing' })
      this.#endReads()
    }
    try {
      yield* this.#handle.close()
    } finally {
      if (this.#events !== undefined) {
        this.database.events.remove(this.#events)
        this.#events.close({ type: 'status', status: 'closed' })
        this.#events = undefined
      }
    }
  }
}
