/**
 * Blocks and values of blob files in memory, bounded by bytes, shared by all trees of a database.
 *
 * Eviction is S3-FIFO: new entries enter a small probationary queue (a tenth) and move to the main
 * queue only if they were used again, so that a scan passes through without washing out what is
 * hot. What falls out of probation is remembered without its value (a ghost) and enters the main
 * queue when it comes back. A hit only counts in its entry; nothing is moved.
 * Source: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.
 *
 * Whoever reads a file holds its part of the cache, so that a lookup is one look into a map by
 * offset. An evicted value lives on as long as someone holds it.
 */

/** Of the capacity, what newcomers may take while others are used again. */
const PROBATION_SHARE = 0.1
/** Uses that are counted; a main entry gets as many rounds more. */
const USES_MAX = 3
/** Uses in probation that lead to the main queue. One is the repeat after a miss. */
const USES_TO_STAY = 2

/** Undefined values are ghosts. Entries of a queue form a ring with the queue as its head. */
class Entry {
  readonly file: CachedFile<unknown> | undefined
  readonly offset: number
  value: unknown
  readonly charge: number
  queue: Queue | undefined
  uses = 0
  newer: Entry = this
  older: Entry = this

  constructor(
    file: CachedFile<unknown> | undefined,
    offset: number,
    value: unknown,
    charge: number,
  ) {
    this.file = file
    this.offset = offset
    this.value = value
    this.charge = charge
  }
}

class Queue {
  /** Its `older` is the newest entry, its `newer` the oldest. */
  readonly #head = new Entry(undefined, 0, undefined, 0)
  /** Charges of all entries. */
  size = 0

  get oldest(): Entry | undefined {
    return this.#head.newer === this.#head ? undefined : this.#head.newer
  }

  push(entry: Entry): void {
    const head = this.#head
    entry.newer = head
    entry.older = head.older
    head.older.newer = entry
    head.older = entry
    entry.queue = this
    this.size += entry.charge
  }

  remove(entry: Entry): void {
    entry.newer.older = entry.older
    entry.older.newer = entry.newer
    entry.queue = undefined
    this.size -= entry.charge
  }
}

export interface CacheStats {
  readonly capacity: number
  readonly size: number
  readonly hits: number
  readonly misses: number
}

export class Cache {
  readonly capacity: number
  hits = 0
  misses = 0
  readonly #probation = new Queue()
  readonly #main = new Queue()
  readonly #ghosts = new Queue()

  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** Bytes of all values. */
  get size(): number {
    return this.#probation.size + this.#main.size
  }

  /** The part of the cache for one file; to be cleared when the file is closed for good. */
  file<V>(): CachedFile<V> {
    return new CachedFile<V>(this)
  }

  stats(): CacheStats {
    const { capacity, size, hits, misses } = this
    return { capacity, size, hits, misses }
  }

  /** `entry` is new; `wasGhost`: it fell out of probation before. */
  admit(entry: Entry, wasGhost: boolean): void {
    ;(wasGhost ? this.#main : this.#probation).push(entry)
    while (this.size > this.capacity) this.#evictOne()
  }

  forget(entry: Entry): void {
    entry.queue?.remove(entry)
  }

  #evictOne(): void {
    const newcomer = this.#probation.oldest
    const resident = this.#main.oldest
    const crowded = this.#probation.size > this.capacity * PROBATION_SHARE
    if (newcomer !== undefined && (crowded || resident === undefined)) {
      this.#leaveProbation(newcomer)
    } else if (resident !== undefined) {
      this.#leaveMain(resident)
    }
  }

  #leaveProbation(entry: Entry): void {
    this.#probation.remove(entry)
    if (entry.uses >= USES_TO_STAY) {
      entry.uses = 0
      this.#main.push(entry)
      return
    }
    entry.value = undefined
    this.#ghosts.push(entry)
    for (let gone = this.#ghosts.oldest; gone && this.#ghosts.size > this.capacity;) {
      this.#ghosts.remove(gone)
      gone.file?.drop(gone)
      gone = this.#ghosts.oldest
    }
  }

  #leaveMain(entry: Entry): void {
    this.#main.remove(entry)
    if (entry.uses > 0) {
      entry.uses--
      this.#main.push(entry)
    } else {
      entry.file?.drop(entry)
    }
  }
}

/** What of one file is in the cache, by offset. */
export class CachedFile<V> {
  readonly #cache: Cache
  readonly #entries = new Map<number, Entry>()

  constructor(cache: Cache) {
    this.#cache = cache
  }

  get(offset: number): V | undefined {
    const entry = this.#entries.get(offset)
    if (entry === undefined || entry.value === undefined) {
      this.#cache.misses++
      return undefined
    }
    if (entry.uses < USES_MAX) entry.uses++
    this.#cache.hits++
    return entry.value as V
  }

  /** The same for those whose looks are none of the application's: nothing is counted. */
  peek(offset: number): V | undefined {
    return this.#entries.get(offset)?.value as V | undefined
  }

  /** Keeps `value` unless it is larger than the cache. What was there before goes. */
  put(offset: number, value: V, charge: number): void {
    const before = this.#entries.get(offset)
    if (before !== undefined) {
      this.#cache.forget(before)
      this.#entries.delete(offset)
    }
    if (charge > this.#cache.capacity) return
    const entry = new Entry(this, offset, value, charge)
    this.#entries.set(offset, entry)
    this.#cache.admit(entry, before !== undefined && before.value === undefined)
  }

  /** The cache let go of `entry`. */
  drop(entry: Entry): void {
    this.#entries.delete(entry.offset)
  }

  /** Everything of this file goes. */
  clear(): void {
    for (const entry of this.#entries.values()) this.#cache.forget(entry)
    this.#entries.clear()
  }
}
