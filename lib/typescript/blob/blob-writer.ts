/**
 * Writes a blob file: values in internal order of their entries go in, and a pointer for each comes
 * out; docs/format.md, section 9.
 *
 * Nothing here needs the file but `drain`, which a flow calls between values, and `end`. Up to
 * LARGE_BYTES a value is added without a call of the system (`runSync` will do); a larger one lets
 * the event loop turn, and must not change before it was drained.
 */

import { frameBytes } from '../base/blob-pointer.ts'
import type { BlobPointer } from '../base/blob-pointer.ts'
import { CODEC_NONE, compressInPieces, LARGE_BYTES } from '../base/compression.ts'
import { encodeFileHeader } from '../base/file-header.ts'
import type { Flow } from '../base/flow.ts'
import { BLOCK_RAW_BYTES_MAX } from '../base/limits.ts'
import { copyOf } from '../base/slice.ts'
import type { File } from '../vfs/vfs.ts'
import { BLOB_FOOTER_BYTES, BLOB_MAGIC, encodeBlobFooter, encodeFrameHead } from './blob-format.ts'
import type { BlobFrame } from './blob-format.ts'

export interface BlobWriteOptions {
  readonly fileNumber: number
  readonly codec: number
  /** Milliseconds since 1970. */
  readonly createdAt: number
}

/** What the manifest says of a blob file. */
export interface BlobFileMeta {
  readonly fileNumber: number
  /** Bytes of the file. */
  readonly size: number
  readonly itemCount: number
  readonly frameBytes: number
  readonly rawBytes: number
}

/** Bytes that are handed to the file at once. */
const CHUNK_BYTES = 262_144

export class BlobWriter {
  readonly #options: BlobWriteOptions
  #itemCount = 0
  #frameBytes = 0
  #rawBytes = 0
  /** Of the next frame. */
  #offset: number
  #written = 0
  readonly #chunks: Uint8Array[] = []
  /** What small values are compressed to. */
  #scratch: Uint8Array | undefined

  constructor(options: BlobWriteOptions) {
    this.#options = options
    const header = encodeFileHeader(BLOB_MAGIC, options.fileNumber)
    this.#chunks.push(header)
    this.#offset = header.length
  }

  get itemCount(): number {
    return this.#itemCount
  }

  /** Bytes of the file if it ended here. */
  get size(): number {
    return this.#offset + BLOB_FOOTER_BYTES
  }

  /** Whether `drain` should be called before the next value. */
  get isFull(): boolean {
    return this.#offset - this.#written >= CHUNK_BYTES
  }

  /** Compresses the value where that is worth it. */
  *add(
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
  ): Flow<BlobPointer> {
    const raw = value.subarray(valueBegin, valueEnd)
    const compressed = yield* this.#compress(raw)
    const codec = compressed === undefined ? CODEC_NONE : this.#options.codec
    const stored = compressed ?? raw
    const name = key.subarray(keyBegin, keyEnd)
    return yield* this.addFrame({ key: name, seqno, codec, rawLength: raw.length, stored })
  }

  /**
   * The frame of another file, as it is stored there. Its seqno is to be the entry's: an ingested
   * one has had none when the other file was written.
   */
  *addFrame(frame: BlobFrame): Flow<BlobPointer> {
    const { fileNumber } = this.#options
    const { key, rawLength, stored } = frame
    const offset = this.#offset
    const head = yield* encodeFrameHead(frame, fileNumber, offset)
    this.#chunks.push(head, stored.length > LARGE_BYTES ? stored : copyOf(stored))
    const bytes = frameBytes(key.length, stored.length)
    this.#offset += bytes
    this.#itemCount++
    this.#frameBytes += bytes
    this.#rawBytes += rawLength
    return { fileNumber, offset, storedLength: stored.length, rawLength }
  }

  /** Undefined where it is not worth it. */
  *#compress(raw: Uint8Array): Flow<Uint8Array | undefined> {
    const { codec } = this.#options
    const { length } = raw
    if (codec === CODEC_NONE || length > BLOCK_RAW_BYTES_MAX) return undefined
    const output =
      length > LARGE_BYTES
        ? new Uint8Array(length)
        : (this.#scratch ??= new Uint8Array(LARGE_BYTES))
    const written = yield* compressInPieces(codec, raw, length, output)
    return written === 0 ? undefined : output.subarray(0, written)
  }

  /** Hands what was collected to the file. */
  *drain(file: File): Flow<void> {
    if (this.#chunks.length === 0) return
    yield* file.write(this.#written, this.#chunks)
    this.#chunks.length = 0
    this.#written = this.#offset
  }

  /** As `end`, and syncs the file. */
  *finish(file: File): Flow<BlobFileMeta> {
    const meta = yield* this.end(file)
    yield* file.sync()
    return meta
  }

  /** Writes the rest. At least one value was added. */
  *end(file: File): Flow<BlobFileMeta> {
    const { fileNumber, createdAt } = this.#options
    const totals = {
      itemCount: this.#itemCount,
      frameBytes: this.#frameBytes,
      rawBytes: this.#rawBytes,
    }
    this.#chunks.push(encodeBlobFooter({ ...totals, createdAt }, fileNumber, this.#offset))
    yield* file.write(this.#written, this.#chunks)
    return { fileNumber, size: this.size, ...totals }
  }
}
