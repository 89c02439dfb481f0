/** The range tombstones of a table; docs/format.md, section 8.5. */

import { Decoder } from '../base/coding.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'
import { KEY_BYTES_MAX } from '../base/limits.ts'
import { compareBytes } from '../base/slice.ts'
import { corruption } from '../base/status.ts'

const UNBOUNDED = 1
const LEAST_ITEM_BYTES = 5

/** Hides every entry with start <= key < end and a smaller seqno. */
export interface RangeTombstone {
  readonly start: Uint8Array
  /** Undefined: no upper end. */
  readonly end: Uint8Array | undefined
  readonly seqno: number
}

/** An unbounded end is greater than any other. */
function compareEnds(a: Uint8Array | undefined, b: Uint8Array | undefined): number {
  if (a === undefined) return b === undefined ? 0 : 1
  if (b === undefined) return -1
  return compareBytes(a, b)
}

/** Ascending by start, then descending by seqno, then descending by end. */
export function compareTombstones(a: RangeTombstone, b: RangeTombstone): number {
  return compareBytes(a.start, b.start) || b.seqno - a.seqno || compareEnds(b.end, a.end)
}

export function decodeRangeTombstones(bytes: Uint8Array): RangeTombstone[] {
  const decoder = new Decoder(bytes)
  const count = decoder.u32()
  if (count < 1 || count > decoder.left / LEAST_ITEM_BYTES) {
    throw corruption('a range tombstone block has a wrong count')
  }
  const tombstones: RangeTombstone[] = []
  for (let i = 0; i < count; i++) {
    const start = decoder.prefixed()
    const flags = decoder.u8()
    const end = decoder.prefixed()
    const seqno = decoder.varint()
    const isUnbounded = flags === UNBOUNDED
    const tombstone = { start, end: isUnbounded ? undefined : end, seqno }
    const before = tombstones.at(-1)
    if (
      (flags & ~UNBOUNDED) !== 0 ||
      seqno > SEQNO_MAX ||
      !(start.length >= 1 && start.length <= KEY_BYTES_MAX && end.length <= KEY_BYTES_MAX) ||
      (isUnbounded ? end.length > 0 : compareBytes(start, end) >= 0) ||
      (before !== undefined && compareTombstones(before, tombstone) > 0)
    ) {
      throw corruption('a range tombstone is none, or out of order')
    }
    tombstones.push(tombstone)
  }
  decoder.finish()
  return tombstones
}
