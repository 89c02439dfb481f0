/**
 * Another Vfs, whose user may change files for as long as he has the directory. A sync close leaves
 * async work behind that learns of it later; by then the directory may be somebody else's, and its
 * files may have the names that the work had in mind. So it may if the folder was removed and made
 * anew under an open database. Nothing of that gets through. Reading does: a read that waits
 * outlives the close.
 */

import { ShaleError } from '../../errors.ts'
import { Io } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { isErrno } from '../base/status.ts'
import type { File, FileInfo, OpenMode, Vfs } from './vfs.ts'

export class ClosableVfs implements Vfs {
  readonly #base: Vfs
  readonly #directory: string
  /** Of the directory. */
  readonly #identity: string
  #isClosed = false

  private constructor(base: Vfs, directory: string, identity: string) {
    this.#base = base
    this.#directory = directory
    this.#identity = identity
  }

  static *of(base: Vfs, directory: string): Flow<ClosableVfs> {
    const { identity } = yield* base.statTarget(directory)
    return new ClosableVfs(base, directory, identity)
  }

  /** Calls that run go on to their end, and files that are open stay so; later changes: ABORTED. */
  close(): void {
    this.#isClosed = true
  }

  #guard<T>(path: string, io: Io<T>): Io<T> {
    const check = (): void => {
      if (this.#isClosed) throw new ShaleError('ABORTED', 'the directory was closed', { path })
      if (this.#directoryNow() !== this.#identity) {
        const message = 'the folder was removed or replaced while it was open'
        throw new ShaleError('IO_ERROR', message, { path: this.#directory })
      }
    }
    return new Io(
      () => {
        check()
        return io.sync()
      },
      async () => {
        check()
        return io.async()
      },
    )
  }

  #directoryNow(): string | undefined {
    try {
      return this.#base.statTarget(this.#directory).sync().identity
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined
      throw error
    }
  }

  open(path: string, mode: OpenMode): Io<File> {
    const opened = this.#base.open(path, mode)
    return mode === 'read' ? opened : this.#guard(path, opened)
  }
  stat(path: string): Io<FileInfo> {
    return this.#base.stat(path)
  }
  statTarget(path: string): Io<FileInfo> {
    return this.#base.statTarget(path)
  }
  makeDir(path: string): Io<void> {
    return this.#guard(path, this.#base.makeDir(path))
  }
  removeDir(path: string): Io<void> {
    return this.#guard(path, this.#base.removeDir(path))
  }
  remove(path: string): Io<void> {
    return this.#guard(path, this.#base.remove(path))
  }
  rename(from: string, to: string): Io<void> {
    return this.#guard(to, this.#base.rename(from, to))
  }
  link(from: string, to: string): Io<void> {
    return this.#guard(to, this.#base.link(from, to))
  }
  list(path: string): Io<string[]> {
    return this.#base.list(path)
  }
  syncDir(path: string): Io<void> {
    return this.#guard(path, this.#base.syncDir(path))
  }
  freeBytes(path: string): Io<number> {
    return this.#base.freeBytes(path)
  }

  get processId(): number {
    return this.#base.processId
  }
  processStartTime(pid: number): bigint | undefined {
    return this.#base.processStartTime(pid)
  }
  bootId(): string {
    return this.#base.bootId()
  }
  monotonicMillis(): number {
    return this.#base.monotonicMillis()
  }
  wallMillis(): number {
    return this.#base.wallMillis()
  }
  random(): number {
    return this.#base.random()
  }
  sleep(milliseconds: number): Io<void> {
    return this.#base.sleep(milliseconds)
  }
}
