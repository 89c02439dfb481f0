// How much of a block is looked at in a row: a large one must not hold the event loop.

import { expect, test, vi } from 'vitest'
import { breath } from '../../../lib/typescript/base/flow.ts'
import { DataBlockBuilder } from '../../../lib/typescript/table/block-builder.ts'
import { DataBlock } from '../../../lib/typescript/table/data-block.ts'

const COUNT = 20_000

function keyOf(i: number): Buffer {
  return Buffer.from(`key ${String(i).padStart(9, '0')}`)
}

function largeBlock(): Uint8Array {
  const builder = new DataBlockBuilder(16, 0)
  const value = Buffer.from('value')
  for (let i = 0; i < COUNT; i++) {
    const key = keyOf(i)
    builder.add(0, 1, key, 0, key.length, value, 0, value.length, 0, true)
  }
  return Buffer.concat(builder.finish().pieces)
}

test('a large block is prepared in pieces, and the first search looks at few entries', () => {
  const decode = vi.spyOn(DataBlock.prototype, 'decode')
  const check = vi.spyOn(DataBlock.prototype, 'checkEntry')
  const looks = (): number => decode.mock.calls.length + check.mock.calls.length
  let [most, before] = [0, 0]
  const opening = DataBlock.open(largeBlock())
  let step = opening.next()
  for (; step.done !== true; step = opening.next()) {
    expect(step.value).toBe(breath)
    most = Math.max(most, looks() - before)
    before = looks()
  }
  // Each entry of a piece is looked at, and so is its restart head.
  expect(Math.max(most, looks() - before)).toBeLessThan(5000)
  const block = step.value
  for (const i of [12_345, 0, COUNT - 1]) {
    before = looks()
    const key = keyOf(i)
    expect(block.seek(key, 0, key.length, 2)).toBe(i)
    expect(looks() - before).toBeLessThan(100)
  }
  vi.restoreAllMocks()
})
