/**
 * Compaction filters: the public types, the filters that engines evaluate by themselves, and the
 * checks that stand between an engine and a filter of the application.
 */

import type {
  ApplicationFilterSource,
  CheckedVerdict,
  FilterSource,
  PrefixFilterSource,
  TtlFilterSource,
} from './engine.ts'
import {
  byteLengthOf,
  checkInBounds,
  isBytes,
  kindOf,
  MAX_VALUE_BYTES,
  ShaleError,
  valueError,
} from './errors.ts'
import { copyPrefix } from './keys.ts'
import { guarded, integer, oneOf, optionError, readOptions, type Check } from './option-checks.ts'
import type { KeyInput, ValueInput } from './types.ts'

/**
 * What becomes of an entry:
 *
 * - `'keep'`: it stays as it is;
 * - `'remove'`: it is removed, as by `remove` at the time it was written;
 * - `'removeWeak'`: the same by a weak removal: right only for a key that was written once;
 * - `'destroy'`: it vanishes without a trace. Older versions of its key in tables that the
 *   compaction does not rewrite come to light again;
 * - `{ replace }`: it gets another value.
 */
export type FilterVerdict =
  'keep' | 'remove' | 'removeWeak' | 'destroy' | { readonly replace: ValueInput }

/** An entry that a filter is asked about. The bytes belong to the filter. */
export interface CompactionEntry {
  readonly key: Buffer
  /** Undefined only for one in a blob file, with `needsBlobValues: false`. */
  readonly value: Buffer | undefined
  /** Whether the compaction writes to the last level. */
  readonly isLastLevel: boolean
}

/**
 * Decides about entries that a compaction rewrites, in batches of up to 256 entries or 64 KiB, on
 * the event loop of the thread that gave it, while the compaction waits. It is asked about every
 * version that the compaction would keep, in the order of the keys, the newest version of a key
 * first; also about versions that only a snapshot reads, which goes on reading them as they were.
 * It is never asked about removed keys, and never in flushes or when tables are moved or dropped as
 * wholes. An entry is asked about again in each compaction that rewrites it, and may never be asked
 * about: nothing says when a compaction comes by.
 *
 * ```ts
 * const tree = await Tree.open('./sessions', {
 *   compactionFilter: {
 *     name: 'logged out',
 *     filter: (entries) =>
 *       entries.map(({ value }) => (value?.[0] === LOGGED_OUT ? 'remove' : 'keep')),
 *   },
 * })
 * ```
 *
 * If it throws, rejects, answers with anything but one verdict for each entry, or leaves an answer
 * open for 10 seconds, the compaction ends without a change and is tried again later, after growing
 * pauses; until one succeeds the status is degraded. Whoever called that compaction gets ABORTED
 * with the filter's error as `cause`. The sync forms (`majorCompactionSync`, `compactSync`) cannot
 * wait for a promise: ABORTED as well.
 */
export interface CompactionFilter {
  /** For messages. */
  readonly name: string
  /** Whether values in blob files are read for it. @default true */
  readonly needsBlobValues?: boolean
  /** One verdict for each entry. */
  filter(
    entries: readonly CompactionEntry[],
  ): readonly FilterVerdict[] | Promise<readonly FilterVerdict[]>
}

/** Where the time of an entry stands, and how long it stays. */
export interface TtlFilterOptions {
  /** Where the time stands. */
  in: 'key' | 'value'
  /** Of eight bytes, big-endian, milliseconds since the epoch. Entries that end before stay. */
  offset: number
  /** Milliseconds. */
  ttl: number
}

/** Milliseconds that an answer of a filter may take. */
export const FILTER_PATIENCE = 10_000
/** A filter with this property has so many milliseconds instead: for tests. */
export const PATIENCE: unique symbol = Symbol('patience')

/** Letters of a name that a message repeats. */
const SHOWN = 64
const STAMP_BYTES = 8

/** What each built-in filter stands for. */
const BUILT_IN = new WeakMap<object, TtlFilterSource | PrefixFilterSource>()

function builtIn(name: string, source: TtlFilterSource | PrefixFilterSource): CompactionFilter {
  const isDropped = predicateOf(source)
  const filter: CompactionFilter = Object.freeze({
    name,
    needsBlobValues: source.type === 'ttl' && source.in === 'value',
    filter: (entries: readonly CompactionEntry[]): FilterVerdict[] => {
      const now = Date.now()
      return entries.map((entry) => (isDropped(entry, now) ? 'remove' : 'keep'))
    },
  })
  BUILT_IN.set(filter, source)
  return filter
}

/**
 * Removes entries whose time lies `ttl` milliseconds back or more. The engine evaluates it by
 * itself, without the event loop.
 *
 * @throws ShaleError INVALID_ARGUMENT, INVALID_OPTION
 */
export function ttlFilter(options: TtlFilterOptions): CompactionFilter {
  const given = readOptions(options, 'options', {
    in: oneOf('key', 'value'),
    offset: integer(0, MAX_VALUE_BYTES),
    ttl: integer(0, Number.MAX_SAFE_INTEGER),
  })
  for (const name of ['in', 'offset', 'ttl'] as const) {
    if (given[name] === undefined) throw optionError(name, 'given', undefined)
  }
  const { in: where, offset, ttl } = given as Required<TtlFilterOptions>
  return builtIn('ttl', Object.freeze({ type: 'ttl', in: where, offset, ttl }))
}

/**
 * Removes entries whose key begins with one of the prefixes; an empty one is that of every key. The
 * engine evaluates it by itself, without the event loop.
 *
 * @throws ShaleError INVALID_ARGUMENT, INVALID_KEY, KEY_TOO_LARGE
 */
export function prefixDropFilter(prefixes: readonly KeyInput[]): CompactionFilter {
  const copies = guarded('prefixes', () => {
    if (Array.isArray(prefixes)) {
      return Array.from(prefixes as unknown[], (prefix, i) => copyPrefix(prefix, `prefixes[${i}]`))
    }
    throw new ShaleError('INVALID_ARGUMENT', `prefixes must be an array, not ${kindOf(prefixes)}`)
  })
  return builtIn('prefixes', Object.freeze({ type: 'prefixes', prefixes: Object.freeze(copies) }))
}

/** Whether a built-in filter drops an entry; `now` is in milliseconds since the epoch. */
export function predicateOf(
  source: TtlFilterSource | PrefixFilterSource,
): (
  entry: { readonly key: Uint8Array; readonly value: Uint8Array | undefined },
  now: number,
) => boolean {
  if (source.type === 'prefixes') {
    const { prefixes } = source
    return ({ key }) => prefixes.some((prefix) => startsWith(key, prefix))
  }
  const { in: where, offset, ttl } = source
  return (entry, now) => {
    const bytes = entry[where]
    if (bytes === undefined || bytes.length < offset + STAMP_BYTES) return false
    const { buffer, byteOffset } = bytes
    const stamp = new DataView(buffer, byteOffset + offset, STAMP_BYTES)
    // Where it does not fit a number to the last digit it lies far ahead.
    return stamp.getUint32(0) * 2 ** 32 + stamp.getUint32(4) + ttl <= now
  }
}

function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  if (key.length < prefix.length) return false
  for (let i = 0; i < prefix.length; i++) if (key[i] !== prefix[i]) return false
  return true
}

// --- of the application --------------------------------------------------------------------------

/** For the option readers: what an engine asks instead of a filter. */
export const filterSource: Check<FilterSource> = (value, name) => {
  return sourceOf(value, `option ${name}`, MAX_VALUE_BYTES, undefined)
}

/** For the option readers. */
export const filterFactory: Check<(keyspace: string) => unknown> = (value, name) => {
  if (typeof value !== 'function') throw optionError(name, 'a function', value)
  return value as (keyspace: string) => unknown
}

/**
 * What an engine asks instead of the filters of keyspaces. `factory` is called once for each name.
 *
 * @throws ShaleError INVALID_OPTION: it throws, or what it returns is no filter
 */
export function filtersOf(
  factory: (keyspace: string) => unknown,
  maxValueSize: number,
): (keyspace: string) => FilterSource | undefined {
  const known = new Map<string, FilterSource | undefined>()
  return (keyspace) => {
    if (known.has(keyspace)) return known.get(keyspace)
    let filter: unknown
    try {
      filter = factory(keyspace)
    } catch (cause) {
      throw new ShaleError('INVALID_OPTION', 'compactionFilters threw', { keyspace, cause })
    }
    const what = 'what compactionFilters returns'
    const source = filter === undefined ? undefined : sourceOf(filter, what, maxValueSize, keyspace)
    known.set(keyspace, source)
    return source
  }
}

function sourceOf(
  filter: unknown,
  what: string,
  maxValueSize: number,
  keyspace: string | undefined,
): FilterSource {
  if (typeof filter !== 'object' || filter === null) {
    throw noFilter(what, kindOf(filter), keyspace)
  }
  const source = BUILT_IN.get(filter)
  return source ?? applicationSource(filter, what, maxValueSize, keyspace)
}

function noFilter(
  what: string,
  got: string,
  keyspace: string | undefined,
  cause?: unknown,
): ShaleError {
  const message = `${what} must be a compaction filter, not ${got}`
  return new ShaleError('INVALID_OPTION', message, { keyspace, cause })
}

/** May be one of a class: its members are read wherever they are, each once. */
function applicationSource(
  filter: object,
  what: string,
  maxValueSize: number,
  keyspace: string | undefined,
): ApplicationFilterSource {
  let members: [unknown, unknown, unknown, unknown]
  try {
    const given = filter as Partial<CompactionFilter> & { readonly [PATIENCE]?: unknown }
    members = [given.name, given.needsBlobValues, given.filter, given[PATIENCE]]
  } catch (cause) {
    throw noFilter(what, 'something that cannot be read', keyspace, cause)
  }
  const [name, needsBlobValues = true, call, patience = FILTER_PATIENCE] = members
  if (typeof name !== 'string' || name === '') {
    throw noFilter(what, 'one without a name', keyspace)
  }
  if (typeof needsBlobValues !== 'boolean') {
    throw noFilter(what, `one whose needsBlobValues is ${kindOf(needsBlobValues)}`, keyspace)
  }
  if (typeof call !== 'function') {
    throw noFilter(what, 'an object without a method filter', keyspace)
  }
  const source: ApplicationFilterSource = {
    type: 'application',
    name: name.slice(0, SHOWN),
    keyspace,
    needsBlobValues,
    patience: patience as number,
    judge: (entries) => {
      const { length } = entries
      let answer: unknown
      try {
        answer = call.call(filter, entries)
        if (!isThenable(answer)) return checkedVerdicts(answer, length, maxValueSize)
      } catch (cause) {
        throw wrongAnswer(source, cause)
      }
      return awaited(source, answer, length, maxValueSize)
    },
  }
  return Object.freeze(source)
}

function isThenable(answer: unknown): answer is PromiseLike<unknown> {
  if (typeof answer !== 'object' || answer === null) return false
  return typeof (answer as { readonly then?: unknown }).then === 'function'
}

async function awaited(
  source: ApplicationFilterSource,
  answer: PromiseLike<unknown>,
  count: number,
  maxValueSize: number,
): Promise<readonly CheckedVerdict[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const expire = (): void => {
      reject(filterFailure(source, `gave no answer within ${source.patience} ms`))
    }
    // A filter keeps no process alive; who waits for its compaction does.
    timer = setTimeout(expire, source.patience).unref()
  })
  try {
    return checkedVerdicts(await Promise.race([answer, late]), count, maxValueSize)
  } catch (cause) {
    throw wrongAnswer(source, cause)
  } finally {
    clearTimeout(timer)
  }
}

/** What is wrong with an answer, apart from what the filter itself throws. */
class Mistake extends Error {}

function wrongAnswer(source: ApplicationFilterSource, cause: unknown): ShaleError {
  if (isFilterFailure(cause)) return cause as ShaleError
  if (cause instanceof Mistake) return filterFailure(source, cause.message, cause.cause)
  return filterFailure(source, 'failed', cause)
}

function checkedVerdicts(
  answer: unknown,
  count: number,
  maxValueSize: number,
): readonly CheckedVerdict[] {
  if (!Array.isArray(answer)) throw new Mistake(`answered with ${kindOf(answer)}, not an array`)
  const verdicts = answer as unknown[]
  const { length } = verdicts
  if (length !== count) throw new Mistake(`gave ${length} verdicts for ${count} entries`)
  return Array.from({ length }, (_, i) => checkedVerdict(verdicts[i], i, maxValueSize))
}

const VERDICTS: Readonly<Record<string, CheckedVerdict>> = Object.freeze({
  keep: 0,
  remove: 1,
  removeWeak: 2,
  destroy: 3,
})

function checkedVerdict(verdict: unknown, i: number, maxValueSize: number): CheckedVerdict {
  if (typeof verdict === 'string') {
    if (Object.hasOwn(VERDICTS, verdict)) return VERDICTS[verdict]!
    throw new Mistake(`gave an unknown verdict, '${verdict.slice(0, SHOWN)}'`)
  }
  if (typeof verdict !== 'object' || verdict === null || !Object.hasOwn(verdict, 'replace')) {
    throw new Mistake(`gave an unknown verdict, ${kindOf(verdict)}`)
  }
  const { replace } = verdict as { readonly replace: unknown }
  return copyValue(replace, i, maxValueSize)
}

/** As an insert would take it. */
function copyValue(value: unknown, i: number, limit: number): Uint8Array {
  const refuse = (): Mistake => {
    const cause = valueError(value, limit, `verdicts[${i}].replace`)
    return new Mistake('gave a value that cannot be stored', { cause })
  }
  if (typeof value === 'string') {
    const isWellFormed = (value as string & { isWellFormed(): boolean }).isWellFormed()
    if (!isWellFormed || Buffer.byteLength(value) > limit) throw refuse()
    return Buffer.from(value)
  }
  if (!isBytes(value)) throw refuse()
  const length = byteLengthOf(value)
  if (length > limit) throw refuse()
  const copy = new Uint8Array(length)
  try {
    checkInBounds(value)
    Uint8Array.prototype.set.call(copy, value)
  } catch {
    throw refuse() // detached, or shrunk
  }
  return copy
}

// --- failures ------------------------------------------------------------------------------------

const FAILURES = new WeakSet<ShaleError>()

/** Of a compaction that has no verdicts: ABORTED, and why. */
export function filterFailure(
  { name, keyspace }: Pick<ApplicationFilterSource, 'name' | 'keyspace'>,
  problem: string,
  cause?: unknown,
): ShaleError {
  const message = `the compaction filter '${name}' ${problem}`
  const error = new ShaleError('ABORTED', message, { keyspace, cause })
  FAILURES.add(error)
  return error
}

/** Whether a compaction ended because of its filter: unlike one that was stopped it has failed. */
export function isFilterFailure(error: unknown): boolean {
  return error instanceof ShaleError && FAILURES.has(error)
}

const ASYNC_FAILURES = new WeakSet<ShaleError>()

/** For a promise in a form that cannot wait. */
export function asyncFilterFailure(source: ApplicationFilterSource): ShaleError {
  const error = filterFailure(source, 'answers later: an async filter needs the async form')
  ASYNC_FAILURES.add(error)
  return error
}

/** Whether it is the caller's fault, and not the filter's. */
export function isAsyncFilterFailure(error: unknown): boolean {
  return error instanceof ShaleError && ASYNC_FAILURES.has(error)
}
