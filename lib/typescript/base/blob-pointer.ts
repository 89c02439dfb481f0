/**
 * The value of an entry of kind 4: where in which blob file the value lies; docs/format.md,
 * section 9. Tables hold pointers and blob files are what they point into; neither room knows the
 * other.
 */

import { getU32, getU64, putU32, putU64 } from './coding.ts'
import { FILE_HEADER_BYTES } from './file-header.ts'
import { BLOCK_RAW_BYTES_MAX, FILE_NUMBER_MAX, VALUE_BYTES_MAX } from './limits.ts'

export const BLOB_POINTER_BYTES = 24
export const BLOB_FRAME_HEADER_BYTES = 24

export interface BlobPointer {
  readonly fileNumber: number
  /** Of the frame. */
  readonly offset: number
  readonly storedLength: number
  readonly rawLength: number
}

export function encodeBlobPointer(pointer: BlobPointer): Uint8Array {
  const bytes = new Uint8Array(BLOB_POINTER_BYTES)
  putU64(bytes, 0, pointer.fileNumber)
  putU64(bytes, 8, pointer.offset)
  putU32(bytes, 16, pointer.storedLength)
  putU32(bytes, 20, pointer.rawLength)
  return bytes
}

/** Of the 24 bytes at `at`, which are a pointer. */
export function decodeBlobPointer(bytes: Uint8Array, at: number): BlobPointer {
  return {
    fileNumber: getU64(bytes, at),
    offset: getU64(bytes, at + 8),
    storedLength: getU32(bytes, at + 16),
    rawLength: getU32(bytes, at + 20),
  }
}

/** Length of the value itself, of the pointer at `at`. */
export function blobValueLength(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at + 20)
}

/** Whether the bytes are a pointer that may exist. */
export function isBlobPointer(bytes: Uint8Array, begin: number, end: number): boolean {
  if (end - begin !== BLOB_POINTER_BYTES) return false
  const { fileNumber, offset, storedLength, rawLength } = decodeBlobPointer(bytes, begin)
  return (
    fileNumber > 0 &&
    fileNumber <= FILE_NUMBER_MAX &&
    offset >= FILE_HEADER_BYTES &&
    offset <= Number.MAX_SAFE_INTEGER &&
    storedLength <= VALUE_BYTES_MAX &&
    (rawLength === storedLength || rawLength <= BLOCK_RAW_BYTES_MAX)
  )
}

/** The whole frame of a key and a value that is stored like that: what garbage is counted in. */
export function frameBytes(keyLength: number, storedLength: number): number {
  return BLOB_FRAME_HEADER_BYTES + keyLength + storedLength
}
