/**
 * The output of a flush or a compaction where values are separated: large ones go to blob files,
 * and the tables get pointers. A pointer that comes in stays as it is, unless its file is
 * relocated: then its frame is copied as it is stored.
 */

import { decodeBlobPointer, encodeBlobPointer } from '../base/blob-pointer.ts'
import type { BlobPointer } from '../base/blob-pointer.ts'
import { CODECS, LARGE_BYTES } from '../base/compression.ts'
import { runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { KIND_BLOB_POINTER, KIND_VALUE } from '../base/internal-key.ts'
import type { BlobFile } from '../blob/blob-file.ts'
import { BlobOutput } from '../blob/blob-output.ts'
import { scannersOf } from '../blob/blob-scanner.ts'
import type { BlobScanner } from '../blob/blob-scanner.ts'
import type { BlobFileMeta } from '../blob/blob-writer.ts'
import type { KvSeparationSetting } from '../../engine.ts'
import { TableOutput } from './table-output.ts'
import type { OutputOptions, WrittenTable } from './table-output.ts'

/** An entry whose value takes calls of the system, or much time; parts of arrays that stay. */
interface Waiting {
  readonly kind: number
  readonly seqno: number
  readonly key: Uint8Array
  readonly keyBegin: number
  readonly keyEnd: number
  readonly value: Uint8Array
  readonly valueBegin: number
  readonly valueEnd: number
}

export class SeparatingOutput extends TableOutput {
  readonly #threshold: number
  readonly #blobs: BlobOutput
  /** Of the files that are relocated, by file number. */
  readonly #scanners: ReadonlyMap<number, BlobScanner>
  /** Stored by `drain`, before anything else comes. */
  #waiting: Waiting | undefined
  #blobFiles: readonly BlobFileMeta[] = []

  constructor(
    options: OutputOptions,
    { threshold, fileSize, compression }: KvSeparationSetting,
    relocated: readonly BlobFile[],
  ) {
    super(options)
    this.#threshold = threshold
    this.#blobs = new BlobOutput({ ...options, fileSize, codec: CODECS[compression] })
    this.#scanners = scannersOf(relocated)
  }

  override get blobFiles(): readonly BlobFileMeta[] {
    return this.#blobFiles
  }

  override get isFull(): boolean {
    return this.#waiting !== undefined || this.#blobs.isFull || super.isFull
  }

  override add(
    kind: number,
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
  ): void {
    const length = valueEnd - valueBegin
    const isSeparated = kind === KIND_VALUE && length >= this.#threshold
    const isRelocated = kind === KIND_BLOB_POINTER && this.#relocates(value, valueBegin)
    if (isRelocated || (isSeparated && length > LARGE_BYTES)) {
      this.#waiting = { kind, seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd }
    } else if (isSeparated) {
      const adding = this.#blobs.add(seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd)
      this.#addPointer(runSync(adding), seqno, key, keyBegin, keyEnd)
    } else {
      super.add(kind, seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd)
    }
  }

  #relocates(value: Uint8Array, at: number): boolean {
    return this.#scanners.size > 0 && this.#scanners.has(decodeBlobPointer(value, at).fileNumber)
  }

  #addPointer(
    pointer: BlobPointer,
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
  ): void {
    this.charge(pointer.storedLength)
    const bytes = encodeBlobPointer(pointer)
    super.add(KIND_BLOB_POINTER, seqno, key, keyBegin, keyEnd, bytes, 0, bytes.length)
  }

  override *drain(): Flow<void> {
    const waiting = this.#waiting
    if (waiting !== undefined) {
      this.#waiting = undefined
      const { seqno, key, keyBegin, keyEnd } = waiting
      this.#addPointer(yield* this.#store(waiting), seqno, key, keyBegin, keyEnd)
    }
    if (this.#blobs.isFull) yield* this.#blobs.drain()
    yield* super.drain()
  }

  *#store(waiting: Waiting): Flow<BlobPointer> {
    const { kind, seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd } = waiting
    if (kind === KIND_VALUE) {
      return yield* this.#blobs.add(seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd)
    }
    const pointer = decodeBlobPointer(value, valueBegin)
    const scanner = this.#scanners.get(pointer.fileNumber)!
    const frame = yield* scanner.get(pointer, key, keyBegin, keyEnd)
    return yield* this.#blobs.addFrame({ ...frame, seqno })
  }

  /** Blob files are durable before the tables that point into them. */
  override *finish(): Flow<readonly WrittenTable[]> {
    yield* this.drain()
    this.#blobFiles = yield* this.#blobs.finish()
    return yield* super.finish()
  }

  override letGo(): string[] {
    return [...this.#blobs.letGo(), ...super.letGo()]
  }
}
