/**
 * An open blob file: the values that pointers into it stand for. All versions that name it share
 * it.
 */

import type { Cache, CachedFile } from '../base/cache.ts'
import { frameBytes } from '../base/blob-pointer.ts'
import type { BlobPointer } from '../base/blob-pointer.ts'
import { FILE_HEADER_BYTES, fileHeaderError } from '../base/file-header.ts'
import type { Flow, Slice } from '../base/flow.ts'
import { compareInternal } from '../base/internal-key.ts'
import { compareRanges } from '../base/slice.ts'
import { atPlace, corruption, isErrno } from '../base/status.ts'
import type { FileCache } from '../vfs/file-cache.ts'
import { fileName, pathIn } from '../vfs/file-name.ts'
import type { ReadFile } from '../vfs/vfs.ts'
import {
  BLOB_FILE_OVERHEAD,
  BLOB_FOOTER_BYTES,
  BLOB_MAGIC,
  decodeBlobFooter,
  decodeBlobValue,
  decodeFrame,
} from './blob-format.ts'
import type { BlobFrame } from './blob-format.ts'
import { BlobScanner } from './blob-scanner.ts'
import type { BlobFileMeta } from './blob-writer.ts'

export interface BlobContext {
  readonly directory: string
  readonly cache: Cache
  readonly files: FileCache
  /** Removes a file that nobody reads and the manifest does not name. */
  readonly remove: (path: string, bytes: number) => void
}

/** What the blob files of one tree count while they are read. */
export class BlobCounters {
  loadsCached = 0
  loadsIo = 0
}

/**
 * A value in the cache, with what a pointer has to agree with: reading it again must notice what
 * reading its frame would.
 */
interface CachedValue {
  readonly key: Uint8Array
  readonly storedLength: number
  readonly value: Uint8Array
}

/** Memory that a value in the cache takes besides its key and itself, about. */
const VALUE_OVERHEAD = 200

export class BlobFile {
  readonly meta: BlobFileMeta
  readonly path: string
  readonly #file: ReadFile
  readonly #cache: CachedFile<CachedValue>
  readonly #counters: BlobCounters
  readonly #onObsolete: () => void
  #holders = 1
  #replaced = false

  private constructor(
    context: BlobContext,
    meta: BlobFileMeta,
    counters: BlobCounters,
    file: ReadFile,
  ) {
    this.meta = meta
    this.path = file.path
    this.#file = file
    this.#cache = context.cache.file()
    this.#counters = counters
    this.#onObsolete = () => context.remove(file.path, meta.size)
  }

  /** A file that the manifest names, or is about to: it must be what that says. Held once. */
  static *open(context: BlobContext, meta: BlobFileMeta, counters: BlobCounters): Flow<BlobFile> {
    const path = pathIn(context.directory, fileName('blob', meta.fileNumber))
    const file = context.files.file(path)
    try {
      const opened = new BlobFile(context, meta, counters, file)
      yield* opened.#checkEnds()
      return opened
    } catch (error) {
      file.close()
      if (!isErrno(error, 'ENOENT')) throw error
      throw corruption('the manifest names a blob file that is missing', path)
    }
  }

  /** The offset of the footer: frames end there. */
  get limit(): number {
    return this.meta.size - BLOB_FOOTER_BYTES
  }

  // --- holders -----------------------------------------------------------------------------------

  acquire(): void {
    this.#holders++
  }

  /** The last one closes the file; if no version names it any more, it is removed. */
  release(): void {
    if (--this.#holders > 0) return
    this.#cache.clear()
    this.#file.close()
    if (this.#replaced) this.#onObsolete()
  }

  /** No version will name it any more. */
  replace(): void {
    this.#replaced = true
  }

  // --- reading -----------------------------------------------------------------------------------

  /**
   * The value of the entry with this key and pointer, if it is in memory. `isNew`: the question was
   * not asked before, and the cache counts it.
   */
  cached(
    pointer: BlobPointer,
    key: Uint8Array,
    begin: number,
    end: number,
    isNew = true,
  ): Uint8Array | undefined {
    const { offset } = pointer
    const found = isNew ? this.#cache.get(offset) : this.#cache.peek(offset)
    if (found === undefined) return undefined
    const { value, storedLength } = found
    const isIt =
      storedLength === pointer.storedLength &&
      value.length === pointer.rawLength &&
      compareRanges(found.key, 0, found.key.length, key, begin, end) === 0
    if (!isIt) throw this.#wrongPointer(pointer)
    this.#counters.loadsCached++
    return value
  }

  /** The value from the file, by one read of its frame; into the cache unless `pastCache`. */
  *load(
    pointer: BlobPointer,
    key: Uint8Array,
    begin: number,
    end: number,
    pastCache = false,
  ): Flow<Uint8Array> {
    const { offset } = pointer
    const bytes = yield* this.read(offset, this.checkPlace(pointer, end - begin))
    try {
      const frame = yield* decodeFrame(bytes, this.meta.fileNumber, offset)
      this.checkFrame(frame, pointer, key, begin, end)
      const value = yield* decodeBlobValue(frame)
      this.#counters.loadsIo++
      if (!pastCache) this.#keep(offset, frame, value)
      return value
    } catch (error) {
      throw atPlace(error, this.path, offset)
    }
  }

  /** The value of a frame that was read with others, into the cache without these. */
  *take(frame: BlobFrame, offset: number): Flow<Uint8Array> {
    try {
      const decoded = yield* decodeBlobValue(frame)
      const value = decoded === frame.stored ? new Uint8Array(decoded) : decoded
      this.#counters.loadsIo++
      this.#keep(offset, frame, value)
      return value
    } catch (error) {
      throw atPlace(error, this.path, offset)
    }
  }

  #keep(offset: number, { key, stored }: BlobFrame, value: Uint8Array): void {
    // A view of the key would keep what the value was decompressed from.
    const own = value === stored ? key : new Uint8Array(key)
    const charge = VALUE_OVERHEAD + key.length + value.length
    this.#cache.put(offset, { key: own, storedLength: stored.length, value }, charge)
  }

  /** The length of the frame that the pointer asks for with a key like that; it may be there. */
  checkPlace({ offset, storedLength }: BlobPointer, keyLength: number): number {
    const length = frameBytes(keyLength, storedLength)
    if (offset >= FILE_HEADER_BYTES && offset + length <= this.limit) return length
    throw corruption('a blob pointer points outside its file', this.path, offset)
  }

  /** It is the frame that pointer and key ask for. */
  checkFrame(
    frame: BlobFrame,
    pointer: BlobPointer,
    key: Uint8Array,
    begin: number,
    end: number,
  ): void {
    const isIt =
      frame.stored.length === pointer.storedLength &&
      frame.rawLength === pointer.rawLength &&
      compareRanges(frame.key, 0, frame.key.length, key, begin, end) === 0
    if (!isIt) throw this.#wrongPointer(pointer)
  }

  #wrongPointer({ offset }: BlobPointer): Error {
    const message = 'a blob pointer does not fit the frame that it points to'
    return corruption(message, this.path, offset)
  }

  /** `length` bytes at `offset`. */
  *read(offset: number, length: number): Flow<Uint8Array> {
    const bytes = new Uint8Array(length)
    const got = yield* this.#file.read(offset, bytes)
    if (got < length) throw corruption('the blob file is cut off', this.path, offset + got)
    return bytes
  }

  // --- verification ------------------------------------------------------------------------------

  *#checkEnds(): Flow<void> {
    const { fileNumber, size, itemCount, frameBytes: frames, rawBytes } = this.meta
    const found = yield* this.#file.size()
    if (found !== size || size < BLOB_FILE_OVERHEAD) {
      const message = 'the blob file has another size than the manifest says'
      throw corruption(message, this.path, Math.min(found, size))
    }
    const header = yield* this.read(0, FILE_HEADER_BYTES)
    const wrong = fileHeaderError(header, BLOB_MAGIC, fileNumber, this.path)
    // The manifest names it: it is no stranger.
    if (wrong?.code === 'NOT_A_DATABASE') {
      throw corruption('the blob file does not begin as one', this.path, 0)
    }
    if (wrong !== undefined) throw wrong
    const tail = yield* this.read(this.limit, BLOB_FOOTER_BYTES)
    try {
      const footer = decodeBlobFooter(tail, fileNumber, this.limit)
      const agrees =
        footer.itemCount === itemCount &&
        footer.frameBytes === frames &&
        footer.rawBytes === rawBytes
      if (!agrees) throw corruption('the blob file has other totals than the manifest says')
    } catch (error) {
      throw atPlace(error, this.path, this.limit)
    }
  }

  /**
   * Reads every byte and checks every checksum, what every value decompresses to, the order of the
   * frames and the totals.
   */
  *verify(slice: Slice): Flow<void> {
    yield* this.#checkEnds()
    const scanner = new BlobScanner(this)
    let last: BlobFrame | undefined
    let items = 0
    let rawBytes = 0
    for (let frame = yield* scanner.next(); frame; frame = yield* scanner.next()) {
      const { key, seqno } = frame
      const ascends =
        last === undefined ||
        compareInternal(last.key, 0, last.key.length, last.seqno, key, 0, key.length, seqno) < 0
      if (!ascends) {
        throw corruption('the frames of a blob file do not ascend', this.path, scanner.offset)
      }
      try {
        yield* decodeBlobValue(frame)
      } catch (error) {
        throw atPlace(error, this.path, scanner.offset)
      }
      last = frame
      items++
      rawBytes += frame.rawLength
      if (slice.isOver) yield* slice.pass
    }
    if (items === this.meta.itemCount && rawBytes === this.meta.rawBytes) return
    throw corruption('the footer does not match the frames', this.path, this.limit)
  }
}
