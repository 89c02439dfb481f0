/**
 * What a flush or a compaction separates: one blob file after the other, each of about the wanted
 * size. Nothing is written before the first value.
 */

import type { BlobPointer } from '../base/blob-pointer.ts'
import type { Flow } from '../base/flow.ts'
import { tryRemove } from '../vfs/directory.ts'
import { fileName, pathIn } from '../vfs/file-name.ts'
import { UnsyncedFiles } from '../vfs/unsynced-files.ts'
import type { File, Vfs } from '../vfs/vfs.ts'
import type { BlobFrame } from './blob-format.ts'
import { BlobWriter } from './blob-writer.ts'
import type { BlobFileMeta, BlobWriteOptions } from './blob-writer.ts'

export interface BlobOutputOptions extends Omit<BlobWriteOptions, 'fileNumber'> {
  readonly vfs: Vfs
  readonly directory: string
  readonly newFileNumber: () => number
  /** Bytes after which a file is closed. */
  readonly fileSize: number
  /** Full files that wait for the end to be synced; by default none does. */
  readonly unsyncedMax?: number
}

interface Output {
  readonly fileNumber: number
  readonly writer: BlobWriter
  file: File | undefined
}

export class BlobOutput {
  readonly #options: BlobOutputOptions
  #current: Output | undefined
  /** Full, and not finished yet. */
  readonly #ended: Output[] = []
  readonly #finished: BlobFileMeta[] = []
  /** Of every file that was made. */
  readonly #paths: string[] = []
  readonly #unsynced: UnsyncedFiles

  constructor(options: BlobOutputOptions) {
    this.#options = options
    this.#unsynced = new UnsyncedFiles(options.unsyncedMax ?? 0)
  }

  /** Whether `drain` has something to do. */
  get isFull(): boolean {
    return this.#ended.length > 0 || this.#current?.writer.isFull === true
  }

  /** As `BlobWriter.add`: in internal order, without a call of the system up to LARGE_BYTES. */
  *add(
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
  ): Flow<BlobPointer> {
    return yield* this.#writer().add(seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd)
  }

  *addFrame(frame: BlobFrame): Flow<BlobPointer> {
    return yield* this.#writer().addFrame(frame)
  }

  /** That of the file which takes one more value. */
  #writer(): BlobWriter {
    const output = this.#current
    const { fileSize, newFileNumber } = this.#options
    const isOpen = output !== undefined && output.writer.size < fileSize
    if (isOpen || output?.writer.itemCount === 0) return output.writer
    if (output !== undefined) this.#ended.push(output)
    const fileNumber = newFileNumber()
    const writer = new BlobWriter({ ...this.#options, fileNumber })
    this.#current = { fileNumber, writer, file: undefined }
    return writer
  }

  /** Writes what was collected. */
  *drain(): Flow<void> {
    for (let [ended] = this.#ended; ended !== undefined; [ended] = this.#ended) {
      yield* this.#end(ended)
      this.#ended.shift()
    }
    const output = this.#current
    if (output?.writer.isFull === true) yield* output.writer.drain(yield* this.#open(output))
  }

  /** Ends the last file; all of them are synced then. The directory is the caller's to sync. */
  *finish(): Flow<readonly BlobFileMeta[]> {
    yield* this.drain()
    if (this.#current !== undefined) yield* this.#end(this.#current)
    this.#current = undefined
    yield* this.#unsynced.sync()
    return this.#finished
  }

  /** Closes everything that was written; its files, by their paths, are the caller's to remove. */
  letGo(): string[] {
    for (const output of [...this.#ended, this.#current]) output?.file?.close()
    this.#unsynced.close()
    return this.#paths.splice(0)
  }

  /** Removes everything that was written; what cannot be removed is left to the next open. */
  *abandon(): Flow<void> {
    for (const path of this.letGo()) yield* tryRemove(this.#options.vfs, path)
  }

  *#open(output: Output): Flow<File> {
    if (output.file !== undefined) return output.file
    const { vfs, directory } = this.#options
    const path = pathIn(directory, fileName('blob', output.fileNumber))
    this.#paths.push(path)
    output.file = yield* vfs.open(path, 'create')
    return output.file
  }

  *#end(output: Output): Flow<void> {
    const file = yield* this.#open(output)
    this.#finished.push(yield* output.writer.end(file))
    output.file = undefined
    yield* this.#unsynced.take(file)
  }
}
