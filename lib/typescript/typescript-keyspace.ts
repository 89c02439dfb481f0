/** Keyspaces of the TypeScript engine. */

import { VALUE } from '../engine.ts'
import type {
  EntryKind,
  IngestionEngine,
  KeyspaceEngine,
  MajorCompaction,
  PlanData,
} from '../engine.ts'
import type { Durability, KeyInput, ValueInput } from '../types.ts'
import { run, runSync } from './base/flow.ts'
import { keepAlive } from './base/keep-alive.ts'
import type { Database } from './db/database.ts'
import { EntryEncoder } from './db/entry-encoder.ts'
import type { OpenIngestion } from './db/ingestions.ts'
import type { Keyspace } from './db/keyspace.ts'
import type { Hold } from './tree/super-version.ts'
import { watched } from './typescript-compactor.ts'
import { TypescriptIngestion } from './typescript-ingestion.ts'
import { TypescriptReads } from './typescript-reads.ts'

/** What keyspaces need of the handle that they were opened through. */
export interface KeyspaceOwner {
  readonly database: Database
  /** End when it is closed. */
  readonly holds: Set<Hold>
  /** Throws DB_CLOSED once it is closing. */
  check(): void
  /** Rolled back when it is closed, unless it has come to its end. */
  owns(ingestion: OpenIngestion): void
}

export class TypescriptKeyspace extends TypescriptReads implements KeyspaceEngine {
  readonly id: number
  readonly name: string
  readonly #owner: KeyspaceOwner
  readonly #database: Database
  readonly #keyspace: Keyspace
  readonly #encoder: EntryEncoder

  constructor(owner: KeyspaceOwner, keyspace: Keyspace) {
    const { database } = owner
    super({
      tree: keyspace.tree,
      get visible() {
        return database.visible
      },
      counters: database.counters,
      holds: owner.holds,
      check: () => owner.check(),
    })
    this.id = keyspace.id
    this.name = keyspace.name
    this.#owner = owner
    this.#database = database
    this.#keyspace = keyspace
    this.#encoder = new EntryEncoder(keyspace.id, database.settings.maxValueSize)
  }

  insertSync(key: KeyInput, value: ValueInput, durability: Durability): void {
    this.#writeSync(VALUE, key, value, durability)
  }

  async insert(key: KeyInput, value: ValueInput, durability: Durability): Promise<void> {
    return this.#write(VALUE, key, value, durability)
  }

  removeSync(kind: EntryKind, key: KeyInput, durability: Durability): void {
    this.#writeSync(kind, key, '', durability)
  }

  async remove(kind: EntryKind, key: KeyInput, durability: Durability): Promise<void> {
    return this.#write(kind, key, '', durability)
  }

  #writeSync(kind: EntryKind, key: KeyInput, value: ValueInput, durability: Durability): void {
    const entry = this.#encoder.encode(kind, key, value, false)
    this.#owner.check()
    this.#database.checkWrite(this.#keyspace)
    this.#database.writeOneSync(entry, durability)
  }

  #write(kind: EntryKind, key: KeyInput, value: ValueInput, durability: Durability): Promise<void> {
    const entry = this.#encoder.encode(kind, key, value, true)
    this.#owner.check()
    this.#database.checkWrite(this.#keyspace)
    return this.#database.writeOne(entry, durability)
  }

  rotateMemtable(): boolean {
    this.#owner.check()
    return this.#database.rotate(this.#keyspace)
  }

  async rotateMemtableAndWait(): Promise<void> {
    this.#owner.check()
    return keepAlive(run(this.#database.flush(this.#keyspace)))
  }

  rotateMemtableAndWaitSync(): void {
    this.#owner.check()
    runSync(this.#database.flush(this.#keyspace))
  }

  async majorCompaction(options: MajorCompaction): Promise<void> {
    this.#owner.check()
    this.#database.checkWrite(this.#keyspace)
    const { maintenance } = this.#database
    return watched(
      (watch) => run(maintenance.majorCompaction(this.#keyspace, options.targetSize, watch)),
      options,
    )
  }

  majorCompactionSync(options: MajorCompaction): void {
    this.#owner.check()
    this.#database.checkWrite(this.#keyspace)
    runSync(this.#database.maintenance.majorCompaction(this.#keyspace, options.targetSize))
  }

  async dropRange(lower: Uint8Array | undefined, upper: Uint8Array | undefined): Promise<void> {
    this.#owner.check()
    this.#database.checkWrite(this.#keyspace)
    const { maintenance } = this.#database
    return watched((watch) => run(maintenance.dropRange(this.#keyspace, lower, upper, watch)))
  }

  dropRangeSync(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void {
    this.#owner.check()
    this.#database.checkWrite(this.#keyspace)
    runSync(this.#database.maintenance.dropRange(this.#keyspace, lower, upper))
  }

  async compact(plan: PlanData): Promise<void> {
    this.#owner.check()
    this.#database.checkWrite(this.#keyspace)
    const { maintenance } = this.#database
    return watched((watch) => run(maintenance.compact(this.#keyspace, plan, watch)))
  }

  async startIngestion(): Promise<IngestionEngine> {
    return this.startIngestionSync()
  }

  startIngestionSync(): IngestionEngine {
    this.#owner.check()
    const ingestion = this.#database.startIngestion(this.#keyspace)
    this.#owner.owns(ingestion)
    return new TypescriptIngestion(ingestion)
  }
}
