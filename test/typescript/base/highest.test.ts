// The highest of numbers that change, against a look at all of them.

import { expect, test } from 'vitest'
import { Highest } from '../../../lib/typescript/base/highest.ts'
import { testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'

test('the highest is known after every change, and one that has it', () => {
  const random = new Random(testSeed())
  const highest = new Highest<number>()
  expect([highest.value, highest.holder]).toEqual([0, undefined])
  const numbers = new Map<number, number>()
  for (let i = 0; i < 5000; i++) {
    const holder = random.below(20)
    const number = random.below(random.below(8) === 0 ? 30 : 4)
    numbers.set(holder, number)
    highest.set(holder, number)
    expect(highest.value).toBe(Math.max(...numbers.values()))
    expect(numbers.get(highest.holder!)).toBe(highest.value)
  }
})
