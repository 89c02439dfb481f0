// The parts of a table, byte for byte as docs/format.md shows them.

import { describe, expect, test } from 'vitest'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { KeyHash } from '../../../lib/typescript/base/hash.ts'
import { DataBlockBuilder, IndexBlockBuilder } from '../../../lib/typescript/table/block-builder.ts'
import { FilterBlock, FilterBuilder } from '../../../lib/typescript/table/filter-block.ts'
import { shortSeparator } from '../../../lib/typescript/table/separator.ts'
import {
  decodeFooter,
  decodeProperties,
  encodeFooter,
  encodeProperties,
} from '../../../lib/typescript/table/table-format.ts'
import { exampleBytes, readFormatDocument } from '../../format/format-document.ts'
import { newMachine, putFile } from '../support/machine.ts'
import { allForward, textsOf } from '../support/entries.ts'
import { findIn, openTable, PATH, TABLE } from '../support/tables.ts'

const { examples } = readFormatDocument()
const example = (name: string): Buffer => exampleBytes(examples.get(name)!)
const offsetOf = (name: string): number => examples.get(name)![0]!.offset
/** A block of the example without its trailer. */
const raw = (name: string): Buffer => example(name).subarray(0, -9)

const ENTRIES = [
  { key: 'apple', seqno: 7, kind: 0, value: 'red' },
  { key: 'apple', seqno: 3, kind: 0, value: 'green' },
  { key: 'apricot', seqno: 5, kind: 1, value: '' },
  { key: 'banana', seqno: 6, kind: 0, value: 'yellow' },
].map((entry) => ({ ...entry, key: Buffer.from(entry.key), value: Buffer.from(entry.value) }))

describe('the example of the document', () => {
  test('is read as it says', () => {
    const vfs = newMachine()
    const parts = ['data', 'range-tombstones', 'filter', 'index', 'properties', 'footer']
    putFile(vfs, PATH, Buffer.concat(parts.map((part) => example(`table-${part}`))))
    const table = openTable(vfs)
    expect(textsOf(allForward(table.iterator()))).toEqual(textsOf(ENTRIES))
    expect(table.properties).toMatchObject({
      itemCount: 4,
      tombstoneCount: 1,
      rangeTombstoneCount: 1,
      keyCount: 3,
      lowestSeqno: 3,
      highestSeqno: 7,
      createdAt: 1_700_000_000_000,
    })
    expect(table.rangeTombstones!.count).toBe(1)
    const [start, end] = [new Uint8Array([0x62]), new Uint8Array([0x63])]
    expect(table.rangeTombstone(0)).toEqual({ start, end, seqno: 4 })
    expect(findIn(table, Buffer.from('apple'), 5)?.value.toString()).toBe('green')
    expect(findIn(table, Buffer.from('apple'), 8)?.value.toString()).toBe('red')
    expect(findIn(table, Buffer.from('apple'), 3)).toBeUndefined()
    expect(findIn(table, Buffer.from('apricot'), 9)?.kind).toBe(1)
    expect(findIn(table, Buffer.from('banan'), 9)).toBeUndefined()
  })

  test('is what the builders make', () => {
    const hash = new KeyHash()
    const data = new DataBlockBuilder(2, 1.25)
    const filter = new FilterBuilder(10)
    let before = ''
    for (const { key, seqno, kind, value } of ENTRIES) {
      const isNewKey = key.toString() !== before
      before = key.toString()
      const { low, high } = hash.of(key, 0, key.length)
      data.add(kind, seqno, key, 0, key.length, value, 0, value.length, low, isNewKey)
      if (isNewKey) filter.add(low, high)
    }
    expect(Buffer.concat(data.finish().pieces)).toEqual(raw('table-data'))
    expect(Buffer.from(runSync(filter.build()))).toEqual(raw('table-filter'))
    const index = new IndexBlockBuilder(1)
    index.add(Buffer.from('banana'), 0, 6, 0, 0, 73)
    expect(Buffer.concat(index.finish().pieces)).toEqual(raw('table-index'))
    const at = offsetOf('table-footer')
    const properties = decodeProperties(raw('table-properties'), at)
    expect(Buffer.from(encodeProperties(properties))).toEqual(raw('table-properties'))
    const footer = decodeFooter(example('table-footer'), TABLE, at)
    expect(Buffer.from(encodeFooter(footer, TABLE, at))).toEqual(example('table-footer'))
  })
})

describe('the footer', () => {
  const at = offsetOf('table-footer')
  const refuse = (change: (bytes: Buffer) => void): unknown => {
    const bytes = Buffer.from(example('table-footer'))
    change(bytes)
    try {
      decodeFooter(bytes, TABLE, at)
    } catch (error) {
      return (error as { code: string }).code
    }
    return undefined
  }

  test('with any bit flipped is damaged', () => {
    for (let bit = 0; bit < 64 * 8; bit++) {
      const flip = (bytes: Buffer): void => void (bytes[bit >> 3]! ^= 1 << (bit & 7))
      expect(refuse(flip)).toBe('CORRUPTION')
    }
  })

  test('at another place or in another file is damaged', () => {
    expect(() => decodeFooter(example('table-footer'), TABLE, at + 1)).toThrow('checksum')
    expect(() => decodeFooter(example('table-footer'), TABLE + 1, at)).toThrow('checksum')
  })
})

describe('filter', () => {
  test('edge case 25: has all of its keys, and few others', () => {
    const hash = new KeyHash()
    const builder = new FilterBuilder(10)
    const key = (i: number): Buffer => Buffer.from(`key ${i}`)
    for (let i = 0; i < 5000; i++) {
      const { low, high } = hash.of(key(i), 0, key(i).length)
      builder.add(low, high)
    }
    const filter = new FilterBlock(runSync(builder.build()))
    expect(filter.keyCount).toBe(5000)
    let wrong = 0
    for (let i = 0; i < 15_000; i++) {
      const { low, high } = hash.of(key(i), 0, key(i).length)
      const found = filter.mayContain(low, high)
      if (i < 5000) expect(found).toBe(true)
      else if (found) wrong++
    }
    expect(wrong).toBeLessThan(10_000 * 0.03)
  })
})

describe('separators', () => {
  test('lie between the two keys, and are no longer than the first', () => {
    const alphabet = [0, 1, 0x61, 0x62, 0xfe, 0xff]
    const keys = alphabet.map((byte) => Buffer.from([byte]))
    for (const a of alphabet) {
      for (const b of alphabet) {
        keys.push(Buffer.from([a, b]))
        for (const c of alphabet) keys.push(Buffer.from([a, b, c]))
      }
    }
    const sorted = keys.toSorted(Buffer.compare)
    for (const [i, last] of sorted.entries()) {
      for (const next of sorted.slice(i + 1)) {
        const separator = shortSeparator(last, 0, last.length, next, 0, next.length)
        expect(Buffer.compare(last, separator)).toBeLessThanOrEqual(0)
        expect(Buffer.compare(separator, next)).toBeLessThan(0)
        expect(separator.length).toBeLessThanOrEqual(Math.max(last.length, next.length))
      }
    }
  })
})
