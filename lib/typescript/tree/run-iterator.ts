/** The tables of a run, one behind the other. One of them is open at a time. */

import type { TableIterator } from '../table/table-iterator.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'
import { compareBytes } from '../base/slice.ts'
import { CompositeIterator } from './composite-iterator.ts'
import { endsBefore } from './table-meta.ts'
import type { Table } from './table.ts'

export class RunIterator extends CompositeIterator {
  /** In key order. */
  readonly #tables: readonly Table[]
  readonly #readAhead: number
  #at = 0
  #iterator: TableIterator | undefined
  /** Where to go on when the table at hand has no entry. */
  #step = 1

  constructor(tables: readonly Table[], readAhead: number) {
    super()
    this.#tables = tables
    this.#readAhead = readAhead
  }

  override seekToFirst(): void {
    this.#enter(0, 1)
  }

  override seekToLast(): void {
    this.#enter(this.#tables.length - 1, -1)
  }

  override seek(key: Uint8Array, begin: number, end: number, seqno: number): void {
    const at = tableAtOrBehind(this.#tables, key, begin, end)
    if (at === this.#tables.length) return this.showNone()
    this.#open(at, 1).seek(key, begin, end, seqno)
    this.#settle()
  }

  override seekBefore(key: Uint8Array, begin: number, end: number, seqno: number): void {
    const at = tableAtOrBehind(this.#tables, key, begin, end)
    if (at === this.#tables.length) return this.seekToLast()
    this.#open(at, -1).seekBefore(key, begin, end, seqno)
    this.#settle()
  }

  override next(): void {
    this.#step = 1
    this.#iterator!.next()
    this.#settle()
  }

  override previous(): void {
    this.#step = -1
    this.#iterator!.previous()
    this.#settle()
  }

  override retry(): void {
    this.#iterator!.retry()
    this.#settle()
  }

  /** Table by table, up to one that may hold newer entries. */
  override skip(bound: Uint8Array | undefined, seqno: number): boolean {
    const step = this.#step
    if (!this.valid || !this.isShortOf(bound, step > 0)) return false
    const begin = this.#at
    let at = begin
    for (; this.#tables[at] !== undefined; at += step) {
      const { meta } = this.#tables[at]!
      if (meta.highestSeqno >= seqno) break
      if (bound === undefined) continue
      const { length } = bound
      const isBehind = step > 0 ? endsBefore(meta, bound, 0, length) : startsFrom(meta, bound)
      if (isBehind) continue
      const iterator = this.#open(at, step)
      if (step > 0) iterator.seek(bound, 0, length, SEQNO_MAX)
      else iterator.seekBefore(bound, 0, length, SEQNO_MAX)
      this.#settle()
      return true
    }
    if (at === begin) return false
    this.#enter(at, step)
    return true
  }

  #open(at: number, step: number): TableIterator {
    if (at !== this.#at || this.#iterator === undefined) {
      this.#iterator = this.#tables[at]!.shared.reader.iterator(this.#readAhead)
    }
    this.#at = at
    this.#step = step
    return this.#iterator
  }

  /** To the first or last entry of a table. */
  #enter(at: number, step: number): void {
    if (at < 0 || at === this.#tables.length) return this.showNone()
    const iterator = this.#open(at, step)
    if (step > 0) iterator.seekToFirst()
    else iterator.seekToLast()
    this.#settle()
  }

  /** Shows the entry of the table at hand, or goes on in the next one. */
  #settle(): void {
    const source = this.#iterator!
    if (source.missing !== undefined) this.showNone(source.missing)
    else if (source.valid) this.show(source)
    else this.#enter(this.#at + this.#step, this.#step)
  }
}

/** Whether a table has no key before `bound`. */
function startsFrom({ firstKey }: Table['meta'], bound: Uint8Array): boolean {
  return compareBytes(firstKey, bound) >= 0
}

/** The first table of a run that does not end before the key; `length` if there is none. */
export function tableAtOrBehind(
  tables: readonly Table[],
  key: Uint8Array,
  begin: number,
  end: number,
): number {
  let low = 0
  let high = tables.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (endsBefore(tables[middle]!.meta, key, begin, end)) low = middle + 1
    else high = middle
  }
  return low
}
