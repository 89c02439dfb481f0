/**
 * Files that are open to be read, bounded in number. A file is opened when it is read; when another
 * one needs a place, that is closed whose last read is longest ago.
 *
 * An async read waits while all places are taken by files that are being read. A sync one cannot
 * wait for anybody: it takes a place beyond the bound, which is given back when it is done.
 */

import { Io, run, runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { ShaleError } from '../../errors.ts'
import { closedError } from './vfs.ts'
import type { File, ReadFile, Vfs } from './vfs.ts'

export class FileCache {
  readonly #vfs: Vfs
  readonly #maxOpen: number
  #open = 0
  /** Those that nobody reads, longest idle first. */
  readonly #idle = new Set<CachedFile>()
  /** Tell async opens, in their order, that they have a place. */
  readonly #waiting: (() => void)[] = []

  constructor(vfs: Vfs, maxOpen: number) {
    this.#vfs = vfs
    this.#maxOpen = maxOpen
  }

  /** Files that are open or being opened. */
  get openCount(): number {
    return this.#open
  }

  /** The file is opened by the first read, so that is what fails if there is none. */
  file(path: string): ReadFile {
    return new CachedFile(this, path)
  }

  // --- for its files -----------------------------------------------------------------------------

  /** To be given back by `close`. */
  *open(path: string): Flow<File> {
    yield* new Io<void>(
      () => this.#takePlaceSync(),
      async () => this.#takePlace(),
    )
    try {
      try {
        return yield* this.#vfs.open(path, 'read')
      } catch (error) {
        const isFull = error instanceof ShaleError && error.code === 'TOO_MANY_OPEN_FILES'
        if (!isFull || this.#idle.size === 0) throw error
        this.#closeIdle(Math.ceil(this.#idle.size / 2))
        return yield* this.#vfs.open(path, 'read')
      }
    } catch (error) {
      this.#givePlace()
      throw error
    }
  }

  close(file: File): void {
    file.close()
    this.#givePlace()
  }

  /** Nobody reads the file any more. */
  idle(file: CachedFile): void {
    this.#idle.add(file)
    this.#closeIdle(this.#open - this.#maxOpen)
    this.#admit()
  }

  busy(file: CachedFile): void {
    this.#idle.delete(file)
  }

  // --- places ------------------------------------------------------------------------------------

  #takePlaceSync(): void {
    this.#findPlace()
    this.#open++
  }

  async #takePlace(): Promise<void> {
    // While somebody waits, no file is idle.
    if (!this.#findPlace()) return new Promise((resolve) => this.#waiting.push(resolve))
    this.#open++
  }

  /** Whether there is a place, if need be that of an idle file. */
  #findPlace(): boolean {
    this.#closeIdle(this.#open + 1 - this.#maxOpen)
    return this.#open < this.#maxOpen
  }

  #givePlace(): void {
    this.#open--
    this.#admit()
  }

  #admit(): void {
    while (this.#waiting.length > 0 && this.#findPlace()) {
      this.#open++
      this.#waiting.shift()!()
    }
  }

  #closeIdle(count: number): void {
    let left = count
    for (const file of this.#idle) {
      if (left-- <= 0) break
      file.release()
    }
  }
}

class CachedFile implements ReadFile {
  readonly path: string
  readonly #cache: FileCache
  #file: File | undefined
  /** An async open that runs; all async reads share it. */
  #opening: Promise<File> | undefined
  /** Reads that run. */
  #users = 0
  #closed = false

  constructor(cache: FileCache, path: string) {
    this.#cache = cache
    this.path = path
  }

  read(offset: number, target: Uint8Array): Io<number> {
    return Io.flow(() => this.#use('read', (file) => file.read(offset, target)))
  }

  size(): Io<number> {
    return Io.flow(() => this.#use('fstat', (file) => file.size()))
  }

  *#use<T>(syscall: string, call: (file: File) => Io<T>): Flow<T> {
    if (this.#closed) throw closedError(syscall, this.path)
    this.#users++
    this.#cache.busy(this)
    let file = this.#file
    try {
      file ??= yield* new Io(
        () => this.#openSync(),
        async () => (this.#opening ??= this.#openAsync()),
      )
      return yield* call(file)
    } finally {
      if (file !== undefined && file !== this.#file) this.#cache.close(file)
      if (--this.#users === 0) {
        if (this.#closed) this.release()
        else if (this.#file !== undefined) this.#cache.idle(this)
      }
    }
  }

  /** Beside an async open that runs, the file is for the one read. */
  #openSync(): File {
    const file = runSync(this.#cache.open(this.path))
    if (this.#opening === undefined) this.#file = file
    return file
  }

  async #openAsync(): Promise<File> {
    try {
      this.#file = await run(this.#cache.open(this.path))
      return this.#file
    } finally {
      this.#opening = undefined
    }
  }

  /** Closes the file, which nobody reads; the next read opens it again. */
  release(): void {
    this.#cache.busy(this)
    if (this.#file !== undefined) this.#cache.close(this.#file)
    this.#file = undefined
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.#users === 0) this.release()
  }
}
