// Random choices of the differential tests: keys, values and options that are likely to hurt.

import {
  LeveledCompaction,
  SizeTieredCompaction,
  type CompactionStrategy,
  type Compression,
  type DatabaseOptions,
  type Durability,
  type FilterPolicy,
  type KeyRange,
  type KeyspaceOptions,
  type KvSeparationOptions,
  type PerLevel,
} from '../../../lib/index.ts'
import { Random } from '../../typescript/support/random.ts'

export class Draw extends Random {
  /** True once in so many times. */
  oneIn(times: number): boolean {
    return this.below(times) === 0
  }

  /** `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }

  pick<T>(list: readonly [T, ...T[]] | readonly T[]): T {
    return list[this.below(list.length)]!
  }

  /** One of the choices, each as often as its weight says. */
  weighted<T>(choices: readonly (readonly [weight: number, choice: T])[]): T {
    let left = this.below(choices.reduce((sum, [weight]) => sum + weight, 0))
    const found = choices.find(([weight]) => {
      left -= weight
      return left < 0
    })
    return found![1]
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length)
    for (let i = 0; i < length; i++) bytes[i] = this.next()
    return bytes
  }

  /** Few keys, so that they meet: prefixes of each other, smallest and largest bytes, long ones. */
  key(): Buffer {
    const letters = (): number[] =>
      Array.from({ length: this.between(1, 4) }, () => this.pick([0, 97, 98, 255]))
    return this.weighted<() => Buffer>([
      [60, () => Buffer.from(`key ${this.below(300)}`)],
      [25, () => Buffer.from(letters())],
      [12, () => Buffer.from(`${'shared '.repeat(30)}${this.below(20)}`)],
      [2, () => Buffer.alloc(this.between(1000, 5000), this.pick(['a', 'b', '\0']))],
      [1, () => Buffer.alloc(65_535, this.pick([255, 1]))],
    ])()
  }

  value(): Buffer {
    return this.weighted<() => Buffer>([
      [80, () => this.bytes(this.below(40))],
      [15, () => Buffer.alloc(this.between(40, 600), `${this.below(1000)} `)],
      [4, () => Buffer.alloc(this.between(3000, 9000), `${this.below(1000)} `)],
      [1, () => this.bytes(this.between(9000, 120_000))],
    ])()
  }

  /** Rows of an ingestion, ascending; undefined: the key is removed. */
  rows(): (readonly [key: Buffer, value: Buffer | undefined])[] {
    const keys = Array.from({ length: this.pick([0, 1, 5, 60]) }, () => this.key())
    const ascending = keys.toSorted((a, b) => Buffer.compare(a, b))
    return ascending
      .filter((key, i) => ascending[i - 1]?.equals(key) !== true)
      .map((key) => [key, this.oneIn(4) ? undefined : this.value()])
  }

  /** Bounds that often contradict each other; about one end in three is open. */
  range(): KeyRange {
    const range: KeyRange = {}
    if (!this.oneIn(3)) range[this.pick(['gt', 'gte'] as const)] = this.key()
    if (!this.oneIn(3)) range[this.pick(['lt', 'lte'] as const)] = this.key()
    return range
  }

  #perLevel<T>(draw: () => T): PerLevel<T> {
    return this.oneIn(2) ? draw() : Array.from({ length: this.between(1, 5) }, draw)
  }

  /** Of a keyspace or tree; small, so that everything happens all the time. */
  treeOptions(codecs: readonly Compression[]): Omit<KeyspaceOptions, 'durability'> {
    const flag = (): PerLevel<boolean> => this.#perLevel(() => this.oneIn(2))
    const codec = (): PerLevel<Compression> => this.#perLevel(() => this.pick(codecs))
    return {
      maxMemtableSize: this.pick([4096, 16_384, 65_536, 2 ** 20]),
      memtable: this.pick(['auto', 'skiplist', 'radix']),
      dataBlockSize: this.#perLevel(() => this.pick([64, 200, 1000, 4096])),
      restartInterval: this.#perLevel(() => this.pick([1, 2, 3, 10, 16, 255])),
      hashIndexRatio: this.#perLevel(() => this.pick([0, 0, 0.3, 1.33, 8])),
      compression: codec(),
      indexCompression: codec(),
      filter: this.#perLevel(() => this.filterPolicy()),
      pinIndex: flag(),
      pinFilter: flag(),
      partitionIndex: flag(),
      partitionFilter: flag(),
      expectPointReadHits: this.oneIn(4),
      compaction: this.strategy(),
    }
  }

  /** Values of some bytes, files of a few values, garbage that goes soon or late. */
  separation(codecs: readonly Compression[]): KvSeparationOptions {
    return {
      threshold: this.pick([1, 16, 100, 1000]),
      fileSize: this.pick([4096, 20_000, 2 ** 26]),
      compression: this.pick(codecs),
      stalenessThreshold: this.pick([0.01, 0.25, 1]),
      ageCutoff: this.pick([0, 0.25, 1]),
    }
  }

  filterPolicy(): FilterPolicy {
    return this.pick<FilterPolicy>([
      'none',
      { bitsPerKey: this.pick([0.01, 1, 3.3, 10, 100]) },
      { falsePositiveRate: this.pick([1e-9, 1e-4, 0.01, 0.5]) },
    ])
  }

  /** Age alone is a reason for nothing, unless one is given. */
  strategy(age = this.pick([{}, { maxAgeSeconds: 36_000 }])): CompactionStrategy {
    const upkeep = { tombstoneShare: this.pick([0.01, 0.3, 0.5, 1]), ...age }
    if (this.oneIn(3)) {
      const baseSize = this.pick([4096, 10_000, 40_000])
      return new SizeTieredCompaction({
        ...upkeep,
        baseSize,
        ratio: this.pick([1.1, 2, 4]),
        minRuns: this.between(2, 4),
      })
    }
    return new LeveledCompaction({
      ...upkeep,
      l0Threshold: this.between(1, 5),
      targetSize: this.pick([4096, 10_000, 40_000]),
      levelRatio: this.pick<number | number[]>([1.5, 2, 4, [2, 3]]),
    })
  }

  databaseOptions(): DatabaseOptions {
    return {
      // No write is to fail for what a slow machine does.
      maxStall: 60_000,
      durability: this.durability(),
      syncInterval: this.pick([0, 1, 1000]),
      cacheSize: this.pick([0, 10_000, 2 ** 20]),
      maxOpenFiles: this.pick([16, 900]),
      workerThreads: this.between(1, 2),
      maxWriteBufferSize: this.pick([2 ** 20, 2 ** 24]),
      maxJournalSize: this.pick([2 ** 20, 2 ** 24]),
      journalCompression: this.pick(['none', 'lz4', 'zstd']),
    }
  }

  /** Mostly what waits for no device. */
  durability(): Durability {
    return this.weighted([
      [6, 'os'],
      [3, 'buffered'],
      [1, 'sync'],
    ])
  }
}

/** For messages. */
export function shownKey(key: Uint8Array): string {
  const text = JSON.stringify(Buffer.from(key).toString('latin1'))
  return text.length < 50 ? text : `${text.slice(0, 40)}... (${key.length})`
}

export function shownRange(range: object): string {
  const parts = Object.entries(range).map(([name, value]: [string, unknown]) =>
    value instanceof Uint8Array ? `${name} ${shownKey(value)}` : `${name} ${String(value)}`,
  )
  return `{ ${parts.join(', ')} }`
}
