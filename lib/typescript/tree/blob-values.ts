/**
 * The values of pointers that a scan passes, in the order of the scan: in a blob file they mostly
 * lie one behind the other, so more is read at once as they do.
 */

import { decodeBlobPointer } from '../base/blob-pointer.ts'
import type { BlobPointer } from '../base/blob-pointer.ts'
import { LARGE_BYTES } from '../base/compression.ts'
import { Io, runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import type { BlobFile } from '../blob/blob-file.ts'
import { BlobScanner, SCAN_BYTES } from '../blob/blob-scanner.ts'
import { blobFileOf } from './version-blobs.ts'
import type { VersionBlobs } from './version-blobs.ts'

/** Bytes that are read at once when two frames have met, and may lie between the two. */
const AHEAD_BYTES_MIN = 16_384
/** Files that are read ahead. */
const SCANNERS_MAX = 8

/** A row whose value is a pointer. */
export interface PointerRow {
  readonly key: Uint8Array
  readonly keyEnd: number
  readonly value: Uint8Array
  readonly valueBegin: number
}

/** How far a file was read. */
interface Reading {
  readonly scanner: BlobScanner
  /** Where the last frame ended. */
  behind: number
}

export class BlobValues {
  /** The call that brings the value which the last `get` lacked. */
  missing: Io<void> | undefined
  readonly #blobs: VersionBlobs
  /** Going backward, nothing that lies ahead is wanted. */
  readonly #readsAhead: boolean
  readonly #readings = new Map<BlobFile, Reading>()
  /** What `missing` has brought. */
  #fetched:
    { readonly file: BlobFile; readonly offset: number; readonly value: Uint8Array } | undefined

  constructor(blobs: VersionBlobs, backward: boolean) {
    this.#blobs = blobs
    this.#readsAhead = !backward
  }

  /** The value if it is in memory. */
  get({ key, keyEnd, value: bytes, valueBegin }: PointerRow): Uint8Array | undefined {
    const pointer = decodeBlobPointer(bytes, valueBegin)
    const file = blobFileOf(this.#blobs, pointer)
    const fetched = this.#fetched
    const isFetched = fetched?.file === file && fetched.offset === pointer.offset
    const value =
      (isFetched ? fetched.value : undefined) ??
      file.cached(pointer, key, 0, keyEnd) ??
      this.#readAlready(file, pointer, key, keyEnd)
    this.#fetched = undefined
    this.missing =
      value === undefined ? Io.flow(() => this.#fetch(file, pointer, key, keyEnd)) : undefined
    return value
  }

  #readAlready(
    file: BlobFile,
    pointer: BlobPointer,
    key: Uint8Array,
    keyEnd: number,
  ): Uint8Array | undefined {
    const reading = this.#readings.get(file)
    const isLarge = Math.max(pointer.storedLength, pointer.rawLength) > LARGE_BYTES
    if (reading?.scanner.has(pointer, keyEnd) !== true || isLarge) return undefined
    return runSync(this.#take(file, reading, pointer, key, keyEnd))
  }

  *#fetch(file: BlobFile, pointer: BlobPointer, key: Uint8Array, keyEnd: number): Flow<void> {
    const reading = this.#reading(file)
    const { scanner, behind } = reading
    const gap = pointer.offset - behind
    const isNext = this.#readsAhead && behind > 0 && gap >= 0 && gap < AHEAD_BYTES_MIN
    const more = Math.max(AHEAD_BYTES_MIN, 4 * scanner.aheadBytes)
    scanner.aheadBytes = isNext ? Math.min(SCAN_BYTES, more) : 0
    let value: Uint8Array
    try {
      value = yield* this.#take(file, reading, pointer, key, keyEnd)
    } catch (error) {
      if (scanner.aheadBytes === 0) throw error
      // What lies behind the frame may be at fault.
      scanner.aheadBytes = 0
      value = yield* this.#take(file, reading, pointer, key, keyEnd)
    }
    this.#fetched = { file, offset: pointer.offset, value }
  }

  #reading(file: BlobFile): Reading {
    const known = this.#readings.get(file)
    if (known !== undefined) return known
    const [first] = this.#readings.keys()
    if (first !== undefined && this.#readings.size === SCANNERS_MAX) this.#readings.delete(first)
    const reading = { scanner: new BlobScanner(file, 0), behind: 0 }
    this.#readings.set(file, reading)
    return reading
  }

  *#take(
    file: BlobFile,
    reading: Reading,
    pointer: BlobPointer,
    key: Uint8Array,
    keyEnd: number,
  ): Flow<Uint8Array> {
    const frame = yield* reading.scanner.get(pointer, key, 0, keyEnd)
    reading.behind = pointer.offset + file.checkPlace(pointer, keyEnd)
    return yield* file.take(frame, pointer.offset)
  }
}
