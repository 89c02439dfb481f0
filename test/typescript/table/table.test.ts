// Tables of any shape against a model, and with damaged bytes.

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ShaleError } from '../../../lib/errors.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import { READ_ALL } from '../../../lib/typescript/base/internal-key.ts'
import { settled } from '../../../lib/typescript/base/iterator.ts'
import { DataBlock } from '../../../lib/typescript/table/data-block.ts'
import { FilterBlock } from '../../../lib/typescript/table/filter-block.ts'
import { IndexBlock } from '../../../lib/typescript/table/index-block.ts'
import { BlockEntry } from '../../../lib/typescript/table/sorted-block.ts'
import { decodeProperties } from '../../../lib/typescript/table/table-format.ts'
import type { TableIterator } from '../../../lib/typescript/table/table-iterator.ts'
import { TableWriter } from '../../../lib/typescript/table/table-writer.ts'
import type { TableWriteOptions } from '../../../lib/typescript/table/table-writer.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import type { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { exampleBytes, readFormatDocument } from '../../format/format-document.ts'
import {
  allForward,
  compareEntries,
  expectSequence,
  hardKeys,
  inside,
  kinds,
  shown,
  textOf,
  textsOf,
  values,
  visibleOf,
} from '../support/entries.ts'
import type { Entry } from '../support/entries.ts'
import { newMachine, putFile, readFile } from '../support/machine.ts'
import { testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'
import { findIn, openTable, PATH, PLAIN, writeTable } from '../support/tables.ts'

/** Sorted, each key and seqno once, tombstones without value. */
function sortedEntries(list: readonly Entry[]): Entry[] {
  const unique = new Map(list.map((one) => [`${one.key.toString('hex')}@${one.seqno}`, one]))
  return [...unique.values()]
    .map((one) => (one.kind === 0 ? one : { ...one, value: Buffer.alloc(0) }))
    .toSorted(compareEntries)
}

const entryLists = fc.array(
  fc.record({ key: hardKeys, seqno: fc.nat(15), kind: kinds, value: values }),
  { minLength: 1, maxLength: 150 },
)

const shapes = fc.record({
  blockSize: fc.constantFrom(1, 60, 200, 4096),
  restartInterval: fc.constantFrom(1, 2, 10, 255),
  hashIndexRatio: fc.constantFrom(0, 0.3, 1, 8),
  codec: fc.constantFrom(0, 1),
  indexCodec: fc.constantFrom(0, 1),
  bitsPerKey: fc.constantFrom(0, 0.5, 10, 100),
  partitionIndex: fc.boolean(),
  partitionFilter: fc.boolean(),
})

const openings = fc.record({
  cacheSize: fc.constantFrom(0, 2000, 1 << 20),
  pin: fc.boolean(),
  globalSeqno: fc.constantFrom(0, 100),
})

/** Many entries, several versions of each key. */
function manyEntries(count: number): Entry[] {
  return Array.from({ length: count }, (_, i) => ({
    key: Buffer.from(`key ${String(Math.floor(i / 3)).padStart(6, '0')}`),
    seqno: 10 - (i % 3),
    kind: 0,
    value: Buffer.from(`value ${i}`),
  }))
}

describe('table', () => {
  test('edge case 23: of any entries and shape holds what was written', () => {
    const probes = fc.array(fc.record({ key: hardKeys, seqno: fc.nat(120) }), { maxLength: 6 })
    fc.assert(
      fc.property(entryLists, shapes, openings, probes, (list, shape, opening, others) => {
        const stored = sortedEntries(list)
        const vfs = newMachine()
        const { properties, size } = writeTable(vfs, stored, shape)
        const table = openTable(vfs, opening)
        expect(readFile(vfs, PATH).length).toBe(size)
        expect(table.properties).toEqual(properties)
        expect(properties.itemCount).toBe(stored.length)
        expect(properties.keyCount).toBe(visibleOf(stored, READ_ALL).length)
        const { globalSeqno } = opening
        const entries = stored.map((one) => ({ ...one, seqno: one.seqno + globalSeqno }))
        const places = [...others, ...entries.slice(0, 6)]
        expectSequence(table.iterator(), entries, places)
        expectSequence(table.iterator(500), entries, places.slice(0, 2))
        for (const readSeqno of [0, 4, 12, 103, 109, READ_ALL]) {
          const visible = visibleOf(entries, readSeqno)
          for (const { key } of places) {
            const expected = visible.find((entry) => entry.key.equals(key))
            expect(textOf(findIn(table, key, readSeqno))).toBe(textOf(expected))
          }
        }
        table.close()
      }),
    )
  })

  test('with many blocks and partitions', () => {
    for (const partitioned of [false, true]) {
      const entries = manyEntries(9000)
      const vfs = newMachine()
      const options = { blockSize: 300, partitionIndex: partitioned, partitionFilter: partitioned }
      const { properties } = writeTable(vfs, entries, options)
      expect(properties.indexKind).toBe(partitioned ? 1 : 0)
      expect(properties.filterKind).toBe(partitioned ? 2 : 1)
      const table = openTable(vfs)
      const probes = entries.filter((_, i) => i % 500 === 0)
      expectSequence(table.iterator(), entries, probes)
      for (const { key, seqno } of entries) {
        expect(findIn(table, key, seqno + 1)?.seqno).toBe(seqno)
      }
    }
  })

  test('edge case 4: with nothing but versions of one key without values', () => {
    const entries = Array.from({ length: 50 }, (_, i) => {
      return { key: Buffer.from('k'), seqno: 50 - i, kind: 1, value: Buffer.alloc(0) }
    })
    const vfs = newMachine()
    writeTable(vfs, entries, { restartInterval: 255 })
    expectSequence(openTable(vfs).iterator(), entries, entries.slice(0, 5))
  })

  test('with an entry larger than blocks are', () => {
    const value = Buffer.alloc(33_600_000, 'large ')
    const key = (name: string): Buffer => Buffer.from(name)
    const entries = [
      { key: key('a'), seqno: 1, kind: 0, value: key('small') },
      { key: key('b'), seqno: 2, kind: 0, value },
      { key: key('c'), seqno: 3, kind: 0, value: key('small') },
    ]
    const vfs = newMachine()
    expect(writeTable(vfs, entries, { codec: 0, blockSize: 1 << 20 }).properties.blockCount).toBe(3)
    const table = openTable(vfs)
    expect(findIn(table, key('b'), 9)?.value.equals(value)).toBe(true)
    expect(allForward(table.iterator()).map((one) => one.value.length)).toEqual([
      5,
      value.length,
      5,
    ])
  })

  test('with values that do not compress into the largest block', () => {
    const random = new Random(testSeed())
    const value = Buffer.alloc(40_000_000)
    for (let at = 0; at < 34_200_000; at += 4) value.writeUInt32LE(random.next(), at)
    const entries = [{ key: Buffer.from('a'), seqno: 1, kind: 0, value }]
    for (const codec of [1, 2]) {
      const vfs = newMachine()
      writeTable(vfs, entries, { codec })
      expect(findIn(openTable(vfs), entries[0]!.key, 9)?.value.equals(value)).toBe(true)
    }
  })

  test('is read without blocking as well', async () => {
    const entries = manyEntries(600)
    const vfs = newMachine()
    writeTable(vfs, entries, { blockSize: 100, partitionIndex: true })
    const iterator = openTable(vfs, { cacheSize: 0 }).iterator()
    const seen: Entry[] = []
    iterator.seekToFirst()
    await run(settled(iterator))
    while (iterator.valid) {
      seen.push(shown(iterator)!)
      iterator.next()
      // oxlint-disable-next-line no-await-in-loop
      await run(settled(iterator))
    }
    expect(textsOf(seen)).toEqual(textsOf(entries))
  })
})

describe('large blocks', () => {
  /** Values around the size from which they stay where they are, with several versions of a key. */
  function largeEntries(): Entry[] {
    const sizes = [10, 131_000, 131_072, 5, 131_073, 300_000, 0, 1_500_000, 20, 300_001]
    return sizes.map((size, i) => ({
      key: Buffer.from(`key ${i >> 1}`),
      seqno: 20 - (i & 1),
      kind: 0,
      value: Buffer.alloc(size, `value ${i} `),
    }))
  }

  async function write(
    entries: readonly Entry[],
    options: Partial<TableWriteOptions>,
    drive: <T>(flow: Flow<T>) => T | Promise<T>,
  ): Promise<MemVfs> {
    const vfs = newMachine()
    const file = vfs.open(PATH, 'create').sync()
    const writer = new TableWriter({ ...PLAIN, ...options })
    for (const { kind, seqno, key, value } of entries) {
      const { bytes, begin, end } = inside(value)
      writer.add(kind, seqno, key, 0, key.length, bytes, begin, end)
      // One call after the other.
      // oxlint-disable-next-line no-await-in-loop
      if (writer.isFull) await drive(writer.drain(file))
      bytes.fill(0xee)
    }
    await drive(writer.finish(file))
    return vfs
  }

  async function readAll(iterator: TableIterator): Promise<Entry[]> {
    const seen: Entry[] = []
    iterator.seekToFirst()
    await run(settled(iterator))
    while (iterator.valid) {
      seen.push(shown(iterator)!)
      iterator.next()
      // oxlint-disable-next-line no-await-in-loop
      await run(settled(iterator))
    }
    return seen
  }

  test.each([0, 1, 2])(
    'with codec %i come back, however they are written and read',
    async (codec) => {
      const entries = largeEntries()
      for (const blockSize of [1, 4096, 200_000, 1_000_000]) {
        // oxlint-disable-next-line no-await-in-loop
        const vfs = await write(entries, { codec, blockSize, hashIndexRatio: 1 }, runSync)
        // oxlint-disable-next-line no-await-in-loop
        const other = await write(entries, { codec, blockSize, hashIndexRatio: 1 }, run)
        expect(readFile(other, PATH).equals(readFile(vfs, PATH))).toBe(true)
        const table = openTable(vfs)
        expectSequence(table.iterator(), entries, entries.slice(0, 3))
        for (const readAhead of [0, 1000, 262_144, 4_000_000]) {
          // oxlint-disable-next-line no-await-in-loop
          expect(textsOf(await readAll(table.iterator(readAhead)))).toEqual(textsOf(entries))
        }
        for (const entry of entries) {
          expect(textOf(findIn(table, entry.key, entry.seqno + 1))).toBe(textOf(entry))
        }
      }
    },
  )

  test('of many entries are checked in pieces, as others are meanwhile', async () => {
    const entries = manyEntries(20_000)
    for (const restartInterval of [1, 7, 255]) {
      const vfs = newMachine()
      writeTable(vfs, entries, { blockSize: 1 << 20, restartInterval })
      const table = openTable(vfs, { cacheSize: 0 })
      // oxlint-disable-next-line no-await-in-loop
      const all = await Promise.all([1, 2, 3].map(async () => readAll(table.iterator())))
      for (const seen of all) expect(textsOf(seen)).toEqual(textsOf(entries))
    }
  })

  test('that are written let the event loop turn', async () => {
    let turns = 0
    let isOver = false
    const turn = (): void => {
      turns++
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    const value = Buffer.alloc(8 << 20, 'large ')
    const entries = [{ key: Buffer.from('a'), seqno: 1, kind: 0, value }]
    await write(entries, { codec: 1 }, run)
    isOver = true
    expect(turns).toBeGreaterThan((8 << 20) / 131_072)
  })

  test('with damage anywhere are found', () => {
    const vfs = newMachine()
    writeTable(vfs, largeEntries(), { codec: 1 })
    const bytes = readFile(vfs, PATH)
    const random = new Random(testSeed())
    for (let round = 0; round < 50; round++) {
      const copy = Buffer.from(bytes)
      copy[random.below(copy.length)]! ^= 1 << random.below(8)
      putFile(vfs, PATH, copy)
      expect(() => allForward(openTable(vfs, { pin: true }).iterator(1 << 20))).toThrow(
        expect.objectContaining({ code: 'CORRUPTION', path: PATH }),
      )
    }
  })
})

describe('a failing read', () => {
  test('is reported, and may be tried again', () => {
    const entries = manyEntries(100)
    const base = newMachine()
    writeTable(base, entries, { blockSize: 100 })
    const vfs = new FaultVfs(base)
    const table = openTable(vfs, { pin: true, cacheSize: 0 })
    const iterator = table.iterator()
    iterator.seekToFirst()
    vfs.setPlan([{ operation: 'read', nth: 0, kind: 'EIO' }])
    expect(() => runSync(settled(iterator))).toThrow('read failed')
    runSync(settled(iterator))
    expect(textOf(shown(iterator))).toBe(textOf(entries[0]))
    vfs.setPlan([{ operation: 'read', nth: 0, kind: 'shortRead' }])
    expect(() => findIn(table, entries[50]!.key, 99)).toThrow('ends too early')
    vfs.setPlan([{ operation: 'read', nth: 0, kind: 'flipRead' }])
    expect(() => findIn(table, entries[50]!.key, 99)).toThrow(ShaleError)
    vfs.setPlan([])
    expect(findIn(table, entries[51]!.key, 99)?.seqno).toBe(10)
  })
})

describe('damage', () => {
  /** Reads everything; the code of the error, or `same`. */
  function readAll(bytes: Buffer, entries: readonly Entry[]): string {
    const vfs = newMachine()
    putFile(vfs, PATH, bytes)
    try {
      const table = openTable(vfs)
      const seen = textsOf(allForward(table.iterator()))
      const found = entries.map((one) => textOf(findIn(table, one.key, one.seqno + 1)))
      expect(found).toEqual(textsOf(entries))
      expect(seen).toEqual(textsOf(entries))
      return 'same'
    } catch (error) {
      if (!(error instanceof ShaleError)) throw error
      expect(error.path).toBe(PATH)
      expect(error.offset).toBeDefined()
      return error.code
    }
  }

  test('edge case 27: of any one byte is found, and nothing wrong is ever read', () => {
    const entries = manyEntries(30)
    for (const partitioned of [false, true]) {
      const vfs = newMachine()
      const shape = { blockSize: 150, partitionIndex: partitioned, partitionFilter: partitioned }
      writeTable(vfs, entries, shape)
      const bytes = readFile(vfs, PATH)
      for (let at = 0; at < bytes.length; at++) {
        const copy = Buffer.from(bytes)
        copy[at]! ^= 1 << (at & 7)
        expect(readAll(copy, entries)).toBe('CORRUPTION')
      }
      for (const length of [0, 1, 63, 64, bytes.length - 1]) {
        expect(readAll(bytes.subarray(0, length), entries)).toBe('CORRUPTION')
      }
    }
  })

  test('of blocks whose checksum is right is found, or harmless', () => {
    const document = readFormatDocument()
    const raw = (name: string): Buffer => exampleBytes(document.examples.get(name)!).subarray(0, -9)
    const read: Record<string, (bytes: Buffer) => void> = {
      'table-data': (bytes) => {
        const block = runSync(DataBlock.open(bytes))
        const entry = new BlockEntry()
        const target = new Uint8Array(70_000)
        for (let i = 0; i < block.count; i++) {
          block.decode(i, entry)
          const length = block.copyKey(i, entry, target)
          expect(block.seek(target, 0, length, entry.seqno)).toBe(i)
          expect(entry.valueEnd).toBeLessThanOrEqual(bytes.length)
        }
      },
      'table-index': (bytes) => void runSync(IndexBlock.open(bytes, 294, false)),
      'table-filter': (bytes) => void new FilterBlock(bytes).mayContain(-1, -1),
      'table-properties': (bytes) => void decodeProperties(bytes, 294),
    }
    const changes = fc.array(fc.tuple(fc.nat(), fc.constantFrom(0, 1, 2, 127, 128, 254, 255)), {
      minLength: 1,
      maxLength: 4,
    })
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(read)), changes, (name, list) => {
        const bytes = Buffer.from(raw(name))
        for (const [at, byte] of list) bytes[at % bytes.length] = byte
        try {
          read[name]!(bytes)
        } catch (error) {
          if (!(error instanceof ShaleError)) throw error
          expect(error.code).toBe('CORRUPTION')
        }
      }),
      { numRuns: 5000 },
    )
  })
})
