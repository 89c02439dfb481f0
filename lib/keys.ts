/** Keys and ranges of keys: checks, copies, and bounds as engines take them. */

import type { ScanRange } from './engine.ts'
import { byteLengthOf, isBytes, keyError, kindOf, MAX_KEY_BYTES, ShaleError } from './errors.ts'
import { boolean, optionError, readOptions, type Check } from './option-checks.ts'
import type { KeyInput } from './types.ts'

/**
 * At most one of `gt`, `gte` and one of `lt`, `lte`; nothing = everything. Lower above upper is
 * empty.
 */
export interface KeyRange {
  /** Keys above it. */
  gt?: KeyInput
  /** It and the keys above it. */
  gte?: KeyInput
  /** Keys below it. */
  lt?: KeyInput
  /** It and the keys below it. */
  lte?: KeyInput
}

/** Lower bound inclusive, upper exclusive. */
export interface Bounds {
  readonly lower: Uint8Array | undefined
  readonly upper: Uint8Array | undefined
  /** No key can be inside. */
  readonly empty: boolean
}

/** A private copy of the key's bytes, 1 to 65,535 of them. `what` names it in the error. */
export function copyKey(key: unknown, what = 'key'): Buffer {
  const bytes = copyBytes(key, what)
  if (bytes.length === 0 || bytes.length > MAX_KEY_BYTES) throw keyError(key, what)
  return bytes
}

function copyBytes(key: unknown, what: string): Buffer {
  if (typeof key === 'string') {
    if (!(key as string & { isWellFormed(): boolean }).isWellFormed()) throw keyError(key, what)
    return Buffer.from(key)
  }
  if (!isBytes(key)) throw keyError(key, what)
  const copy = Buffer.allocUnsafe(byteLengthOf(key))
  try {
    Uint8Array.prototype.set.call(copy, key)
  } catch {
    throw keyError(key, what) // detached
  }
  return copy
}

/** The smallest key above `key`, or undefined if there is none. */
export function keyAfter(key: Uint8Array): Uint8Array | undefined {
  if (key.length < MAX_KEY_BYTES) return Buffer.concat([key, ZERO_BYTE])
  return prefixEnd(key)
}
const ZERO_BYTE = new Uint8Array(1)

/** The smallest key above everything that starts with `prefix`, or undefined if there is none. */
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  let end = prefix.length
  while (end > 0 && prefix[end - 1] === 0xff) end--
  if (end === 0) return undefined
  const bound = Buffer.from(prefix.subarray(0, end))
  bound[end - 1] = (bound[end - 1] as number) + 1
  return bound
}

/** A private copy of the bytes that keys begin with; none: those of every key. */
export function copyPrefix(prefix: unknown, what: string): Buffer {
  const bytes = copyBytes(prefix, what)
  if (bytes.length > MAX_KEY_BYTES) throw keyError(prefix, what)
  return bytes
}

export function boundsOfPrefix(prefix: unknown): Bounds {
  const bytes = copyPrefix(prefix, 'prefix')
  if (bytes.length === 0) return EVERYTHING
  return { lower: bytes, upper: prefixEnd(bytes), empty: false }
}

export const EVERYTHING: Bounds = { lower: undefined, upper: undefined, empty: false }

interface GivenRange {
  readonly gt?: unknown
  readonly gte?: unknown
  readonly lt?: unknown
  readonly lte?: unknown
}

const anything = (value: unknown): unknown => value
export type RangeSchema = Readonly<Record<'gt' | 'gte' | 'lt' | 'lte', Check<unknown>>>
export const RANGE_SCHEMA: RangeSchema = {
  gt: anything,
  gte: anything,
  lt: anything,
  lte: anything,
}

/** `range` was read with RANGE_SCHEMA. */
export function boundsOfRange(range: GivenRange): Bounds {
  const { gt, gte, lt, lte } = range
  if (gt !== undefined && gte !== undefined) {
    throw new ShaleError('INVALID_RANGE', 'a range has gt or gte, not both')
  }
  if (lt !== undefined && lte !== undefined) {
    throw new ShaleError('INVALID_RANGE', 'a range has lt or lte, not both')
  }
  let lower: Uint8Array | undefined
  let upper: Uint8Array | undefined
  let empty = false
  if (gte !== undefined) lower = copyKey(gte, 'gte')
  if (gt !== undefined) {
    lower = keyAfter(copyKey(gt, 'gt'))
    empty = lower === undefined
  }
  if (lt !== undefined) upper = copyKey(lt, 'lt')
  if (lte !== undefined) upper = keyAfter(copyKey(lte, 'lte'))
  // There is no key below the one-byte key 0x00.
  if (upper !== undefined) empty ||= Buffer.compare(lower ?? ZERO_BYTE, upper) >= 0
  return { lower, upper, empty }
}

/** Bounds of a range without iteration options (`approximateSize`). */
export function readKeyRange(range: unknown): Bounds {
  if (range === undefined) throw new ShaleError('INVALID_ARGUMENT', 'range must be an object')
  return boundsOfRange(readOptions(range, 'range', RANGE_SCHEMA))
}

export interface ScanOptions {
  readonly reverse: boolean
  /** Infinity: none. */
  readonly limit: number
  /** Bytes per fill; undefined: adapts. */
  readonly batchSize: number | undefined
}

const limit = (value: unknown): number => {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < -1) {
    if (value === Infinity) return value
    const got = typeof value === 'number' ? String(value) : kindOf(value)
    throw new ShaleError('INVALID_RANGE', `limit must be an integer from -1 (none), not ${got}`)
  }
  return value === -1 ? Infinity : value
}

const batchSize = (value: unknown, name: string): number => {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 2 ** 30) {
    throw optionError(name, 'an integer from 1 to 2^30', value)
  }
  return value
}

export type ScanSchema = {
  readonly reverse: Check<boolean>
  readonly limit: Check<number>
  readonly batchSize: Check<number>
}
export const SCAN_SCHEMA: ScanSchema = { reverse: boolean, limit, batchSize }

export function scanOptions(given: {
  readonly reverse?: boolean
  readonly limit?: number
  readonly batchSize?: number
}): ScanOptions {
  return {
    reverse: given.reverse ?? false,
    limit: given.limit ?? Infinity,
    batchSize: given.batchSize,
  }
}

export function scanRange(bounds: Bounds, seqno: number, outlivesClose = false): ScanRange {
  return { lower: bounds.lower, upper: bounds.upper, seqno, outlivesClose }
}
