/**
 * Several sorted sequences as one. Sources that are at an entry stand in a row, the one with the
 * next entry first; after a move the first one is put back where it belongs, which is most often
 * where it was. Of two entries with the same key and seqno the one from the newer source comes
 * first.
 */

import { compareInternal } from '../base/internal-key.ts'
import type { EntryIterator } from '../base/iterator.ts'
import { CompositeIterator } from './composite-iterator.ts'

const FORWARD = 1
const BACKWARD = -1

export class MergeIterator extends CompositeIterator {
  /** Newest first. */
  readonly #sources: readonly EntryIterator[]
  /** Numbers of the sources that are at an entry, in the order of the direction. */
  readonly #row: number[] = []
  #direction: typeof FORWARD | typeof BACKWARD = FORWARD
  /** Sources whose last move lacks something. */
  readonly #waiting: number[] = []
  /** The key of the current entry, for turning round. */
  #turnKey = new Uint8Array(64)

  constructor(sources: readonly EntryIterator[]) {
    super()
    this.#sources = sources
  }

  override seekToFirst(): void {
    this.#begin(FORWARD)
    for (const source of this.#sources) source.seekToFirst()
    this.#line()
  }

  override seekToLast(): void {
    this.#begin(BACKWARD)
    for (const source of this.#sources) source.seekToLast()
    this.#line()
  }

  override seek(key: Uint8Array, begin: number, end: number, seqno: number): void {
    this.#begin(FORWARD)
    for (const source of this.#sources) source.seek(key, begin, end, seqno)
    this.#line()
  }

  override seekBefore(key: Uint8Array, begin: number, end: number, seqno: number): void {
    this.#begin(BACKWARD)
    for (const source of this.#sources) source.seekBefore(key, begin, end, seqno)
    this.#line()
  }

  override next(): void {
    if (this.#direction === BACKWARD) {
      const end = this.#keepKey()
      return this.seek(this.#turnKey, 0, end, this.seqno - 1)
    }
    this.#sources[this.#row[0]!]!.next()
    this.#placeFirst()
  }

  override previous(): void {
    if (this.#direction === FORWARD) {
      const end = this.#keepKey()
      return this.seekBefore(this.#turnKey, 0, end, this.seqno)
    }
    this.#sources[this.#row[0]!]!.previous()
    this.#placeFirst()
  }

  override retry(): void {
    // If one fails, they all wait on.
    for (const number of this.#waiting) this.#sources[number]!.retry()
    for (const number of this.#waiting.splice(0)) this.#place(number)
    this.#showFirst()
  }

  override skip(bound: Uint8Array | undefined, seqno: number): boolean {
    if (!this.valid) return false
    const moved = this.#row.filter((number) => this.#sources[number]!.skip(bound, seqno))
    if (moved.length === 0) return false
    const stay = this.#row.filter((number) => !moved.includes(number))
    this.#row.splice(0, this.#row.length, ...stay)
    for (const number of moved) this.#place(number)
    this.#showFirst()
    return true
  }

  #begin(direction: typeof FORWARD | typeof BACKWARD): void {
    this.#direction = direction
    this.#row.length = 0
    this.#waiting.length = 0
  }

  /** The first source has moved: it goes back into the row where it belongs. */
  #placeFirst(): void {
    const row = this.#row
    const first = row[0]!
    if (!this.#sources[first]!.valid) {
      row.shift()
      this.#place(first)
      return this.#showFirst()
    }
    let at = 0
    while (at + 1 < row.length && !this.#isBefore(first, row[at + 1]!)) {
      row[at] = row[at + 1]!
      at++
    }
    row[at] = first
    this.#showFirst()
  }

  /** Lines up all sources. */
  #line(): void {
    for (const number of this.#sources.keys()) this.#place(number)
    this.#showFirst()
  }

  /** Puts a source that has moved where it belongs. */
  #place(number: number): void {
    const source = this.#sources[number]!
    if (source.missing !== undefined) {
      this.#waiting.push(number)
      return
    }
    if (!source.valid) return
    const row = this.#row
    let at = 0
    while (at < row.length && this.#isBefore(row[at]!, number)) at++
    row.splice(at, 0, number)
  }

  #isBefore(a: number, b: number): boolean {
    const x = this.#sources[a]!
    const y = this.#sources[b]!
    const order = compareInternal(
      x.key,
      x.keyBegin,
      x.keyEnd,
      x.seqno,
      y.key,
      y.keyBegin,
      y.keyEnd,
      y.seqno,
    )
    return (order || a - b) * this.#direction < 0
  }

  #keepKey(): number {
    const length = this.keyEnd - this.keyBegin
    if (length > this.#turnKey.length) this.#turnKey = new Uint8Array(2 * length)
    this.#turnKey.set(this.key.subarray(this.keyBegin, this.keyEnd))
    return length
  }

  /** Shows the entry of the first source, once none lacks anything. */
  #showFirst(): void {
    const [lacking] = this.#waiting
    const [first] = this.#row
    if (lacking !== undefined) this.showNone(this.#sources[lacking]!.missing)
    else if (first === undefined) this.showNone()
    else this.show(this.#sources[first]!)
  }
}
