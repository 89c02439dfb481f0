// The leveled strategy of the TypeScript engine against the cases that both engines share.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { PlanData } from '../../../lib/engine.ts'
import { chooseLeveled } from '../../../lib/leveled.ts'
import type { TableSummary } from '../../../lib/leveled.ts'
import { root } from '../../support/source-files.ts'

/** Sizes of the cases are in the unit of `target`. */
const UNIT = 1 << 20

interface Case {
  readonly name: string
  l0Threshold: number
  targetSize: number
  levelRatio: number[]
  readonly levels: TableSummary[][][]
  readonly busy: Set<number>
  expected: string
}

/** `number:first-last:size` or `number:first-last:size:tombstones/entries`. */
function table(text: string): TableSummary {
  const [id, keys = '', size, counts = '0/100'] = text.split(':')
  const [first = '', last = ''] = keys.split('-')
  const [tombstoneCount = 0, itemCount = 0] = counts.split('/').map(Number)
  return {
    id: Number(id),
    size: Number(size) * UNIT,
    itemCount,
    tombstoneCount,
    weakTombstoneCount: 0,
    firstKey: Buffer.from(first),
    lastKey: Buffer.from(last),
  }
}

function setOption(one: Case, text: string): void {
  const [name, value = ''] = text.split('=')
  const numbers = value.split(',').map(Number)
  if (name === 'l0') one.l0Threshold = numbers[0]!
  else if (name === 'target') one.targetSize = numbers[0]! * UNIT
  else if (name === 'ratio') one.levelRatio = numbers
  else throw new Error(`an unknown option: ${text}`)
}

function readCases(): Case[] {
  const cases: Case[] = []
  const text = readFileSync(join(root, 'test/cases/leveled.cases.txt'), 'utf8')
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const [word = '', ...rest] = line.split(' ')
    const current = cases.at(-1)
    if (word === 'case') {
      const levels = Array.from({ length: 7 }, (): TableSummary[][] => [])
      const sizes = { l0Threshold: 4, targetSize: 10 * UNIT, levelRatio: [10] }
      cases.push({ name: rest.join(' '), ...sizes, levels, busy: new Set(), expected: '' })
    } else if (current === undefined) {
      throw new Error(`a case does not begin with its name: ${line}`)
    } else if (word === 'options') {
      for (const option of rest) setOption(current, option)
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
  const [, kind, numbers = '', level] = /^(\w+) ([\d ]+) to (\d)$/.exec(plan) ?? []
  if (kind === undefined) return plan
  const sorted = numbers.split(' ').toSorted((a, b) => Number(a) - Number(b))
  return `${kind} ${sorted.join(' ')} to ${level}`
}

function textOf(plan: PlanData | undefined): string {
  if (plan === undefined) return 'nothing'
  if (plan.kind === 'drop') return `drop ${plan.tables.join(' ')}`
  return normal(`${plan.kind} ${plan.tables.join(' ')} to ${plan.destinationLevel}`)
}

describe('leveled', () => {
  const cases = readCases()
  test('there are cases', () => expect(cases.length).toBeGreaterThan(20))
  test.each(cases)('$name', ({ levels, busy, expected, ...sizes }) => {
    expect(expected).not.toBe('')
    expect(textOf(chooseLeveled(levels, { ...sizes, name: 'leveled' }, busy))).toBe(expected)
  })
})
