/**
 * Compaction filters of the application: what the core knows them by, and their answers. How
 * questions and answers are packed is said in native/binding/application_filter.h.
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
import { door, NUMBERS } from './addon.ts'
import { fail, numberOf } from './asked.ts'
import { META_NUMBER, NO_VALUE, QUESTION_LAST_LEVEL, QUESTION_NOW } from './protocol.ts'

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

export function givenFilter(source: FilterSource): GivenFilter {
  if (source.type !== 'application') return source
  const { type, name, needsBlobValues, patience } = source
  return { type, number: numberOf(source), name, needsBlobValues, patience }
}

/** Answers a question: `count` entries, packed in `bytes`. Never throws. */
export function answerFilter(
  source: ApplicationFilterSource,
  question: number,
  bytes: Buffer,
  count: number,
  flags: number,
): void {
  const entries = unpack(bytes, count, (flags & QUESTION_LAST_LEVEL) !== 0)
  judge(source, question, entries, (flags & QUESTION_NOW) !== 0)
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
