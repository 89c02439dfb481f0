/** The operating system's files, clock and randomness, through node:fs. */

import { randomFillSync } from 'node:crypto'
import * as fs from 'node:fs'
import { promisify } from 'node:util'
import { ShaleError } from '../../errors.ts'
import { Io } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { isErrno, systemError } from '../base/status.ts'
import { closedError } from './vfs.ts'
import type { File, FileInfo, OpenMode, Vfs } from './vfs.ts'

const FILE_MODE = 0o600
const DIRECTORY_MODE = 0o700

// Not every system knows all flags. A FIFO must not block the open.
const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL } = fs.constants
const SAFE = (fs.constants.O_NOFOLLOW ?? 0) | (fs.constants.O_NONBLOCK ?? 0)
const FLAGS: Readonly<Record<OpenMode, number>> = {
  create: O_RDWR | O_CREAT | O_EXCL | SAFE,
  write: O_RDWR | SAFE,
  read: O_RDONLY | SAFE,
}

const openAsync = promisify(fs.open)
const fstatAsync = promisify(fs.fstat)
const fchmodAsync = promisify(fs.fchmod)
const readAsync = promisify(fs.read)
const writevAsync = promisify(fs.writev)
const ftruncateAsync = promisify(fs.ftruncate)
const fdatasyncAsync = promisify(fs.fdatasync)
const fsyncAsync = promisify(fs.fsync)
const { promises } = fs

/** Both forms of a call; what they throw becomes a ShaleError. */
function call<T>(syscall: string, path: string, sync: () => T, async: () => Promise<T>): Io<T> {
  return new Io(
    () => {
      try {
        return sync()
      } catch (error) {
        throw systemError(error, syscall, path)
      }
    },
    async () => {
      try {
        return await async()
      } catch (error) {
        throw systemError(error, syscall, path)
      }
    },
  )
}

class RealFile implements File {
  readonly path: string
  readonly #fd: number
  /** Calls that have begun and not ended: the descriptor stays open for them. */
  #running = 0
  #closed = false

  constructor(path: string, fd: number) {
    this.path = path
    this.#fd = fd
  }

  read(offset: number, target: Uint8Array): Io<number> {
    return this.#use('read', () => this.#read(offset, target))
  }

  *#read(offset: number, target: Uint8Array): Flow<number> {
    let done = 0
    while (done < target.length) {
      const [at, left] = [done, target.length - done]
      const got = yield* call(
        'read',
        this.path,
        () => fs.readSync(this.#fd, target, at, left, offset + at),
        async () => (await readAsync(this.#fd, target, at, left, offset + at)).bytesRead,
      )
      if (got === 0) break
      done += got
    }
    return done
  }

  write(offset: number, pieces: readonly Uint8Array[]): Io<void> {
    const io = this.#use('write', () => this.#write(offset, pieces))
    const [only] = pieces
    if (only === undefined || pieces.length > 1) return io
    return new Io(() => this.#writeOne(offset, only), io.async)
  }

  /** Nearly every commit comes through here, and a flow takes nearly as long as the call. */
  #writeOne(offset: number, piece: Uint8Array): void {
    if (this.#closed) throw closedError('write', this.path)
    try {
      for (let done = 0; done < piece.length;) {
        done += fs.writeSync(this.#fd, piece, done, piece.length - done, offset + done)
      }
    } catch (error) {
      throw systemError(error, 'write', this.path)
    }
  }

  *#write(offset: number, pieces: readonly Uint8Array[]): Flow<void> {
    let left = pieces.filter((piece) => piece.length > 0)
    let at = offset
    while (left.length > 0) {
      const [begin, parts] = [at, left]
      const written = yield* call(
        'write',
        this.path,
        () => fs.writevSync(this.#fd, parts, begin),
        async () => (await writevAsync(this.#fd, parts, begin)).bytesWritten,
      )
      at += written
      left = withoutFirst(parts, written)
    }
  }

  truncate(size: number): Io<void> {
    return this.#call(
      'ftruncate',
      () => fs.ftruncateSync(this.#fd, size),
      async () => ftruncateAsync(this.#fd, size),
    )
  }

  sync(): Io<void> {
    return this.#call(
      'fdatasync',
      () => fs.fdatasyncSync(this.#fd),
      async () => fdatasyncAsync(this.#fd),
    )
  }

  size(): Io<number> {
    return this.#call(
      'fstat',
      () => fs.fstatSync(this.#fd).size,
      async () => (await fstatAsync(this.#fd)).size,
    )
  }

  #call<T>(syscall: string, sync: () => T, async: () => Promise<T>): Io<T> {
    const io = call(syscall, this.path, sync, async)
    return this.#use(syscall, () => io[Symbol.iterator]())
  }

  #use<T>(syscall: string, work: () => Flow<T>): Io<T> {
    return Io.flow(() => this.#hold(syscall, work()))
  }

  /** The descriptor stays open until the work has ended. */
  *#hold<T>(syscall: string, work: Flow<T>): Flow<T> {
    if (this.#closed) throw closedError(syscall, this.path)
    this.#running++
    try {
      return yield* work
    } finally {
      this.#running--
      if (this.#closed) this.#closeUnlessUsed()
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#closeUnlessUsed()
  }

  #closeUnlessUsed(): void {
    if (this.#running > 0) return
    try {
      fs.closeSync(this.#fd)
    } catch {
      // What had to be safe was synced; there is nothing that a caller could do.
    }
  }
}

/** What of the pieces is left when `count` bytes of them are done. */
function withoutFirst(pieces: readonly Uint8Array[], count: number): Uint8Array[] {
  const left: Uint8Array[] = []
  let done = count
  for (const piece of pieces) {
    if (done < piece.length) left.push(piece.subarray(done))
    done = Math.max(0, done - piece.length)
  }
  return left
}

function notAFile(path: string): ShaleError {
  return new ShaleError('NOT_A_DATABASE', 'not a regular file', { path })
}

function infoOf(stat: fs.BigIntStats): FileInfo {
  const type = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : 'other'
  return { type, size: Number(stat.size), identity: `${stat.dev}:${stat.ino}` }
}

const BIG = { bigint: true } as const

class RealVfs implements Vfs {
  readonly processId = process.pid
  readonly #random = new Uint32Array(1)
  readonly #sleeper = new Int32Array(new SharedArrayBuffer(4))

  open(path: string, mode: OpenMode): Io<File> {
    return Io.flow(() => this.#open(path, mode))
  }

  *#open(path: string, mode: OpenMode): Flow<File> {
    let fd: number
    try {
      fd = yield* call(
        'open',
        path,
        () => fs.openSync(path, FLAGS[mode], FILE_MODE),
        async () => openAsync(path, FLAGS[mode], FILE_MODE),
      )
    } catch (error) {
      // A symbolic link, a directory, a socket.
      if (['ELOOP', 'EISDIR', 'ENXIO'].some((code) => isErrno(error, code))) throw notAFile(path)
      throw error
    }
    try {
      if (mode === 'create') {
        // Whatever the umask says.
        yield* call(
          'fchmod',
          path,
          () => fs.fchmodSync(fd, FILE_MODE),
          async () => fchmodAsync(fd, FILE_MODE),
        )
      } else {
        const stat = yield* call(
          'fstat',
          path,
          () => fs.fstatSync(fd),
          async () => fstatAsync(fd),
        )
        if (!stat.isFile()) throw notAFile(path)
      }
    } catch (error) {
      fs.closeSync(fd)
      throw error
    }
    return new RealFile(path, fd)
  }

  stat(path: string): Io<FileInfo> {
    return call(
      'lstat',
      path,
      () => infoOf(fs.lstatSync(path, BIG)),
      async () => infoOf(await promises.lstat(path, BIG)),
    )
  }

  statTarget(path: string): Io<FileInfo> {
    return call(
      'stat',
      path,
      () => infoOf(fs.statSync(path, BIG)),
      async () => infoOf(await promises.stat(path, BIG)),
    )
  }

  makeDir(path: string): Io<void> {
    return call(
      'mkdir',
      path,
      () => {
        fs.mkdirSync(path, DIRECTORY_MODE)
        fs.chmodSync(path, DIRECTORY_MODE)
      },
      async () => {
        await promises.mkdir(path, DIRECTORY_MODE)
        await promises.chmod(path, DIRECTORY_MODE)
      },
    )
  }

  removeDir(path: string): Io<void> {
    return call(
      'rmdir',
      path,
      () => fs.rmdirSync(path),
      async () => promises.rmdir(path),
    )
  }

  remove(path: string): Io<void> {
    return call(
      'unlink',
      path,
      () => fs.unlinkSync(path),
      async () => promises.unlink(path),
    )
  }

  rename(from: string, to: string): Io<void> {
    return call(
      'rename',
      to,
      () => fs.renameSync(from, to),
      async () => promises.rename(from, to),
    )
  }

  link(from: string, to: string): Io<void> {
    return call(
      'link',
      to,
      () => fs.linkSync(from, to),
      async () => promises.link(from, to),
    )
  }

  list(path: string): Io<string[]> {
    return call(
      'readdir',
      path,
      () => fs.readdirSync(path),
      async () => promises.readdir(path),
    )
  }

  syncDir(path: string): Io<void> {
    return call(
      'fsync',
      path,
      () => {
        const fd = fs.openSync(path, O_RDONLY)
        try {
          fs.fsyncSync(fd)
        } finally {
          fs.closeSync(fd)
        }
      },
      async () => {
        const fd = await openAsync(path, O_RDONLY)
        try {
          await fsyncAsync(fd)
        } finally {
          fs.closeSync(fd)
        }
      },
    )
  }

  freeBytes(path: string): Io<number> {
    const bytesOf = (stat: fs.StatsFs): number => stat.bavail * stat.bsize
    return call(
      'statfs',
      path,
      () => bytesOf(fs.statfsSync(path)),
      async () => bytesOf(await promises.statfs(path)),
    )
  }

  processStartTime(pid: number): bigint | undefined {
    if (process.platform !== 'linux') return unknownStartTime(pid)
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1')
      // The second field is the program's name in brackets, and may hold anything.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      const [state = 'X'] = fields
      return state === 'Z' || state === 'X' ? undefined : BigInt(fields[19] ?? 0)
    } catch {
      // Not there, or not to be read: that says nothing of the process.
      return unknownStartTime(pid)
    }
  }

  bootId(): string {
    try {
      return fs.readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim()
    } catch {
      return ''
    }
  }

  monotonicMillis(): number {
    return performance.now()
  }

  wallMillis(): number {
    return Date.now()
  }

  random(): number {
    return randomFillSync(this.#random)[0]!
  }

  sleep(milliseconds: number): Io<void> {
    return new Io<void>(
      () => void Atomics.wait(this.#sleeper, 0, 0, milliseconds),
      async () =>
        new Promise((resolve) => {
          setTimeout(resolve, milliseconds).unref()
        }),
    )
  }
}

/** 0 if there is such a process. */
function unknownStartTime(pid: number): bigint | undefined {
  try {
    process.kill(pid, 0)
    return 0n
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? 0n : undefined
  }
}

export const realVfs: Vfs = new RealVfs()
