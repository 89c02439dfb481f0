/**
 * Walks over a memtable, which may grow meanwhile: a place in the tree is looked up again when keys
 * came in, the entry itself stays where it is.
 */

import { breath } from '../base/flow.ts'
import { EntryIterator } from '../base/iterator.ts'
import { READ_ALL, SEQNO_MAX } from '../base/internal-key.ts'
import { NOWHERE } from './btree.ts'
import type { Memtable } from './memtable.ts'
import { lastNotBelow, versionBelow } from './version-chain.ts'

/** Keys without a version to show that one move passes before it lacks a turn of the event loop. */
const KEYS_A_TURN = 4096

export class MemtableIterator extends EntryIterator {
  readonly #memtable: Memtable
  /** Undefined: all versions. */
  readonly #readSeqno: number | undefined
  #place = NOWHERE
  #changes = 0
  #entry = 0
  #isForward = true

  constructor(memtable: Memtable, readSeqno: number | undefined) {
    super()
    this.#memtable = memtable
    this.#readSeqno = readSeqno
  }

  override seekToFirst(): void {
    this.#enter(this.#memtable.tree.first())
    this.#forward()
  }

  override seekToLast(): void {
    this.#enter(this.#memtable.tree.last())
    this.#backward()
  }

  override seek(key: Uint8Array, begin: number, end: number, seqno: number): void {
    const place = this.#memtable.tree.seek(key, begin, end)
    this.#isForward = true
    this.#enter(place)
    if (this.#isAt(place, key, begin, end)) {
      const entry = this.#shownBelow(place, seqno + 1)
      if (entry !== 0) return this.#show(entry)
      this.#place = this.#memtable.tree.after(place)
    }
    this.#forward()
  }

  override seekBefore(key: Uint8Array, begin: number, end: number, seqno: number): void {
    const { tree } = this.#memtable
    const place = tree.seek(key, begin, end)
    this.#isForward = false
    this.#enter(place)
    if (this.#isAt(place, key, begin, end)) {
      const entry = this.#lastShownAbove(place, seqno)
      if (entry !== 0) return this.#show(entry)
    }
    this.#place = place === NOWHERE ? tree.last() : tree.before(place)
    this.#backward()
  }

  override next(): void {
    const { arena, tree } = this.#memtable
    if (this.#readSeqno === undefined) {
      const older = arena.older(this.#entry)
      if (older !== 0) return this.#show(older)
    }
    this.#find()
    this.#place = tree.after(this.#place)
    this.#forward()
  }

  override previous(): void {
    const { arena, tree } = this.#memtable
    this.#find()
    if (this.#readSeqno === undefined) {
      const newest = tree.entryAt(this.#place)
      if (newest !== this.#entry) return this.#show(lastNotBelow(arena, newest, this.seqno + 1))
    }
    this.#place = tree.before(this.#place)
    this.#backward()
  }

  override skip(bound: Uint8Array | undefined, seqno: number): boolean {
    const isForward = this.#isForward
    if (!this.valid || !this.isShortOf(bound, isForward)) return false
    if (this.#memtable.highestEntrySeqno >= seqno) return this.#skipKeys(bound, seqno)
    if (bound === undefined) this.#end()
    else if (isForward) this.seek(bound, 0, bound.length, SEQNO_MAX)
    else this.seekBefore(bound, 0, bound.length, SEQNO_MAX)
    return true
  }

  /** Key by key up to one that may show, as far as a turn of the event loop allows. */
  #skipKeys(bound: Uint8Array | undefined, seqno: number): boolean {
    const { arena, tree } = this.#memtable
    const isForward = this.#isForward
    this.#find()
    const behind = bound === undefined ? NOWHERE : tree.seek(bound, 0, bound.length)
    // Backward it stops in front of the bound, which is inside.
    const end = isForward || behind === NOWHERE ? behind : tree.before(behind)
    let place = this.#place
    for (let left = KEYS_A_TURN; left > 0 && place !== end; left--) {
      if (arena.seqno(tree.entryAt(place)) >= seqno) break
      place = isForward ? tree.after(place) : tree.before(place)
    }
    if (place === this.#place) return false
    this.#place = place
    if (isForward) this.#forward()
    else this.#backward()
    return true
  }

  /** Goes on after a turn, in which keys may have come in. */
  override retry(): void {
    if (this.missing === undefined) return
    this.#find()
    if (this.#isForward) this.#forward()
    else this.#backward()
  }

  #enter(place: number): void {
    this.#place = place
    this.#changes = this.#memtable.tree.changes
  }

  /** The place of the current entry's key again. */
  #find(): void {
    const { tree } = this.#memtable
    if (this.#changes !== tree.changes) this.#enter(tree.seek(this.key, this.keyBegin, this.keyEnd))
  }

  #isAt(place: number, key: Uint8Array, begin: number, end: number): boolean {
    const { tree } = this.#memtable
    return place !== NOWHERE && tree.find(key, begin, end) === tree.entryAt(place)
  }

  /** The first entry of the place's key that is shown, if its seqno is below `limit`; else 0. */
  #shownBelow(place: number, limit: number): number {
    const { arena, tree } = this.#memtable
    const newest = tree.entryAt(place)
    if (this.#readSeqno === undefined) return versionBelow(arena, newest, limit)
    const entry = versionBelow(arena, newest, this.#readSeqno)
    return entry !== 0 && arena.seqno(entry) < limit ? entry : 0
  }

  /** The last entry of the place's key that is shown with a seqno above `limit`; 0 if none is. */
  #lastShownAbove(place: number, limit: number): number {
    const { arena, tree } = this.#memtable
    const newest = tree.entryAt(place)
    if (arena.seqno(newest) <= limit) return 0
    if (this.#readSeqno === undefined) return lastNotBelow(arena, newest, limit + 1)
    const entry = versionBelow(arena, newest, this.#readSeqno)
    return entry !== 0 && arena.seqno(entry) > limit ? entry : 0
  }

  /** Shows the first entry from the place on. */
  #forward(): void {
    const { tree } = this.#memtable
    this.#isForward = true
    for (let left = KEYS_A_TURN; this.#place !== NOWHERE; this.#place = tree.after(this.#place)) {
      const entry = this.#shownBelow(this.#place, READ_ALL)
      if (entry !== 0) return this.#show(entry)
      if (--left === 0) return this.#pause()
    }
    this.#end()
  }

  /** Shows the last entry of the keys up to the place. */
  #backward(): void {
    const { tree } = this.#memtable
    this.#isForward = false
    for (let left = KEYS_A_TURN; this.#place !== NOWHERE; this.#place = tree.before(this.#place)) {
      const entry = this.#lastShownAbove(this.#place, -1)
      if (entry !== 0) return this.#show(entry)
      if (--left === 0) return this.#pause()
    }
    this.#end()
  }

  /** Waits at the place, which is known by its key. */
  #pause(): void {
    this.#show(this.#memtable.tree.entryAt(this.#place))
    this.valid = false
    this.missing = breath
  }

  #end(): void {
    this.valid = false
    this.missing = undefined
  }

  #show(entry: number): void {
    const { arena } = this.#memtable
    this.#entry = entry
    this.valid = true
    this.missing = undefined
    this.key = arena.chunkOf(entry)
    this.keyBegin = arena.keyBegin(entry)
    this.keyEnd = arena.keyEnd(entry)
    this.seqno = arena.seqno(entry)
    this.kind = arena.kind(entry)
    this.value = arena.valueBytes(entry)
    this.valueBegin = arena.valueBegin(entry)
    this.valueEnd = this.valueBegin + arena.valueLength(entry)
  }
}
