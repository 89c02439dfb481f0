/**
 * Writes a table: entries in internal order go in, blocks come out, and at the end what leads to
 * them; docs/format.md, section 8.
 *
 * `add` never waits and needs no file. What it has collected goes to one with `drain`, which a flow
 * calls between entries; `end` writes the rest. What takes long, blocks with large values and
 * filters, is left to these two, which let the event loop turn.
 */

import { CODEC_NONE, compressInPieces, LARGE_BYTES } from '../base/compression.ts'
import { putU32 } from '../base/coding.ts'
import { crcBegin, crcEnd, crcUpdate, crcUpdateInPieces } from '../base/crc32c.ts'
import { breath, Io, runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { KeyHash } from '../base/hash.ts'
import { KIND_BLOB_POINTER, KIND_TOMBSTONE, KIND_WEAK_TOMBSTONE } from '../base/internal-key.ts'
import { BLOCK_STORED_BYTES_MAX } from '../base/limits.ts'
import { compareEnds } from '../base/range-tombstone.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { compareBytes, compareRanges, copyOf } from '../base/slice.ts'
import type { File } from '../vfs/vfs.ts'
import { BlobReferenceCounter, encodeBlobReferences } from './blob-references.ts'
import type { BlobReference } from './blob-references.ts'
import { DataBlockBuilder, IndexBlockBuilder } from './block-builder.ts'
import type { RawBlock } from './block-builder.ts'
import { FilterBuilder } from './filter-block.ts'
import { encodeRangeTombstones } from './range-tombstones.ts'
import { shortSeparator } from './separator.ts'
import {
  BLOCK_TRAILER_BYTES,
  BOUND_EXCLUSIVE,
  BOUND_UNBOUNDED,
  encodeFooter,
  encodeProperties,
  FILTER_NONE,
  FILTER_PARTITIONED,
  FILTER_WHOLE,
  INDEX_PARTITIONED,
  INDEX_WHOLE,
  NO_HANDLE,
  noProperties,
  TABLE_FOOTER_BYTES,
} from './table-format.ts'
import type { Handle, TableProperties } from './table-format.ts'

export interface TableWriteOptions {
  readonly fileNumber: number
  readonly blockSize: number
  readonly restartInterval: number
  readonly hashIndexRatio: number
  readonly codec: number
  readonly indexCodec: number
  /** 0: no filter. */
  readonly bitsPerKey: number
  readonly partitionIndex: boolean
  readonly partitionFilter: boolean
  /** Milliseconds since 1970. */
  readonly createdAt: number
}

/** Bytes that are copied between two turns of the event loop. */
const COPY_BYTES = 4_194_304
/** Bytes that are handed to the file at once. */
const CHUNK_BYTES = 262_144
/** An entry takes at most that much besides key and value. */
const ENTRY_OVERHEAD = 20
const INDEX_RESTART_INTERVAL = 16
/** Index and filter partitions are as large as data blocks, within these bounds. */
const PARTITION_BYTES_MIN = 256
const PARTITION_BYTES_MAX = 65_536
/** A whole index or filter is partitioned all the same before it reaches the limits. */
const WHOLE_BYTES_MAX = 2 ** 24
/** What footer and properties take, roughly. */
const TAIL_BYTES = TABLE_FOOTER_BYTES + 160

/** What a table is when it is finished. */
export interface FinishedTable {
  readonly size: number
  readonly properties: TableProperties
  readonly blobs: readonly BlobReference[]
}

/** A partition of index or filter that is complete; its raw bytes may have to be made. */
interface Partition {
  readonly separator: Uint8Array
  readonly seqno: number
  readonly raw: Io<Uint8Array>
}

function blockOf(bytes: Uint8Array): RawBlock {
  return { pieces: [bytes], length: bytes.length }
}

export class TableWriter {
  readonly #options: TableWriteOptions
  readonly #data: DataBlockBuilder
  #index = new IndexBlockBuilder(INDEX_RESTART_INTERVAL)
  #filter: FilterBuilder
  readonly #indexPartitions: Partition[] = []
  readonly #filterPartitions: Partition[] = []
  #partitionBytes = 0
  readonly #properties = noProperties()
  readonly #blobs = new BlobReferenceCounter()
  readonly #hash = new KeyHash()
  #lastKey: Uint8Array = new Uint8Array(64)
  #lastKeyLength = 0
  #lastSeqno = 0
  /** A large block that is not sealed. */
  #large: RawBlock | undefined
  /** A block that waits for its separator. */
  #pending: Handle | undefined
  /** Offset of the next block. */
  #offset = 0
  #written = 0
  readonly #chunks: Uint8Array[] = []
  /** What small blocks are compressed to. */
  #scratch: Uint8Array | undefined

  constructor(options: TableWriteOptions) {
    const { restartInterval, hashIndexRatio, blockSize, bitsPerKey } = options
    this.#options = options
    // From this size on a value ends its block in any case.
    const largeValueBytes = Math.max(LARGE_BYTES, blockSize)
    this.#data = new DataBlockBuilder(restartInterval, hashIndexRatio, largeValueBytes)
    this.#filter = new FilterBuilder(bitsPerKey)
    this.#properties.lowestSeqno = Number.MAX_SAFE_INTEGER
  }

  get itemCount(): number {
    return this.#properties.itemCount
  }

  /** Bytes of the file if it ended here, roughly. */
  get estimatedSize(): number {
    if (this.itemCount === 0) return 0
    const data = this.#offset + (this.#large?.length ?? 0) + this.#data.entryBytes
    const index = this.#index.length + this.#partitionBytes
    return data + index + this.#filter.pendingBytes + TAIL_BYTES
  }

  /** Whether the entry that was added last has this key: then the table must not end here. */
  endsWithKey(key: Uint8Array, begin: number, end: number): boolean {
    if (this.itemCount === 0) return false
    return compareRanges(this.#lastKey, 0, this.#lastKeyLength, key, begin, end) === 0
  }

  /** Whether `drain` should be called before the next entry. */
  get isFull(): boolean {
    return this.#large !== undefined || this.#offset - this.#written >= CHUNK_BYTES
  }

  /** The next entry in internal order. If it makes the writer full, its value is not copied yet. */
  add(
    kind: number,
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
  ): void {
    const { bitsPerKey, hashIndexRatio, blockSize } = this.#options
    if (this.#large !== undefined) runSync(this.#sealLarge())
    const isNewKey = !this.endsWithKey(key, keyBegin, keyEnd)
    const length = keyEnd - keyBegin + valueEnd - valueBegin + ENTRY_OVERHEAD
    // An entry that is too large for a block is alone in its block.
    if (this.#data.count > 0 && this.#data.length + length > BLOCK_STORED_BYTES_MAX) {
      this.#endDataBlock()
      if (this.#large !== undefined) runSync(this.#sealLarge())
    }
    if (this.#pending !== undefined) this.#describePending(key, keyBegin, keyEnd, isNewKey)
    if (isNewKey && this.#filter.pendingBytes >= this.#filterBytesMax()) {
      this.#cutFilter(this.#separatorTo(key, keyBegin, keyEnd))
    }
    if ((isNewKey && bitsPerKey > 0) || hashIndexRatio > 0) this.#hash.of(key, keyBegin, keyEnd)
    if (isNewKey && bitsPerKey > 0) this.#filter.add(this.#hash.low, this.#hash.high)
    this.#count(kind, seqno, isNewKey)
    if (kind === KIND_BLOB_POINTER) this.#blobs.add(value, valueBegin, keyEnd - keyBegin)
    this.#data.add(
      kind,
      seqno,
      key,
      keyBegin,
      keyEnd,
      value,
      valueBegin,
      valueEnd,
      this.#hash.low,
      isNewKey,
    )
    if (isNewKey) this.#keepKey(key, keyBegin, keyEnd)
    this.#lastSeqno = seqno
    if (this.#data.entryBytes >= blockSize) this.#endDataBlock()
  }

  #keepKey(key: Uint8Array, begin: number, end: number): void {
    if (end - begin > this.#lastKey.length) this.#lastKey = new Uint8Array(2 * (end - begin))
    for (let i = begin; i < end; i++) this.#lastKey[i - begin] = key[i]!
    this.#lastKeyLength = end - begin
    if (this.itemCount === 1) this.#properties.firstKey = copyOf(key, begin, end)
  }

  #count(kind: number, seqno: number, isNewKey: boolean): void {
    const properties = this.#properties
    properties.itemCount++
    if (isNewKey) properties.keyCount++
    if (kind === KIND_TOMBSTONE) properties.tombstoneCount++
    if (kind === KIND_WEAK_TOMBSTONE) properties.weakTombstoneCount++
    if (seqno < properties.lowestSeqno) properties.lowestSeqno = seqno
    if (seqno > properties.highestSeqno) properties.highestSeqno = seqno
  }

  // --- blocks ------------------------------------------------------------------------------------

  #endDataBlock(): void {
    const block = this.#data.finish()
    this.#properties.blockCount++
    this.#properties.rawBytes += block.length
    if (block.length > LARGE_BYTES) this.#large = block
    else this.#pending = runSync(this.#writeBlock(block, this.#options.codec))
  }

  *#sealLarge(): Flow<void> {
    const block = this.#large!
    this.#pending = yield* this.#writeBlock(block, this.#options.codec)
    this.#large = undefined
  }

  /** Seals a block and puts it behind those before. */
  *#writeBlock(block: RawBlock, codec: number): Flow<Handle> {
    const compressed = codec === CODEC_NONE ? undefined : yield* this.#compress(block, codec)
    const pieces = compressed === undefined ? block.pieces : [compressed]
    const length = compressed?.length ?? block.length
    const trailer = new Uint8Array(BLOCK_TRAILER_BYTES)
    trailer[0] = compressed === undefined ? CODEC_NONE : codec
    putU32(trailer, 1, block.length)
    let crc = crcBegin(this.#options.fileNumber, this.#offset)
    for (const piece of pieces) crc = yield* crcUpdateInPieces(crc, piece, piece.length)
    putU32(trailer, 5, crcEnd(crcUpdate(crc, trailer, 0, 5)))
    // The bytes of a small block are used again for the next one.
    const isLarge = block.length > LARGE_BYTES
    this.#chunks.push(...(isLarge ? pieces : pieces.map((piece) => copyOf(piece))), trailer)
    const handle = { offset: this.#offset, length }
    this.#offset += length + BLOCK_TRAILER_BYTES
    return handle
  }

  /** Undefined where it is not worth it. */
  *#compress(block: RawBlock, codec: number): Flow<Uint8Array | undefined> {
    const { length } = block
    if (length > BLOCK_STORED_BYTES_MAX) return undefined
    const output =
      length > LARGE_BYTES
        ? new Uint8Array(length)
        : (this.#scratch ??= new Uint8Array(LARGE_BYTES))
    const raw = block.pieces.length === 1 ? block.pieces[0]! : yield* joined(block)
    const written = yield* compressInPieces(codec, raw, length, output)
    return written === 0 ? undefined : output.subarray(0, written)
  }

  /** Hands what was collected to the file. */
  *drain(file: File): Flow<void> {
    if (this.#large !== undefined) yield* this.#sealLarge()
    if (this.#chunks.length === 0) return
    yield* file.write(this.#written, this.#chunks)
    this.#chunks.length = 0
    this.#written = this.#offset
  }

  // --- index and filter --------------------------------------------------------------------------

  #separatorTo(key: Uint8Array, begin: number, end: number): Uint8Array {
    return shortSeparator(this.#lastKey, 0, this.#lastKeyLength, key, begin, end)
  }

  /** Enters the pending block; the key is the first one behind it. */
  #describePending(key: Uint8Array, begin: number, end: number, isNewKey: boolean): void {
    if (isNewKey) this.#describe(this.#separatorTo(key, begin, end), 0)
    else this.#describe(copyOf(this.#lastKey, 0, this.#lastKeyLength), this.#lastSeqno)
  }

  #describe(separator: Uint8Array, seqno: number): void {
    const { offset, length } = this.#pending!
    this.#pending = undefined
    this.#index.add(separator, 0, separator.length, seqno, offset, length)
    const { partitionIndex } = this.#options
    const most = this.#bytesMax(partitionIndex, this.#indexPartitions.length)
    if (this.#index.length >= most) this.#cutIndex(separator, seqno)
  }

  /** Partitions grow with their number, so that the top stays small. */
  #bytesMax(partitioned: boolean, partitionCount: number): number {
    if (!partitioned && partitionCount === 0) return WHOLE_BYTES_MAX
    const size = Math.max(PARTITION_BYTES_MIN, this.#options.blockSize)
    return Math.min(PARTITION_BYTES_MAX, size) + Math.floor(partitionCount / 2)
  }

  #filterBytesMax(): number {
    return this.#bytesMax(this.#options.partitionFilter, this.#filterPartitions.length)
  }

  #cutIndex(separator: Uint8Array, seqno: number): void {
    const { pieces, length } = this.#index.finish()
    const raw = length > LARGE_BYTES ? pieces[0]! : copyOf(pieces[0]!)
    this.#indexPartitions.push({ separator, seqno, raw: Io.now(() => raw) })
    this.#partitionBytes += length
  }

  #cutFilter(separator: Uint8Array): void {
    const filter = this.#filter
    this.#filterPartitions.push({ separator, seqno: 0, raw: Io.flow(() => filter.build()) })
    this.#partitionBytes += filter.pendingBytes
    this.#filter = new FilterBuilder(this.#options.bitsPerKey)
  }

  /** As `end`, and syncs the file. */
  *finish(file: File, ranges: readonly RangeTombstone[] = []): Flow<FinishedTable> {
    const finished = yield* this.end(file, ranges)
    yield* file.sync()
    return finished
  }

  /**
   * Writes the rest, with the range tombstones of the table, in order. There is at least one of
   * these or one entry.
   */
  *end(file: File, ranges: readonly RangeTombstone[]): Flow<FinishedTable> {
    const { fileNumber, codec, createdAt } = this.#options
    const properties = this.#properties
    const lastKey = copyOf(this.#lastKey, 0, this.#lastKeyLength)
    if (this.#data.count > 0) this.#endDataBlock()
    if (this.#large !== undefined) yield* this.#sealLarge()
    if (this.#pending !== undefined) this.#describe(lastKey, 0)
    yield* this.drain(file)
    properties.lastKey = lastKey
    if (ranges.length > 0) yield* this.#writeRanges(file, ranges)
    const blobs = this.#blobs.sum()
    if (blobs.length > 0) properties.blobReferences = yield* this.#writeBlobReferences(blobs)
    const filter = yield* this.#writeFilter(file, lastKey)
    const index = yield* this.#writeIndex(file, lastKey)
    properties.createdAt = createdAt
    properties.codec = codec
    const handle = yield* this.#writeBlock(blockOf(encodeProperties(properties)), CODEC_NONE)
    const footer = { properties: handle, index, filter }
    this.#chunks.push(encodeFooter(footer, fileNumber, this.#offset))
    const size = this.#offset + this.#chunks.at(-1)!.length
    yield* file.write(this.#written, this.#chunks)
    return { size, properties, blobs }
  }

  *#writeBlobReferences(references: readonly BlobReference[]): Flow<Handle> {
    return yield* this.#writeBlock(
      blockOf(encodeBlobReferences(references)),
      this.#options.indexCodec,
    )
  }

  /** They are part of what the table says of its keys and seqnos. */
  *#writeRanges(file: File, ranges: readonly RangeTombstone[]): Flow<void> {
    const properties = this.#properties
    const { start } = ranges[0]!
    const isFirst = this.itemCount === 0 || compareBytes(start, properties.firstKey) < 0
    if (isFirst) properties.firstKey = copyOf(start)
    let last: RangeTombstone = ranges[0]!
    for (const range of ranges) {
      if (compareEnds(range.end, last.end) > 0) last = range
      properties.lowestSeqno = Math.min(properties.lowestSeqno, range.seqno)
      properties.highestSeqno = Math.max(properties.highestSeqno, range.seqno)
    }
    const { end } = last
    if (end === undefined) {
      properties.lastKey = new Uint8Array(0)
      properties.lastKeyBound = BOUND_UNBOUNDED
    } else if (compareBytes(end, properties.lastKey) > 0) {
      properties.lastKey = copyOf(end)
      properties.lastKeyBound = BOUND_EXCLUSIVE
    }
    properties.rangeTombstoneCount = ranges.length
    const block = yield* encodeRangeTombstones(ranges)
    properties.rangeTombstones = yield* this.#writeBlock(block, CODEC_NONE)
    yield* this.drain(file)
  }

  *#writeFilter(file: File, lastKey: Uint8Array): Flow<Handle> {
    const properties = this.#properties
    const partitions = this.#filterPartitions
    if (partitions.length > 0 || this.#options.partitionFilter) {
      if (this.#filter.count > 0) this.#cutFilter(lastKey)
      if (partitions.length === 0) return NO_HANDLE
      properties.filterKind = FILTER_PARTITIONED
      return yield* this.#writePartitions(file, partitions, CODEC_NONE)
    }
    properties.filterKind = this.#filter.count > 0 ? FILTER_WHOLE : FILTER_NONE
    if (this.#filter.count === 0) return NO_HANDLE
    return yield* this.#writeBlock(blockOf(yield* this.#filter.build()), CODEC_NONE)
  }

  *#writeIndex(file: File, lastKey: Uint8Array): Flow<Handle> {
    const { indexCodec, partitionIndex } = this.#options
    const partitions = this.#indexPartitions
    if (partitions.length > 0 || partitionIndex) {
      if (this.#index.count > 0) this.#cutIndex(lastKey, 0)
      this.#properties.indexKind = INDEX_PARTITIONED
      return yield* this.#writePartitions(file, partitions, indexCodec)
    }
    this.#properties.indexKind = INDEX_WHOLE
    return yield* this.#writeBlock(this.#index.finish(), indexCodec)
  }

  *#writePartitions(file: File, partitions: readonly Partition[], codec: number): Flow<Handle> {
    const top = new IndexBlockBuilder(INDEX_RESTART_INTERVAL)
    for (const { separator, seqno, raw } of partitions) {
      const { offset, length } = yield* this.#writeBlock(blockOf(yield* raw), codec)
      top.add(separator, 0, separator.length, seqno, offset, length)
      if (this.isFull) {
        yield* this.drain(file)
        yield* breath
      }
    }
    return yield* this.#writeBlock(top.finish(), codec)
  }
}

/** What lies in several pieces as one. */
function* joined({ pieces, length }: RawBlock): Flow<Uint8Array> {
  const bytes = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    for (let from = 0; from < piece.length; from += COPY_BYTES) {
      bytes.set(piece.subarray(from, from + COPY_BYTES), at + from)
      if (from + COPY_BYTES < piece.length) yield* breath
    }
    at += piece.length
  }
  return bytes
}
