/**
 * Promises of calls that the engine's threads answer.
 *
 * A call leaves a number with the addon (META_OPERATION); if the outcome is STATUS_PENDING, the
 * promise is filed under it. Answers come in batches, once per turn of the event loop at most.
 */

import { BufferView } from '../buffer-view.ts'
import { ShaleError } from '../errors.ts'
import { door, META, NUMBERS, onAnswers } from './addon.ts'
import { answeredNothing } from '../turn.ts'
import { deliverEvents } from './event-feed.ts'
import { errorOf, failure } from './failure.ts'
import { answerQuestions } from './questions.ts'
import {
  META_COUNT,
  META_OFFSET,
  META_OPERATION,
  META_RECORDS,
  META_STATUS,
  NOT_IN_SLAB,
  OPERATION_QUESTION,
  RECORD_LENGTH,
  RECORD_NUMBER,
  RECORD_OFFSET,
  RECORD_OPERATION,
  RECORD_STATUS,
  RECORD_WORDS,
  STATUS_NOT_FOUND,
  STATUS_PENDING,
} from './protocol.ts'
import { makeRoom, slab } from './slab.ts'

/**
 * Makes the result of an answer: `record` is where its words begin, `index` its number in the
 * batch, `owner` who asked. Runs no user code.
 */
export type Convert<T> = (record: number, index: number, owner: unknown) => T

interface Operation {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: ShaleError) => void
  readonly convert: Convert<unknown>
  /** Kept alive, and with it the handle that the call goes through. */
  readonly owner: unknown
}

const operations: (Operation | undefined)[] = []
const free: number[] = []

/** The number that the next pending call is filed under. */
export function nextOperation(): number {
  return free.length > 0 ? (free[free.length - 1] as number) : operations.length
}

let resolveNew: (value: never) => void
let rejectNew: (error: ShaleError) => void
const take = (resolve: (value: never) => void, reject: (error: ShaleError) => void): void => {
  resolveNew = resolve
  rejectNew = reject
}

/** The promise of the call that has just left STATUS_PENDING behind. */
export function pending<T>(convert: Convert<T>, owner: unknown): Promise<T> {
  const number = free.pop() ?? operations.length
  const promise = new Promise<T>(take as never)
  operations[number] = { resolve: resolveNew as never, reject: rejectNew, convert, owner }
  return promise
}

/** The promise of a call that may have ended at once; META_OPERATION was set before it. */
export function outcome<T>(convert: Convert<T>, owner: unknown): Promise<T> {
  const status = META[META_STATUS] as number
  if (status === STATUS_PENDING) return pending(convert, owner)
  return Promise.reject(failure(status))
}

/** The same for a call without a result, which may also have succeeded at once. */
export function completion(owner: unknown): Promise<void> {
  const status = META[META_STATUS] as number
  if (status === 0) return answeredNothing()
  if (status === STATUS_PENDING) return pending(asNothing, owner)
  return Promise.reject(failure(status))
}

/** Names the operation of the call that follows. */
export function announce(): void {
  META[META_OPERATION] = nextOperation()
}

// --- results -------------------------------------------------------------------------------------

export const asNothing: Convert<void> = () => {}

export const asNumber: Convert<number> = (record) => NUMBERS[(record + RECORD_NUMBER) / 2] as number

export const asValue: Convert<Buffer> = (record, index) => {
  const length = META[record + RECORD_LENGTH] as number
  const offset = META[record + RECORD_OFFSET] as number
  if (offset !== NOT_IN_SLAB) return new BufferView(slab.memory, offset, length)
  const own = Buffer.allocUnsafeSlow(length)
  copyAnswer(index, own)
  return own
}

export const asText: Convert<string> = (record, index) => {
  const value = asValue(record, index, undefined)
  try {
    return value.toString()
  } catch (cause) {
    throw new ShaleError('VALUE_TOO_LARGE', 'the value is too long for a string', { cause })
  }
}

/** Copies the bytes of an answer to the beginning of `target`. */
export function copyAnswer(index: number, target: Uint8Array): void {
  META[META_COUNT] = index
  door.takeBytes(target)
}

// --- answers -------------------------------------------------------------------------------------

const batch: Operation[] = []
const results: unknown[] = []

onAnswers(() => {
  try {
    deliverEvents()
  } finally {
    while (deliverBatch() > 0);
  }
})

/** All results first, then all promises: what a promise sets off may use the slab and META. */
function deliverBatch(): number {
  makeRoom()
  META[META_OFFSET] = slab.offset
  door.takeAnswers()
  const count = META[META_COUNT] as number
  slab.offset = META[META_OFFSET]
  let isAsked = false
  for (let i = 0; i < count; i++) {
    const record = META_RECORDS + i * RECORD_WORDS
    const number = META[record + RECORD_OPERATION] as number
    if (number === OPERATION_QUESTION) {
      isAsked = true
      continue
    }
    const operation = operations[number] as Operation
    operations[number] = undefined
    free.push(number)
    batch.push(operation)
    results.push(resultOf(operation, record, i))
  }
  if (isAsked) queueMicrotask(answerQuestions)
  for (let i = 0; i < batch.length; i++) {
    const { resolve, reject } = batch[i] as Operation
    const result = results[i]
    if (result instanceof ShaleError) reject(result)
    else resolve(result)
  }
  batch.length = 0
  results.length = 0
  return count
}

/** Never throws: the other answers of the batch must arrive. */
function resultOf({ convert, owner }: Operation, record: number, index: number): unknown {
  const status = META[record + RECORD_STATUS] as number
  try {
    if (status === 0) return convert(record, index, owner)
    if (status === STATUS_NOT_FOUND) return undefined
    META[META_COUNT] = index
    return errorOf(door.takeError())
  } catch (cause) {
    if (cause instanceof ShaleError) return cause
    return new ShaleError('OUT_OF_MEMORY', 'there is no memory for the answer', { cause })
  }
}
