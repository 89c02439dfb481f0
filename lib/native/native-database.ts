/** Databases of the native engine. */

import {
  DURABILITY_CODES,
  type CompactorEngine,
  type DatabaseEngine,
  type DatabaseFigures,
  type DatabaseMetricsData,
  type DatabaseSettings,
  type EngineEvent,
  type EngineStatus,
  type KeyspaceEngine,
  type RecoveryFigures,
  type StrategySource,
  type TreeSettingsGiven,
} from '../engine.ts'
import { rejected } from '../receiver.ts'
import type { Durability } from '../types.ts'
import { door, META, NUMBERS } from './addon.ts'
import { announce, asNumber, completion, outcome } from './completions.ts'
import { Core, releaseWith } from './core.ts'
import { EventFeed } from './event-feed.ts'
import { failure } from './failure.ts'
import { givenFilter } from './filters.ts'
import { NativeCompactor } from './native-compactor.ts'
import { NativeKeyspace } from './native-keyspace.ts'
import {
  META_COUNT,
  META_FLAGS,
  META_HANDLE,
  META_NUMBER,
  META_STATUS,
  SNAPSHOT_ABANDONED,
} from './protocol.ts'
import { doorSettings, strategyIn } from './strategies.ts'

const { write, writeSync } = door

const STATUSES: readonly EngineStatus[] = ['open', 'degraded', 'failed', 'closing', 'closed']

export class NativeDatabase implements DatabaseEngine {
  readonly path: string
  readonly recovery: RecoveryFigures
  readonly compactor: CompactorEngine
  readonly #core: Core
  readonly #settings: DatabaseSettings
  /** The keyspaces whose filters the core has. */
  readonly #filtered = new Set<string>()
  /** By keyspace, held here: see asked.ts. */
  readonly #strategies = new Map<string, StrategySource>()
  #events: EventFeed | undefined

  constructor(handle: number, settings: DatabaseSettings) {
    this.#core = new Core(handle)
    this.#settings = settings
    releaseWith(this, this.#core)
    META[META_HANDLE] = handle
    const { path, recovery } = door.describeDatabase()
    this.path = path
    this.recovery = recovery
    this.compactor = new NativeCompactor(this.#core)
  }

  /**
   * The filters of all keyspaces that there are; until then the core compacts nothing by itself.
   * Throws what the application's function throws.
   */
  giveFilters(): void {
    if (this.#settings.filterOf === undefined) return
    for (const name of this.keyspaceNames()) this.#giveFilter(name)
    this.#select()
    door.releaseCompactions()
    this.#core.check()
  }

  status(): EngineStatus {
    if (this.#core.handle === 0) return 'closed'
    if (this.#core.closing) return 'closing'
    this.#select()
    door.databaseStatus()
    this.#core.check()
    return STATUSES[META[META_COUNT] as number] as EngineStatus
  }

  openKeyspace(name: string, given: TreeSettingsGiven): Promise<KeyspaceEngine> {
    const settings = doorSettings(given)
    try {
      // Nothing is made if that throws.
      this.#settings.filterOf?.(name)
    } catch (error) {
      return rejected(error)
    }
    this.#select()
    announce()
    door.openKeyspace(name, settings)
    return outcome(asNumber, this).then((handle) => this.#keyspace(handle, name, given))
  }

  openKeyspaceSync(name: string, given: TreeSettingsGiven): KeyspaceEngine {
    this.#settings.filterOf?.(name)
    this.#select()
    door.openKeyspaceSync(name, doorSettings(given))
    this.#core.check()
    return this.#keyspace(META[META_HANDLE] as number, name, given)
  }

  keyspaceNames(): string[] {
    this.#select()
    const names = door.keyspaceNames()
    this.#core.check()
    return names
  }

  write(entries: Uint8Array, durability: Durability): Promise<void> {
    META[META_HANDLE] = this.#core.handle
    META[META_FLAGS] = DURABILITY_CODES[durability]
    announce()
    write(entries)
    return completion(this)
  }

  writeSync(entries: Uint8Array, durability: Durability): void {
    META[META_HANDLE] = this.#core.handle
    META[META_FLAGS] = DURABILITY_CODES[durability]
    writeSync(entries)
    this.#core.check()
  }

  persist(durability: Durability): Promise<void> {
    this.#select()
    META[META_FLAGS] = DURABILITY_CODES[durability]
    announce()
    door.persist()
    return completion(this)
  }

  persistSync(durability: Durability): void {
    this.#select()
    META[META_FLAGS] = DURABILITY_CODES[durability]
    door.persistSync()
    this.#core.check()
  }

  openSnapshot(): number {
    this.#select()
    door.openSnapshot()
    this.#core.check()
    return NUMBERS[META_NUMBER / 2] as number
  }

  closeSnapshot(seqno: number, isAbandoned = false): void {
    this.#select()
    META[META_FLAGS] = isAbandoned ? SNAPSHOT_ABANDONED : 0
    NUMBERS[META_NUMBER / 2] = seqno
    door.closeSnapshot()
  }

  figures(): DatabaseFigures {
    this.#select()
    const figures = door.figures()
    this.#core.check()
    return figures
  }

  metrics(): DatabaseMetricsData {
    this.#select()
    const metrics = door.databaseMetrics()
    this.#core.check()
    return metrics
  }

  listen(handler: ((events: readonly EngineEvent[]) => void) | undefined): void {
    this.#events?.end()
    this.#events = undefined
    if (handler !== undefined) this.#events = EventFeed.open(this.#core.handle, handler)
  }

  close(): Promise<void> {
    return this.#core.close()
  }

  closeSync(): void {
    this.#core.closeSync()
  }

  #select(): void {
    META[META_HANDLE] = this.#core.handle
  }

  #keyspace(handle: number, name: string, given: TreeSettingsGiven): NativeKeyspace {
    const strategy = strategyIn(given)
    if (strategy !== undefined) this.#strategies.set(name, strategy)
    const keyspace = new NativeKeyspace(handle, this, this.#settings.maxValueSize)
    this.#giveFilter(name)
    return keyspace
  }

  #giveFilter(name: string): void {
    const filter = this.#filtered.has(name) ? undefined : this.#settings.filterOf?.(name)
    if (filter === undefined) return
    this.#filtered.add(name)
    const given = givenFilter(filter)
    this.#select()
    door.addFilter(name, given)
    const status = META[META_STATUS] as number
    if (status === 0) return
    const error = failure(status)
    // It is gone, or all of them are: there is nothing to be compacted.
    if (error.code !== 'DB_CLOSED' && error.code !== 'KEYSPACE_NOT_FOUND') throw error
  }
}
