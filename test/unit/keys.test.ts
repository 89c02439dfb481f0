// Bounds: what ranges and prefixes become.

import { expect, test } from 'vitest'
import * as fc from 'fast-check'
import { boundsOfPrefix, boundsOfRange, copyKey, keyAfter, prefixEnd } from '../../lib/keys.ts'

const key = fc.uint8Array({ minLength: 1, maxLength: 6 }).map((bytes) => Buffer.from(bytes))

test('keyAfter is the next key in order', () => {
  fc.assert(
    fc.property(key, key, (a, b) => {
      const after = keyAfter(a)
      expect(after).toBeDefined()
      const isAfter = Buffer.compare(b, a) > 0
      expect(Buffer.compare(b, after as Uint8Array) >= 0).toBe(isAfter)
    }),
  )
})

test('keyAfter of a key of the greatest length', () => {
  const longest = Buffer.alloc(65_535, 'a')
  const after = keyAfter(longest) as Buffer
  expect(after.length).toBe(65_535)
  expect(after[65_534]).toBe('b'.charCodeAt(0))
  expect(keyAfter(Buffer.alloc(65_535, 0xff))).toBeUndefined()
})

test('prefixEnd bounds exactly the keys with the prefix', () => {
  fc.assert(
    fc.property(key, key, (prefix, other) => {
      const end = prefixEnd(prefix)
      const starts = other.subarray(0, prefix.length).equals(prefix)
      const inside =
        Buffer.compare(other, prefix) >= 0 && (end === undefined || Buffer.compare(other, end) < 0)
      expect(inside).toBe(starts)
    }),
  )
  expect(prefixEnd(Buffer.from([0xff, 0xff]))).toBeUndefined()
  expect(prefixEnd(Buffer.from([1, 0xff]))).toEqual(Buffer.from([2]))
})

test('an empty prefix means everything', () => {
  expect(boundsOfPrefix('')).toEqual({ lower: undefined, upper: undefined, empty: false })
})

test('bounds hold the keys that the range names', () => {
  const bound = fc.constantFrom('gt', 'gte', 'lt', 'lte')
  fc.assert(
    fc.property(fc.uniqueArray(bound, { maxLength: 2 }), key, key, key, (names, x, y, probe) => {
      const range = Object.fromEntries(names.map((name, i) => [name, i === 0 ? x : y]))
      const lows = names.filter((name) => name.startsWith('g')).length
      if (lows === 2 || names.length - lows === 2) {
        expect(() => boundsOfRange(range)).toThrow()
        return
      }
      const holds = names.every((name, i) => {
        const order = Buffer.compare(probe, i === 0 ? x : y)
        if (name === 'gt') return order > 0
        if (name === 'gte') return order >= 0
        return name === 'lt' ? order < 0 : order <= 0
      })
      const { lower, upper, empty } = boundsOfRange(range)
      const inside =
        !empty &&
        (lower === undefined || Buffer.compare(probe, lower) >= 0) &&
        (upper === undefined || Buffer.compare(probe, upper) < 0)
      expect(inside).toBe(holds)
    }),
  )
})

test('keys are copied', () => {
  const given = Buffer.from('abc')
  const copy = copyKey(given)
  given[0] = 0
  expect(copy.toString()).toBe('abc')
})
