// A queue lets go of what has left it.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { Fifo } from '../../../lib/typescript/base/fifo.ts'

async function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

test('what has left is not kept', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const fifo = new Fifo<Uint8Array>()
  const left = (() => {
    for (let i = 0; i < 100; i++) fifo.push(new Uint8Array(1000))
    return Array.from({ length: 99 }, () => new WeakRef(fifo.shift()!))
  })()
  const kept = (): number => left.filter((ref) => ref.deref() !== undefined).length
  for (let i = 0; i < 100; i++) {
    // oxlint-disable-next-line no-await-in-loop
    await turn()
    collect()
  }
  expect([kept(), fifo.length]).toEqual([0, 1])
})

test('elements leave in their order, however many have left before', () => {
  const fifo = new Fifo<number>()
  const left: number[] = []
  for (let i = 0; i < 5000; i++) {
    fifo.push(2 * i)
    fifo.push(2 * i + 1)
    left.push(fifo.shift()!)
  }
  expect(fifo.length).toBe(5000)
  expect([...left, ...fifo.takeAll()]).toEqual(Array.from({ length: 10_000 }, (_, i) => i))
  expect([fifo.length, fifo.shift()]).toEqual([0, undefined])
})
