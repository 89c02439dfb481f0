// Another Vfs whose async calls wait until a test takes them on: first a call is made, later it is
// answered, each in an order of the test's choice. Sync calls are made at once, in the midst of
// whatever waits. So every order of things that the one thread may see can be tried.

import { Io } from '../../../lib/typescript/base/flow.ts'
import { closedError } from '../../../lib/typescript/vfs/vfs.ts'
import type { File, FileInfo, OpenMode, Vfs } from '../../../lib/typescript/vfs/vfs.ts'

interface Call {
  /** Undefined once it is made. */
  make: (() => void) | undefined
  answer: () => void
}

export class LateVfs implements Vfs {
  readonly base: Vfs
  readonly #calls: Call[] = []

  constructor(base: Vfs) {
    this.base = base
  }

  /** Calls that are not answered. */
  get waiting(): number {
    return this.#calls.length
  }

  /** One of them is made; if it was, it is answered. */
  step(which: number): void {
    const at = which % this.#calls.length
    const call = this.#calls[at]
    if (call === undefined) return
    if (call.make !== undefined) {
      call.make()
      call.make = undefined
    } else {
      this.#calls.splice(at, 1)
      call.answer()
    }
  }

  /** The call, whose async form waits. */
  late<T>(io: Io<T>, onMade: () => void = () => {}): Io<T> {
    return new Io(
      () => {
        try {
          return io.sync()
        } finally {
          onMade()
        }
      },
      async () =>
        new Promise<T>((resolve, reject) => {
          const call: Call = {
            make: () => {
              try {
                const made = io.sync()
                call.answer = () => resolve(made)
              } catch (error) {
                const problem = error as Error
                call.answer = () => reject(problem)
              }
              onMade()
            },
            answer: () => {},
          }
          this.#calls.push(call)
        }),
    )
  }

  /** Something else that takes a while. */
  readonly pause: Io<void> = this.late(Io.now(() => {}))

  open(path: string, mode: OpenMode): Io<File> {
    const { base } = this
    return this.late(Io.now(() => new LateFile(this, base.open(path, mode).sync())))
  }
  stat(path: string): Io<FileInfo> {
    return this.late(this.base.stat(path))
  }
  statTarget(path: string): Io<FileInfo> {
    return this.late(this.base.statTarget(path))
  }
  makeDir(path: string): Io<void> {
    return this.late(this.base.makeDir(path))
  }
  removeDir(path: string): Io<void> {
    return this.late(this.base.removeDir(path))
  }
  remove(path: string): Io<void> {
    return this.late(this.base.remove(path))
  }
  rename(from: string, to: string): Io<void> {
    return this.late(this.base.rename(from, to))
  }
  link(from: string, to: string): Io<void> {
    return this.late(this.base.link(from, to))
  }
  list(path: string): Io<string[]> {
    return this.late(this.base.list(path))
  }
  syncDir(path: string): Io<void> {
    return this.late(this.base.syncDir(path))
  }
  freeBytes(path: string): Io<number> {
    return this.late(this.base.freeBytes(path))
  }
  sleep(milliseconds: number): Io<void> {
    return this.late(this.base.sleep(milliseconds))
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
}

class LateFile implements File {
  readonly path: string
  readonly #vfs: LateVfs
  readonly #base: File
  /** Calls that are not made. */
  #pending = 0
  #isClosed = false

  constructor(vfs: LateVfs, base: File) {
    this.path = base.path
    this.#vfs = vfs
    this.#base = base
  }

  read(offset: number, target: Uint8Array): Io<number> {
    return this.#call('read', this.#base.read(offset, target))
  }
  write(offset: number, pieces: readonly Uint8Array[]): Io<void> {
    return this.#call('write', this.#base.write(offset, pieces))
  }
  truncate(size: number): Io<void> {
    return this.#call('ftruncate', this.#base.truncate(size))
  }
  sync(): Io<void> {
    return this.#call('fsync', this.#base.sync())
  }
  size(): Io<number> {
    return this.#call('fstat', this.#base.size())
  }

  #call<T>(syscall: string, io: Io<T>): Io<T> {
    const late = this.#vfs.late(io, () => {
      if (--this.#pending === 0 && this.#isClosed) this.#base.close()
    })
    const begin = (): void => {
      if (this.#isClosed) throw closedError(syscall, this.path)
      this.#pending++
    }
    return new Io(
      () => {
        begin()
        return late.sync()
      },
      async () => {
        begin()
        return late.async()
      },
    )
  }

  /** Calls that run go on to their end. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (this.#pending === 0) this.#base.close()
  }
}
