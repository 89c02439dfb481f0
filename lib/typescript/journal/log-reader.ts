/**
 * Reads a log from front to back and says how it ends: cleanly, torn by a crash, or damaged.
 *
 * A system crash may leave any part of what was not synced, holes included; but what a record calls
 * durable had been synced before that record was written. So a bad record is damage exactly if the
 * manifest or any valid record of the file, those behind it included, calls it durable.
 * docs/format.md, 4.4.
 */

import type { ShaleError } from '../../errors.ts'
import { getU32, getU64 } from '../base/coding.ts'
import { crcBegin, crcEnd, crcUpdate } from '../base/crc32c.ts'
import type { Flow } from '../base/flow.ts'
import { corruption } from '../base/status.ts'
import type { File } from '../vfs/vfs.ts'
import {
  LOG_HEADER_BYTES,
  logHeaderError,
  payloadLength,
  RECORD_HEADER_BYTES,
  recordFieldsHold,
} from './log-format.ts'
import type { LogKind } from './log-format.ts'

/**
 * What a reader does at the end of what can be read: `tail` drops what a crash tore off and refuses
 * damage, `strict` refuses both, `salvage` goes on with the next record that can be read.
 */
export type RecoveryMode = 'tail' | 'strict' | 'salvage'

export interface LogReaderOptions {
  readonly kind: LogKind
  readonly fileNumber: number
  readonly mode: RecoveryMode
  /** What the manifest states: nothing behind it is looked at, and all before it is durable. */
  readonly finalLength?: number | undefined
}

/** Bytes read at a time. */
const CHUNK_BYTES = 256 * 1024
/** The search for records behind a bad one ends after checksums over so many times their bytes. */
const SEARCH_FACTOR = 16

/** What lies at an offset. `broken`: the checksum is right, but a field breaks a rule. */
type Finding = 'end' | 'record' | 'bad' | 'broken'

export class LogReader {
  // --- the record that `next` went to ---
  type = 0
  count = 0
  seqno = 0
  /** Of the record in the file. */
  offset = 0
  /** Good until the next call of `next`. */
  payload: Uint8Array = new Uint8Array(0)

  // --- the file ---
  /** Why the header is not one. There are no records to read then. */
  headerError: ShaleError | undefined
  /** Where the last record ends that was read. */
  end: number = LOG_HEADER_BYTES
  /** Highest `synced_to` of the valid records that were seen. */
  syncedTo = 0
  /** Bytes that were torn off, or that salvage passed over. */
  droppedBytes = 0

  readonly #file: File
  readonly #kind: LogKind
  readonly #fileNumber: number
  readonly #mode: RecoveryMode
  readonly #finalLength: number | undefined
  /** Bytes of the file that are looked at. */
  #length = 0
  /** Bytes that the search may still compute checksums over. */
  #budget = 0
  /** Part of the file in memory: #loaded bytes from #base on. */
  #window: Uint8Array = new Uint8Array(CHUNK_BYTES)
  #base = 0
  #loaded = 0

  constructor(file: File, options: LogReaderOptions) {
    this.#file = file
    this.#kind = options.kind
    this.#fileNumber = options.fileNumber
    this.#mode = options.mode
    this.#finalLength = options.finalLength
  }

  /** Looks at size and header. */
  *open(): Flow<void> {
    const { path } = this.#file
    const size = yield* this.#file.size()
    const stated = this.#finalLength ?? size
    if (size < stated && this.#mode !== 'salvage') {
      throw corruption('the file has lost its end', path, size)
    }
    this.#length = Math.min(size, stated)
    const header = new Uint8Array(LOG_HEADER_BYTES)
    const got = yield* this.#file.read(0, header)
    this.headerError = logHeaderError(header.subarray(0, got), this.#kind, this.#fileNumber, path)
  }

  /** Goes to the next record; false where they end. */
  *next(): Flow<boolean> {
    const at = this.end
    const finding = yield* this.#look(at)
    if (finding === 'record') {
      yield* this.#take(at)
      return true
    }
    const damaged = finding === 'broken' || (yield* this.#callsDurable(at))
    if (this.#mode === 'salvage') return yield* this.#salvage(at)
    if (damaged) throw corruption('a record is damaged', this.#file.path, at)
    if (finding === 'end') return false
    if (this.#mode === 'strict') throw corruption('a record is torn', this.#file.path, at)
    this.droppedBytes += (yield* this.#lastByte(at)) - at
    this.#length = at
    return false
  }

  // --- verdicts ----------------------------------------------------------------------------------

  *#look(offset: number): Flow<Finding> {
    const left = this.#length - offset
    if (left >= RECORD_HEADER_BYTES) {
      const at = yield* this.#load(offset, RECORD_HEADER_BYTES)
      const isZero = this.#window.subarray(at, at + RECORD_HEADER_BYTES).every((byte) => byte === 0)
      if (!isZero) {
        if (!(yield* this.#checksumHolds(offset))) return 'bad'
        const header = yield* this.#load(offset, RECORD_HEADER_BYTES)
        return recordFieldsHold(this.#kind, this.#window, header, offset) ? 'record' : 'broken'
      }
    }
    return (yield* this.#lastByte(offset)) === offset ? 'end' : 'bad'
  }

  /** Reads the record at `offset`, which is valid. */
  *#take(offset: number): Flow<void> {
    const header = yield* this.#load(offset, RECORD_HEADER_BYTES)
    const length = RECORD_HEADER_BYTES + payloadLength(this.#window, header)
    const at = yield* this.#load(offset, length)
    this.type = this.#window[at + 8]!
    this.count = getU32(this.#window, at + 12)
    this.seqno = getU64(this.#window, at + 24)
    this.offset = offset
    this.payload = this.#window.subarray(at + RECORD_HEADER_BYTES, at + length)
    this.end = offset + length
    this.#note(at)
  }

  /** Whether anything says that what lies at `offset` was durable. */
  *#callsDurable(offset: number): Flow<boolean> {
    if (Math.max(this.syncedTo, this.#finalLength ?? 0) > offset) return true
    this.#budget = SEARCH_FACTOR * (this.#length - offset)
    let found = yield* this.#find(offset + 1)
    while (found !== undefined) {
      const at = yield* this.#load(found, RECORD_HEADER_BYTES)
      this.#note(at)
      if (this.syncedTo > offset) return true
      found = yield* this.#find(found + RECORD_HEADER_BYTES + payloadLength(this.#window, at))
    }
    return this.#budget < 0
  }

  /** Goes to the first record that can be read behind `offset`. */
  *#salvage(offset: number): Flow<boolean> {
    this.#budget = SEARCH_FACTOR * (this.#length - offset)
    const found = yield* this.#find(offset + 1)
    this.droppedBytes += (found ?? (yield* this.#lastByte(offset))) - offset
    if (found === undefined) {
      this.#length = offset
      return false
    }
    yield* this.#take(found)
    return true
  }

  #note(header: number): void {
    this.syncedTo = Math.max(this.syncedTo, getU64(this.#window, header + 16))
  }

  // --- the search --------------------------------------------------------------------------------

  /** The first valid record at or behind `offset`. Gives up when the budget is spent. */
  *#find(offset: number): Flow<number | undefined> {
    let from = offset
    while (from + RECORD_HEADER_BYTES <= this.#length && this.#budget >= 0) {
      yield* this.#load(from, RECORD_HEADER_BYTES)
      const candidate = this.#nextCandidate(from)
      if (candidate === undefined) {
        from = this.#base + this.#loaded - RECORD_HEADER_BYTES + 1
      } else if (yield* this.#checksumHolds(candidate)) {
        return candidate
      } else {
        from = candidate + 1
      }
    }
    return undefined
  }

  /** The first offset from `offset` on, in the window, where a record header may be. */
  #nextCandidate(offset: number): number | undefined {
    const window = this.#window
    const last = this.#loaded - RECORD_HEADER_BYTES
    for (let at = offset - this.#base; at <= last; at++) {
      const type = window[at + 8]!
      if (type === 0 || type > 2 || window[at + 9] !== 0) continue
      const place = this.#base + at
      if (recordFieldsHold(this.#kind, window, at, place)) return place
    }
    return undefined
  }

  /** Whether the record whose header is in the window ends in the file and has its checksum. */
  *#checksumHolds(offset: number): Flow<boolean> {
    const header = offset - this.#base
    const end = offset + RECORD_HEADER_BYTES + payloadLength(this.#window, header)
    const expected = getU32(this.#window, header)
    if (end > this.#length) return false
    this.#budget -= end - offset
    let crc = crcBegin(this.#fileNumber, offset)
    let from = offset + 4
    while (from < end) {
      const at = yield* this.#load(from, Math.min(end - from, CHUNK_BYTES))
      const to = Math.min(end - this.#base, this.#loaded)
      crc = crcUpdate(crc, this.#window, at, to)
      from = this.#base + to
    }
    return crcEnd(crc) === expected
  }

  // --- the file ----------------------------------------------------------------------------------

  /** Brings a range into the window, and what follows it; returns where in the window it is. */
  *#load(offset: number, length: number): Flow<number> {
    const behind = this.#base + this.#loaded
    if (offset >= this.#base && offset + length <= behind) return offset - this.#base
    const want = Math.min(Math.max(length, CHUNK_BYTES), this.#length - offset)
    if (want > this.#window.length) this.#window = new Uint8Array(want)
    this.#loaded = 0
    const got = yield* this.#file.read(offset, this.#window.subarray(0, want))
    if (got < want) throw corruption('the file ends early', this.#file.path, offset + got)
    this.#base = offset
    this.#loaded = want
    return 0
  }

  /** The end of the last byte behind `offset` that is not zero; `offset` if there is none. */
  *#lastByte(offset: number): Flow<number> {
    for (let end = this.#length; end > offset; end -= CHUNK_BYTES) {
      const begin = Math.max(offset, end - CHUNK_BYTES)
      const at = yield* this.#load(begin, end - begin)
      const last = this.#window.subarray(at, at + end - begin).findLastIndex((byte) => byte !== 0)
      if (last >= 0) return begin + last + 1
    }
    return offset
  }
}
