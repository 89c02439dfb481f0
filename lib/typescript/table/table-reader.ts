/**
 * Reads a table: the newest entry of a key that a read sees, or an iterator over all of it.
 *
 * A point read touches the filter (one line), the index and one data block.
 */

import type { ShaleError } from '../../errors.ts'
import type { BlobPointer } from '../base/blob-pointer.ts'
import type { Cache, CachedFile } from '../base/cache.ts'
import type { Flow } from '../base/flow.ts'
import { KeyHash } from '../base/hash.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'
import type { RangeIndex } from '../base/range-index.ts'
import { compareEnds } from '../base/range-tombstone.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { compareBytes } from '../base/slice.ts'
import { atPlace, corruption } from '../base/status.ts'
import type { ReadFile } from '../vfs/vfs.ts'
import { decodeBlobReferences, sameReferences } from './blob-references.ts'
import type { BlobReference } from './blob-references.ts'
import type { FilterBlock } from './filter-block.ts'
import type { IndexBlock } from './index-block.ts'
import { decodeRangeTombstones } from './range-tombstones.ts'
import { BlockEntry } from './sorted-block.ts'
import { Once, TableCounters } from './table-counters.ts'
import { BlockRequests, TableFile } from './table-file.ts'
import type { Block } from './table-file.ts'
import {
  BLOCK_TRAILER_BYTES,
  BOUND_INCLUSIVE,
  BOUND_UNBOUNDED,
  decodeFooter,
  decodeProperties,
  FILTER_NONE,
  FILTER_PARTITIONED,
  INDEX_PARTITIONED,
  TABLE_FOOTER_BYTES,
} from './table-format.ts'
import type { Handle, TableFooter, TableProperties } from './table-format.ts'
import { TableIterator } from './table-iterator.ts'

/** Answers of `find`. */
export const ABSENT = 0
export const FOUND = 1
/** The lookup's `missing` has to be called first. */
export const BLOCKED = 2
export type Found = typeof ABSENT | typeof FOUND | typeof BLOCKED

export interface FetchedValue {
  readonly pointer: BlobPointer
  readonly value: Uint8Array
}

/** What of a point read was counted, before another lookup goes on with it. */
export interface Counted {
  readonly loads: number
  readonly filters: number
  readonly falsePositives: number
  readonly values: number
  readonly askedTables: boolean
}

/** A point read: what is looked for, and when it was found, the entry. */
export class PointLookup extends BlockRequests {
  key: Uint8Array = new Uint8Array(0)
  begin = 0
  end = 0
  /** The read sees entries with a smaller seqno. */
  readSeqno = 0
  /** A separated value is fetched; else its pointer will do. */
  wantsValue = true
  /** A separated value that had to be fetched. */
  fetched: FetchedValue | undefined
  protected override readonly isLookup = true
  readonly #hash = new KeyHash()
  #hashed = false
  readonly #filters = new Once()
  readonly #falsePositives = new Once()
  readonly #values = new Once()
  #hasAskedTables = false

  seqno = 0
  kind = 0
  value: Uint8Array = new Uint8Array(0)
  valueBegin = 0
  valueEnd = 0

  /** `isQuiet`: it is none of the application's reads, and nothing of it is counted. */
  constructor(isQuiet = false) {
    super(0, isQuiet)
  }

  start(
    key: Uint8Array,
    begin: number,
    end: number,
    readSeqno: number,
    wantsValue: boolean = true,
  ): void {
    this.wantsValue = wantsValue
    this.key = key
    this.begin = begin
    this.end = end
    this.readSeqno = readSeqno
    this.#hashed = false
    // What memory answered has left nothing behind.
    if (this.#hasAskedTables) this.settle()
  }

  override askAgain(): void {
    super.askAgain()
    this.#filters.askAgain()
    this.#falsePositives.askAgain()
    this.#values.askAgain()
  }

  override settle(): void {
    super.settle()
    this.fetched = undefined
    this.#hasAskedTables = false
    this.#filters.begin()
    this.#falsePositives.begin()
    this.#values.begin()
  }

  // --- counting ----------------------------------------------------------------------------------

  get counted(): Counted {
    return {
      loads: this.loads.counted,
      filters: this.#filters.counted,
      falsePositives: this.#falsePositives.counted,
      values: this.#values.counted,
      askedTables: this.#hasAskedTables,
    }
  }

  /** After `start`: another one has counted so much of the same question. */
  goOn({ loads, filters, falsePositives, values, askedTables }: Counted): void {
    this.loads.begin(loads)
    this.#filters.begin(filters)
    this.#falsePositives.begin(falsePositives)
    this.#values.begin(values)
    this.#hasAskedTables = askedTables
  }

  asksTable(counters: TableCounters): void {
    if (this.#hasAskedTables) return
    this.#hasAskedTables = true
    counters.lookups++
  }

  filterAnswered(counters: TableCounters, isNegative: boolean): void {
    if (!this.#filters.isNew()) return
    counters.filterQueries++
    if (isNegative) counters.filterNegatives++
  }

  /** It looks for a separated value; whether no attempt has done so before. */
  looksForValue(): boolean {
    return this.#values.isNew()
  }

  /** The filter let the read pass for nothing. */
  passedInVain(counters: TableCounters): void {
    if (this.#falsePositives.isNew()) counters.filterFalsePositives++
  }

  /** Of the key; computed when the first filter asks. */
  get hash(): KeyHash {
    if (!this.#hashed) this.#hash.of(this.key, this.begin, this.end)
    this.#hashed = true
    return this.#hash
  }
}

export interface TableOpenOptions {
  readonly file: ReadFile
  readonly fileNumber: number
  /** As the manifest says. */
  readonly size: number
  /** Added to every seqno that is stored; 0 unless the table was ingested. */
  readonly globalSeqno: number
  /** What it points into, as the manifest says. */
  readonly blobs: readonly BlobReference[]
  readonly cache: Cache
  /** Undefined: nobody asks. */
  readonly counters?: TableCounters
  /** Keep the index, or the top of it, outside of the cache. */
  readonly pinIndex: boolean
  readonly pinFilter: boolean
  /** Whether it is the table that was looked for. */
  readonly agrees?: (properties: TableProperties) => boolean
}

const entry = new BlockEntry()

export class TableReader {
  readonly file: TableFile
  readonly properties: TableProperties
  /** Seqnos as stored; undefined: there are none. */
  readonly rangeTombstones: RangeIndex | undefined
  readonly blobReferences: readonly BlobReference[]
  /** An ingested table gets it before anybody reads it. */
  globalSeqno: number
  readonly #index: Handle
  readonly #filter: Handle
  #pinnedIndex: IndexBlock | undefined
  /** The whole filter, or the top of a partitioned one. */
  #pinnedFilter: FilterBlock | IndexBlock | undefined

  private constructor(
    file: TableFile,
    globalSeqno: number,
    footer: TableFooter,
    properties: TableProperties,
    rangeTombstones: RangeIndex | undefined,
    blobReferences: readonly BlobReference[],
  ) {
    this.file = file
    this.globalSeqno = globalSeqno
    this.properties = properties
    this.rangeTombstones = rangeTombstones
    this.blobReferences = blobReferences
    this.#index = footer.index
    this.#filter = footer.filter
  }

  /**
   * Reads footer and properties, and of index and filter what stays in memory; on failure the file
   * is the caller's to close.
   */
  static *open(options: TableOpenOptions): Flow<TableReader> {
    const { file, fileNumber, size, cache } = options
    const blocks: CachedFile<Block> = cache.file()
    const { counters = new TableCounters() } = options
    const table = new TableFile(file, fileNumber, size, blocks, counters)
    if (table.limit < 0) throw corruption('a table is too short', file.path, 0)
    const tail = yield* table.read(table.limit, TABLE_FOOTER_BYTES)
    const footer = readFooter(table, tail)
    // oxlint-disable-next-line require-yield
    const properties = yield* readPart(table, footer.properties, function* (raw) {
      const decoded = decodeProperties(raw, table.limit)
      if (options.agrees?.(decoded) === false) {
        throw corruption('the table is not what the manifest says')
      }
      if ((decoded.filterKind === FILTER_NONE) !== (footer.filter.length === 0)) {
        throw corruption('footer and properties disagree about the filter')
      }
      return decoded
    })
    const { rangeTombstones: ranges, blobReferences: blobs } = properties
    const tombstones =
      ranges.length > 0 ? yield* readPart(table, ranges, decodeRangeTombstones) : undefined
    if (tombstones !== undefined && !isDescribed(tombstones, properties)) {
      throw corruption('a table has other range tombstones than it says', file.path, ranges.offset)
    }
    // oxlint-disable-next-line require-yield
    const decode = function* (raw: Uint8Array): Flow<BlobReference[]> {
      return decodeBlobReferences(raw)
    }
    const references = blobs.length > 0 ? yield* readPart(table, blobs, decode) : []
    if (!sameReferences(references, options.blobs)) {
      const message = 'the table has other blob references than the manifest says'
      const place = blobs.length > 0 ? blobs.offset : footer.properties.offset
      throw corruption(message, file.path, place)
    }
    const { globalSeqno } = options
    const reader = new TableReader(table, globalSeqno, footer, properties, tombstones, references)
    yield* reader.#pin(options)
    return reader
  }

  /** Reads what stays in memory: what is pinned, and the top of what is partitioned. */
  *#pin({ pinIndex, pinFilter }: TableOpenOptions): Flow<void> {
    const { file } = this
    if (pinIndex || this.isIndexPartitioned) {
      const index = yield* file.readBlock(this.#index.offset, this.#index.length, 'index')
      this.#pinnedIndex = this.#checkedIndex(index)
      if (pinIndex && this.isIndexPartitioned) yield* this.#pinPartitions(index, 'partition')
    }
    const { offset, length } = this.#filter
    if (this.isFilterPartitioned) {
      const top = yield* file.readBlock(offset, length, 'index')
      this.#pinnedFilter = top
      if (pinFilter) yield* this.#pinPartitions(top, 'filter')
    } else if (pinFilter && length > 0) {
      this.#pinnedFilter = yield* file.readBlock(offset, length, 'filter')
    }
  }

  *#pinPartitions(top: IndexBlock, role: 'partition' | 'filter'): Flow<void> {
    for (let i = 0; i < top.count; i++) {
      top.decode(i, entry)
      const { offset, length } = entry
      this.file.pinned.set(offset, yield* this.file.readBlock(offset, length, role))
    }
  }

  /** Gives back what is cached of the table, and its file. */
  close(): void {
    this.file.cache.clear()
    this.file.file.close()
  }

  get isIndexPartitioned(): boolean {
    return this.properties.indexKind === INDEX_PARTITIONED
  }

  get isFilterPartitioned(): boolean {
    return this.properties.filterKind === FILTER_PARTITIONED
  }

  /** The whole index, or the top of a partitioned one; undefined: `requests.missing`. */
  index(requests: BlockRequests): IndexBlock | undefined {
    if (this.#pinnedIndex !== undefined) return this.#pinnedIndex
    const index = requests.get(this.file, this.#index.offset, this.#index.length, 'index')
    return index === undefined ? undefined : this.#checkedIndex(index)
  }

  /** Only a table without data blocks has an index without entries. */
  #checkedIndex(index: IndexBlock): IndexBlock {
    if ((index.count === 0) === (this.properties.blockCount === 0)) return index
    const { path } = this.file.file
    throw corruption('a table has no index of its blocks', path, this.#index.offset)
  }

  /** The seqno of the newest range tombstone over a key that a read sees; -1 if there is none. */
  seqnoOver(key: Uint8Array, begin: number, end: number, readSeqno: number): number {
    const { rangeTombstones: ranges, globalSeqno } = this
    const found = ranges?.covering(key, begin, end, readSeqno - globalSeqno) ?? -1
    return found < 0 ? -1 : ranges!.seqno(found) + globalSeqno
  }

  /** A range tombstone as a read sees it. */
  rangeTombstone(i: number): RangeTombstone {
    const { start, end, seqno } = this.rangeTombstones!.at(i)
    return { start, end, seqno: seqno + this.globalSeqno }
  }

  /** The newest entry of the key below the read's seqno. The lookup is settled by its owner. */
  find(lookup: PointLookup): Found {
    const below = lookup.readSeqno - this.globalSeqno
    if (below <= this.properties.lowestSeqno) return ABSENT
    const { counters } = this.file
    lookup.asksTable(counters)
    const passed = this.#testFilter(lookup)
    if (passed === BLOCKED) return BLOCKED
    const isFiltered = this.#filter.length > 0
    if (isFiltered) lookup.filterAnswered(counters, passed === ABSENT)
    if (passed === ABSENT) return ABSENT
    const found = this.#search(lookup, below)
    if (isFiltered && found === ABSENT) lookup.passedInVain(counters)
    return found
  }

  /** Looks into the data. The read sees entries, as they are stored, below that seqno. */
  #search(lookup: PointLookup, below: number): Found {
    const { key, begin, end } = lookup
    let index = this.index(lookup)
    if (index === undefined) return BLOCKED
    let i = index.seek(key, begin, end, below - 1)
    if (i === index.count) return ABSENT
    index.decode(i, entry)
    if (this.isIndexPartitioned) {
      const { offset } = entry
      index = lookup.get(this.file, offset, entry.length, 'partition')
      if (index === undefined) return BLOCKED
      i = index.seek(key, begin, end, below - 1)
      if (i === index.count) throw this.endsEarly(offset)
      index.decode(i, entry)
    }
    const block = lookup.get(this.file, entry.offset, entry.length, 'data')
    if (block === undefined) return BLOCKED
    const at = block.seek(key, begin, end, below - 1)
    if (at === block.count) return ABSENT
    block.decode(at, entry)
    if (!block.hasKey(at, entry, key, begin, end)) return ABSENT
    lookup.seqno = entry.seqno + this.globalSeqno
    lookup.kind = entry.kind
    lookup.value = block.bytes
    lookup.valueBegin = entry.valueBegin
    lookup.valueEnd = entry.valueEnd
    return FOUND
  }

  /** A partition at `offset` that does not reach its separator. */
  endsEarly(offset: number): ShaleError {
    const { path } = this.file.file
    return corruption('an index partition ends before its own separator', path, offset)
  }

  /** Whether the filter, as far as it is in memory, says that the key is not there. */
  rulesOut(lookup: PointLookup): boolean {
    const isAbsent = this.#testFilter(lookup) === ABSENT
    lookup.settle()
    return isAbsent
  }

  /** FOUND: the key may be there. */
  #testFilter(lookup: PointLookup): Found {
    const { offset, length } = this.#filter
    if (length === 0) return this.properties.itemCount === 0 ? ABSENT : FOUND
    let filter = this.#pinnedFilter
    if (this.isFilterPartitioned) {
      const top = filter as IndexBlock
      const i = top.seek(lookup.key, lookup.begin, lookup.end, 0)
      if (i === top.count) return ABSENT
      top.decode(i, entry)
      filter = lookup.get(this.file, entry.offset, entry.length, 'filter')
    } else {
      filter ??= lookup.get(this.file, offset, length, 'filter')
    }
    if (filter === undefined) return BLOCKED
    const { low, high } = lookup.hash
    return (filter as FilterBlock).mayContain(low, high) ? FOUND : ABSENT
  }

  /** Where the block begins that may hold the key; behind all, or without key, where data ends. */
  *offsetOf(key: Uint8Array | undefined, requests: BlockRequests): Flow<number> {
    let offset = this.#offsetOf(key, requests)
    while (offset === undefined) {
      yield* requests.missing!
      offset = this.#offsetOf(key, requests)
    }
    requests.settle()
    return offset
  }

  #offsetOf(key: Uint8Array | undefined, requests: BlockRequests): number | undefined {
    const index = this.index(requests)
    if (index === undefined) return undefined
    if (index.count === 0) return 0
    let isBehind = decodeAtOrLast(index, key)
    if (this.isIndexPartitioned) {
      const partition = requests.get(this.file, entry.offset, entry.length, 'partition')
      if (partition === undefined) return undefined
      isBehind = decodeAtOrLast(partition, key)
    }
    return isBehind ? entry.offset + entry.length + BLOCK_TRAILER_BYTES : entry.offset
  }

  /** Over all entries. `readAhead`: bytes to read at once, past the cache; 0: through the cache. */
  iterator(readAhead = 0): TableIterator {
    return new TableIterator(this, readAhead)
  }
}

/** Whether range tombstones are as many as the properties say, and lie within their bounds. */
function isDescribed(ranges: RangeIndex, properties: TableProperties): boolean {
  const { firstKey, lastKey, lastKeyBound } = properties
  const upper = lastKeyBound === BOUND_UNBOUNDED ? undefined : lastKey
  const order = compareEnds(ranges.farthestEnd, upper)
  return (
    ranges.count === properties.rangeTombstoneCount &&
    ranges.lowestSeqno >= properties.lowestSeqno &&
    ranges.highestSeqno <= properties.highestSeqno &&
    compareBytes(ranges.start(0), firstKey) >= 0 &&
    (lastKeyBound === BOUND_INCLUSIVE ? order <= 0 : order === 0)
  )
}

/** Decodes the entry for the key, or the last one if the key is behind it, which is told. */
function decodeAtOrLast(index: IndexBlock, key: Uint8Array | undefined): boolean {
  const i = key === undefined ? index.count : index.seek(key, 0, key.length, SEQNO_MAX)
  index.decode(Math.min(i, index.count - 1), entry)
  return i === index.count
}

function readFooter(table: TableFile, bytes: Uint8Array): TableFooter {
  try {
    return decodeFooter(bytes, table.number, table.limit)
  } catch (error) {
    throw atPlace(error, table.file.path, table.limit)
  }
}

function* readPart<T>(
  table: TableFile,
  { offset, length }: Handle,
  decode: (raw: Uint8Array) => Flow<T>,
): Flow<T> {
  table.checkLength(offset, length, 'index')
  const stored = yield* table.read(offset, length + BLOCK_TRAILER_BYTES)
  try {
    return yield* decode(yield* table.unpack(stored, offset, false))
  } catch (error) {
    throw atPlace(error, table.file.path, offset)
  }
}
