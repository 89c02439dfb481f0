// Scans of the TypeScript engine at the seam, against an array: rows from both ends, in any size of
// fill, waiting or not; what a scan holds and when it lets go.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BACK, FRONT, LATEST, ROW_ENTRY, ROW_KEY, ROW_VALUE } from '../../lib/engine.ts'
import type { RowContent, ScanEnd, ScanEngine } from '../../lib/engine.ts'
import type { RowBatch } from '../../lib/row-batch.ts'
import { TypescriptReads } from '../../lib/typescript/typescript-reads.ts'
import { failure, rejection, testSeed } from '../support/scratch.ts'
import { hardKeys } from './support/entries.ts'
import type { Entry } from './support/entries.ts'
import { layered, layersOf, rowsSeen, SlowMachine, Source, turn } from './support/super-versions.ts'
import type { Layers } from './support/super-versions.ts'

const EVERYTHING = { lower: undefined, upper: undefined, seqno: LATEST }
const IN_TABLES = [99_999, 99_999, 0]
const MANY = 2 ** 32 - 1

function entry(key: string, seqno: number, value: string, kind = 0): Entry {
  return { key: Buffer.from(key), seqno, kind, value: Buffer.from(value) }
}

function nameOf(i: number): string {
  return `key${String(i).padStart(5, '0')}`
}

/** `count` rows with values of `size` bytes, written one after the other. */
function manyRows(count: number, size = 20): Entry[] {
  return Array.from({ length: count }, (_, i) => entry(nameOf(i), i + 1, 'v'.repeat(size)))
}

function openTree(
  layers: Layers,
  options: {
    readonly cacheSize?: number
    readonly seed?: number
    readonly partitionIndex?: boolean
  } = {},
) {
  const { cacheSize = 0, seed = testSeed(), partitionIndex = false } = options
  const machine = new SlowMachine(seed)
  const released: string[] = []
  const superVersion = machine.superVersion(layers, {
    cacheSize,
    table: { partitionIndex },
    onReleased: () => released.push('released'),
  })
  const source = new Source(superVersion, 2 ** 53)
  return { machine, released, source, reads: new TypescriptReads(source) }
}

/** A row as text; a part that the batch does not carry is only its length. */
function rowsOf(batch: RowBatch, content: RowContent): string[] {
  const { bytes, memory, offset, words, end, count } = batch
  expect(offset % 4).toBe(0)
  expect(end % 4).toBe(0)
  expect(bytes.byteOffset).toBe(offset)
  expect(bytes.buffer).toBe(memory)
  expect(words.buffer).toBe(memory)
  expect(words.byteOffset).toBe(offset)
  expect(bytes.length).toBeGreaterThanOrEqual(end)
  const rows: string[] = []
  let at = 0
  while (at < end) {
    const [keyLength = 0, valueLength = 0] = words.subarray(at / 4)
    let from = at + 8
    let key = String(keyLength)
    if (content !== ROW_VALUE) {
      key = bytes.toString('hex', from, from + keyLength)
      from += keyLength
    }
    let value = String(valueLength)
    if (content !== ROW_KEY) {
      value = bytes.toString('hex', from, from + valueLength)
      from += valueLength
    }
    rows.push(`${key} ${value}`)
    at = Math.ceil(from / 4) * 4
  }
  expect(at).toBe(end)
  expect(rows).toHaveLength(count)
  return rows
}

/** How the model shows an entry in such a row. */
function textOf({ key, value }: Entry, content: RowContent): string {
  const keyText = content === ROW_VALUE ? String(key.length) : key.toString('hex')
  const valueText = content === ROW_KEY ? String(value.length) : value.toString('hex')
  return `${keyText} ${valueText}`
}

/** Bytes that an entry takes in a batch. */
function rowSize({ key, value }: Entry, content: RowContent): number {
  const carried =
    (content === ROW_VALUE ? 0 : key.length) + (content === ROW_KEY ? 0 : value.length)
  return 8 + Math.ceil(carried / 4) * 4
}

/** The rest of the rows from one end, without waiting for anybody. */
function restOf(scan: ScanEngine, end: ScanEnd, content: RowContent = ROW_KEY): string[] {
  const rows: string[] = []
  for (let batch; (batch = scan.fillSync(end, content, 4096, MANY)) !== undefined;) {
    rows.push(...rowsOf(batch, content))
  }
  return rows
}

describe('rows', () => {
  const steps = fc.array(
    fc.record({
      what: fc.constantFrom('sync', 'reuse', 'memory', 'async', 'seek'),
      end: fc.constantFrom<ScanEnd>(FRONT, BACK),
      content: fc.constantFrom<RowContent>(ROW_ENTRY, ROW_KEY, ROW_VALUE),
      bytes: fc.constantFrom(1, 40, 200, 4096, 20_000, 2 ** 30),
      rows: fc.constantFrom(1, 2, 5, MANY),
      key: hardKeys,
    }),
    { minLength: 1, maxLength: 25 },
  )
  const bound = fc.option(hardKeys, { nil: undefined })
  const settings = fc.record({
    lower: bound,
    upper: bound,
    read: fc.constantFrom(LATEST, 0, 7, 20, 41, Number.MAX_SAFE_INTEGER),
    visible: fc.integer({ min: 0, max: 45 }),
    cacheSize: fc.constantFrom(0, 1 << 20),
    partitionIndex: fc.boolean(),
    seed: fc.nat(),
  })

  test('are those of the model, from both ends, whatever the fills', async () => {
    await fc.assert(
      fc.asyncProperty(layered, settings, steps, async ({ entries, layers }, how, calls) => {
        const { lower, upper, read, visible } = how
        const { reads, source } = openTree(layers, how)
        source.visible = visible
        const expected = rowsSeen(entries, read === LATEST ? visible : read).filter(
          ({ key }) =>
            (lower === undefined || Buffer.compare(key, lower) >= 0) &&
            (upper === undefined || Buffer.compare(key, upper) < 0),
        )
        const scan = reads.scan({ lower, upper, seqno: read })
        lower?.fill(0)
        upper?.fill(0)
        // What each end has still to hand out, in its order.
        const rest = [expected, expected.toReversed()]
        // Batches, and what was in them.
        const kept = new Map<RowBatch, Buffer>()
        let last: RowBatch | undefined
        for (const { what, end, content, bytes, rows, key } of calls) {
          if (what === 'seek') {
            const order = end === FRONT ? 1 : -1
            const all = end === FRONT ? expected : expected.toReversed()
            rest[end] = all.filter((one) => Buffer.compare(one.key, key) * order >= 0)
            const given = Buffer.from(key)
            scan.seek(end, given)
            given.fill(0)
            continue
          }
          let batch: RowBatch | undefined | null = null
          if (what === 'memory') batch = scan.fillFromMemory(end, content, bytes, rows)
          if (what === 'sync') batch = scan.fillSync(end, content, bytes, rows)
          if (what === 'reuse') {
            batch = scan.fillSync(end, content, bytes, rows, last)
            if (last?.memory === batch?.memory && last !== undefined) kept.delete(last)
          }
          if (batch === null) batch = await scan.fill(end, content, bytes, rows)
          const mine = rest[end] ?? []
          const count = batch?.count ?? 0
          expect(batch && rowsOf(batch, content)).toEqual(
            mine.length === 0
              ? undefined
              : mine.slice(0, Math.max(1, count)).map((one) => textOf(one, content)),
          )
          rest[end] = mine.slice(count)
          if (batch === undefined) continue
          expect(count).toBeLessThanOrEqual(rows)
          if (count > 1) expect(batch.end).toBeLessThanOrEqual(bytes)
          const next = mine[count]
          if ((what === 'sync' || what === 'reuse') && count < rows && next !== undefined) {
            expect(batch.end + rowSize(next, content)).toBeGreaterThan(bytes)
          }
          kept.set(batch, Buffer.from(batch.bytes.subarray(0, batch.end)))
          last = batch
        }
        for (const [batch, copy] of kept) {
          expect(batch.bytes.subarray(0, batch.end).equals(copy)).toBe(true)
        }
        scan.close()
      }),
      { seed: testSeed(), numRuns: 150 },
    )
  })

  test('a row that is larger than a fill, or than the slab, comes alone and whole', async () => {
    const sizes = [10, 4000, 5000, 70_000, 30, 300_000, 2_000_000, 1]
    const entries = sizes.map((size, i) => entry(nameOf(i), i + 1, 'v'.repeat(size)))
    for (const cuts of [[0, 0, 0], IN_TABLES]) {
      for (const bytes of [1, 4096, 65_536]) {
        const { reads } = openTree(layersOf(entries, cuts))
        const [scan, other] = [reads.scan(EVERYTHING), reads.scan(EVERYTHING)]
        const rows: string[] = []
        let last: RowBatch | undefined
        for (let at = 0; at < entries.length;) {
          last = scan.fillSync(FRONT, ROW_ENTRY, bytes, MANY, last)
          const later = await other.fill(BACK, ROW_ENTRY, bytes, MANY)
          expect(later?.count).toBeGreaterThan(0)
          rows.push(...rowsOf(last!, ROW_ENTRY))
          at += last!.count
        }
        expect(rows).toEqual(entries.map((one) => textOf(one, ROW_ENTRY)))
      }
    }
  })

  test('a limit that is none takes no memory for it', () => {
    const { reads } = openTree(layersOf(manyRows(10), [0, 0, 0]))
    const batch = reads.scan(EVERYTHING).fillSync(FRONT, ROW_ENTRY, 2 ** 30, MANY)
    expect(batch?.count).toBe(10)
    expect(batch?.memory.byteLength).toBeLessThanOrEqual(1 << 20)
  })

  test('of a fill that must not hold the event loop there are not too many', async () => {
    const { reads } = openTree(layersOf(manyRows(20_000), [0, 0, 0]))
    const scan = reads.scan(EVERYTHING)
    let rows = 0
    let fills = 0
    for (
      let batch;
      (batch = await scan.fill(FRONT, ROW_KEY, 2 ** 30, MANY)) !== undefined;
      fills++
    ) {
      rows += batch.count
    }
    expect(rows).toBe(20_000)
    expect(fills).toBeGreaterThan(3)
    expect(reads.scan(EVERYTHING).fillSync(FRONT, ROW_KEY, 2 ** 30, MANY)?.count).toBe(20_000)
  })

  test('their memory cannot be taken away', () => {
    const { reads } = openTree(layersOf(manyRows(2000), [0, 0, 0]))
    for (const bytes of [4096, 65_536]) {
      const batch = reads.scan(EVERYTHING).fillSync(FRONT, ROW_ENTRY, bytes, MANY)!
      const before = rowsOf(batch, ROW_ENTRY)
      try {
        structuredClone(batch.memory, { transfer: [batch.memory as ArrayBuffer] })
      } catch (error) {
        expect((error as Error).name).toBe('DataCloneError')
      }
      expect(rowsOf(batch, ROW_ENTRY)).toEqual(before)
    }
  })
})

describe('waiting', () => {
  test('what is not in memory is null, and comes with a promise', async () => {
    const { reads, machine } = openTree(layersOf(manyRows(200), IN_TABLES), { cacheSize: 1 << 20 })
    const scan = reads.scan(EVERYTHING)
    expect(scan.fillFromMemory(FRONT, ROW_KEY, 4096, MANY)).toBe(null)
    expect(scan.fillFromMemory(FRONT, ROW_KEY, 4096, MANY)).toBe(null)
    expect(machine.reads).toBe(0)
    const first = await scan.fill(FRONT, ROW_KEY, 4096, MANY)
    expect(first?.count).toBeGreaterThan(0)
    expect(first?.count).toBeLessThan(200)
    const rest = restOf(scan, FRONT)
    expect(first!.count + rest.length).toBe(200)
    const { reads: before } = machine
    expect(restOf(scan, BACK)).toEqual([...rowsOf(first!, ROW_KEY), ...rest].toReversed())
    expect(machine.reads).toBe(before)
  })

  test('one fill at a time at an end', async () => {
    const { reads } = openTree(layersOf(manyRows(50), IN_TABLES), { cacheSize: 1 << 20 })
    const scan = reads.scan(EVERYTHING)
    const pending = scan.fill(FRONT, ROW_KEY, 4096, MANY)
    const busy = {
      code: 'ITERATOR_BUSY',
      message: 'a call on this end of the iteration is pending',
      retryable: true,
    }
    const calls = [
      () => scan.fillSync(FRONT, ROW_KEY, 4096, 1),
      () => scan.fillFromMemory(FRONT, ROW_KEY, 4096, 1),
      () => scan.seek(FRONT, Buffer.from('k')),
    ]
    for (const call of calls) expect(await failure(call)).toMatchObject(busy)
    expect(await rejection(() => scan.fill(FRONT, ROW_KEY, 4096, 1))).toMatchObject(busy)
    // The other end knows nothing of it.
    expect(restOf(scan, BACK)).toHaveLength(50)
    const rows = rowsOf((await pending)!, ROW_KEY)
    expect([...rows, ...restOf(scan, FRONT)]).toHaveLength(50)
  })

  test.each([['front', FRONT] as const, ['back', BACK] as const])(
    'much that does not show leaves the event loop its turns: %s',
    async (_, end) => {
      const dead = Array.from({ length: 20_000 }, (__, i) => entry(nameOf(i), i + 1, '', 1))
      const [first, last] = [entry('a', 30_000, 'v'), entry('z', 30_001, 'v')]
      const far = end === FRONT ? last : first
      const newer = Array.from({ length: 20_000 }, (__, i) => entry(nameOf(i), i + 40_000, 'v'))
      const cases: readonly (readonly [readonly Entry[], readonly number[], number])[] = [
        [[...dead, far], [0, 0, 0], 30_010],
        [[...dead, far], IN_TABLES, 30_010],
        [[...newer, far], [0, 0, 0], 30_010],
      ]
      for (const [entries, cuts, visible] of cases) {
        const { reads, source } = openTree(layersOf(entries, cuts), { cacheSize: 1 << 24 })
        source.visible = visible
        restOf(reads.scan(EVERYTHING), end)
        const scan = reads.scan(EVERYTHING)
        expect(scan.fillFromMemory(end, ROW_KEY, 4096, 1)).toBe(null)
        let turns = 0
        const count = setInterval(() => turns++, 0)
        let ended = false
        const filling = scan.fill(end, ROW_KEY, 4096, 1).finally(() => (ended = true))
        for (let i = 0; i < 100; i++) await Promise.resolve()
        expect(ended).toBe(false)
        // Keys that come in meanwhile are none of this read's.
        for (let i = 0; i < 100; i++) {
          const { key, value } = entry(`${nameOf(i * 150)}x`, 0, 'late')
          source.superVersion.active.insert(
            0,
            90_000 + i,
            key,
            0,
            key.length,
            value,
            0,
            value.length,
          )
        }
        expect(rowsOf((await filling)!, ROW_KEY)).toEqual([textOf(far, ROW_KEY)])
        clearInterval(count)
        expect(restOf(scan, end)).toEqual([])
        expect(restOf(scan, end === FRONT ? BACK : FRONT)).toEqual([textOf(far, ROW_KEY)])
      }
    },
  )

  test('many versions of a key are jumped over', () => {
    const hot = Array.from({ length: 3000 }, (_, i) => entry('hot', i + 1, `value ${i + 1}`))
    const ends = [entry('a', 1, 'first'), entry('z', 1, 'last')]
    for (const cuts of [IN_TABLES, [99_999, 2000, 1000]]) {
      for (const read of [1, 2, 17, 1500, 2990, 3001]) {
        const entries = [...ends, ...hot]
        const { reads, machine } = openTree(layersOf(entries, cuts))
        const expected = rowsSeen(layersOf(entries, [0, 0, 0]).active, read)
        const texts = expected.map((one) => textOf(one, ROW_ENTRY))
        const scan = reads.scan({ ...EVERYTHING, seqno: read })
        expect(restOf(scan, FRONT, ROW_ENTRY)).toEqual(texts)
        expect(restOf(scan, BACK, ROW_ENTRY)).toEqual(texts.toReversed())
        // One after the other they would be some thousand blocks.
        expect(machine.reads).toBeLessThan(200)
      }
    }
  })
})

describe('reading ahead', () => {
  const entries = manyRows(4000)
  const texts = entries.map((one) => textOf(one, ROW_ENTRY))

  test('a long scan reads many blocks at once, also from its end', async () => {
    for (const isSync of [true, false]) {
      const { reads, machine } = openTree(layersOf(entries, IN_TABLES), { cacheSize: 1 << 21 })
      const scan = reads.scan(EVERYTHING)
      const rows: string[] = []
      for (;;) {
        const batch = isSync
          ? scan.fillSync(BACK, ROW_ENTRY, 4096, MANY)
          : await scan.fill(BACK, ROW_ENTRY, 4096, MANY)
        if (batch === undefined) break
        rows.push(...rowsOf(batch, ROW_ENTRY))
      }
      expect(rows).toEqual(texts.toReversed())
      expect(machine.reads).toBeLessThan(100)
    }
  })

  test('a long scan reads many blocks at once, and they stay in the cache', async () => {
    for (const partitionIndex of [false, true]) {
      const how = { cacheSize: 1 << 21, partitionIndex }
      const { reads, machine, source } = openTree(layersOf(entries, IN_TABLES), how)
      const tables = source.superVersion.version.tables()
      const blocks = tables.reduce((sum, { meta }) => sum + meta.blockCount, 0)
      expect(blocks).toBeGreaterThan(1000)
      const scan = reads.scan(EVERYTHING)
      const rows: string[] = []
      for (let batch; (batch = await scan.fill(FRONT, ROW_ENTRY, 4096, MANY)) !== undefined;) {
        rows.push(...rowsOf(batch, ROW_ENTRY))
      }
      expect(rows).toEqual(texts)
      expect(machine.reads).toBeLessThan(blocks / 10)
      const { reads: before } = machine
      expect(restOf(reads.scan(EVERYTHING), FRONT, ROW_ENTRY)).toEqual(texts)
      expect(machine.reads).toBe(before)
    }
  })

  test('a short one, and one that jumps about, reads what it asks for', () => {
    const { reads, machine } = openTree(layersOf(entries, IN_TABLES), { cacheSize: 1 << 21 })
    const scan = reads.scan(EVERYTHING)
    for (let i = 0; i < 40; i++) {
      scan.seek(FRONT, Buffer.from(nameOf((i * 1237) % 4000)))
      expect(scan.fillSync(FRONT, ROW_KEY, 1, 1)?.count).toBe(1)
    }
    expect(machine.bytesRead).toBeLessThan(40 * 200 + 60_000)
  })

  test('damage further on does not keep it from the rows before', async () => {
    const { reads, machine, source } = openTree(layersOf(entries, IN_TABLES))
    const [table] = source.superVersion.version.tables()
    const { path } = table!.shared.reader.file.file
    const file = machine.vfs.open(path, 'write').sync()
    file.write(20_000, [new Uint8Array([0xee])]).sync()
    file.close()
    for (const isSync of [true, false]) {
      const scan = reads.scan(EVERYTHING)
      const rows: string[] = []
      const fill = async (): Promise<RowBatch | undefined> =>
        isSync
          ? scan.fillSync(FRONT, ROW_ENTRY, 4096, MANY)
          : scan.fill(FRONT, ROW_ENTRY, 4096, MANY)
      const error = await failure(async () => {
        for (;;) rows.push(...rowsOf((await fill())!, ROW_ENTRY))
      })
      expect(error).toMatchObject({ code: 'CORRUPTION', path })
      expect(rows.length).toBeGreaterThan(400)
      expect(rows).toEqual(texts.slice(0, rows.length))
      const again = await failure(fill)
      expect(again).toMatchObject({ code: 'CORRUPTION', path, offset: error.offset })
    }
  })

  test('nor does a part of the device that cannot be read', () => {
    const { reads, machine } = openTree(layersOf(entries, IN_TABLES))
    const scan = reads.scan(EVERYTHING)
    // Reads that go far beyond one block fail; the index is smaller.
    machine.failAbove = 20_000
    expect(restOf(scan, FRONT, ROW_ENTRY)).toEqual(texts)
  })
})

describe('failures', () => {
  test('edge case 24: what was packed before a failure is handed out; then it is met', async () => {
    for (const end of [FRONT, BACK] as const) {
      const { reads, machine } = openTree(layersOf(manyRows(100), IN_TABLES))
      const scan = reads.scan(EVERYTHING)
      const before = scan.fillSync(end, ROW_KEY, 64, MANY)!
      machine.vfs.setPlan([{ operation: 'read', nth: 2, kind: 'EIO', sticky: true }])
      const some = scan.fillSync(end, ROW_KEY, 65_536, MANY)!
      expect(some.count).toBeGreaterThan(0)
      const calls = [
        () => scan.fillSync(end, ROW_KEY, 65_536, MANY),
        () => scan.fill(end, ROW_KEY, 65_536, MANY),
        () => scan.fillSync(end, ROW_KEY, 65_536, MANY),
      ]
      for (const call of calls) expect((await failure(call)).code).toBe('IO_ERROR')
      machine.vfs.setPlan([])
      const rows = [...rowsOf(before, ROW_KEY), ...rowsOf(some, ROW_KEY), ...restOf(scan, end)]
      expect(rows).toHaveLength(100)
      expect(new Set(rows).size).toBe(100)
      expect(scan.fillSync(end, ROW_KEY, 1, 1)).toBe(undefined)
    }
  })

  test('damage is told with its place, and nothing behind it is shown', async () => {
    const { reads, machine, source } = openTree(layersOf(manyRows(30, 30), IN_TABLES))
    const [table] = source.superVersion.version.tables()
    const { path } = table!.shared.reader.file.file
    const file = machine.vfs.open(path, 'write').sync()
    file.write(250, [new Uint8Array([0xee])]).sync()
    file.close()
    const scan = reads.scan(EVERYTHING)
    const some = scan.fillSync(FRONT, ROW_VALUE, 65_536, MANY)!
    expect(some.count).toBeLessThan(10)
    const calls = [
      () => scan.fillSync(FRONT, ROW_KEY, 65_536, MANY),
      () => scan.fill(FRONT, ROW_KEY, 65_536, MANY),
    ]
    for (const call of calls) {
      const error = await failure(call)
      expect(error).toMatchObject({ code: 'CORRUPTION', path })
      expect(error.offset).toBeGreaterThan(0)
      expect(error.offset).toBeLessThanOrEqual(250)
    }
    const behind: string[] = []
    const error = await failure(() => behind.push(...restOf(scan, BACK)))
    expect(error.code).toBe('CORRUPTION')
    // Behind the damage a seek finds the rows.
    scan.seek(FRONT, Buffer.from(nameOf(25)))
    expect(restOf(scan, FRONT)).toHaveLength(5)
  })
})

describe('the end', () => {
  test('what is closed says so, and has let go of its state', async () => {
    const { reads, source, machine, released } = openTree(layersOf(manyRows(50), IN_TABLES))
    const scan = reads.scan(EVERYTHING)
    const pending = scan.fill(FRONT, ROW_KEY, 4096, MANY)
    source.isClosed = true
    source.superVersion.release()
    expect(restOf(scan, BACK)).toHaveLength(50)
    scan.close()
    scan.close()
    // A fill that waits is ended whole.
    expect(released).toEqual([])
    expect((await pending)?.count).toBeGreaterThan(0)
    await turn()
    expect(released).toEqual(['released'])
    expect(machine.closed.length).toBeGreaterThan(0)
    const closed = { code: 'ITERATOR_CLOSED', message: 'the iteration is closed' }
    const calls = [
      () => scan.fillSync(FRONT, ROW_KEY, 4096, 1),
      () => scan.fillFromMemory(BACK, ROW_KEY, 4096, 1),
      () => scan.seek(FRONT, Buffer.from('k')),
    ]
    for (const call of calls) expect(await failure(call)).toMatchObject(closed)
    expect(await rejection(() => scan.fill(FRONT, ROW_KEY, 4096, 1))).toMatchObject(closed)
  })

  test('it reads its own state, whatever holds in the tree meanwhile', async () => {
    const entries = manyRows(300)
    const { reads, source, machine, released } = openTree(layersOf(entries, [200, 100, 50]))
    const scan = reads.scan(EVERYTHING)
    const first = await scan.fill(FRONT, ROW_KEY, 200, MANY)
    const flushed = [...entries, entry(nameOf(7), 500, '', 1), entry(`${nameOf(7)}x`, 501, 'new')]
    source.replace(machine.superVersion(layersOf(flushed, IN_TABLES)))
    expect(released).toEqual([])
    const rows = [...rowsOf(first!, ROW_KEY)]
    for (let batch; (batch = await scan.fill(FRONT, ROW_KEY, 200, MANY)) !== undefined;) {
      rows.push(...rowsOf(batch, ROW_KEY))
    }
    expect(rows).toEqual(entries.map((one) => textOf(one, ROW_KEY)))
    expect(restOf(scan, BACK)).toEqual(rows.toReversed())
    scan.close()
    expect(released).toEqual(['released'])
    expect(restOf(reads.scan(EVERYTHING), FRONT)).toHaveLength(300)
  })

  test('a version that is written again while a scan stands on it is seen whole', () => {
    for (const end of [FRONT, BACK] as const) {
      const { reads, source } = openTree(layersOf(manyRows(3), [0, 0, 0]))
      const scan = reads.scan(EVERYTHING)
      // The row in the middle is found, and does not fit.
      expect(scan.fillSync(end, ROW_ENTRY, 1, MANY)?.count).toBe(1)
      const { key, value, seqno } = entry(nameOf(1), 2, 'short')
      source.superVersion.active.insert(0, seqno, key, 0, key.length, value, 0, value.length)
      const [row] = rowsOf(scan.fillSync(end, ROW_ENTRY, 1, MANY)!, ROW_ENTRY)
      expect(
        [entry(nameOf(1), 2, 'v'.repeat(20)), entry(nameOf(1), 2, 'short')].map((one) =>
          textOf(one, ROW_ENTRY),
        ),
      ).toContain(row)
    }
  })

  test('one that is dropped lets go when it is collected', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const { reads, source, machine, released } = openTree(layersOf(manyRows(50), IN_TABLES))
    ;(() => {
      const scan = reads.scan(EVERYTHING)
      scan.fillSync(FRONT, ROW_KEY, 64, MANY)
    })()
    source.replace(machine.superVersion(layersOf([], [0, 0, 0])))
    for (let i = 0; i < 100 && released.length === 0; i++) {
      collect()
      await turn()
    }
    expect(released).toEqual(['released'])
  })
})
