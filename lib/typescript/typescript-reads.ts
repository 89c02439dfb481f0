/**
 * Point reads of one tree. A call looks in memory first; what is not there is waited for, in place
 * (`...Sync`) or by a flow that holds the state it reads.
 */

import { LATEST } from '../engine.ts'
import type {
  KeyInput,
  ReadEngine,
  ScanEngine,
  ScanRange,
  KeyspaceMetricsData,
  TreeFigures,
  TreeSettings,
  VersionData,
} from '../engine.ts'
import { byteLengthOf, keyError } from '../errors.ts'
import { copyKey } from '../keys.ts'
import { rejected } from '../receiver.ts'
import { answered, answeredNothing, Turn } from '../turn.ts'
import { runSync } from './base/flow.ts'
import { Latency } from './base/histogram.ts'
import { isTombstone, READ_ALL, SEQNO_MAX } from './base/internal-key.ts'
import { encodeKey, keyBytes } from './base/key-bytes.ts'
import type { Pending } from './base/pending.ts'
import { copyOf } from './base/slice.ts'
import { GETS_A_LOOK } from './db/database-counters.ts'
import type { IteratorCounters } from './db/database-counters.ts'
import { ABSENT, BLOCKED, FOUND, PointLookup } from './table/table-reader.ts'
import type { Counted } from './table/table-reader.ts'
import type { Hold, SuperVersion } from './tree/super-version.ts'
import type { Tree } from './tree/tree.ts'
import { findBlocked, findLater, findNow, sizeOf, textOf, valueOf } from './typescript-lookups.ts'
import { keyspaceMetrics } from './typescript-metrics.ts'
import { TypescriptScan } from './typescript-scan.ts'
import { treeFigures, versionData } from './typescript-views.ts'

/** What reads need of their database or tree. */
export interface ReadSource {
  readonly tree: Tree
  /** The read seqno that LATEST stands for. */
  readonly visible: number
  /** Undefined: nobody asks. */
  readonly counters?: ReadCounters
  /** What ends with the handle that it is read through. */
  readonly holds: Set<Hold>
  /** Throws DB_CLOSED once closed. */
  check(): void
}

/** What those of a database count. */
export interface ReadCounters {
  readonly gets: Latency
  readonly iterators: IteratorCounters
}

/** Makes the result of a read that has found its value. */
type Take<T> = (found: PointLookup) => T

/** A key of a getMany that memory could not answer for. */
interface Missed {
  readonly index: number
  readonly key: Uint8Array
  readonly counted: Counted
}

/** One serves all reads that end before others begin. */
const lookup = new PointLookup()

const { set } = Uint8Array.prototype

/** Keys that are looked for before the clock is asked again. */
const KEYS_A_LOOK = 256
/** Reads of one getMany that wait for the disk at the same time. */
const LANES = 8

export class TypescriptReads implements ReadEngine {
  readonly #source: ReadSource
  readonly #gets: Latency

  constructor(source: ReadSource) {
    this.#source = source
    this.#gets = source.counters?.gets ?? new Latency(GETS_A_LOOK)
  }

  getSync(key: KeyInput, seqno: number): Buffer | undefined {
    return this.#findSync(key, seqno) ? valueOf(lookup) : undefined
  }

  get(key: KeyInput, seqno: number): Promise<Buffer | undefined> {
    return this.#read(key, seqno, valueOf)
  }

  getTextSync(key: KeyInput, seqno: number): string | undefined {
    return this.#findSync(key, seqno) ? textOf(lookup) : undefined
  }

  getText(key: KeyInput, seqno: number): Promise<string | undefined> {
    return this.#read(key, seqno, textOf)
  }

  getIntoSync(
    key: KeyInput,
    seqno: number,
    target: Uint8Array,
    offset: number,
  ): number | undefined {
    if (!this.#findSync(key, seqno)) return undefined
    const { value, valueBegin, valueEnd } = lookup
    const length = valueEnd - valueBegin
    if (length > 0 && length <= byteLengthOf(target) - offset) {
      set.call(target, value.subarray(valueBegin, valueEnd), offset)
    }
    return length
  }

  sizeOfSync(key: KeyInput, seqno: number): number | undefined {
    return this.#findSync(key, seqno, false) ? sizeOf(lookup) : undefined
  }

  sizeOf(key: KeyInput, seqno: number): Promise<number | undefined> {
    return this.#read(key, seqno, sizeOf, false)
  }

  // --- many keys ---------------------------------------------------------------------------------

  getManySync(keys: readonly KeyInput[], seqno: number): (Buffer | undefined)[] {
    this.#source.check()
    const readSeqno = this.#readSeqno(seqno)
    const superVersion = this.#source.tree.superVersion.for(readSeqno)
    const values: (Buffer | undefined)[] = []
    for (let i = 0; i < keys.length; i++) {
      startAt(keys, i, readSeqno)
      values.push(findNow(superVersion, lookup) ? valueOf(lookup) : undefined)
    }
    return values
  }

  async getMany(given: readonly KeyInput[], seqno: number): Promise<(Buffer | undefined)[]> {
    this.#source.check()
    const readSeqno = this.#readSeqno(seqno)
    const superVersion = this.#source.tree.superVersion.for(readSeqno)
    const turn = new Turn()
    const values: (Buffer | undefined)[] = []
    const missed: Missed[] = []
    let keys = given
    superVersion.acquire()
    try {
      for (let i = 0; i < keys.length; i++) {
        if (i % KEYS_A_LOOK === 0 && turn.isOver) {
          if (keys === given) keys = ownKeys(given, i)
          await this.#pass(turn)
        }
        startAt(keys, i, readSeqno)
        const found = superVersion.find(lookup)
        if (found === BLOCKED) missed.push(missedKey(i))
        values.push(found === FOUND && !isTombstone(lookup.kind) ? valueOf(lookup) : undefined)
      }
      await this.#fetch(superVersion, readSeqno, missed, values, turn)
    } finally {
      superVersion.release()
    }
    return values
  }

  /** Reads what was not in memory, some keys at a time. */
  async #fetch(
    superVersion: SuperVersion,
    readSeqno: number,
    missed: readonly Missed[],
    values: (Buffer | undefined)[],
    turn: Turn,
  ): Promise<void> {
    let next = 0
    const { reads } = this.#source.tree
    const lane = async (): Promise<void> => {
      const own = new PointLookup()
      try {
        while (next < missed.length) {
          const { index, key, counted } = missed[next++]!
          own.start(key, 0, key.length, readSeqno)
          own.goOn(counted)
          if (await findLater(reads, superVersion, own)) values[index] = valueOf(own)
          if (turn.isOver) await this.#pass(turn)
        }
      } finally {
        next = missed.length
      }
    }
    await Promise.all(Array.from({ length: Math.min(LANES, missed.length) }, lane))
  }

  async #pass(turn: Turn): Promise<void> {
    await turn.pass()
    this.#source.check()
  }

  // --- one key -----------------------------------------------------------------------------------

  /** A read at this number sees what is below it. */
  #readSeqno(seqno: number): number {
    if (seqno === LATEST) return this.#source.visible
    return seqno >= SEQNO_MAX ? READ_ALL : seqno
  }

  #start(key: KeyInput, seqno: number, wantsValue: boolean): SuperVersion {
    const length = encodeKey(key)
    if (length === 0) throw keyError(key)
    this.#source.check()
    const readSeqno = this.#readSeqno(seqno)
    lookup.start(keyBytes, 0, length, readSeqno, wantsValue)
    return this.#source.tree.superVersion.for(readSeqno)
  }

  /** Whether the lookup has found a value. */
  #findSync(key: KeyInput, seqno: number, wantsValue = true): boolean {
    const gets = this.#gets
    const superVersion = this.#start(key, seqno, wantsValue)
    const begun = gets.begin()
    const found = superVersion.find(lookup)
    if (found === BLOCKED) return readNow(superVersion, gets)
    gets.end(begun)
    return found === FOUND && !isTombstone(lookup.kind)
  }

  #read<T>(key: KeyInput, seqno: number, take: Take<T>, wantsValue = true): Promise<T | undefined> {
    try {
      const gets = this.#gets
      const superVersion = this.#start(key, seqno, wantsValue)
      const begun = gets.begin()
      const found = superVersion.find(lookup)
      if (found === BLOCKED) return readLater(this.#source.tree.reads, superVersion, take, gets)
      gets.end(begun)
      if (found === ABSENT || isTombstone(lookup.kind)) return answeredNothing()
      return answered(take(lookup))
    } catch (error) {
      return rejected(error)
    }
  }

  // --- ranges and views --------------------------------------------------------------------------

  scan({ lower, upper, seqno, outlivesClose }: ScanRange): ScanEngine {
    this.#source.check()
    const readSeqno = this.#readSeqno(seqno)
    const { tree, holds, counters } = this.#source
    const hold = tree.hold(readSeqno, outlivesClose === true ? undefined : holds)
    const iterators = counters?.iterators
    return new TypescriptScan(hold, readSeqno, lower, upper, iterators)
  }

  settings(): TreeSettings {
    this.#source.check()
    return this.#source.tree.settings
  }

  treeFigures(): TreeFigures {
    this.#source.check()
    return treeFigures(this.#source.tree)
  }

  metrics(): KeyspaceMetricsData {
    this.#source.check()
    return keyspaceMetrics(this.#source.tree)
  }

  version(): VersionData {
    this.#source.check()
    return versionData(this.#source.tree.superVersion.version)
  }

  approximateSize(lower: Uint8Array | undefined, upper: Uint8Array | undefined): number {
    this.#source.check()
    return runSync(this.#source.tree.superVersion.approximateSize(lower, upper))
  }
}

// --- lookups -------------------------------------------------------------------------------------

/** Goes on with what the shared lookup is looking for, in place. */
function readNow(superVersion: SuperVersion, gets: Latency): boolean {
  const begun = performance.now()
  const found = findBlocked(superVersion, lookup)
  gets.add(performance.now() - begun)
  return found
}

/** What the shared lookup is looking for, by one of its own. */
async function readLater<T>(
  reads: Pending,
  superVersion: SuperVersion,
  take: Take<T>,
  gets: Latency,
): Promise<T | undefined> {
  const own = new PointLookup()
  const { end, readSeqno, wantsValue, counted } = lookup
  own.start(copyOf(keyBytes, 0, end), 0, end, readSeqno, wantsValue)
  own.goOn(counted)
  const begun = performance.now()
  const found = await findLater(reads, superVersion, own)
  gets.add(performance.now() - begun)
  return found ? take(own) : undefined
}

/** Key number i, which the shared lookup has not found in memory. */
function missedKey(index: number): Missed {
  const { end, counted } = lookup
  return { index, key: copyOf(keyBytes, 0, end), counted }
}

/** Makes the shared lookup one for key number i. */
function startAt(keys: readonly KeyInput[], i: number, readSeqno: number): void {
  const length = encodeKey(keys[i])
  if (length === 0) throw keyError(keys[i], `keys[${i}]`)
  lookup.start(keyBytes, 0, length, readSeqno)
}

/** The keys that are still to be read, from `first` on, safe from what their owner does to them. */
function ownKeys(keys: readonly KeyInput[], first: number): readonly KeyInput[] {
  return keys.map((key, i) => {
    return i < first || typeof key === 'string' ? key : copyKey(key, `keys[${i}]`)
  })
}
