/**
 * Databases: a directory with keyspaces, one journal, atomic batches, snapshots, background
 * maintenance.
 */

import { availableParallelism } from 'node:os'
import { makeCompactor, type Compactor } from './compactor.ts'
import type { DatabaseEngine, DatabaseFigures, KeyspaceEngine } from './engine.ts'
import { chooseEngine } from './engine-loader.ts'
import { kindOf, ShaleError } from './errors.ts'
import { Listeners, type DatabaseEventName, type DatabaseListener } from './events.ts'
import {
  keyspaceIdOf,
  makeKeyspace,
  refreshKeyspace,
  type Keyspace,
  type KeyspaceOwner,
} from './keyspace.ts'
import { databaseMetrics, type DatabaseMetrics } from './metrics.ts'
import { readOptions } from './option-checks.ts'
import {
  databaseSettings,
  durability,
  keyspaceSettings,
  type DatabaseOptions,
  type KeyspaceOptions,
} from './options.ts'
import { directoryPath } from './path.ts'
import { rejected, uncloneable, wrongReceiver } from './receiver.ts'
import { makeSnapshot, type Snapshot } from './snapshot.ts'
import type { Durability, EngineName } from './types.ts'
import { makeWriteBatch, type BatchOwner, type WriteBatch } from './write-batch.ts'

/** What recovery found at open: all zero unless something was cut or salvaged. */
export interface RecoveryReport {
  readonly commitsReplayed: number
  readonly bytesDropped: number
  /** Undefined when it cannot be known. */
  readonly commitsDropped: number | undefined
  readonly files: readonly string[]
}

const TOKEN = Symbol('database')

/**
 * An open database.
 *
 * ```ts
 * const db = await Database.open('./data')
 * const users = await db.keyspace('users')
 * // Acknowledged writes survive a kill of the process; this one survives a power loss as well.
 * await users.insert('ada', '{"born":1815}', { durability: 'sync' })
 * console.log(await users.getText('ada'))
 * await db.close()
 * ```
 *
 * One process at a time may have a directory open (DB_LOCKED names the holder). Within it all
 * worker threads that open it share one core of the native engine; the TypeScript engine lives in
 * the thread that opened the directory. An open database does not keep the process alive, a
 * pending operation does. Handles cannot be cloned or sent to workers: a worker opens the path.
 */
export class Database {
  readonly #engine: DatabaseEngine
  readonly #engineName: EngineName
  readonly #owner: Owner
  readonly #compactor: Compactor
  readonly #listeners: Listeners
  /** By name; a Map, so that every name is an ordinary one. */
  readonly #keyspaces = new Map<string, { engine: KeyspaceEngine; keyspace: Keyspace }>()
  #closing: Promise<void> | undefined

  private constructor(token: symbol, name: EngineName, engine: DatabaseEngine, owner: Owner) {
    if (token !== TOKEN) {
      throw new ShaleError('INVALID_ARGUMENT', 'a Database is made by Database.open()')
    }
    this.#engine = engine
    this.#engineName = name
    this.#owner = owner
    this.#compactor = makeCompactor(engine.compactor)
    this.#listeners = new Listeners(engine)
    uncloneable(this)
  }

  /**
   * Opens a database, or creates it (`createIfMissing`). The parent directory must exist.
   *
   * @throws ShaleError INVALID_PATH, INVALID_OPTION, DB_NOT_FOUND, DB_EXISTS, DB_LOCKED,
   * NOT_A_DATABASE,
   *   FORMAT_TOO_NEW, CORRUPTION, READ_ONLY, IO_ERROR
   */
  static open(path: string | URL, options?: DatabaseOptions): Promise<Database> {
    try {
      const directory = directoryPath(path)
      const { engine: chosen, settings } = databaseSettings(options, availableParallelism())
      const engine = chooseEngine(chosen)
      return engine
        .openDatabase(directory, settings)
        .then((opened) => new Database(TOKEN, engine.name, opened, new Owner(opened, settings)))
    } catch (error) {
      return rejected(error)
    }
  }

  static openSync(path: string | URL, options?: DatabaseOptions): Database {
    const directory = directoryPath(path)
    const { engine: chosen, settings } = databaseSettings(options, availableParallelism())
    const engine = chooseEngine(chosen)
    const opened = engine.openDatabaseSync(directory, settings)
    return new Database(TOKEN, engine.name, opened, new Owner(opened, settings))
  }

  /** Absolute. */
  get path(): string {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'path')
    return this.#engine.path
  }

  get engine(): EngineName {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'engine')
    return this.#engineName
  }

  /**
   * `degraded`: background work fails and is retried; `failed`: writes are refused until it is
   * reopened.
   */
  get status(): 'open' | 'degraded' | 'failed' | 'closing' | 'closed' {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'status')
    return this.#engine.status()
  }

  get compactor(): Compactor {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'compactor')
    return this.#compactor
  }

  get recovery(): RecoveryReport {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'recovery')
    return this.#engine.recovery
  }

  // --- keyspaces ---------------------------------------------------------------------------------

  /**
   * Opens a keyspace, or creates it. Options that are left out are as stored, or the defaults;
   * those that are given are stored and hold for new files. The same name always gives the same
   * object. One that `close()` overtakes is there if this resolves; what it resolves with says
   * DB_CLOSED then.
   *
   * @param name 1 to 255 bytes of UTF-8 without control characters
   * @throws ShaleError INVALID_NAME, INVALID_OPTION, DB_CLOSED; of a read-only database
   * KEYSPACE_NOT_FOUND, and READ_ONLY for options other than the stored ones
   */
  keyspace(name: string, options?: KeyspaceOptions): Promise<Keyspace> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Database', 'keyspace'))
    try {
      this.#owner.checkOpen()
      const checked = keyspaceName(name)
      return this.#engine
        .openKeyspace(checked, keyspaceSettings(options))
        .then((opened) => this.#keep(checked, opened))
    } catch (error) {
      return rejected(error)
    }
  }

  keyspaceSync(name: string, options?: KeyspaceOptions): Keyspace {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'keyspaceSync')
    this.#owner.checkOpen()
    const checked = keyspaceName(name)
    return this.#keep(checked, this.#engine.openKeyspaceSync(checked, keyspaceSettings(options)))
  }

  keyspaceExists(name: string): boolean {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'keyspaceExists')
    this.#owner.checkOpen()
    return this.#engine.keyspaceNames().includes(keyspaceName(name))
  }

  get keyspaceCount(): number {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'keyspaceCount')
    this.#owner.checkOpen()
    return this.#engine.keyspaceNames().length
  }

  /** In the order of their bytes. */
  listKeyspaceNames(): string[] {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'listKeyspaceNames')
    this.#owner.checkOpen()
    return this.#engine.keyspaceNames()
  }

  // --- commits and snapshots ---------------------------------------------------------------------

  /** An empty batch for this database. */
  batch(): WriteBatch {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'batch')
    this.#owner.checkOpen()
    return makeWriteBatch(this.#owner)
  }

  /** Holds what is visible now, over all keyspaces. */
  snapshot(): Snapshot {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'snapshot')
    this.#owner.checkOpen()
    return makeSnapshot(this.#owner, this.#engine)
  }

  /**
   * Makes every acknowledged commit survive what `mode` says.
   *
   * @throws ShaleError SYNC_FAILED, DISK_FULL, DB_FAILED, DB_CLOSED
   */
  persist(mode: Durability = 'sync'): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Database', 'persist'))
    try {
      return this.#engine.persist(durability(mode, 'mode'))
    } catch (error) {
      return rejected(error)
    }
  }

  persistSync(mode: Durability = 'sync'): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'persistSync')
    this.#engine.persistSync(durability(mode, 'mode'))
  }

  // --- life cycle --------------------------------------------------------------------------------

  /**
   * Waits for running calls; ends iterators, cursors and snapshots (later use: DB_CLOSED); aborts
   * compactions; flushes memtables; syncs; unlocks. With several handles on one directory in this
   * process the last one does this. Closing twice is the same promise.
   */
  close(): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Database', 'close'))
    if (this.#closing === undefined) {
      this.#owner.closing = true
      this.#closing = this.#engine.close()
    }
    return this.#closing
  }

  closeSync(): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'closeSync')
    this.#owner.closing = true
    this.#engine.closeSync()
    this.#closing ??= Promise.resolve()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Database.prototype.close.call(this)
  }

  [Symbol.dispose](): void {
    Database.prototype.closeSync.call(this)
  }

  // --- figures -----------------------------------------------------------------------------------

  /** Bytes of all memtables, active and sealed. */
  get writeBufferSize(): number {
    return Database.#figure(this, 'writeBufferSize')
  }

  /** Sealed memtables that are not in tables yet. */
  get outstandingFlushes(): number {
    return Database.#figure(this, 'outstandingFlushes')
  }

  get activeCompactions(): number {
    return Database.#figure(this, 'activeCompactions')
  }

  get compactionsCompleted(): number {
    return Database.#figure(this, 'compactionsCompleted')
  }

  /** Milliseconds that compactions took, added up. */
  get timeCompacting(): number {
    return Database.#figure(this, 'timeCompacting')
  }

  /** Journal files, the active one included. */
  get journalCount(): number {
    return Database.#figure(this, 'journalCount')
  }

  /** Bytes. */
  get cacheCapacity(): number {
    return Database.#figure(this, 'cacheCapacity')
  }

  /** The seqno that the next commit gets. */
  get seqno(): number {
    return Database.#figure(this, 'seqno')
  }

  /** Reads see commits with a smaller seqno. */
  get visibleSeqno(): number {
    return Database.#figure(this, 'visibleSeqno')
  }

  /** Bytes of all files. */
  diskSpace(): number {
    return Database.#figure(this, 'diskSpace')
  }

  /** Bytes of journal files. */
  journalDiskSpace(): number {
    return Database.#figure(this, 'journalDiskSpace')
  }

  /** What all who share the core have done since it was opened, and what of it takes how long. */
  metrics(): DatabaseMetrics {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'metrics')
    this.#owner.checkOpen()
    return databaseMetrics(this.#engine.metrics())
  }

  // --- events ------------------------------------------------------------------------------------

  /**
   * Calls `listener` for each event from here on: in this environment, in a turn of the event loop
   * of its own, in the order in which things happened, with a frozen payload. The same listener
   * twice counts once. The last event is the status `closed`.
   *
   * What a listener throws is an uncaught exception, and harms nothing else. Listeners keep no
   * process alive. An `error` that nobody listens to is just not told.
   *
   * While the event loop does not turn, at most 1,024 events wait. Flushes, compactions, errors and
   * stalls beyond that are dropped and counted in `metrics().events`; of status changes the last
   * one is kept, and who was told of a stall is told of its end.
   *
   * ```ts
   * db.on('status', ({ status, cause }) => log.warn(status, cause))
   * ```
   *
   * @throws ShaleError INVALID_ARGUMENT, DB_CLOSED
   */
  on<E extends DatabaseEventName>(event: E, listener: DatabaseListener<E>): this {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'on')
    this.#owner.checkOpen()
    this.#listeners.add(event, listener)
    return this
  }

  /** Calls the listener no more. One that is not registered is none the less, also after close. */
  off<E extends DatabaseEventName>(event: E, listener: DatabaseListener<E>): this {
    if (!(#engine in Object(this))) throw wrongReceiver('Database', 'off')
    this.#listeners.remove(event, listener)
    return this
  }

  /** Static, so that a getter on the wrong object gets as far as its check. */
  static #figure(database: Database, member: keyof DatabaseFigures): number {
    if (!(#engine in Object(database))) throw wrongReceiver('Database', member)
    database.#owner.checkOpen()
    return database.#engine.figures()[member]
  }

  #keep(name: string, opened: KeyspaceEngine): Keyspace {
    const held = this.#keyspaces.get(name)
    if (held !== undefined && held.engine.id === opened.id) {
      refreshKeyspace(held.keyspace)
      return held.keyspace
    }
    const keyspace = makeKeyspace(this.#owner, opened)
    this.#keyspaces.set(name, { engine: opened, keyspace })
    return keyspace
  }
}

/** What keyspaces, batches and snapshots know of their database; also its identity. */
class Owner implements KeyspaceOwner, BatchOwner {
  readonly engine: DatabaseEngine
  readonly path: string
  readonly defaultDurability: Durability
  readonly maxValueSize: number
  closing = false

  constructor(
    engine: DatabaseEngine,
    settings: { readonly durability: Durability; readonly maxValueSize: number },
  ) {
    this.engine = engine
    this.path = engine.path
    this.defaultDurability = settings.durability
    this.maxValueSize = settings.maxValueSize
  }

  checkOpen(): void {
    if (this.closing)
      throw new ShaleError('DB_CLOSED', 'the database is closed', { path: this.path })
  }

  keyspaceId(keyspace: unknown): number {
    return keyspaceIdOf(keyspace, this)
  }

  durabilityOf(options: unknown, fallback: Durability): Durability {
    return readOptions(options, 'options', { durability }).durability ?? fallback
  }

  durability(options: unknown): Durability {
    return this.durabilityOf(options, this.defaultDurability)
  }
}

const CONTROL = /\p{Cc}/u

function keyspaceName(name: unknown): string {
  if (typeof name !== 'string') {
    throw new ShaleError('INVALID_NAME', `a keyspace name must be a string, not ${kindOf(name)}`)
  }
  if (!(name as string & { isWellFormed(): boolean }).isWellFormed()) {
    throw new ShaleError('INVALID_NAME', 'a keyspace name has no lone surrogates')
  }
  const size = Buffer.byteLength(name)
  if (size < 1 || size > 255) {
    throw new ShaleError('INVALID_NAME', `a keyspace name has 1 to 255 bytes, not ${size}`)
  }
  if (CONTROL.test(name)) {
    throw new ShaleError('INVALID_NAME', 'a keyspace name has no control characters')
  }
  return name
}
