/** Header, frames and footer of a blob file, byte for byte; docs/format.md, section 9. */

import { ShaleError } from '../../errors.ts'
import { BLOB_FRAME_HEADER_BYTES, frameBytes } from '../base/blob-pointer.ts'
import { CODEC_MAX, CODEC_NONE, decompressInPieces } from '../base/compression.ts'
import { Decoder, Encoder, getU16, getU32, getU64, putU16, putU32, putU64 } from '../base/coding.ts'
import { crcBegin, crcEnd, crcUpdate, crcUpdateInPieces, keyedCrc } from '../base/crc32c.ts'
import { FILE_HEADER_BYTES } from '../base/file-header.ts'
import type { Flow } from '../base/flow.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'
import {
  BLOCK_RAW_BYTES_MAX,
  FORMAT_MAJOR,
  FORMAT_MINOR,
  KNOWN_FEATURES,
  VALUE_BYTES_MAX,
} from '../base/limits.ts'
import { compareRanges } from '../base/slice.ts'
import { corruption } from '../base/status.ts'

export const BLOB_MAGIC: Uint8Array = Buffer.from('SHALEBLB', 'latin1')
const FOOTER_MAGIC: Uint8Array = Buffer.from('SHALEBLF', 'latin1')
export const BLOB_FOOTER_BYTES = 64
const FOOTER_CRC_AT = 60
/** What a blob file has besides its frames. */
export const BLOB_FILE_OVERHEAD: number = FILE_HEADER_BYTES + BLOB_FOOTER_BYTES

// --- frames --------------------------------------------------------------------------------------

/** A value as it is stored, with what its frame says of it. */
export interface BlobFrame {
  readonly key: Uint8Array
  /** Of the entry when it was written: 0 if that was ingested. */
  readonly seqno: number
  readonly codec: number
  readonly rawLength: number
  readonly stored: Uint8Array
}

/** What stands before key and value. */
export interface BlobFrameHeader {
  readonly keyLength: number
  readonly codec: number
  readonly rawLength: number
  readonly storedLength: number
  readonly seqno: number
}

/** Header and key of a frame that will lie at `offset`; what is stored follows them. */
export function* encodeFrameHead(
  frame: BlobFrame,
  fileNumber: number,
  offset: number,
): Flow<Uint8Array> {
  const { key, seqno, codec, rawLength, stored } = frame
  const bytes = new Uint8Array(BLOB_FRAME_HEADER_BYTES + key.length)
  putU16(bytes, 4, key.length)
  bytes[6] = codec
  putU32(bytes, 8, rawLength)
  putU32(bytes, 12, stored.length)
  putU64(bytes, 16, seqno)
  bytes.set(key, BLOB_FRAME_HEADER_BYTES)
  const head = crcUpdate(crcBegin(fileNumber, offset), bytes, 4, bytes.length)
  putU32(bytes, 0, crcEnd(yield* crcUpdateInPieces(head, stored, stored.length)))
  return bytes
}

/** Of the first bytes of a frame; undefined if a field breaks a rule, the checksum apart. */
export function decodeFrameHeader(bytes: Uint8Array): BlobFrameHeader | undefined {
  const header = {
    keyLength: getU16(bytes, 4),
    codec: bytes[6]!,
    rawLength: getU32(bytes, 8),
    storedLength: getU32(bytes, 12),
    seqno: getU64(bytes, 16),
  }
  const { keyLength, codec, rawLength, storedLength, seqno } = header
  const holds =
    keyLength >= 1 &&
    codec <= CODEC_MAX &&
    bytes[7] === 0 &&
    (codec === CODEC_NONE ? rawLength === storedLength : rawLength <= BLOCK_RAW_BYTES_MAX) &&
    storedLength <= VALUE_BYTES_MAX &&
    seqno <= SEQNO_MAX
  return holds ? header : undefined
}

/** `bytes` are the frame at `offset` and must be all of it; the result lies in them. */
export function* decodeFrame(
  bytes: Uint8Array,
  fileNumber: number,
  offset: number,
): Flow<BlobFrame> {
  const header = bytes.length < BLOB_FRAME_HEADER_BYTES ? undefined : decodeFrameHeader(bytes)
  const covered = bytes.subarray(4)
  const begin = crcBegin(fileNumber, offset)
  const crc = crcEnd(yield* crcUpdateInPieces(begin, covered, covered.length))
  if (bytes.length < BLOB_FRAME_HEADER_BYTES || getU32(bytes, 0) !== crc) {
    throw corruption('a blob frame has a wrong checksum')
  }
  if (header === undefined || frameBytes(header.keyLength, header.storedLength) !== bytes.length) {
    throw corruption('a field of a blob frame is wrong')
  }
  const { keyLength, codec, rawLength, seqno } = header
  const keyEnd = BLOB_FRAME_HEADER_BYTES + keyLength
  const key = bytes.subarray(BLOB_FRAME_HEADER_BYTES, keyEnd)
  return { key, seqno, codec, rawLength, stored: bytes.subarray(keyEnd) }
}

/** The value itself; it lies in the frame unless it is compressed there. */
export function* decodeBlobValue({ codec, rawLength, stored }: BlobFrame): Flow<Uint8Array> {
  if (codec === CODEC_NONE) return stored
  const value = new Uint8Array(rawLength)
  yield* decompressInPieces(codec, stored, stored.length, value)
  return value
}

// --- footer --------------------------------------------------------------------------------------

/** What the footer states of the file. */
export interface BlobFooter {
  /** Frames. */
  readonly itemCount: number
  /** Of all frames. */
  readonly frameBytes: number
  /** Of all values. */
  readonly rawBytes: number
  /** Milliseconds since 1970. */
  readonly createdAt: number
}

export function encodeBlobFooter(footer: BlobFooter, fileNumber: number, at: number): Uint8Array {
  const out = new Encoder(BLOB_FOOTER_BYTES).raw(FOOTER_MAGIC)
  out.u16(FORMAT_MAJOR).u16(FORMAT_MINOR).u32(0).u64(fileNumber)
  out.u64(footer.itemCount).u64(footer.frameBytes).u64(footer.rawBytes).u64(footer.createdAt)
  return out
    .u32(0)
    .u32(keyedCrc(fileNumber, at, out.bytes, 0, FOOTER_CRC_AT))
    .view()
}

/** Of the last bytes of file `fileNumber`, which begin at `at`, the end of the frames. */
export function decodeBlobFooter(bytes: Uint8Array, fileNumber: number, at: number): BlobFooter {
  const { length } = FOOTER_MAGIC
  if (
    bytes.length !== BLOB_FOOTER_BYTES ||
    compareRanges(bytes, 0, length, FOOTER_MAGIC, 0, length) !== 0
  ) {
    throw corruption('the blob file does not end as one')
  }
  if (getU32(bytes, FOOTER_CRC_AT) !== keyedCrc(fileNumber, at, bytes, 0, FOOTER_CRC_AT)) {
    throw corruption('the footer of a blob file has a wrong checksum')
  }
  const major = getU16(bytes, 8)
  if (major > FORMAT_MAJOR || (getU32(bytes, 12) & ~KNOWN_FEATURES) !== 0) {
    throw new ShaleError('FORMAT_TOO_NEW', 'the blob file was written by a newer version')
  }
  if (major === 0 || getU64(bytes, 16) !== fileNumber || getU32(bytes, 56) !== 0) {
    throw corruption('the footer is not that of this blob file')
  }
  const field = new Decoder(bytes, 24, 56)
  const footer = {
    itemCount: field.u64(),
    frameBytes: field.u64(),
    rawBytes: field.u64(),
    createdAt: field.u64(),
  }
  if (footer.frameBytes !== at - FILE_HEADER_BYTES) {
    throw corruption('the footer of a blob file states what cannot be')
  }
  return footer
}
