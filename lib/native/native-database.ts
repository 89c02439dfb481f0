/** Databases of the native engine. */

import {
  DURABILITY_CODES,
  type CompactorEngine,
  type DatabaseEngine,
  type DatabaseFigures,
  type DatabaseMetricsData,
  type EngineEvent,
  type EngineStatus,
  type KeyspaceEngine,
  type RecoveryFigures,
  type TreeSettingsGiven,
} from '../engine.ts'
import type { Durability } from '../types.ts'
import { door, META, NUMBERS } from './addon.ts'
import { announce, asNumber, completion, outcome } from './completions.ts'
import { Core, releaseWith } from './core.ts'
import { EventFeed } from './event-feed.ts'
import { NativeCompactor } from './native-compactor.ts'
import { NativeKeyspace } from './native-keyspace.ts'
import {
  META_COUNT,
  META_FLAGS,
  META_HANDLE,
  META_NUMBER,
  SNAPSHOT_ABANDONED,
} from './protocol.ts'

const { write, writeSync } = door

const STATUSES: readonly EngineStatus[] = ['open', 'degraded', 'failed', 'closing', 'closed']

export class NativeDatabase implements DatabaseEngine {
  readonly path: string
  readonly recovery: RecoveryFigures
  readonly compactor: CompactorEngine
  readonly #core: Core
  readonly #maxValueSize: number
  #events: EventFeed | undefined

  constructor(handle: number, maxValueSize: number) {
    this.#core = new Core(handle)
    this.#maxValueSize = maxValueSize
    releaseWith(this, this.#core)
    META[META_HANDLE] = handle
    const { path, recovery } = door.describeDatabase()
    this.path = path
    this.recovery = recovery
    this.compactor = new NativeCompactor(this.#core)
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
    this.#select()
    announce()
    door.openKeyspace(name, given)
    return outcome(asNumber, this).then((handle) => this.#keyspace(handle))
  }

  openKeyspaceSync(name: string, given: TreeSettingsGiven): KeyspaceEngine {
    this.#select()
    door.openKeyspaceSync(name, given)
    this.#core.check()
    return this.#keyspace(META[META_HANDLE] as number)
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

  #keyspace(handle: number): NativeKeyspace {
    return new NativeKeyspace(handle, this, this.#maxValueSize)
  }
}
