/**
 * The range tombstones that a cursor has to ask: those of all components of the state that it
 * reads. Going forward, the answer for a key holds until the next range starts or the found one
 * ends, so most rows cost one comparison.
 */

import type { RangeTombstone } from '../base/range-tombstone.ts'
import { compareRanges } from '../base/slice.ts'
import { tableAtOrBehind } from './run-iterator.ts'
import type { Table } from './table.ts'

/** The range tombstones of a memtable or of a run. */
export interface Covers {
  /** The newest one over a key that a read sees. */
  covering(
    key: Uint8Array,
    begin: number,
    end: number,
    readSeqno: number,
  ): RangeTombstone | undefined
  /** Where the next one starts behind a key; undefined: none does. */
  startBehind(key: Uint8Array, begin: number, end: number): Uint8Array | undefined
}

/** Of tables of a run, in key order. */
export class RunCovers implements Covers {
  readonly #tables: readonly Table[]

  /** All of them have some. */
  constructor(tables: readonly Table[]) {
    this.#tables = tables
  }

  covering(
    key: Uint8Array,
    begin: number,
    end: number,
    readSeqno: number,
  ): RangeTombstone | undefined {
    const table = this.#tables[tableAtOrBehind(this.#tables, key, begin, end)]
    if (table === undefined) return undefined
    const { reader } = table.shared
    const below = readSeqno - reader.globalSeqno
    const found = reader.rangeTombstones!.covering(key, begin, end, below)
    return found < 0 ? undefined : reader.rangeTombstone(found)
  }

  startBehind(key: Uint8Array, begin: number, end: number): Uint8Array | undefined {
    for (let at = tableAtOrBehind(this.#tables, key, begin, end); at < this.#tables.length; at++) {
      const ranges = this.#tables[at]!.shared.reader.rangeTombstones!
      const i = ranges.behind(key, begin, end)
      if (i < ranges.count) return ranges.start(i)
    }
    return undefined
  }
}

export class Coverage {
  readonly #components: readonly Covers[]
  readonly #readSeqno: number
  #hasAnswer = false
  #answer: RangeTombstone | undefined
  /** The answer holds for keys before this one; undefined: for all behind. */
  #until: Uint8Array | undefined

  constructor(components: readonly Covers[], readSeqno: number) {
    this.#components = components
    this.#readSeqno = readSeqno
  }

  /** The cursor goes to another place. */
  forget(): void {
    this.#hasAnswer = false
  }

  /** The newest one over a key; keys do not descend as long as nothing is forgotten. */
  overNext(key: Uint8Array, begin: number, end: number): RangeTombstone | undefined {
    if (this.#hasAnswer) {
      const until = this.#until
      if (until === undefined) return this.#answer
      if (compareRanges(key, begin, end, until, 0, until.length) < 0) return this.#answer
    }
    this.#answer = this.over(key, begin, end)
    this.#until = this.#answer?.end
    for (const component of this.#components) {
      const start = component.startBehind(key, begin, end)
      if (start !== undefined) this.#end(start)
    }
    this.#hasAnswer = true
    return this.#answer
  }

  #end(start: Uint8Array): void {
    const until = this.#until
    const isSooner =
      until === undefined || compareRanges(start, 0, start.length, until, 0, until.length) < 0
    if (isSooner) this.#until = start
  }

  /** The newest one over a key. */
  over(key: Uint8Array, begin: number, end: number): RangeTombstone | undefined {
    let best: RangeTombstone | undefined
    for (const component of this.#components) {
      const one = component.covering(key, begin, end, this.#readSeqno)
      if (one !== undefined && one.seqno > (best?.seqno ?? -1)) best = one
    }
    return best
  }
}
