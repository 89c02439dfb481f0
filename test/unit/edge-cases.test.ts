// The forty edge cases are all there: each is one test of the public API, and at most one test of a
// room in each engine. In C++ a comment above the test names it.

import { expect, test } from 'vitest'
import { readSources } from '../support/source-files.ts'

const CASES = Array.from({ length: 40 }, (_, i) => i + 1)

/**
 * Parts of cases that are written when what they are about is there: the number of the case, the
 * member that it waits for.
 */
const WAITING: readonly (readonly [number, string])[] = [
  [13, 'writeTx'],
  [40, 'deleteKeyspace'],
]

/** By number: where a case is tested. */
function casesIn(dir: string, files: RegExp, title: RegExp): Map<number, string[]> {
  const found = new Map<number, string[]>()
  for (const { path, text } of readSources(dir, files)) {
    for (const [, number] of text.matchAll(title)) {
      const places = found.get(Number(number)) ?? []
      found.set(Number(number), [...places, path])
    }
  }
  return found
}

const IN_TYPESCRIPT = /(?:^ *test|\))\(\s*'edge case (\d+): /gm
const IN_CPP = /^\/\/ Edge case (\d+): /gm

test('each case is one test of the public API', () => {
  const found = casesIn('test/conformance', /\.test\.ts$/, IN_TYPESCRIPT)
  for (const number of CASES) expect(found.get(number), `edge case ${number}`).toHaveLength(1)
  expect([...found.keys()].filter((number) => !CASES.includes(number))).toEqual([])
})

test('what only a room can show is one test of it in each engine', () => {
  const rooms = [
    casesIn('test/typescript', /\.test\.ts$/, IN_TYPESCRIPT),
    casesIn('test/native', /_test\.cc$/, IN_CPP),
  ]
  for (const found of rooms) {
    expect(found.size).toBeGreaterThan(0)
    for (const [number, places] of found) {
      expect(CASES).toContain(number)
      expect(places, `edge case ${number}`).toHaveLength(1)
    }
  }
})

test('no case waits for something that is there', () => {
  const members = readSources('lib', /^(database|keyspace|tree|options)\.ts$/)
  const isThere = (member: string): boolean => {
    const declared = new RegExp(`^ {2}(static )?${member}\\??[(<:]`, 'm')
    return members.some(({ text }) => declared.test(text))
  }
  expect(isThere('majorCompaction') && isThere('compactionRateLimit')).toBe(true)
  const late = WAITING.filter(([, member]) => isThere(member))
  expect(late.map(([number, member]) => `edge case ${number}: ${member}`)).toEqual([])
})
