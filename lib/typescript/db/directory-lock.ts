/**
 * Keeps every other opener of a directory out, of either engine; docs/format.md, section 3.
 *
 * The owner file `lock` names the holder by process id, start time of the process and boot id, and
 * by a token that is new for each open. Its record is written under a name of its own first and
 * linked into place, so that nobody ever reads half of it. An owner file is stale only if its
 * process is gone. Who takes it over first links a claim on the stale token: of several, one wins.
 */

import { ShaleError } from '../../errors.ts'
import { runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { isErrno } from '../base/status.ts'
import { LOCK_NAME, parseFileName, pathIn } from '../vfs/file-name.ts'
import type { Vfs } from '../vfs/vfs.ts'
import { decodeOwner, encodeOwner, NOBODY, ownerIsGone } from './lock-owner.ts'
import type { Owner } from './lock-owner.ts'

/** Claims on claims, in a row of crashed takers. */
const CLAIM_LEVELS_MAX = 8
/** How long a short record may be one that is just being written (no hard links). */
const SHORT_RECORD_MILLIS = 100
const SHORT_RECORD_STEP = 5

/** What a step of the protocol came to: it is done, or the state changed and all begins anew. */
type Outcome = 'done' | 'again'

export class DirectoryLock {
  readonly #vfs: Vfs
  readonly #directory: string
  readonly #owner: Owner
  readonly #record: Uint8Array

  private constructor(vfs: Vfs, directory: string) {
    this.#vfs = vfs
    this.#directory = directory
    this.#owner = {
      token: newToken(vfs),
      pid: vfs.processId,
      startTime: vfs.processStartTime(vfs.processId) ?? 0n,
      bootId: vfs.bootId(),
      isKnown: true,
    }
    this.#record = encodeOwner(this.#owner)
  }

  /** DB_LOCKED names the holder. */
  static *acquire(vfs: Vfs, directory: string): Flow<DirectoryLock> {
    const lock = new DirectoryLock(vfs, directory)
    try {
      yield* lock.#acquire()
    } finally {
      yield* lock.#tryRemove(lock.#own)
      yield* lock.#tryRemove(lock.#replacement)
    }
    try {
      yield* lock.#sweep()
    } catch {
      // Rests do no harm, and the next opener looks again.
    }
    return lock
  }

  /**
   * Gives the directory back, unless somebody took it over. In one turn: a removal under way would
   * meet the file of whoever opens the directory meanwhile, after a sync close in between.
   */
  release(): void {
    runSync(this.#release())
  }

  *#release(): Flow<void> {
    let owner: Owner | undefined = this.#owner
    try {
      owner = yield* this.#read(LOCK_NAME)
    } catch {
      // It could not be read. Nobody takes it over while this process runs.
    }
    if (owner?.token === this.#owner.token) yield* this.#tryRemove(LOCK_NAME)
  }

  // --- the protocol ------------------------------------------------------------------------------

  /** The opener's record under a name of its own. */
  get #own(): string {
    return `${LOCK_NAME}.${this.#owner.token}`
  }

  /** The same in another file, to be renamed. */
  get #replacement(): string {
    return `${LOCK_NAME}.${this.#owner.token}.new`
  }

  *#acquire(): Flow<void> {
    // Durable before it gets a name that others look at: no crash may leave that without it.
    yield* this.#write(this.#own)
    for (;;) {
      if (yield* this.#place(LOCK_NAME)) return
      const holder = yield* this.#read(LOCK_NAME)
      if (holder === undefined) continue
      if (!ownerIsGone(this.#vfs, holder)) throw this.#lockedBy(holder)
      if ((yield* this.#takeOver(LOCK_NAME, holder.token, 0)) === 'done') return
    }
  }

  /** Puts the own record in the place of that of `token`, whose owner is gone. */
  *#takeOver(name: string, token: string, level: number): Flow<Outcome> {
    const claim = `${LOCK_NAME}.${token === NOBODY.token ? hex(level) : token}.claim`
    if (!(yield* this.#place(claim))) {
      const claimer = yield* this.#read(claim)
      if (claimer === undefined) return 'again'
      if (!ownerIsGone(this.#vfs, claimer)) throw this.#lockedBy(claimer)
      if (level >= CLAIM_LEVELS_MAX) throw this.#lockedBy(claimer)
      const outcome = yield* this.#takeOver(claim, claimer.token, level + 1)
      if (outcome === 'again') return outcome
    }
    try {
      return yield* this.#replace(name, token)
    } finally {
      // Nobody looks at the claim of a replaced owner. One that stayed behind after a failure would
      // keep all others out as long as this process lives.
      yield* this.#tryRemove(claim)
    }
  }

  /** Only the holder of the claim may replace a file with this token, and it looks again. */
  *#replace(name: string, token: string): Flow<Outcome> {
    const now = yield* this.#read(name)
    if (now?.token !== token) return 'again'
    yield* this.#write(this.#replacement)
    yield* this.#vfs.rename(this.#path(this.#replacement), this.#path(name))
    return 'done'
  }

  /** Links the own record to `name`; false if that exists. */
  *#place(name: string): Flow<boolean> {
    try {
      yield* this.#vfs.link(this.#path(this.#own), this.#path(name))
      return true
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return false
      if (isErrno(error, 'ENOENT')) {
        // Somebody took the own file for a rest.
        yield* this.#write(this.#own)
        return yield* this.#place(name)
      }
      if (!NO_HARD_LINKS.some((code) => isErrno(error, code))) throw error
      return this.#create(name)
    }
  }

  /**
   * What takes the place of a link where the file system has none. In one turn, so that hardly
   * anybody finds the file without the record.
   */
  #create(name: string): boolean {
    try {
      runSync(this.#write(name))
      return true
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return false
      throw error
    }
  }

  #lockedBy({ pid, startTime, bootId }: Owner): ShaleError {
    const own = this.#owner
    const path = this.#directory
    if (pid === NOBODY.pid) {
      const message = `${path} has a damaged lock.*.claim: remove it if nobody has the folder open`
      return new ShaleError('DB_LOCKED', message, { path })
    }
    const sameProcess = pid === own.pid && startTime === own.startTime && bootId === own.bootId
    const message = sameProcess
      ? `${path} is open already, in this process: no other thread or engine can share it`
      : `${path} is open already, in process ${pid}`
    return new ShaleError('DB_LOCKED', message, { path, pid, sameProcess })
  }

  // --- files -------------------------------------------------------------------------------------

  #path(name: string): string {
    return pathIn(this.#directory, name)
  }

  /** A new file with the own record, durable. */
  *#write(name: string): Flow<void> {
    const file = yield* this.#vfs.open(this.#path(name), 'create')
    try {
      yield* file.write(0, [this.#record])
      yield* file.sync()
    } finally {
      file.close()
    }
  }

  /** Whom a file names; undefined if it is not there. */
  *#read(name: string): Flow<Owner | undefined> {
    const deadline = this.#vfs.monotonicMillis() + SHORT_RECORD_MILLIS
    for (;;) {
      const bytes = yield* this.#readBytes(name)
      if (bytes === undefined) return undefined
      const owner = decodeOwner(bytes)
      const isShort = bytes.length < this.#record.length
      if (!isShort || this.#vfs.monotonicMillis() >= deadline) return owner
      yield* this.#vfs.sleep(SHORT_RECORD_STEP)
    }
  }

  *#readBytes(name: string): Flow<Uint8Array | undefined> {
    try {
      const file = yield* this.#vfs.open(this.#path(name), 'read')
      try {
        const bytes = new Uint8Array(this.#record.length)
        return bytes.subarray(0, yield* file.read(0, bytes))
      } finally {
        file.close()
      }
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined
      throw error
    }
  }

  *#tryRemove(name: string): Flow<void> {
    try {
      yield* this.#vfs.remove(this.#path(name))
    } catch {
      // It is not there, or stays as a rest that does no harm.
    }
  }

  /**
   * Removes what crashed openers left. A record that cannot be read may be one that is just being
   * written, and stays.
   */
  *#sweep(): Flow<void> {
    const names = yield* this.#vfs.list(this.#directory)
    for (const name of names) {
      if (name === LOCK_NAME || parseFileName(name).kind !== 'lock') continue
      const bytes = yield* this.#readBytes(name)
      const owner = bytes === undefined ? NOBODY : decodeOwner(bytes)
      if (owner !== NOBODY && ownerIsGone(this.#vfs, owner)) yield* this.#tryRemove(name)
    }
  }
}

/** How file systems say that they have no hard links. */
const NO_HARD_LINKS: readonly string[] = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']

function newToken(vfs: Vfs): string {
  const token = hex(BigInt(vfs.random()) * 2n ** 32n + BigInt(vfs.random()))
  return token === NOBODY.token ? newToken(vfs) : token
}

function hex(number: bigint | number): string {
  return number.toString(16).padStart(16, '0')
}
