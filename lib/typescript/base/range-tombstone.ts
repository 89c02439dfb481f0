/** A range tombstone, and the orders of its parts; docs/format.md, 5.2 and 8.5. */

import { compareBytes } from './slice.ts'

/** Hides every entry with start <= key < end and a smaller seqno. */
export interface RangeTombstone {
  readonly start: Uint8Array
  /** Undefined: no upper end. */
  readonly end: Uint8Array | undefined
  readonly seqno: number
}

/** The smallest key: where a range without lower bound starts. */
export const FIRST_KEY: Uint8Array = new Uint8Array(1)

/** An unbounded end is greater than any other. */
export function compareEnds(a: Uint8Array | undefined, b: Uint8Array | undefined): number {
  if (a === undefined) return b === undefined ? 0 : 1
  if (b === undefined) return -1
  return compareBytes(a, b)
}

/** Ascending by start, then descending by seqno, then descending by end. */
export function compareTombstones(a: RangeTombstone, b: RangeTombstone): number {
  return compareBytes(a.start, b.start) || b.seqno - a.seqno || compareEnds(b.end, a.end)
}
