/** Footer and properties of a table, and what all of its parts share; docs/format.md, section 8. */

import { CODEC_MAX } from '../base/compression.ts'
import { Decoder, Encoder, getU16, getU32, TaggedFields } from '../base/coding.ts'
import { keyedCrc } from '../base/crc32c.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'
import { FORMAT_MAJOR, FORMAT_MINOR, KEY_BYTES_MAX, KNOWN_FEATURES } from '../base/limits.ts'
import { compareBytes, compareRanges, copyOf } from '../base/slice.ts'
import { corruption } from '../base/status.ts'
import { ShaleError } from '../../errors.ts'

export const TABLE_FOOTER_BYTES = 64
export const BLOCK_TRAILER_BYTES = 9
export const BLOCK_FOOTER_BYTES = 12
const MAGIC: Uint8Array = Buffer.from('SHALETBL', 'latin1')
const FOOTER_CRC_AT = 60

/** Where a block lies: `length` stored bytes, then the trailer. No block has the length 0. */
export interface Handle {
  readonly offset: number
  readonly length: number
}

export const NO_HANDLE: Handle = { offset: 0, length: 0 }

export interface TableFooter {
  readonly properties: Handle
  readonly index: Handle
  /** NO_HANDLE if there is no filter. */
  readonly filter: Handle
}

export function encodeFooter(footer: TableFooter, fileNumber: number, at: number): Uint8Array {
  const { properties, index, filter } = footer
  const out = new Encoder(TABLE_FOOTER_BYTES).raw(MAGIC)
  out.u16(FORMAT_MAJOR).u16(FORMAT_MINOR).u32(KNOWN_FEATURES).u64(fileNumber)
  out.u64(properties.offset).u64(index.offset).u64(filter.offset)
  out.u32(properties.length).u32(index.length).u32(filter.length)
  return out.u32(keyedCrc(fileNumber, at, out.bytes, 0, FOOTER_CRC_AT)).view()
}

/** Of the last bytes of file `fileNumber`, which begin at offset `at`. */
export function decodeFooter(bytes: Uint8Array, fileNumber: number, at: number): TableFooter {
  if (compareRanges(bytes, 0, MAGIC.length, MAGIC, 0, MAGIC.length) !== 0) {
    throw corruption('the footer of a table has a wrong magic')
  }
  if (getU32(bytes, FOOTER_CRC_AT) !== keyedCrc(fileNumber, at, bytes, 0, FOOTER_CRC_AT)) {
    throw corruption('the footer of a table has a wrong checksum')
  }
  const major = getU16(bytes, 8)
  if (major > FORMAT_MAJOR || getU32(bytes, 12) !== KNOWN_FEATURES) {
    throw new ShaleError('FORMAT_TOO_NEW', 'the table was written by a newer version')
  }
  if (major === 0) throw corruption('the footer of a table has no format')
  const field = new Decoder(bytes, 16, FOOTER_CRC_AT)
  if (field.u64() !== fileNumber) throw corruption('a table has the number of another file')
  const [properties, index, filter] = [field.u64(), field.u64(), field.u64()]
  const footer = {
    properties: checkedHandle(properties, field.u32(), at),
    index: checkedHandle(index, field.u32(), at),
  }
  const filterLength = field.u32()
  if (filterLength === 0 && filter === 0) return { ...footer, filter: NO_HANDLE }
  return { ...footer, filter: checkedHandle(filter, filterLength, at) }
}

/** A block with its trailer lies before the footer, which begins at `limit`. */
export function checkedHandle(offset: number, length: number, limit: number): Handle {
  if (length < 1 || offset + length + BLOCK_TRAILER_BYTES > limit) {
    throw corruption('a block would reach beyond its table')
  }
  return { offset, length }
}

// --- properties ----------------------------------------------------------------------------------

export const INDEX_WHOLE = 0
export const INDEX_PARTITIONED = 1
export const FILTER_NONE = 0
export const FILTER_WHOLE = 1
export const FILTER_PARTITIONED = 2

/** What the last key of a table is. At the same key, inclusive is greater. */
export const BOUND_INCLUSIVE = 0
export const BOUND_EXCLUSIVE = 1
export const BOUND_UNBOUNDED = 2

/** What a table says of itself. Seqnos are as stored, without the table's global seqno. */
export interface TableProperties {
  itemCount: number
  tombstoneCount: number
  weakTombstoneCount: number
  rangeTombstoneCount: number
  blockCount: number
  /** Distinct user keys. */
  keyCount: number
  firstKey: Uint8Array
  lastKey: Uint8Array
  lastKeyBound: number
  lowestSeqno: number
  highestSeqno: number
  /** Milliseconds since 1970. */
  createdAt: number
  codec: number
  /** Raw bytes of all data blocks. */
  rawBytes: number
  indexKind: number
  filterKind: number
  /** NO_HANDLE if there are none; the same below. */
  rangeTombstones: Handle
  blobReferences: Handle
}

type NumberName = {
  [K in keyof TableProperties]: TableProperties[K] extends number ? K : never
}[keyof TableProperties]

/** By property id: how the number is stored, and its largest value. */
const NUMBERS: readonly (readonly [number, NumberName, 'varint' | 'u8', number])[] = [
  [1, 'itemCount', 'varint', Number.MAX_SAFE_INTEGER],
  [2, 'tombstoneCount', 'varint', Number.MAX_SAFE_INTEGER],
  [3, 'weakTombstoneCount', 'varint', Number.MAX_SAFE_INTEGER],
  [4, 'rangeTombstoneCount', 'varint', Number.MAX_SAFE_INTEGER],
  [5, 'blockCount', 'varint', Number.MAX_SAFE_INTEGER],
  [6, 'keyCount', 'varint', Number.MAX_SAFE_INTEGER],
  [9, 'lastKeyBound', 'u8', BOUND_UNBOUNDED],
  [10, 'lowestSeqno', 'varint', SEQNO_MAX],
  [11, 'highestSeqno', 'varint', SEQNO_MAX],
  [12, 'createdAt', 'varint', Number.MAX_SAFE_INTEGER],
  [13, 'codec', 'u8', CODEC_MAX],
  [14, 'rawBytes', 'varint', Number.MAX_SAFE_INTEGER],
  [15, 'indexKind', 'u8', INDEX_PARTITIONED],
  [16, 'filterKind', 'u8', FILTER_PARTITIONED],
]
const KEYS: readonly (readonly [number, 'firstKey' | 'lastKey'])[] = [
  [7, 'firstKey'],
  [8, 'lastKey'],
]
const HANDLES: readonly (readonly [number, 'rangeTombstones' | 'blobReferences'])[] = [
  [17, 'rangeTombstones'],
  [18, 'blobReferences'],
]

export function noProperties(): TableProperties {
  const none = new Uint8Array(0)
  const numbers = Object.fromEntries(NUMBERS.map(([, name]) => [name, 0])) as Record<
    NumberName,
    number
  >
  return {
    ...numbers,
    firstKey: none,
    lastKey: none,
    rangeTombstones: NO_HANDLE,
    blobReferences: NO_HANDLE,
  }
}

export function encodeProperties(properties: TableProperties): Uint8Array {
  const fields: [number, Uint8Array][] = []
  for (const [id, name, form] of NUMBERS) {
    const content = new Encoder(16)
    if (form === 'u8') content.u8(properties[name])
    else content.varint(properties[name])
    fields.push([id, content.view()])
  }
  for (const [id, name] of KEYS) fields.push([id, properties[name]])
  for (const [id, name] of HANDLES) {
    const { offset, length } = properties[name]
    if (length > 0) fields.push([id, new Encoder(16).varint(offset).varint(length).view()])
  }
  const out = new Encoder()
  for (const [id, content] of fields.toSorted(([a], [b]) => a - b)) out.field(id, content)
  return out.view()
}

/** `limit` is the offset of the footer. Ids that are not known are passed over. */
export function decodeProperties(bytes: Uint8Array, limit: number): TableProperties {
  const properties = noProperties()
  const missing = new Set([...NUMBERS, ...KEYS].map(([id]) => id))
  const fields = new TaggedFields(bytes)
  while (fields.next()) {
    const { id, content } = fields
    missing.delete(id)
    const number = NUMBERS.find(([known]) => known === id)
    const key = KEYS.find(([known]) => known === id)
    const handle = HANDLES.find(([known]) => known === id)
    if (number !== undefined) {
      const value = number[2] === 'u8' ? content.u8() : content.varint()
      if (value > number[3]) throw corruption('a property of a table is out of its range')
      properties[number[1]] = value
    } else if (key !== undefined) {
      properties[key[1]] = copyOf(content.bytes, content.skip(content.left), content.end)
    } else if (handle !== undefined) {
      properties[handle[1]] = checkedHandle(content.varint(), content.varint(), limit)
    } else {
      continue
    }
    content.finish()
  }
  if (missing.size > 0) throw corruption('a table lacks a property')
  checkProperties(properties)
  return properties
}

function checkProperties(properties: TableProperties): void {
  const { itemCount, keyCount, blockCount, firstKey, lastKey, lastKeyBound } = properties
  const isLength = (length: number): boolean => length >= 1 && length <= KEY_BYTES_MAX
  const unbounded = lastKeyBound === BOUND_UNBOUNDED
  const hasRanges = properties.rangeTombstoneCount > 0
  const ordered = unbounded || compareBytes(firstKey, lastKey) <= (lastKeyBound === 0 ? 0 : -1)
  const agree =
    itemCount + properties.rangeTombstoneCount > 0 &&
    properties.tombstoneCount + properties.weakTombstoneCount <= itemCount &&
    keyCount <= itemCount &&
    blockCount <= itemCount &&
    itemCount > 0 === keyCount > 0 &&
    itemCount > 0 === blockCount > 0 &&
    properties.lowestSeqno <= properties.highestSeqno &&
    isLength(firstKey.length) &&
    (unbounded ? lastKey.length === 0 : isLength(lastKey.length)) &&
    (lastKeyBound === BOUND_INCLUSIVE || hasRanges) &&
    hasRanges === properties.rangeTombstones.length > 0 &&
    ordered
  if (!agree) throw corruption('the properties of a table contradict each other')
}
