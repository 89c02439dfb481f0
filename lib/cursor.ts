/** Cursors: explicit, double-ended positions in a range. */

import { BACK, FRONT, ROW_ENTRY, type ScanEnd, type ScanEngine } from './engine.ts'
import { ShaleError } from './errors.ts'
import { copyKey, scanRange } from './keys.ts'
import { checkSignal } from './read-options.ts'
import { rejected, uncloneable, wrongReceiver } from './receiver.ts'
import type { RowBatch } from './row-batch.ts'
import { MAX_ROWS, pairOf, rowWords, type Pair, type RangeSpec } from './rows.ts'
import { Turn } from './turn.ts'
import type { KeyInput } from './types.ts'

const FIRST_FILL = 1024
const LAST_FILL = 64 * 1024

const TOKEN = Symbol('cursor')

/** For EntryRange only. */
export let makeCursor: (spec: RangeSpec) => Cursor

/**
 * One position at each end of a range, over one state; the two ends never hand out the same entry
 * twice.
 *
 * A call while another is pending is ITERATOR_BUSY; after close() it is ITERATOR_CLOSED. Dropped
 * cursors are closed when they are collected.
 */
export class Cursor {
  #scan: ScanEngine | undefined
  readonly #spec: RangeSpec
  readonly #front: End
  readonly #back: End
  readonly #turn = new Turn()
  #left: number
  #closed = false
  #busy = false
  /** Past an end of the range, or the ends have met. */
  #finished = false

  private constructor(token: symbol, spec: RangeSpec) {
    if (token !== TOKEN) {
      throw new ShaleError('INVALID_ARGUMENT', 'a Cursor is made by range.cursor()')
    }
    uncloneable(this)
    const { source, bounds, options } = spec
    this.#spec = spec
    this.#front = new End(options.reverse ? BACK : FRONT, options.batchSize)
    this.#back = new End(options.reverse ? FRONT : BACK, options.batchSize)
    this.#left = options.limit
    const seqno = source.seqno()
    if (bounds.empty || options.limit === 0) this.#finished = true
    else this.#scan = source.reads.scan(scanRange(bounds, seqno))
  }

  static {
    makeCursor = (spec) => new Cursor(TOKEN, spec)
  }

  /** The next entry from the front, or undefined at the end. */
  next(): Promise<Pair | undefined> {
    if (!(#scan in Object(this))) return rejected(wrongReceiver('Cursor', 'next'))
    return this.#step(this.#front, this.#back)
  }

  nextSync(): Pair | undefined {
    if (!(#scan in Object(this))) throw wrongReceiver('Cursor', 'nextSync')
    return this.#stepSync(this.#front, this.#back)
  }

  /** The next entry from the back, or undefined at the end. */
  nextBack(): Promise<Pair | undefined> {
    if (!(#scan in Object(this))) return rejected(wrongReceiver('Cursor', 'nextBack'))
    return this.#step(this.#back, this.#front)
  }

  nextBackSync(): Pair | undefined {
    if (!(#scan in Object(this))) throw wrongReceiver('Cursor', 'nextBackSync')
    return this.#stepSync(this.#back, this.#front)
  }

  /**
   * Moves the front to the first entry at or after `key` inside the range (of a reversed range: at
   * or before); from there on entries count as new. Outside the range, or past the back end, the
   * cursor is finished. Reads nothing.
   */
  seek(key: KeyInput): void {
    if (!(#scan in Object(this))) throw wrongReceiver('Cursor', 'seek')
    this.#check()
    const target = copyKey(key)
    if (this.#scan === undefined) return
    const { lower, upper } = this.#spec.bounds
    const outside =
      (lower !== undefined && Buffer.compare(target, lower) < 0) ||
      (upper !== undefined && Buffer.compare(target, upper) >= 0)
    this.#finished = outside || this.#met(target, this.#front.side, this.#back)
    this.#front.restart(target)
    if (!this.#finished) this.#scan.seek(this.#front.side, target)
  }

  /** Gives the pinned state back; a second time does nothing. */
  close(): void {
    if (!(#scan in Object(this))) throw wrongReceiver('Cursor', 'close')
    this.#closed = true
    if (!this.#busy) this.#release()
  }

  [Symbol.dispose](): void {
    Cursor.prototype.close.call(this)
  }

  #check(): void {
    this.#checkOpen()
    if (this.#busy) throw new ShaleError('ITERATOR_BUSY', 'a call on this cursor is pending')
  }

  #checkOpen(): void {
    if (this.#closed) throw new ShaleError('ITERATOR_CLOSED', 'the cursor is closed')
    this.#spec.source.check()
  }

  #release(): void {
    this.#scan?.close()
    this.#scan = undefined
    this.#front.restart()
    this.#back.restart()
  }

  #stepSync(end: End, other: End): Pair | undefined {
    this.#check()
    if (this.#atEnd()) return undefined
    if (!end.hasRow) end.filled((this.#scan as ScanEngine).fillSync(...this.#request(end)))
    return this.#take(end, other)
  }

  #step(end: End, other: End): Promise<Pair | undefined> {
    try {
      this.#check()
      if (this.#atEnd()) return Promise.resolve(undefined)
      if (!end.hasRow) {
        const scan = this.#scan as ScanEngine
        if (this.#turn.isOver) return this.#wait(scan, end, other)
        const batch = scan.fillFromMemory(...this.#request(end))
        if (batch === null) return this.#wait(scan, end, other)
        end.filled(batch)
      }
      return Promise.resolve(this.#take(end, other))
    } catch (error) {
      return rejected(error)
    }
  }

  async #wait(scan: ScanEngine, end: End, other: End): Promise<Pair | undefined> {
    this.#busy = true
    try {
      if (this.#turn.isOver) {
        await this.#turn.pass()
        this.#checkOpen()
      }
      end.filled(await scan.fill(...this.#request(end)))
    } finally {
      this.#busy = false
      if (this.#closed) this.#release()
    }
    if (this.#closed) throw new ShaleError('ITERATOR_CLOSED', 'the cursor is closed')
    checkSignal(this.#spec.source.signal)
    return this.#take(end, other)
  }

  #atEnd(): boolean {
    return this.#finished || this.#left <= 0 || this.#scan === undefined
  }

  #request(end: End): [ScanEnd, typeof ROW_ENTRY, number, number] {
    return [end.side, ROW_ENTRY, end.fillBytes, Math.min(this.#left, MAX_ROWS)]
  }

  #take(end: End, other: End): Pair | undefined {
    const pair = end.peek()
    if (pair === undefined || this.#met(pair[0], end.side, other)) {
      this.#finished = true
      return undefined
    }
    end.advance(pair[0])
    this.#left--
    return pair
  }

  /** Whether `key`, coming from `side`, lies behind the other end. */
  #met(key: Uint8Array, side: ScanEnd, { last, from }: End): boolean {
    const place = last ?? from
    if (place === undefined) return false
    const beyond = Buffer.compare(key, place) * (side === FRONT ? 1 : -1)
    return last === undefined ? beyond > 0 : beyond >= 0
  }
}

/** One end: its current batch, its row in it, and the last key it handed out. */
class End {
  readonly side: ScanEnd
  /** Bytes to ask for next: as told, or more every time. */
  fillBytes: number
  readonly #batchSize: number | undefined
  last: Buffer | undefined
  /** Where a seek put it, while it handed out nothing since: its first entry is there or later. */
  from: Uint8Array | undefined
  #batch: RowBatch | undefined
  #row = 0
  #end = 0

  constructor(side: ScanEnd, batchSize: number | undefined) {
    this.side = side
    this.#batchSize = batchSize
    this.fillBytes = batchSize ?? FIRST_FILL
  }

  get hasRow(): boolean {
    return this.#row < this.#end
  }

  filled(batch: RowBatch | undefined): void {
    this.#batch = batch
    this.#row = 0
    this.#end = batch === undefined ? 0 : batch.end >>> 2
    this.fillBytes = this.#batchSize ?? Math.min(LAST_FILL, this.fillBytes * 2)
  }

  peek(): Pair | undefined {
    return this.hasRow ? pairOf(this.#batch as RowBatch, this.#row) : undefined
  }

  advance(key: Buffer): void {
    const words = (this.#batch as RowBatch).words
    const row = this.#row
    this.#row = row + rowWords(ROW_ENTRY, words[row] as number, words[row + 1] as number)
    this.last = key
  }

  restart(from?: Uint8Array): void {
    this.filled(undefined)
    this.fillBytes = this.#batchSize ?? FIRST_FILL
    this.last = undefined
    this.from = from
  }
}
