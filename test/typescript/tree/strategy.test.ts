// The strategies of the TypeScript engine against the cases that both engines share.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type {
  FifoSetting,
  LeveledSetting,
  PlanData,
  SizeTieredSetting,
  StrategySetting,
} from '../../../lib/engine.ts'
import { choosePlan, outputSize } from '../../../lib/strategy.ts'
import type { TableSummary } from '../../../lib/table-summary.ts'
import { chooseUpkeep } from '../../../lib/upkeep.ts'
import { root } from '../../support/source-files.ts'

/** Sizes of the cases are in this unit. */
const UNIT = 1 << 20

interface Case {
  readonly name: string
  readonly setting: StrategySetting
  readonly levels: TableSummary[][][]
  readonly busy: Set<number>
  /** Seconds. */
  now: number
  /** A seqno. */
  seen: number
  expected: string
}

/**
 * `number:first-last:size`, then perhaps `:tombstones/entries` with `point+range` for the
 * tombstones, then perhaps `@seconds`, then perhaps `^seqno`.
 */
function table(text: string): TableSummary {
  const [rest = '', seqno = '0'] = text.split('^')
  const [place = '', created = '0'] = rest.split('@')
  const [id, keys = '', size, counts = '0/100'] = place.split(':')
  const [first = '', last = ''] = keys.split('-')
  const [tombstones = '', itemCount] = counts.split('/')
  const [tombstoneCount = 0, rangeTombstoneCount = 0] = tombstones.split('+').map(Number)
  return {
    id: Number(id),
    size: Number(size) * UNIT,
    itemCount: Number(itemCount),
    tombstoneCount,
    weakTombstoneCount: 0,
    rangeTombstoneCount,
    highestSeqno: Number(seqno),
    firstKey: Buffer.from(first),
    lastKey: Buffer.from(last),
    createdAt: Number(created) * 1000,
  }
}

/** How `name=value` of a case changes it. */
type Options<S> = Readonly<Record<string, (setting: S, value: number, list: number[]) => object>>

const LEVELED: Options<LeveledSetting> = {
  l0: (_, l0Threshold) => ({ l0Threshold }),
  target: (_, size) => ({ targetSize: size * UNIT }),
  ratio: (_setting, _value, levelRatio) => ({ levelRatio }),
}
const SIZE_TIERED: Options<SizeTieredSetting> = {
  base: (_, size) => ({ baseSize: size * UNIT }),
  ratio: (_, ratio) => ({ ratio }),
  runs: (_, minRuns) => ({ minRuns }),
}
const UPKEEP: Options<LeveledSetting | SizeTieredSetting> = {
  share: (_, tombstoneShare) => ({ tombstoneShare }),
  age: (_, maxAgeSeconds) => ({ maxAgeSeconds }),
  size: (_, size) => ({ targetSize: size * UNIT, baseSize: size * UNIT }),
}
const FIFO: Options<FifoSetting> = {
  limit: (_, size) => ({ limit: size * UNIT }),
  ttl: (_, ttlSeconds) => ({ ttlSeconds }),
}

function setOption(one: Case, options: Options<never>, text: string): void {
  const [name = '', value = ''] = text.split('=')
  const numbers = value.split(',').map(Number)
  if (name === 'now') one.now = numbers[0]!
  else if (name === 'seen') one.seen = numbers[0]!
  else if (!(name in options)) throw new Error(`an unknown option: ${text}`)
  else Object.assign(one.setting, options[name]!(one.setting as never, numbers[0]!, numbers))
}

function readCases(file: string, setting: StrategySetting, options: Options<never>): Case[] {
  const cases: Case[] = []
  const text = readFileSync(join(root, 'test/cases', file), 'utf8')
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const [word = '', ...rest] = line.split(' ')
    const current = cases.at(-1)
    if (word === 'case') {
      const levels = Array.from({ length: 7 }, (): TableSummary[][] => [])
      const own = { name: rest.join(' '), setting: { ...setting }, now: 1000, seen: 1 }
      cases.push({ ...own, levels, busy: new Set(), expected: '' })
    } else if (current === undefined) {
      throw new Error(`a case does not begin with its name: ${line}`)
    } else if (word === 'options') {
      for (const option of rest) setOption(current, options, option)
    } else if (word === 'busy') {
      for (const id of rest) current.busy.add(Number(id))
    } else if (/^L\d$/.test(word)) {
      current.levels[Number(word[1])]!.push(rest.map(table))
    } else if (word === '->') {
      current.expected = normal(rest.join(' '))
    } else {
      throw new Error(`an unknown line: ${line}`)
    }
  }
  return cases
}

/** The order of the numbers does not matter. */
function normal(plan: string): string {
  const [, kind, numbers = '', level = ''] = /^(\w+) ([\d ]+)( to \d)?$/.exec(plan) ?? []
  if (kind === undefined) return plan
  const sorted = numbers
    .trim()
    .split(' ')
    .toSorted((a, b) => Number(a) - Number(b))
  return `${kind} ${sorted.join(' ')}${level}`
}

function textOf(plan: PlanData | undefined): string {
  if (plan === undefined) return 'nothing'
  if (plan.kind === 'drop') return normal(`drop ${plan.tables.join(' ')}`)
  return normal(`${plan.kind} ${plan.tables.join(' ')} to ${plan.destinationLevel}`)
}

const upkeep = { tombstoneShare: 0.5, maxAgeSeconds: undefined }
const leveled: LeveledSetting = {
  type: 'leveled',
  name: 'leveled',
  l0Threshold: 4,
  targetSize: 10 * UNIT,
  levelRatio: [10],
  ...upkeep,
}
const sizeTiered: SizeTieredSetting = {
  type: 'size-tiered',
  name: 'size-tiered',
  baseSize: 10 * UNIT,
  ratio: 4,
  minRuns: 4,
  ...upkeep,
}
const fifo: FifoSetting = { type: 'fifo', name: 'fifo', limit: 100 * UNIT, ttlSeconds: undefined }

describe.each([
  ['leveled.cases.txt', leveled, LEVELED, choosePlan],
  ['size-tiered.cases.txt', sizeTiered, SIZE_TIERED, choosePlan],
  ['fifo.cases.txt', fifo, FIFO, choosePlan],
  ['upkeep.cases.txt', leveled, UPKEEP, chooseUpkeep],
  ['upkeep.cases.txt', sizeTiered, UPKEEP, chooseUpkeep],
] as const)('%s %#', (file, setting, options, choose) => {
  const cases = readCases(file, setting, options)
  test('has cases', () => expect(cases.length).toBeGreaterThan(15))
  test.each(cases)('$name', (one) => {
    expect(one.expected).not.toBe('')
    const context = { busyTables: one.busy, now: one.now * 1000, seenBelow: one.seen }
    const plan = choose(one.levels, one.setting, context)
    expect(textOf(plan)).toBe(one.expected)
    if (plan?.kind === 'merge') expect(plan.targetSize).toBe(outputSize(one.setting))
  })
})

test.each([fifo, { type: 'user', name: 'mine' }] as const)('$type has no upkeep', (setting) => {
  const levels = [[[table('1:a-z:10:100/100@0')]]]
  const context = { busyTables: new Set<number>(), now: 1e15, seenBelow: 1 }
  expect(chooseUpkeep(levels, leveled, context)?.tables).toEqual([1])
  expect(chooseUpkeep(levels, setting, context)).toBeUndefined()
})

test('a strategy that is not ours decides nothing', () => {
  const levels = [[[table('1:a-z:1000')]], [], [], [], [], [], []]
  const context = { busyTables: new Set<number>(), now: 0 }
  expect(choosePlan(levels, { type: 'user', name: 'mine' }, context)).toBeUndefined()
})

describe('tables that end with a range tombstone', () => {
  const EXCLUSIVE = 1
  const [before, behind] = [table('1:a-m:1'), table('2:m-z:1')]
  const setting: LeveledSetting = { ...leveled, l0Threshold: 2, targetSize: UNIT }
  const choose = (levels: TableSummary[][][]): PlanData | undefined =>
    choosePlan(levels, setting, { busyTables: new Set(), now: 0 })

  test('do not meet one that begins there', () => {
    const levels = [[[behind], [{ ...before, lastKeyBound: EXCLUSIVE }]]]
    expect(choose(levels)?.kind).toBe('move')
    expect(choose([[[behind], [before]]])?.kind).toBe('merge')
  })

  test('or have no end meet all that is behind', () => {
    const endless = { ...before, lastKey: Buffer.alloc(0), lastKeyBound: 2 }
    const levels = [[[endless]], [], [], [], [], [], [[behind]]]
    expect(choose(levels)).toBe(undefined)
    const two = [[[endless], [table('3:b-c:1')]], [], [], [], [], [], [[behind]]]
    expect(choose(two)?.tables).toEqual([1, 3, 2])
  })
})
