/**
 * Batches: several writes, over several keyspaces, that become one commit.
 *
 * They are encoded as they are added, in the bytes of the journal (docs/format.md, "Batch
 * entries"), so that a commit is one crossing and one append.
 */

import { TOMBSTONE, VALUE, WEAK_TOMBSTONE, type DatabaseEngine, type EntryKind } from './engine.ts'
import {
  byteLengthOf,
  isBytes,
  keyError,
  MAX_BATCH_BYTES,
  MAX_KEY_BYTES,
  ShaleError,
  valueError,
} from './errors.ts'
import type { Keyspace } from './keyspace.ts'
import { rejected, uncloneable, wrongReceiver } from './receiver.ts'
import type { Durability, KeyInput, ValueInput } from './types.ts'

/** Durability of one write or batch. */
export interface WriteOptions {
  /** @default the keyspace's for single writes, the database's for batches */
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

const HEADER = 12
const FIRST_CAPACITY = 1024
/** A batch that grew beyond this gives its memory back after the commit. */
const KEPT_CAPACITY = 1 << 20

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
  #bytes: Buffer = Buffer.allocUnsafeSlow(FIRST_CAPACITY)
  #end = 0
  #length = 0
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
    return this.#length
  }

  /** Encoded bytes. */
  get byteLength(): number {
    if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'byteLength')
    return this.#end
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

  /** Forgets what was added. */
  clear(): this {
    if (!(#owner in Object(this))) throw wrongReceiver('WriteBatch', 'clear')
    this.#owner.checkOpen()
    this.#checkIdle()
    this.#reset()
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
      return this.#settle(this.#owner.engine.write(this.#bytes.subarray(0, this.#end), durability))
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
    this.#owner.engine.writeSync(this.#bytes.subarray(0, this.#end), durability)
    this.#reset()
  }

  /** A batch whose commit failed keeps its operations, to be committed again. */
  async #settle(committed: Promise<void>): Promise<void> {
    this.#pending = true
    try {
      await committed
      this.#reset()
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
    if (this.#length > 0) return false
    this.#owner.checkOpen()
    return true
  }

  #checkIdle(): void {
    if (this.#pending) {
      throw new ShaleError('INVALID_ARGUMENT', 'the batch was used while its commit is pending')
    }
  }

  #reset(): void {
    this.#end = 0
    this.#length = 0
    if (this.#bytes.length > KEPT_CAPACITY) this.#bytes = Buffer.allocUnsafeSlow(FIRST_CAPACITY)
  }

  #add(kind: EntryKind, keyspace: unknown, key: KeyInput, value: ValueInput): void {
    this.#owner.checkOpen()
    this.#checkIdle()
    const id = this.#owner.keyspaceId(keyspace)
    const keyLength = this.#keyLength(key)
    const valueLength = this.#valueLength(value)
    const start = this.#reserve(HEADER + keyLength + valueLength)
    const bytes = this.#bytes
    bytes[start] = kind
    bytes[start + 1] = 0
    bytes[start + 2] = keyLength
    bytes[start + 3] = keyLength >>> 8
    bytes[start + 4] = id
    bytes[start + 5] = id >>> 8
    bytes[start + 6] = id >>> 16
    bytes[start + 7] = id >>> 24
    bytes[start + 8] = valueLength
    bytes[start + 9] = valueLength >>> 8
    bytes[start + 10] = valueLength >>> 16
    bytes[start + 11] = valueLength >>> 24
    if (!put(bytes, start + HEADER, key, keyLength)) throw keyError(key)
    if (!put(bytes, start + HEADER + keyLength, value, valueLength)) {
      throw valueError(value, this.#owner.maxValueSize)
    }
    this.#end = start + HEADER + keyLength + valueLength
    this.#length++
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

  /** Makes room for `size` more bytes and returns where they go. */
  #reserve(size: number): number {
    const end = this.#end + size
    if (end > MAX_BATCH_BYTES) {
      throw new ShaleError(
        'BATCH_TOO_LARGE',
        `the batch would have ${end} bytes; at most ${MAX_BATCH_BYTES} are allowed`,
      )
    }
    if (end > this.#bytes.length) {
      const capacity = Math.min(MAX_BATCH_BYTES, Math.max(end, this.#bytes.length * 2))
      const grown = Buffer.allocUnsafeSlow(capacity)
      this.#bytes.copy(grown, 0, 0, this.#end)
      this.#bytes = grown
    }
    return this.#end
  }
}

/** UTF-8 bytes of a string, real bytes of a Uint8Array, -1 for anything else. */
function sizeOf(input: unknown): number {
  if (typeof input === 'string') {
    if (!(input as string & { isWellFormed(): boolean }).isWellFormed()) return -1
    return Buffer.byteLength(input)
  }
  return isBytes(input) ? byteLengthOf(input) : -1
}

/** False if the bytes cannot be read, or do not fit any more (shared memory that grows). */
function put(target: Buffer, offset: number, input: KeyInput, size: number): boolean {
  if (typeof input === 'string') return target.write(input, offset, size) === size
  try {
    Uint8Array.prototype.set.call(target, input, offset)
    return true
  } catch {
    return false
  }
}
