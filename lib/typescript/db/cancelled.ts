/**
 * What range tombstones of a batch do to the operations before them: those on keys in their ranges
 * do not happen. All operations of a commit have one seqno, so only their places tell.
 */

import { RangeIndex } from '../base/range-index.ts'
import { compareTombstones } from '../base/range-tombstone.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { KIND_RANGE_TOMBSTONE } from '../base/internal-key.ts'
import { BatchReader } from './write-batch.ts'

export class Cancelled {
  /** By keyspace; instead of a seqno they have their place in the batch. */
  readonly #indexes = new Map<number, RangeIndex>()

  /** Undefined where nothing is. */
  static of(entries: Uint8Array): Cancelled | undefined {
    const ranges = new Map<number, RangeTombstone[]>()
    const reader = new BatchReader(entries)
    while (reader.next()) {
      if (reader.kind !== KIND_RANGE_TOMBSTONE || reader.count === 1) continue
      const list = ranges.get(reader.keyspaceId) ?? []
      list.push(reader.range(reader.count))
      ranges.set(reader.keyspaceId, list)
    }
    if (ranges.size === 0) return undefined
    const cancelled = new Cancelled()
    for (const [id, list] of ranges) {
      cancelled.#indexes.set(id, RangeIndex.of(list.toSorted(compareTombstones)))
    }
    return cancelled
  }

  /** Whether one behind it cancels the entry that the reader is at. */
  has({ keyspaceId, bytes, keyBegin, keyEnd, count }: BatchReader): boolean {
    const index = this.#indexes.get(keyspaceId)
    return index !== undefined && index.covering(bytes, keyBegin, keyEnd, Infinity, count) >= 0
  }
}
