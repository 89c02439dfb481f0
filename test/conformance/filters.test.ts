// Compaction filters: what each verdict does at each level, what a filter is asked, and who goes on
// reading what it took away.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import {
  FifoCompaction,
  LeveledCompaction,
  prefixDropFilter,
  SizeTieredCompaction,
  ttlFilter,
} from '../../lib/index.ts'
import type { CompactionEntry, CompactionFilter, FilterVerdict } from '../../lib/index.ts'
import { openDatabase, openTree } from '../support/engine.ts'
import {
  countsIn,
  EAGER,
  filterOf,
  flushed,
  HeldFilter,
  mergeDown,
  openFiltered,
  seen,
  spoken,
} from '../support/filters.ts'
import { PATIENT } from '../support/patient.ts'
import { scratchDirectory, testSeed } from '../support/scratch.ts'
import { Random } from '../typescript/support/random.ts'

/** Remembers what it is asked, and keeps it. */
class Witness implements CompactionFilter {
  readonly name = 'witness'
  readonly batches: (readonly CompactionEntry[])[] = []

  filter(entries: readonly CompactionEntry[]): FilterVerdict[] {
    this.batches.push(entries)
    return entries.map(() => 'keep')
  }

  /** `key=value`, each entry of all batches. */
  get asked(): string {
    return this.batches
      .flat()
      .map(({ key, value }) => `${String(key)}=${String(value)}`)
      .join(' ')
  }
}

const VERDICTS = {
  a: 'keep',
  b: 'remove',
  c: 'removeWeak',
  d: 'destroy',
  e: 'replace new',
  f: 'replace',
}

describe('verdicts', () => {
  test('in the last level leave no tombstones', async () => {
    const { path, database, keyspace } = await openFiltered(filterOf(spoken))
    await flushed(keyspace, VERDICTS)
    expect(seen(keyspace)).toBe('a=keep b=remove c=removeWeak d=destroy e=replace new f=replace')
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe('a=keep e=new f=')
    expect(countsIn(keyspace)).toEqual({ items: 3, tombstones: 0, weak: 0 })
    await database.close()
    const again = await openFiltered(undefined, {}, { path })
    expect(seen(again.keyspace)).toBe('a=keep e=new f=')
  })

  test('above older versions hide them, but for destroyed ones', async () => {
    const { path, database, keyspace } = await openFiltered(filterOf(spoken))
    const old = Object.fromEntries(Object.keys(VERDICTS).map((key) => [key, 'old']))
    await flushed(keyspace, old)
    await keyspace.majorCompaction()
    await flushed(keyspace, VERDICTS)
    await mergeDown(keyspace, 3)
    const expected = 'a=keep d=old e=new f='
    expect(seen(keyspace)).toBe(expected)
    expect(countsIn(keyspace)).toEqual({ items: 6 + 5, tombstones: 1, weak: 1 })
    expect(await keyspace.get('b')).toBeUndefined()
    expect(keyspace.containsKeySync('c')).toBe(false)
    await database.close()
    const again = await openFiltered(filterOf(spoken), {}, { path })
    expect(seen(again.keyspace)).toBe(expected)
    await again.keyspace.majorCompaction()
    expect(seen(again.keyspace)).toBe(expected)
    expect(countsIn(again.keyspace)).toEqual({ items: 4, tombstones: 0, weak: 0 })
  })

  test('at every level, and with it whether that is the last one', async () => {
    const levels: boolean[] = []
    const filter = filterOf((entry) => {
      levels.push(entry.isLastLevel)
      return String(entry.key) === 'x' ? 'remove' : 'keep'
    })
    const { keyspace } = await openFiltered(filter)
    for (let level = 0; level <= 6; level++) {
      await flushed(keyspace, { [`a${level}`]: 'v', x: 'v' })
      await mergeDown(keyspace, 6 - level)
      expect(keyspace.containsKeySync('x')).toBe(false)
      expect(keyspace.containsKeySync(`a${level}`)).toBe(true)
    }
    const first = levels.slice(0, 2)
    expect([first, levels.slice(2).some(Boolean)]).toEqual([[true, true], false])
    await keyspace.majorCompaction()
    expect(keyspace.lenSync()).toBe(7)
    expect(countsIn(keyspace)).toEqual({ items: 7, tombstones: 0, weak: 0 })
  })

  test('on a bare tree hold for reads behind them', async () => {
    const path = join(scratchDirectory(), 'tree')
    const tree = await openTree(path, { compactionFilter: filterOf(spoken), compaction: PATIENT })
    onTestFinished(() => tree.close())
    let seqno = 1
    for (const [key, value] of Object.entries(VERDICTS)) tree.insertSync(key, value, seqno++)
    await tree.flush()
    tree.insertSync('z', 'last', seqno)
    const rows = (at: number): string => {
      return tree
        .iter(at)
        .toArraySync()
        .map((row) => row.map(String).join('='))
        .join(' ')
    }
    const before = rows(seqno)
    await tree.majorCompaction()
    expect(rows(seqno + 1)).toBe('a=keep e=new f= z=last')
    expect(rows(seqno)).toBe(before)
    expect(tree.getTextSync('b', 3)).toBe('remove')
    tree.setGcSeqno(seqno + 1)
    await tree.flush()
    tree.majorCompactionSync()
    expect(rows(seqno + 1)).toBe('a=keep e=new f= z=last')
    expect(tree.versionHistory()).toHaveLength(1)
    expect(countsIn(tree)).toEqual({ items: 4, tombstones: 0, weak: 0 })
  })

  test('among tombstones, weak ones and ranges', async () => {
    const { database, keyspace } = await openFiltered(filterOf(spoken))
    const rows = Object.fromEntries('abcdefghij'.split('').map((key) => [key, 'keep']))
    await flushed(keyspace, rows)
    await keyspace.majorCompaction()
    const snapshot = database.snapshot()
    keyspace.insertSync('b', 'remove')
    keyspace.removeWeakSync('c')
    keyspace.removeRangeSync({ gte: 'd', lt: 'f' })
    keyspace.insertSync('d', 'remove')
    keyspace.insertSync('e', 'destroy')
    keyspace.insertSync('g', 'destroy')
    keyspace.removeSync('h')
    keyspace.insertSync('i', 'removeWeak')
    await keyspace.rotateMemtableAndWait()
    const expected = 'a=keep f=keep g=keep j=keep'
    await mergeDown(keyspace, 4)
    expect(seen(keyspace)).toBe(expected)
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe(expected)
    expect(seen(keyspace, { snapshot }).split(' ')).toHaveLength(10)
    snapshot.close()
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe(expected)
    expect(countsIn(keyspace)).toEqual({ items: 4, tombstones: 0, weak: 0 })
  })

  test.each(['sync', 'async'])('of many keys that go through many batches: %s', async (form) => {
    const verdict = ({ key }: CompactionEntry): FilterVerdict => {
      const i = Number(String(key).slice(3))
      if (i % 7 === 0) return 'remove'
      return i % 11 === 0 ? { replace: `new ${i}` } : 'keep'
    }
    const { keyspace } = await openFiltered(filterOf(verdict), { dataBlockSize: 256 })
    const expected: string[] = []
    for (let i = 1000; i < 4000; i++) {
      keyspace.insertSync(`key${i}`, `${i}`)
      if (i % 7 !== 0) expected.push(`key${i}=${i % 11 === 0 ? 'new ' : ''}${i}`)
    }
    await keyspace.rotateMemtableAndWait()
    const targetSize = 4096
    if (form === 'sync') keyspace.majorCompactionSync({ targetSize })
    else await keyspace.majorCompaction({ targetSize })
    expect(seen(keyspace)).toBe(expected.join(' '))
    expect(keyspace.tableCount()).toBeGreaterThan(3)
    expect(countsIn(keyspace).items).toBe(expected.length)
  })
})

describe('what is asked', () => {
  test('is what would be kept, in order, the newest version first', async () => {
    const witness = new Witness()
    const { database, keyspace } = await openFiltered(witness)
    await flushed(keyspace, { a: '1', b: '1', c: '1', d: '1', e: '1' })
    const snapshot = database.snapshot()
    keyspace.insertSync('a', '2')
    keyspace.removeSync('b')
    keyspace.removeRangeSync({ gte: 'd', lt: 'f' })
    keyspace.insertSync('c', 'hidden')
    keyspace.insertSync('c', '2')
    await keyspace.rotateMemtableAndWait()
    await flushed(keyspace, { f: '1' })
    expect(witness.asked).toBe('')
    await keyspace.majorCompaction()
    expect(witness.asked).toBe('a=2 a=1 b=1 c=2 c=1 d=1 e=1 f=1')
    snapshot.close()
    witness.batches.length = 0
    await keyspace.majorCompaction()
    expect(witness.asked).toBe('a=2 c=2 f=1')
  })

  test('is nothing when tables are moved or dropped', async () => {
    const witness = new Witness()
    const { keyspace } = await openFiltered(witness)
    await flushed(keyspace, { a: '1' })
    const tables = keyspace
      .version()
      .levels.flat(2)
      .map(({ id }) => id)
    await keyspace.compact({ kind: 'move', tables, destinationLevel: 6 })
    await flushed(keyspace, { b: '1' })
    await keyspace.dropRange({ gte: 'b' })
    expect(seen(keyspace)).toBe('a=1')
    expect(witness.asked).toBe('')
  })

  test('comes in batches of 256 entries or 64 KiB at most, a larger one alone', async () => {
    const witness = new Witness()
    const { keyspace } = await openFiltered(witness)
    for (let i = 0; i < 1000; i++) keyspace.insertSync(`a${1000 + i}`, 'small')
    for (let i = 0; i < 30; i++) keyspace.insertSync(`b${100 + i}`, 'v'.repeat(10_000))
    keyspace.insertSync('c', 'v'.repeat(500_000))
    keyspace.insertSync('d', 'small')
    await keyspace.rotateMemtableAndWait()
    await keyspace.majorCompaction()
    const { batches } = witness
    expect(batches.flat()).toHaveLength(1032)
    for (const batch of batches) {
      expect(batch.length).toBeGreaterThan(0)
      expect(batch.length).toBeLessThanOrEqual(256)
      const bytes = batch.reduce((sum, { key, value }) => sum + key.length + value!.length, 0)
      if (batch.length > 1) expect(bytes).toBeLessThanOrEqual(2 ** 16)
    }
    // They are batches.
    expect(batches.length).toBeLessThan(20)
  })

  test('belongs to the filter, and so does its answer', async () => {
    const kept: CompactionEntry[] = []
    const replacement = Buffer.from('replaced')
    let asked = 0
    const filter = filterOf((entry) => {
      kept.push({ ...entry, key: Buffer.from(entry.key), value: Buffer.from(entry.value!) })
      kept.push(entry)
      return ++asked === 2 ? { replace: replacement } : 'keep'
    })
    const scribbling: CompactionFilter = {
      name: 'scribbling',
      filter: (entries) => {
        const verdicts = filter.filter(entries) as FilterVerdict[]
        for (const { key, value } of entries) {
          key.fill(0xff)
          value!.fill(0xff)
        }
        setImmediate(() => replacement.fill(0xff))
        return verdicts
      },
    }
    const { keyspace } = await openFiltered(scribbling)
    await flushed(keyspace, { a: 'one', b: 'two', c: 'three' })
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe('a=one b=replaced c=three')
    expect(kept).toHaveLength(6)
    for (let i = 0; i < 6; i += 2) {
      expect(kept[i + 1]!.key).toEqual(Buffer.alloc(1, 0xff))
      expect(kept[i]!.key.toString()).toBe('abc'[i / 2])
    }
  })
})

describe('snapshots', () => {
  test('go on reading what a filter took away, and one from behind does not', async () => {
    const { path, database, keyspace } = await openFiltered(filterOf(spoken))
    await flushed(keyspace, VERDICTS)
    keyspace.insertSync('m', 'in memory')
    const all = seen(keyspace)
    const before = database.snapshot()
    const iterated = keyspace.iter({ batchSize: 1 })[Symbol.iterator]()
    iterated.next()
    await keyspace.majorCompaction()
    const behind = database.snapshot()
    const left = 'a=keep e=new f= m=in memory'
    const check = (): void => {
      expect(seen(keyspace, { snapshot: before })).toBe(all)
      expect(seen(keyspace, { snapshot: behind })).toBe(left)
      expect(keyspace.getTextSync('b', { snapshot: before })).toBe('remove')
      expect(keyspace.getTextSync('e', { snapshot: before })).toBe('replace new')
      expect(keyspace.getTextSync('e', { snapshot: behind })).toBe('new')
      expect(keyspace.sizeOfSync('e', { snapshot: before })).toBe(11)
      expect(keyspace.containsKeySync('d', { snapshot: before })).toBe(true)
      expect(keyspace.containsKeySync('d', { snapshot: behind })).toBe(false)
      expect(keyspace.lenSync({ snapshot: before })).toBe(7)
    }
    check()
    expect(seen(keyspace)).toBe(left)
    const many = await keyspace.getMany(['b', 'c'], { snapshot: before })
    expect(many.map(String)).toEqual(['remove', 'removeWeak'])
    const rest: string[] = []
    for (let row = iterated.next(); row.done !== true; row = iterated.next()) {
      rest.push(row.value.map(String).join('='))
    }
    expect(['a=keep', ...rest].join(' ')).toBe(all)

    keyspace.insertSync('b', 'again')
    await flushed(keyspace, { c: 'again' })
    await keyspace.majorCompaction()
    check()
    expect(seen(keyspace)).toBe('a=keep b=again c=again e=new f= m=in memory')
    before.close()
    behind.close()
    await keyspace.majorCompaction()
    const tables = (): string[] => readdirSync(path).filter((name) => name.endsWith('.table'))
    await expect.poll(() => tables().length, { timeout: 20_000 }).toBe(1)
  })

  test('of everything, while a filter removes everything', async () => {
    const { path, database, keyspace } = await openFiltered(filterOf(() => 'remove'))
    const rows = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`k${1000 + i}`, `${i}`]))
    await flushed(keyspace, rows)
    const snapshot = database.snapshot()
    await keyspace.majorCompaction()
    expect(keyspace.lenSync()).toBe(0)
    expect(keyspace.tableCount()).toBe(0)
    expect(keyspace.iter({ snapshot }).toArraySync().map(String)).toEqual(
      Object.entries(rows).map(String),
    )
    snapshot.close()
    const tables = (): string[] => readdirSync(path).filter((name) => name.endsWith('.table'))
    await expect.poll(tables, { timeout: 20_000 }).toEqual([])
  })

  test('taken while a filter is asked, and what is written then', async () => {
    const filter = new HeldFilter(spoken)
    const { database, keyspace } = await openFiltered(filter)
    await flushed(keyspace, VERDICTS)
    const asked = filter.asked()
    const major = keyspace.majorCompaction()
    await asked
    const snapshot = database.snapshot()
    const all = seen(keyspace)
    keyspace.insertSync('b', 'written meanwhile')
    const later = database.snapshot()
    filter.answer()
    await major
    expect(seen(keyspace)).toBe('a=keep b=written meanwhile e=new f=')
    expect(seen(keyspace, { snapshot })).toBe(all)
    expect(seen(keyspace, { snapshot: later })).toBe(all.replace('b=remove', 'b=written meanwhile'))
    snapshot.close()
    later.close()
  })

  test('a compaction whose entries are all kept is no commit', async () => {
    const { database, keyspace } = await openFiltered(filterOf(spoken))
    await flushed(keyspace, { a: 'keep', b: 'keep' })
    const { seqno } = database
    await keyspace.majorCompaction()
    expect(database.seqno).toBe(seqno)
    await flushed(keyspace, { c: 'remove' })
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe('a=keep b=keep')
    expect(database.seqno).toBe(seqno + 2)
    expect(database.visibleSeqno).toBe(database.seqno)
  })
})

describe('strategies', () => {
  test.each([
    ['leveled', new LeveledCompaction({ l0Threshold: 2, targetSize: 8192, levelRatio: 2 })],
    ['size-tiered', new SizeTieredCompaction({ baseSize: 8192, ratio: 2, minRuns: 2 })],
  ])('%s applies it in the background', async (_, compaction) => {
    const filter = filterOf(({ key }) => (key.at(-1)! % 3 === 0 ? 'remove' : 'keep'))
    const options = { compaction, maxMemtableSize: 8192, dataBlockSize: 512 }
    const { path, database, keyspace } = await openFiltered(filter, options)
    const model = new Map<string, string>()
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 60; i++) {
        const key = `key ${(round * 37 + i * 11) % 500}`
        const value = `${round} ${'v'.repeat(100)}`
        keyspace.insertSync(key, value)
        if (Buffer.from(key).at(-1)! % 3 > 0) model.set(key, value)
      }
      await keyspace.rotateMemtableAndWait()
      const found = new Map(
        keyspace
          .iter()
          .toArraySync()
          .map((row) => row.map(String) as [string, string]),
      )
      for (const [key, value] of model) expect(found.get(key)).toBe(value)
    }
    await database.compactor.drain()
    expect(database.compactionsCompleted).toBeGreaterThan(3)
    await keyspace.majorCompaction()
    const rows = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1))
    expect(
      keyspace
        .iter()
        .toArraySync()
        .map((row) => row.map(String)),
    ).toEqual(rows)
    expect(countsIn(keyspace)).toEqual({ items: rows.length, tombstones: 0, weak: 0 })
    await database.close()
    const again = await openFiltered(filter, {}, { path })
    expect(again.keyspace.lenSync()).toBe(rows.length)
  })

  test('first in, first out rewrites nothing, and asks nothing', async () => {
    const witness = new Witness()
    const compaction = new FifoCompaction({ limit: 5000 })
    const { database, keyspace } = await openFiltered(witness, { compaction, compression: 'none' })
    for (let round = 0; round < 10; round++) {
      await flushed(keyspace, { [`key ${round}`]: 'v'.repeat(1000) })
      await database.compactor.drain()
    }
    expect(keyspace.lenSync()).toBeLessThan(6)
    expect(witness.asked).toBe('')
  })
})

describe('built-in filters', () => {
  const stamp = (at: number | bigint, before = ''): Buffer => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64BE(BigInt(at))
    return Buffer.concat([Buffer.from(before), bytes])
  }
  const HOUR = 3_600_000

  test('ttlFilter by the key', async () => {
    const { keyspace } = await openFiltered(ttlFilter({ in: 'key', offset: 2, ttl: HOUR }))
    const now = Date.now()
    const stays = [
      stamp(now, 'a '),
      stamp(now - HOUR / 2, 'b '),
      stamp(2n ** 64n - 1n, 'c '),
      stamp(2n ** 63n, 'd '),
      stamp(now - 2 * HOUR, 'e'),
      Buffer.from('short'),
    ]
    const goes = [stamp(now - 2 * HOUR, 'f '), stamp(0, 'g '), stamp(now - HOUR - 1, 'h ')]
    for (const key of [...stays, ...goes]) keyspace.insertSync(key, 'v')
    await keyspace.rotateMemtableAndWait()
    await keyspace.majorCompaction()
    const keys = keyspace
      .iter()
      .toArraySync()
      .map(([key]) => key)
    expect(keys).toEqual(stays.toSorted(Buffer.compare))
  })

  test('ttlFilter by the value', async () => {
    const { keyspace } = await openFiltered(ttlFilter({ in: 'value', offset: 0, ttl: HOUR }))
    const now = Date.now()
    keyspace.insertSync('fresh', stamp(now))
    keyspace.insertSync('old', stamp(now - 2 * HOUR))
    keyspace.insertSync('old and long', Buffer.concat([stamp(1), Buffer.alloc(2000)]))
    keyspace.insertSync('short', stamp(0).subarray(1))
    keyspace.insertSync('empty', '')
    await keyspace.rotateMemtableAndWait()
    await keyspace.majorCompaction()
    expect(
      keyspace
        .iter()
        .toArraySync()
        .map(([key]) => String(key)),
    ).toEqual(['empty', 'fresh', 'short'])
  })

  test('prefixDropFilter', async () => {
    const { keyspace } = await openFiltered(prefixDropFilter(['tenant 7/', Buffer.of(0xff)]))
    const stays = ['tenant 7', 'tenant 7.', 'tenant 71/', 'tenant 8/x', 'a']
    for (const key of [...stays, 'tenant 7/', 'tenant 7/x']) keyspace.insertSync(key, 'v')
    keyspace.insertSync(Buffer.of(0xff), 'v')
    keyspace.insertSync(Buffer.of(0xff, 0xff, 0), 'v')
    await keyspace.rotateMemtableAndWait()
    await keyspace.majorCompaction()
    expect(
      keyspace
        .iter()
        .toArraySync()
        .map(([key]) => String(key)),
    ).toEqual(stays.toSorted())
  })

  test('prefixDropFilter of nothing, and of everything', async () => {
    const nothing = await openFiltered(prefixDropFilter([]))
    await flushed(nothing.keyspace, { a: '1', b: '2' })
    await nothing.keyspace.majorCompaction()
    expect(seen(nothing.keyspace)).toBe('a=1 b=2')
    const everything = await openFiltered(prefixDropFilter(['']))
    await flushed(everything.keyspace, { a: '1', b: '2' })
    await everything.keyspace.majorCompaction()
    expect(seen(everything.keyspace)).toBe('')
  })

  test('say the same when they are called', async () => {
    const seed = testSeed()
    const random = new Random(seed)
    const now = Date.now()
    const bytes = (): Buffer => {
      const length = random.below(12)
      return Buffer.from(Array.from({ length }, () => random.below(4)))
    }
    const stamped = (): Buffer => {
      // Nothing near the limit: the clocks of two calls differ.
      const age = (random.below(2) === 0 ? 0.5 : 2) * HOUR
      const head = Buffer.from(Array.from({ length: random.below(4) }, () => random.below(4)))
      return random.below(3) === 0 ? bytes() : Buffer.concat([head, stamp(now - age), bytes()])
    }
    const filters = [
      ...Array.from({ length: 3 }, (_, offset) => ttlFilter({ in: 'key', offset, ttl: HOUR })),
      ...Array.from({ length: 3 }, (_, offset) => ttlFilter({ in: 'value', offset, ttl: HOUR })),
      // One that keys have, and some that few or none do.
      prefixDropFilter([
        Buffer.of(1),
        ...Array.from({ length: 4 }, () => Buffer.concat([bytes(), Buffer.of(1)])),
      ]),
    ]
    const database = await openDatabase(join(scratchDirectory(), 'db'), {
      compactionFilters: (name) => filters[Number(name)],
    })
    onTestFinished(() => database.close())
    for (const [n, filter] of filters.entries()) {
      const rows = new Map<string, CompactionEntry>()
      const keyspace = await database.keyspace(String(n), { compaction: PATIENT })
      for (let i = 0; i < 300; i++) {
        const key = Buffer.concat([stamped(), Buffer.of(random.below(256))])
        const value = stamped()
        keyspace.insertSync(key, value)
        rows.set(key.toString('hex'), { key, value, isLastLevel: true })
      }
      await keyspace.rotateMemtableAndWait()
      await keyspace.majorCompaction()
      const entries = [...rows.values()].toSorted((x, y) => Buffer.compare(x.key, y.key))
      const verdicts = (await filter.filter(entries)) as FilterVerdict[]
      const kept = entries.filter((_, i) => verdicts[i] === 'keep')
      const pairs = kept.map(({ key, value }) => [key, value])
      expect(keyspace.iter().toArraySync(), `${filter.name} ${n}, SEED=${seed}`).toEqual(pairs)
      expect(new Set(verdicts)).toEqual(new Set(['keep', 'remove']))
    }
  })
})

describe('keyspaces', () => {
  test('have filters of their own, also those that nobody opens', async () => {
    const path = join(scratchDirectory(), 'db')
    const names: string[] = []
    const compactionFilters = (name: string): CompactionFilter | undefined => {
      names.push(name)
      return name === 'plain' ? undefined : prefixDropFilter([name])
    }
    const first = await openDatabase(path, { compactionFilters })
    for (const name of ['a', 'b', 'plain']) {
      const keyspace = await first.keyspace(name, { compaction: PATIENT })
      await first.keyspace(name)
      await flushed(keyspace, { a1: 'v', b1: 'v', c1: 'v', plain: 'v' })
      await keyspace.majorCompaction()
    }
    expect(names).toEqual(['a', 'b', 'plain'])
    const rows = (name: string): string => {
      const keyspace = first.keyspaceSync(name)
      return keyspace
        .iter()
        .toArraySync()
        .map(([key]) => String(key))
        .join(' ')
    }
    expect(rows('a')).toBe('b1 c1 plain')
    expect(rows('b')).toBe('a1 c1 plain')
    expect(rows('plain')).toBe('a1 b1 c1 plain')
    const left = await first.keyspace('c', { compaction: EAGER })
    await flushed(left, { a1: 'v', c1: 'v' })
    await first.compactor.drain()
    left.insertSync('c1', 'due for a merge')
    await first.close()

    names.length = 0
    const second = await openDatabase(path, { compactionFilters })
    onTestFinished(() => second.close())
    expect(names.toSorted()).toEqual(['a', 'b', 'c', 'plain'])
    await second.compactor.drain()
    expect(second.compactionsCompleted).toBe(1)
    const c = await second.keyspace('c')
    expect(Array.from(c.iter().keys(), String)).toEqual(['a1'])
    expect(names).toHaveLength(4)
  })

  test('handles on one directory: the first filter that one of them gives', async () => {
    const path = join(scratchDirectory(), 'db')
    const first = await openDatabase(path)
    onTestFinished(() => first.close())
    const keyspace = await first.keyspace('k', { compaction: PATIENT })
    await flushed(keyspace, { a: '1', b: '1', c: '1' })
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe('a=1 b=1 c=1')
    const { engine } = first
    const second = await openDatabase(path, {
      engine,
      compactionFilters: () => prefixDropFilter(['a']),
    })
    onTestFinished(() => second.close())
    const third = await openDatabase(path, {
      engine,
      compactionFilters: () => prefixDropFilter(['b']),
    })
    onTestFinished(() => third.close())
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe('b=1 c=1')
  })
})
