/** Ingestions: sorted data that goes to tables at once, past the journal and the memtables. */

import { TOMBSTONE, VALUE, WEAK_TOMBSTONE, type EntryKind, type IngestionEngine } from './engine.ts'
import { keyError, MAX_KEY_BYTES, ShaleError, valueError } from './errors.ts'
import { IngestionRows, type Refusal } from './ingestion-rows.ts'
import { sizeOf } from './input-bytes.ts'
import { rejected, uncloneable, wrongReceiver } from './receiver.ts'
import type { KeyInput, ValueInput } from './types.ts'

/** What an ingestion needs from what it goes into. */
export interface IngestionOwner {
  readonly closing: boolean
  readonly maxValueSize: number
  /** Throws DB_CLOSED once closing. */
  checkOpen(): void
}

/** Rolls back the ingestions that were dropped without an end. */
const abandoned = new FinalizationRegistry<IngestionEngine>((engine) => {
  engine.abort()
})

const TOKEN = Symbol('ingestion')

/** For Keyspace and Tree only. */
export let makeIngestion: (owner: IngestionOwner, engine: IngestionEngine) => Ingestion

/**
 * A sorted bulk load: entries with ascending keys become tables while they are written, and all of
 * them visible at once by `finish()`. After a crash all of them are there, or none.
 *
 * ```ts
 * using load = await keyspace.startIngestion()
 * for (const [key, value] of sorted) load.write(key, value)
 * console.log(await load.finish())
 * ```
 *
 * They count as written when it finishes: newer than what the keyspace held until then, one seqno
 * for all. Snapshots of before see nothing of it. One that is neither finished nor aborted is
 * rolled back when its database is closed, or when it is collected.
 */
export class Ingestion {
  readonly #owner: IngestionOwner
  readonly #engine: IngestionEngine
  readonly #rows: IngestionRows
  #state: 'open' | 'finishing' | 'finished' | 'aborted' = 'open'
  /** Why the engine takes no more. */
  #failure: Error | undefined

  private constructor(token: symbol, owner: IngestionOwner, engine: IngestionEngine) {
    if (token !== TOKEN) {
      throw new ShaleError('INVALID_ARGUMENT', 'an Ingestion is made by startIngestion()')
    }
    uncloneable(this)
    this.#owner = owner
    this.#engine = engine
    this.#rows = new IngestionRows((rows) => engine.write(rows))
    abandoned.register(this, engine, this)
  }

  static {
    makeIngestion = (owner, engine) => new Ingestion(TOKEN, owner, engine)
  }

  /**
   * The next entry. It is copied, and now and then written to the page cache; no device is waited
   * for. An entry that is refused changes nothing, and others may follow; a failure of the system
   * is final, and what every later call fails with.
   *
   * @throws ShaleError INGESTION_OUT_OF_ORDER unless the key is above the one before; INVALID_KEY,
   *   KEY_TOO_LARGE, INVALID_VALUE, VALUE_TOO_LARGE; INVALID_ARGUMENT after `finish` or `abort`;
   *   DB_CLOSED, DISK_FULL, IO_ERROR
   */
  write(key: KeyInput, value: ValueInput): void {
    if (!(#owner in Object(this))) throw wrongReceiver('Ingestion', 'write')
    this.#add(VALUE, key, value)
  }

  /** The removal of a key, in its place among the others: it hides what was there before. */
  writeTombstone(key: KeyInput): void {
    if (!(#owner in Object(this))) throw wrongReceiver('Ingestion', 'writeTombstone')
    this.#add(TOMBSTONE, key, '')
  }

  /** As `Keyspace.removeWeak`: only for keys written at most once since their last removal. */
  writeWeakTombstone(key: KeyInput): void {
    if (!(#owner in Object(this))) throw wrongReceiver('Ingestion', 'writeWeakTombstone')
    this.#add(WEAK_TOMBSTONE, key, '')
  }

  /**
   * Makes all entries durable and visible, and says how many they were. What the keyspace holds in
   * memory is flushed on the way; writes go on meanwhile, and those that come behind it resolve
   * after it. One that fails has changed nothing, and is over.
   *
   * @throws ShaleError INVALID_ARGUMENT after `finish` or `abort`; DISK_FULL, IO_ERROR,
   *   SYNC_FAILED, DB_FAILED, DB_CLOSED
   */
  finish(): Promise<number> {
    if (!(#owner in Object(this))) return rejected(wrongReceiver('Ingestion', 'finish'))
    try {
      this.#beginFinish()
      return this.#finish()
    } catch (error) {
      return rejected(error)
    }
  }

  async #finish(): Promise<number> {
    try {
      return await this.#engine.finish()
    } finally {
      this.#state = 'finished'
    }
  }

  finishSync(): number {
    if (!(#owner in Object(this))) throw wrongReceiver('Ingestion', 'finishSync')
    this.#beginFinish()
    this.#state = 'finished'
    return this.#engine.finishSync()
  }

  /**
   * Gives up: nothing was written. Where it has an end already, this does nothing.
   *
   * @throws ShaleError INVALID_ARGUMENT while `finish` is pending
   */
  abort(): void {
    if (!(#owner in Object(this))) throw wrongReceiver('Ingestion', 'abort')
    if (this.#state === 'finishing') throw hasEnded(this.#state)
    if (this.#state === 'open') this.#end()
  }

  /** Gives up unless `finish` was called. */
  [Symbol.dispose](): void {
    if (!(#owner in Object(this))) throw wrongReceiver('Ingestion', 'dispose')
    if (this.#state === 'open') this.#end()
  }

  #add(kind: EntryKind, key: KeyInput, value: ValueInput): void {
    this.#check()
    const keyLength = sizeOf(key)
    if (!(keyLength > 0 && keyLength <= MAX_KEY_BYTES)) throw keyError(key)
    const { maxValueSize } = this.#owner
    const valueLength = sizeOf(value)
    if (!(valueLength >= 0 && valueLength <= maxValueSize)) throw valueError(value, maxValueSize)
    let refusal: Refusal | undefined
    try {
      refusal = this.#rows.add(kind, key, keyLength, value, valueLength)
    } catch (error) {
      throw this.#failed(error)
    }
    if (refusal !== undefined) throw this.#refused(refusal, key, value)
  }

  #refused(refusal: Refusal, key: KeyInput, value: ValueInput): ShaleError {
    if (refusal === 'key') return keyError(key)
    if (refusal === 'value') return valueError(value, this.#owner.maxValueSize)
    return new ShaleError(
      'INGESTION_OUT_OF_ORDER',
      'keys of an ingestion must ascend: this one is not above the one before',
    )
  }

  #beginFinish(): void {
    this.#check()
    try {
      this.#rows.flush()
    } catch (error) {
      throw this.#failed(error)
    }
    this.#state = 'finishing'
    abandoned.unregister(this)
  }

  /** What the engine could not take would be missing: that is the end. */
  #failed(error: unknown): Error {
    this.#failure = error as Error
    this.#engine.abort()
    return this.#failure
  }

  /** Throws why nothing more can be done with it. */
  #check(): void {
    if (this.#owner.closing) this.#owner.checkOpen()
    if (this.#state !== 'open') throw hasEnded(this.#state)
    if (this.#failure !== undefined) throw this.#failure
  }

  #end(): void {
    this.#state = 'aborted'
    abandoned.unregister(this)
    this.#engine.abort()
  }
}

function hasEnded(state: 'finishing' | 'finished' | 'aborted'): ShaleError {
  const how = state === 'finishing' ? 'is being finished' : `was ${state}`
  return new ShaleError('INVALID_ARGUMENT', `the ingestion ${how}`)
}
