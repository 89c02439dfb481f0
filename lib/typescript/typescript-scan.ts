/** Scans: batches of rows, packed from a cursor at each end of a range. */

import { BACK, ROW_KEY, ROW_VALUE } from '../engine.ts'
import type { RowContent, ScanEnd, ScanEngine } from '../engine.ts'
import { ShaleError } from '../errors.ts'
import { rejected } from '../receiver.ts'
import { RowBatch } from '../row-batch.ts'
import type { Io } from './base/flow.ts'
import { KIND_BLOB_POINTER } from './base/internal-key.ts'
import { keepAlive } from './base/keep-alive.ts'
import { OWN_BUFFER_MIN, slab, SLAB_BYTES } from './base/slab.ts'
import { copyOf, copyRange } from './base/slice.ts'
import type { IteratorCounters } from './db/database-counters.ts'
import { PointLookup } from './table/table-reader.ts'
import { BlobValues } from './tree/blob-values.ts'
import type { Cursor, CursorBounds } from './tree/cursor.ts'
import type { Hold, SuperVersion } from './tree/super-version.ts'
import { findLater, findNow, valueOf } from './typescript-lookups.ts'

/** Fills up to this many bytes come from the slab; larger ones get memory of their own. */
const SLAB_FILL_MAX = SLAB_BYTES / 4
/** Bytes of a fill, whatever the limit says, but for a row that is larger. */
const FILL_BYTES_MAX = 1 << 20
/** Rows of a fill that must not hold the event loop. */
const ROWS_A_TURN = 4096

/** What the collector gives back when a scan was dropped. */
const abandoned = new FinalizationRegistry<Dropped>(({ hold, counters }) => {
  hold.release()
  if (counters === undefined) return
  counters.open--
  counters.abandoned++
})

interface Dropped {
  readonly hold: Hold
  readonly counters: IteratorCounters | undefined
}

/** Bytes of the row that a cursor stands on. */
function rowBytes(cursor: Cursor, content: RowContent): number {
  const key = content === ROW_VALUE ? 0 : cursor.keyEnd
  const value = content === ROW_KEY ? 0 : cursor.valueLength
  return (8 + key + value + 3) & ~3
}

function putRow(
  cursor: Cursor,
  content: RowContent,
  bytes: Uint8Array,
  words: Uint32Array,
  at: number,
): void {
  const { keyEnd, value, valueBegin, valueEnd } = cursor
  words[at >>> 2] = keyEnd
  words[(at >>> 2) + 1] = cursor.valueLength
  let behind = at + 8
  if (content !== ROW_VALUE) {
    copyRange(cursor.key, 0, keyEnd, bytes, behind)
    behind += keyEnd
  }
  if (content !== ROW_KEY) copyRange(value, valueBegin, valueEnd, bytes, behind)
}

/** One end of a scan. */
class End {
  readonly cursor: Cursor
  readonly #values: BlobValues
  /** Where the cursor is to go before it is moved: to the beginning, or to a key. */
  target: Uint8Array | 'start' | undefined = 'start'
  /** Whether the cursor stands on a row that no fill has taken yet. */
  hasRow = false
  /** Whether the last fill reached the end of the range. */
  isEnded = false
  /** Whether a fill waits for the disk. */
  isBusy = false
  /** Bytes that the last `pack` took. */
  packed = 0

  constructor(cursor: Cursor, values: BlobValues) {
    this.cursor = cursor
    this.#values = values
  }

  /** What the last try to get to a row lacked. */
  get missing(): Io<void> | undefined {
    return this.cursor.missing ?? this.#values.missing
  }

  seek(key: Uint8Array): void {
    this.target = copyOf(key)
    this.hasRow = false
    this.isEnded = false
  }

  /** Makes the cursor stand on a row with that content; false at the end, or if it takes I/O. */
  toRow(content: RowContent, mayBlock: boolean): boolean {
    if (!this.hasRow && !this.#toNextRow(mayBlock)) return false
    const isPointer = this.cursor.kind === KIND_BLOB_POINTER
    return !isPointer || content === ROW_KEY || this.#toValue(mayBlock)
  }

  #toValue(mayBlock: boolean): boolean {
    const { cursor } = this
    let value = this.#values.get(cursor)
    while (value === undefined) {
      if (!mayBlock) return false
      this.#values.missing!.sync()
      value = this.#values.get(cursor)
    }
    cursor.putValue(value)
    return true
  }

  #toNextRow(mayBlock: boolean): boolean {
    const { cursor } = this
    this.#move(cursor)
    while (cursor.missing !== undefined) {
      if (!mayBlock) return false
      cursor.missing.sync()
      cursor.retry()
    }
    this.hasRow = cursor.valid
    this.isEnded = !cursor.valid
    return cursor.valid
  }

  /** Packs the row at hand, and more while they fit, from `offset` on; returns how many. */
  pack(
    content: RowContent,
    bytes: Uint8Array,
    words: Uint32Array,
    offset: number,
    byteLimit: number,
    countLimit: number,
    mayBlock: boolean,
  ): number {
    const { cursor } = this
    const limit = offset + byteLimit
    let at = offset
    let count = 0
    try {
      do {
        const behind = at + rowBytes(cursor, content)
        if (behind > limit && count > 0) break
        putRow(cursor, content, bytes, words, at)
        this.hasRow = false
        at = behind
        count++
      } while (count < countLimit && this.toRow(content, mayBlock))
    } catch (error) {
      // Rows that were packed before a failure are handed out; the next fill meets it again.
      if (count === 0) throw error
    }
    this.packed = at - offset
    return count
  }

  #move(cursor: Cursor): void {
    const { target } = this
    if (target === 'start') cursor.start()
    else if (target !== undefined) cursor.seek(target)
    else if (cursor.missing === undefined) cursor.next()
    else cursor.retry()
    this.target = undefined
  }
}

export class TypescriptScan implements ScanEngine {
  readonly #hold: Hold
  readonly #readSeqno: number
  readonly #bounds: CursorBounds
  /** Undefined: nobody asks. */
  readonly #counters: IteratorCounters | undefined
  #front: End | undefined
  #back: End | undefined

  constructor(
    hold: Hold,
    readSeqno: number,
    lower: Uint8Array | undefined,
    upper: Uint8Array | undefined,
    counters?: IteratorCounters,
  ) {
    this.#hold = hold
    this.#counters = counters
    if (counters !== undefined) counters.open++
    this.#readSeqno = readSeqno
    this.#bounds = { lower: lower && copyOf(lower), upper: upper && copyOf(upper) }
    abandoned.register(this, { hold, counters }, hold)
  }

  fillSync(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
    reuse?: RowBatch,
  ): RowBatch | undefined {
    return this.#fill(this.#end(end), content, byteLimit, countLimit, true, reuse) ?? undefined
  }

  fillFromMemory(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
  ): RowBatch | undefined | null {
    const rows = Math.min(countLimit, ROWS_A_TURN)
    return this.#fill(this.#end(end), content, byteLimit, rows, false, undefined)
  }

  fill(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
  ): Promise<RowBatch | undefined> {
    try {
      const rows = this.fillFromMemory(end, content, byteLimit, countLimit)
      if (rows !== null) return Promise.resolve(rows)
      return keepAlive(this.#fillLater(end, content, byteLimit, countLimit))
    } catch (error) {
      return rejected(error)
    }
  }

  /** Brings what is missing until there is a row. It ends whole, also if the scan is closed. */
  async #fillLater(
    which: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
  ): Promise<RowBatch | undefined> {
    const end = this.#end(which)
    const superVersion = this.#hold.superVersion!
    const { reads } = this.#hold
    superVersion.acquire()
    reads.begin()
    end.isBusy = true
    const limit = Math.min(countLimit, ROWS_A_TURN)
    try {
      for (;;) {
        // One block after the other.
        // oxlint-disable-next-line no-await-in-loop
        await end.missing?.async()
        const rows = this.#fill(end, content, byteLimit, limit, false, undefined)
        if (rows !== null) return rows
      }
    } finally {
      end.isBusy = false
      reads.end()
      superVersion.release()
    }
  }

  seek(which: ScanEnd, key: Uint8Array): void {
    this.#end(which).seek(key)
  }

  async value(key: Uint8Array): Promise<Buffer | undefined> {
    const { superVersion, lookup } = this.#lookup(copyOf(key))
    return (await findLater(this.#hold.reads, superVersion, lookup)) ? valueOf(lookup) : undefined
  }

  valueSync(key: Uint8Array): Buffer | undefined {
    const { superVersion, lookup } = this.#lookup(key)
    return findNow(superVersion, lookup) ? valueOf(lookup) : undefined
  }

  #lookup(key: Uint8Array): { superVersion: SuperVersion; lookup: PointLookup } {
    const lookup = new PointLookup()
    lookup.start(key, 0, key.length, this.#readSeqno)
    return { superVersion: this.#held(), lookup }
  }

  close(): void {
    if (this.#hold.superVersion === undefined) return
    abandoned.unregister(this.#hold)
    this.#hold.release()
    if (this.#counters !== undefined) this.#counters.open--
    this.#front = undefined
    this.#back = undefined
  }

  #held(): SuperVersion {
    const { superVersion, reason } = this.#hold
    if (superVersion !== undefined) return superVersion
    throw reason ?? new ShaleError('ITERATOR_CLOSED', 'the iteration is closed')
  }

  #end(which: ScanEnd): End {
    const superVersion = this.#held()
    const end =
      which === BACK
        ? (this.#back ??= this.#open(superVersion, true))
        : (this.#front ??= this.#open(superVersion, false))
    if (end.isBusy) {
      throw new ShaleError('ITERATOR_BUSY', 'a call on this end of the iteration is pending')
    }
    return end
  }

  #open(superVersion: SuperVersion, backward: boolean): End {
    const values = new BlobValues(superVersion.version.blobs, backward)
    return new End(superVersion.cursor(this.#readSeqno, this.#bounds, backward), values)
  }

  /** undefined at the end, null if it takes I/O. */
  #fill(
    end: End,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
    mayBlock: boolean,
    reuse: RowBatch | undefined,
  ): RowBatch | undefined | null {
    if (end.isEnded) return undefined
    if (!end.toRow(content, mayBlock)) return end.isEnded ? undefined : null
    const limit = Math.min(byteLimit, FILL_BYTES_MAX)
    const first = rowBytes(end.cursor, content)
    if (limit <= SLAB_FILL_MAX && first <= Math.max(limit, OWN_BUFFER_MIN)) {
      const offset = slab.room(Math.max(limit, first))
      const { bytes, memory, words } = slab
      const count = end.pack(content, bytes, words, offset, limit, countLimit, mayBlock)
      const { packed } = end
      slab.take(packed)
      return RowBatch.within(memory, offset, packed, count)
    }
    const size = Math.max(limit, first)
    const rows =
      reuse !== undefined && reuse.bytes.length >= size ? reuse : RowBatch.withRoomFor(size)
    // The kind of array that the engine writes to everywhere.
    const bytes = new Uint8Array(rows.memory)
    const count = end.pack(content, bytes, rows.words, 0, limit, countLimit, mayBlock)
    return rows.refilled(end.packed, count)
  }
}
