/**
 * The index of a memtable: a B+-tree from keys to addresses in an arena.
 *
 * A node does not hold keys but *heads*: the six bytes of a key that follow what all keys below
 * the node have in common, as one number. A search compares numbers that lie side by side and
 * touches a key only where two heads are equal. All nodes of a kind share one array per field, so a
 * node is a number and costs the garbage collector nothing.
 *
 * Keys are never taken out. A node is split when it is full; behind the last key a new leaf is
 * begun instead, so that ascending keys fill their leaves.
 */

import { compareRanges } from '../base/slice.ts'
import type { Arena } from './arena.ts'

/** Keys of a leaf, children of an inner node. A power of two. */
const FANOUT = 32
const HEAD_BYTES = 6
const TWO_24 = 2 ** 24
const HEIGHT_MAX = 16

/** Up to six bytes of [begin, end) as a number, missing ones as zeros. */
function headOf(bytes: Uint8Array, begin: number, end: number): number {
  if (begin + HEAD_BYTES <= end) {
    return (
      ((bytes[begin]! << 16) | (bytes[begin + 1]! << 8) | bytes[begin + 2]!) * TWO_24 +
      ((bytes[begin + 3]! << 16) | (bytes[begin + 4]! << 8) | bytes[begin + 5]!)
    )
  }
  let head = 0
  for (let i = begin; i < begin + HEAD_BYTES; i++) head = head * 256 + (i < end ? bytes[i]! : 0)
  return head
}

function grown<T extends Float64Array | Uint32Array | Uint16Array | Uint8Array>(old: T): T {
  const larger = new (old.constructor as new (length: number) => T)(old.length * 2)
  larger.set(old)
  return larger
}

/** Nodes of one kind: sorted keys by their heads, and the prefix that all keys below share. */
class Nodes {
  readonly arena: Arena
  heads: Float64Array = new Float64Array(FANOUT)
  /** Per key an entry that has it: in a leaf the newest version. */
  entries: Uint32Array = new Uint32Array(FANOUT)
  counts: Uint8Array = new Uint8Array(1)
  prefixes: Uint16Array = new Uint16Array(1)
  /** The last bytes of the prefix as a head, for comparing it without touching a key. */
  stems: Float64Array = new Float64Array(1)
  length = 0

  constructor(arena: Arena) {
    this.arena = arena
  }

  get bytes(): number {
    return this.length * (FANOUT * 16 + 16)
  }

  allocate(): number {
    if (this.length === this.counts.length) this.grow()
    return this.length++
  }

  grow(): void {
    this.heads = grown(this.heads)
    this.entries = grown(this.entries)
    this.counts = grown(this.counts)
    this.prefixes = grown(this.prefixes)
    this.stems = grown(this.stems)
  }

  /**
   * The slot of the key, or ~slot of the first greater one. The key must have the node's prefix.
   */
  search(node: number, key: Uint8Array, begin: number, end: number): number {
    const { heads } = this
    const base = node * FANOUT
    const prefix = this.prefixes[node]!
    const head = headOf(key, begin + prefix, end)
    let low = 0
    let high = this.counts[node]!
    while (low < high) {
      const middle = (low + high) >>> 1
      const other = heads[base + middle]!
      if (other < head) low = middle + 1
      else if (other > head) high = middle
      else {
        const order = this.#compareTail(this.entries[base + middle]!, key, begin, end, prefix)
        if (order === 0) return middle
        if (order < 0) low = middle + 1
        else high = middle
      }
    }
    return ~low
  }

  /** Order of an entry's key to a key that has the same first `prefix` bytes. */
  #compareTail(entry: number, key: Uint8Array, begin: number, end: number, prefix: number): number {
    const { arena } = this
    const chunk = arena.chunkOf(entry)
    const own = arena.keyBegin(entry)
    return compareRanges(chunk, own + prefix, arena.keyEnd(entry), key, begin + prefix, end)
  }

  /**
   * Whether a key has the prefix of the node: 0, or how it is to all keys below. `known` bytes are
   * known to be equal.
   */
  compareToPrefix(
    node: number,
    key: Uint8Array,
    begin: number,
    end: number,
    known: number,
  ): number {
    const prefix = this.prefixes[node]!
    if (prefix <= known) return 0
    const stem = Math.max(0, prefix - HEAD_BYTES)
    if (stem <= known && end - begin >= prefix) {
      if (headOf(key, begin + stem, begin + prefix) === this.stems[node]!) return 0
    }
    const entry = this.entries[node * FANOUT]!
    const own = this.arena.keyBegin(entry)
    const chunk = this.arena.chunkOf(entry)
    return compareRanges(key, begin, Math.min(end, begin + prefix), chunk, own, own + prefix)
  }

  /** Shortens the prefix to what the key has of it as well. */
  admit(node: number, key: Uint8Array, begin: number, end: number): void {
    const entry = this.entries[node * FANOUT]!
    const chunk = this.arena.chunkOf(entry)
    const own = this.arena.keyBegin(entry)
    const limit = Math.min(this.prefixes[node]!, end - begin)
    let shared = 0
    while (shared < limit && chunk[own + shared] === key[begin + shared]) shared++
    this.setPrefix(node, shared)
  }

  setPrefix(node: number, prefix: number): void {
    const { arena, entries, heads } = this
    this.prefixes[node] = prefix
    const base = node * FANOUT
    for (let i = base; i < base + this.counts[node]!; i++) {
      const entry = entries[i]!
      const begin = arena.keyBegin(entry)
      heads[i] = headOf(arena.chunkOf(entry), begin + prefix, arena.keyEnd(entry))
    }
    const first = entries[base]!
    const begin = arena.keyBegin(first)
    const stem = begin + Math.max(0, prefix - HEAD_BYTES)
    this.stems[node] = headOf(arena.chunkOf(first), stem, begin + prefix)
  }

  /** Makes room at a slot and puts an entry there; its head is right once the prefix is. */
  insert(node: number, slot: number, entry: number): void {
    const { arena, heads, entries } = this
    const at = node * FANOUT + slot
    for (let i = node * FANOUT + this.counts[node]!; i > at; i--) {
      heads[i] = heads[i - 1]!
      entries[i] = entries[i - 1]!
    }
    const begin = arena.keyBegin(entry) + this.prefixes[node]!
    heads[at] = headOf(arena.chunkOf(entry), begin, arena.keyEnd(entry))
    entries[at] = entry
    this.counts[node]!++
  }

  /** Moves the slots from `slot` on to an empty node. */
  moveTail(node: number, slot: number, to: number): void {
    const begin = node * FANOUT + slot
    const end = node * FANOUT + this.counts[node]!
    this.entries.copyWithin(to * FANOUT, begin, end)
    this.heads.copyWithin(to * FANOUT, begin, end)
    this.counts[to] = end - begin
    this.counts[node] = slot
  }
}

class Leaves extends Nodes {
  next: Uint32Array = new Uint32Array(1)
  previous: Uint32Array = new Uint32Array(1)

  override grow(): void {
    super.grow()
    this.next = grown(this.next)
    this.previous = grown(this.previous)
  }
}

/** Child i holds the keys before separator i, the last child the rest. */
class Inner extends Nodes {
  children: Uint32Array = new Uint32Array(FANOUT)

  override get bytes(): number {
    return super.bytes + this.length * FANOUT * 4
  }

  override grow(): void {
    super.grow()
    this.children = grown(this.children)
  }

  insertChild(node: number, slot: number, separator: number, child: number): void {
    const { children } = this
    this.insert(node, slot, separator)
    const at = node * FANOUT + slot + 1
    for (let i = node * FANOUT + this.counts[node]!; i > at; i--) children[i] = children[i - 1]!
    children[at] = child
  }
}

/** A place in the tree is leaf * FANOUT + slot; NOWHERE is before the first and behind the last. */
export const NOWHERE = -1

export class BTree {
  readonly #arena: Arena
  readonly #leaves: Leaves
  readonly #inner: Inner
  #root = 0
  /** Levels of inner nodes above the leaves. */
  #height = 0
  #lastLeaf = 0
  /** The way from the root to the leaf of the last `locate`. */
  readonly #path = new Uint32Array(HEIGHT_MAX)
  readonly #slots = new Uint8Array(HEIGHT_MAX)
  /** Grows with every new key; a place is good as long as it stays. */
  changes = 0
  length = 0
  /** What `#warm` has read: nobody needs it, but so it is read. */
  touched = 0

  constructor(arena: Arena) {
    this.#arena = arena
    this.#leaves = new Leaves(arena)
    this.#inner = new Inner(arena)
    this.#leaves.allocate()
  }

  get bytes(): number {
    return this.#leaves.bytes + this.#leaves.length * 8 + this.#inner.bytes
  }

  /** The newest version of the key, or 0. */
  find(key: Uint8Array, begin: number, end: number): number {
    // Prefixes are taken for equal: if they are not, the tree has no such key, and the comparison
    // of the whole key finds out.
    const { children } = this.#inner
    let node = this.#root
    for (let level = this.#height; level > 0; level--) {
      const slot = this.#inner.search(node, key, begin, end)
      node = children[node * FANOUT + (slot < 0 ? ~slot : slot + 1)]!
    }
    const slot = this.#leaves.search(node, key, begin, end)
    if (slot < 0) return 0
    const entry = this.#leaves.entries[node * FANOUT + slot]!
    const arena = this.#arena
    const chunk = arena.chunkOf(entry)
    const own = arena.keyBegin(entry)
    const prefix = this.#leaves.prefixes[node]!
    return compareRanges(chunk, own, own + prefix, key, begin, begin + prefix) === 0 ? entry : 0
  }

  /** The entry at a place. */
  entryAt(place: number): number {
    return this.#leaves.entries[place]!
  }

  first(): number {
    return this.length === 0 ? NOWHERE : 0
  }

  last(): number {
    if (this.length === 0) return NOWHERE
    return this.#lastLeaf * FANOUT + this.#leaves.counts[this.#lastLeaf]! - 1
  }

  after(place: number): number {
    const leaf = (place / FANOUT) | 0
    if (place + 1 < leaf * FANOUT + this.#leaves.counts[leaf]!) return place + 1
    if (leaf === this.#lastLeaf) return NOWHERE
    const next = this.#leaves.next[leaf]!
    this.#warm(next)
    return next * FANOUT
  }

  before(place: number): number {
    const leaf = (place / FANOUT) | 0
    if (place > leaf * FANOUT) return place - 1
    if (leaf === 0) return NOWHERE
    const previous = this.#leaves.previous[leaf]!
    this.#warm(previous)
    return previous * FANOUT + this.#leaves.counts[previous]! - 1
  }

  /**
   * Touches the entries of a leaf that a walk enters. They lie all over the arena: the processor
   * fetches them side by side then, not one after the other. A scan takes half the time.
   */
  #warm(leaf: number): void {
    const { entries, counts, arena } = this.#leaves
    const begin = leaf * FANOUT
    let touched = 0
    for (let i = begin; i < begin + counts[leaf]!; i++) touched ^= arena.touch(entries[i]!)
    this.touched = touched
  }

  /** The place of the first key that is not before `key`. */
  seek(key: Uint8Array, begin: number, end: number): number {
    if (this.length === 0) return NOWHERE
    const inner = this.#inner
    const leaves = this.#leaves
    let node = this.#root
    let known = 0
    for (let level = this.#height; level > 0; level--) {
      const order = inner.compareToPrefix(node, key, begin, end, known)
      let slot = order < 0 ? 0 : inner.counts[node]!
      if (order === 0) {
        const found = inner.search(node, key, begin, end)
        slot = found < 0 ? ~found : found + 1
        known = Math.max(known, inner.prefixes[node]!)
      }
      node = inner.children[node * FANOUT + slot]!
    }
    const order = leaves.compareToPrefix(node, key, begin, end, known)
    let slot = order < 0 ? 0 : leaves.counts[node]!
    if (order === 0) {
      const found = leaves.search(node, key, begin, end)
      slot = found < 0 ? ~found : found
    }
    if (slot < leaves.counts[node]!) return node * FANOUT + slot
    return node === this.#lastLeaf ? NOWHERE : leaves.next[node]! * FANOUT
  }

  /**
   * The newest version of the key, or 0: then `insertLocated` may put the key in. Nodes on the way
   * are made to hold it.
   */
  locate(key: Uint8Array, begin: number, end: number): number {
    const inner = this.#inner
    let node = this.#root
    let known = 0
    for (let level = this.#height; level > 0; level--) {
      known = this.#admit(inner, node, key, begin, end, known)
      const found = inner.search(node, key, begin, end)
      const slot = found < 0 ? ~found : found + 1
      this.#path[level] = node
      this.#slots[level] = slot
      node = inner.children[node * FANOUT + slot]!
    }
    if (this.length > 0) this.#admit(this.#leaves, node, key, begin, end, known)
    const found = this.#leaves.search(node, key, begin, end)
    const slot = found < 0 ? ~found : found
    this.#path[0] = node
    this.#slots[0] = slot
    return found < 0 ? 0 : this.#leaves.entries[node * FANOUT + slot]!
  }

  #admit(
    nodes: Nodes,
    node: number,
    key: Uint8Array,
    begin: number,
    end: number,
    known: number,
  ): number {
    const order = nodes.compareToPrefix(node, key, begin, end, known)
    if (order !== 0) nodes.admit(node, key, begin, end)
    return Math.max(known, nodes.prefixes[node]!)
  }

  /** Makes `entry` the newest version of the key that `locate` found. */
  replaceLocated(entry: number): void {
    this.#leaves.entries[this.#path[0]! * FANOUT + this.#slots[0]!] = entry
  }

  /** Puts a new key where `locate` did not find it. */
  insertLocated(entry: number): void {
    const leaves = this.#leaves
    const leaf = this.#path[0]!
    const slot = this.#slots[0]!
    this.changes++
    if (this.length++ === 0) {
      leaves.insert(leaf, 0, entry)
      leaves.setPrefix(leaf, this.#arena.keyEnd(entry) - this.#arena.keyBegin(entry))
    } else if (leaves.counts[leaf]! < FANOUT) {
      leaves.insert(leaf, slot, entry)
    } else {
      this.#splitLeaf(leaf, slot, entry)
    }
  }

  #splitLeaf(leaf: number, slot: number, entry: number): void {
    const leaves = this.#leaves
    const right = leaves.allocate()
    const next = leaves.next[leaf]!
    leaves.next[leaf] = right
    leaves.previous[right] = leaf
    if (leaf === this.#lastLeaf) {
      this.#lastLeaf = right
    } else {
      leaves.next[right] = next
      leaves.previous[next] = right
    }
    const atEnd = slot === FANOUT && right === this.#lastLeaf
    const middle = atEnd ? FANOUT : FANOUT / 2
    leaves.moveTail(leaf, middle, right)
    if (slot >= middle && (atEnd || slot > middle)) leaves.insert(right, slot - middle, entry)
    else leaves.insert(leaf, slot, entry)
    this.#tighten(leaves, leaf)
    this.#tighten(leaves, right)
    this.#insertChild(1, leaves.entries[right * FANOUT]!, right)
  }

  /** Gives a leaf the longest prefix that its keys allow. */
  #tighten(leaves: Leaves, leaf: number): void {
    const first = leaves.entries[leaf * FANOUT]!
    const last = leaves.entries[leaf * FANOUT + leaves.counts[leaf]! - 1]!
    leaves.setPrefix(leaf, this.#commonPrefix(first, last))
  }

  #commonPrefix(a: number, b: number): number {
    const arena = this.#arena
    const [aChunk, bChunk] = [arena.chunkOf(a), arena.chunkOf(b)]
    const [aBegin, bBegin] = [arena.keyBegin(a), arena.keyBegin(b)]
    const limit = Math.min(arena.keyEnd(a) - aBegin, arena.keyEnd(b) - bBegin)
    let shared = 0
    while (shared < limit && aChunk[aBegin + shared] === bChunk[bBegin + shared]) shared++
    return shared
  }

  /** Puts a node that was split off into its parent at `level` of the path. */
  #insertChild(level: number, separator: number, child: number): void {
    const inner = this.#inner
    if (level > this.#height) {
      const root = inner.allocate()
      inner.children[root * FANOUT] = this.#root
      inner.insertChild(root, 0, separator, child)
      this.#root = root
      this.#height = level
      this.#tightenInner(root, level)
      return
    }
    const node = this.#path[level]!
    const slot = this.#slots[level]!
    if (inner.counts[node]! < FANOUT - 1) {
      inner.insertChild(node, slot, separator, child)
      return
    }
    // The separator in the middle goes up; what lies behind it, to a new node.
    const atEnd = slot === FANOUT - 1
    const middle = atEnd ? FANOUT - 2 : FANOUT / 2
    const right = inner.allocate()
    const raised = inner.entries[node * FANOUT + middle]!
    const from = node * FANOUT + middle + 1
    inner.children.copyWithin(right * FANOUT, from, (node + 1) * FANOUT)
    inner.moveTail(node, middle + 1, right)
    inner.counts[node] = middle
    if (slot > middle) inner.insertChild(right, slot - middle - 1, separator, child)
    else inner.insertChild(node, slot, separator, child)
    this.#tightenInner(node, level)
    this.#tightenInner(right, level)
    this.#insertChild(level + 1, raised, right)
  }

  /** As `tighten`, over the first and the last key below the node. */
  #tightenInner(node: number, level: number): void {
    const inner = this.#inner
    const leaves = this.#leaves
    let first = node
    let last = node
    for (let i = level; i > 0; i--) {
      first = inner.children[first * FANOUT]!
      last = inner.children[last * FANOUT + inner.counts[last]!]!
    }
    const lastSlot = last * FANOUT + leaves.counts[last]! - 1
    const prefix = this.#commonPrefix(leaves.entries[first * FANOUT]!, leaves.entries[lastSlot]!)
    inner.setPrefix(node, prefix)
  }
}
