/** Scans: batches of rows, filled by the addon from a cursor at each end of a range. */

import {
  BACK,
  FRONT,
  type RowContent,
  type ScanEnd,
  type ScanEngine,
  type ScanRange,
} from '../engine.ts'
import { BufferView } from '../buffer-view.ts'
import { ShaleError } from '../errors.ts'
import { rejected } from '../receiver.ts'
import { RowBatch } from '../row-batch.ts'
import { answered, answeredNothing } from '../turn.ts'
import { door, META, NUMBERS } from './addon.ts'
import { announce, asValue, copyAnswer, pending, type Convert } from './completions.ts'
import { failure } from './failure.ts'
import { submitSoon } from './missed-reads.ts'
import {
  FILL_BACK,
  FILL_CONTENT_SHIFT,
  FILL_END,
  FILL_MAY_BLOCK,
  META_BYTE_LIMIT,
  META_COUNT,
  META_FLAGS,
  META_HANDLE,
  META_LENGTH,
  META_OFFSET,
  META_SEQNO,
  META_STATUS,
  OWN_BUFFER_MIN,
  READ_MAY_BLOCK,
  READ_OWN,
  RECORD_FLAGS,
  RECORD_LENGTH,
  RECORD_NUMBER,
  SCAN_OUTLIVES_CLOSE,
  SLAB_BYTES,
  STATUS_BAD_HANDLE,
  STATUS_MIN,
  STATUS_NOT_FOUND,
  STATUS_PENDING,
  STATUS_TOO_BIG,
  STATUS_WOULD_BLOCK,
} from './protocol.ts'
import { makeRoom, slab } from './slab.ts'

const { fillSlab, fillBuffer } = door

/** Fills up to this many bytes come from the slab; larger ones get memory of their own. */
const SLAB_FILL_MAX = SLAB_BYTES / 4

/** What the collector gives back when a scan was dropped: the handle, 0 once it is closed. */
class ScanState {
  handle: number
  constructor(handle: number) {
    this.handle = handle
  }
}

const abandoned = new FinalizationRegistry<ScanState>((state) => {
  META[META_HANDLE] = state.handle
  state.handle = 0
  door.abandon()
})

/** Opens a scan of the tree behind `reads`. */
export function openScan(reads: number, range: ScanRange): ScanEngine {
  META[META_HANDLE] = reads
  META[META_FLAGS] = range.outlivesClose === true ? SCAN_OUTLIVES_CLOSE : 0
  NUMBERS[META_SEQNO / 2] = range.seqno
  door.openScan(range.lower, range.upper)
  const status = META[META_STATUS] as number
  if (status !== 0) throw failure(status)
  return new NativeScan(META[META_HANDLE])
}

class NativeScan implements ScanEngine {
  readonly #state: ScanState
  /** Whether the last fill of that end reached the end of the range. */
  #frontEnded = false
  #backEnded = false

  constructor(handle: number) {
    this.#state = new ScanState(handle)
    abandoned.register(this, this.#state, this.#state)
  }

  fillSync(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
    reuse?: RowBatch,
  ): RowBatch | undefined {
    const rows = this.#fill(end, content, byteLimit, countLimit, FILL_MAY_BLOCK, reuse)
    return rows === null ? undefined : rows
  }

  fillFromMemory(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
  ): RowBatch | undefined | null {
    return this.#fill(end, content, byteLimit, countLimit, 0, undefined)
  }

  fill(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
  ): Promise<RowBatch | undefined> {
    try {
      const rows = this.#fill(end, content, byteLimit, countLimit, 0, undefined)
      if (rows !== null) return Promise.resolve(rows)
      this.#prepare(end, content, byteLimit, countLimit, FILL_MAY_BLOCK)
      announce()
      door.fillLater()
      const status = META[META_STATUS] as number
      if (status !== STATUS_PENDING) throw scanFailure(status)
      return pending(end === FRONT ? asFrontRows : asBackRows, this)
    } catch (error) {
      return rejected(error)
    }
  }

  seek(end: ScanEnd, key: Uint8Array): void {
    META[META_HANDLE] = this.#state.handle
    META[META_FLAGS] = end === BACK ? FILL_BACK : 0
    door.seekScan(key)
    const status = META[META_STATUS] as number
    if (status !== 0) throw scanFailure(status)
    this.#setEnded(end, false)
  }

  valueSync(key: Uint8Array): Buffer | undefined {
    const found = this.#value(key, READ_MAY_BLOCK | READ_OWN)
    return found === null ? undefined : found
  }

  value(key: Uint8Array): Promise<Buffer | undefined> {
    try {
      const found = this.#value(key, READ_OWN)
      if (found !== null) return found === undefined ? answeredNothing() : answered(found)
      META[META_HANDLE] = this.#state.handle
      announce()
      door.scanValueLater(key)
      const status = META[META_STATUS] as number
      if (status !== STATUS_PENDING) throw scanFailure(status)
      submitSoon()
      return pending(asValue, this)
    } catch (error) {
      return rejected(error)
    }
  }

  /** Null if it takes I/O. */
  #value(key: Uint8Array, flags: number): Buffer | undefined | null {
    makeRoom()
    const { offset } = slab
    META[META_OFFSET] = offset
    META[META_HANDLE] = this.#state.handle
    META[META_FLAGS] = flags
    const own = door.scanValue(key)
    if (own !== undefined) return own
    const status = META[META_STATUS] as number
    if (status < STATUS_MIN) {
      slab.offset = (offset + status + 7) & ~7
      return new BufferView(slab.memory, offset, status)
    }
    return status === STATUS_NOT_FOUND ? undefined : notFilled(status)
  }

  close(): void {
    if (this.#state.handle === 0) return
    abandoned.unregister(this.#state)
    META[META_HANDLE] = this.#state.handle
    this.#state.handle = 0
    door.release()
  }

  /** The rows of an answer. */
  taken(end: ScanEnd, record: number, index: number): RowBatch | undefined {
    const length = META[record + RECORD_LENGTH] as number
    const count = NUMBERS[(record + RECORD_NUMBER) / 2] as number
    this.#setEnded(end, ((META[record + RECORD_FLAGS] as number) & FILL_END) !== 0)
    if (count === 0) return undefined
    const rows = RowBatch.withRoomFor(length)
    copyAnswer(index, rows.bytes)
    return rows.refilled(length, count)
  }

  #setEnded(end: ScanEnd, ended: boolean): void {
    if (end === FRONT) this.#frontEnded = ended
    else this.#backEnded = ended
  }

  #prepare(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
    flags: number,
  ): void {
    META[META_HANDLE] = this.#state.handle
    META[META_FLAGS] = flags | (content << FILL_CONTENT_SHIFT) | (end === BACK ? FILL_BACK : 0)
    META[META_BYTE_LIMIT] = byteLimit
    META[META_COUNT] = countLimit
  }

  #fill(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
    flags: number,
    reuse: RowBatch | undefined,
  ): RowBatch | undefined | null {
    if (end === FRONT ? this.#frontEnded : this.#backEnded) return undefined
    if (byteLimit <= SLAB_FILL_MAX) {
      const room = Math.max(byteLimit, OWN_BUFFER_MIN)
      if (slab.offset + room > SLAB_BYTES || slab.bytes.length !== SLAB_BYTES) slab.renew()
      const offset = slab.offset
      META[META_OFFSET] = offset
      this.#prepare(end, content, byteLimit, countLimit, flags)
      fillSlab()
      const used = META[META_STATUS] as number
      if (used < STATUS_MIN) {
        if (!this.#took(end)) return undefined
        slab.offset = (offset + used + 7) & ~7
        return RowBatch.within(slab.memory, offset, used, META[META_COUNT] as number)
      }
      if (used !== STATUS_TOO_BIG) return notFilled(used)
      return this.#fillOwn(end, content, META[META_LENGTH] as number, countLimit, flags)
    }
    if (reuse !== undefined && reuse.bytes.length >= byteLimit) {
      return this.#fillInto(end, content, byteLimit, countLimit, flags, reuse)
    }
    return this.#fillOwn(end, content, byteLimit, countLimit, flags)
  }

  #fillOwn(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
    flags: number,
  ): RowBatch | undefined | null {
    const rows = RowBatch.withRoomFor(byteLimit)
    return this.#fillInto(end, content, byteLimit, countLimit, flags, rows)
  }

  #fillInto(
    end: ScanEnd,
    content: RowContent,
    byteLimit: number,
    countLimit: number,
    flags: number,
    rows: RowBatch,
  ): RowBatch | undefined | null {
    this.#prepare(end, content, byteLimit, countLimit, flags)
    fillBuffer(rows.bytes)
    const used = META[META_STATUS] as number
    if (used < STATUS_MIN) {
      return this.#took(end) ? rows.refilled(used, META[META_COUNT] as number) : undefined
    }
    if (used !== STATUS_TOO_BIG) return notFilled(used)
    return this.#fillOwn(end, content, META[META_LENGTH] as number, countLimit, flags)
  }

  /** Notes whether the end was reached; false if no row came. */
  #took(end: ScanEnd): boolean {
    if ((META[META_FLAGS] as number) === FILL_END) this.#setEnded(end, true)
    return (META[META_COUNT] as number) > 0
  }
}

const asFrontRows: Convert<RowBatch | undefined> = (record, index, scan) =>
  (scan as NativeScan).taken(FRONT, record, index)
const asBackRows: Convert<RowBatch | undefined> = (record, index, scan) =>
  (scan as NativeScan).taken(BACK, record, index)

/** null if it takes I/O; throws what else `status` means. */
function notFilled(status: number): null {
  if (status === STATUS_WOULD_BLOCK) return null
  throw scanFailure(status)
}

function scanFailure(status: number): ShaleError {
  if (status === STATUS_BAD_HANDLE) {
    return new ShaleError('ITERATOR_CLOSED', 'the iteration is closed')
  }
  return failure(status)
}
