/** Finds the live generation among the manifests of a directory; docs/format.md, 6.3. */

import { ShaleError } from '../../errors.ts'
import { Slice } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { highestOf } from '../base/numbers.ts'
import { atPlace, corruption, isErrno } from '../base/status.ts'
import { LOG_HEADER_BYTES, RECORD_DATA } from '../journal/log-format.ts'
import { LogReader } from '../journal/log-reader.ts'
import { fileName, parseFileName, pathIn } from '../vfs/file-name.ts'
import type { FileName } from '../vfs/file-name.ts'
import type { File, Vfs } from '../vfs/vfs.ts'
import { decodeEdit } from './manifest-edit.ts'
import type { ManifestEdit } from './manifest-edit.ts'
import { GrowingState } from './manifest-state.ts'
import type { ManifestState } from './manifest-state.ts'

export interface Generation {
  readonly number: number
  readonly state: ManifestState
  /** Where the last edit ends. */
  readonly end: number
  /** Whether a record states that all edits are durable. */
  readonly isWitnessed: boolean
  /** Bytes of a torn tail. */
  readonly droppedBytes: number
  /** Of all files in the directory. */
  readonly highestNumber: number
  /** Manifests that no longer count. */
  readonly stale: readonly number[]
}

/** What one manifest says; `error`: why it is not sound. */
interface Reading {
  readonly number: number
  readonly error?: ShaleError
  /** It is no more than a crash leaves of the creation of a first one. */
  readonly isTornCreation?: boolean
  readonly state?: ManifestState
  readonly successor?: number | undefined
  readonly syncedTo?: number
  /** Where the last edit ends. */
  readonly dataEnd?: number
  readonly droppedBytes?: number
}

/** Only reads. */
export function* loadGeneration(vfs: Vfs, directory: string): Flow<Generation> {
  const names = yield* listFiles(vfs, directory)
  const numbers = names
    .flatMap(({ kind, number }) => (kind === 'manifest' ? [number] : []))
    .toSorted((a, b) => b - a)
  const [highest, lower] = numbers
  if (highest === undefined) throw absence(names, directory)
  let live = yield* readManifest(vfs, directory, highest)
  if (live.state === undefined) {
    if (lower === undefined) throw withoutLower(live, names, directory)
    live = yield* readLower(vfs, directory, lower, live.error!)
  } else if (live.successor !== undefined) {
    const path = pathIn(directory, fileName('manifest', live.successor))
    throw corruption('a manifest is missing that another one names', path)
  }
  const { number, state, syncedTo = 0, dataEnd = 0, droppedBytes = 0 } = live
  return {
    number,
    state: state!,
    end: dataEnd,
    isWitnessed: syncedTo >= dataEnd,
    droppedBytes,
    highestNumber: highestOf(names.map((name) => name.number)),
    stale: numbers.filter((other) => other !== number),
  }
}

function* listFiles(vfs: Vfs, directory: string): Flow<FileName[]> {
  try {
    return (yield* vfs.list(directory)).map(parseFileName)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) throw notFound(directory)
    throw error
  }
}

function notFound(path: string): ShaleError {
  return new ShaleError('DB_NOT_FOUND', 'there is no database', { path })
}

function holdsData(names: readonly FileName[]): boolean {
  return names.some(({ kind }) => kind === 'journal' || kind === 'table' || kind === 'blob')
}

/** What a directory without a manifest is. */
function absence(names: readonly FileName[], path: string): ShaleError {
  if (holdsData(names)) return corruption('the manifest is missing', path)
  return names.some(({ kind }) => kind === 'foreign')
    ? new ShaleError('NOT_A_DATABASE', 'the directory holds something else', { path })
    : notFound(path)
}

/** What a directory is whose only manifest is not sound. */
function withoutLower(
  { error, isTornCreation }: Reading,
  names: readonly FileName[],
  directory: string,
): ShaleError {
  const tooNew = error!.code === 'FORMAT_TOO_NEW'
  if (isTornCreation === true && !tooNew && !holdsData(names)) return notFound(directory)
  return error!
}

/**
 * The manifest below one that is not sound, because of `error`: live if the higher one is no more
 * than a torn creation. Else the lower one is to blame, unless the higher one was durable or is of
 * a format of tomorrow.
 */
function* readLower(vfs: Vfs, directory: string, number: number, error: ShaleError): Flow<Reading> {
  const isNewer = error.code === 'FORMAT_TOO_NEW'
  let lower: Reading
  try {
    lower = yield* readManifest(vfs, directory, number)
  } catch (damage) {
    throw isNewer && damage instanceof ShaleError && damage.code === 'CORRUPTION' ? error : damage
  }
  if (lower.state !== undefined && lower.successor === undefined) return lower
  const { code, message, path, offset } = isNewer ? error : (lower.error ?? error)
  // What is not even a manifest is damage: there is another one.
  throw new ShaleError(code === 'NOT_A_DATABASE' ? 'CORRUPTION' : code, message, { path, offset })
}

function* readManifest(vfs: Vfs, directory: string, number: number): Flow<Reading> {
  const file = yield* vfs.open(pathIn(directory, fileName('manifest', number)), 'read')
  try {
    return yield* readRecords(file, number, new Slice(() => vfs.monotonicMillis()))
  } finally {
    file.close()
  }
}

function* readRecords(file: File, number: number, slice: Slice): Flow<Reading> {
  const reader = new LogReader(file, { kind: 'manifest', fileNumber: number, mode: 'tail' })
  yield* reader.open()
  if (reader.headerError !== undefined) {
    const isTornCreation = yield* isZeroBehindHeader(file)
    return { number, error: reader.headerError, isTornCreation }
  }
  try {
    if (!(yield* reader.next())) {
      const error = corruption('the manifest has no record', file.path, LOG_HEADER_BYTES)
      return { number, error, isTornCreation: true }
    }
  } catch (error) {
    // Damage that something behind it proves.
    if (error instanceof ShaleError && error.code === 'CORRUPTION') return { number, error }
    throw error
  }
  const first = editOf(reader, file)
  if (first?.snapshot === undefined) {
    const error = corruption(
      'the manifest does not begin with a snapshot',
      file.path,
      reader.offset,
    )
    return { number, error }
  }
  const growing = new GrowingState(first.snapshot)
  apply(growing, first, reader, file)
  let successor: number | undefined
  let dataEnd = reader.end
  while (yield* reader.next()) {
    const edit = editOf(reader, file)
    if (edit === undefined) continue
    if (successor !== undefined || edit.snapshot !== undefined) {
      throw corruption('a record is where none may be', file.path, reader.offset)
    }
    successor = edit.successor
    dataEnd = reader.end
    apply(growing, edit, reader, file)
    if (slice.isOver) yield* slice.pass
  }
  const { syncedTo, droppedBytes } = reader
  return { number, state: growing.state, successor, syncedTo, dataEnd, droppedBytes }
}

/** The edits of the record that the reader is at; none in one that only states what is durable. */
function editOf(reader: LogReader, { path }: File): ManifestEdit | undefined {
  if (reader.type !== RECORD_DATA) return undefined
  try {
    return decodeEdit(reader.payload)
  } catch (error) {
    throw atPlace(error, path, reader.offset)
  }
}

function apply(
  growing: GrowingState,
  edit: ManifestEdit,
  { offset }: LogReader,
  { path }: File,
): void {
  try {
    growing.apply(edit)
  } catch (error) {
    throw atPlace(error, path, offset)
  }
}

const CHUNK_BYTES = 64 * 1024

function* isZeroBehindHeader(file: File): Flow<boolean> {
  const size = yield* file.size()
  const chunk = new Uint8Array(CHUNK_BYTES)
  for (let at = LOG_HEADER_BYTES; at < size; at += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, size - at))
    if ((yield* file.read(at, part)) < part.length) {
      throw corruption('a read ended before the file does', file.path, at)
    }
    if (part.some((byte) => byte !== 0)) return false
  }
  return true
}
