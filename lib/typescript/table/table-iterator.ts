/**
 * Walks over the entries of a table: a place is a data block and an entry in it, found through the
 * index. A move that needs a block that is not in memory changes nothing but `missing`.
 */

import { EntryIterator } from '../base/iterator.ts'
import type { DataBlock } from './data-block.ts'
import type { IndexBlock } from './index-block.ts'
import { BlockEntry } from './sorted-block.ts'
import { BlockRequests } from './table-file.ts'
import type { TableReader } from './table-reader.ts'

/** An entry number that stands for the last one. */
const LAST = -1

const handle = new BlockEntry()

export class TableIterator extends EntryIterator {
  readonly #table: TableReader
  readonly #requests: BlockRequests
  readonly #entry = new BlockEntry()
  /** Keys that are not in one piece in their block. */
  #scratch = new Uint8Array(64)
  /** The index block that describes the data block: a partition, number `part`, or the whole. */
  #index: IndexBlock | undefined
  #part = 0
  #data: DataBlock | undefined
  /** The whole index, or the top of a partitioned one; of this move, and of those before. */
  #found: IndexBlock | undefined
  #top: IndexBlock | undefined
  #block = 0
  #at = 0
  #again: (() => void) | undefined

  constructor(table: TableReader, readAhead: number) {
    super()
    this.#table = table
    this.#requests = new BlockRequests(readAhead)
  }

  override retry(): void {
    this.#requests.askAgain()
    this.#again?.()
  }

  override seekToFirst(): void {
    if (!this.#enter(0, 0, 0)) this.#miss(() => this.seekToFirst())
  }

  override seekToLast(): void {
    if (!this.#enter(LAST, LAST, LAST)) this.#miss(() => this.seekToLast())
  }

  override seek(key: Uint8Array, begin: number, end: number, seqno: number): void {
    const stored = seqno - this.#table.globalSeqno
    if (this.#seek(key, begin, end, stored, false)) return
    this.#miss(() => this.seek(key, begin, end, seqno))
  }

  override seekBefore(key: Uint8Array, begin: number, end: number, seqno: number): void {
    const stored = seqno - this.#table.globalSeqno
    if (this.#seek(key, begin, end, stored, true)) return
    this.#miss(() => this.seekBefore(key, begin, end, seqno))
  }

  override next(): void {
    if (this.#at + 1 < this.#data!.count) this.#show(this.#at + 1)
    else if (!this.#enter(this.#part, this.#block + 1, 0)) this.#miss(() => this.next())
  }

  override previous(): void {
    if (this.#at > 0) this.#show(this.#at - 1)
    else if (!this.#enterBefore(this.#part, this.#block)) this.#miss(() => this.previous())
  }

  #miss(again: () => void): void {
    this.valid = false
    this.missing = this.#requests.missing
    this.#again = again
  }

  #end(): true {
    this.valid = false
    this.#settle()
    return true
  }

  #settle(): void {
    this.#top = this.#found
    this.#requests.settle()
    if (this.#again === undefined) return
    this.missing = undefined
    this.#again = undefined
  }

  /** Undefined: it is missing. */
  #topIndex(): IndexBlock | undefined {
    this.#found = this.#top ?? this.#table.index(this.#requests)
    return this.#found
  }

  /** The index block number `part`; `parts`: how many there are. Undefined: it is missing. */
  #partition(top: IndexBlock, part: number): IndexBlock | undefined {
    if (!this.#table.isIndexPartitioned) return top
    if (part === this.#part && this.#index !== undefined) return this.#index
    top.decode(part, handle)
    return this.#requests.get(this.#table.file, handle.offset, handle.length, 'partition')
  }

  /**
   * Goes to an entry of a block of an index block, or where there is none, to the first one behind;
   * false if something is missing.
   */
  #enter(part: number, block: number, at: number): boolean {
    const top = this.#topIndex()
    if (top === undefined) return false
    if (top.count === 0) return this.#end()
    const parts = this.#table.isIndexPartitioned ? top.count : 1
    let p = part === LAST ? parts - 1 : part
    let index = this.#partition(top, p)
    if (index === undefined) return false
    let b = block === LAST ? index.count - 1 : block
    if (b === index.count) {
      b = 0
      if (++p === parts) return this.#end()
      index = this.#partition(top, p)
      if (index === undefined) return false
    }
    const data = this.#load(index, p, b)
    if (data === undefined) return false
    this.#stand(index, p, data, b, at === LAST ? data.count - 1 : at)
    return true
  }

  /** Goes to the last entry before a block. */
  #enterBefore(part: number, block: number): boolean {
    if (block > 0) return this.#enter(part, block - 1, LAST)
    return part > 0 ? this.#enter(part - 1, LAST, LAST) : this.#end()
  }

  #load(index: IndexBlock, part: number, block: number): DataBlock | undefined {
    if (part === this.#part && block === this.#block && this.#data !== undefined) return this.#data
    index.decode(block, handle)
    return this.#requests.get(this.#table.file, handle.offset, handle.length, 'data')
  }

  /** To the first entry that is not before (key, seqno), or to the one before that. */
  #seek(key: Uint8Array, begin: number, end: number, seqno: number, before: boolean): boolean {
    const top = this.#topIndex()
    if (top === undefined) return false
    const first = top.seek(key, begin, end, seqno)
    if (first === top.count) return before ? this.#enter(LAST, LAST, LAST) : this.#end()
    const part = this.#table.isIndexPartitioned ? first : 0
    const index = this.#partition(top, part)
    if (index === undefined) return false
    const block = this.#table.isIndexPartitioned ? index.seek(key, begin, end, seqno) : first
    if (block === index.count) {
      top.decode(part, handle)
      throw this.#table.endsEarly(handle.offset)
    }
    const data = this.#load(index, part, block)
    if (data === undefined) return false
    const at = data.seek(key, begin, end, seqno)
    if (before) {
      if (at === 0) return this.#enterBefore(part, block)
      this.#stand(index, part, data, block, at - 1)
    } else {
      if (at === data.count) return this.#enter(part, block + 1, 0)
      this.#stand(index, part, data, block, at)
    }
    return true
  }

  #stand(index: IndexBlock, part: number, data: DataBlock, block: number, at: number): void {
    this.#index = index
    this.#part = part
    this.#data = data
    this.#block = block
    this.value = data.bytes
    this.#settle()
    this.#show(at)
  }

  #show(at: number): void {
    const data = this.#data!
    const entry = this.#entry
    this.#at = at
    data.decode(at, entry)
    const { shared, restBegin, restEnd } = entry
    if (shared === 0) {
      this.key = data.bytes
      this.keyBegin = restBegin
      this.keyEnd = restEnd
    } else {
      const length = shared + restEnd - restBegin
      if (length > this.#scratch.length) this.#scratch = new Uint8Array(2 * length)
      data.copyKey(at, entry, this.#scratch)
      this.key = this.#scratch
      this.keyBegin = 0
      this.keyEnd = length
    }
    this.seqno = entry.seqno + this.#table.globalSeqno
    this.kind = entry.kind
    this.valueBegin = entry.valueBegin
    this.valueEnd = entry.valueEnd
    this.valid = true
  }
}
