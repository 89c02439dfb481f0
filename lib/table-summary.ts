/** What strategies look at: plain data, so that cases can be written as text. */

/** A TableInfo is one. */
export interface TableSummary {
  readonly id: number
  /** Bytes. */
  readonly size: number
  readonly itemCount: number
  readonly tombstoneCount: number
  readonly weakTombstoneCount: number
  readonly firstKey: Uint8Array
  readonly lastKey: Uint8Array
  /** Milliseconds since the epoch. */
  readonly createdAt: number
}

/** Of a run, in key order. */
export type Tables = readonly TableSummary[]
/** Level 0 first; in a level, the newest run first. */
export type Levels = readonly (readonly Tables[])[]

export const LEVEL_COUNT = 7

export function isBefore(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) < 0
}

/** No two of them have a key in common. */
export function isDisjoint(tables: Tables): boolean {
  const sorted = tables.toSorted((a, b) => Buffer.compare(a.firstKey, b.firstKey))
  return sorted.every((table, i) => {
    const previous = sorted[i - 1]
    return previous === undefined || isBefore(previous.lastKey, table.firstKey)
  })
}
