/**
 * The rows that a read at R sees, in one direction: of each key the newest version below R, unless
 * it is a tombstone. A range that is used from both ends is two cursors that know nothing of each
 * other.
 */

import { isTombstone, SEQNO_MAX } from '../base/internal-key.ts'
import type { EntryIterator } from '../base/iterator.ts'
import type { Io } from '../base/flow.ts'
import { compareRanges } from '../base/slice.ts'

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

  /** Whether it is at a row; then key (from 0 to keyEnd) and value are that row's. */
  valid = false
  key: Uint8Array = new Uint8Array(64)
  keyEnd = 0
  kind = 0
  value: Uint8Array = EMPTY
  valueBegin = 0
  valueEnd = 0
  /** What the last move lacked: call it, then `retry`. */
  missing: Io<void> | undefined

  /** Whether `key` is a key that was dealt with: its other versions are passed over. */
  #hasKey = false
  /** Backward: whether the fields hold the newest version of `key` that was met. */
  #hasVersion = false

  constructor(entries: EntryIterator, readSeqno: number, bounds: CursorBounds, backward: boolean) {
    this.#entries = entries
    this.#readSeqno = readSeqno
    this.#bounds = bounds
    this.#backward = backward
  }

  /** To the first row of the range in the cursor's direction. */
  start(): void {
    const { lower, upper } = this.#bounds
    this.#begin()
    if (this.#backward) {
      if (upper === undefined) this.#entries.seekToLast()
      else this.#entries.seekBefore(upper, 0, upper.length, SEQNO_MAX)
    } else if (lower === undefined) {
      this.#entries.seekToFirst()
    } else {
      this.#entries.seek(lower, 0, lower.length, SEQNO_MAX)
    }
    this.#run()
  }

  /** To the first row at or behind the key in the cursor's direction, inside the range. */
  seek(key: Uint8Array): void {
    const { lower, upper } = this.#bounds
    const before =
      lower !== undefined && compareRanges(key, 0, key.length, lower, 0, lower.length) < 0
    const behind =
      upper !== undefined && compareRanges(key, 0, key.length, upper, 0, upper.length) >= 0
    if (this.#backward ? behind : before) return this.start()
    this.#begin()
    if (this.#backward) this.#entries.seekBefore(key, 0, key.length, -1)
    else this.#entries.seek(key, 0, key.length, SEQNO_MAX)
    this.#run()
  }

  /** From a row to the next one in the cursor's direction. */
  next(): void {
    this.#run()
  }

  retry(): void {
    this.#entries.retry()
    this.#run()
  }

  #begin(): void {
    this.#hasKey = false
    this.#hasVersion = false
  }

  #run(): void {
    this.valid = false
    if (this.#backward) this.#runBackward()
    else this.#runForward()
    this.missing = this.#entries.missing
  }

  #runForward(): void {
    const entries = this.#entries
    const { upper } = this.#bounds
    for (; entries.valid; entries.next()) {
      if (entries.seqno >= this.#readSeqno || this.#isSameKey()) continue
      if (upper !== undefined && this.#compareKey(upper) >= 0) return
      this.#keepKey()
      if (isTombstone(entries.kind)) continue
      this.#keepVersion()
      this.valid = true
      return
    }
  }

  /** Versions come oldest first: a row is complete when the key changes. */
  #runBackward(): void {
    const entries = this.#entries
    const { lower } = this.#bounds
    for (; entries.valid; entries.previous()) {
      if (entries.seqno >= this.#readSeqno) continue
      if (!this.#isSameKey()) {
        if (this.#showVersion()) return
        if (lower !== undefined && this.#compareKey(lower) < 0) return
        this.#keepKey()
      }
      this.#keepVersion()
      this.#hasVersion = true
    }
    if (entries.missing === undefined) this.#showVersion()
  }

  /** Ends the key at hand; whether it is a row. */
  #showVersion(): boolean {
    const isRow = this.#hasVersion && !isTombstone(this.kind)
    this.#hasVersion = false
    this.valid = isRow
    return isRow
  }

  #isSameKey(): boolean {
    const { key, keyBegin, keyEnd } = this.#entries
    return this.#hasKey && compareRanges(key, keyBegin, keyEnd, this.key, 0, this.keyEnd) === 0
  }

  #compareKey(bound: Uint8Array): number {
    const { key, keyBegin, keyEnd } = this.#entries
    return compareRanges(key, keyBegin, keyEnd, bound, 0, bound.length)
  }

  #keepKey(): void {
    const { key, keyBegin, keyEnd } = this.#entries
    const length = keyEnd - keyBegin
    if (length > this.key.length) this.key = new Uint8Array(2 * length)
    for (let i = 0; i < length; i++) this.key[i] = key[keyBegin + i]!
    this.keyEnd = length
    this.#hasKey = true
  }

  #keepVersion(): void {
    const entries = this.#entries
    this.kind = entries.kind
    this.value = entries.value
    this.valueBegin = entries.valueBegin
    this.valueEnd = entries.valueEnd
  }
}
