/**
 * What a flush or a compaction writes: one table after the other, each of about the wanted size.
 * All versions of a key are in one table.
 */

import { compareTombstones } from '../base/range-tombstone.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { compareBytes, compareRanges, copyOf } from '../base/slice.ts'
import type { Flow } from '../base/flow.ts'
import type { File, Vfs } from '../vfs/vfs.ts'
import { syncDirectory, tryRemove } from '../vfs/directory.ts'
import { fileName, pathIn } from '../vfs/file-name.ts'
import { UnsyncedFiles } from '../vfs/unsynced-files.ts'
import type { BlobFileMeta } from '../blob/blob-writer.ts'
import { rangeBytes } from '../table/range-tombstones.ts'
import { TableWriter } from '../table/table-writer.ts'
import type { FinishedTable, TableWriteOptions } from '../table/table-writer.ts'
import type { EntrySink } from './retention.ts'
import { endsBefore } from './table-meta.ts'
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
  /** Full files that wait for the end to be synced; by default none does. */
  readonly unsyncedMax?: number
}

/** Takes what a job keeps: entries in internal order, range tombstones between them. */
export interface JobSink extends EntrySink {
  /** In order, and before the entries from its start on. */
  addRange(range: RangeTombstone): void
  /** Whether `drain` has something to do, as it must before anything else comes. */
  readonly isFull: boolean
  drain(): Flow<void>
}

export interface WrittenTable extends FinishedTable {
  readonly fileNumber: number
}

/** What the manifest says of a table that this engine wrote, once its place is known. */
export function metaOf(table: WrittenTable, { level, runOrder }: TablePlace): TableMeta {
  const { fileNumber, size, properties, blobs } = table
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
    blobs,
  }
}

interface Output {
  readonly fileNumber: number
  readonly writer: TableWriter
  file: File | undefined
  /** In order; those that reach behind the end of the table are cut there. */
  readonly ranges: RangeTombstone[]
  /** Bytes of these, and of those that the table before has left. */
  rangeBytes: number
  readonly leftBytes: number
}

/** Bytes of range tombstones from which a table ends: they are in memory while it is open. */
const RANGE_BYTES_MAX = 2 ** 22
/** So many are kept that may have ended before it is looked which have. */
const REACHING_MIN = 16

export class TableOutput implements JobSink {
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
  /**
   * Places in the current output of range tombstones that may reach behind what was added last; and
   * how many of them have been seen to.
   */
  #reaching: number[] = []
  #reachingSeen = REACHING_MIN
  /** Bytes of entries that were added since the last pause. */
  #unpaid = 0
  /** Of every file that was made. */
  readonly #paths: string[] = []
  readonly #unsynced: UnsyncedFiles

  constructor(options: OutputOptions) {
    this.#options = options
    this.#unsynced = new UnsyncedFiles(options.unsyncedMax ?? 0)
  }

  /** What was written besides the tables. */
  get blobFiles(): readonly BlobFileMeta[] {
    return []
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
    this.#unpaid += keyEnd - keyBegin + valueEnd - valueBegin
    const output = this.#outputFor(key, keyBegin, keyEnd)
    output.writer.add(kind, seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd)
  }

  /** Other bytes that are written. */
  protected charge(bytes: number): void {
    this.#unpaid += bytes
  }

  /** In order, and before the entries from its start on. */
  addRange(range: RangeTombstone): void {
    const { start } = range
    const output = this.#outputFor(start, 0, start.length)
    this.#unpaid += rangeBytes(range)
    this.#put(output, range)
    if (this.#reaching.length < 2 * this.#reachingSeen) return
    this.#reaching = this.#reaching.filter((i) => reachesBehind(output.ranges[i]!, start))
    this.#reachingSeen = Math.max(REACHING_MIN, this.#reaching.length)
  }

  /** What the table before has left comes first and may have the same start. */
  #put(output: Output, range: RangeTombstone): void {
    const { ranges } = output
    let at = ranges.length
    while (at > 0 && compareTombstones(ranges[at - 1]!, range) > 0) at--
    if (at < ranges.length) {
      this.#reaching = this.#reaching.map((i) => (i >= at ? i + 1 : i))
    }
    ranges.splice(at, 0, range)
    this.#reaching.push(at)
    output.rangeBytes += rangeBytes(range)
  }

  /** The output that takes what begins with this key. */
  #outputFor(key: Uint8Array, begin: number, end: number): Output {
    const output = this.#current
    const isFenced = this.#passFences(key, begin, end)
    const mustEnd = this.#meetsTooMuch(key, begin, end) || isFenced
    if (output === undefined) return this.#begin([])
    if (!mustEnd && !this.#isLargeEnough(output)) return output
    if (output.writer.endsWithKey(key, begin, end)) return output
    // What begins with the key is in one table as well.
    const last = output.ranges.at(-1)?.start
    if (last !== undefined && compareRanges(last, 0, last.length, key, begin, end) === 0) {
      return output
    }
    return this.#begin(this.#cut(output, copyOf(key, begin, end)))
  }

  /** What the table before has left does not fill a table alone. */
  #isLargeEnough({ writer, rangeBytes: bytes, leftBytes }: Output): boolean {
    const size = writer.estimatedSize + bytes
    const isLarge = size >= this.#options.targetSize || bytes >= RANGE_BYTES_MAX
    return isLarge && size - leftBytes >= leftBytes
  }

  /** Ends an output before a key; what is left of its range tombstones begins there. */
  #cut(output: Output, key: Uint8Array): RangeTombstone[] {
    const left: RangeTombstone[] = []
    for (const i of this.#reaching) {
      const range = output.ranges[i]!
      if (!reachesBehind(range, key)) continue
      output.ranges[i] = { ...range, end: key }
      left.push({ ...range, start: key })
    }
    this.#ended.push(output)
    return left.toSorted(compareTombstones)
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
    yield* this.#unsynced.sync()
    if (this.#tables.length > 0) yield* syncDirectory(this.#options.vfs, this.#options.directory)
    return this.#tables
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
      const { size } = table
      if (!endsBefore(table, key, begin, end)) break
      if (this.#current !== undefined) this.#belowBytes += size
      this.#below++
    }
    return this.#belowBytes > belowBytesMax
  }

  /** With what the table before has left. */
  #begin(ranges: RangeTombstone[]): Output {
    this.#belowBytes = 0
    this.#reaching = [...ranges.keys()]
    this.#reachingSeen = Math.max(REACHING_MIN, ranges.length)
    const fileNumber = this.#options.newFileNumber()
    const writer = new TableWriter({ ...this.#options, fileNumber })
    const leftBytes = ranges.reduce((sum, range) => sum + rangeBytes(range), 0)
    const output = {
      fileNumber,
      writer,
      file: undefined,
      ranges,
      rangeBytes: leftBytes,
      leftBytes,
    }
    this.#current = output
    return output
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
    const finished = yield* output.writer.end(file, output.ranges)
    output.file = undefined
    yield* this.#unsynced.take(file)
    this.#tables.push({ fileNumber: output.fileNumber, ...finished })
  }
}

function reachesBehind({ end }: RangeTombstone, key: Uint8Array): boolean {
  return end === undefined || compareBytes(end, key) > 0
}
