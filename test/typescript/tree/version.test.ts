// Versions: the shared cases of transitions, and how tables stand in one.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ShaleError } from '../../../lib/errors.ts'
import type { TableMeta } from '../../../lib/typescript/tree/table-meta.ts'
import { Version } from '../../../lib/typescript/tree/version.ts'
import type { TablePlace } from '../../../lib/typescript/tree/version.ts'
import { root } from '../../support/source-files.ts'
import { failure } from '../../support/scratch.ts'
import { tableMeta } from '../support/table-metas.ts'

interface Table {
  readonly meta: TableMeta
}

/** `number:first-last` in `level/order`. */
function table(text: string, place: string): Table {
  const [, number, first = '', last = ''] = /^(\d+):(\w+)-(\w+)$/.exec(text) ?? []
  return { meta: tableMeta(Number(number), first, last, placeOf(place)) }
}

function placeOf(text: string): TablePlace {
  const [level, runOrder] = text.split('/').map(Number)
  return { level: level!, runOrder: runOrder! }
}

const move = ({ meta }: Table, to: TablePlace): Table => ({ meta: { ...meta, ...to } })

interface Case {
  readonly name: string
  readonly before: Table[]
  readonly added: Table[]
  readonly removed: number[]
  readonly moved: Map<number, TablePlace>
  readonly after: string[]
}

function readCases(): Case[] {
  const cases: Case[] = []
  const text = readFileSync(join(root, 'test/cases/version.cases.txt'), 'utf8')
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const [word = '', ...rest] = line.split(' ')
    const current = cases.at(-1)
    if (word === 'case') {
      const name = rest.join(' ')
      cases.push({ name, before: [], added: [], removed: [], moved: new Map(), after: [] })
    } else if (current === undefined) {
      throw new Error(`a case does not begin with its name: ${line}`)
    } else if (word.startsWith('L')) {
      current.before.push(...rest.map((item) => table(item, word.slice(1))))
    } else if (word === 'add') {
      current.added.push(table(rest[0]!, rest[2]!))
    } else if (word === 'remove') {
      current.removed.push(...rest.map(Number))
    } else if (word === 'move') {
      current.moved.set(Number(rest[0]), placeOf(rest[2]!))
    } else if (word === '->') {
      current.after.push(rest.join(' '))
    } else {
      throw new Error(`what is ${line}?`)
    }
  }
  return cases
}

function describeVersion(version: Version<Table>): string[] {
  if (version.isEmpty) return ['empty']
  return version.levels.flatMap((runs, level) =>
    runs.map((run) => {
      const numbers = run.map(({ meta }) => meta.fileNumber)
      return [`L${level}/${run[0]!.meta.runOrder}`, ...numbers].join(' ')
    }),
  )
}

function outcome({ before, added, removed, moved }: Case): string[] {
  const version = Version.of(1, before)
  const known = describeVersion(version)
  try {
    const next = version.apply(2, { added, removed, moved }, move)
    expect(next.id).toBe(2)
    return describeVersion(next)
  } catch (error) {
    expect(describeVersion(version)).toEqual(known)
    const code = error instanceof ShaleError ? error.code : String(error)
    return [{ PLAN_STALE: 'stale', CORRUPTION: 'damaged' }[code] ?? code]
  }
}

const cases = readCases()

describe('a transition', () => {
  test('has its cases', () => {
    expect(cases.length).toBeGreaterThan(10)
  })

  test.each(cases)('$name', (given) => {
    expect(outcome(given)).toEqual(given.after)
  })
})

describe('a version', () => {
  const version = Version.of(7, [
    table('1:a-c', '0/4'),
    table('2:a-c', '0/9'),
    table('3:d-f', '3/1'),
    table('4:a-c', '3/1'),
    table('5:a-z', '6/1'),
  ])

  test('knows its tables and their sums', () => {
    const { tableCount, itemCount, tableBytes } = version
    expect([tableCount, itemCount, tableBytes]).toEqual([5, 20, 5 * 358])
    expect(version.tables().map(({ meta }) => meta.fileNumber)).toEqual([2, 1, 4, 3, 5])
    expect([version.find(3)?.meta.level, version.find(9)]).toEqual([3, undefined])
  })

  test('counts levels for options from the first one in use', () => {
    expect([0, 1, 2, 3, 4, 6].map((level) => version.policyLevel(level))).toEqual([
      0, 1, 1, 1, 2, 4,
    ])
    const empty = Version.of<Table>(1, [])
    expect([0, 1, 6].map((level) => empty.policyLevel(level))).toEqual([0, 1, 1])
  })

  test('whose tables meet is damaged', async () => {
    const tables = [table('1:a-c', '1/1'), table('2:c-d', '1/1')]
    expect((await failure(() => Version.of(1, tables))).code).toBe('CORRUPTION')
  })
})
