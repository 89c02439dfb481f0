/**
 * The file of a table as blocks: read, checked, decompressed and kept in the cache.
 *
 * Nothing here waits. Who looks for a block that is not in memory is told so: `missing` is the call
 * that brings it, and after that the same question is asked again, with the block at hand whatever
 * the cache did with it. So reads from memory cost no promise, and the waiting is written once.
 */

import { CODEC_MAX, CODEC_NONE, decompressInPieces, LARGE_BYTES } from '../base/compression.ts'
import type { CachedFile } from '../base/cache.ts'
import { getU32 } from '../base/coding.ts'
import { crcBegin, crcEnd, crcUpdateInPieces } from '../base/crc32c.ts'
import { Io, runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import {
  BLOCK_RAW_BYTES_MAX,
  BLOCK_STORED_BYTES_MAX,
  LARGE_BLOCK_BYTES_MAX,
} from '../base/limits.ts'
import { copyOf } from '../base/slice.ts'
import { atPlace, corruption } from '../base/status.ts'
import type { ReadFile } from '../vfs/vfs.ts'
import { DataBlock } from './data-block.ts'
import { FilterBlock } from './filter-block.ts'
import { IndexBlock } from './index-block.ts'
import { Once } from './table-counters.ts'
import type { TableCounters } from './table-counters.ts'
import { BLOCK_TRAILER_BYTES, TABLE_FOOTER_BYTES } from './table-format.ts'

/** What a reader may keep. */
export type Block = DataBlock | IndexBlock | FilterBlock

/** What a block is read as. */
export type BlockRole = 'data' | 'index' | 'partition' | 'filter'
interface BlockOfRole {
  data: DataBlock
  /** A whole index, or the top of a partitioned index or filter. */
  index: IndexBlock
  partition: IndexBlock
  filter: FilterBlock
}

export class TableFile {
  readonly number: number
  readonly size: number
  readonly file: ReadFile
  readonly cache: CachedFile<Block>
  readonly counters: TableCounters
  /** Partitions of index and filter that stay in memory, by offset. */
  readonly pinned: Map<number, IndexBlock | FilterBlock> = new Map()

  constructor(
    file: ReadFile,
    number: number,
    size: number,
    cache: CachedFile<Block>,
    counters: TableCounters,
  ) {
    this.file = file
    this.number = number
    this.size = size
    this.cache = cache
    this.counters = counters
  }

  /** The offset of the footer: blocks end there. */
  get limit(): number {
    return this.size - TABLE_FOOTER_BYTES
  }

  /** `length` bytes at `offset`. */
  *read(offset: number, length: number): Flow<Uint8Array> {
    const bytes = new Uint8Array(length)
    const got = yield* this.file.read(offset, bytes)
    if (got < length) throw corruption('a table ends too early', this.file.path, offset + got)
    return bytes
  }

  /** The raw bytes of a block of which `stored` are the bytes and the trailer. */
  *unpack(stored: Uint8Array, offset: number, isData: boolean): Flow<Uint8Array> {
    const length = stored.length - BLOCK_TRAILER_BYTES
    const codec = stored[length]!
    const rawLength = getU32(stored, length + 1)
    const crc = yield* crcUpdateInPieces(crcBegin(this.number, offset), stored, length + 5)
    if (getU32(stored, length + 5) !== crcEnd(crc)) {
      throw corruption('a block has a wrong checksum')
    }
    if (codec > CODEC_MAX) throw corruption('a block has an unknown codec')
    if (codec === CODEC_NONE) {
      const most = isData ? LARGE_BLOCK_BYTES_MAX : BLOCK_RAW_BYTES_MAX
      if (rawLength !== length || length > most) throw corruption('a block has a wrong length')
      return stored.subarray(0, length)
    }
    if (length > BLOCK_STORED_BYTES_MAX || rawLength > BLOCK_RAW_BYTES_MAX) {
      throw corruption('a block is larger than blocks may be')
    }
    const raw = new Uint8Array(rawLength)
    yield* decompressInPieces(codec, stored, length, raw)
    return raw
  }

  /** Checks what was read as a block of that role. */
  *parse<R extends BlockRole>(stored: Uint8Array, offset: number, role: R): Flow<BlockOfRole[R]> {
    try {
      const raw = yield* this.unpack(stored, offset, role === 'data')
      return (yield* this.#parseRaw(raw, role)) as BlockOfRole[R]
    } catch (error) {
      throw atPlace(error, this.file.path, offset)
    }
  }

  *#parseRaw(raw: Uint8Array, role: BlockRole): Flow<Block> {
    if (role === 'data') return yield* DataBlock.open(raw)
    if (role === 'filter') return new FilterBlock(raw)
    return yield* IndexBlock.open(raw, this.limit, role === 'index')
  }

  /** Lengths are checked before anything is allocated. */
  *readBlock<R extends BlockRole>(offset: number, length: number, role: R): Flow<BlockOfRole[R]> {
    this.checkLength(offset, length, role)
    const stored = yield* this.read(offset, length + BLOCK_TRAILER_BYTES)
    return yield* this.parse(stored, offset, role)
  }

  checkLength(offset: number, length: number, role: BlockRole): void {
    const most = role === 'data' ? LARGE_BLOCK_BYTES_MAX : BLOCK_STORED_BYTES_MAX
    if (length <= most && offset + length + BLOCK_TRAILER_BYTES <= this.limit) return
    throw corruption('a block is larger than blocks may be', this.file.path, offset)
  }

  /** Puts a block into the cache. */
  keep(offset: number, block: Block): void {
    const overhead = block instanceof FilterBlock ? 0 : block.overhead
    this.cache.put(offset, block, block.bytes.length + overhead)
  }
}

/** Whether a block, given with its trailer, takes too long to be opened without a break. */
function isLarge(stored: Uint8Array): boolean {
  const length = stored.length - BLOCK_TRAILER_BYTES
  return Math.max(length, getU32(stored, length + 1)) > LARGE_BYTES
}

/** Data blocks that are fetched one behind the other before more is read at once. */
const IN_A_ROW = 8
const AHEAD_BYTES_MIN = 65_536
const AHEAD_BYTES_MAX = 262_144

interface Fetched {
  readonly file: TableFile
  readonly offset: number
  readonly block: Block
}

/** The blocks that one question needs, over as many attempts as it takes. */
export class BlockRequests {
  /** The call that brings the block that the last attempt lacked; then it can be made again. */
  missing: Io<void> | undefined
  readonly #fetched: Fetched[] = []
  /**
   * Reads that much at once, past the cache; 0: into the cache, and only what is asked for until
   * that turns out to be one block behind the other.
   */
  readonly #readAhead: number
  /** What was read ahead. */
  #ahead: Uint8Array = new Uint8Array(0)
  #aheadAt = 0
  #aheadFile: TableFile | undefined
  /** Where the last data block lay that was not in the cache, and how many of them met. */
  #before = -1
  #behind = -1
  #inARow = 0
  /** Neither looks into the cache nor what is loaded are counted. */
  readonly #isQuiet: boolean
  protected readonly loads: Once = new Once()
  /** Whether it is a point read. */
  protected readonly isLookup: boolean = false

  constructor(readAhead = 0, isQuiet: boolean = readAhead > 0) {
    this.#readAhead = readAhead
    this.#isQuiet = isQuiet
  }

  /** The block, or undefined: then `missing` is set. */
  get<R extends BlockRole>(
    file: TableFile,
    offset: number,
    length: number,
    role: R,
  ): BlockOfRole[R] | undefined {
    const pinned = role === 'data' ? undefined : file.pinned.get(offset)
    if (pinned !== undefined) return pinned as BlockOfRole[R]
    const known = this.#known(file, offset) ?? this.#cached(file, offset)
    if (known !== undefined) {
      if (this.loads.isNew()) this.#count(file, true)
      return known as BlockOfRole[R]
    }
    const stored = this.#readAlready(file, offset, length)
    if (stored !== undefined && !isLarge(stored)) {
      const block = runSync(file.parse(stored, offset, role))
      this.#took(file, offset, stored.length, block)
      if (this.loads.isNew()) this.#count(file, false)
      return block
    }
    this.missing = Io.flow(() => this.#fetch(file, offset, length, role))
    return undefined
  }

  #cached({ cache }: TableFile, offset: number): Block | undefined {
    return this.#isQuiet || this.loads.isRepeat ? cache.peek(offset) : cache.get(offset)
  }

  #count({ counters }: TableFile, isCached: boolean): void {
    if (this.#isQuiet) return
    if (isCached) counters.loadsCached++
    else counters.loadsIo++
    if (this.isLookup) counters.lookupLoads++
  }

  /** The same question follows, from its beginning. */
  askAgain(): void {
    this.loads.askAgain()
  }

  /** The question has its answer. */
  settle(): void {
    this.#fetched.length = 0
    this.missing = undefined
    this.loads.begin()
  }

  #known(file: TableFile, offset: number): Block | undefined {
    for (const fetched of this.#fetched) {
      if (fetched.offset === offset && fetched.file === file) return fetched.block
    }
    return undefined
  }

  /** The bytes of a block and its trailer, if they were read ahead. */
  #readAlready(file: TableFile, offset: number, length: number): Uint8Array | undefined {
    const at = offset - this.#aheadAt
    const end = at + length + BLOCK_TRAILER_BYTES
    if (file !== this.#aheadFile || at < 0 || end > this.#ahead.length) return undefined
    // What stays in the cache must not keep all of it.
    return this.#readAhead > 0 ? this.#ahead.subarray(at, end) : copyOf(this.#ahead, at, end)
  }

  *#fetch(file: TableFile, offset: number, length: number, role: BlockRole): Flow<void> {
    file.checkLength(offset, length, role)
    const least = length + BLOCK_TRAILER_BYTES
    let stored = this.#readAlready(file, offset, length)
    if (stored === undefined && role === 'data') {
      const isBackward = offset + least === this.#before
      this.#inARow = isBackward || offset === this.#behind ? this.#inARow + 1 : 0
      stored = yield* this.#readMore(file, offset, least, isBackward)
    }
    stored ??= yield* file.read(offset, least)
    const block = yield* file.parse(stored, offset, role)
    this.#took(file, offset, least, block)
    this.#fetched.push({ file, offset, block })
    this.loads.skip()
    this.#count(file, false)
  }

  /** Reads ahead from a data block on, or up to it, if that is worth it: then returns the block. */
  *#readMore(
    file: TableFile,
    offset: number,
    least: number,
    isBackward: boolean,
  ): Flow<Uint8Array | undefined> {
    const room = isBackward ? offset + least : file.limit - offset
    const size = Math.min(this.#aheadBytes(), room)
    if (size <= least) return undefined
    const begin = isBackward ? offset + least - size : offset
    try {
      this.#ahead = yield* file.read(begin, size)
    } catch (error) {
      // What lies behind the block may be at fault: who asked for the block alone gets it alone.
      if (this.#readAhead > 0) throw error
      this.#inARow = 0
      return undefined
    }
    this.#aheadAt = begin
    this.#aheadFile = file
    return this.#readAlready(file, offset, least - BLOCK_TRAILER_BYTES)
  }

  #aheadBytes(): number {
    const more = this.#inARow - IN_A_ROW
    if (this.#readAhead > 0 || more < 0) return this.#readAhead
    return Math.min(AHEAD_BYTES_MAX, AHEAD_BYTES_MIN * 2 ** more)
  }

  /** A block has come from the file. */
  #took(file: TableFile, offset: number, length: number, block: Block): void {
    if (block instanceof DataBlock) {
      this.#before = offset
      this.#behind = offset + length
    }
    if (this.#readAhead === 0) file.keep(offset, block)
  }
}
