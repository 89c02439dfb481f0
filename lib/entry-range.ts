/** Ranges: lazy, snapshot-stable iteration over entries, keys or values, from either end. */

import { BufferView } from './buffer-view.ts'
import { makeCursor, type Cursor } from './cursor.ts'
import {
  BACK,
  FRONT,
  ROW_ENTRY,
  ROW_KEY,
  ROW_VALUE,
  type RowContent,
  type ScanEnd,
  type ScanEngine,
} from './engine.ts'
import { kindOf, ShaleError } from './errors.ts'
import { scanRange } from './keys.ts'
import { checkSignal } from './read-options.ts'
import { rejected, uncloneable, wrongReceiver } from './receiver.ts'
import type { RowBatch } from './row-batch.ts'
import {
  keyOf,
  lifeOf,
  MAX_ROWS,
  pairOf,
  rowWords,
  valueOf,
  type Closable,
  type Pair,
  type RangeSource,
  type RangeSpec,
} from './rows.ts'
import { Turn } from './turn.ts'

/**
 * An entry whose value is fetched only when asked for. With separated values it pins what its
 * iteration reads, until it is collected or the database is closed.
 */
export interface Entry {
  readonly key: Buffer
  /** Bytes of the value. */
  readonly size: number
  value(): Promise<Buffer>
  valueSync(): Buffer
}

/** Bytes of the first fill; later ones grow fourfold up to LAST_FILL: short ranges stay cheap. */
const FIRST_FILL = 4 * 1024
const LAST_FILL = 64 * 1024
type Sides<T> = Iterable<T> & AsyncIterable<T>
/** What an iteration makes of rows. */
interface Form<T> {
  readonly content: RowContent
  /** Of the row whose words begin at `word`; with what fetches values, where items fetch theirs. */
  readonly item: (batch: RowBatch, word: number, values: LateValues | undefined) => T
  readonly fetchesLater?: boolean
}

const PAIRS: Form<Pair> = { content: ROW_ENTRY, item: pairOf }
const KEYS: Form<Buffer> = { content: ROW_KEY, item: keyOf }
const VALUES: Form<Buffer> = { content: ROW_VALUE, item: valueOf }
const ENTRIES: Form<Entry> = { content: ROW_ENTRY, item: entryOf }
const LATE_ENTRIES: Form<Entry> = { content: ROW_KEY, item: lateEntryOf, fetchesLater: true }

const TOKEN = Symbol('range')

/** For Keyspace and Tree only. */
export let makeEntryRange: (spec: RangeSpec) => EntryRange

/**
 * A range of a keyspace or tree. Nothing is read before it is iterated; each iteration starts anew
 * and reads one state from its beginning to its end, whatever is written meanwhile.
 *
 * ```ts
 * for (const [key, value] of keyspace.range({ gte: 'a', lt: 'b' })) { ... }   // waits for the disk
 * for await (const [key, value] of keyspace.prefix('user:')) { ... }          // never blocks
 * ```
 *
 * An iteration that is left early (`break`, a throw) is closed; one that is dropped is closed when
 * collected.
 * Cost: O(log n) to begin, then one crossing per batch of up to 64 KiB.
 */
export class EntryRange implements Iterable<Pair>, AsyncIterable<Pair> {
  readonly #spec: RangeSpec

  private constructor(token: symbol, spec: RangeSpec) {
    if (token !== TOKEN) {
      throw new ShaleError(
        'INVALID_ARGUMENT',
        'an EntryRange is made by iter(), range() or prefix()',
      )
    }
    this.#spec = spec
    uncloneable(this)
  }

  static {
    makeEntryRange = (spec) => new EntryRange(TOKEN, spec)
  }

  [Symbol.iterator](): Iterator<Pair> {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'iterator')
    return new RowIterator(this.#spec, PAIRS)
  }

  [Symbol.asyncIterator](): AsyncIterator<Pair> {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'asyncIterator')
    return new AsyncRowIterator(this.#spec, PAIRS)
  }

  /** The keys alone; reads no value. */
  keys(): Sides<Buffer> {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'keys')
    return new Side(this.#spec, KEYS)
  }

  /** The values alone. */
  values(): Sides<Buffer> {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'values')
    return new Side(this.#spec, VALUES)
  }

  /** Key and size of each entry, the value on demand. */
  entries(): Sides<Entry> {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'entries')
    const { reads } = this.#spec.source
    const isSeparated = reads.settings().kvSeparation !== undefined
    return new Side(this.#spec, isSeparated ? LATE_ENTRIES : ENTRIES)
  }

  /** The same entries from the other end; a limit counts from there. */
  rev(): EntryRange {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'rev')
    const { source, bounds, options } = this.#spec
    return makeEntryRange({ source, bounds, options: { ...options, reverse: !options.reverse } })
  }

  /**
   * Calls `visit` with views that are valid only during the call; `false` stops. Returns the number
   * of entries visited. Writes and close inside the visitor are allowed: the scan goes on over its
   * state.
   */
  forEachSync(visit: (key: Buffer, value: Buffer) => boolean | void): number {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'forEachSync')
    checkVisitor(visit)
    return visitRows(this.#spec, ({ memory, offset, words }, row) => {
      const keyLength = words[row] as number
      const start = offset + row * 4 + 8
      return visit(
        new BufferView(memory, start, keyLength),
        new BufferView(memory, start + keyLength, words[row + 1] as number),
      )
    })
  }

  /**
   * The same without any view: offsets and lengths into `bytes`, valid during the call. The fastest
   * scan.
   */
  forEachRawSync(
    visit: (
      bytes: Buffer,
      keyOffset: number,
      keyLength: number,
      valueOffset: number,
      valueLength: number,
    ) => boolean | void,
  ): number {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'forEachRawSync')
    checkVisitor(visit)
    return visitRows(this.#spec, ({ bytes, words }, row) => {
      const keyLength = words[row] as number
      const key = row * 4 + 8
      return visit(bytes, key, keyLength, key + keyLength, words[row + 1] as number)
    })
  }

  /** A position at each end of this range, over one state. */
  cursor(): Cursor {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'cursor')
    return makeCursor(this.#spec)
  }

  toArraySync(): Pair[] {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'toArraySync')
    return Array.from(this)
  }

  async toArray(): Promise<Pair[]> {
    if (!(#spec in Object(this))) throw wrongReceiver('EntryRange', 'toArray')
    const all: Pair[] = []
    for await (const pair of this) all.push(pair)
    return all
  }
}

function checkVisitor(visit: unknown): void {
  if (typeof visit !== 'function') {
    throw new ShaleError('INVALID_ARGUMENT', `visit must be a function, not ${kindOf(visit)}`)
  }
}

/** One pass over a range: its scan, its limit, its growing fills. */
class Scan {
  readonly content: RowContent
  readonly values: LateValues | undefined
  #engine: ScanEngine | undefined
  readonly #end: ScanEnd
  #left: number
  #fillBytes: number
  readonly #adaptive: boolean
  readonly #source: RangeSource

  constructor(spec: RangeSpec, { content, fetchesLater }: Form<unknown>, isVisited = false) {
    const { source, bounds, options } = spec
    this.content = content
    this.#source = source
    this.#end = options.reverse ? BACK : FRONT
    this.#left = options.limit
    this.#adaptive = options.batchSize === undefined
    this.#fillBytes = options.batchSize ?? FIRST_FILL
    const seqno = source.seqno()
    if (!bounds.empty && this.#left > 0) {
      this.#engine = source.reads.scan(scanRange(bounds, seqno, isVisited))
      if (fetchesLater === true) this.values = new LateValues(this.#engine, source)
    }
  }

  fillSync(): RowBatch | undefined {
    if (this.#engine === undefined) return undefined
    return this.#took(
      this.#guard((engine) => {
        this.#source.check()
        return engine.fillSync(...this.#request())
      }),
    )
  }

  /**
   * For visitors: goes on over its state whatever was closed meanwhile, and uses the last batch's
   * memory.
   */
  fillOver(last: RowBatch | undefined): RowBatch | undefined {
    if (this.#engine === undefined) return undefined
    return this.#took(this.#guard((engine) => engine.fillSync(...this.#request(), last)))
  }

  /** undefined at the end, null if it takes I/O. */
  fillFromMemory(): RowBatch | undefined | null {
    if (this.#engine === undefined) return undefined
    const batch = this.#guard((engine) => {
      this.#source.check()
      return engine.fillFromMemory(...this.#request())
    })
    return batch === null ? null : this.#took(batch)
  }

  async fill(): Promise<RowBatch | undefined> {
    if (this.#engine === undefined) return undefined
    try {
      return this.#took(await this.#engine.fill(...this.#request()))
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** Items that fetch their values keep the engine's scan: it is closed when they are collected. */
  close(): void {
    if (this.values?.isShared !== true) this.#engine?.close()
    this.#engine = undefined
  }

  #request(): [ScanEnd, RowContent, number, number] {
    return [this.#end, this.content, this.#fillBytes, Math.min(this.#left, MAX_ROWS)]
  }

  #guard<T>(fill: (engine: ScanEngine) => T): T {
    try {
      return fill(this.#engine as ScanEngine)
    } catch (error) {
      this.close()
      throw error
    }
  }

  #took(batch: RowBatch | undefined): RowBatch | undefined {
    if (batch === undefined) {
      this.close()
      return undefined
    }
    if (this.values !== undefined) this.values.isShared = true
    this.#left -= batch.count
    if (this.#left <= 0) this.close()
    else if (this.#adaptive && this.#fillBytes < LAST_FILL) this.#fillBytes *= 4
    return batch
  }
}

/** Fetches values of rows, also when the pass is over. */
class LateValues {
  /** Whether there are items that may ask. */
  isShared = false
  readonly #engine: ScanEngine
  readonly #source: RangeSource

  constructor(engine: ScanEngine, source: RangeSource) {
    this.#engine = engine
    this.#source = source
  }

  async get(key: Buffer): Promise<Buffer> {
    this.#source.check()
    return found(await this.#engine.value(key))
  }

  getSync(key: Buffer): Buffer {
    this.#source.check()
    return found(this.#engine.valueSync(key))
  }
}

/** Only what a read at MAX_SEQNO saw may be gone. */
function found(value: Buffer | undefined): Buffer {
  if (value !== undefined) return value
  throw new ShaleError('INVALID_ARGUMENT', 'the entry was removed since it was read at MAX_SEQNO')
}

function visitRows(
  spec: RangeSpec,
  visit: (batch: RowBatch, row: number) => boolean | void,
): number {
  const scan = new Scan(spec, PAIRS, true)
  const { signal } = spec.source
  let visited = 0
  let batch: RowBatch | undefined
  try {
    while ((batch = scan.fillOver(batch)) !== undefined) {
      const { words } = batch
      const end = batch.end >>> 2
      for (let row = 0; row < end;) {
        const next = row + 2 + (((words[row] as number) + (words[row + 1] as number) + 3) >>> 2)
        visited++
        if (visit(batch, row) === false) return visited
        if (signal !== undefined) checkSignal(signal)
        row = next
      }
    }
    return visited
  } finally {
    scan.close()
  }
}

type Result<T> = IteratorResult<T, undefined>
const DONE = { done: true, value: undefined } as const

class RowIterator<T> implements Iterator<T> {
  readonly #scan: Scan
  readonly #item: Form<T>['item']
  readonly #source: RangeSource
  readonly #life: Closable
  #batch: RowBatch | undefined
  #row = 0
  #end = 0
  #finished = false

  constructor(spec: RangeSpec, form: Form<T>) {
    this.#scan = new Scan(spec, form)
    this.#item = form.item
    this.#source = spec.source
    this.#life = lifeOf(spec.source)
  }

  next(): IteratorResult<T, undefined> {
    if (this.#life.closing) return this.#halt()
    if (this.#row >= this.#end) {
      this.#batch = this.#scan.fillSync()
      if (this.#batch === undefined) return this.return()
      this.#row = 0
      this.#end = this.#batch.end >>> 2
    }
    const batch = this.#batch as RowBatch
    const row = this.#row
    const { words } = batch
    this.#row = row + rowWords(this.#scan.content, words[row] as number, words[row + 1] as number)
    return { done: false, value: this.#item(batch, row, this.#scan.values) }
  }

  return(): IteratorResult<T, undefined> {
    this.#finished = true
    this.#scan.close()
    this.#end = 0
    return DONE
  }

  /** Throws why it ends, unless it had ended before. */
  #halt(): IteratorResult<T, undefined> {
    const before = this.#finished
    this.return()
    if (!before) this.#source.check()
    return DONE
  }

  [Symbol.iterator](): this {
    return this
  }
}

/** Calls may overlap: they are answered in order. */
class AsyncRowIterator<T> implements AsyncIterator<T> {
  readonly #spec: RangeSpec
  readonly #form: Form<T>
  readonly #life: Closable
  readonly #turn = new Turn()
  #scan: Scan | undefined
  #batch: RowBatch | undefined
  #row = 0
  #end = 0
  #finished = false
  #pending: Promise<unknown> | undefined

  constructor(spec: RangeSpec, form: Form<T>) {
    this.#spec = spec
    this.#form = form
    this.#life = lifeOf(spec.source)
  }

  next(): Promise<Result<T>> {
    if (this.#pending !== undefined) return this.#after(() => this.#step())
    try {
      const step = this.#step()
      return step instanceof Promise ? this.#settle(step) : Promise.resolve(step)
    } catch (error) {
      return rejected(error)
    }
  }

  return(): Promise<Result<T>> {
    if (this.#pending !== undefined) return this.#after(() => this.#stop())
    return Promise.resolve(this.#stop())
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** A promise only where it has to wait. */
  #step(): Result<T> | Promise<Result<T>> {
    if (this.#life.closing) return this.#halt()
    if (this.#row < this.#end) return this.#take()
    if (this.#finished) return DONE
    try {
      this.#scan ??= new Scan(this.#spec, this.#form)
      if (this.#turn.isOver) return this.#turn.pass().then(() => this.#fill(this.#scan as Scan))
      return this.#fill(this.#scan)
    } catch (error) {
      this.#finished = true
      throw error
    }
  }

  #fill(scan: Scan): Result<T> | Promise<Result<T>> {
    const batch = scan.fillFromMemory()
    if (batch !== null) return this.#begin(batch)
    return scan.fill().then((filled) => {
      if (this.#spec.source.signal?.aborted === true) return this.#halt()
      return this.#begin(filled)
    })
  }

  /** Throws why it ends, unless it had ended before. */
  #halt(): Result<T> {
    const before = this.#finished
    this.#stop()
    if (!before) this.#spec.source.check()
    return DONE
  }

  #stop(): Result<T> {
    this.#finished = true
    this.#end = 0
    this.#scan?.close()
    return DONE
  }

  #begin(batch: RowBatch | undefined): Result<T> {
    if (batch === undefined) {
      this.#finished = true
      return DONE
    }
    this.#batch = batch
    this.#row = 0
    this.#end = batch.end >>> 2
    return this.#take()
  }

  #take(): Result<T> {
    const batch = this.#batch as RowBatch
    const row = this.#row
    const { words } = batch
    const { content, item } = this.#form
    this.#row = row + rowWords(content, words[row] as number, words[row + 1] as number)
    return { done: false, value: item(batch, row, this.#scan?.values) }
  }

  /** Behind everything that waits; `call` itself does not look at that any more. */
  #after(call: () => Result<T> | Promise<Result<T>>): Promise<Result<T>> {
    return this.#settle((this.#pending as Promise<unknown>).then(call, call))
  }

  #settle(result: Promise<Result<T>>): Promise<Result<T>> {
    const settled = result.finally(() => {
      if (this.#pending === settled) this.#pending = undefined
    })
    settled.catch(() => {
      this.#finished = true
    })
    this.#pending = settled
    return settled
  }
}

class Side<T> implements Iterable<T>, AsyncIterable<T> {
  readonly #spec: RangeSpec
  readonly #form: Form<T>

  constructor(spec: RangeSpec, form: Form<T>) {
    this.#spec = spec
    this.#form = form
  }

  [Symbol.iterator](): Iterator<T> {
    return new RowIterator(this.#spec, this.#form)
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return new AsyncRowIterator(this.#spec, this.#form)
  }
}

function entryOf(batch: RowBatch, row: number): Entry {
  const [key, value] = pairOf(batch, row)
  return {
    key,
    size: value.length,
    value: () => Promise.resolve(value),
    valueSync: () => value,
  }
}

function lateEntryOf(batch: RowBatch, row: number, values: LateValues | undefined): Entry {
  const late = values as LateValues
  const key = keyOf(batch, row)
  // The key that is handed out may be written to.
  const own = Buffer.from(key)
  return {
    key,
    size: batch.words[row + 1] as number,
    value: () => late.get(own),
    valueSync: () => late.getSync(own),
  }
}
