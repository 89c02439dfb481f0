// What each checksum of a file covers, so that damage can be sealed again and a reader has to find
// it by what the bytes say: docs/format.md, sections 3, 4 and 8.

import { crcBegin, crcEnd, crcUpdate, keyedCrc } from '../../../lib/typescript/base/crc32c.ts'
import { parseFileName } from '../../../lib/typescript/vfs/file-name.ts'

export interface Part {
  /** Which bytes the checksum covers. */
  readonly begin: number
  readonly end: number
  readonly crcAt: number
  /** The offset that the checksum is keyed with. */
  readonly offset: number
}

const LOG_HEADER = 32
const RECORD_HEADER = 32
const FOOTER = 64
const TRAILER = 9

/** Of a file that is not damaged yet; of other files none. */
export function partsOf(name: string, bytes: Buffer): readonly Part[] {
  const { kind, number } = parseFileName(name)
  if (kind === 'journal' || kind === 'manifest') return logParts(bytes)
  return kind === 'table' ? tableParts(number, bytes) : []
}

/** Makes the checksum of a part right. */
export function seal(name: string, bytes: Buffer, { begin, end, crcAt, offset }: Part): void {
  const { number } = parseFileName(name)
  bytes.writeUInt32LE(keyedCrc(number, offset, bytes, begin, end), crcAt)
}

function logParts(bytes: Buffer): readonly Part[] {
  if (bytes.length < LOG_HEADER) return []
  const parts: Part[] = [{ begin: 0, end: LOG_HEADER - 4, crcAt: LOG_HEADER - 4, offset: 0 }]
  let at = LOG_HEADER
  while (at + RECORD_HEADER <= bytes.length && bytes[at + 8] !== 0) {
    const end = at + RECORD_HEADER + bytes.readUInt32LE(at + 4)
    if (end > bytes.length) break
    parts.push({ begin: at + 4, end, crcAt: at, offset: at })
    at = end
  }
  return parts
}

/** Blocks lie back to back; where one ends, its checksum is right. */
function tableParts(number: number, bytes: Buffer): readonly Part[] {
  const footer = bytes.length - FOOTER
  if (footer < 0) return []
  const parts: Part[] = [
    { begin: footer, end: bytes.length - 4, crcAt: bytes.length - 4, offset: footer },
  ]
  let begin = 0
  while (begin < footer) {
    const end = blockEnd(number, bytes, begin, footer)
    if (end === undefined) break
    parts.push({ begin, end: end - 4, crcAt: end - 4, offset: begin })
    begin = end
  }
  return parts
}

function blockEnd(number: number, bytes: Buffer, begin: number, limit: number): number | undefined {
  let crc = crcBegin(number, begin)
  for (let at = begin + 1; at + TRAILER <= limit; at++) {
    crc = crcUpdate(crc, bytes, at - 1, at)
    const behind = crcUpdate(crc, bytes, at, at + TRAILER - 4)
    if (crcEnd(behind) === bytes.readUInt32LE(at + TRAILER - 4)) return at + TRAILER
  }
  return undefined
}
