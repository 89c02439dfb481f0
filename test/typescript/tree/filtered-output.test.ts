// Filtered outputs: the shared cases, how batches are cut, and what is asked of whom.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { CheckedVerdict } from '../../../lib/engine.ts'
import { runSync, Slice } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import {
  KIND_TOMBSTONE,
  KIND_VALUE,
  KIND_WEAK_TOMBSTONE,
} from '../../../lib/typescript/base/internal-key.ts'
import type { RangeTombstone } from '../../../lib/typescript/base/range-tombstone.ts'
import type { Candidate } from '../../../lib/typescript/tree/compaction-filter.ts'
import { FilteredOutput } from '../../../lib/typescript/tree/filtered-output.ts'
import type { JobFilter } from '../../../lib/typescript/tree/filtered-output.ts'
import type { JobSink } from '../../../lib/typescript/tree/table-output.ts'
import { root } from '../../support/source-files.ts'

const KIND_WORDS: Readonly<Record<number, string>> = {
  [KIND_TOMBSTONE]: ' T',
  [KIND_WEAK_TOMBSTONE]: ' W',
}

/** Writes down what it gets, in the words of the cases; full after each entry. */
class Transcript implements JobSink {
  readonly lines: string[] = []
  #isFull = false

  get isFull(): boolean {
    return this.#isFull
  }

  add(
    kind: number,
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
  ): void {
    const word = KIND_WORDS[kind] ?? `=${textOf(value.subarray(valueBegin, valueEnd))}`
    this.lines.push(`${textOf(key.subarray(keyBegin, keyEnd))}@${seqno}${word}`)
    this.#isFull = kind === KIND_VALUE
  }

  addRange({ start, end, seqno }: RangeTombstone): void {
    // Whoever goes on while it is full breaks its promise.
    expect(this.#isFull).toBe(false)
    this.lines.push(`${textOf(start)}-${end === undefined ? '' : textOf(end)}@${seqno}`)
  }

  // oxlint-disable-next-line require-yield
  *drain(): Flow<void> {
    this.#isFull = false
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString()
}

interface Item {
  readonly kind: number
  readonly seqno: number
  readonly key: string
  readonly value: string
  readonly verdict: CheckedVerdict
  /** Of a range; undefined: it has none. */
  readonly end?: string | undefined
}
const RANGE = -1

interface Case {
  readonly name: string
  snapshots: number[]
  visible: number
  below: string[]
  readonly items: Item[]
  outcome: string
  readonly after: string[]
}

const VERDICTS: Readonly<Record<string, CheckedVerdict>> = {
  keep: 0,
  remove: 1,
  removeWeak: 2,
  destroy: 3,
}

function itemOf(line: string): Item {
  const [, key = '', seqno, rest = ''] = /^(.+?)@(\d+)(.*)$/.exec(line) ?? []
  const base = { seqno: Number(seqno), key, value: '', verdict: 0 } as const
  if (rest === ' T') return { ...base, kind: KIND_TOMBSTONE }
  if (rest === ' W') return { ...base, kind: KIND_WEAK_TOMBSTONE }
  if (rest === '') {
    const [start = '', end = ''] = key.split('-')
    return { ...base, kind: RANGE, key: start, end: end === '' ? undefined : end }
  }
  const [, value = '', word = '', replacement] = /^=(\S*) ([a-zA-Z]+)(?:=(.*))?$/.exec(rest) ?? []
  const verdict = replacement === undefined ? VERDICTS[word] : Buffer.from(replacement)
  if (verdict === undefined) throw new Error(`what is ${line}?`)
  return { ...base, kind: KIND_VALUE, value, verdict }
}

function readCases(): Case[] {
  const cases: Case[] = []
  const text = readFileSync(join(root, 'test/cases/filter.cases.txt'), 'utf8')
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const [word = '', ...rest] = line.split(' ')
    const current = cases.at(-1)
    if (word === 'case') {
      const name = rest.join(' ')
      cases.push({
        name,
        snapshots: [],
        visible: 100,
        below: [],
        items: [],
        outcome: '',
        after: [],
      })
    } else if (current === undefined) {
      throw new Error(`a case does not begin with its name: ${line}`)
    } else if (word === 'snapshots') current.snapshots = rest.map(Number)
    else if (word === 'visible') current.visible = Number(rest[0])
    else if (word === 'below') current.below = rest
    else if (word !== '->') current.items.push(itemOf(line))
    else if (current.outcome === '') current.outcome = rest.join(' ')
    else current.after.push(rest.join(' '))
  }
  return cases
}

/** Answers as the items say; notes what it was asked. */
class Answers implements JobFilter {
  readonly mayExistBelow: JobFilter['mayExistBelow']
  readonly #verdicts: ReadonlyMap<string, CheckedVerdict>
  readonly batches: Candidate[][] = []
  sizeOf: JobFilter['sizeOf'] = ({ value }) => value.length

  constructor(items: readonly Item[], below: readonly string[]) {
    this.mayExistBelow = (key, begin, end) => below.includes(textOf(key.subarray(begin, end)))
    this.#verdicts = new Map(items.map((one) => [`${one.key}=${one.value}`, one.verdict]))
  }

  // oxlint-disable-next-line require-yield
  *ask(candidates: readonly Candidate[]): Flow<readonly CheckedVerdict[]> {
    this.batches.push([...candidates])
    return candidates.map(({ key, value }) => {
      return this.#verdicts.get(`${textOf(key)}=${textOf(value)}`) ?? 0
    })
  }
}

interface Outcome {
  readonly lines: readonly string[]
  readonly hasChanged: boolean
}

/** The bytes that are handed in change right behind it, as those of an iterator may. */
function through(
  items: readonly Item[],
  filter: JobFilter,
  view = { snapshots: [] as readonly number[], visible: 100 },
): Outcome {
  const transcript = new Transcript()
  const output = new FilteredOutput(transcript, filter, view, new Slice(() => 0))
  const drain = (): void => {
    if (output.isFull) runSync(output.drain())
  }
  for (const { kind, seqno, key, value, end } of items) {
    const [keyBytes, valueBytes] = [Buffer.from(`<${key}>`), Buffer.from(`<${value}>`)]
    const keyEnd = keyBytes.length - 1
    if (kind === RANGE) {
      output.addRange({ start: Buffer.from(key), end: end && Buffer.from(end), seqno } as never)
    } else {
      output.add(kind, seqno, keyBytes, 1, keyEnd, valueBytes, 1, valueBytes.length - 1)
    }
    drain()
    keyBytes.fill(0)
    valueBytes.fill(0)
  }
  runSync(output.finish())
  drain()
  return { lines: transcript.lines, hasChanged: output.hasChanged }
}

const cases = readCases()

describe('a filtered output', () => {
  test('has its cases', () => {
    expect(cases.length).toBeGreaterThan(20)
  })

  test.each(cases)('$name', ({ items, below, snapshots, visible, outcome, after }) => {
    const { lines, hasChanged } = through(items, new Answers(items, below), { snapshots, visible })
    expect(hasChanged ? 'changed' : 'unchanged').toBe(outcome)
    expect(lines).toEqual(after)
  })
})

describe('batches', () => {
  const valueOf = (key: string, length: number): Item => {
    return { kind: KIND_VALUE, seqno: 1, key, value: 'v'.repeat(length), verdict: 0 }
  }
  const keyOf = (i: number): string => `key ${1000 + i}`
  const countsFor = (items: readonly Item[]): number[] => {
    const answers = new Answers(items, [])
    const { lines } = through(items, answers)
    expect(lines).toEqual(items.map(({ key, value }) => `${key}@1=${value}`))
    return answers.batches.map(({ length }) => length)
  }

  test('are cut by their number', () => {
    const items = Array.from({ length: 600 }, (_, i) => valueOf(keyOf(i), 3))
    expect(countsFor(items)).toEqual([256, 256, 88])
  })

  test('are cut by their bytes, of keys and values', () => {
    const items = Array.from({ length: 7 }, (_, i) => valueOf(keyOf(i), 20_000))
    expect(countsFor(items)).toEqual([3, 3, 1])
    const longKeys = Array.from({ length: 5 }, (_, i) => valueOf(keyOf(i) + 'k'.repeat(30_000), 0))
    expect(countsFor(longKeys)).toEqual([2, 2, 1])
    const full = 65_536 - keyOf(0).length
    expect(countsFor([valueOf(keyOf(0), full), valueOf(keyOf(1), 0)])).toEqual([1, 1])
  })

  test('leave a larger one alone', () => {
    const items = [
      valueOf(keyOf(0), 10),
      valueOf(keyOf(1), 200_000),
      valueOf(keyOf(2), 65_536),
      valueOf(keyOf(3), 10),
      valueOf(keyOf(4), 10),
    ]
    expect(countsFor(items)).toEqual([1, 1, 1, 2])
  })

  test('are of the bytes that a filter is asked with', () => {
    const items = Array.from({ length: 300 }, (_, i) => valueOf(keyOf(i), 3))
    const answers = new Answers(items, [])
    answers.sizeOf = () => 40_000
    through(items, answers)
    expect(answers.batches.map(({ length }) => length)).toEqual(Array(300).fill(1))
  })

  test('are not made of tombstones', () => {
    const items: Item[] = Array.from({ length: 600 }, (_, i) => {
      return { kind: KIND_TOMBSTONE, seqno: 1, key: keyOf(i), value: '', verdict: 0 }
    })
    const answers = new Answers(
      items,
      items.map(({ key }) => key),
    )
    expect(through(items, answers).lines).toHaveLength(600)
    expect(answers.batches).toEqual([])
  })
})
