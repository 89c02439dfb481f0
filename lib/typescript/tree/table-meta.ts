/** What the manifest knows of a table, and where the tables of a tree stand. */

import { compareBytes, compareRanges } from '../base/slice.ts'
import type { BlobReference } from '../table/blob-references.ts'
import { BOUND_EXCLUSIVE, BOUND_INCLUSIVE, BOUND_UNBOUNDED } from '../table/table-format.ts'

export interface TableMeta {
  readonly fileNumber: number
  readonly level: number
  /** Of two runs in a level the one with the higher number is newer. */
  readonly runOrder: number
  /** Bytes of the file. */
  readonly size: number
  /** All versions and tombstones. */
  readonly itemCount: number
  readonly tombstoneCount: number
  readonly weakTombstoneCount: number
  readonly rangeTombstoneCount: number
  readonly blockCount: number
  readonly firstKey: Uint8Array
  readonly lastKey: Uint8Array
  /** Whether the last key is an entry's, the end of a range tombstone, or no bound at all. */
  readonly lastKeyBound: number
  /** These two with the global seqno added. */
  readonly lowestSeqno: number
  readonly highestSeqno: number
  /** Added to every seqno that is stored in the table; 0 unless it was ingested. */
  readonly globalSeqno: number
  /** Milliseconds since 1970. */
  readonly createdAt: number
  readonly codec: number
  /** File numbers ascend. */
  readonly blobs: readonly BlobReference[]
}

/** Whether a table ends at or behind `key`. */
export function reaches(table: TableMeta, key: Uint8Array): boolean {
  if (table.lastKeyBound === BOUND_UNBOUNDED) return true
  const order = compareBytes(table.lastKey, key)
  return table.lastKeyBound === BOUND_INCLUSIVE ? order >= 0 : order > 0
}

/** Whether a table ends before a key. */
export function endsBefore(
  { lastKey, lastKeyBound }: TableMeta,
  key: Uint8Array,
  begin: number,
  end: number,
): boolean {
  const order = compareRanges(lastKey, 0, lastKey.length, key, begin, end)
  if (order < 0) return lastKeyBound !== BOUND_UNBOUNDED
  return order === 0 && lastKeyBound === BOUND_EXCLUSIVE
}

/** Whether a table has no key from `upper` on; undefined: no bound. */
export function endsWithin(table: TableMeta, upper: Uint8Array | undefined): boolean {
  if (upper === undefined) return true
  const { lastKey, lastKeyBound } = table
  if (lastKeyBound === BOUND_UNBOUNDED) return false
  const order = compareBytes(lastKey, upper)
  return lastKeyBound === BOUND_EXCLUSIVE ? order <= 0 : order < 0
}

/** By the key they end with. */
export function byLastKey(a: TableMeta, b: TableMeta): number {
  const isUnbounded = (table: TableMeta): number => (table.lastKeyBound === BOUND_UNBOUNDED ? 1 : 0)
  return isUnbounded(a) - isUnbounded(b) || compareBytes(a.lastKey, b.lastKey)
}

/** By the key they begin with. */
export function byFirstKey(a: TableMeta, b: TableMeta): number {
  return compareBytes(a.firstKey, b.firstKey)
}
