/** The range tombstones of a table; docs/format.md, section 8.5. */

import { Decoder, Encoder } from '../base/coding.ts'
import { breath } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'
import { BLOCK_STORED_BYTES_MAX, KEY_BYTES_MAX } from '../base/limits.ts'
import { RangeColumns, RangeIndex } from '../base/range-index.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { compareRanges } from '../base/slice.ts'
import { corruption } from '../base/status.ts'
import { ShaleError } from '../../errors.ts'

const UNBOUNDED = 1
const LEAST_ITEM_BYTES = 5
/** An item takes at most that much besides its keys. */
const ITEM_OVERHEAD = 15
/** Items that are encoded or decoded without a break. */
const ITEMS_A_TURN = 4096
const EMPTY = new Uint8Array(0)

/** Bytes that one takes in the block, roughly. */
export function rangeBytes({ start, end = EMPTY }: RangeTombstone): number {
  return start.length + end.length + ITEM_OVERHEAD
}

/** The block, in pieces; they are in order and at least one. */
export function* encodeRangeTombstones(
  tombstones: readonly RangeTombstone[],
): Flow<{ readonly pieces: Uint8Array[]; readonly length: number }> {
  const pieces: Uint8Array[] = [new Encoder(4).u32(tombstones.length).view()]
  let length = 4
  for (let from = 0; from < tombstones.length; from += ITEMS_A_TURN) {
    if (from > 0) yield* breath
    const piece = new Encoder()
    for (const { start, end, seqno } of tombstones.slice(from, from + ITEMS_A_TURN)) {
      piece.prefixed(start).u8(end === undefined ? UNBOUNDED : 0)
      piece.prefixed(end ?? EMPTY).varint(seqno)
    }
    pieces.push(piece.view())
    length += pieces.at(-1)!.length
  }
  if (length > BLOCK_STORED_BYTES_MAX) {
    throw new ShaleError('NOT_SUPPORTED', 'too many range tombstones over one key for a table')
  }
  return { pieces, length }
}

export function* decodeRangeTombstones(bytes: Uint8Array): Flow<RangeIndex> {
  const decoder = new Decoder(bytes)
  const count = decoder.u32()
  if (count < 1 || count > decoder.left / LEAST_ITEM_BYTES) {
    throw corruption('a range tombstone block has a wrong count')
  }
  const columns = new RangeColumns(bytes, count)
  for (let i = 0; i < count; i++) {
    if (i > 0 && i % ITEMS_A_TURN === 0) yield* breath
    const startLength = decoder.varint()
    const startBegin = decoder.skip(startLength)
    const flags = decoder.u8()
    const endLength = decoder.varint()
    const endBegin = decoder.skip(endLength)
    const seqno = decoder.varint()
    const startEnd = startBegin + startLength
    const endEnd = endBegin + endLength
    const isUnbounded = flags === UNBOUNDED
    columns.push(startBegin, startEnd, endBegin, isUnbounded ? 0 : endEnd, seqno)
    if (
      (flags & ~UNBOUNDED) !== 0 ||
      seqno > SEQNO_MAX ||
      !(startLength >= 1 && startLength <= KEY_BYTES_MAX && endLength <= KEY_BYTES_MAX) ||
      (isUnbounded
        ? endLength > 0
        : compareRanges(bytes, endBegin, endEnd, bytes, startBegin, startEnd) <= 0) ||
      (i > 0 && columns.compare(i - 1, i) > 0)
    ) {
      throw corruption('a range tombstone is none, or out of order')
    }
  }
  decoder.finish()
  return yield* RangeIndex.open(columns)
}
