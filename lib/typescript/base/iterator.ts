/**
 * A place in a sorted sequence of entries: a memtable, a table, a run, or several of them merged.
 *
 * The entry at the place is described by fields, not handed out as an object: the bytes of key and
 * value are parts of arrays that belong to the sequence, good until the iterator moves. An
 * iterator goes one way at a time; turning round is allowed, and may cost a search.
 */

import type { Flow, Io } from './flow.ts'
import { compareRanges } from './slice.ts'

export abstract class EntryIterator {
  /** Whether it is at an entry. Everything below is meaningless if not. */
  valid = false
  key: Uint8Array = EMPTY
  keyBegin = 0
  keyEnd = 0
  seqno = 0
  kind = 0
  value: Uint8Array = EMPTY
  valueBegin = 0
  valueEnd = 0
  /**
   * What the last move lacked. It has changed nothing else, and is made again by `retry` once this
   * call was made. What lies in memory lacks a turn of the event loop at most, where it has passed
   * over much.
   */
  missing: Io<void> | undefined

  abstract seekToFirst(): void
  abstract seekToLast(): void
  /** To the first entry that is not before (key, seqno) in internal order. */
  abstract seek(key: Uint8Array, begin: number, end: number, seqno: number): void
  /** To the last entry before (key, seqno). A seqno of -1 includes all versions of the key. */
  abstract seekBefore(key: Uint8Array, begin: number, end: number, seqno: number): void
  abstract next(): void
  abstract previous(): void
  retry(): void {}

  /**
   * Passes over entries with a seqno below `seqno` up to `bound`, exclusive, in the direction it
   * goes (backward: down to `bound`, inclusive), as far as that takes no look at them; undefined:
   * no bound. Whether it has moved.
   */
  skip(_bound: Uint8Array | undefined, _seqno: number): boolean {
    return false
  }

  /** Whether the entry at the place lies before `bound`; backward: not before it. */
  protected isShortOf(bound: Uint8Array | undefined, isForward: boolean): boolean {
    if (bound === undefined) return true
    const order = compareRanges(this.key, this.keyBegin, this.keyEnd, bound, 0, bound.length)
    return isForward ? order < 0 : order >= 0
  }
}

const EMPTY = new Uint8Array(0)

/** Something whose moves may lack a call. */
export interface Resumable {
  readonly missing: Io<void> | undefined
  retry(): void
}

/** Makes a move whole: `yield* settled(iterator)` after it. */
export function* settled(moved: Resumable): Flow<void> {
  while (moved.missing !== undefined) {
    yield* moved.missing
    moved.retry()
  }
}
