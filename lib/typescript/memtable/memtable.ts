/**
 * The newest entries of a tree, in memory and sorted: an arena that holds them, a B+-tree over
 * their keys, and under each key its versions. One thread writes and reads; iterators stay good
 * while entries are inserted.
 */

import { KIND_TOMBSTONE, KIND_WEAK_TOMBSTONE } from '../base/internal-key.ts'
import type { EntryIterator } from '../base/iterator.ts'
import { RangeSet } from '../base/range-set.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { Arena } from './arena.ts'
import { BTree } from './btree.ts'
import { MemtableIterator } from './memtable-iterator.ts'
import { lastNotBelow, linkNewest, versionBelow } from './version-chain.ts'

/**
 * Where a memtable is sealed at the latest: with one commit more it has to stay within what an
 * arena can address, 4 GiB.
 */
export const MEMTABLE_BYTES_MAX: number = 2 ** 30
/** The same for its range tombstones, all of which may have to go into one table. */
export const MEMTABLE_RANGE_BYTES_MAX: number = 2 ** 24

export class Memtable {
  readonly id: number
  readonly arena: Arena = new Arena()
  readonly tree: BTree
  /** Entries, all versions and tombstones. */
  itemCount = 0
  /** Apart from the entries; undefined as long as there is none. */
  ranges: RangeSet | undefined
  /** -1 as long as there is no entry. */
  highestEntrySeqno: number = -1
  /** Range tombstones included. */
  highestSeqno: number = -1
  lowestSeqno: number = Infinity

  constructor(id: number) {
    this.id = id
    this.tree = new BTree(this.arena)
  }

  /** Bytes of entries and index; an empty one holds next to nothing. */
  get size(): number {
    const entries = this.itemCount === 0 ? 0 : this.arena.usedBytes + this.tree.bytes
    return this.ranges === undefined ? entries : entries + this.ranges.bytes
  }

  get isEmpty(): boolean {
    return this.itemCount === 0 && this.ranges === undefined
  }

  /**
   * Copies an entry in. One with the same key and seqno is replaced; a weak tombstone in its place
   * is a whole one, since what it replaces may have hidden more than one version.
   */
  insert(
    kind: number,
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
  ): void {
    const { arena, tree } = this
    const newest = tree.locate(key, keyBegin, keyEnd)
    // The version right above the new one; 0 if it becomes the newest.
    const above =
      newest === 0 || arena.seqno(newest) < seqno ? 0 : lastNotBelow(arena, newest, seqno)
    if (above !== 0 && arena.seqno(above) === seqno) {
      const held = kind === KIND_WEAK_TOMBSTONE ? KIND_TOMBSTONE : kind
      arena.replace(above, held, value, valueBegin, valueEnd)
      return
    }
    const older = above === 0 ? newest : arena.older(above)
    const entry = arena.add(kind, seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd, older)
    if (older !== 0) linkNewest(arena, entry, older)
    if (above !== 0) arena.setOlder(above, entry)
    else if (newest === 0) tree.insertLocated(entry)
    else tree.replaceLocated(entry)
    this.itemCount++
    if (seqno > this.highestEntrySeqno) this.highestEntrySeqno = seqno
    this.#span(seqno)
  }

  /** Copies a range tombstone in. */
  insertRange(range: RangeTombstone): void {
    this.ranges ??= new RangeSet()
    this.ranges.add(range)
    this.#span(range.seqno)
  }

  #span(seqno: number): void {
    if (seqno > this.highestSeqno) this.highestSeqno = seqno
    if (seqno < this.lowestSeqno) this.lowestSeqno = seqno
  }

  /** The address of the newest version that a read at `readSeqno` sees; 0 if there is none. */
  find(key: Uint8Array, begin: number, end: number, readSeqno: number): number {
    const newest = this.tree.find(key, begin, end)
    return newest === 0 ? 0 : versionBelow(this.arena, newest, readSeqno)
  }

  /** All entries. */
  versions(): EntryIterator {
    return new MemtableIterator(this, undefined)
  }

  /** What a read at `readSeqno` sees: of each key the newest version below it. */
  visible(readSeqno: number): EntryIterator {
    return new MemtableIterator(this, readSeqno)
  }
}
