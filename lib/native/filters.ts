/**
 * Compaction filters of the application: what the core knows them by, and the answers to the
 * questions of its compactions.
 *
 * A question comes on the channel of all answers, or while a synchronous call waits for a
 * compaction; the core then asks from inside of that call. Both ways the questions are taken one by
 * one until there is none. How they are packed is said in native/binding/filter_desk.h.
 */

import { BufferView } from '../buffer-view.ts'
import { asyncFilterFailure } from '../compaction-filter.ts'
import type {
  ApplicationFilterSource,
  CheckedVerdict,
  FilterEntry,
  FilterSource,
  PrefixFilterSource,
  TtlFilterSource,
} from '../engine.ts'
import { ShaleError } from '../errors.ts'
import { door, META, NUMBERS } from './addon.ts'
import {
  META_COUNT,
  META_FLAGS,
  META_LENGTH,
  META_NUMBER,
  NO_VALUE,
  QUESTION_LAST_LEVEL,
  QUESTION_NOW,
} from './protocol.ts'

/** A filter as the door takes it. */
export type GivenFilter =
  | TtlFilterSource
  | PrefixFilterSource
  | {
      readonly type: 'application'
      readonly number: number
      readonly name: string
      readonly needsBlobValues: boolean
      readonly patience: number
    }

/**
 * By number. Not held: a filter may refer to the database that asks it, which nobody could collect
 * then. Databases hold theirs by the settings they were opened with, trees by a member.
 */
const sources = new Map<number, WeakRef<ApplicationFilterSource>>()
const collected = new FinalizationRegistry<number>((number) => sources.delete(number))
let lastNumber = 0

export function givenFilter(source: FilterSource): GivenFilter {
  if (source.type !== 'application') return source
  if (lastNumber === 0) door.onQuestions(answerQuestions)
  const number = ++lastNumber
  sources.set(number, new WeakRef(source))
  collected.register(source, number)
  const { type, name, needsBlobValues, patience } = source
  return { type, number, name, needsBlobValues, patience }
}

// --- questions -----------------------------------------------------------------------------------

/** Takes all that there are. Never throws. */
export function answerQuestions(): void {
  for (;;) {
    const bytes = door.takeQuestion()
    if (bytes === undefined) return
    const number = NUMBERS[META_NUMBER / 2] as number
    const source = sources.get(META[META_COUNT] as number)?.deref()
    const flags = META[META_FLAGS] as number
    const entries = unpack(bytes, META[META_LENGTH] as number, (flags & QUESTION_LAST_LEVEL) !== 0)
    if (source === undefined) fail(number, 'the compaction filter was collected')
    else judge(source, number, entries, (flags & QUESTION_NOW) !== 0)
  }
}

/** `now`: the thread waits for this compaction, so that a promise would not be settled. */
function judge(
  source: ApplicationFilterSource,
  number: number,
  entries: readonly FilterEntry[],
  now: boolean,
): void {
  let answer: ReturnType<ApplicationFilterSource['judge']>
  try {
    answer = source.judge(entries)
  } catch (error) {
    fail(number, error)
    return
  }
  if (!(answer instanceof Promise)) {
    send(number, answer)
  } else if (now) {
    answer.catch(() => {})
    fail(number, asyncFilterFailure(source), QUESTION_NOW)
  } else {
    answer.then(
      (verdicts) => {
        send(number, verdicts)
      },
      (error: unknown) => {
        fail(number, error)
      },
    )
  }
}

function unpack(bytes: Buffer, count: number, isLastLevel: boolean): FilterEntry[] {
  const { buffer, byteOffset } = bytes
  const lengths = new DataView(buffer, byteOffset, 8 * count)
  let offset = byteOffset + 8 * count
  const next = (length: number): Buffer => {
    const view = new BufferView(buffer, offset, length)
    offset += length
    return view
  }
  return Array.from({ length: count }, (_, i) => {
    const key = next(lengths.getUint32(8 * i, true))
    const valueLength = lengths.getUint32(8 * i + 4, true)
    const value = valueLength === NO_VALUE ? undefined : next(valueLength)
    return { key, value, isLastLevel }
  })
}

const REPLACE = 4

function send(number: number, verdicts: readonly CheckedVerdict[]): void {
  try {
    const packed = pack(verdicts)
    NUMBERS[META_NUMBER / 2] = number
    door.answerQuestion(packed)
  } catch (error) {
    fail(number, error)
  }
}

function pack(verdicts: readonly CheckedVerdict[]): Uint8Array {
  let size = verdicts.length
  for (const verdict of verdicts) if (typeof verdict !== 'number') size += 4 + verdict.length
  const packed = Buffer.allocUnsafe(size)
  let offset = verdicts.length
  for (const [i, verdict] of verdicts.entries()) {
    if (typeof verdict === 'number') {
      packed[i] = verdict
      continue
    }
    packed[i] = REPLACE
    offset = packed.writeUInt32LE(verdict.length, offset)
    packed.set(verdict, offset)
    offset += verdict.length
  }
  return packed
}

// --- failures ------------------------------------------------------------------------------------

/** So many are remembered; of older ones only what the core says is left. */
const KEPT = 64

/** By the question. */
const failures = new Map<number, ShaleError>()

/** `flags`: QUESTION_NOW if the filter is not to blame. */
function fail(number: number, error: unknown, flags = 0): void {
  if (error instanceof ShaleError) {
    if (failures.size >= KEPT) failures.delete(failures.keys().next().value as number)
    failures.set(number, error)
  }
  NUMBERS[META_NUMBER / 2] = number
  META[META_FLAGS] = flags
  door.failQuestion(error instanceof Error ? error.message : String(error))
}

/** What a filter of this environment failed with when it was asked that. */
export function filterFailureOf(question: number): ShaleError | undefined {
  return failures.get(question)
}
