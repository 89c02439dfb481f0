/** What strategies look at: plain data, so that cases can be written as text. */

/** A TableInfo is one. */
export interface TableSummary {
  readonly id: number
  /** Bytes. */
  readonly size: number
  readonly itemCount: number
  readonly tombstoneCount: number
  readonly weakTombstoneCount: number
  /** Not among its items. */
  readonly rangeTombstoneCount: number
  readonly firstKey: Uint8Array
  /** Empty if there is no upper end. */
  readonly lastKey: Uint8Array
  /** Whether the last key is the end of a range tombstone, and not in the table; default: it is. */
  readonly lastKeyBound?: number
  readonly highestSeqno: number
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  /** Bytes in blob files that its entries point to; default: none. */
  readonly blobs?: readonly { readonly bytes: number }[]
}

/** Of a run, in key order. */
export type Tables = readonly TableSummary[]
/** Level 0 first; in a level, the newest run first. */
export type Levels = readonly (readonly Tables[])[]

export const LEVEL_COUNT = 7

export function isBefore(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) < 0
}

/** `TableMeta.lastKeyBound`: see docs/format.md, enum bound. */
const EXCLUSIVE = 1

/** Whether a table ends before a key. */
export function endsBefore({ lastKey, lastKeyBound }: TableSummary, key: Uint8Array): boolean {
  if (lastKey.length === 0) return false
  const order = Buffer.compare(lastKey, key)
  return order < 0 || (order === 0 && lastKeyBound === EXCLUSIVE)
}

/** Whether a table ends before another one does. */
export function endsFirst(a: TableSummary, b: TableSummary): boolean {
  if (a.lastKey.length === 0) return false
  if (b.lastKey.length === 0) return true
  const order = Buffer.compare(a.lastKey, b.lastKey)
  return order < 0 || (order === 0 && a.lastKeyBound === EXCLUSIVE && b.lastKeyBound !== EXCLUSIVE)
}

/** First index below `count` for which `holds`, which then holds for all behind it; or `count`. */
export function firstIndex(count: number, holds: (index: number) => boolean): number {
  let [low, high] = [0, count]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (holds(middle)) high = middle
    else low = middle + 1
  }
  return low
}

/** The tables of a run that meet a table. */
export function metIn(run: Tables, table: TableSummary): Tables {
  const from = firstIndex(run.length, (i) => !endsBefore(run[i]!, table.firstKey))
  const end = firstIndex(run.length, (i) => endsBefore(table, run[i]!.firstKey))
  return run.slice(from, end)
}

/** No two of them have a key in common. */
export function isDisjoint(tables: Tables): boolean {
  const sorted = tables.toSorted((a, b) => Buffer.compare(a.firstKey, b.firstKey))
  return sorted.every((table, i) => {
    const previous = sorted[i - 1]
    return previous === undefined || endsBefore(previous, table.firstKey)
  })
}
