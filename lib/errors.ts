/** Errors: the one class, and the only place where one is made, for both engines. */

import type { KeyInput } from './types.ts'

/** What went wrong, for a program. The numbers in ERROR_CODES are those of native/base/status.h. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'INVALID_OPTION'
  | 'INVALID_PATH'
  | 'INVALID_NAME'
  | 'INVALID_KEY'
  | 'INVALID_VALUE'
  | 'INVALID_RANGE'
  | 'KEY_TOO_LARGE'
  | 'VALUE_TOO_LARGE'
  | 'BATCH_TOO_LARGE'
  | 'DB_NOT_FOUND'
  | 'DB_EXISTS'
  | 'DB_CLOSED'
  | 'DB_LOCKED'
  | 'DB_FAILED'
  | 'READ_ONLY'
  | 'KEYSPACE_NOT_FOUND'
  | 'KEYSPACE_DELETED'
  | 'SNAPSHOT_CLOSED'
  | 'ITERATOR_CLOSED'
  | 'ITERATOR_BUSY'
  | 'TX_CLOSED'
  | 'TX_CONFLICT'
  | 'INGESTION_OUT_OF_ORDER'
  | 'ABORTED'
  | 'CORRUPTION'
  | 'FORMAT_TOO_NEW'
  | 'NOT_A_DATABASE'
  | 'IO_ERROR'
  | 'SYNC_FAILED'
  | 'DISK_FULL'
  | 'OUT_OF_MEMORY'
  | 'TOO_MANY_OPEN_FILES'
  | 'PLAN_STALE'
  | 'STALLED'
  | 'NOT_SUPPORTED'

/** Code numbers of the core, in order; the first three are not errors. */
export const ERROR_CODES: readonly (ErrorCode | 'OK' | 'NOT_FOUND' | 'WOULD_BLOCK')[] = [
  'OK',
  'NOT_FOUND',
  'WOULD_BLOCK',
  'INVALID_ARGUMENT',
  'INVALID_OPTION',
  'INVALID_PATH',
  'INVALID_NAME',
  'INVALID_KEY',
  'INVALID_VALUE',
  'INVALID_RANGE',
  'KEY_TOO_LARGE',
  'VALUE_TOO_LARGE',
  'BATCH_TOO_LARGE',
  'DB_NOT_FOUND',
  'DB_EXISTS',
  'DB_CLOSED',
  'DB_LOCKED',
  'DB_FAILED',
  'READ_ONLY',
  'KEYSPACE_NOT_FOUND',
  'KEYSPACE_DELETED',
  'SNAPSHOT_CLOSED',
  'ITERATOR_CLOSED',
  'ITERATOR_BUSY',
  'TX_CLOSED',
  'TX_CONFLICT',
  'INGESTION_OUT_OF_ORDER',
  'ABORTED',
  'CORRUPTION',
  'FORMAT_TOO_NEW',
  'NOT_A_DATABASE',
  'IO_ERROR',
  'SYNC_FAILED',
  'DISK_FULL',
  'OUT_OF_MEMORY',
  'TOO_MANY_OPEN_FILES',
  'PLAN_STALE',
  'STALLED',
  'NOT_SUPPORTED',
]

/** Failures after which the same call may succeed later. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'DB_LOCKED',
  'ITERATOR_BUSY',
  'TX_CONFLICT',
  'DISK_FULL',
  'OUT_OF_MEMORY',
  'TOO_MANY_OPEN_FILES',
  'PLAN_STALE',
  'STALLED',
])

export interface ErrorDetails {
  readonly path?: string | undefined
  readonly offset?: number | undefined
  readonly keyspace?: string | undefined
  readonly errno?: number | undefined
  readonly syscall?: string | undefined
  readonly indeterminate?: boolean | undefined
  /** DB_LOCKED: who holds the directory. */
  readonly pid?: number | undefined
  readonly sameProcess?: boolean | undefined
  readonly cause?: unknown
}

/**
 * Every failure of shale. Act on `code`; the message is for people and may change.
 * Keys and values never appear in it.
 */
export class ShaleError extends Error {
  readonly code: ErrorCode
  /** Doing the same thing again later may succeed. */
  readonly retryable: boolean
  /** It is unknown whether the write took effect (failed fsync). */
  readonly indeterminate: boolean
  /** File or directory concerned. */
  declare readonly path?: string
  /** Byte in the file at `path`. */
  declare readonly offset?: number
  declare readonly keyspace?: string
  declare readonly errno?: number
  declare readonly syscall?: string
  /** DB_LOCKED: the process that holds the directory. */
  declare readonly pid?: number
  /** DB_LOCKED: that process is this one. */
  declare readonly sameProcess?: boolean

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.retryable = RETRYABLE.has(code)
    this.indeterminate = details.indeterminate === true
    if (details.path !== undefined) this.path = details.path
    if (details.offset !== undefined) this.offset = details.offset
    if (details.keyspace !== undefined) this.keyspace = details.keyspace
    if (details.errno !== undefined) this.errno = details.errno
    if (details.syscall !== undefined) this.syscall = details.syscall
    if (details.pid !== undefined) this.pid = details.pid
    if (details.sameProcess !== undefined) this.sameProcess = details.sameProcess
  }
}
Object.defineProperty(ShaleError.prototype, 'name', { value: 'ShaleError', configurable: true })

/** Longest key, in bytes. */
export const MAX_KEY_BYTES = 65_535
/** Longest value, in bytes. */
export const MAX_VALUE_BYTES: number = 2 ** 30
/** Largest batch, in encoded bytes. */
export const MAX_BATCH_BYTES: number = 2 ** 30 + 2 ** 24

/** `a string`, `null`, `an array`: for messages, never the content. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (value === undefined) return 'undefined'
  const type = typeof value
  if (type !== 'object') return `a ${type}`
  try {
    return Array.isArray(value) ? 'an array' : 'an object'
  } catch {
    return 'a revoked Proxy'
  }
}

/** Why `key` was refused. `what` names it in the message ("key", "gte", "keys[3]"). */
export function keyError(key: unknown, what = 'key'): ShaleError {
  if (typeof key === 'string') {
    if (!isWellFormed(key)) {
      return new ShaleError('INVALID_KEY', `${what} is a string with a lone surrogate`)
    }
    return keySizeError(Buffer.byteLength(key), what)
  }
  if (isBytes(key)) return keySizeError(byteLengthOf(key), what)
  return new ShaleError(
    'INVALID_KEY',
    `${what} must be a Uint8Array or a string, not ${kindOf(key)}`,
  )
}

function keySizeError(size: number, what: string): ShaleError {
  if (size > MAX_KEY_BYTES) {
    return new ShaleError(
      'KEY_TOO_LARGE',
      `${what} has ${size} bytes; a key has at most ${MAX_KEY_BYTES}`,
    )
  }
  return new ShaleError('INVALID_KEY', `${what} is empty or its buffer was detached`)
}

/** Whether keyError has nothing to say about it. */
export function isKey(key: unknown): key is KeyInput {
  if (typeof key !== 'string') {
    if (!isBytes(key)) return false
    const size = byteLengthOf(key)
    return size > 0 && size <= MAX_KEY_BYTES
  }
  // A letter of a string has at most three bytes.
  const fits = key.length <= MAX_KEY_BYTES / 3 || Buffer.byteLength(key) <= MAX_KEY_BYTES
  return key !== '' && fits && isWellFormed(key)
}

/** Why `value` was refused. */
export function valueError(value: unknown, limit: number, what = 'value'): ShaleError {
  if (typeof value === 'string') {
    if (!isWellFormed(value)) {
      return new ShaleError('INVALID_VALUE', `${what} is a string with a lone surrogate`)
    }
    return valueSizeError(Buffer.byteLength(value), limit, what)
  }
  if (isBytes(value)) return valueSizeError(byteLengthOf(value), limit, what)
  return new ShaleError(
    'INVALID_VALUE',
    `${what} must be a Uint8Array or a string, not ${kindOf(value)}`,
  )
}

function valueSizeError(size: number, limit: number, what: string): ShaleError {
  if (size > limit) {
    return new ShaleError(
      'VALUE_TOO_LARGE',
      `${what} has ${size} bytes; at most ${limit} are allowed`,
    )
  }
  return new ShaleError(
    'INVALID_VALUE',
    `${what} could not be read: its buffer was detached or has shrunk`,
  )
}

const { keys } = Uint8Array.prototype

/**
 * Throws INVALID_VALUE for a view whose resizable buffer has shrunk below it. Such a one looks
 * empty; only the methods of typed arrays tell.
 */
export function checkInBounds(value: unknown): void {
  // Not `value.length`: that may run code of the caller, and throws for a Proxy over bytes.
  if (!isBytes(value) || byteLengthOf(value) !== 0) return
  try {
    keys.call(value)
  } catch {
    throw valueSizeError(0, 0, 'value')
  }
}

/** A getter that every typed array has, whatever a subclass puts before it. */
function getterOf(name: 'buffer' | 'byteLength' | 'byteOffset'): (this: Uint8Array) => unknown {
  const prototype = Object.getPrototypeOf(Uint8Array.prototype) as object
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as (this: Uint8Array) => unknown
}

const bufferGetter = getterOf('buffer') as (this: Uint8Array) => ArrayBufferLike
const byteLengthGetter = getterOf('byteLength') as (this: Uint8Array) => number
const byteOffsetGetter = getterOf('byteOffset') as (this: Uint8Array) => number

/** The real length, whatever a subclass says. */
export function byteLengthOf(bytes: Uint8Array): number {
  return byteLengthGetter.call(bytes)
}

/** The same memory, without what a subclass makes of it. */
export function plainView(bytes: Uint8Array): Uint8Array {
  const [offset, length] = [byteOffsetGetter.call(bytes), byteLengthGetter.call(bytes)]
  return new Uint8Array(bufferGetter.call(bytes), offset, length)
}

const typedArrayTag = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype) as object,
  Symbol.toStringTag,
)?.get as (this: unknown) => string | undefined

/** A real Uint8Array (a Proxy over one is not). */
export function isBytes(value: unknown): value is Uint8Array {
  return typedArrayTag.call(value) === 'Uint8Array'
}

function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed()
}
