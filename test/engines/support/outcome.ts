// What a call came to, as a value that can be compared: a result, or a failure with all that it
// says.

import { basename } from 'node:path'
import { inspect, isDeepStrictEqual } from 'node:util'
import { ShaleError } from '../../../lib/errors.ts'

export interface Failure {
  readonly code: string
  readonly message: string
  readonly file: string | undefined
  readonly offset: number | undefined
  readonly keyspace: string | undefined
  readonly retryable: boolean
  readonly indeterminate: boolean
}

export type Outcome = { readonly result: unknown } | Failure

/** Names of directories differ; those of files do not. */
export function failureOf(error: unknown, directory: string): Failure {
  if (!(error instanceof ShaleError)) throw error
  const { code, message, path, offset, keyspace, retryable, indeterminate } = error
  return {
    code,
    message: message.replaceAll(directory, 'DIR'),
    file: path === undefined ? undefined : path === directory ? '.' : basename(path),
    offset,
    keyspace,
    retryable,
    indeterminate,
  }
}

/** Failures that each engine words by itself. */
const OWN_WORDS: ReadonlySet<string> = new Set(['DB_CLOSED', 'DB_LOCKED', 'CORRUPTION'])

/** What has to be equal. */
export function comparable(found: Outcome): Outcome {
  if (!('code' in found) || !OWN_WORDS.has(found.code)) return found
  // The native engine does not know where what is closed was.
  const file = found.code === 'DB_CLOSED' ? undefined : found.file
  return { ...found, message: '', file }
}

export function outcomeSync(directory: string, call: () => unknown): Outcome {
  try {
    return { result: call() }
  } catch (error) {
    return failureOf(error, directory)
  }
}

/** Of an async form, which must not throw synchronously. */
export async function outcome(directory: string, call: () => Promise<unknown>): Promise<Outcome> {
  const pending = call()
  try {
    return { result: await pending }
  } catch (error) {
    return failureOf(error, directory)
  }
}

/** How many differences a failure shows. */
const DIFFERENCES_SHOWN = 8

/** Throws with both where they differ. */
export function expectSame(what: string, native: unknown, typescript: unknown): void {
  if (isDeepStrictEqual(native, typescript)) return
  const found = differences(native, typescript, '')
  throw new Error([what, ...found.slice(0, DIFFERENCES_SHOWN)].join('\n'))
}

function differences(native: unknown, typescript: unknown, path: string): string[] {
  if (isDeepStrictEqual(native, typescript)) return []
  if (!isContainer(native) || !isContainer(typescript)) {
    return [`${path}: native ${shown(native)}, typescript ${shown(typescript)}`]
  }
  const names = new Set([...Object.keys(native), ...Object.keys(typescript)])
  return [...names].flatMap((name) =>
    differences(native[name], typescript[name], `${path}/${name}`),
  )
}

function isContainer(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !(value instanceof Uint8Array)
}

function shown(value: unknown): string {
  return inspect(value, { depth: 4, maxArrayLength: 10, maxStringLength: 200, breakLength: 200 })
}
