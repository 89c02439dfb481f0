/**
 * Which versions of a key a flush or a compaction keeps: all that some reader may still need.
 *
 * Readers are the open snapshots and everyone who reads at `visible` or above. Snapshots cut the
 * seqnos into strata: no reader can tell two versions of one stratum apart.
 *
 * Of the versions of a key, newest first, p right above q in one stratum:
 * - q is a value under a value or a regular tombstone: nobody sees it. It goes.
 * - q is a tombstone under a regular tombstone: it goes. Under a weak one: q stays, p goes.
 * - q is a tombstone under a value: it stays, for p may go in a pair later.
 * - p is a weak tombstone and q a value: a pair. Both go, and the values below them in the stratum;
 *   but if a value of an older stratum would come to light, p stays.
 * - A version that a range tombstone of its stratum hides is as if it had never been, whatever it
 *   is.
 * - A tombstone below which nothing of its key is left, here or deeper in the tree, hides nothing.
 *   It goes.
 */

import { isTombstone, KIND_TOMBSTONE, KIND_WEAK_TOMBSTONE } from '../base/internal-key.ts'
import type { EntryIterator } from '../base/iterator.ts'
import { compareRanges } from '../base/slice.ts'
import type { KeptRanges } from './kept-ranges.ts'

export interface RetentionView {
  /** Read seqnos of open snapshots, ascending. */
  readonly snapshots: readonly number[]
  /** Every later read is at least at this seqno. */
  readonly visible: number
}

/** Takes what is kept, in internal order. */
export interface EntrySink {
  add(
    kind: number,
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
  ): void
}

/** What stands at the place of an iterator. */
export type RetainedEntry = Pick<
  EntryIterator,
  'key' | 'keyBegin' | 'keyEnd' | 'seqno' | 'kind' | 'value' | 'valueBegin' | 'valueEnd'
>

/** Whether something that is no input, below the output, may hold the key. Keys ascend. */
export type MayExistBelow = (key: Uint8Array, begin: number, end: number) => boolean

/** What the version above has decided about the next one in its stratum. */
type Cover = 'nothing' | 'value' | 'regular' | 'weak' | 'pair'

const NO_VALUE = new Uint8Array(0)

export class Retention {
  readonly #view: RetentionView
  readonly #mayExistBelow: MayExistBelow
  readonly #sink: EntrySink
  readonly #ranges: KeptRanges | undefined
  #key = new Uint8Array(64)
  #keyLength = 0
  /** Seqno of the version above, kept or not; -1: there is none yet. */
  #above = -1
  #cover: Cover = 'nothing'
  /** Seqnos and kinds of tombstones whose fate is open, newest first. */
  readonly #waitingSeqnos: number[] = []
  readonly #waitingKinds: number[] = []

  constructor(
    view: RetentionView,
    mayExistBelow: MayExistBelow,
    sink: EntrySink,
    ranges?: KeptRanges,
  ) {
    this.#view = view
    this.#mayExistBelow = mayExistBelow
    this.#sink = sink
    this.#ranges = ranges
  }

  /** The next entry in internal order. Of two with the same key and seqno the first one holds. */
  add(entry: RetainedEntry): void {
    const { key, keyBegin, keyEnd, seqno, kind } = entry
    if (this.#ranges?.hides(key, keyBegin, keyEnd, seqno) === true) return
    const isSameKey =
      this.#above >= 0 && compareRanges(key, keyBegin, keyEnd, this.#key, 0, this.#keyLength) === 0
    if (!isSameKey) this.#beginKey(key, keyBegin, keyEnd)
    else if (seqno === this.#above) return
    const cover = isSameKey && this.#isSameStratum(this.#above, seqno) ? this.#cover : 'nothing'
    // A pair leaves its weak tombstone behind if a value of an older stratum follows.
    if (this.#cover === 'pair' && isTombstone(kind)) this.#dropLastWaiting()
    this.#above = seqno
    if (isTombstone(kind)) this.#addTombstone(kind, seqno, cover)
    else this.#addValue(entry, cover)
  }

  /** Entries before a key, which does not descend, have all come: what is kept is handed on. */
  reach(key: Uint8Array, begin: number, end: number): void {
    if (this.#above < 0) return
    if (compareRanges(key, begin, end, this.#key, 0, this.#keyLength) !== 0) this.#endKey()
  }

  /** After the last entry. */
  finish(): void {
    this.#endKey()
  }

  #beginKey(key: Uint8Array, begin: number, end: number): void {
    this.#endKey()
    const length = end - begin
    if (length > this.#key.length) this.#key = new Uint8Array(2 * length)
    for (let i = 0; i < length; i++) this.#key[i] = key[begin + i]!
    this.#keyLength = length
    this.#cover = 'nothing'
  }

  /** Nothing of the key comes any more. */
  #endKey(): void {
    if (this.#cover === 'pair') this.#dropLastWaiting()
    if (this.#waitingSeqnos.length > 0) {
      if (this.#mayExistBelow(this.#key, 0, this.#keyLength)) this.#passWaiting()
      this.#waitingSeqnos.length = 0
      this.#waitingKinds.length = 0
    }
    this.#cover = 'nothing'
    this.#above = -1
  }

  #addTombstone(kind: number, seqno: number, cover: Cover): void {
    if (cover === 'regular') return
    if (cover === 'weak') this.#dropLastWaiting()
    this.#waitingSeqnos.push(seqno)
    this.#waitingKinds.push(kind)
    this.#cover = kind === KIND_TOMBSTONE ? 'regular' : 'weak'
  }

  #addValue(entry: RetainedEntry, cover: Cover): void {
    if (cover === 'weak') this.#cover = 'pair'
    if (cover !== 'nothing') return
    this.#passWaiting()
    const { kind, seqno, value, valueBegin, valueEnd } = entry
    this.#sink.add(kind, seqno, this.#key, 0, this.#keyLength, value, valueBegin, valueEnd)
    this.#cover = 'value'
  }

  #passWaiting(): void {
    for (const [i, seqno] of this.#waitingSeqnos.entries()) {
      const kind = this.#waitingKinds[i] ?? KIND_WEAK_TOMBSTONE
      this.#sink.add(kind, seqno, this.#key, 0, this.#keyLength, NO_VALUE, 0, 0)
    }
    this.#waitingSeqnos.length = 0
    this.#waitingKinds.length = 0
  }

  #dropLastWaiting(): void {
    this.#waitingSeqnos.pop()
    this.#waitingKinds.pop()
  }

  /** Whether no reader sees `older` without `newer`. */
  #isSameStratum(newer: number, older: number): boolean {
    const { snapshots, visible } = this.#view
    if (newer >= visible) return false
    const snapshot = snapshots[stratumOf(this.#view, older)]
    return snapshot === undefined || snapshot > newer
  }
}

/** The number of the stratum of a visible seqno, from the oldest one on. */
export function stratumOf({ snapshots }: RetentionView, seqno: number): number {
  let low = 0
  let high = snapshots.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (snapshots[middle]! <= seqno) low = middle + 1
    else high = middle
  }
  return low
}
