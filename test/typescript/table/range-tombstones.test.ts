// The range tombstone block: what is written is read, and what breaks a rule of docs/format.md,
// section 8.5, is damage.

import { describe, expect, test } from 'vitest'
import { Encoder } from '../../../lib/typescript/base/coding.ts'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { compareTombstones } from '../../../lib/typescript/base/range-tombstone.ts'
import type { RangeTombstone } from '../../../lib/typescript/base/range-tombstone.ts'
import {
  decodeRangeTombstones,
  encodeRangeTombstones,
} from '../../../lib/typescript/table/range-tombstones.ts'
import type { TableReader } from '../../../lib/typescript/table/table-reader.ts'
import { TableWriter } from '../../../lib/typescript/table/table-writer.ts'
import { failure, testSeed } from '../../support/scratch.ts'
import { newMachine } from '../support/machine.ts'
import { Random } from '../support/random.ts'
import { openTable, PATH, PLAIN } from '../support/tables.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

function encoded(ranges: readonly RangeTombstone[]): Uint8Array {
  return new Uint8Array(Buffer.concat(runSync(encodeRangeTombstones(ranges)).pieces))
}

interface Item {
  readonly start: string
  readonly flags: number
  readonly end: string
  readonly seqno: number
}

function block(count: number, items: readonly Item[]): Uint8Array {
  const out = new Encoder().u32(count)
  for (const { start, flags, end, seqno } of items) {
    out.prefixed(bytes(start)).u8(flags).prefixed(bytes(end)).varint(seqno)
  }
  return out.view().slice()
}

test('what is encoded is decoded', () => {
  const random = new Random(testSeed())
  const ranges = Array.from({ length: 10_000 }, (): RangeTombstone => {
    const start = bytes(`k${random.below(1000)}`)
    const end = random.below(5) === 0 ? undefined : new Uint8Array([...start, random.below(256)])
    return { start, end, seqno: random.below(2 ** 31) }
  }).toSorted(compareTombstones)
  const index = runSync(decodeRangeTombstones(encoded(ranges)))
  expect(ranges.map((_, i) => index.at(i))).toEqual(ranges)
})

describe('damage', () => {
  const good: Item = { start: 'b', flags: 0, end: 'd', seqno: 5 }
  const bad: Record<string, Uint8Array> = {
    'no item': block(0, []),
    'fewer items than it says': block(2, [good]),
    'more bytes than its items have': block(1, [good, { ...good, start: 'c' }]),
    'a count out of reach': block(2 ** 32 - 1, [good]),
    'an empty start': block(1, [{ ...good, start: '' }]),
    'an end that is the start': block(1, [{ ...good, end: 'b' }]),
    'an end before the start': block(1, [{ ...good, end: 'a' }]),
    'no end where there must be one': block(1, [{ ...good, end: '' }]),
    'an end where there must be none': block(1, [{ ...good, flags: 1 }]),
    'flags that are unknown': block(1, [{ ...good, flags: 2 }]),
    'an end that is no key': block(1, [{ ...good, end: 'd'.repeat(65_536) }]),
    'starts out of order': block(2, [good, { ...good, start: 'a' }]),
    'seqnos out of order': block(2, [good, { ...good, seqno: 6 }]),
    'ends out of order': block(2, [good, { ...good, end: 'e' }]),
    'an end behind none': block(2, [good, { ...good, flags: 1, end: '' }]),
  }

  test.each(Object.entries(bad))('%s', async (_, damaged) => {
    const error = await failure(() => runSync(decodeRangeTombstones(damaged)))
    expect(error.code).toBe('CORRUPTION')
  })

  test('what is cut off anywhere', async () => {
    const whole = block(2, [good, { ...good, start: 'c', flags: 1, end: '' }])
    expect(runSync(decodeRangeTombstones(whole)).count).toBe(2)
    for (let length = 0; length < whole.length; length++) {
      // oxlint-disable-next-line no-await-in-loop
      const error = await failure(() => runSync(decodeRangeTombstones(whole.slice(0, length))))
      expect(error.code).toBe('CORRUPTION')
    }
  })
})

describe('a table', () => {
  function written(keys: readonly string[], ranges: readonly RangeTombstone[]): TableReader {
    const vfs = newMachine()
    const file = vfs.open(PATH, 'create').sync()
    const writer = new TableWriter(PLAIN)
    for (const key of keys) writer.add(0, 5, bytes(key), 0, key.length, bytes('v'), 0, 1)
    runSync(writer.finish(file, ranges))
    file.close()
    return openTable(vfs)
  }

  test.each<readonly [string, string[], RangeTombstone[], object]>([
    [
      'of range tombstones alone',
      [],
      [{ start: bytes('b'), end: bytes('d'), seqno: 7 }],
      { itemCount: 0, blockCount: 0, lastKeyBound: 1, lowestSeqno: 7, highestSeqno: 7 },
    ],
    [
      'that ends with an entry at the end of a range',
      ['d'],
      [{ start: bytes('b'), end: bytes('d'), seqno: 2 }],
      { itemCount: 1, lastKeyBound: 0, lowestSeqno: 2, highestSeqno: 5 },
    ],
    [
      'that begins with an entry and ends with a range',
      ['a', 'c'],
      [{ start: bytes('b'), end: bytes('d'), seqno: 7 }],
      { itemCount: 2, lastKeyBound: 1, lowestSeqno: 5, highestSeqno: 7 },
    ],
    [
      'without upper end',
      ['c', 'z'],
      [{ start: bytes('b'), end: undefined, seqno: 7 }],
      { itemCount: 2, lastKeyBound: 2, lowestSeqno: 5, highestSeqno: 7 },
    ],
  ])('%s', (_, keys, ranges, properties) => {
    const table = written(keys, ranges)
    expect(table.properties).toMatchObject({ ...properties, rangeTombstoneCount: ranges.length })
    const first = [...keys, 'b'].toSorted()[0]!
    expect(table.properties.firstKey).toEqual(bytes(first))
    const bound = table.properties.lastKeyBound
    expect(table.properties.lastKey).toEqual(bytes(bound === 2 ? '' : 'd'))
    expect(table.seqnoOver(bytes('bb'), 0, 2, 100)).toBe(ranges[0]!.seqno)
    expect(table.seqnoOver(bytes('bb'), 0, 2, ranges[0]!.seqno)).toBe(-1)
    expect(table.seqnoOver(bytes('a'), 0, 1, 100)).toBe(-1)
  })
})
