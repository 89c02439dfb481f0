/** Keyspaces of the native engine. */

import {
  DURABILITY_CODES,
  type EntryKind,
  type IngestionEngine,
  type KeyspaceEngine,
  type MajorCompaction,
  type PlanData,
} from '../engine.ts'
import { checkInBounds, keyError, valueError, type ShaleError } from '../errors.ts'
import type { Durability, KeyInput, ValueInput } from '../types.ts'
import { door, META, NUMBERS } from './addon.ts'
import { announce, completion } from './completions.ts'
import { failure } from './failure.ts'
import { startedJob } from './jobs.ts'
import { startedLater, startIngestion } from './native-ingestion.ts'
import { NativeReads } from './native-reads.ts'
import {
  META_COUNT,
  META_FLAGS,
  META_HANDLE,
  META_NUMBER,
  META_STATUS,
  STATUS_BAD_KEY,
  STATUS_BAD_VALUE,
  WRITE_KIND_SHIFT,
} from './protocol.ts'

const { insert, insertSync, remove, removeSync } = door

/** What gives a keyspace's handle back once it is collected. */
const abandoned = new FinalizationRegistry<number>((handle) => {
  META[META_HANDLE] = handle
  door.release()
})

export class NativeKeyspace extends NativeReads implements KeyspaceEngine {
  readonly id: number
  readonly name: string
  readonly #handle: number
  readonly #maxValueSize: number

  constructor(handle: number, owner: unknown, maxValueSize: number) {
    super(handle, owner)
    META[META_HANDLE] = handle
    const { id, name } = door.describeKeyspace()
    this.id = id
    this.name = name
    this.#handle = handle
    this.#maxValueSize = maxValueSize
    abandoned.register(this, handle)
  }

  insertSync(key: KeyInput, value: ValueInput, durability: Durability): void {
    checkInBounds(value)
    META[META_HANDLE] = this.#handle
    META[META_FLAGS] = DURABILITY_CODES[durability]
    insertSync(key, value)
    const status = META[META_STATUS] as number
    if (status !== 0) throw this.#writeFailure(status, key, value)
  }

  insert(key: KeyInput, value: ValueInput, durability: Durability): Promise<void> {
    checkInBounds(value)
    META[META_HANDLE] = this.#handle
    META[META_FLAGS] = DURABILITY_CODES[durability]
    announce()
    insert(key, value)
    return this.#written(key, value)
  }

  removeSync(kind: EntryKind, key: KeyInput, durability: Durability): void {
    META[META_HANDLE] = this.#handle
    META[META_FLAGS] = DURABILITY_CODES[durability] | (kind << WRITE_KIND_SHIFT)
    removeSync(key)
    const status = META[META_STATUS] as number
    if (status !== 0) throw this.#writeFailure(status, key, '')
  }

  remove(kind: EntryKind, key: KeyInput, durability: Durability): Promise<void> {
    META[META_HANDLE] = this.#handle
    META[META_FLAGS] = DURABILITY_CODES[durability] | (kind << WRITE_KIND_SHIFT)
    announce()
    remove(key)
    return this.#written(key, '')
  }

  rotateMemtable(): boolean {
    META[META_HANDLE] = this.#handle
    door.rotate()
    this.#check()
    return META[META_COUNT] === 1
  }

  rotateMemtableAndWait(): Promise<void> {
    META[META_HANDLE] = this.#handle
    announce()
    door.flushKeyspace()
    return completion(this)
  }

  rotateMemtableAndWaitSync(): void {
    META[META_HANDLE] = this.#handle
    door.flushKeyspaceSync()
    this.#check()
  }

  majorCompaction(options: MajorCompaction): Promise<void> {
    META[META_HANDLE] = this.#handle
    NUMBERS[META_NUMBER / 2] = options.targetSize ?? 0
    announce()
    door.majorCompaction()
    return startedJob(this, options)
  }

  majorCompactionSync(options: MajorCompaction): void {
    META[META_HANDLE] = this.#handle
    NUMBERS[META_NUMBER / 2] = options.targetSize ?? 0
    door.majorCompactionSync()
    this.#check()
  }

  dropRange(lower: Uint8Array | undefined, upper: Uint8Array | undefined): Promise<void> {
    META[META_HANDLE] = this.#handle
    announce()
    door.dropRange(lower, upper)
    return startedJob(this)
  }

  dropRangeSync(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void {
    META[META_HANDLE] = this.#handle
    door.dropRangeSync(lower, upper)
    this.#check()
  }

  compact(plan: PlanData): Promise<void> {
    META[META_HANDLE] = this.#handle
    announce()
    door.compactKeyspace(plan)
    return startedJob(this)
  }

  startIngestion(): Promise<IngestionEngine> {
    return startedLater(() => this.startIngestionSync())
  }

  startIngestionSync(): IngestionEngine {
    return startIngestion(this.#handle)
  }

  #check(): void {
    const status = META[META_STATUS] as number
    if (status !== 0) throw failure(status)
  }

  #written(key: KeyInput, value: ValueInput): Promise<void> {
    const status = META[META_STATUS] as number
    if (status === STATUS_BAD_KEY || status === STATUS_BAD_VALUE) {
      return Promise.reject(this.#writeFailure(status, key, value))
    }
    return completion(this)
  }

  #writeFailure(status: number, key: KeyInput, value: ValueInput): ShaleError {
    if (status === STATUS_BAD_KEY) return keyError(key)
    if (status === STATUS_BAD_VALUE) return valueError(value, this.#maxValueSize)
    return failure(status)
  }
}
