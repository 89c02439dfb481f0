// Percentiles against the durations themselves, and which calls are timed.

import { expect, test, vi } from 'vitest'
import { Histogram, Latency } from '../../../lib/typescript/base/histogram.ts'
import { testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'

/** Nanoseconds, from all magnitudes alike. */
function drawn(random: Random): number {
  const magnitude = random.below(11)
  return Math.floor(10 ** magnitude * (1 + (9 * random.next()) / 2 ** 32))
}

const SHARES = [0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1]

test('percentiles are within 3 % of those of sorted durations', () => {
  const seed = testSeed()
  const random = new Random(seed)
  for (const count of [1, 2, 10, 1000, 20_000]) {
    const histogram = new Histogram()
    const durations = Array.from({ length: count }, () => drawn(random))
    for (const nanos of durations) histogram.record(nanos / 1e6)
    durations.sort((a, b) => a - b)
    for (const share of SHARES) {
      const exact = durations[Math.max(0, Math.ceil(share * count) - 1)]! / 1000
      const found = histogram.percentile(share)
      const where = `seed ${seed}, ${share} of ${count}`
      expect(Math.abs(found - exact), where).toBeLessThanOrEqual(0.03 * exact)
    }
    expect(histogram.max).toBe(durations.at(-1)! / 1000)
    expect(histogram.percentile(1)).toBeLessThanOrEqual(histogram.max)
  }
})

test('every nanosecond of the first hundreds, and each end of a power of two', () => {
  const powers = Array.from({ length: 37 }, (_, power) => 2 ** power)
  const ends = powers.flatMap((power) => [power - 1, power, power + 1])
  for (const nanos of [...Array.from({ length: 300 }, (_, i) => i), ...ends]) {
    const histogram = new Histogram()
    histogram.record(nanos / 1e6)
    // Something longer, so that the middle of the bucket is not cut off at it.
    histogram.record(nanos / 1e4)
    expect(Math.abs(histogram.percentile(0.5) * 1000 - nanos)).toBeLessThanOrEqual(nanos / 64)
  }
})

test('what takes longer than two minutes counts, and the longest is known', () => {
  const histogram = new Histogram()
  for (const seconds of [200, 4000, 1e6]) histogram.record(seconds * 1000)
  expect(histogram.max).toBe(1e12)
  expect(histogram.percentile(0.5)).toBeGreaterThan(100e6)
})

test('one that stands for many weighs as much', () => {
  const histogram = new Histogram()
  histogram.record(1, 64)
  for (let i = 0; i < 63; i++) histogram.record(1000)
  expect(histogram.percentile(0.5)).toBeCloseTo(1000, -2)
  histogram.record(1000, 2)
  expect(histogram.percentile(0.5)).toBeGreaterThan(900_000)
})

test('of an empty one everything is 0', () => {
  const nothing = { count: 0, p50: 0, p99: 0, p999: 0, max: 0 }
  expect(new Latency(64).summary()).toEqual(nothing)
})

test('the first call and every n-th is timed, however many run at once', () => {
  let now = 5
  const looks = vi.spyOn(performance, 'now').mockImplementation(() => now)
  const latency = new Latency(8)
  for (let i = 0; i < 80; i++) {
    const begun = latency.begin()
    // What is not timed would be seen here.
    now += begun === 0 ? 1000 : 1
    latency.end(begun)
  }
  expect(looks).toHaveBeenCalledTimes(2 * 10)
  expect(latency.summary()).toMatchObject({ count: 80, max: 1000 })
  // Calls that began beside a timed one are not timed because of it.
  looks.mockClear()
  const begun = Array.from({ length: 16 }, () => latency.begin())
  expect(begun.filter((time) => time > 0)).toHaveLength(2)
  for (const time of begun) latency.end(time)
  latency.add(2000)
  expect(latency.summary()).toMatchObject({ count: 97, max: 2e6 })
  looks.mockRestore()
})
