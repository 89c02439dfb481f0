/**
 * The frames of a blob file as they are stored: all of them in their order, or those that ascending
 * pointers ask for, which is how a compaction relocates them. Reads one chunk at a time, or one
 * frame if that is larger, past the cache. A frame lives as long as it is held.
 */

import { BLOB_FRAME_HEADER_BYTES, frameBytes } from '../base/blob-pointer.ts'
import type { BlobPointer } from '../base/blob-pointer.ts'
import { FILE_HEADER_BYTES } from '../base/file-header.ts'
import type { Flow } from '../base/flow.ts'
import { atPlace, corruption } from '../base/status.ts'
import type { BlobFile } from './blob-file.ts'
import { decodeBlobValue, decodeFrame, decodeFrameHeader } from './blob-format.ts'
import type { BlobFrame } from './blob-format.ts'

/** Bytes that are read at once. */
export const SCAN_BYTES = 262_144
/** Bytes that several files together are read ahead, and the least of one. */
const AHEAD_BYTES_MAX = 2 ** 23
const AHEAD_BYTES_MIN = 2 ** 14

/** By file number: for files that are read side by side, each in its order. */
export function scannersOf(files: readonly BlobFile[]): ReadonlyMap<number, BlobScanner> {
  const share = Math.floor(AHEAD_BYTES_MAX / Math.max(1, files.length))
  const ahead = Math.min(SCAN_BYTES, Math.max(AHEAD_BYTES_MIN, share))
  return new Map(files.map((file) => [file.meta.fileNumber, new BlobScanner(file, ahead)]))
}

export class BlobScanner {
  readonly #file: BlobFile
  /** Bytes that are read at once; those of one frame if that is larger. */
  aheadBytes: number
  #chunk: Uint8Array = new Uint8Array(0)
  /** Where the chunk lies in the file. */
  #begin = 0
  #next = FILE_HEADER_BYTES
  /** Where the frame of the last `next` begins. */
  offset = 0

  constructor(file: BlobFile, aheadBytes: number = SCAN_BYTES) {
    this.#file = file
    this.aheadBytes = aheadBytes
  }

  /** Whether the frame that a pointer names with a key like that was read already. */
  has({ offset, storedLength }: BlobPointer, keyLength: number): boolean {
    const at = offset - this.#begin
    return at >= 0 && at + frameBytes(keyLength, storedLength) <= this.#chunk.length
  }

  /** The next frame; undefined at the end. */
  *next(): Flow<BlobFrame | undefined> {
    const left = this.#file.limit - this.#next
    if (left === 0) return undefined
    this.offset = this.#next
    try {
      if (left < BLOB_FRAME_HEADER_BYTES) throw corruption('the last blob frame is cut off')
      // The lengths decide how much is read before the checksum can be looked at.
      const head = yield* this.#read(this.offset, BLOB_FRAME_HEADER_BYTES)
      const header = decodeFrameHeader(head)
      const length = header === undefined ? 0 : frameBytes(header.keyLength, header.storedLength)
      if (length === 0 || length > left) throw corruption('a field of a blob frame is wrong')
      const bytes = yield* this.#read(this.offset, length)
      this.#next += length
      return yield* decodeFrame(bytes, this.#file.meta.fileNumber, this.offset)
    } catch (error) {
      throw atPlace(error, this.#file.path, this.offset)
    }
  }

  /**
   * The frame of the entry with this key and pointer. What lies between two frames that are far
   * apart is not read.
   */
  *get(pointer: BlobPointer, key: Uint8Array, begin: number, end: number): Flow<BlobFrame> {
    const length = this.#file.checkPlace(pointer, end - begin)
    try {
      const bytes = yield* this.#read(pointer.offset, length)
      const frame = yield* decodeFrame(bytes, pointer.fileNumber, pointer.offset)
      this.#file.checkFrame(frame, pointer, key, begin, end)
      return frame
    } catch (error) {
      throw atPlace(error, this.#file.path, pointer.offset)
    }
  }

  /** As `get`, with what the frame stands for; it may be a part of what was read. */
  *value(pointer: BlobPointer, key: Uint8Array, begin: number, end: number): Flow<Uint8Array> {
    const frame = yield* this.get(pointer, key, begin, end)
    try {
      return yield* decodeBlobValue(frame)
    } catch (error) {
      throw atPlace(error, this.#file.path, pointer.offset)
    }
  }

  /** Bytes that lie before the footer. */
  *#read(offset: number, length: number): Flow<Uint8Array> {
    const at = offset - this.#begin
    if (at >= 0 && at + length <= this.#chunk.length) return this.#chunk.subarray(at, at + length)
    const size = Math.min(Math.max(length, this.aheadBytes), this.#file.limit - offset)
    this.#chunk = yield* this.#file.read(offset, size)
    this.#begin = offset
    return this.#chunk.subarray(0, length)
  }
}
