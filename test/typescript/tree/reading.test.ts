// Merging, the rows that a read sees, and what flush and compaction keep, against plain models.

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { isTombstone, READ_ALL } from '../../../lib/typescript/base/internal-key.ts'
import { settled } from '../../../lib/typescript/base/iterator.ts'
import type { EntryIterator } from '../../../lib/typescript/base/iterator.ts'
import { Memtable } from '../../../lib/typescript/memtable/memtable.ts'
import { CompositeIterator } from '../../../lib/typescript/tree/composite-iterator.ts'
import { Cursor } from '../../../lib/typescript/tree/cursor.ts'
import { MergeIterator } from '../../../lib/typescript/tree/merge-iterator.ts'
import { Retention } from '../../../lib/typescript/tree/retention.ts'
import {
  compareEntries,
  expectSequence,
  hardKeys,
  kinds,
  textOf,
  textsOf,
  values,
  visibleOf,
} from '../support/entries.ts'
import type { Entry } from '../support/entries.ts'
import { newMachine } from '../support/machine.ts'
import { Random } from '../support/random.ts'
import { openTable, writeTable } from '../support/tables.ts'

/** One source over some entries: a memtable, or a table nothing of which is in memory. */
function sourceOf(entries: readonly Entry[], asTable: boolean): EntryIterator {
  if (asTable && entries.length > 0) {
    const vfs = newMachine()
    writeTable(vfs, entries, { blockSize: 60 })
    return openTable(vfs, { cacheSize: 0 }).iterator()
  }
  const memtable = new Memtable(1)
  for (const { kind, seqno, key, value } of entries) {
    memtable.insert(kind, seqno, key, 0, key.length, value, 0, value.length)
  }
  return memtable.versions()
}

/** Sorted entries and in which of four sources each one is. */
const spreads = fc
  .array(
    fc.record({
      entry: fc.record({ key: hardKeys, seqno: fc.nat(20), kind: kinds, value: values }),
      source: fc.nat(3),
    }),
    { maxLength: 80 },
  )
  .map((list) => {
    const unique = new Map(
      list.map((one) => [`${one.entry.key.toString('hex')}@${one.entry.seqno}`, one]),
    )
    const rows = [...unique.values()].map(({ entry, source }) => {
      const value = entry.kind === 0 ? entry.value : Buffer.alloc(0)
      return { entry: { ...entry, value }, source }
    })
    return rows.toSorted((a, b) => compareEntries(a.entry, b.entry))
  })

function mergeOf(spread: readonly { readonly entry: Entry; readonly source: number }[]) {
  const sources = [0, 1, 2, 3].map((number) => {
    const own = spread.filter(({ source }) => source === number)
    return sourceOf(
      own.map(({ entry }) => entry),
      number >= 2,
    )
  })
  return new MergeIterator(sources)
}

describe('merge', () => {
  test('shows the entries of all sources in order, both ways', () => {
    fc.assert(
      fc.property(spreads, fc.array(hardKeys, { maxLength: 4 }), (spread, keys) => {
        const entries = spread.map(({ entry }) => entry)
        const probes = [...keys.map((key, i) => ({ key, seqno: i * 5 })), ...entries.slice(0, 5)]
        expectSequence(mergeOf(spread), entries, probes)
      }),
    )
  })

  test('of equal entries the newer source comes first', () => {
    const entry = (value: string): Entry => {
      return { key: Buffer.from('k'), seqno: 1, kind: 0, value: Buffer.from(value) }
    }
    const merge = new MergeIterator(['new', 'old'].map((value) => sourceOf([entry(value)], false)))
    merge.seekToFirst()
    expect(Buffer.from(merge.value).includes('new')).toBe(true)
    merge.next()
    expect(merge.valid).toBe(true)
    merge.next()
    expect(merge.valid).toBe(false)
  })
})

describe('cursor', () => {
  function rowsOf(cursor: Cursor, key?: Buffer): string[] {
    const rows: string[] = []
    const complete = (): void => runSync(settled(cursor))
    if (key === undefined) cursor.start()
    else cursor.seek(key)
    for (complete(); cursor.valid; complete()) {
      const value = Buffer.from(cursor.value.slice(cursor.valueBegin, cursor.valueEnd))
      const rowKey = Buffer.from(cursor.key.slice(0, cursor.keyEnd))
      rows.push(`${rowKey.toString('hex')} ${value.toString('hex')}`)
      cursor.next()
    }
    return rows
  }

  test('edge case 19: shows what a read sees, in a range, from both ends and any key', () => {
    const bound = fc.option(hardKeys, { nil: undefined })
    const reads = fc.constantFrom(0, 3, 12, READ_ALL)
    fc.assert(
      fc.property(spreads, bound, bound, reads, hardKeys, (spread, lower, upper, read, key) => {
        const entries = spread.map(({ entry }) => entry)
        const expected = visibleOf(entries, read)
          .filter(({ kind }) => !isTombstone(kind))
          .filter((one) => lower === undefined || Buffer.compare(one.key, lower) >= 0)
          .filter((one) => upper === undefined || Buffer.compare(one.key, upper) < 0)
        const text = (list: readonly Entry[]): string[] =>
          list.map((one) => `${one.key.toString('hex')} ${one.value.toString('hex')}`)
        const forward = new Cursor(mergeOf(spread), read, { lower, upper }, false)
        expect(rowsOf(forward)).toEqual(text(expected))
        const behind = expected.filter((one) => Buffer.compare(one.key, key) >= 0)
        expect(rowsOf(forward, key)).toEqual(text(behind))
        const backward = new Cursor(mergeOf(spread), read, { lower, upper }, true)
        expect(rowsOf(backward)).toEqual(text(expected.toReversed()))
        const before = expected.filter((one) => Buffer.compare(one.key, key) <= 0)
        expect(rowsOf(backward, key)).toEqual(text(before.toReversed()))
      }),
    )
  })
})

describe('cursor, where it is hard', () => {
  /** Few keys with many versions each, in four sources. */
  const histories = fc
    .array(
      fc.record({
        key: fc.constantFrom('a', 'b', 'c').map((name) => Buffer.from(name)),
        seqno: fc.integer({ min: 1, max: 300 }),
        kind: kinds,
        source: fc.nat(3),
      }),
      { minLength: 40, maxLength: 250, size: 'max' },
    )
    .map((list) => {
      const unique = new Map(list.map((one) => [`${one.key.toString()}@${one.seqno}`, one]))
      return [...unique.values()]
        .map(({ key, seqno, kind, source }) => {
          const value = Buffer.from(kind === 0 ? `${key.toString()}${seqno}` : '')
          return { entry: { key, seqno, kind, value }, source }
        })
        .toSorted((a, b) => compareEntries(a.entry, b.entry))
    })

  /** Rows as the cursor of a scan is driven: what fails is tried again. */
  function rowsOf(cursor: Cursor): { readonly rows: string[]; readonly failures: number } {
    const rows: string[] = []
    let failures = 0
    const attempt = (move: () => void): boolean => {
      try {
        move()
        return true
      } catch (error) {
        if (!(error instanceof Error) || error.message !== 'flaky') throw error
        failures++
        return false
      }
    }
    while (!attempt(() => cursor.start()));
    for (;;) {
      while (cursor.missing !== undefined) {
        cursor.missing.sync()
        if (!attempt(() => cursor.retry()) && cursor.missing === undefined) {
          while (!attempt(() => cursor.next()));
        }
      }
      if (!cursor.valid) return { rows, failures }
      const { key, keyEnd, value, valueBegin, valueEnd } = cursor
      const text = Buffer.from(value.slice(valueBegin, valueEnd)).toString()
      rows.push(`${Buffer.from(key.slice(0, keyEnd)).toString()} ${text}`)
      while (!attempt(() => cursor.next()));
    }
  }

  /** Shows what another one shows, but some moves fail, before or after they were made. */
  class Flaky extends CompositeIterator {
    readonly #base: EntryIterator
    readonly #random: Random

    constructor(base: EntryIterator, seed: number) {
      super()
      this.#base = base
      this.#random = new Random(seed)
    }

    override seekToFirst(): void {
      this.#move(() => this.#base.seekToFirst())
    }

    override seekToLast(): void {
      this.#move(() => this.#base.seekToLast())
    }

    override seek(key: Uint8Array, begin: number, end: number, seqno: number): void {
      this.#move(() => this.#base.seek(key, begin, end, seqno))
    }

    override seekBefore(key: Uint8Array, begin: number, end: number, seqno: number): void {
      this.#move(() => this.#base.seekBefore(key, begin, end, seqno))
    }

    override next(): void {
      this.#move(() => this.#base.next())
    }

    override previous(): void {
      this.#move(() => this.#base.previous())
    }

    override retry(): void {
      this.#move(() => this.#base.retry())
    }

    #move(move: () => void): void {
      const fate = this.#random.below(12)
      if (fate === 0) throw new Error('flaky')
      move()
      if (fate === 1) throw new Error('flaky')
      if (this.#base.missing !== undefined) this.showNone(this.#base.missing)
      else if (this.#base.valid) this.show(this.#base)
      else this.showNone()
    }
  }

  test('many versions of a key, and moves that fail', () => {
    const reads = fc.oneof(fc.integer({ min: 0, max: 301 }), fc.constant(READ_ALL))
    let failed = 0
    fc.assert(
      fc.property(histories, reads, fc.boolean(), fc.nat(), (spread, read, isBackward, seed) => {
        const expected = visibleOf(
          spread.map(({ entry }) => entry),
          read,
        )
          .filter(({ kind }) => !isTombstone(kind))
          .map(({ key, value }) => `${key.toString()} ${value.toString()}`)
        const rows = isBackward ? expected.toReversed() : expected
        const everything = { lower: undefined, upper: undefined }
        const plain = new Cursor(mergeOf(spread), read, everything, isBackward)
        expect(rowsOf(plain)).toEqual({ rows, failures: 0 })
        const flaky = new Cursor(new Flaky(mergeOf(spread), seed), read, everything, isBackward)
        const again = rowsOf(flaky)
        expect(again.rows).toEqual(rows)
        failed += again.failures
      }),
      { numRuns: 300 },
    )
    expect(failed).toBeGreaterThan(100)
  })
})

describe('retention', () => {
  /** Versions of keys as a program writes them: a weak tombstone only over a value written once. */
  const histories = fc
    .array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.constantFrom(0, 0, 1, 2), fc.nat(3)), {
      maxLength: 40,
    })
    .map((steps) => {
      const entries: Entry[] = []
      const writes = new Map<string, number>()
      let seqno = 1
      for (const [name, kind, gap] of steps) {
        seqno += gap
        if (kind === 2 && writes.get(name) !== 1) continue
        writes.set(name, kind === 0 ? (writes.get(name) ?? 0) + 1 : 0)
        const value = Buffer.from(kind === 0 ? `${name}${seqno}` : '')
        entries.push({ key: Buffer.from(name), seqno: seqno++, kind, value })
      }
      return entries
    })

  interface View {
    readonly snapshots: readonly number[]
    readonly visible: number
  }

  function kept(entries: readonly Entry[], view: View, below: readonly Entry[]): Entry[] {
    const output: Entry[] = []
    const mayExistBelow = (key: Uint8Array, begin: number, end: number): boolean =>
      below.some((one) => one.key.equals(key.subarray(begin, end)))
    const retention = new Retention(view, mayExistBelow, {
      add: (kind, seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd) => {
        output.push({
          kind,
          seqno,
          key: Buffer.from(key.subarray(keyBegin, keyEnd)),
          value: Buffer.from(value.subarray(valueBegin, valueEnd)),
        })
      },
    })
    const iterator = sourceOf(entries.toSorted(compareEntries), true)
    iterator.seekToFirst()
    for (runSync(settled(iterator)); iterator.valid; runSync(settled(iterator))) {
      retention.add(iterator)
      iterator.next()
    }
    retention.finish()
    return output
  }

  /** What a read at R sees of each key. */
  function answers(entries: readonly Entry[], read: number): (string | undefined)[] {
    const visible = visibleOf(entries.toSorted(compareEntries), read)
    return textsOf(visible.filter(({ kind }) => !isTombstone(kind)))
  }

  test('no reader sees a difference, whatever was taken together', () => {
    const cuts = fc.tuple(fc.nat(40), fc.nat(40))
    const reads = fc.array(fc.nat(60), { maxLength: 4 })
    fc.assert(
      fc.property(histories, cuts, reads, fc.nat(70), (history, cut, given, visible) => {
        const snapshots = given.filter((read) => read <= visible).toSorted((a, b) => a - b)
        const [a, b] = cut.toSorted((x, y) => x - y) as [number, number]
        // Older entries lie below the job, newer ones above it.
        const below = history.slice(0, a)
        const inputs = history.slice(a, b)
        const above = history.slice(b)
        const output = kept(inputs, { snapshots, visible }, below)
        expect(textsOf(output)).toEqual(textsOf(output.toSorted(compareEntries)))
        const before = new Set(textsOf(inputs))
        expect(output.every((entry) => before.has(textOf(entry)))).toBe(true)
        const highest = 1 + (history.at(-1)?.seqno ?? 0)
        const later = [visible, highest, READ_ALL].filter((read) => read >= visible)
        for (const read of [...snapshots, ...later]) {
          const changed = [...below, ...output, ...above]
          expect(answers(changed, read)).toEqual(answers(history, read))
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('a weak tombstone stays while a value of an older snapshot lies below it', () => {
    const value = (seqno: number): Entry => {
      return { key: Buffer.from('a'), seqno, kind: 0, value: Buffer.from(String(seqno)) }
    }
    const weak = { key: Buffer.from('a'), seqno: 3, kind: 2, value: Buffer.alloc(0) }
    const history = [value(1), value(2), weak]
    const output = kept(history, { snapshots: [2], visible: 9 }, [])
    expect(textsOf(output)).toEqual(textsOf([weak, value(1)]))
    expect(kept([value(2), weak], { snapshots: [2], visible: 9 }, [])).toEqual([])
    const separate = kept(history, { snapshots: [3], visible: 9 }, [])
    expect(textsOf(separate)).toEqual(textsOf([weak, value(2)]))
  })

  test('without readers in the past, and with nothing below, only what is there stays', () => {
    fc.assert(
      fc.property(histories, (history) => {
        const output = kept(history, { snapshots: [], visible: READ_ALL }, [])
        expect(textsOf(output)).toEqual(answers(history, READ_ALL))
      }),
    )
  })
})
