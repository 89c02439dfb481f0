// The three lists of error codes are one: C++, TypeScript and the contract.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ERROR_CODES, keyError, kindOf, ShaleError, valueError } from '../../lib/errors.ts'
import { root } from '../support/source-files.ts'

function upperSnake(constant: string): string {
  return constant.replace(/(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, '_').toUpperCase()
}

test('codes and numbers are those of native/base/status.h', () => {
  const header = readFileSync(join(root, 'native/base/status.h'), 'utf8')
  const body = header.slice(
    header.indexOf('enum class Code'),
    header.indexOf('struct ErrorDetails'),
  )
  const core = [...body.matchAll(/\bk(\w+) = (\d+)/g)].map(([, name = '', number]) => [
    Number(number),
    upperSnake(name),
  ])
  expect(core).toEqual(ERROR_CODES.map((code, number) => [number, code]))
})

test('codes, numbers and retries are those of docs/contract.md', () => {
  const text = readFileSync(join(root, 'docs/contract.md'), 'utf8')
  const rows = [...text.matchAll(/^\| (\d+) \| `(\w+)` \| (yes|no) \|/gm)]
  expect(rows.map(([, number, code, retry]) => [Number(number), code, retry])).toEqual(
    ERROR_CODES.flatMap((code, number) => {
      if (code === 'OK' || code === 'NOT_FOUND' || code === 'WOULD_BLOCK') return []
      return [[number, code, new ShaleError(code, '').retryable ? 'yes' : 'no']]
    }),
  )
})

test('an error carries what applies and nothing else', () => {
  const cause = new Error('first')
  const error = new ShaleError('CORRUPTION', 'a bad block', {
    path: '/db/1.table',
    offset: 0,
    cause,
  })
  expect(error).toBeInstanceOf(Error)
  expect(error.name).toBe('ShaleError')
  expect(Object.fromEntries(Object.entries(error))).toEqual({
    code: 'CORRUPTION',
    retryable: false,
    indeterminate: false,
    path: '/db/1.table',
    offset: 0,
  })
  expect(error.cause).toBe(cause)
  expect(String(error)).toBe('ShaleError: a bad block')
})

test('a refused key is explained by its size or kind, never by its content', () => {
  const codeOf = (key: unknown): string => keyError(key).code
  expect(codeOf('')).toBe('INVALID_KEY')
  expect(codeOf(new Uint8Array(0))).toBe('INVALID_KEY')
  expect(codeOf('\ud800')).toBe('INVALID_KEY')
  expect(codeOf(7)).toBe('INVALID_KEY')
  expect(codeOf('é'.repeat(32_768))).toBe('KEY_TOO_LARGE')
  expect(keyError('secret'.repeat(20_000)).message).not.toContain('secret')
  expect(keyError(new Uint8Array(70_000)).message).toContain('70000')
  expect(keyError(null, 'keys[3]').message).toContain('keys[3]')
})

test('a refused value is explained the same way', () => {
  expect(valueError('\udc00', 10).code).toBe('INVALID_VALUE')
  expect(valueError(new Date(0), 10).code).toBe('INVALID_VALUE')
  expect(valueError('12345678901', 10).code).toBe('VALUE_TOO_LARGE')
})

test('a subclass cannot lie about its length', () => {
  class Liar extends Uint8Array {
    override get byteLength(): number {
      return 5
    }
  }
  expect(keyError(new Liar(70_000)).code).toBe('KEY_TOO_LARGE')
})

test('kinds are named', () => {
  expect([null, undefined, [], {}, 'x', 1, 1n].map(kindOf)).toEqual([
    'null',
    'undefined',
    'an array',
    'an object',
    'a string',
    'a number',
    'a bigint',
  ])
})
