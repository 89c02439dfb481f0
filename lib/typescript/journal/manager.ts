/**
 * The active journal with its staged records, the prepared next one, and the sealed ones until
 * every tree has flushed past them.
 *
 * Records are staged (encoded for the offset where they will lie) and handed over to the file in
 * one write, so that a group of commits costs one system call. What is staged but not handed over
 * is what the durability `buffered` means.
 *
 * Invariants: journals are synced in the order of their numbers, so that nothing in one counts as
 * durable before all older ones are; a sealed journal never grows; sealed journals leave in order,
 * oldest first, and only when synced.
 */

import { Encoder } from '../base/coding.ts'
import type { Flow } from '../base/flow.ts'
import {
  LOG_HEADER_BYTES,
  putRecordHeader,
  RECORD_DATA,
  RECORD_HEADER_BYTES,
} from './log-format.ts'
import type { LogWriter } from './log-writer.ts'

/** Per tree: the highest seqno that a journal holds of it and that is not flushed. */
export type Watermarks = Map<number, number>

export interface SealedJournal {
  readonly number: number
  /** Its final length. */
  readonly bytes: number
  /** Of its last record; 0 if it has none. */
  readonly lastSeqno: number
  /** Entries of trees that have flushed past them go. */
  readonly watermarks: Watermarks
  /** The manifest states its final length. */
  recorded: boolean
  /** None for journals that recovery found: they are durable. */
  readonly writer: LogWriter | undefined
}

/** A point to cut back to when a group fails. */
export interface StagingMark {
  readonly length: number
  readonly seqno: number
  readonly stated: number
}

/** What seqno a tree has flushed up to; undefined for a tree that is gone. */
export type FlushedSeqno = (tree: number) => number | undefined

/** Room for staged records that is kept when they are gone. */
const STAGING_BYTES = 256 * 1024

export class JournalManager {
  #sealed: SealedJournal[] = []
  #active: LogWriter
  #next: LogWriter | undefined
  #staged = new Encoder(STAGING_BYTES)
  /** Of the last staged record. */
  #stagedSeqno = 0
  /** Highest synced_to among the staged records. */
  #stagedStated = 0
  /** Highest seqno whose record was handed over; 0 if none. */
  handedOver = 0
  /** Writes to files, and their bytes, over all journals. */
  appends = 0
  bytesWritten = 0
  /** Told of each sync of a journal that succeeded, with its milliseconds. */
  onSync: (milliseconds: number) => void = () => {}

  /** `sealed`: what recovery found, in ascending order. */
  constructor(active: LogWriter, sealed: readonly SealedJournal[] = []) {
    this.#active = this.#watched(active)
    this.#sealed = [...sealed]
  }

  #watched(writer: LogWriter): LogWriter {
    writer.onSync = (milliseconds) => this.onSync(milliseconds)
    return writer
  }

  #countAppend(bytes: number): void {
    this.appends++
    this.bytesWritten += bytes
  }

  // --- records -----------------------------------------------------------------------------------

  /** Encodes a record behind those that wait to be handed over. */
  stage(count: number, seqno: number, payload: Uint8Array): void {
    const { fileNumber, end, syncedTo } = this.#active
    const staged = this.#staged
    const at = staged.take(RECORD_HEADER_BYTES + payload.length)
    staged.bytes.set(payload, at + RECORD_HEADER_BYTES)
    putRecordHeader(staged.bytes, at, fileNumber, end + at, {
      type: RECORD_DATA,
      count,
      syncedTo,
      seqno,
      payloadLength: payload.length,
    })
    this.#stagedSeqno = seqno
    this.#stagedStated = syncedTo
  }

  get stagedBytes(): number {
    return this.#staged.length
  }

  mark(): StagingMark {
    return {
      length: this.#staged.length,
      seqno: this.#stagedSeqno,
      stated: this.#stagedStated,
    }
  }

  cutBack(mark: StagingMark): void {
    this.#staged.length = mark.length
    this.#stagedSeqno = mark.seqno
    this.#stagedStated = mark.stated
  }

  /** Writes what is staged. When that fails everything stays staged. */
  handOver(): void {
    const staged = this.#staged
    if (staged.length === 0) return
    this.#active.appendEncoded([staged.view()], this.#stagedStated)
    this.#countAppend(staged.length)
    this.handedOver = this.#stagedSeqno
    if (staged.bytes.length > 4 * STAGING_BYTES) this.#staged = new Encoder(STAGING_BYTES)
    else staged.clear()
  }

  /** Hands over, then writes one record without copying its payload. */
  append(count: number, seqno: number, payload: Uint8Array): void {
    this.handOver()
    this.#active.append(count, seqno, payload)
    this.#countAppend(RECORD_HEADER_BYTES + payload.length)
    this.handedOver = seqno
  }

  /** States what is durable, if no record has said so yet. */
  witness(): void {
    if (this.stagedBytes > 0) return
    const before = this.#active.end
    this.#active.witness()
    if (this.#active.end > before) this.#countAppend(this.#active.end - before)
  }

  /** Makes everything durable that was handed over before the call. */
  *sync(): Flow<void> {
    const writers = this.#sealed.flatMap(({ writer }) => writer ?? [])
    writers.push(this.#active)
    for (const writer of writers) yield* writer.sync()
  }

  // --- files -------------------------------------------------------------------------------------

  get hasNext(): boolean {
    return this.#next !== undefined
  }

  /** The journal that follows the active one: created, durable, and named by the manifest. */
  setNext(next: LogWriter): void {
    this.#next = this.#watched(next)
  }

  /** Seals the active journal and goes on in the next. Nothing may be staged. */
  rotate(watermarks: Watermarks): void {
    if (this.#next === undefined || this.stagedBytes > 0) throw new Error('nothing to rotate to')
    this.#sealed.push({
      number: this.#active.fileNumber,
      bytes: this.#active.end,
      lastSeqno: this.handedOver,
      watermarks,
      recorded: false,
      writer: this.#active,
    })
    this.#active = this.#next
    this.#next = undefined
    this.#stagedStated = 0
  }

  /** Why the active journal takes no more records. */
  get failure(): Error | undefined {
    return this.#active.failure
  }

  get activeNumber(): number {
    return this.#active.fileNumber
  }

  get activeBytes(): number {
    return this.#active.end
  }

  /** Whether the active journal has a record; one without is not rotated. */
  get activeIsEmpty(): boolean {
    return this.#active.end === LOG_HEADER_BYTES && this.stagedBytes === 0
  }

  get unsyncedBytes(): number {
    return this.#active.unsyncedBytes
  }

  get sealedBytes(): number {
    return this.#sealed.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Files that hold records, the active one included. */
  get count(): number {
    return this.#sealed.length + 1
  }

  /** Of all journals, the prepared one included. */
  get numbers(): number[] {
    const files = [this.#active, ...(this.#next === undefined ? [] : [this.#next])]
    return [...this.#sealed, ...files.map(({ fileNumber: number }) => ({ number }))].map(
      ({ number }) => number,
    )
  }

  /** Sealed journals whose final length the manifest does not state. */
  get unrecordedCount(): number {
    return this.#sealed.filter(({ recorded }) => !recorded).length
  }

  /** Sealed and durable journals whose final length the manifest does not state. */
  unrecorded(): { readonly number: number; readonly bytes: number }[] {
    return this.#sealed.filter((journal) => !journal.recorded && isDurable(journal))
  }

  markRecorded(number: number): void {
    const journal = this.#sealed.find((candidate) => candidate.number === number)
    if (journal !== undefined) journal.recorded = true
  }

  /** Where all journals end that are not recorded, when no more records come. After a sync. */
  finalLengths(): { readonly number: number; readonly bytes: number }[] {
    const files = [this.#active, ...(this.#next === undefined ? [] : [this.#next])]
    return [
      ...this.#sealed.filter(({ recorded }) => !recorded),
      ...files.map(({ fileNumber, end }) => ({ number: fileNumber, bytes: end })),
    ]
  }

  /** The oldest sealed journals that hold nothing unflushed. */
  evictable(flushedSeqno: FlushedSeqno): readonly SealedJournal[] {
    const first = this.#sealed.findIndex(
      (journal) => !isDurable(journal) || isPinned(journal, flushedSeqno),
    )
    return first < 0 ? this.#sealed : this.#sealed.slice(0, first)
  }

  /** Trees that keep the oldest sealed journal from leaving. */
  pinning(flushedSeqno: FlushedSeqno): number[] {
    const [oldest] = this.#sealed
    return oldest === undefined ? [] : unflushed(oldest, flushedSeqno)
  }

  /** Journals that the manifest no longer names. */
  drop(numbers: ReadonlySet<number>): void {
    for (const { number, writer } of this.#sealed) if (numbers.has(number)) writer?.close()
    this.#sealed = this.#sealed.filter(({ number }) => !numbers.has(number))
  }

  close(): void {
    for (const { writer } of this.#sealed) writer?.close()
    this.#active.close()
    this.#next?.close()
  }
}

function isDurable({ writer, bytes }: SealedJournal): boolean {
  return writer === undefined || writer.syncedTo >= bytes
}

/** Asked after every flush, so it looks at no tree again that has flushed past the journal. */
function isPinned({ watermarks }: SealedJournal, flushedSeqno: FlushedSeqno): boolean {
  for (const [tree, highest] of watermarks) {
    const flushed = flushedSeqno(tree)
    if (flushed !== undefined && flushed <= highest) return true
    watermarks.delete(tree)
  }
  return false
}

/** Trees of which the journal holds what is not in tables. */
function unflushed({ watermarks }: SealedJournal, flushedSeqno: FlushedSeqno): number[] {
  const trees: number[] = []
  for (const [tree, highest] of watermarks) {
    const flushed = flushedSeqno(tree)
    if (flushed !== undefined && flushed <= highest) trees.push(tree)
  }
  return trees
}
