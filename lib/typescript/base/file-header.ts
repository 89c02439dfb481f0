/**
 * The 32 bytes that logs and blob files begin with: what the file is, and the format that it needs;
 * docs/format.md, sections 4.1 and 10.
 */

import { ShaleError } from '../../errors.ts'
import { getU16, getU32, getU64, putU16, putU32, putU64 } from './coding.ts'
import { keyedCrc } from './crc32c.ts'
import { FORMAT_MAJOR, FORMAT_MINOR, KNOWN_FEATURES } from './limits.ts'
import { corruption } from './status.ts'

export const FILE_HEADER_BYTES = 32

export function encodeFileHeader(magic: Uint8Array, fileNumber: number): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER_BYTES)
  bytes.set(magic)
  putU16(bytes, 8, FORMAT_MAJOR)
  putU16(bytes, 10, FORMAT_MINOR)
  putU64(bytes, 16, fileNumber)
  putU32(bytes, 28, keyedCrc(fileNumber, 0, bytes, 0, 28))
  return bytes
}

/** Why this is not the header of file `fileNumber`, in the order of the document; or undefined. */
export function fileHeaderError(
  bytes: Uint8Array,
  magic: Uint8Array,
  fileNumber: number,
  path: string,
): ShaleError | undefined {
  if (bytes.length < FILE_HEADER_BYTES) return corruption('the file has no whole header', path, 0)
  if (magic.some((byte, i) => byte !== bytes[i])) {
    const message = 'the file does not begin as a file of shale'
    return new ShaleError('NOT_A_DATABASE', message, { path, offset: 0 })
  }
  if (keyedCrc(fileNumber, 0, bytes, 0, 28) !== getU32(bytes, 28)) {
    return corruption('the checksum of the header is wrong', path, 0)
  }
  if (getU16(bytes, 8) > FORMAT_MAJOR || (getU32(bytes, 12) & ~KNOWN_FEATURES) !== 0) {
    const message = 'the file was written by a newer version'
    return new ShaleError('FORMAT_TOO_NEW', message, { path, offset: 0 })
  }
  const reserved = getU32(bytes, 24)
  if (getU16(bytes, 8) === 0 || getU64(bytes, 16) !== fileNumber || reserved !== 0) {
    return corruption('the header is not that of this file', path, 0)
  }
  return undefined
}
