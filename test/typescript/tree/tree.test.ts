// A bare tree in memory: writes, rotations, flushes and compactions in any order against a map of
// all versions, with open snapshots, reopened now and then.

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { PlanData, TreeSettings } from '../../../lib/engine.ts'
import { Cache } from '../../../lib/typescript/base/cache.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import { settled } from '../../../lib/typescript/base/iterator.ts'
import { isTombstone } from '../../../lib/typescript/base/internal-key.ts'
import type { Block } from '../../../lib/typescript/table/table-file.ts'
import { PointLookup } from '../../../lib/typescript/table/table-reader.ts'
import { Manifest } from '../../../lib/typescript/tree/manifest.ts'
import { Tree } from '../../../lib/typescript/tree/tree.ts'
import type { TreeContext } from '../../../lib/typescript/tree/tree.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { parseFileName } from '../../../lib/typescript/vfs/file-name.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { compareEntries, visibleOf } from '../support/entries.ts'
import type { Entry } from '../support/entries.ts'
import { Interleaved } from '../support/interleaved.ts'
import { newMachine } from '../support/machine.ts'

const SETTINGS: TreeSettings = {
  maxMemtableSize: 1 << 20,
  memtable: 'auto',
  dataBlockSize: [200],
  restartInterval: [4],
  hashIndexRatio: [0.5],
  compression: ['none', 'lz4'],
  indexCompression: ['none'],
  filter: [{ falsePositiveRate: 0.01 }],
  pinIndex: [true, false],
  pinFilter: [true, false],
  partitionIndex: [false, true],
  partitionFilter: [false, true],
  expectPointReadHits: false,
  compaction: { name: 'leveled', l0Threshold: 2, targetSize: 1200, levelRatio: [2] },
  durability: undefined,
}

/** A tree, and beside it every entry that was ever written. */
class Pair {
  readonly vfs: Vfs
  readonly #context: TreeContext
  tree: Tree
  readonly #entries: Entry[] = []
  #seqno = 1
  snapshots: number[] = []

  private constructor(vfs: Vfs, manifest: Manifest) {
    this.vfs = vfs
    this.#context = {
      vfs,
      directory: '/db',
      manifest,
      cache: new Cache<Block>(10_000),
      view: () => {
        return { snapshots: this.snapshots.toSorted((a, b) => a - b), visible: this.#seqno }
      },
      *syncJournal() {},
      recordsFlushed: true,
    }
    this.tree = runSync(Tree.open(this.#context, 1, SETTINGS))
  }

  static create(vfs: Vfs = newMachine()): Pair {
    const manifest = runSync(Manifest.create(vfs, '/db', 2))
    const created = {
      tree: manifest.newTreeId(),
      name: '',
      createdSeqno: 0,
      options: new Uint8Array(),
    }
    runSync(manifest.commit({ treesCreated: [created] }))
    return new Pair(vfs, manifest)
  }

  write(name: string, kind: number, size: number): void {
    const key = Buffer.from(name)
    const value = Buffer.alloc(kind === 0 ? size : 0, `${name}${this.#seqno} `)
    const seqno = this.#seqno++
    this.tree.insert(kind, seqno, key, 0, key.length, value, 0, value.length)
    this.#entries.push({ key, seqno, kind, value })
  }

  snapshot(): void {
    this.snapshots.push(this.#seqno)
  }

  /** What is in memtables is lost, as by a crash of a tree without journal. */
  flushAndReopen(): void {
    this.tree.rotate()
    runSync(this.tree.flush())
    runSync(this.tree.close())
    this.tree = runSync(Tree.open(this.#context, 1, SETTINGS))
  }

  /** Compacts until the strategy is content. */
  *settle(): Flow<void> {
    for (let plan = this.tree.choosePlan(); plan !== undefined; plan = this.tree.choosePlan()) {
      yield* this.tree.compact(plan)
    }
  }

  check(): void {
    this.checkReads()
    this.checkFiles()
  }

  checkReads(): void {
    const sorted = this.#entries.toSorted(compareEntries)
    for (const read of [...this.snapshots, this.#seqno]) {
      const expected = new Map(
        visibleOf(sorted, read)
          .filter(({ kind }) => !isTombstone(kind))
          .map(({ key, value }) => [key.toString(), value.toString()]),
      )
      const names = [...new Set(sorted.map(({ key }) => key.toString()))]
      for (const name of names) expect(this.get(name, read)).toBe(expected.get(name))
      expect(this.rows(read, false)).toEqual([...expected])
      expect(this.rows(read, true)).toEqual([...expected].toReversed())
    }
  }

  /** On disk are exactly the tables that the version names. */
  checkFiles(): void {
    const files = this.vfs.list('/db').sync().map(parseFileName)
    const numbers = files.filter(({ kind }) => kind === 'table').map(({ number }) => number)
    const { version } = this.tree.superVersion
    const named = version.tables().map(({ meta }) => meta.fileNumber)
    expect(numbers.toSorted((a, b) => a - b)).toEqual(named.toSorted((a, b) => a - b))
  }

  get(name: string, read: number): string | undefined {
    const key = Buffer.from(name)
    const lookup = new PointLookup()
    lookup.start(key, 0, key.length, read)
    const found = runSync(this.tree.superVersion.findSettled(lookup))
    if (!found || isTombstone(lookup.kind)) return undefined
    return Buffer.from(lookup.value.slice(lookup.valueBegin, lookup.valueEnd)).toString()
  }

  rows(read: number, backward: boolean): [string, string][] {
    const none = { lower: undefined, upper: undefined }
    const cursor = this.tree.superVersion.cursor(read, none, backward)
    const rows: [string, string][] = []
    const complete = (): void => runSync(settled(cursor))
    cursor.start()
    for (complete(); cursor.valid; complete()) {
      const value = Buffer.from(cursor.value.slice(cursor.valueBegin, cursor.valueEnd))
      rows.push([Buffer.from(cursor.key.slice(0, cursor.keyEnd)).toString(), value.toString()])
      cursor.next()
    }
    return rows
  }
}

const name = fc.nat(40).map((i) => `key ${String(i).padStart(3, '0')}`)
const step = fc.oneof(
  { weight: 30, arbitrary: fc.tuple(fc.constant('write' as const), name, fc.nat(3), fc.nat(90)) },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom('rotate', 'flush', 'compact', 'reopen')) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('snapshot', 'release', 'major')) },
)

describe('tree', () => {
  test('any steps leave what was written, at every open snapshot', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 10, maxLength: 200, size: 'max' }), (steps) => {
        const pair = Pair.create()
        for (const [action, ...given] of steps) {
          if (action === 'write') {
            const [key, kind, size] = given as [string, number, number]
            pair.write(key, kind === 3 ? 1 : 0, size)
          } else if (action === 'rotate') pair.tree.rotate()
          else if (action === 'flush') runSync(pair.tree.flush())
          else if (action === 'compact') runSync(pair.settle())
          else if (action === 'reopen') pair.flushAndReopen()
          else if (action === 'snapshot') pair.snapshot()
          else if (action === 'release') pair.snapshots.shift()
          else {
            const plan = pair.tree.majorPlan(800)
            if (plan !== undefined) runSync(pair.tree.compact(plan))
          }
        }
        pair.check()
        pair.flushAndReopen()
        pair.check()
      }),
      { numRuns: 60 },
    )
  })

  test('a cursor goes on over what it began with', () => {
    const pair = Pair.create()
    for (let i = 0; i < 200; i++) pair.write(`key ${i % 50}`, 0, 30)
    pair.flushAndReopen()
    const held = pair.tree.superVersion
    held.acquire()
    const cursor = held.cursor(500, { lower: undefined, upper: undefined }, false)
    cursor.start()
    const plan = pair.tree.majorPlan(1 << 20)!
    runSync(pair.tree.compact(plan))
    let count = 0
    for (runSync(settled(cursor)); cursor.valid; runSync(settled(cursor))) {
      count++
      cursor.next()
    }
    expect(count).toBe(50)
    expect(() => pair.checkFiles()).toThrow()
    held.release()
    runSync(pair.tree.sweep())
    pair.checkFiles()
  })

  test('writes go on while a flush and a compaction run', async () => {
    const pair = Pair.create()
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 3000; i++) pair.write(`key ${(i * 7) % 400}`, i % 9 === 0 ? 1 : 0, 60)
      pair.tree.rotate()
      const flush = run(pair.tree.flush())
      const settle = run(pair.settle())
      for (let i = 0; i < 200; i++) pair.write(`key ${i}`, 0, 20)
      pair.snapshot()
      // oxlint-disable-next-line no-await-in-loop
      await Promise.all([flush, settle])
    }
    await run(pair.settle())
    pair.check()
  })

  test('a removal is flushed at any point of the flush of what it removes', () => {
    for (const isBlocking of [true, false]) {
      for (let turns = 0, isOver = false; !isOver; turns++) {
        const pair = Pair.create()
        const jobs = new Interleaved()
        pair.write('key', 0, 9)
        pair.tree.rotate()
        jobs.start(pair.tree.flush())
        for (let i = 0; i < turns; i++) jobs.turn(0)
        isOver = jobs.count === 0
        pair.write('key', 1, 0)
        pair.tree.rotate()
        if (isBlocking) runSync(pair.tree.flush())
        else jobs.start(pair.tree.flush())
        jobs.finish()
        expect(jobs.failures).toEqual([])
        pair.check()
        pair.flushAndReopen()
        pair.check()
      }
    }
  })

  test('jobs that overlap in any order, blocking ones between them', () => {
    const action = fc.oneof(
      { weight: 6, arbitrary: fc.tuple(fc.constant('write' as const), fc.nat(5)) },
      { weight: 3, arbitrary: fc.tuple(fc.constantFrom('flush', 'compact'), fc.nat()) },
      { weight: 9, arbitrary: fc.tuple(fc.constant('turns' as const), fc.nat()) },
      { weight: 1, arbitrary: fc.tuple(fc.constantFrom('blocking', 'snapshot'), fc.nat()) },
    )
    const actions = fc.array(action, { minLength: 20, maxLength: 120, size: 'max' })
    fc.assert(
      fc.property(actions, (list) => {
        const pair = Pair.create()
        const jobs = new Interleaved()
        for (const [what, number] of list) {
          if (what === 'write') {
            for (let i = 0; i < 4; i++) pair.write(`key ${(number + i) % 6}`, number % 3 ? 0 : 1, 9)
          } else if (what === 'flush') {
            pair.tree.rotate()
            jobs.start(pair.tree.flush())
          } else if (what === 'compact') {
            const plan = pair.tree.choosePlan()
            if (plan !== undefined) jobs.start(pair.tree.compact(plan))
          } else if (what === 'turns') {
            for (let i = 0; i <= number % 7; i++) jobs.turn(number >> i)
          } else if (what === 'snapshot') pair.snapshot()
          else runSync(pair.tree.flush())
          pair.checkReads()
        }
        jobs.finish()
        expect(jobs.failures).toEqual([])
        expect(pair.tree.superVersion.sealed).toEqual([])
        pair.check()
        pair.flushAndReopen()
        pair.check()
      }),
      { numRuns: 40 },
    )
  })

  test('a compaction tells how far it is, and can be ended', async () => {
    const pair = Pair.create()
    for (let i = 0; i < 20_000; i++) pair.write(`key ${i % 9000}`, 0, 60)
    pair.flushAndReopen()
    const plan = pair.tree.majorPlan(1 << 20)!
    const seen: number[] = []
    const stopped = run(
      pair.tree.compact(plan, ({ done, total }) => {
        expect(pair.tree.jobs()).toEqual([{ plan, done, total }])
        seen.push(done / total)
        if (seen.length === 3) throw new Error('stop')
      }),
    )
    await expect(stopped).rejects.toThrow('stop')
    expect(seen).toEqual(seen.toSorted((a, b) => a - b))
    expect(pair.tree.jobs()).toEqual([])
    pair.checkFiles()
    await run(pair.tree.compact(plan))
    pair.checkFiles()
    const { superVersion } = pair.tree
    const whole = runSync(superVersion.approximateSize(undefined, undefined))
    const half = runSync(superVersion.approximateSize(Buffer.from('key 5'), undefined))
    expect(whole).toBe(superVersion.version.bytes)
    expect(half / whole).toBeGreaterThan(0.3)
    expect(half / whole).toBeLessThan(0.7)
  })

  test('tables that are merged beside another one stay in its run, on both sides of it', () => {
    const pair = Pair.create()
    for (const key of ['a', 'm', 'z']) {
      pair.write(key, 0, 5)
      pair.flushAndReopen()
      const [table] = pair.tree.superVersion.version.levels[0]!.flat()
      const tables = [table!.meta.fileNumber]
      runSync(pair.tree.compact({ kind: 'move', tables, destinationLevel: 3 }))
    }
    const runs = (): string[][] =>
      pair.tree.superVersion.version.levels[3]!.map((tables) =>
        tables.map(({ meta }) => Buffer.from(meta.firstKey).toString()),
      )
    expect(runs()).toEqual([['a', 'm', 'z']])
    const [a, , z] = pair.tree.superVersion.version.levels[3]!.flat()
    const tables = [a!.meta.fileNumber, z!.meta.fileNumber]
    runSync(pair.tree.compact({ kind: 'merge', tables, destinationLevel: 3, targetSize: 1 << 20 }))
    expect(runs()).toEqual([['a', 'm', 'z']])
    pair.check()
  })

  test('a plan that would hide newer entries, or names what is not there, is refused', () => {
    const pair = Pair.create()
    pair.write('a', 0, 5)
    pair.flushAndReopen()
    pair.write('a', 0, 6)
    pair.flushAndReopen()
    const [newer, older] = pair.tree.superVersion.version.levels[0]!.flat()
    const move = (number: number, destinationLevel: number): PlanData => {
      return { kind: 'move', tables: [number], destinationLevel }
    }
    const refused = (plan: PlanData): unknown => {
      try {
        runSync(pair.tree.compact(plan))
      } catch (error) {
        return (error as { code: string }).code
      }
      return undefined
    }
    expect(refused(move(newer!.meta.fileNumber, 3))).toBe('INVALID_ARGUMENT')
    expect(refused(move(999, 3))).toBe('PLAN_STALE')
    expect(refused(move(older!.meta.fileNumber, 7))).toBe('INVALID_ARGUMENT')
    expect(refused(move(older!.meta.fileNumber, 3))).toBeUndefined()
    pair.check()
  })
})

describe('a failing call', () => {
  test('during a flush or a compaction changes nothing, and it can be tried again', () => {
    for (const operation of ['create', 'write', 'sync', 'read', 'open', 'syncDir'] as const) {
      for (let nth = 0; nth < 6; nth++) {
        const vfs = new FaultVfs(newMachine())
        const pair = Pair.create(vfs)
        for (let i = 0; i < 300; i++) pair.write(`key ${i % 60}`, 0, 40)
        pair.tree.rotate()
        // Only what a job does to tables fails: a manifest that fails ends all writing.
        const file = operation === 'syncDir' ? {} : { file: 'table' as const }
        vfs.setPlan([{ operation, nth, kind: 'EIO', ...file }])
        let failures = 0
        for (let attempt = 0; attempt < 3; attempt++) {
          try {
            runSync(pair.tree.flush())
            const plan = pair.tree.majorPlan(1000)
            if (plan !== undefined) runSync(pair.tree.compact(plan))
          } catch {
            failures++
          }
        }
        expect(failures).toBe(vfs.fired)
        vfs.setPlan([])
        pair.check()
      }
    }
  })
})
