/**
 * Batches: several writes, over several keyspaces, that become one commit.
 *
 * They are encoded as they are added, in the bytes of the journal (docs/format.md, "Batch
 * entries"), so that a commit is one crossing and one append.
 */

import { TOMBSTONE, VALUE, WEAK_TOMBSTONE, type DatabaseEngine, type EntryKind } from './engine.ts'
import { EntryBytes } from './entry-bytes.ts'
import { keyError, MAX_KEY_BYTES, ShaleError, valueError } from './errors.ts'
import { sizeOf } from './input-bytes.ts'
import { readKeyRange, type KeyRange } from './keys.ts'
import type { Keyspace } from './keyspace.ts'
import { rejected, uncloneable, wrongReceiver } from './receiver.ts'
import type { Durability, KeyInput, ValueInput } from './types.ts'

/** Durability of one write or batch. */
export interface WriteOptions {
  /**
   * What it survives once it is acknowledged. @default the keyspace's for single writes, the
   * database's for batches
   */
  durability?: Durability
}

/** What a batch needs from its database. */
export interface BatchOwner {
  readonly engine: DatabaseEngine
  readonly maxValueSize: number
  /** Throws DB_CLOSED once closing. */
  checkOpen(): void
  /** The id of a keyspace of this database; throws for anything else. */
  keyspaceId(keyspace: unknown): number
  durability(options: unknown): Durability
}

const TOKEN = Symbol('batch')

/** For Database only. */
export let makeWriteBatch: (owner: BatchOwner) => WriteBatch

/**
 * Collects writes and commits them as one: all or nothing for readers and after a crash, over all
 * keyspaces. The last operation on a key wins. After a commit the batch is empty and can be used
 * again.
 */
export class WriteBatch {
  readonly #owner: BatchOwner
  readonly #entries = new EntryBytes()
  #pending = false

  private constructor(token: symbol, owner: BatchOwner) {
    if (token !== TOKEN) {
      throw new ShaleError('INVALID_ARGUMENT', 'a WriteBatch is made by database.batch()')
    }
    this.#owner = owner
    uncloneable(this)
  }

  static {
    makeWriteBatch = (owner) => new WriteBatch(TOKEN, owner)
  }

  /** Number of operations. */
  get length(): number {
    if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'length')
    return this.#entries.count
  }

  /** Encoded bytes. */
  get byteLength(): number {
    if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'byteLength')
    return this.#entries.byteLength
  }

  insert(keyspace: Keyspace, key: KeyInput, value: ValueInput): this {
    if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'insert')
    this.#add(VALUE, keyspace, key, value)
    return this
  }

  remove(keyspace: Keyspace, key: KeyInput): this {
    if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'remove')
    this.#add(TOMBSTONE, keyspace, key, '')
    return this
  }

  /**
   * Single delete: only for keys written at most once since their last removal. A removal that a
   * later operation of its batch overrides does not count as one.
   */
  removeWeak(keyspace: Keyspace, key: KeyInput): this {
    if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'removeWeak')
    this.#add(WEAK_TOMBSTONE, keyspace, key, '')
    return this
  }

  /**
   * Removes every key in the range, as `Keyspace.removeRange` does; also what this batch did before
   * to keys in it. What it does afterwards stays.
   */
  removeRange(keyspace: Keyspace, range: KeyRange): this {
    if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'removeRange')
    this.#owner.checkOpen()
    this.#checkIdle()
    const id = this.#owner.keyspaceId(keyspace)
    const bounds = readKeyRange(range)
    if (!bounds.empty) this.#entries.addRange(id, bounds)
    return this
  }

  /** Forgets what was added. */
  clear(): this {
    if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'clear')
    this.#owner.checkOpen()
    this.#checkIdle()
    this.#entries.clear()
    return this
  }

  /**
   * Commits. Resolves when the batch has reached its durability; see Durability.
   *
   * @throws ShaleError KEYSPACE_DELETED, DISK_FULL, SYNC_FAILED, DB_FAILED, DB_CLOSED, READ_ONLY
   */
  commit(options?: WriteOptions): Promise<void> {
    try {
      if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'commit')
      const durability = this.#begin(options)
      if (this.#isEmpty()) return Promise.resolve()
      return this.#settle(this.#owner.engine.write(this.#entries.bytes, durability))
    } catch (error) {
      return rejected(error)
    }
  }

  /**
   * As commit(); waits for the group, the sync and, up to `maxStall`, for backpressure (STALLED; on
   * the TypeScript engine it does the work of the background instead of waiting for it).
   */
  commitSync(options?: WriteOptions): void {
    if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'commitSync')
    const durability = this.#begin(options)
    if (this.#isEmpty()) return
    this.#owner.engine.writeSync(this.#entries.bytes, durability)
    this.#entries.clear()
  }

  /** A batch whose commit failed keeps its operations, to be committed again. */
  async #settle(committed: Promise<void>): Promise<void> {
    this.#pending = true
    try {
      await committed
      this.#entries.clear()
    } finally {
      this.#pending = false
    }
  }

  #begin(options: unknown): Durability {
    const durability = this.#owner.durability(options)
    this.#checkIdle()
    return durability
  }

  /** An empty commit changes nothing, and may be made wherever one that does may not. */
  #isEmpty(): boolean {
    if (this.#entries.count > 0) return false
    this.#owner.checkOpen()
    return true
  }

  #checkIdle(): void {
    if (this.#pending) {
      throw new ShaleError('INVALID_ARGUMENT', 'the batch was used while its commit is pending')
    }
  }

  #add(kind: EntryKind, keyspace: unknown, key: KeyInput, value: ValueInput): void {
    this.#owner.checkOpen()
    this.#checkIdle()
    const id = this.#owner.keyspaceId(keyspace)
    const keyLength = this.#keyLength(key)
    const valueLength = this.#valueLength(value)
    const unread = this.#entries.add(kind, id, key, keyLength, value, valueLength)
    if (unread === 'key') throw keyError(key)
    if (unread === 'value') throw valueError(value, this.#owner.maxValueSize)
  }

  #keyLength(key: unknown): number {
    const size = sizeOf(key)
    if (!(size > 0 && size <= MAX_KEY_BYTES)) throw keyError(key)
    return size
  }

  #valueLength(value: unknown): number {
    const size = sizeOf(value)
    const limit = this.#owner.maxValueSize
    if (!(size >= 0 && size <= limit)) throw valueError(value, limit)
    return size
  }
}
