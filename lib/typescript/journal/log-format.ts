/**
 * Logs: journals and manifests, byte for byte; docs/format.md, section 4.
 *
 * A header, then records back to back, then possibly zeros. A record states how much of the file
 * was known to be durable when it was written; that is what tells a torn tail from damage.
 */

import type { ShaleError } from '../../errors.ts'
import { getU32, getU64, putU32, putU64 } from '../base/coding.ts'
import { crcBegin, crcEnd, crcUpdate } from '../base/crc32c.ts'
import { encodeFileHeader, FILE_HEADER_BYTES, fileHeaderError } from '../base/file-header.ts'
import { BATCH_BYTES_MAX } from '../base/limits.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'

export const LOG_HEADER_BYTES: number = FILE_HEADER_BYTES
export const RECORD_HEADER_BYTES = 32

export type LogKind = 'journal' | 'manifest'
const MAGICS: Readonly<Record<LogKind, Uint8Array>> = {
  journal: Buffer.from('SHALEJNL'),
  manifest: Buffer.from('SHALEMAN'),
}

/** A commit, or a list of edits. */
export const RECORD_DATA = 1
/** Only states what is durable. */
export const RECORD_SYNCED_TO = 2

export function encodeLogHeader(kind: LogKind, fileNumber: number): Uint8Array {
  return encodeFileHeader(MAGICS[kind], fileNumber)
}

/** Why this is not the header of log `fileNumber`; or undefined. */
export function logHeaderError(
  bytes: Uint8Array,
  kind: LogKind,
  fileNumber: number,
  path: string,
): ShaleError | undefined {
  return fileHeaderError(bytes, MAGICS[kind], fileNumber, path)
}

/**
 * Writes the header of a record that will lie at `offset` to `bytes` at `at`. The payload must
 * stand behind it already, unless `payload` brings it from elsewhere.
 */
export function putRecordHeader(
  bytes: Uint8Array,
  at: number,
  fileNumber: number,
  offset: number,
  record: {
    readonly type: number
    readonly count: number
    readonly syncedTo: number
    readonly seqno: number
    readonly payloadLength: number
  },
  payload?: Uint8Array,
): void {
  putU32(bytes, at + 4, record.payloadLength)
  putU32(bytes, at + 8, record.type)
  putU32(bytes, at + 12, record.count)
  putU64(bytes, at + 16, record.syncedTo)
  putU64(bytes, at + 24, record.seqno)
  const begin = crcBegin(fileNumber, offset)
  const header = at + RECORD_HEADER_BYTES
  const crc =
    payload === undefined
      ? crcUpdate(begin, bytes, at + 4, header + record.payloadLength)
      : crcUpdate(crcUpdate(begin, bytes, at + 4, header), payload, 0, payload.length)
  putU32(bytes, at, crcEnd(crc))
}

export function payloadLength(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at + 4)
}

/** Whether the fields of the record header at `at` obey section 4.2, the checksum aside. */
export function recordFieldsHold(
  kind: LogKind,
  bytes: Uint8Array,
  at: number,
  offset: number,
): boolean {
  const type = getU32(bytes, at + 8)
  if (type !== RECORD_DATA && type !== RECORD_SYNCED_TO) return false
  const length = payloadLength(bytes, at)
  const count = getU32(bytes, at + 12)
  const seqno = getU64(bytes, at + 24)
  if (getU64(bytes, at + 16) > offset) return false
  if (type === RECORD_SYNCED_TO) return length === 0 && count === 0 && seqno === 0
  if (length > BATCH_BYTES_MAX) return false
  return kind === 'journal' ? seqno <= SEQNO_MAX : count === 0 && seqno === 0
}
