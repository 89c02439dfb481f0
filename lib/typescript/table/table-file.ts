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
import { atPlace, corruption } from '../base/status.ts'
import type { ReadFile } from '../vfs/vfs.ts'
import { DataBlock } from './data-block.ts'
import { FilterBlock } from './filter-block.ts'
import { IndexBlock } from './index-block.ts'
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

  constructor(file: ReadFile, number: number, size: number, cache: CachedFile<Block>) {
    this.file = file
    this.number = number
    this.size = size
    this.cache = cache
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
  /** Reads that much at once, past the cache; 0: blocks one by one, into the cache. */
  readonly #readAhead: number
  /** What was read ahead. */
  #ahead: Uint8Array = new Uint8Array(0)
  #aheadAt = 0

  constructor(readAhead = 0) {
    this.#readAhead = readAhead
  }

  /** The block, or undefined: then `missing` is set. */
  get<R extends BlockRole>(
    file: TableFile,
    offset: number,
    length: number,
    role: R,
  ): BlockOfRole[R] | undefined {
    const known = this.#known(file, offset) ?? file.cache.get(offset)
    if (known !== undefined) return known as BlockOfRole[R]
    const stored = this.#readAlready(offset, length)
    if (stored !== undefined && !isLarge(stored)) return runSync(file.parse(stored, offset, role))
    this.missing = Io.flow(() => this.#fetch(file, offset, length, role))
    return undefined
  }

  /** The question has its answer. */
  settle(): void {
    this.#fetched.length = 0
    this.missing = undefined
  }

  #known(file: TableFile, offset: number): Block | undefined {
    for (const fetched of this.#fetched) {
      if (fetched.offset === offset && fetched.file === file) return fetched.block
    }
    return undefined
  }

  /** The bytes of a block and its trailer, if they were read ahead. */
  #readAlready(offset: number, length: number): Uint8Array | undefined {
    const at = offset - this.#aheadAt
    const end = at + length + BLOCK_TRAILER_BYTES
    return at >= 0 && end <= this.#ahead.length ? this.#ahead.subarray(at, end) : undefined
  }

  *#fetch(file: TableFile, offset: number, length: number, role: BlockRole): Flow<void> {
    file.checkLength(offset, length, role)
    const least = length + BLOCK_TRAILER_BYTES
    let stored = this.#readAlready(offset, length)
    if (stored === undefined) {
      const size = Math.max(least, Math.min(this.#readAhead, file.limit - offset))
      const bytes = yield* file.read(offset, size)
      stored = bytes.subarray(0, least)
      if (this.#readAhead > 0) {
        this.#ahead = bytes
        this.#aheadAt = offset
      }
    }
    const block = yield* file.parse(stored, offset, role)
    if (this.#readAhead === 0) file.keep(offset, block)
    this.#fetched.push({ file, offset, block })
  }
}
