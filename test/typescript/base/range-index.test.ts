// The index of range tombstones, and the set of them that grows, against a list that is gone
// through; drawn from a seed.

import { describe, expect, test } from 'vitest'
import { RangeIndex } from '../../../lib/typescript/base/range-index.ts'
import { RangeSet } from '../../../lib/typescript/base/range-set.ts'
import { compareTombstones } from '../../../lib/typescript/base/range-tombstone.ts'
import type { RangeTombstone } from '../../../lib/typescript/base/range-tombstone.ts'
import { scaled, testSeed } from '../../support/scratch.ts'
import { inside } from '../support/entries.ts'
import { Random } from '../support/random.ts'

const ROUNDS = scaled(300)
const PROBES = 40

/** Few keys, prefixes of each other among them. */
function drawKey(random: Random): Buffer {
  const length = 1 + random.below(3)
  return Buffer.from(Array.from({ length }, () => [0, 1, 0x61, 0xff][random.below(4)]!))
}

function drawRanges(random: Random, most: number): RangeTombstone[] {
  const ranges: RangeTombstone[] = []
  for (let left = 1 + random.below(most); left > 0; left--) {
    const [a, b] = [drawKey(random), drawKey(random)]
    const order = Buffer.compare(a, b)
    const end = order === 0 ? undefined : order < 0 ? b : a
    // Mostly as they come, sometimes in any order, sometimes several of one commit.
    const seqno = random.below(3) === 0 ? random.below(most) : ranges.length + random.below(2)
    ranges.push({ start: order < 0 ? a : b, end, seqno })
  }
  return ranges
}

function isOver({ start, end }: RangeTombstone, key: Buffer): boolean {
  return Buffer.compare(start, key) <= 0 && (end === undefined || Buffer.compare(key, end) < 0)
}

function newest(ranges: readonly RangeTombstone[], readSeqno: number): number {
  return Math.max(-1, ...ranges.map(({ seqno }) => seqno).filter((seqno) => seqno < readSeqno))
}

function firstStart(ranges: readonly RangeTombstone[], key: Buffer): string | undefined {
  const behind = ranges.map(({ start }) => Buffer.from(start)).filter((start) => start > key)
  return behind.toSorted((a, b) => Buffer.compare(a, b))[0]?.toString('hex')
}

const hex = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && Buffer.from(bytes).toString('hex')

test('an index finds what a list would', () => {
  const random = new Random(testSeed())
  for (let round = 0; round < ROUNDS; round++) {
    const ranges = drawRanges(random, round % 3 === 0 ? 8 : 200).toSorted(compareTombstones)
    const index = RangeIndex.of(ranges)
    expect(index.count).toBe(ranges.length)
    expect(index.highestSeqno).toBe(Math.max(...ranges.map(({ seqno }) => seqno)))
    expect(index.lowestSeqno).toBe(Math.min(...ranges.map(({ seqno }) => seqno)))
    expect(ranges.map((_, i) => index.at(i))).toEqual(
      ranges.map(({ start, end, seqno }) => ({
        start: new Uint8Array(start),
        end: end && new Uint8Array(end),
        seqno,
      })),
    )
    for (let probe = 0; probe < PROBES; probe++) {
      const key = drawKey(random)
      const readSeqno = random.below(ranges.length + 3)
      const { bytes, begin, end } = inside(key)
      const over = ranges.filter((range) => isOver(range, key))
      const found = index.covering(bytes, begin, end, readSeqno)
      expect(found < 0 ? -1 : index.seqno(found)).toBe(newest(over, readSeqno))
      if (found >= 0) expect(isOver(index.at(found), key)).toBe(true)
      const above = random.below(ranges.length + 3)
      const better = index.covering(bytes, begin, end, readSeqno, above)
      const best = newest(over, readSeqno)
      expect(better < 0 ? -1 : index.seqno(better)).toBe(best > above ? best : -1)
      const behind = index.behind(bytes, begin, end)
      expect(ranges.map(({ start }) => Buffer.compare(start, key) <= 0)).toEqual(
        ranges.map((_, i) => i < behind),
      )
      expectContaining(index, ranges, key, drawKey(random), readSeqno)
    }
  }
})

function expectContaining(
  index: RangeIndex,
  ranges: readonly RangeTombstone[],
  first: Buffer,
  last: Buffer,
  readSeqno: number,
): void {
  const under = ranges.filter((range) => isOver(range, first))
  const seqnoOf = (found: number): number => (found < 0 ? -1 : index.seqno(found))
  const inclusive = under.filter((range) => isOver(range, last))
  const exclusive = under.filter(({ end }) => end === undefined || Buffer.compare(last, end) <= 0)
  const whole = under.filter(({ end }) => end === undefined)
  if (Buffer.compare(first, last) <= 0) {
    const found = index.containing(first, last, true, readSeqno)
    expect(seqnoOf(found)).toBe(newest(inclusive, readSeqno))
  }
  if (Buffer.compare(first, last) < 0) {
    const found = index.containing(first, last, false, readSeqno)
    expect(seqnoOf(found)).toBe(newest(exclusive, readSeqno))
  }
  expect(seqnoOf(index.containing(first, undefined, false, readSeqno))).toBe(
    newest(whole, readSeqno),
  )
}

test('a set finds what a list would, after each that is added', () => {
  const random = new Random(testSeed())
  for (let round = 0; round < ROUNDS / 4; round++) {
    const ranges = drawRanges(random, 300)
    const set = new RangeSet()
    for (const [i, range] of ranges.entries()) {
      set.add(range)
      const key = drawKey(random)
      const readSeqno = random.below(ranges.length + 3)
      const { bytes, begin, end } = inside(key)
      const added = ranges.slice(0, i + 1)
      const best = newest(
        added.filter((one) => isOver(one, key)),
        readSeqno,
      )
      expect(set.seqnoOver(bytes, begin, end, readSeqno)).toBe(best)
      const found = set.covering(bytes, begin, end, readSeqno)
      expect(found?.seqno ?? -1).toBe(best)
      expect(hex(set.startBehind(bytes, begin, end))).toBe(firstStart(added, key))
    }
    expect(set.count).toBe(ranges.length)
    const all = set
      .indexes()
      .flatMap((index) => Array.from({ length: index.count }, (_, i) => index.at(i)))
    const texts = (list: readonly RangeTombstone[]): string[] =>
      list.map(({ start, end, seqno }) => `${hex(start)} ${hex(end)} ${seqno}`).toSorted()
    expect(texts(all)).toEqual(texts(ranges))
  }
})

describe('a hundred thousand of them', () => {
  const COUNT = 100_000
  const READS = 2000
  const numbered = (i: number): Buffer => {
    const key = Buffer.alloc(4)
    key.writeUInt32BE(i)
    return key
  }
  const everything = { start: numbered(0), end: undefined }
  const shapes: Record<string, (i: number) => Omit<RangeTombstone, 'seqno'>> = {
    'a queue that is trimmed': (i) => ({ start: numbered(0), end: numbered(i + 1) }),
    'cleared again and again': () => everything,
    'side by side': (i) => ({ start: numbered(2 * i), end: numbered(2 * i + 1) }),
    'one in the other': (i) => ({ start: numbered(i), end: numbered(2 * COUNT - i) }),
  }

  test.each(Object.entries(shapes))('%s: keys are compared seldom', (_, shape) => {
    const set = new RangeSet()
    for (let i = 0; i < COUNT; i++) set.add({ ...shape(i), seqno: i + 1 })
    const random = new Random(testSeed())
    let looks = 0
    // Each comparison reads a first byte of the key.
    const watched = (key: Buffer): Uint8Array =>
      new Proxy(key, {
        get: (target, name) => {
          if (name === '0') looks++
          return Reflect.get(target, name, target) as unknown
        },
      })
    for (let i = 0; i < READS; i++) {
      const key = watched(numbered(random.below(2 * COUNT)))
      const readSeqno = i % 2 === 0 ? Infinity : random.below(COUNT)
      set.seqnoOver(key, 0, 4, readSeqno)
    }
    expect(looks / READS).toBeLessThan(1000)
  })
})
