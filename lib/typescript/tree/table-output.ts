/**
 * What a flush or a compaction writes: one table after the other, each of about the wanted size.
 * All versions of a key are in one table.
 */

import { compareRanges } from '../base/slice.ts'
import type { Flow } from '../base/flow.ts'
import type { File, Vfs } from '../vfs/vfs.ts'
import { syncDirectory } from '../vfs/directory.ts'
import { fileName, pathIn } from '../vfs/file-name.ts'
import { TableWriter } from '../table/table-writer.ts'
import type { TableProperties } from '../table/table-format.ts'
import type { TableWriteOptions } from '../table/table-writer.ts'
import type { EntrySink } from './retention.ts'
import type { TableMeta } from './table-meta.ts'
import type { TablePlace } from './version.ts'

export interface OutputOptions extends Omit<TableWriteOptions, 'fileNumber'> {
  readonly vfs: Vfs
  readonly directory: string
  readonly newFileNumber: () => number
  /** Bytes from which a table ends. */
  readonly targetSize: number
  /** Keys, ascending, that no table may span: it ends before the first one that it meets. */
  readonly fences?: readonly Uint8Array[]
  /** Tables of the level below, in key order; one output meets at most so many bytes of them. */
  readonly below?: readonly TableMeta[]
  readonly belowBytesMax?: number
  /** Waits for what was written to be paid for. */
  readonly throttle?: (bytes: number) => Flow<void>
}

export interface WrittenTable {
  readonly fileNumber: number
  readonly size: number
  readonly properties: TableProperties
}

/** What the manifest says of a table that this engine wrote, once its place is known. */
export function metaOf(table: WrittenTable, { level, runOrder }: TablePlace): TableMeta {
  const { fileNumber, size, properties } = table
  const {
    itemCount,
    tombstoneCount,
    weakTombstoneCount,
    rangeTombstoneCount,
    blockCount,
    firstKey,
    lastKey,
    lastKeyBound,
    lowestSeqno,
    highestSeqno,
    createdAt,
    codec,
  } = properties
  return {
    fileNumber,
    level,
    runOrder,
    size,
    itemCount,
    tombstoneCount,
    weakTombstoneCount,
    rangeTombstoneCount,
    blockCount,
    firstKey,
    lastKey,
    lastKeyBound,
    lowestSeqno,
    highestSeqno,
    globalSeqno: 0,
    createdAt,
    codec,
    blobs: [],
  }
}

interface Output {
  readonly fileNumber: number
  readonly writer: TableWriter
  file: File | undefined
}

export class TableOutput implements EntrySink {
  readonly #options: OutputOptions
  #current: Output | undefined
  /** Full, and not finished yet. */
  readonly #ended: Output[] = []
  readonly #tables: WrittenTable[] = []
  /** The first fence that no key has reached. */
  #fence = 0
  /** The first table below that no key has passed, and the bytes of those that the output meets. */
  #below = 0
  #belowBytes = 0
  /** Bytes of entries that were added since the last pause. */
  #unpaid = 0
  /** Of every file that was made. */
  readonly #paths: string[] = []

  constructor(options: OutputOptions) {
    this.#options = options
  }

  /** Whether `drain` has something to do. */
  get isFull(): boolean {
    return this.#ended.length > 0 || this.#current?.writer.isFull === true
  }

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
    let output = this.#current
    const isFenced = this.#passFences(key, keyBegin, keyEnd)
    const mustEnd = this.#meetsTooMuch(key, keyBegin, keyEnd) || isFenced
    this.#unpaid += keyEnd - keyBegin + valueEnd - valueBegin
    if (
      output !== undefined &&
      (mustEnd || output.writer.estimatedSize >= this.#options.targetSize) &&
      !output.writer.endsWithKey(key, keyBegin, keyEnd)
    ) {
      this.#ended.push(output)
      output = undefined
    }
    output ??= this.#begin()
    output.writer.add(kind, seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd)
  }

  /** Writes what was collected. */
  *drain(): Flow<void> {
    for (let [ended] = this.#ended; ended !== undefined; [ended] = this.#ended) {
      yield* this.#end(ended)
      this.#ended.shift()
    }
    const output = this.#current
    if (output?.writer.isFull === true) yield* output.writer.drain(yield* this.#open(output))
    const unpaid = this.#unpaid
    this.#unpaid = 0
    if (this.#options.throttle !== undefined) yield* this.#options.throttle(unpaid)
  }

  /** Ends the last table; all of them are durable when it is done. */
  *finish(): Flow<readonly WrittenTable[]> {
    yield* this.drain()
    if (this.#current !== undefined) yield* this.#end(this.#current)
    this.#current = undefined
    if (this.#tables.length > 0) yield* syncDirectory(this.#options.vfs, this.#options.directory)
    return this.#tables
  }

  /** Removes everything that was written; what cannot be removed is left to the next open. */
  *abandon(): Flow<void> {
    for (const output of [...this.#ended, this.#current]) output?.file?.close()
    for (const path of this.#paths) {
      try {
        yield* this.#options.vfs.remove(path)
      } catch {
        // The directory is cleaned when it is opened.
      }
    }
  }

  /** Whether a fence lies between the last entry and this key. */
  #passFences(key: Uint8Array, begin: number, end: number): boolean {
    const { fences = [] } = this.#options
    const before = this.#fence
    for (let fence = fences[before]; fence !== undefined; fence = fences[this.#fence]) {
      if (compareRanges(fence, 0, fence.length, key, begin, end) > 0) break
      this.#fence++
    }
    return this.#fence > before
  }

  /** Whether the tables below that lie before this key are more than one output should meet. */
  #meetsTooMuch(key: Uint8Array, begin: number, end: number): boolean {
    const { below = [], belowBytesMax = 0 } = this.#options
    for (let table = below[this.#below]; table !== undefined; table = below[this.#below]) {
      const { lastKey, size } = table
      if (compareRanges(lastKey, 0, lastKey.length, key, begin, end) >= 0) break
      if (this.#current !== undefined) this.#belowBytes += size
      this.#below++
    }
    return this.#belowBytes > belowBytesMax
  }

  #begin(): Output {
    this.#belowBytes = 0
    const fileNumber = this.#options.newFileNumber()
    const writer = new TableWriter({ ...this.#options, fileNumber })
    this.#current = { fileNumber, writer, file: undefined }
    return this.#current
  }

  *#open(output: Output): Flow<File> {
    if (output.file !== undefined) return output.file
    const { vfs, directory } = this.#options
    const path = pathIn(directory, fileName('table', output.fileNumber))
    this.#paths.push(path)
    output.file = yield* vfs.open(path, 'create')
    return output.file
  }

  *#end(output: Output): Flow<void> {
    const file = yield* this.#open(output)
    const { size, properties } = yield* output.writer.finish(file)
    file.close()
    output.file = undefined
    this.#tables.push({ fileNumber: output.fileNumber, size, properties })
  }
}
