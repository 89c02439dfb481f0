/**
 * Every call to the operating system that the engine may make, clock and randomness included.
 *
 * Nothing else in the engine touches a file, a clock or a source of randomness (but for the timers
 * of the event loop, db/timer.ts), so that a test can stand in for the whole machine: real-vfs is
 * the operating system's, mem-vfs keeps what was synced and can be cloned as a crash would leave
 * it, fault-vfs fails chosen calls of another.
 *
 * Calls are `Io`s: nothing happens until their sync or async form is called, or a flow yields them.
 * Errors: `systemError` with path and syscall. Short transfers are handled here.
 * Paths: absolute; no call follows a symbolic link in the last component, except `statTarget` and
 * those that are given a directory that the caller chose (list, syncDir, freeBytes). New files have
 * mode 0600, directories 0700.
 */

import { ShaleError } from '../../errors.ts'
import type { Io } from '../base/flow.ts'

/** A file that is only read. */
export interface ReadFile {
  readonly path: string
  /**
   * Reads up to target.length bytes at `offset`; says how many. Fewer only at the end of the file.
   */
  read(offset: number, target: Uint8Array): Io<number>
  size(): Io<number>
  /**
   * Calls that run go on to their end; later ones fail with DB_CLOSED. Twice is once; errors are
   * not reported (data is synced before).
   */
  close(): void
}

export interface File extends ReadFile {
  /**
   * Writes all pieces, one after the other, at `offset`; the file grows as needed. On an error the
   * content of the range is undefined. The pieces must not change until it is done.
   */
  write(offset: number, pieces: readonly Uint8Array[]): Io<void>
  truncate(size: number): Io<void>
  /** Data, and the size if it changed, are on the device afterwards. */
  sync(): Io<void>
}

/** A call of a file that was closed. */
export function closedError(syscall: string, path: string): ShaleError {
  return new ShaleError('DB_CLOSED', 'the file is closed', { path, syscall })
}

/** `create`: read and write, must not exist. The others: must exist. */
export type OpenMode = 'create' | 'write' | 'read'

export interface FileInfo {
  readonly type: 'file' | 'directory' | 'other'
  readonly size: number
  /** Equal for two paths to the same thing. */
  readonly identity: string
}

export interface Vfs {
  /** NOT_A_DATABASE when the path is no regular file. */
  open(path: string, mode: OpenMode): Io<File>
  stat(path: string): Io<FileInfo>
  /** Follows symbolic links. */
  statTarget(path: string): Io<FileInfo>
  makeDir(path: string): Io<void>
  removeDir(path: string): Io<void>
  remove(path: string): Io<void>
  rename(from: string, to: string): Io<void>
  link(from: string, to: string): Io<void>
  list(path: string): Io<string[]>
  syncDir(path: string): Io<void>
  freeBytes(path: string): Io<number>

  readonly processId: number
  /** Undefined: no such process runs. */
  processStartTime(pid: number): bigint | undefined
  /** Empty where the system has none. */
  bootId(): string

  /** Milliseconds that never go back. */
  monotonicMillis(): number
  /** Milliseconds since 1970. */
  wallMillis(): number
  /** 32 bits, unsigned. */
  random(): number
  /** Keeps no process alive. */
  sleep(milliseconds: number): Io<void>
}
