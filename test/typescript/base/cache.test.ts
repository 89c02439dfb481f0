// The cache: bounded, scan-resistant, forgetful where it is told to be.

import { describe, expect, test } from 'vitest'
import { Cache } from '../../../lib/typescript/base/cache.ts'
import type { CachedFile } from '../../../lib/typescript/base/cache.ts'
import { scaled, testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'

const seed = testSeed()
console.log(`cache: SEED=${seed}`)

/** A read as a table does it: look, load, keep. True on a hit. */
function read(cache: Cache, file: CachedFile<string>, offset: number) {
  const found = file.get(offset)
  if (found === undefined) file.put(offset, `block ${offset}`, 10)
  else expect(found).toBe(`block ${offset}`)
  expect(cache.size).toBeLessThanOrEqual(cache.capacity)
  return found !== undefined
}

describe('the cache', () => {
  test('gives back what was put, by file and offset', () => {
    const cache = new Cache(1000)
    const [one, two] = [cache.file<string>(), cache.file<string>()]
    one.put(0, 'a', 10)
    two.put(0, 'b', 20)
    expect([one.get(0), two.get(0), one.get(10)]).toEqual(['a', 'b', undefined])
    expect(cache.stats()).toEqual({ capacity: 1000, size: 30, hits: 2, misses: 1 })
    one.put(0, 'c', 5)
    expect([one.get(0), cache.size]).toEqual(['c', 25])
  })

  test('never holds more than its capacity', () => {
    const random = new Random(seed)
    const cache = new Cache(1000)
    const files = Array.from({ length: 5 }, () => cache.file<number>())
    for (let i = 0; i < scaled(20_000); i++) {
      const file = files[random.below(5)]!
      const offset = random.below(100)
      if (file.get(offset) === undefined) file.put(offset, i, random.below(1200))
      if (random.below(500) === 0) file.clear()
      expect(cache.size).toBeLessThanOrEqual(1000)
    }
    for (const file of files) file.clear()
    expect(cache.size).toBe(0)
  })

  test('what is larger than the cache is not kept', () => {
    const file = new Cache(100).file<string>()
    file.put(0, 'large', 101)
    expect(file.get(0)).toBe(undefined)
    const none = new Cache(0)
    expect([read(none, none.file<string>(), 1), none.size]).toEqual([false, 0])
  })

  test('a scan does not wash out what is used', () => {
    const cache = new Cache(1000)
    const file = cache.file<string>()
    for (let round = 0; round < 4; round++) for (let i = 0; i < 50; i++) read(cache, file, i)
    for (let i = 1000; i < 3000; i++) read(cache, file, i)
    const kept = Array.from({ length: 50 }, (_, i) => read(cache, file, i))
    expect(kept.filter(Boolean).length).toBeGreaterThanOrEqual(40)
  })

  test('what comes back soon after it fell out stays', () => {
    const cache = new Cache(1000)
    const file = cache.file<string>()
    for (let i = 0; i < 150; i++) read(cache, file, i)
    // Block 0 is a ghost now; this puts it into the main queue, past which newcomers pass.
    expect(read(cache, file, 0)).toBe(false)
    for (let i = 200; i < 400; i++) read(cache, file, i)
    expect(read(cache, file, 0)).toBe(true)
  })

  test('a set that changed is learnt: what is no longer used makes room', () => {
    const cache = new Cache(1000)
    const file = cache.file<string>()
    for (let round = 0; round < 5; round++) for (let i = 0; i < 90; i++) read(cache, file, i)
    let hits = 0
    for (let round = 0; round < 10; round++) {
      hits = 0
      for (let i = 500; i < 590; i++) hits += Number(read(cache, file, i))
    }
    expect(hits).toBeGreaterThanOrEqual(80)
  })
})
