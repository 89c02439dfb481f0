/**
 * Writes a table: entries in internal order go in, blocks come out, and at the end what leads to
 * them; docs/format.md, section 8.
 *
 * `add` never waits and needs no file. What it has collected goes to one with `drain`, which a flow
 * calls between entries; `finish` writes the rest.
 */

import { CODEC_NONE, compress } from '../base/compression.ts'
import { putU32 } from '../base/coding.ts'
import { keyedCrc } from '../base/crc32c.ts'
import { breath } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { KeyHash } from '../base/hash.ts'
import { KIND_TOMBSTONE, KIND_WEAK_TOMBSTONE } from '../base/internal-key.ts'
import { BLOCK_RAW_BYTES_MAX, BLOCK_STORED_BYTES_MAX } from '../base/limits.ts'
import { compareRanges, copyOf } from '../base/slice.ts'
import type { File } from '../vfs/vfs.ts'
import { DataBlockBuilder, IndexBlockBuilder } from './block-builder.ts'
import { FilterBuilder } from './filter-block.ts'
import { shortSeparator } from './separator.ts'
import {
  BLOCK_TRAILER_BYTES,
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

/** A finished index partition, or the keys of a filter partition. */
interface Partition {
  readonly separator: Uint8Array
  readonly seqno: number
  readonly raw: Uint8Array
}

export class TableWriter {
  readonly #options: TableWriteOptions
  readonly #data: DataBlockBuilder
  #index = new IndexBlockBuilder(INDEX_RESTART_INTERVAL)
  readonly #filter: FilterBuilder
  readonly #indexPartitions: Partition[] = []
  readonly #filterPartitions: Partition[] = []
  #partitionBytes = 0
  readonly #properties = noProperties()
  readonly #hash = new KeyHash()
  #lastKey: Uint8Array = new Uint8Array(64)
  #lastKeyLength = 0
  #lastSeqno = 0
  /** A block that waits for its separator. */
  #pending: Handle | undefined
  /** Offset of the next block. */
  #offset = 0
  #written = 0
  readonly #chunks: Uint8Array[] = []
  #compressed = new Uint8Array(0)

  constructor(options: TableWriteOptions) {
    this.#options = options
    this.#data = new DataBlockBuilder(options.restartInterval, options.hashIndexRatio)
    this.#filter = new FilterBuilder(options.bitsPerKey)
    this.#properties.lowestSeqno = Number.MAX_SAFE_INTEGER
  }

  get itemCount(): number {
    return this.#properties.itemCount
  }

  /** Bytes of the file if it ended here, roughly. */
  get estimatedSize(): number {
    if (this.itemCount === 0) return 0
    const index = this.#index.length + this.#partitionBytes
    return this.#offset + this.#data.entryBytes + index + this.#filter.pendingBytes + TAIL_BYTES
  }

  /** Whether the entry that was added last has this key: then the table must not end here. */
  endsWithKey(key: Uint8Array, begin: number, end: number): boolean {
    if (this.itemCount === 0) return false
    return compareRanges(this.#lastKey, 0, this.#lastKeyLength, key, begin, end) === 0
  }

  /** Whether `drain` has something to do. */
  get isFull(): boolean {
    return this.#offset - this.#written >= CHUNK_BYTES
  }

  /** The next entry in internal order. */
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
    const isNewKey = !this.endsWithKey(key, keyBegin, keyEnd)
    const length = keyEnd - keyBegin + valueEnd - valueBegin + ENTRY_OVERHEAD
    // An entry that is too large for a block is alone in its block.
    if (this.#data.count > 0 && this.#data.length + length > BLOCK_STORED_BYTES_MAX) {
      this.#endDataBlock()
    }
    if (this.#pending !== undefined) this.#describePending(key, keyBegin, keyEnd, isNewKey)
    if (isNewKey && this.#filter.pendingBytes >= this.#filterBytesMax()) {
      this.#cutFilter(this.#separatorTo(key, keyBegin, keyEnd))
    }
    if ((isNewKey && bitsPerKey > 0) || hashIndexRatio > 0) this.#hash.of(key, keyBegin, keyEnd)
    if (isNewKey && bitsPerKey > 0) this.#filter.add(this.#hash.low, this.#hash.high)
    this.#count(kind, seqno, isNewKey)
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
    const raw = this.#data.finish()
    this.#pending = this.#writeBlock(raw, this.#options.codec)
    this.#properties.blockCount++
    this.#properties.rawBytes += raw.length
  }

  /** Seals a block and puts it behind those before. */
  #writeBlock(raw: Uint8Array, codec: number): Handle {
    let length = 0
    if (codec !== CODEC_NONE && raw.length <= BLOCK_RAW_BYTES_MAX) {
      if (this.#compressed.length < raw.length) this.#compressed = new Uint8Array(2 * raw.length)
      length = compress(codec, raw, 0, raw.length, this.#compressed, 0)
    }
    const isCompressed = length > 0
    if (!isCompressed) length = raw.length
    const stored = new Uint8Array(length + BLOCK_TRAILER_BYTES)
    stored.set(isCompressed ? this.#compressed.subarray(0, length) : raw)
    stored[length] = isCompressed ? codec : CODEC_NONE
    putU32(stored, length + 1, raw.length)
    const { fileNumber } = this.#options
    putU32(stored, length + 5, keyedCrc(fileNumber, this.#offset, stored, 0, length + 5))
    const handle = { offset: this.#offset, length }
    this.#chunks.push(stored)
    this.#offset += stored.length
    return handle
  }

  /** Hands what was collected to the file. */
  *drain(file: File): Flow<void> {
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
    const most = this.#bytesMax(partitionIndex, this.#indexPartitions)
    if (this.#index.length >= most) this.#cutIndex(separator, seqno)
  }

  /** Partitions grow with their number, so that the top stays small. */
  #bytesMax(partitioned: boolean, partitions: readonly Partition[]): number {
    if (!partitioned && partitions.length === 0) return WHOLE_BYTES_MAX
    const size = Math.max(PARTITION_BYTES_MIN, this.#options.blockSize)
    return Math.min(PARTITION_BYTES_MAX, size) + Math.floor(partitions.length / 2)
  }

  #filterBytesMax(): number {
    return this.#bytesMax(this.#options.partitionFilter, this.#filterPartitions)
  }

  #cutIndex(separator: Uint8Array, seqno: number): void {
    const raw = copyOf(this.#index.finish())
    this.#indexPartitions.push({ separator, seqno, raw })
    this.#partitionBytes += raw.length
  }

  #cutFilter(separator: Uint8Array): void {
    const raw = this.#filter.finish()
    this.#filterPartitions.push({ separator, seqno: 0, raw })
    this.#partitionBytes += raw.length
  }

  /** Writes the rest and syncs the file. At least one entry was added. */
  *finish(file: File): Flow<{ readonly size: number; readonly properties: TableProperties }> {
    const { fileNumber, codec, createdAt } = this.#options
    const properties = this.#properties
    const lastKey = copyOf(this.#lastKey, 0, this.#lastKeyLength)
    if (this.#data.count > 0) this.#endDataBlock()
    if (this.#pending !== undefined) this.#describe(lastKey, 0)
    yield* this.drain(file)
    const filter = yield* this.#writeFilter(file, lastKey)
    const index = yield* this.#writeIndex(file, lastKey)
    properties.lastKey = lastKey
    properties.createdAt = createdAt
    properties.codec = codec
    const handle = this.#writeBlock(encodeProperties(properties), CODEC_NONE)
    const footer = { properties: handle, index, filter }
    this.#chunks.push(encodeFooter(footer, fileNumber, this.#offset))
    const size = this.#offset + this.#chunks.at(-1)!.length
    yield* file.write(this.#written, this.#chunks)
    yield* file.sync()
    return { size, properties }
  }

  *#writeFilter(file: File, lastKey: Uint8Array): Flow<Handle> {
    const properties = this.#properties
    if (this.#filterPartitions.length > 0 || this.#options.partitionFilter) {
      if (this.#filter.count > 0) this.#cutFilter(lastKey)
      if (this.#filterPartitions.length === 0) return NO_HANDLE
      properties.filterKind = FILTER_PARTITIONED
      return yield* this.#writePartitions(file, this.#filterPartitions, CODEC_NONE)
    }
    properties.filterKind = this.#filter.count > 0 ? FILTER_WHOLE : FILTER_NONE
    if (this.#filter.count === 0) return NO_HANDLE
    yield* this.#filter.fill()
    return this.#writeBlock(this.#filter.finish(), CODEC_NONE)
  }

  *#writeIndex(file: File, lastKey: Uint8Array): Flow<Handle> {
    const { indexCodec, partitionIndex } = this.#options
    if (this.#indexPartitions.length > 0 || partitionIndex) {
      if (this.#index.count > 0) this.#cutIndex(lastKey, 0)
      this.#properties.indexKind = INDEX_PARTITIONED
      return yield* this.#writePartitions(file, this.#indexPartitions, indexCodec)
    }
    this.#properties.indexKind = INDEX_WHOLE
    return this.#writeBlock(this.#index.finish(), indexCodec)
  }

  *#writePartitions(file: File, partitions: readonly Partition[], codec: number): Flow<Handle> {
    const top = new IndexBlockBuilder(INDEX_RESTART_INTERVAL)
    for (const { separator, seqno, raw } of partitions) {
      const { offset, length } = this.#writeBlock(raw, codec)
      top.add(separator, 0, separator.length, seqno, offset, length)
      if (this.isFull) {
        yield* this.drain(file)
        yield* breath
      }
    }
    return this.#writeBlock(top.finish(), codec)
  }
}
