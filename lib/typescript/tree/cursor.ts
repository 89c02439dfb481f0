/**
 * The rows that a read at R sees, in one direction: of each key the newest version below R, unless
 * it is a tombstone. A range that is used from both ends is two cursors that know nothing of each
 * other.
 */

import { blobValueLength } from '../base/blob-pointer.ts'
import { breath } from '../base/flow.ts'
import type { Io } from '../base/flow.ts'
import { isTombstone, KIND_BLOB_POINTER, KIND_VALUE, SEQNO_MAX } from '../base/internal-key.ts'
import type { EntryIterator } from '../base/iterator.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { compareBytes, compareRanges, copyOf, copyRange } from '../base/slice.ts'
import type { Coverage } from './coverage.ts'

/** Versions of a key that are walked over before a search jumps over the rest. */
const WALK_MAX = 16
/** Rows that one range tombstone hides before the rest of its range is jumped over. */
const HIDDEN_MAX = 8
/** Entries that one move passes before it lacks a turn of the event loop. */
const ENTRIES_A_TURN = 4096
/** The same where each of them is looked up among range tombstones. */
const COVERED_A_TURN = 1024

const EMPTY = new Uint8Array(0)

export interface CursorBounds {
  /** Inclusive; undefined: none. */
  readonly lower: Uint8Array | undefined
  /** Exclusive; undefined: none. */
  readonly upper: Uint8Array | undefined
}

export class Cursor {
  readonly #entries: EntryIterator
  readonly #readSeqno: number
  readonly #bounds: CursorBounds
  readonly #backward: boolean
  /** Undefined: there are no range tombstones. */
  readonly #coverage: Coverage | undefined
  readonly #entriesATurn: number

  /** Whether it is at a row; then key (from 0 to keyEnd) and value are that row's. */
  valid = false
  key: Uint8Array = new Uint8Array(64)
  keyEnd = 0
  kind = 0
  value: Uint8Array = EMPTY
  valueBegin = 0
  valueEnd = 0
  /**
   * What the last move lacked: call it, then `retry`. That may be a turn of the event loop, where
   * much had to be passed over.
   */
  missing: Io<void> | undefined

  /** Where it began; undefined: at the beginning of the range. */
  #from: Uint8Array | undefined
  /** Whether `key` is a key that was dealt with: its other versions are passed over. */
  #hasKey = false
  /** Backward: whether the fields hold the newest version of `key` that was met. */
  #hasVersion = false
  /** Versions that do not show, one after the other. */
  #walked = 0
  /** Backward: the entries were sent to the newest version of `key` that the read sees. */
  #isJumping = false
  /** Backward: seqno of the version. */
  #seqno = 0
  /** The range tombstone that hid the last row, and how many in a row. */
  #hiding: RangeTombstone | undefined
  #hidden = 0
  /** A move has failed: where the entries stand says nothing. */
  #isLost = false

  constructor(
    entries: EntryIterator,
    readSeqno: number,
    bounds: CursorBounds,
    backward: boolean,
    coverage?: Coverage,
  ) {
    this.#entries = entries
    this.#readSeqno = readSeqno
    this.#bounds = bounds
    this.#backward = backward
    this.#coverage = coverage
    this.#entriesATurn = coverage === undefined ? ENTRIES_A_TURN : COVERED_A_TURN
  }

  /** Of the value, which may be a pointer here. */
  get valueLength(): number {
    if (this.kind === KIND_BLOB_POINTER) return blobValueLength(this.value, this.valueBegin)
    return this.valueEnd - this.valueBegin
  }

  /** Puts the value of the row at hand in the place of its pointer. */
  putValue(value: Uint8Array): void {
    this.kind = KIND_VALUE
    this.value = value
    this.valueBegin = 0
    this.valueEnd = value.length
  }

  /** To the first row of the range in the cursor's direction. */
  start(): void {
    this.#from = undefined
    this.#begin()
    this.#run()
  }

  /**
   * To the first row at or behind the key in the cursor's direction, inside the range. The key is
   * not copied.
   */
  seek(key: Uint8Array): void {
    const { lower, upper } = this.#bounds
    const isOutside = this.#backward
      ? upper !== undefined && compareBytes(key, upper) >= 0
      : lower !== undefined && compareBytes(key, lower) < 0
    this.#from = isOutside ? undefined : key
    this.#begin()
    this.#run()
  }

  /** From a row to the next one in the cursor's direction. After a failure it is tried again. */
  next(): void {
    if (this.#isLost) this.#findPlace()
    this.#run()
  }

  retry(): void {
    if (this.#entries.missing !== undefined) this.#entries.retry()
    this.#run()
  }

  /** Sends the entries to the beginning. */
  #begin(): void {
    const entries = this.#entries
    const { lower, upper } = this.#bounds
    const from = this.#from
    this.#forget()
    if (this.#backward) {
      if (from !== undefined) entries.seekBefore(from, 0, from.length, -1)
      else if (upper !== undefined) entries.seekBefore(upper, 0, upper.length, SEQNO_MAX)
      else entries.seekToLast()
    } else {
      const first = from ?? lower
      if (first !== undefined) entries.seek(first, 0, first.length, SEQNO_MAX)
      else entries.seekToFirst()
    }
  }

  /** Sends them behind the last key that was dealt with; back to it if it is half done. */
  #findPlace(): void {
    const { key, keyEnd } = this
    if (!this.#hasKey) {
      this.#begin()
    } else if (this.#backward) {
      this.#entries.seekBefore(key, 0, keyEnd, this.#hasVersion ? -1 : SEQNO_MAX)
      this.#forget()
    } else {
      this.#coverage?.forget()
      this.#entries.seek(key, 0, keyEnd, -1)
    }
  }

  #forget(): void {
    this.#coverage?.forget()
    this.#hiding = undefined
    this.#hasKey = false
    this.#hasVersion = false
    this.#isJumping = false
  }

  #run(): void {
    this.valid = false
    this.missing = undefined
    this.#isLost = true
    if (this.#backward) this.#runBackward()
    else this.#runForward()
    this.#isLost = false
    this.missing ??= this.#entries.missing
  }

  #runForward(): void {
    const entries = this.#entries
    const { upper } = this.#bounds
    for (let left = this.#entriesATurn; entries.valid; left--) {
      if (left === 0) return this.#pause()
      const isOlder = this.#isSameKey()
      if (!isOlder && upper !== undefined && this.#compareKey(upper) >= 0) return
      if (isOlder || entries.seqno >= this.#readSeqno) {
        if (++this.#walked <= WALK_MAX) {
          entries.next()
        } else {
          this.#walked = 0
          if (isOlder) entries.seek(this.key, 0, this.keyEnd, -1)
          else this.#seekVisible()
        }
        continue
      }
      if (this.#coverage !== undefined && this.#hides(entries)) {
        if (this.#mayJump() && entries.skip(this.#hiding!.end, this.#hiding!.seqno)) continue
        this.#keepKey()
        entries.next()
        continue
      }
      this.#keepKey()
      if (!isTombstone(entries.kind)) {
        this.#keepVersion()
        this.valid = true
        return
      }
      entries.next()
    }
  }

  /** Versions come oldest first: a row is complete when the key changes. */
  #runBackward(): void {
    const entries = this.#entries
    const { lower } = this.#bounds
    for (let left = this.#entriesATurn; entries.valid; left--) {
      if (left === 0) return this.#pause()
      if (!this.#isSameKey()) {
        if (this.#showVersion()) return
        if (this.#mayJump() && entries.skip(this.#hiding!.start, this.#hiding!.seqno)) continue
        if (lower !== undefined && this.#compareKey(lower) < 0) return
        this.#keepKey()
      }
      const isVisible = entries.seqno < this.#readSeqno
      if (isVisible) {
        this.#keepVersion()
        this.#seqno = entries.seqno
        this.#hasVersion = true
      }
      const isTooMany = ++this.#walked > WALK_MAX
      if (this.#isJumping || (isTooMany && !isVisible)) {
        this.#isJumping = false
        entries.seekBefore(this.key, 0, this.keyEnd, SEQNO_MAX)
      } else if (isTooMany) {
        this.#isJumping = true
        entries.seek(this.key, 0, this.keyEnd, this.#readSeqno - 1)
      } else {
        entries.previous()
      }
    }
    if (entries.missing === undefined) this.#showVersion()
  }

  /** From a version that is too new to the one that the read sees, or behind the key. */
  #seekVisible(): void {
    const { key, keyBegin, keyEnd } = this.#entries
    const own = copyOf(key, keyBegin, keyEnd)
    this.#entries.seek(own, 0, own.length, this.#readSeqno - 1)
  }

  /** Nothing that shows was passed for long: the event loop may have its turn. */
  #pause(): void {
    this.missing = breath
  }

  /** Whether a range tombstone hides the entry that shows, going forward. */
  #hides({ key, keyBegin, keyEnd, seqno }: EntryIterator): boolean {
    const over = this.#coverage!.overNext(key, keyBegin, keyEnd)
    const isHidden = over !== undefined && over.seqno > seqno
    this.#countHidden(isHidden ? over : undefined)
    return isHidden
  }

  /** The same of the version that was kept, going backward. */
  #hidesVersion(): boolean {
    const over = this.#coverage!.over(this.key, 0, this.keyEnd)
    const isHidden = over !== undefined && over.seqno > this.#seqno
    this.#countHidden(isHidden ? over : undefined)
    return isHidden
  }

  #countHidden(hiding: RangeTombstone | undefined): void {
    const before = this.#hiding
    const isSame =
      hiding !== undefined &&
      before !== undefined &&
      (hiding === before ||
        (hiding.seqno === before.seqno && compareBytes(hiding.start, before.start) === 0))
    this.#hidden = isSame ? this.#hidden + 1 : 1
    this.#hiding = hiding
  }

  /** Whether what hides rows has hidden so many that its range is worth a search. */
  #mayJump(): boolean {
    return this.#hiding !== undefined && this.#hidden > HIDDEN_MAX
  }

  /** Ends the key at hand; whether it is a row. */
  #showVersion(): boolean {
    const isHidden = this.#hasVersion && this.#coverage !== undefined && this.#hidesVersion()
    const isRow = this.#hasVersion && !isHidden && !isTombstone(this.kind)
    this.#hasVersion = false
    this.valid = isRow
    return isRow
  }

  #isSameKey(): boolean {
    if (!this.#hasKey) return false
    const own = this.key
    const { key, keyBegin, keyEnd } = this.#entries
    let at = this.keyEnd
    if (keyEnd - keyBegin !== at) return false
    // Neighbours differ at their ends.
    while (at > 0 && own[at - 1] === key[keyBegin + at - 1]) at--
    return at === 0
  }

  #compareKey(bound: Uint8Array): number {
    const { key, keyBegin, keyEnd } = this.#entries
    return compareRanges(key, keyBegin, keyEnd, bound, 0, bound.length)
  }

  #keepKey(): void {
    const { key, keyBegin, keyEnd } = this.#entries
    const length = keyEnd - keyBegin
    if (length > this.key.length) this.key = new Uint8Array(2 * length)
    copyRange(key, keyBegin, keyEnd, this.key, 0)
    this.keyEnd = length
    this.#hasKey = true
    this.#walked = 0
  }

  #keepVersion(): void {
    const entries = this.#entries
    this.kind = entries.kind
    this.value = entries.value
    this.valueBegin = entries.valueBegin
    this.valueEnd = entries.valueEnd
  }
}
