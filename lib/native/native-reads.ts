/**
 * Point reads of one tree. A call looks in memory first; what is not there is read on this thread
 * (`...Sync`) or by a reader thread of the engine (the misses of one tick share a hop).
 */

import { BufferView } from '../buffer-view.ts'
import {
  LATEST,
  type KeyspaceMetricsData,
  type ReadEngine,
  type ScanEngine,
  type ScanRange,
  type TreeFigures,
  type TreeSettings,
  type VersionData,
} from '../engine.ts'
import type { ShaleError } from '../errors.ts'
import { keyError } from '../errors.ts'
import { copyKey } from '../keys.ts'
import { answered, answeredNothing, Turn } from '../turn.ts'
import type { KeyInput } from '../types.ts'
import { door, META, NUMBERS } from './addon.ts'
import { announce, asNumber, asText, asValue, pending, type Convert } from './completions.ts'
import { failure } from './failure.ts'
import { submitSoon } from './missed-reads.ts'
import { openScan } from './native-scan.ts'
import {
  MANY_MAX,
  META_COUNT,
  META_FLAGS,
  META_HANDLE,
  META_KEYS,
  META_LENGTH,
  META_NUMBER,
  META_OFFSET,
  META_SEQNO,
  META_STATUS,
  READ_MAY_BLOCK,
  READ_OWN,
  READ_PINNED,
  READ_SIZE,
  SLAB_BYTES,
  STATUS_BAD_KEY,
  STATUS_MIN,
  STATUS_NOT_FOUND,
  STATUS_PENDING,
  STATUS_TOO_BIG,
  STATUS_WOULD_BLOCK,
} from './protocol.ts'
import { makeRoom, slab, SLAB_LIMIT } from './slab.ts'

const { get, getText, getInto, sizeOf, getMany, getLater } = door

/** A function of the addon that reads one key. */
type ReadOne<T> = (key: KeyInput) => T

export class NativeReads implements ReadEngine {
  readonly #handle: number
  /** What must stay alive while a read is pending: the database or tree. */
  readonly #owner: unknown

  /** `owner` undefined: the object itself. */
  constructor(handle: number, owner: unknown) {
    this.#handle = handle
    this.#owner = owner ?? this
  }

  getSync(key: KeyInput, seqno: number): Buffer | undefined {
    if (slab.offset > SLAB_LIMIT || slab.bytes.length !== SLAB_BYTES) slab.renew()
    const offset = slab.offset
    META[META_OFFSET] = offset
    META[META_HANDLE] = this.#handle
    META[META_FLAGS] = 0
    NUMBERS[META_SEQNO / 2] = seqno
    get(key)
    const status = META[META_STATUS] as number
    if (status < STATUS_MIN) {
      slab.offset = (offset + status + 7) & ~7
      return new BufferView(slab.memory, offset, status)
    }
    if (status === STATUS_NOT_FOUND) return undefined
    if (status !== STATUS_WOULD_BLOCK && status !== STATUS_TOO_BIG) throw readFailure(status, key)
    return this.#getAgain(key, seqno, READ_MAY_BLOCK | READ_OWN)
  }

  get(key: KeyInput, seqno: number): Promise<Buffer | undefined> {
    if (slab.offset > SLAB_LIMIT || slab.bytes.length !== SLAB_BYTES) slab.renew()
    const offset = slab.offset
    META[META_OFFSET] = offset
    this.#prepare(seqno, 0)
    get(key)
    const status = META[META_STATUS] as number
    if (status < STATUS_MIN) {
      slab.offset = (offset + status + 7) & ~7
      return answered<Buffer>(new BufferView(slab.memory, offset, status))
    }
    if (status === STATUS_NOT_FOUND) return answeredNothing()
    if (status === STATUS_TOO_BIG) return this.#getLarge(key, seqno)
    return this.#later(status, key, seqno, 0, asValue)
  }

  getTextSync(key: KeyInput, seqno: number): string | undefined {
    return this.#readSync(getText, key, seqno)
  }

  getText(key: KeyInput, seqno: number): Promise<string | undefined> {
    this.#prepare(seqno, 0)
    const text = getText(key)
    const status = META[META_STATUS] as number
    if (status === 0) return answered(text)
    if (status === STATUS_NOT_FOUND) return answeredNothing()
    return this.#later(status, key, seqno, 0, asText)
  }

  getIntoSync(
    key: KeyInput,
    seqno: number,
    target: Uint8Array,
    offset: number,
  ): number | undefined {
    META[META_OFFSET] = offset
    this.#prepare(seqno, 0)
    getInto(key, target)
    let status = META[META_STATUS] as number
    if (status === STATUS_WOULD_BLOCK) {
      this.#prepare(seqno, READ_MAY_BLOCK)
      getInto(key, target)
      status = META[META_STATUS] as number
    }
    if (status === 0) return META[META_LENGTH]
    if (status === STATUS_NOT_FOUND) return undefined
    throw readFailure(status, key)
  }

  sizeOfSync(key: KeyInput, seqno: number): number | undefined {
    this.#prepare(seqno, 0)
    sizeOf(key)
    let status = META[META_STATUS] as number
    if (status < STATUS_MIN) return status
    if (status === STATUS_NOT_FOUND) return undefined
    if (status === STATUS_WOULD_BLOCK) {
      this.#readSync(sizeOf, key, seqno)
      status = META[META_STATUS] as number
      return status === STATUS_NOT_FOUND ? undefined : status
    }
    throw readFailure(status, key)
  }

  sizeOf(key: KeyInput, seqno: number): Promise<number | undefined> {
    this.#prepare(seqno, 0)
    sizeOf(key)
    const status = META[META_STATUS] as number
    if (status < STATUS_MIN) return answered(status)
    if (status === STATUS_NOT_FOUND) return answeredNothing()
    return this.#later(status, key, seqno, READ_SIZE, asNumber)
  }

  // --- many keys ---------------------------------------------------------------------------------

  getManySync(keys: readonly KeyInput[], seqno: number): (Buffer | undefined)[] {
    const values: (Buffer | undefined)[] = []
    try {
      while (values.length < keys.length) {
        this.#someOf(keys, values, seqno, READ_MAY_BLOCK, (key) =>
          this.#getAgain(key, seqno, READ_MAY_BLOCK | READ_OWN | READ_PINNED),
        )
      }
    } finally {
      door.endMany()
    }
    return values
  }

  async getMany(given: readonly KeyInput[], seqno: number): Promise<(Buffer | undefined)[]> {
    let keys = given
    const values: (Buffer | undefined)[] = []
    const waiting: Promise<void>[] = []
    const turn = new Turn()
    const fetch = (key: KeyInput, i: number): undefined => {
      const value = this.#later(STATUS_WOULD_BLOCK, key, seqno, READ_PINNED, asValue)
      const filled = value.then((found) => {
        values[i] = found
      })
      filled.catch(() => {}) // looked at in the end, if at all
      waiting.push(filled)
    }
    try {
      while (values.length < keys.length) {
        if (turn.isOver) {
          if (keys === given) keys = ownKeys(given, values.length)
          await passHoldingMany(turn)
        }
        this.#someOf(keys, values, seqno, 0, fetch)
      }
    } finally {
      door.endMany()
    }
    if (waiting.length > 0) await Promise.all(waiting)
    return values
  }

  /**
   * Appends the values of the next keys. `alone` answers for a key that has to be read by itself:
   * too large, or not in memory.
   */
  #someOf(
    keys: readonly KeyInput[],
    values: (Buffer | undefined)[],
    seqno: number,
    flags: number,
    alone: (key: KeyInput, index: number) => Buffer | undefined,
  ): void {
    const first = values.length
    makeRoom()
    META[META_OFFSET] = slab.offset
    META[META_COUNT] = first
    this.#prepare(seqno, flags)
    getMany(keys)
    const status = META[META_STATUS] as number
    if (status === STATUS_BAD_KEY) {
      const bad = META[META_LENGTH] as number
      throw keyError(keys[bad], `keys[${bad}]`)
    }
    if (status !== 0) throw failure(status)
    const count = META[META_COUNT]
    slab.offset = META[META_OFFSET]
    const { memory } = slab
    const words = META.slice(META_KEYS, META_KEYS + 2 * Math.min(count, MANY_MAX))
    for (let i = 0; i < count; i++) {
      const length = words[2 * i + 1] as number
      if (length < STATUS_MIN) {
        values.push(new BufferView(memory, words[2 * i] as number, length))
      } else if (length === STATUS_NOT_FOUND) {
        values.push(undefined)
      } else {
        values.push(alone(keys[first + i] as KeyInput, first + i))
      }
    }
    if (count === 0) slab.renew()
  }

  // --- the rest of a read ------------------------------------------------------------------------

  #prepare(seqno: number, flags: number): void {
    META[META_HANDLE] = this.#handle
    META[META_FLAGS] = flags
    NUMBERS[META_SEQNO / 2] = seqno
  }

  /** Throws unless it gave a result or found nothing. */
  #readSync<T>(read: ReadOne<T>, key: KeyInput, seqno: number): T | undefined {
    this.#prepare(seqno, 0)
    let result = read(key)
    let status = META[META_STATUS] as number
    if (status === STATUS_WOULD_BLOCK) {
      this.#prepare(seqno, READ_MAY_BLOCK)
      result = read(key)
      status = META[META_STATUS] as number
    }
    if (status < STATUS_MIN) return result
    if (status === STATUS_NOT_FOUND) return undefined
    throw readFailure(status, key)
  }

  /** A read that may block, or gives a large value memory of its own, as the flags say. */
  #getAgain(key: KeyInput, seqno: number, flags: number): Buffer | undefined {
    makeRoom()
    const offset = slab.offset
    META[META_OFFSET] = offset
    this.#prepare(seqno, flags)
    const own = get(key)
    const status = META[META_STATUS] as number
    if (own !== undefined) return own
    if (status < STATUS_MIN) {
      slab.offset = (offset + status + 7) & ~7
      return new BufferView(slab.memory, offset, status)
    }
    if (status === STATUS_NOT_FOUND) return undefined
    throw readFailure(status, key)
  }

  #getLarge(key: KeyInput, seqno: number): Promise<Buffer | undefined> {
    this.#prepare(seqno, READ_OWN)
    const own = get(key)
    if (own !== undefined) return answered(own)
    return this.#later(META[META_STATUS] as number, key, seqno, 0, asValue)
  }

  /** For a read that `status` says memory could not answer; any other status is its failure. */
  #later<T>(
    status: number,
    key: KeyInput,
    seqno: number,
    flags: number,
    convert: Convert<T>,
  ): Promise<T | undefined> {
    if (status !== STATUS_WOULD_BLOCK) return Promise.reject(readFailure(status, key))
    this.#prepare(seqno, flags)
    announce()
    getLater(key)
    const left = META[META_STATUS] as number
    if (left !== STATUS_PENDING) return Promise.reject(readFailure(left, key))
    submitSoon()
    return pending(convert, this.#owner)
  }

  // --- ranges and views --------------------------------------------------------------------------

  scan(range: ScanRange): ScanEngine {
    return openScan(this.#handle, range)
  }

  settings(): TreeSettings {
    return this.#view(door.settings)
  }

  treeFigures(): TreeFigures {
    return this.#view(door.treeFigures)
  }

  metrics(): KeyspaceMetricsData {
    return this.#view(door.treeMetrics)
  }

  version(): VersionData {
    return this.#view(door.version)
  }

  approximateSize(lower: Uint8Array | undefined, upper: Uint8Array | undefined): number {
    this.#prepare(LATEST, 0)
    door.approximateSize(lower, upper)
    const status = META[META_STATUS] as number
    if (status !== 0) throw failure(status)
    return NUMBERS[META_NUMBER / 2] as number
  }

  #view<T>(read: () => T): T {
    META[META_HANDLE] = this.#handle
    const result = read()
    const status = META[META_STATUS] as number
    if (status !== 0) throw failure(status)
    return result
  }
}

/** The keys that are still to be read, from `first` on, safe from what their owner does to them. */
function ownKeys(keys: readonly KeyInput[], first: number): readonly KeyInput[] {
  return keys.map((key, i) => (i < first || typeof key === 'string' ? key : copyKey(key)))
}

/** Whoever else has its turn meanwhile may use getMany. */
async function passHoldingMany(turn: Turn): Promise<void> {
  door.holdMany()
  const status = META[META_STATUS] as number
  if (status !== 0) throw failure(status)
  const held = META[META_HANDLE] as number
  await turn.pass()
  META[META_HANDLE] = held
  door.resumeMany()
}

function readFailure(status: number, key: KeyInput): ShaleError {
  return status === STATUS_BAD_KEY ? keyError(key) : failure(status)
}
