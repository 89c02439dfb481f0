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
import { crcBegin, crcEnd, crcUpdate, keyedCrc } from '../base/crc32c.ts'
import { breath } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { BATCH_BYTES_MAX } from '../base/limits.ts'
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

/** How the records of a log end. */
export type LogTail = 'clean' | 'torn' | 'damaged'

export interface LogReaderOptions {
  readonly kind: LogKind
  readonly fileNumber: number
  readonly mode: RecoveryMode
  /** What the manifest states: nothing behind it is looked at, and all before it is durable. */
  readonly finalLength?: number | undefined
}

/** Bytes read at a time; not much more is looked at between two turns of the event loop. */
const CHUNK_BYTES = 512 * 1024
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
  /** Highest `synced_to` of the valid records that were seen, behind a bad one as well. */
  syncedTo = 0
  /** How it ended; with salvage the worst of all places that were passed over. */
  tail: LogTail = 'clean'
  /** Bytes that were torn off, or that salvage passed over. */
  droppedBytes = 0

  readonly #file: File
  readonly #kind: LogKind
  readonly #fileNumber: number
  readonly #mode: RecoveryMode
  readonly #finalLength: number | undefined
  /** Bytes of the file that are looked at. */
  #length = 0
  /** The whole file was searched: `syncedTo` is final. */
  #wasSearched = false
  /** Bytes that searches may still compute checksums over. */
  #budget = 0
  /** Bytes of checksums since the event loop had its turn. */
  #work = 0
  /** Part of the file in memory: #loaded bytes from #base on. */
  #window: Uint8Array = new Uint8Array(0)
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
    const size = yield* this.#file.size()
    this.#length = Math.max(Math.min(size, this.#finalLength ?? size), LOG_HEADER_BYTES)
    const header = new Uint8Array(LOG_HEADER_BYTES)
    const got = yield* this.#file.read(0, header)
    const { path } = this.#file
    this.headerError = logHeaderError(header.subarray(0, got), this.#kind, this.#fileNumber, path)
  }

  /** Goes to the next record; false where they end. Damage is CORRUPTION with path and offset. */
  *next(): Flow<boolean> {
    // Nearly always the record is in memory already.
    if (this.#takeLoaded()) return true
    const finding = yield* this.#look(this.end)
    if (finding !== 'record') return yield* this.#finish(finding)
    yield* this.#take(this.end)
    return true
  }

  // --- records -----------------------------------------------------------------------------------

  /** Goes to the record at `end` if it is valid and lies in the window; says nothing otherwise. */
  #takeLoaded(): boolean {
    const at = this.end - this.#base
    const left = this.#loaded - at
    if (at < 0 || left < RECORD_HEADER_BYTES) return false
    const window = this.#window
    const length = RECORD_HEADER_BYTES + payloadLength(window, at)
    if (length > left) return false
    const crc = keyedCrc(this.#fileNumber, this.end, window, at + 4, at + length)
    if (crc !== getU32(window, at)) return false
    if (!recordFieldsHold(this.#kind, window, at, this.end)) return false
    this.#show(at, length)
    return true
  }

  /** Goes to the record at `offset`, which is valid. */
  *#take(offset: number): Flow<void> {
    const header = yield* this.#load(offset, RECORD_HEADER_BYTES)
    const length = RECORD_HEADER_BYTES + payloadLength(this.#window, header)
    this.#show(yield* this.#load(offset, length), length)
  }

  /** The record that lies in the window at `at`. */
  #show(at: number, length: number): void {
    const window = this.#window
    this.type = window[at + 8]!
    this.count = getU32(window, at + 12)
    this.seqno = getU64(window, at + 24)
    this.offset = this.#base + at
    this.payload = window.subarray(at + RECORD_HEADER_BYTES, at + length)
    this.end = this.offset + length
    this.#note(at)
  }

  #note(header: number): void {
    this.syncedTo = Math.max(this.syncedTo, getU64(this.#window, header + 16))
  }

  // --- the end -----------------------------------------------------------------------------------

  *#look(offset: number): Flow<Finding> {
    const left = this.#length - offset
    if (left >= RECORD_HEADER_BYTES) {
      const at = yield* this.#load(offset, RECORD_HEADER_BYTES)
      if (lastNonZero(this.#window, at, at + RECORD_HEADER_BYTES) > at) {
        if (!(yield* this.#checksumHolds(offset))) return 'bad'
        const header = yield* this.#load(offset, RECORD_HEADER_BYTES)
        return recordFieldsHold(this.#kind, this.#window, header, offset) ? 'record' : 'broken'
      }
    }
    return (yield* this.#lastByte(offset)) === offset ? 'end' : 'bad'
  }

  /** There is no record at `end`: says how the log ends, or goes on behind what is bad. */
  *#finish(finding: Exclude<Finding, 'record'>): Flow<boolean> {
    const at = this.end
    const { path } = this.#file
    const next = finding === 'end' ? undefined : yield* this.#search(at)
    const damage = this.#damage(finding, at)
    if (damage === undefined && finding === 'end') return false
    if (this.#mode !== 'salvage' && damage !== undefined) throw corruption(damage, path, at)
    if (this.#mode === 'strict') throw corruption('the tail of the journal is torn', path, at)
    const resume = this.#mode === 'salvage' ? next : undefined
    if (this.tail !== 'damaged') this.tail = damage === undefined ? 'torn' : 'damaged'
    this.droppedBytes += (resume ?? (yield* this.#lastByte(at))) - at
    if (resume === undefined) {
      this.#length = at
      return false
    }
    yield* this.#take(resume)
    return true
  }

  /** Why what lies at `at` is no torn tail. */
  #damage(finding: Finding, at: number): string | undefined {
    if (finding === 'broken') return 'a record is not what a writer makes'
    if (finding === 'bad' && this.#budget === 0) {
      return 'too much lies behind a bad record to tell how it came about'
    }
    if (Math.max(this.syncedTo, this.#finalLength ?? 0) <= at) return undefined
    return finding === 'end'
      ? 'records that were durable are missing'
      : 'a record that was durable is damaged'
  }

  // --- the search --------------------------------------------------------------------------------

  /**
   * The first valid record behind the bad one at `bad`. The first search also goes to all others,
   * for what they call durable; it may end early, and then the budget is 0.
   */
  *#search(bad: number): Flow<number | undefined> {
    if (this.#wasSearched) return yield* this.#find(bad + 1)
    this.#wasSearched = true
    this.#budget = SEARCH_FACTOR * (this.#length - bad)
    const first = yield* this.#find(bad + 1)
    for (let found = first; found !== undefined;) {
      const at = yield* this.#load(found, RECORD_HEADER_BYTES)
      this.#note(at)
      found = yield* this.#find(found + RECORD_HEADER_BYTES + payloadLength(this.#window, at))
    }
    return first
  }

  /** The first valid record at or behind `offset`. */
  *#find(offset: number): Flow<number | undefined> {
    let from = offset
    while (from + RECORD_HEADER_BYTES <= this.#length) {
      yield* this.#load(from, RECORD_HEADER_BYTES)
      const candidate = this.#nextCandidate(from)
      if (candidate === undefined) {
        from = this.#base + this.#loaded - RECORD_HEADER_BYTES + 1
      } else if (this.#affords(candidate) && (yield* this.#checksumHolds(candidate))) {
        return candidate
      } else {
        if (this.#budget === 0) return undefined
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

  /** Takes the checksum of a candidate, which is in the window, from the budget. */
  #affords(candidate: number): boolean {
    const length = RECORD_HEADER_BYTES + payloadLength(this.#window, candidate - this.#base)
    if (candidate + length > this.#length) return false
    const isAffordable = length <= this.#budget
    this.#budget = isAffordable ? this.#budget - length : 0
    return isAffordable
  }

  /** Whether the record whose header is in the window ends in the file and has its checksum. */
  *#checksumHolds(offset: number): Flow<boolean> {
    const length = payloadLength(this.#window, offset - this.#base)
    const end = offset + RECORD_HEADER_BYTES + length
    if (end > this.#length || length > BATCH_BYTES_MAX) return false
    const header = yield* this.#load(offset, Math.min(end - offset, CHUNK_BYTES))
    const expected = getU32(this.#window, header)
    let crc = crcBegin(this.#fileNumber, offset)
    for (let from = offset + 4; from < end;) {
      const at = yield* this.#load(from, 1)
      const to = Math.min(end - this.#base, this.#loaded)
      crc = crcUpdate(crc, this.#window, at, to)
      from = this.#base + to
      this.#work += to - at
      if (this.#work >= CHUNK_BYTES) {
        this.#work = 0
        yield* breath
      }
    }
    return crcEnd(crc) === expected
  }

  // --- the file ----------------------------------------------------------------------------------

  /** Brings a range into the window, and what follows it; returns where in the window it is. */
  *#load(offset: number, length: number): Flow<number> {
    const behind = this.#base + this.#loaded
    if (offset >= this.#base && offset + length <= behind) return offset - this.#base
    const want = Math.min(Math.max(length, CHUNK_BYTES), this.#length - offset)
    // One that grew for a large record does not stay.
    const isLarge = this.#window.length > CHUNK_BYTES && want <= CHUNK_BYTES
    if (want > this.#window.length || isLarge) this.#window = new Uint8Array(want)
    this.#loaded = 0
    const got = yield* this.#file.read(offset, this.#window.subarray(0, want))
    if (got < want) {
      throw corruption('the file became shorter while it was read', this.#file.path, offset)
    }
    this.#base = offset
    this.#loaded = want
    this.#work = 0
    return 0
  }

  /** The end of the last byte behind `offset` that is not zero; `offset` if there is none. */
  *#lastByte(offset: number): Flow<number> {
    for (let end = this.#length; end > offset; end -= CHUNK_BYTES) {
      const begin = Math.max(offset, end - CHUNK_BYTES)
      const at = yield* this.#load(begin, end - begin)
      const last = lastNonZero(this.#window, at, at + end - begin)
      if (last > at) return begin + last - at
    }
    return offset
  }
}

/** The end of the last byte in a range that is not zero; its beginning if there is none. */
function lastNonZero(bytes: Uint8Array, begin: number, end: number): number {
  let at = end
  while (at > begin && bytes[at - 1] === 0) at--
  return at
}
