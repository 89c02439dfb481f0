/**
 * The entries of one commit: the payload of a journal record, and the same bytes in memory, which
 * the memtables are filled from; docs/format.md, 5.1.
 */

import { ShaleError } from '../../errors.ts'
import { CODEC_MAX, CODEC_NONE, decompressInPieces } from '../base/compression.ts'
import { getU16, getU32, putU16, putU32 } from '../base/coding.ts'
import type { Flow } from '../base/flow.ts'
import {
  KIND_RANGE_TOMBSTONE,
  KIND_TOMBSTONE,
  KIND_VALUE,
  KIND_WEAK_TOMBSTONE,
} from '../base/internal-key.ts'
import {
  BATCH_BYTES_MAX,
  BLOCK_RAW_BYTES_MAX,
  KEY_BYTES_MAX,
  NAME_BYTES_MAX,
  VALUE_BYTES_MAX,
} from '../base/limits.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { compareRanges } from '../base/slice.ts'
import { corruption } from '../base/status.ts'

export const ENTRY_HEADER_BYTES = 12

/** Kinds that occur in journals only. A commit with one of them holds no other entry. */
export const KEYSPACE_CREATE = 0x40
export const KEYSPACE_DELETE = 0x41
export const KEYSPACE_CLEAR = 0x42
/** This seqno belongs to tables that the manifest adds with it as global seqno. */
export const TABLES_CHANGED = 0x43

/** The raw length before a compressed value. */
export const RAW_LENGTH_BYTES = 4
/** Flag of a range tombstone without upper end. */
const UNBOUNDED = 1

export function isKeyspaceRecord(kind: number): boolean {
  return kind >= KEYSPACE_CREATE && kind <= TABLES_CHANGED
}

/** Writes the header of an entry; key and value go behind it. */
export function putEntryHeader(
  bytes: Uint8Array,
  at: number,
  kind: number,
  codec: number,
  keyLength: number,
  keyspaceId: number,
  valueLength: number,
): void {
  bytes[at] = kind
  bytes[at + 1] = codec
  putU16(bytes, at + 2, keyLength)
  putU32(bytes, at + 4, keyspaceId)
  putU32(bytes, at + 8, valueLength)
}

/**
 * Walks over the entries: `while (reader.next())` read the fields. CORRUPTION for whatever breaks a
 * rule; the bytes are not changed, and no object is made for an entry.
 */
export class BatchReader {
  kind = 0
  codec = 0
  keyspaceId = 0
  /** Key and stored value in `bytes`. */
  keyBegin = 0
  keyEnd = 0
  valueBegin = 0
  valueEnd = 0
  /** Whether there was a range tombstone so far. */
  hasRanges = false
  readonly bytes: Uint8Array
  readonly #end: number
  #at: number
  #count = 0
  #sum = 0

  constructor(bytes: Uint8Array, begin = 0, end: number = bytes.length) {
    this.bytes = bytes
    this.#at = begin
    this.#end = end
  }

  /** Entries so far. */
  get count(): number {
    return this.#count
  }

  /** Bytes of the entries so far, with values uncompressed. */
  get rawBytes(): number {
    return this.#sum
  }

  next(): boolean {
    const at = this.#at
    if (at === this.#end) return false
    const { bytes } = this
    if (this.#end - at < ENTRY_HEADER_BYTES) {
      throw corruption('a batch entry is cut off in its header')
    }
    this.kind = bytes[at]!
    this.codec = bytes[at + 1]!
    this.keyspaceId = getU32(bytes, at + 4)
    this.keyBegin = at + ENTRY_HEADER_BYTES
    this.keyEnd = this.keyBegin + getU16(bytes, at + 2)
    this.valueBegin = this.keyEnd
    this.valueEnd = this.valueBegin + getU32(bytes, at + 8)
    if (this.valueEnd > this.#end) throw corruption('a batch entry is longer than its batch')
    if (this.keyspaceId === 0) throw corruption('a batch entry belongs to no keyspace')
    this.#checkKind()
    if (isKeyspaceRecord(this.kind) && (this.#count > 0 || this.valueEnd !== this.#end)) {
      throw corruption('a keyspace record shares its commit')
    }
    this.#at = this.valueEnd
    this.#count++
    this.#sum += ENTRY_HEADER_BYTES + (this.keyEnd - this.keyBegin) + this.rawLength
    return true
  }

  /** Length of the value when it is not compressed. */
  get rawLength(): number {
    if (this.codec === CODEC_NONE) return this.valueEnd - this.valueBegin
    return getU32(this.bytes, this.valueBegin)
  }

  /** Writes the value to `target`, which has `rawLength` bytes; a large one in pieces. */
  *copyValue(target: Uint8Array): Flow<void> {
    const { codec, bytes, valueBegin, valueEnd } = this
    const begin = codec === CODEC_NONE ? valueBegin : valueBegin + RAW_LENGTH_BYTES
    const stored = bytes.subarray(begin, valueEnd)
    if (codec === CODEC_NONE) target.set(stored)
    else yield* decompressInPieces(codec, stored, stored.length, target)
  }

  /** A range tombstone; its keys are parts of the bytes. */
  range(seqno: number): RangeTombstone {
    const { bytes, keyBegin, keyEnd, valueBegin, valueEnd } = this
    const isUnbounded = bytes[valueBegin] === UNBOUNDED
    return {
      start: bytes.subarray(keyBegin, keyEnd),
      end: isUnbounded ? undefined : bytes.subarray(valueBegin + 1, valueEnd),
      seqno,
    }
  }

  #checkKind(): void {
    const keyLength = this.keyEnd - this.keyBegin
    const valueLength = this.valueEnd - this.valueBegin
    const { kind, codec } = this
    if (kind === KIND_VALUE) {
      check(keyLength > 0 && valueLength <= VALUE_BYTES_MAX)
      if (codec !== CODEC_NONE) this.#checkCompressed(valueLength)
      return
    }
    check(codec === CODEC_NONE)
    if (kind === KIND_TOMBSTONE || kind === KIND_WEAK_TOMBSTONE) {
      check(keyLength > 0 && valueLength === 0)
    } else if (kind === KIND_RANGE_TOMBSTONE) {
      check(keyLength > 0 && valueLength > 0)
      this.#checkRange()
      this.hasRanges = true
    } else if (kind === KEYSPACE_CREATE) {
      check(keyLength > 0 && keyLength <= NAME_BYTES_MAX)
    } else {
      check(isKeyspaceRecord(kind) && keyLength === 0 && valueLength === 0)
    }
  }

  #checkCompressed(valueLength: number): void {
    check(this.codec <= CODEC_MAX && valueLength > RAW_LENGTH_BYTES)
    check(this.rawLength > 0 && this.rawLength <= BLOCK_RAW_BYTES_MAX)
  }

  #checkRange(): void {
    const { bytes, keyBegin, keyEnd, valueBegin, valueEnd } = this
    const flags = bytes[valueBegin]!
    const end = valueBegin + 1
    if (flags === UNBOUNDED) {
      check(end === valueEnd)
    } else {
      check(valueEnd - end <= KEY_BYTES_MAX)
      check(flags === 0 && compareRanges(bytes, end, valueEnd, bytes, keyBegin, keyEnd) > 0)
    }
  }
}

function check(holds: boolean): void {
  if (!holds) throw corruption('a batch entry breaks a rule of its kind')
}

/** Checks a batch; `onKeyspace` is told that of each entry, once for several in a row. */
export function checkedBatch(
  entries: Uint8Array,
  onKeyspace: (keyspaceId: number) => void,
): { readonly count: number; readonly hasRanges: boolean } {
  if (entries.length > BATCH_BYTES_MAX) {
    const message = `the batch has ${entries.length} bytes, the limit is ${BATCH_BYTES_MAX}`
    throw new ShaleError('BATCH_TOO_LARGE', message)
  }
  const reader = new BatchReader(entries)
  let id = 0
  while (reader.next()) {
    if (reader.keyspaceId === id) continue
    id = reader.keyspaceId
    onKeyspace(id)
  }
  return reader
}
