/**
 * The databases that are open in this environment: who opens a directory again shares what is open,
 * and the last one to close ends it. Other environments of the process are kept out by the lock.
 */

import type { DatabaseSettings } from '../../engine.ts'
import { ShaleError } from '../../errors.ts'
import { Io, run } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { isErrno } from '../base/status.ts'
import type { FileInfo, Vfs } from '../vfs/vfs.ts'
import { Database } from './database.ts'
import type { OpenIngestion } from './ingestions.ts'

interface Core {
  readonly identity: string
  /** Undefined while it is being opened. */
  database: Database | undefined
  readonly settings: DatabaseSettings
  handles: number
  /** It is being opened or closed; told when that is done. */
  waiting: (() => void)[] | undefined
}

/** By what identifies a directory, whatever the path to it. */
const cores = new Map<string, Core>()

/** One open of a database, to be closed once. */
export class DatabaseHandle {
  readonly database: Database
  /** The filters that it brings. */
  readonly filterOf: DatabaseSettings['filterOf']
  /** What it shares with others; undefined if the directory could not be told from others. */
  readonly #core: Core | undefined
  /** Those that were begun through it, as far as they may not have ended. */
  readonly #ingestions = new Set<OpenIngestion>()
  #isClosed = false
  #hasEnded = false

  private constructor(
    database: Database,
    filterOf: DatabaseSettings['filterOf'],
    core: Core | undefined,
  ) {
    this.database = database
    this.filterOf = filterOf
    this.#core = core
  }

  static *open(vfs: Vfs, path: string, settings: DatabaseSettings): Flow<DatabaseHandle> {
    const { filterOf } = settings
    const identity = yield* locate(vfs, path, settings)
    if (identity === undefined) {
      return new DatabaseHandle(yield* Database.open(vfs, path, settings), filterOf, undefined)
    }
    const core = yield* join(vfs, identity, path, settings)
    const handle = new DatabaseHandle(core.database!, filterOf, core)
    try {
      handle.database.keyspaces.offerFilters(filterOf)
    } catch (error) {
      yield* handle.close()
      throw error
    }
    return handle
  }

  /** Whether its user has closed it. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Whether that is done. */
  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Unless it has ended by then, it is rolled back when this handle is closed. */
  owns(ingestion: OpenIngestion): void {
    for (const other of this.#ingestions) if (other.hasEnded) this.#ingestions.delete(other)
    this.#ingestions.add(ingestion)
  }

  /** The last handle ends the database. A sync caller may come to the end before an async one. */
  *close(): Flow<void> {
    if (this.#hasEnded) return
    const core = this.#core
    if (!this.#isClosed) {
      this.#isClosed = true
      if (core !== undefined && --core.handles === 0) core.waiting = []
    }
    try {
      if (core === undefined || core.handles === 0) yield* this.database.close()
      else {
        for (const ingestion of this.#ingestions) ingestion.abort()
        this.database.keyspaces.dropFilters(this.filterOf)
      }
    } finally {
      this.#hasEnded = true
      if (core?.handles === 0) leave(core)
    }
  }

  /** In the background: its user has forgotten it. */
  abandon(): void {
    run(this.close()).catch(() => {}) // nobody is left to tell
  }
}

/** Undefined if there is no such directory and none can be made: Database.open says why. */
function* locate(vfs: Vfs, path: string, settings: DatabaseSettings): Flow<string | undefined> {
  let found = yield* identify(vfs, path)
  if (found === 'missing' && settings.createIfMissing && !settings.readOnly) {
    try {
      yield* vfs.makeDir(path)
    } catch {
      // Another open may have been faster.
    }
    found = yield* identify(vfs, path)
  }
  return found === 'missing' ? undefined : found?.identity
}

/** Undefined if that is no directory, or cannot be looked at. */
function* identify(vfs: Vfs, path: string): Flow<FileInfo | 'missing' | undefined> {
  try {
    const info = yield* vfs.statTarget(path)
    return info.type === 'directory' ? info : undefined
  } catch (error) {
    return isErrno(error, 'ENOENT') ? 'missing' : undefined
  }
}

/** Joins a database that is open, or opens it. */
function* join(vfs: Vfs, identity: string, path: string, settings: DatabaseSettings): Flow<Core> {
  for (let core = cores.get(identity); core !== undefined; core = cores.get(identity)) {
    if (core.waiting !== undefined) {
      yield* untilDone(core, path)
      continue
    }
    if (settings.errorIfExists) {
      throw new ShaleError('DB_EXISTS', 'the folder holds a database', { path })
    }
    const differing = differences(settings, core.settings)
    if (differing.length > 0) {
      throw lockedHere(path, `with another ${differing.join(', ')}`)
    }
    core.handles++
    return core
  }
  const core: Core = { identity, database: undefined, settings, handles: 1, waiting: [] }
  cores.set(identity, core)
  try {
    core.database = yield* Database.open(vfs, path, settings)
  } catch (error) {
    leave(core)
    throw error
  }
  wake(core)
  return core
}

/** A sync caller cannot wait for an async one. */
function untilDone(core: Core, path: string): Io<void> {
  return new Io<void>(
    () => {
      throw lockedHere(path, 'by a call that has not ended')
    },
    async () => new Promise((resolve) => core.waiting?.push(resolve)),
  )
}

function leave(core: Core): void {
  if (cores.get(core.identity) === core) cores.delete(core.identity)
  wake(core)
}

function wake(core: Core): void {
  const { waiting = [] } = core
  core.waiting = undefined
  for (const told of waiting) told()
}

function lockedHere(path: string, how: string): ShaleError {
  const message = `${path} is open already, in this process, ${how}`
  return new ShaleError('DB_LOCKED', message, { path, pid: process.pid, sameProcess: true })
}

/** What says what one open may do, and functions: they may differ. */
const OWN: ReadonlySet<string> = new Set(['createIfMissing', 'errorIfExists', 'filterOf'])

/** Options by name that two opens do not agree on. */
function differences(a: DatabaseSettings, b: DatabaseSettings): string[] {
  const names = Object.keys(a) as (keyof DatabaseSettings)[]
  return names.filter((name) => !OWN.has(name) && a[name] !== b[name])
}
