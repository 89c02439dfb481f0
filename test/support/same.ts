// Comparing much, fast.

import { isDeepStrictEqual } from 'node:util'
import { expect } from 'vitest'

/** As `expect(actual).toEqual(expected)`, which takes its time over thousands of buffers. */
export function expectSame(actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) expect(actual).toEqual(expected)
}
