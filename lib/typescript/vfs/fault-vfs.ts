/**
 * Another Vfs of which chosen calls fail.
 *
 * A plan is a list of faults; each names an operation, a kind of file, the number of the call among
 * those that match, and what happens to it. A test runs once without a plan and reads how often
 * each operation was called; then once for each call and each fault that applies to it.
 */

import type { constants } from 'node:os'
import { Io } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { systemError } from '../base/status.ts'
import { parseFileName } from './file-name.ts'
import type { FileKind } from './file-name.ts'
import { errnoError, MemVfs } from './mem-vfs.ts'
import type { File, FileInfo, OpenMode, Vfs } from './vfs.ts'

export type FaultOperation =
  | 'open'
  | 'create'
  | 'read'
  | 'write'
  | 'truncate'
  | 'sync'
  | 'size'
  | 'syncDir'
  | 'stat'
  | 'makeDir'
  | 'removeDir'
  | 'remove'
  | 'rename'
  | 'link'
  | 'list'
  | 'freeBytes'

/**
 * What happens instead: an error of the system, or
 * - shortWrite: half of the bytes, then EIO; lostWrite: reported done, but nothing is written;
 * - flipWrite, flipRead: one bit is inverted; shortRead: ends early, as if the file did;
 * - syncKept: EIO, and what was to be synced can be read but is never durable; syncDropped: EIO,
 *   and it is gone (over memory).
 *
 * As by a real system, a failed sync is told once to each open file: the next sync of another one
 * fails as well, though nothing is left for it to do.
 */
export type FaultKind =
  | keyof typeof constants.errno
  | 'shortWrite'
  | 'lostWrite'
  | 'flipWrite'
  | 'flipRead'
  | 'shortRead'
  | 'syncKept'
  | 'syncDropped'

export interface Fault {
  readonly operation: FaultOperation
  /** By the name of the file; undefined: any, directories included. */
  readonly file?: FileKind
  /** 0 is the next matching call. */
  readonly nth: number
  readonly kind: FaultKind
  /** Every matching call from the nth on. */
  readonly sticky?: boolean
}

interface FailedSync {
  readonly count: number
  readonly kind: FaultKind
}

interface Rule {
  readonly fault: Fault
  seen: number
}

export class FaultVfs implements Vfs {
  readonly base: Vfs
  /** Faults that happened since the last `setPlan`. */
  fired = 0
  #rules: Rule[] = []
  readonly #counts = new Map<FaultOperation, number>()
  /** Failed syncs, by path: how many, and the last one. */
  readonly #failedSyncs = new Map<string, FailedSync>()

  constructor(base: Vfs) {
    this.base = base
  }

  /** An empty plan ends all faults. Counting of `nth` begins anew. */
  setPlan(plan: readonly Fault[]): void {
    this.#rules = plan.map((fault) => ({ fault, seen: 0 }))
    this.fired = 0
  }

  /** Calls since this object was made. */
  count(operation: FaultOperation): number {
    return this.#counts.get(operation) ?? 0
  }

  /** Counts the call and says what happens to it. */
  next(operation: FaultOperation, path: string): FaultKind | undefined {
    this.#counts.set(operation, this.count(operation) + 1)
    const kind = parseFileName(path.slice(path.lastIndexOf('/') + 1)).kind
    for (const rule of this.#rules) {
      const { fault } = rule
      if (fault.operation !== operation || (fault.file ?? kind) !== kind) continue
      const number = rule.seen++
      if (number === fault.nth || (fault.sticky === true && number > fault.nth)) {
        this.fired++
        return fault.kind
      }
    }
    return undefined
  }

  /** Syncs of a file that have failed so far. */
  failedSyncs(path: string): FailedSync {
    return this.#failedSyncs.get(path) ?? { count: 0, kind: 'EIO' }
  }

  failSync(path: string, kind: FaultKind): void {
    this.#failedSyncs.set(path, { count: this.failedSyncs(path).count + 1, kind })
  }

  /** `io`, or the error that a fault gives it. */
  guard<T>(operation: FaultOperation, path: string, io: Io<T>): Io<T> {
    return Io.flow(
      function* (this: FaultVfs): Flow<T> {
        const kind = this.next(operation, path)
        if (kind !== undefined) throw faultError(kind, operation, path)
        return yield* io
      }.bind(this),
    )
  }

  open(path: string, mode: OpenMode): Io<File> {
    return Io.flow(() => this.#open(path, mode))
  }

  *#open(path: string, mode: OpenMode): Flow<File> {
    const operation = mode === 'create' ? 'create' : 'open'
    return new FaultFile(this, yield* this.guard(operation, path, this.base.open(path, mode)))
  }

  stat(path: string): Io<FileInfo> {
    return this.guard('stat', path, this.base.stat(path))
  }
  statTarget(path: string): Io<FileInfo> {
    return this.guard('stat', path, this.base.statTarget(path))
  }
  makeDir(path: string): Io<void> {
    return this.guard('makeDir', path, this.base.makeDir(path))
  }
  removeDir(path: string): Io<void> {
    return this.guard('removeDir', path, this.base.removeDir(path))
  }
  remove(path: string): Io<void> {
    return this.guard('remove', path, this.base.remove(path))
  }
  rename(from: string, to: string): Io<void> {
    return this.guard('rename', to, this.base.rename(from, to))
  }
  link(from: string, to: string): Io<void> {
    return this.guard('link', to, this.base.link(from, to))
  }
  list(path: string): Io<string[]> {
    return this.guard('list', path, this.base.list(path))
  }
  syncDir(path: string): Io<void> {
    return this.guard('syncDir', path, this.base.syncDir(path))
  }
  freeBytes(path: string): Io<number> {
    return this.guard('freeBytes', path, this.base.freeBytes(path))
  }

  get processId(): number {
    return this.base.processId
  }
  processStartTime(pid: number): bigint | undefined {
    return this.base.processStartTime(pid)
  }
  bootId(): string {
    return this.base.bootId()
  }
  monotonicMillis(): number {
    return this.base.monotonicMillis()
  }
  wallMillis(): number {
    return this.base.wallMillis()
  }
  random(): number {
    return this.base.random()
  }
  sleep(milliseconds: number): Io<void> {
    return this.base.sleep(milliseconds)
  }
}

function faultError(kind: FaultKind, operation: string, path: string): Error {
  const code = /^E[A-Z]+$/.test(kind) ? (kind as keyof typeof constants.errno) : 'EIO'
  return systemError(errnoError(code), operation, path)
}

class FaultFile implements File {
  readonly path: string
  readonly #vfs: FaultVfs
  readonly #base: File
  /** Failed syncs that were told here, or before it was opened. */
  #told: number

  constructor(vfs: FaultVfs, base: File) {
    this.path = base.path
    this.#vfs = vfs
    this.#base = base
    this.#told = vfs.failedSyncs(base.path).count
  }

  read(offset: number, target: Uint8Array): Io<number> {
    return Io.flow(() => this.#read(offset, target))
  }

  *#read(offset: number, target: Uint8Array): Flow<number> {
    const kind = this.#vfs.next('read', this.path)
    if (kind === 'shortRead') {
      return yield* this.#base.read(offset, target.subarray(0, target.length >> 1))
    }
    if (kind !== undefined && kind !== 'flipRead') throw faultError(kind, 'read', this.path)
    const got = yield* this.#base.read(offset, target)
    if (kind === 'flipRead' && got > 0) this.#flip(target.subarray(0, got))
    return got
  }

  #flip(bytes: Uint8Array): void {
    const bit = this.#vfs.random() % (bytes.length * 8)
    bytes[bit >> 3]! ^= 1 << (bit & 7)
  }

  write(offset: number, pieces: readonly Uint8Array[]): Io<void> {
    return Io.flow(() => this.#write(offset, pieces))
  }

  *#write(offset: number, pieces: readonly Uint8Array[]): Flow<void> {
    const kind = this.#vfs.next('write', this.path)
    if (kind === undefined) return yield* this.#base.write(offset, pieces)
    const bytes = Buffer.concat(pieces)
    if (kind === 'flipWrite') {
      if (bytes.length > 0) this.#flip(bytes)
      return yield* this.#base.write(offset, [bytes])
    }
    if (kind === 'lostWrite') return undefined
    // Whatever stops a write may stop it in the middle.
    yield* this.#base.write(offset, [bytes.subarray(0, bytes.length >> 1)])
    throw faultError(kind, 'write', this.path)
  }

  truncate(size: number): Io<void> {
    return this.#vfs.guard('truncate', this.path, this.#base.truncate(size))
  }

  sync(): Io<void> {
    return Io.flow(() => this.#sync())
  }

  *#sync(): Flow<void> {
    const vfs = this.#vfs
    const kind = vfs.next('sync', this.path)
    if (kind !== undefined) {
      vfs.failSync(this.path, kind)
      if (vfs.base instanceof MemVfs) {
        if (kind === 'syncDropped') vfs.base.drop(this.path)
        else vfs.base.abandon(this.path)
      }
    }
    const failed = vfs.failedSyncs(this.path)
    if (failed.count === this.#told) return yield* this.#base.sync()
    this.#told = failed.count
    throw faultError(failed.kind, 'sync', this.path)
  }

  size(): Io<number> {
    return this.#vfs.guard('size', this.path, this.#base.size())
  }

  close(): void {
    this.#base.close()
  }
}
