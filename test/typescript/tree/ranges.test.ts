// What flushes and compactions leave of range tombstones and of what they hide, against every
// operation that was: for every reader that there may be, and wherever the output is cut.

import { describe, expect, test } from 'vitest'
import { Cache } from '../../../lib/typescript/base/cache.ts'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { READ_ALL } from '../../../lib/typescript/base/internal-key.ts'
import type { RangeTombstone } from '../../../lib/typescript/base/range-tombstone.ts'
import { compareTombstones } from '../../../lib/typescript/base/range-tombstone.ts'
import { Memtable } from '../../../lib/typescript/memtable/memtable.ts'
import { TableCounters } from '../../../lib/typescript/table/table-counters.ts'
import { PointLookup } from '../../../lib/typescript/table/table-reader.ts'
import { MergeIterator } from '../../../lib/typescript/tree/merge-iterator.ts'
import { runMerge } from '../../../lib/typescript/tree/merge-job.ts'
import type { RetentionView } from '../../../lib/typescript/tree/retention.ts'
import { RunIterator } from '../../../lib/typescript/tree/run-iterator.ts'
import { SuperVersion } from '../../../lib/typescript/tree/super-version.ts'
import { metaOf, TableOutput } from '../../../lib/typescript/tree/table-output.ts'
import { openTable } from '../../../lib/typescript/tree/table.ts'
import type { Table } from '../../../lib/typescript/tree/table.ts'
import { Version } from '../../../lib/typescript/tree/version.ts'
import { FileCache } from '../../../lib/typescript/vfs/file-cache.ts'
import type { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { scaled, testSeed } from '../../support/scratch.ts'
import { newMachine } from '../support/machine.ts'
import { Random } from '../support/random.ts'
import { rowsOf } from '../support/rows.ts'
import { PLAIN } from '../support/tables.ts'

const ROUNDS = scaled(40)
/** Milliseconds; most machines need a tenth of it. */
const TIMEOUT = 600_000

interface Operation {
  readonly seqno: number
  readonly key: string
  /** No value: the key is removed. */
  readonly value?: string
  readonly isWeak?: boolean
  /** A range from the key on; null: without end. */
  readonly end?: string | null
}

/** What a read sees. */
function seenBy(operations: readonly Operation[], readSeqno: number): [string, string][] {
  const rows = new Map<string, string>()
  for (const { seqno, key, value, end } of operations) {
    if (seqno >= readSeqno) break
    if (end !== undefined) {
      for (const one of rows.keys()) {
        if (one >= key && (end === null || one < end)) rows.delete(one)
      }
    } else if (value === undefined) rows.delete(key)
    else rows.set(key, value)
  }
  return [...rows].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** Weak removals are for what was written once since it was removed, in whatever way. */
function drawHistory(random: Random, length: number, keys: number): Operation[] {
  const writes = new Map<string, number>()
  const name = (): string => `k${String(random.below(keys)).padStart(3, '0')}`
  return Array.from({ length }, (_, i): Operation => {
    const seqno = i + 1
    const key = name()
    const lot = random.below(20)
    if (lot < 3) {
      const other = name()
      const end = random.below(8) === 0 ? null : other > key ? other : `${key}x`
      for (const one of writes.keys()) {
        if (one >= key && (end === null || one < end)) writes.set(one, 0)
      }
      return { seqno, key, end }
    }
    if (lot < 9) {
      const isWeak = writes.get(key) === 1
      writes.set(key, 0)
      return { seqno, key, isWeak }
    }
    writes.set(key, (writes.get(key) ?? 0) + 1)
    return { seqno, key, value: `${seqno} `.padEnd(random.below(60), 'v') }
  })
}

function put(memtable: Memtable, { seqno, key, value, isWeak, end }: Operation): void {
  const start = Buffer.from(key)
  if (end !== undefined) {
    memtable.insertRange({ start, end: end === null ? undefined : Buffer.from(end), seqno })
    return
  }
  const kind = value !== undefined ? 0 : isWeak === true ? 2 : 1
  const bytes = Buffer.from(value ?? '')
  memtable.insert(kind, seqno, start, 0, start.length, bytes, 0, bytes.length)
}

/** What a job makes of memtables or of tables, newest first. */
class Jobs {
  readonly machine: MemVfs = newMachine()
  readonly #cache = new Cache(1 << 20)
  readonly #files = new FileCache(this.machine, 4)
  #nextNumber = 1

  run(
    source: SuperVersion,
    view: RetentionView,
    targetSize: number,
    isLast: boolean,
    runOrder: number,
  ): Table[] {
    const { machine } = this
    const output = new TableOutput({
      ...PLAIN,
      blockSize: 200,
      vfs: machine,
      directory: '/db',
      newFileNumber: () => this.#nextNumber++,
      targetSize,
    })
    const memtables = [source.active, ...source.sealed]
    const tables = source.version.tables()
    const ranges = [
      ...memtables.flatMap((memtable) => memtable.ranges?.indexes() ?? []),
      ...tables.flatMap(({ shared }) => shared.reader.rangeTombstones ?? []),
    ].map((index) => ({ ranges: index, globalSeqno: 0 }))
    const runs = source.version.levels.flat().map((run) => new RunIterator(run, 4096))
    const entries = new MergeIterator([...memtables.map((one) => one.versions()), ...runs])
    const { written } = runSync(
      runMerge({
        entries,
        ranges,
        view,
        mayExistBelow: () => !isLast,
        mayHideBelow: () => !isLast,
        output,
        clock: () => machine.monotonicMillis(),
        progress: () => {},
      }),
    )
    return written.map((one) => {
      const context = {
        directory: '/db',
        cache: this.#cache,
        files: this.#files,
        remove: () => {},
      }
      const pins = { pinIndex: true, pinFilter: true }
      const meta = metaOf(one, { level: 0, runOrder })
      return runSync(openTable(context, meta, pins, new TableCounters()))
    })
  }
}

const EMPTY = new Memtable(9)

function over(tables: readonly Table[]): SuperVersion {
  return new SuperVersion(EMPTY, [], Version.of(1, tables))
}

function expectRead(state: SuperVersion, operations: readonly Operation[], readSeqno: number) {
  const expected = seenBy(operations, readSeqno)
  expect(rowsOf(state, readSeqno, false)).toEqual(expected)
  expect(rowsOf(state, readSeqno, true)).toEqual(expected.toReversed())
  const rows = new Map(expected)
  const lookup = new PointLookup()
  for (const name of new Set(operations.map(({ key }) => key))) {
    const key = Buffer.from(name)
    lookup.start(key, 0, key.length, readSeqno)
    const isFound = runSync(state.findSettled(lookup)) && lookup.kind === 0
    const { value, valueBegin, valueEnd } = lookup
    const found = isFound ? Buffer.from(value.slice(valueBegin, valueEnd)).toString() : undefined
    expect(found).toBe(rows.get(name))
  }
}

/** All readers that there may be: snapshots, and everyone from `visible` on. */
function readersOf({ snapshots, visible }: RetentionView, last: number): number[] {
  const later = Array.from({ length: Math.max(0, last + 2 - visible) }, (_, i) => visible + i)
  return [...snapshots, ...later, READ_ALL]
}

function rangesIn({ shared: { reader } }: Table): RangeTombstone[] {
  const count = reader.rangeTombstones?.count ?? 0
  return Array.from({ length: count }, (_, i) => reader.rangeTombstone(i))
}

function drawView(random: Random, length: number): RetentionView {
  const visible = random.below(3) === 0 ? random.below(length + 2) : length + 1
  const count = random.below(5)
  const drawn = Array.from({ length: count }, () => random.below(visible + 1))
  return { snapshots: [...new Set(drawn)].toSorted((a, b) => a - b), visible }
}

describe('after a flush and a compaction', () => {
  test('every reader sees what there was, wherever tables end', { timeout: TIMEOUT }, () => {
    const random = new Random(testSeed())
    let cuts = 0
    for (let round = 0; round < ROUNDS; round++) {
      const jobs = new Jobs()
      const length = 20 + random.below(200)
      const operations = drawHistory(random, length, 5 + random.below(60))
      const half = random.below(length)
      const older = new Memtable(1)
      const newer = new Memtable(2)
      for (const operation of operations.slice(0, half)) put(older, operation)
      for (const operation of operations.slice(half)) put(newer, operation)
      const memory = new SuperVersion(newer, [older], Version.of(1, []))
      for (const readSeqno of readersOf({ snapshots: [], visible: 0 }, length)) {
        expectRead(memory, operations, readSeqno)
      }
      const targetSize = [1, 400, 2000, 1 << 20][random.below(4)]!
      const before = drawView(random, length)
      const flushed = jobs.run(memory, before, targetSize, false, 1)
      cuts += flushed.length
      for (const readSeqno of readersOf(before, length)) {
        expectRead(over(flushed), operations, readSeqno)
      }
      // Later there are fewer readers, or the same.
      const after = {
        snapshots: before.snapshots.filter(() => random.below(2) === 0),
        visible: before.visible + random.below(length + 2 - before.visible),
      }
      const isLast = random.below(2) === 0
      const compacted = jobs.run(over(flushed), after, targetSize, isLast, 2)
      for (const readSeqno of readersOf(after, length)) {
        expectRead(over(compacted), operations, readSeqno)
      }
      const final = { snapshots: [], visible: length + 1 }
      const alone = jobs.run(over(compacted), final, 1 << 20, true, 3)
      const rows = seenBy(operations, READ_ALL)
      const items = alone.reduce((sum, { meta }) => sum + meta.itemCount, 0)
      expect(items).toBe(rows.length)
      expect(alone.flatMap(rangesIn)).toEqual([])
    }
    expect(cuts).toBeGreaterThan(2 * ROUNDS)
  })

  test('no two pieces of one stratum meet, and equal neighbours are one', () => {
    const random = new Random(testSeed())
    for (let round = 0; round < ROUNDS; round++) {
      const jobs = new Jobs()
      const length = 150
      const memtable = new Memtable(1)
      for (const operation of drawHistory(random, length, 30)) put(memtable, operation)
      const view = { ...drawView(random, length), visible: length + 1 }
      const memory = new SuperVersion(memtable, [], Version.of(1, []))
      const [table] = jobs.run(memory, view, 1 << 30, false, 1)
      const ranges = rangesIn(table!)
      expect(ranges).toEqual(ranges.toSorted(compareTombstones))
      const strata = new Map<number, RangeTombstone[]>()
      for (const range of ranges) {
        const stratum = view.snapshots.filter((snapshot) => snapshot <= range.seqno).length
        strata.set(stratum, [...(strata.get(stratum) ?? []), range])
      }
      for (const pieces of strata.values()) {
        for (const [i, { start, seqno }] of pieces.entries()) {
          const before = pieces[i - 1]
          if (before === undefined) continue
          const order = Buffer.compare(before.end!, start)
          expect(order).toBeLessThanOrEqual(0)
          if (order === 0) expect(before.seqno).not.toBe(seqno)
        }
      }
    }
  })
})

describe('a cursor over memtables and tables', () => {
  test('goes to any key, within any bounds, over what is hidden', () => {
    const random = new Random(testSeed())
    for (let round = 0; round < ROUNDS; round++) {
      const jobs = new Jobs()
      const keys = 10 + random.below(300)
      const length = 3 * keys
      const operations = drawHistory(random, length, keys)
      const [a, b] = [random.below(length), random.below(length)].toSorted((x, y) => x - y)
      const [oldest, sealed, active] = [new Memtable(1), new Memtable(2), new Memtable(3)]
      for (const operation of operations) {
        const i = operation.seqno - 1
        put(i < a! ? oldest : i < b! ? sealed : active, operation)
      }
      const keepAll = { snapshots: [], visible: 0 }
      const from = new SuperVersion(oldest, [], Version.of(1, []))
      const tables = oldest.isEmpty ? [] : jobs.run(from, keepAll, 1500, false, 1)
      const state = new SuperVersion(active, [sealed], Version.of(1, tables))
      for (let i = 0; i < 10; i++) walk(state, operations, random, keys)
    }
  })

  function walk(
    state: SuperVersion,
    operations: readonly Operation[],
    random: Random,
    keys: number,
  ): void {
    const name = (): string => `k${String(random.below(keys)).padStart(3, '0')}`
    const readSeqno = random.below(operations.length + 2)
    const backward = random.below(2) === 0
    const [lower, upper] = [name(), name()].map((bound) =>
      random.below(2) === 0 ? undefined : bound,
    )
    const rows = seenBy(operations, readSeqno)
      .map(([key]) => key)
      .filter(
        (key) => (lower === undefined || key >= lower) && (upper === undefined || key < upper),
      )
    if (backward) rows.reverse()
    const bytes = (bound: string | undefined): Buffer | undefined =>
      bound === undefined ? bound : Buffer.from(bound)
    const bounds = { lower: bytes(lower), upper: bytes(upper) }
    const cursor = state.cursor(readSeqno, bounds, backward)
    let at = 0
    cursor.start()
    for (let step = 0; step < 25; step++) {
      while (cursor.missing !== undefined) {
        cursor.missing.sync()
        cursor.retry()
      }
      const shown = cursor.valid ? Buffer.from(cursor.key.slice(0, cursor.keyEnd)) : undefined
      expect(shown?.toString()).toBe(rows[at])
      if (!cursor.valid || random.below(4) === 0) {
        const target = name()
        const found = rows.findIndex((key) => (backward ? key <= target : key >= target))
        at = found < 0 ? rows.length : found
        cursor.seek(Buffer.from(target))
      } else {
        at++
        cursor.next()
      }
    }
  }
})

describe('many range tombstones', () => {
  /** What the tables of a run with more than this would take in memory is told by their blocks. */
  const BLOCK_MAX = 8 * 2 ** 20

  test('end tables like entries do', () => {
    const memtable = new Memtable(1)
    const key = (i: number): Buffer => Buffer.from(`${10_000 + i}`.padEnd(2000, 'x'))
    const COUNT = 4000
    for (let i = 0; i < COUNT; i++) {
      memtable.insertRange({ start: key(2 * i), end: key(2 * i + 1), seqno: i + 1 })
    }
    const jobs = new Jobs()
    const memory = new SuperVersion(memtable, [], Version.of(1, []))
    const view = { snapshots: [], visible: READ_ALL }
    const tables = jobs.run(memory, view, 1 << 30, false, 1)
    expect(tables.length).toBeGreaterThan(2)
    expect(tables.flatMap(rangesIn)).toHaveLength(COUNT)
    for (const { meta, shared } of tables) {
      expect(shared.reader.properties.rangeTombstones.length).toBeLessThan(BLOCK_MAX)
      expect(meta.itemCount).toBe(0)
    }
    // With a small size for tables they end sooner.
    const [one] = jobs.run(memory, view, 100_000, false, 2)
    expect(one!.meta.size).toBeLessThan(120_000)
  })

  test('that no table can leave out do not make tables of single entries', () => {
    const memtable = new Memtable(1)
    const COUNT = 400
    const key = (i: number): string => `key ${1000 + i}`
    const operations = Array.from({ length: COUNT }, (_, i): Operation[] => [
      { seqno: 3 * i + 1, key: key(i), value: 'v' },
      { seqno: 3 * i + 2, key: 'key', end: key(i) },
      { seqno: 3 * i + 3, key: key(i), value: 'w' },
    ]).flat()
    for (const operation of operations) put(memtable, operation)
    const jobs = new Jobs()
    const memory = new SuperVersion(memtable, [], Version.of(1, []))
    // Nothing is visible yet: all of them are kept, and cut at each end of a table.
    const tables = jobs.run(memory, { snapshots: [], visible: 0 }, 500, false, 1)
    expect(tables.length).toBeGreaterThan(1)
    expect(tables.length).toBeLessThan(40)
    for (let readSeqno = 1; readSeqno < 3 * COUNT; readSeqno += 41) {
      expectRead(over(tables), operations, readSeqno)
    }
  })
})
