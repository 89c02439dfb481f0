/** What opening a directory begins with, for databases and bare trees alike. */

import { ShaleError } from '../../errors.ts'
import type { Flow } from '../base/flow.ts'
import { isErrno } from '../base/status.ts'
import { Manifest } from '../tree/manifest.ts'
import type { DirectoryKind } from '../tree/manifest-edit.ts'
import { ClosableVfs } from '../vfs/closable-vfs.ts'
import { parseFileName } from '../vfs/file-name.ts'
import type { FileInfo, Vfs } from '../vfs/vfs.ts'
import { DirectoryLock } from './directory-lock.ts'

export interface OpenRules {
  readonly kind: DirectoryKind
  readonly createIfMissing: boolean
  readonly errorIfExists: boolean
  readonly readOnly: boolean
}

export interface OpenedDirectory {
  /** To be closed before the lock is released. */
  readonly vfs: ClosableVfs
  /** None on a file system that nobody can write to. */
  readonly lock: DirectoryLock | undefined
  readonly manifest: Manifest
}

/** Creates the directory if that is allowed, locks it and loads its manifest. */
export function* openDirectory(vfs: Vfs, path: string, rules: OpenRules): Flow<OpenedDirectory> {
  yield* prepare(vfs, path, rules.createIfMissing && !rules.readOnly)
  const lock = yield* acquire(vfs, path, rules.readOnly)
  try {
    const own = yield* ClosableVfs.of(vfs, path)
    return { vfs: own, lock, manifest: yield* loadManifest(own, path, rules) }
  } catch (error) {
    lock?.release()
    throw error
  }
}

/** What can be told without the lock: that there is a directory, and that it may be ours. */
function* prepare(vfs: Vfs, path: string, mayCreate: boolean): Flow<void> {
  let info: FileInfo
  try {
    info = yield* vfs.statTarget(path)
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) throw invalidPath(path, 'a part of the path is no folder')
    if (!isErrno(error, 'ENOENT')) throw error
    if (!mayCreate) throw notFound(path, 'there is no such directory')
    yield* makeDirectory(vfs, path)
    return
  }
  if (info.type !== 'directory') throw invalidPath(path, 'the path is no folder')
  const kinds = (yield* vfs.list(path)).map((name) => parseFileName(name).kind)
  // Also what must not be there without a manifest: loading that will say so.
  if (kinds.some((kind) => kind !== 'lock' && kind !== 'foreign')) return
  if (kinds.includes('foreign')) {
    throw new ShaleError('NOT_A_DATABASE', 'the folder holds other files', { path })
  }
  if (!mayCreate) throw notFound(path, 'the folder holds no database')
}

function* makeDirectory(vfs: Vfs, path: string): Flow<void> {
  try {
    yield* vfs.makeDir(path)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) throw notFound(path, 'the parent folder does not exist')
    if (!isErrno(error, 'EEXIST')) throw error
  }
}

function* acquire(vfs: Vfs, path: string, readOnly: boolean): Flow<DirectoryLock | undefined> {
  try {
    return yield* DirectoryLock.acquire(vfs, path)
  } catch (error) {
    // On a read-only file system nobody can write, so nobody has to be kept out.
    const isReadOnly = error instanceof ShaleError && error.code === 'READ_ONLY'
    if (readOnly && isReadOnly) return undefined
    throw error
  }
}

function* loadManifest(vfs: Vfs, path: string, rules: OpenRules): Flow<Manifest> {
  let manifest: Manifest
  try {
    // What may only be created is looked at without touching it.
    manifest = yield* Manifest.load(vfs, path, rules.readOnly || rules.errorIfExists)
  } catch (error) {
    const isMissing = error instanceof ShaleError && error.code === 'DB_NOT_FOUND'
    if (!isMissing || !rules.createIfMissing || rules.readOnly) throw error
    // Whoever made the directory: its name must be as durable as what is acknowledged in it.
    yield* vfs.syncDir(parentOf(path))
    return yield* Manifest.create(vfs, path, rules.kind)
  }
  const wrong = wrongKind(manifest, path, rules)
  if (wrong === undefined) return manifest
  manifest.close()
  throw wrong
}

function wrongKind(manifest: Manifest, path: string, rules: OpenRules): ShaleError | undefined {
  if (rules.errorIfExists) {
    return new ShaleError('DB_EXISTS', 'the folder holds a database', { path })
  }
  if (manifest.state.kind === rules.kind) return undefined
  const message =
    rules.kind === 1
      ? 'the folder holds a bare tree'
      : 'the folder holds a database, not a bare tree'
  return new ShaleError('NOT_A_DATABASE', message, { path })
}

function notFound(path: string, message: string): ShaleError {
  return new ShaleError('DB_NOT_FOUND', message, { path })
}

function invalidPath(path: string, message: string): ShaleError {
  return new ShaleError('INVALID_PATH', message, { path })
}

function parentOf(path: string): string {
  const end = path.replace(/\/+$/, '').lastIndexOf('/')
  return end <= 0 ? '/' : path.slice(0, end)
}
