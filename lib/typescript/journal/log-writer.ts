/**
 * Appends records to a log; docs/format.md, 4.3.
 *
 * Appending is a call without a wait: it hands bytes to the system. `sync` makes them durable. Each
 * record states how much a successful sync has covered; `witness` appends a record that does
 * nothing else, so that damage behind the last sync can be told from a torn tail.
 *
 * A failed append is cut back, durably, before anything else is appended. Where that fails, and
 * after a failed sync, the writer writes no more: whether the last records survive is unknown.
 *
 * A system tells of what it could not write once per open file. So async syncs go one at a time,
 * and a sync one, which does not wait for that, has an open file of its own: each is told.
 */

import { ShaleError } from '../../errors.ts'
import { Io } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import type { File, Vfs } from '../vfs/vfs.ts'
import {
  encodeLogHeader,
  LOG_HEADER_BYTES,
  putRecordHeader,
  RECORD_DATA,
  RECORD_HEADER_BYTES,
  RECORD_SYNCED_TO,
} from './log-format.ts'
import type { LogKind } from './log-format.ts'

export class LogWriter {
  readonly file: File
  /** The same, for syncs that block. */
  readonly #twin: File
  readonly fileNumber: number
  /** Length of the file: where the next record goes. */
  end: number
  /** Length that the last successful sync covered; 0 before the first. */
  syncedTo: number
  /** Why the writer writes no more. */
  failure: ShaleError | undefined
  /** Told of each sync that succeeded, with its milliseconds. */
  onSync: (milliseconds: number) => void = () => {}
  /** Highest `syncedTo` that a record states; that the header is durable need not be said. */
  #stated: number
  /** Where the last data record ends. */
  #dataEnd: number
  /** An async sync that runs; it does not fail. */
  #syncing: Promise<void> | undefined

  /** Goes on behind `end` of an open file; `syncedTo`: what its records state already. */
  constructor(file: File, fileNumber: number, end: number, syncedTo: number, twin: File = file) {
    this.file = file
    this.#twin = twin
    this.fileNumber = fileNumber
    this.end = end
    this.syncedTo = syncedTo
    this.#stated = Math.max(syncedTo, LOG_HEADER_BYTES)
    this.#dataEnd = end
  }

  /** A new file with its header; nothing of it is durable yet. */
  static *create(vfs: Vfs, path: string, kind: LogKind, fileNumber: number): Flow<LogWriter> {
    const file = yield* vfs.open(path, 'create')
    try {
      const twin = yield* vfs.open(path, 'write')
      const writer = new LogWriter(file, fileNumber, LOG_HEADER_BYTES, 0, twin)
      try {
        yield* file.write(0, [encodeLogHeader(kind, fileNumber)])
        return writer
      } catch (error) {
        twin.close()
        throw error
      }
    } catch (error) {
      file.close()
      throw error
    }
  }

  /** One that is there: goes on behind `end`; `syncedTo`: what its records state already. */
  static *open(
    vfs: Vfs,
    path: string,
    fileNumber: number,
    end: number,
    syncedTo: number,
  ): Flow<LogWriter> {
    const file = yield* vfs.open(path, 'write')
    try {
      const twin = yield* vfs.open(path, 'write')
      return new LogWriter(file, fileNumber, end, syncedTo, twin)
    } catch (error) {
      file.close()
      throw error
    }
  }

  /** Bytes of data that no sync has covered. */
  get unsyncedBytes(): number {
    return Math.max(0, this.#dataEnd - Math.max(this.syncedTo, LOG_HEADER_BYTES))
  }

  /** Writes one data record. */
  append(count: number, seqno: number, payload: Uint8Array): void {
    const header = new Uint8Array(RECORD_HEADER_BYTES)
    const record = { type: RECORD_DATA, count, syncedTo: this.syncedTo, seqno }
    const whole = { ...record, payloadLength: payload.length }
    putRecordHeader(header, 0, this.fileNumber, this.end, whole, payload)
    this.appendEncoded([header, payload], this.syncedTo)
  }

  /**
   * Writes data records that were encoded for the offset `end`; `stated` is their highest
   * synced_to.
   */
  appendEncoded(pieces: readonly Uint8Array[], stated: number): void {
    this.#write(pieces, stated)
    this.#dataEnd = this.end
  }

  #write(pieces: readonly Uint8Array[], stated: number): void {
    if (this.failure !== undefined) throw this.failure
    try {
      this.file.write(this.end, pieces).sync()
    } catch (error) {
      this.#cutBack()
      throw error
    }
    for (const piece of pieces) this.end += piece.length
    this.#stated = Math.max(this.#stated, stated)
  }

  /** No crash may bring back what was reported as failed. */
  #cutBack(): void {
    try {
      this.file.truncate(this.end).sync()
      this.#twin.sync().sync()
    } catch (error) {
      this.failure = failedBy(error, 'a failed append could not be taken back')
    }
  }

  /** Makes everything durable that was appended before the call. */
  *sync(): Flow<void> {
    if (this.failure !== undefined) throw this.failure
    if (this.end > this.syncedTo) yield* this.#syncUpTo(this.end)
  }

  #syncUpTo(end: number): Io<void> {
    return new Io<void>(
      () => {
        const covered = this.end
        const begin = performance.now()
        try {
          this.#twin.sync().sync()
        } catch (error) {
          this.failure ??= syncFailure(error)
        }
        this.#cover(covered, begin)
      },
      async () => {
        // One after the other.
        // oxlint-disable-next-line no-await-in-loop
        while (this.#syncing !== undefined) await this.#syncing
        if (end <= this.syncedTo) return
        if (this.failure !== undefined) throw this.failure
        const covered = this.end
        const begin = performance.now()
        this.#syncing = this.#syncAsync()
        await this.#syncing
        this.#cover(covered, begin)
      },
    )
  }

  async #syncAsync(): Promise<void> {
    try {
      await this.file.sync().async()
    } catch (error) {
      this.failure ??= syncFailure(error)
    } finally {
      this.#syncing = undefined
    }
  }

  /** After a sync that began at that length. Another one may have failed at the same meanwhile. */
  #cover(end: number, begin: number): void {
    if (this.failure !== undefined) throw this.failure
    this.syncedTo = Math.max(this.syncedTo, end)
    this.onSync(performance.now() - begin)
  }

  /**
   * States what is durable, if no record has said so yet of all data. It needs no sync of its own,
   * and is no reason for another.
   */
  witness(): void {
    if (this.#stated >= this.#dataEnd || this.syncedTo <= this.#stated) return
    if (this.failure !== undefined) return
    const header = new Uint8Array(RECORD_HEADER_BYTES)
    const record = { type: RECORD_SYNCED_TO, count: 0, syncedTo: this.syncedTo, seqno: 0 }
    putRecordHeader(header, 0, this.fileNumber, this.end, { ...record, payloadLength: 0 })
    this.#write([header], this.syncedTo)
  }

  /** A sync that runs goes on to its end. */
  close(): void {
    this.file.close()
    this.#twin.close()
  }
}

function failedBy(error: unknown, message: string): ShaleError {
  const { path } = error instanceof ShaleError ? error : { path: undefined }
  return new ShaleError('DB_FAILED', message, { path, cause: error })
}

/**
 * Never tried again: what the failed sync was to make durable may be lost, whatever comes after.
 */
function syncFailure(error: unknown): ShaleError {
  const details = error instanceof ShaleError ? error : undefined
  return new ShaleError('SYNC_FAILED', 'the file could not be synced', {
    path: details?.path,
    errno: details?.errno,
    syscall: details?.syscall,
    indeterminate: true,
    cause: error,
  })
}
