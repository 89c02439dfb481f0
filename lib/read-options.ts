/** Options of reads and ranges. */

import type { MajorCompaction } from './engine.ts'
import { ShaleError } from './errors.ts'
import {
  RANGE_SCHEMA,
  SCAN_SCHEMA,
  type KeyRange,
  type RangeSchema,
  type ScanSchema,
} from './keys.ts'
import { integer, optionError, readOptions, type Check, type Given } from './option-checks.ts'
import { snapshotSeqno, type Snapshot } from './snapshot.ts'

/** What a read may be told. */
export interface ReadOptions {
  /** Reads what it holds instead of the newest state. */
  snapshot?: Snapshot
  /** Rejects with ABORTED when it fires before the answer is there. */
  signal?: AbortSignal
}

export interface IterOptions extends ReadOptions {
  /** From the last key to the first. @default false */
  reverse?: boolean
  /** Entries at most; -1 = no limit. @default -1 */
  limit?: number
  /** Bytes fetched at a time. @default grows from 4 KiB to 64 KiB as the scan goes on */
  batchSize?: number
}

export interface RangeOptions extends KeyRange, IterOptions {}

/** How far something has come. */
export interface Progress {
  readonly done: number
  readonly total: number
  readonly unit: 'bytes' | 'entries' | 'tables'
}

export interface MajorCompactionOptions {
  /** Bytes of an output table. @default the strategy's */
  targetSize?: number
  /** Told now and then. If it throws, the compaction is stopped and rejects with that error. */
  onProgress?: (progress: Progress) => void
  /** Stops it without a trace; ABORTED. */
  signal?: AbortSignal
}

const signal = (value: unknown, name: string): AbortSignal => {
  if (!(value instanceof AbortSignal)) throw optionError(name, 'an AbortSignal', value)
  return value
}
/** Looked at when the read begins: a snapshot may be closed in between. */
const snapshot = (value: unknown): unknown => value

type SignalSchema = { readonly signal: Check<AbortSignal> }
type ReadSchema = SignalSchema & { readonly snapshot: Check<unknown> }
type IterSchema = ReadSchema & ScanSchema
type BareIterSchema = SignalSchema & ScanSchema
const READ_SCHEMA: ReadSchema = { snapshot, signal }
const ITER_SCHEMA: IterSchema = { ...READ_SCHEMA, ...SCAN_SCHEMA }
const RANGE_OPTIONS_SCHEMA: IterSchema & RangeSchema = { ...ITER_SCHEMA, ...RANGE_SCHEMA }
const BARE_ITER_SCHEMA: BareIterSchema = { signal, ...SCAN_SCHEMA }
const BARE_RANGE_SCHEMA: BareIterSchema & RangeSchema = { ...BARE_ITER_SCHEMA, ...RANGE_SCHEMA }

export type BareIterSpec = Given<BareIterSchema>
export type BareRangeSpec = Given<BareIterSchema & RangeSchema>
export type IterSpec = Given<IterSchema>
export type RangeSpec = Given<IterSchema & RangeSchema>

export interface ReadSpec {
  readonly snapshot?: unknown
  readonly signal?: AbortSignal
}

export function readReadOptions(options: unknown): ReadSpec {
  return readOptions(options, 'options', READ_SCHEMA)
}

export function readIterOptions(options: unknown): IterSpec {
  return readOptions(options, 'options', ITER_SCHEMA)
}

export function readRangeOptions(range: unknown): RangeSpec {
  requireRange(range)
  return readOptions(range, 'range', RANGE_OPTIONS_SCHEMA)
}

/** Of a bare tree: the read seqno is an argument of its own. */
export function readBareIterOptions(options: unknown): BareIterSpec {
  return readOptions(options, 'options', BARE_ITER_SCHEMA)
}

export function readBareRangeOptions(range: unknown): BareRangeSpec {
  requireRange(range)
  return readOptions(range, 'range', BARE_RANGE_SCHEMA)
}

function requireRange(range: unknown): void {
  if (range === undefined) {
    throw new ShaleError('INVALID_ARGUMENT', 'range must be an object, not undefined')
  }
}

/**
 * The read seqno that the options ask for, or `latest`; throws ABORTED for a signal that has fired.
 */
export function seqnoOf(spec: ReadSpec, owner: object, latest: number): number {
  checkSignal(spec.signal)
  return spec.snapshot === undefined ? latest : snapshotSeqno(spec.snapshot, owner)
}

export function checkSignal(given: AbortSignal | undefined): void {
  if (given?.aborted === true) throw abortedBy(given)
}

function abortedBy(given: AbortSignal): ShaleError {
  return new ShaleError('ABORTED', 'the signal was aborted', { cause: given.reason })
}

/** `result`, unless the signal fires first. */
export function unlessAborted<T>(result: Promise<T>, given: AbortSignal | undefined): Promise<T> {
  if (given === undefined) return result
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      reject(abortedBy(given))
    }
    given.addEventListener('abort', onAbort, { once: true })
    result.then(resolve, reject).finally(() => {
      given.removeEventListener('abort', onAbort)
    })
  })
}

const callback = (value: unknown, name: string): ((progress: Progress) => void) => {
  if (typeof value !== 'function') throw optionError(name, 'a function', value)
  return value as (progress: Progress) => void
}

export function readMajorOptions(options: unknown): MajorCompaction {
  const given = readOptions(options, 'options', {
    targetSize: integer(4096, 2 ** 40),
    onProgress: callback,
    signal,
  })
  checkSignal(given.signal)
  const report = given.onProgress
  return {
    targetSize: given.targetSize,
    onProgress:
      report &&
      ((done, total) => {
        report({ done, total, unit: 'bytes' })
      }),
    signal: given.signal,
  }
}
