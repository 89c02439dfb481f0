/**
 * CRC32C (Castagnoli), keyed with file number and offset, so that a structure that is read from the
 * wrong place fails as well.
 *
 * Eight bytes a step over eight tables: table k advances a byte over k further zero bytes. The
 * register is a signed 32-bit integer throughout, which the compiler keeps in a machine register.
 */

import { putU64 } from './coding.ts'
import { breath } from './flow.ts'
import type { Flow } from './flow.ts'

const POLYNOMIAL = 0x82f63b78
const STEP = 8

/** Table k, entry b at index 256 * k + b. */
const tables: Int32Array = makeTables()

function makeTables(): Int32Array {
  const made = new Int32Array(256 * STEP)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0)
    made[byte] = crc
  }
  for (let i = 256; i < made.length; i++) {
    const before = made[i - 256]!
    made[i] = (before >>> 8) ^ made[before & 0xff]!
  }
  return made
}

/** The register before the first byte. */
export const CRC_BEGIN = -1

/** Feeds a range to the register. */
export function crcUpdate(crc: number, bytes: Uint8Array, begin: number, end: number): number {
  let at = begin
  crc |= 0
  for (const last = end - STEP; at <= last; at += STEP) {
    const low =
      crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24))
    crc =
      tables[1792 + (low & 0xff)]! ^
      tables[1536 + ((low >>> 8) & 0xff)]! ^
      tables[1280 + ((low >>> 16) & 0xff)]! ^
      tables[1024 + (low >>> 24)]! ^
      tables[768 + bytes[at + 4]!]! ^
      tables[512 + bytes[at + 5]!]! ^
      tables[256 + bytes[at + 6]!]! ^
      tables[bytes[at + 7]!]!
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ tables[(crc ^ bytes[at]!) & 0xff]!
  return crc
}

/** Bytes between two turns of the event loop. */
const PIECE_BYTES = 1_048_576

/** `crcUpdate` over bytes[0..end), any number of them. */
export function* crcUpdateInPieces(crc: number, bytes: Uint8Array, end: number): Flow<number> {
  let register = crc
  let at = 0
  for (; end - at > PIECE_BYTES; at += PIECE_BYTES) {
    register = crcUpdate(register, bytes, at, at + PIECE_BYTES)
    yield* breath
  }
  return crcUpdate(register, bytes, at, end)
}

/** The checksum of what the register was fed, unsigned. */
export function crcEnd(crc: number): number {
  return ~crc >>> 0
}

export function crc32c(bytes: Uint8Array, begin = 0, end: number = bytes.length): number {
  return crcEnd(crcUpdate(CRC_BEGIN, bytes, begin, end))
}

const key = new Uint8Array(16)

/** The register after file number and offset of a structure. */
export function crcBegin(fileNumber: number, offset: number): number {
  putU64(key, 0, fileNumber)
  putU64(key, 8, offset)
  return crcUpdate(CRC_BEGIN, key, 0, 16)
}

/** The checksum of a structure of file `fileNumber` at `offset`: over bytes[begin..end). */
export function keyedCrc(
  fileNumber: number,
  offset: number,
  bytes: Uint8Array,
  begin: number,
  end: number,
): number {
  return crcEnd(crcUpdate(crcBegin(fileNumber, offset), bytes, begin, end))
}
