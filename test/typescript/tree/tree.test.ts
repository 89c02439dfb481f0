// A tree in memory: writes, rotations, flushes and compactions in any order against every entry
// that was written, with open snapshots, reopened now and then; and what plans and failures do.

import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { PlanData } from '../../../lib/engine.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Table } from '../../../lib/typescript/tree/table.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { failure } from '../../support/scratch.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { newMachine } from '../support/machine.ts'
import { TreeModel } from '../support/tree-model.ts'
import { settle } from '../support/turns.ts'

const name = fc.nat(40).map((i) => `key ${String(i).padStart(3, '0')}`)
const step = fc.oneof(
  { weight: 30, arbitrary: fc.tuple(fc.constant('write' as const), name, fc.nat(3), fc.nat(90)) },
  { weight: 3, arbitrary: fc.tuple(fc.constantFrom('rotate', 'flush', 'compact', 'reopen')) },
  { weight: 1, arbitrary: fc.tuple(fc.constantFrom('snapshot', 'release', 'major')) },
  { weight: 1, arbitrary: fc.tuple(fc.constant('range' as const), name, fc.option(name)) },
)

const steps = fc.array(step, { minLength: 10, maxLength: 200, size: 'max' })

function move(tables: readonly number[], destinationLevel: number): PlanData {
  return { kind: 'move', tables, destinationLevel }
}

function merge(tables: readonly number[], destinationLevel: number): PlanData {
  return { kind: 'merge', tables, destinationLevel, targetSize: 1 << 20 }
}

function compactSync({ tree }: TreeModel, plan: PlanData): void {
  runSync(tree.compact(tree.claim(plan)))
}

/** Writes a key in a table of its own, in level 0; its number. */
function writeTable(model: TreeModel, ...names: string[]): number {
  for (const key of names) model.write(key, 0, 9)
  runSync(model.flush())
  return model.tree.superVersion.version.levels[0]!.flat()[0]!.meta.fileNumber
}

function firstKeys(runs: readonly (readonly Table[])[]): string[][] {
  return runs.map((tables) => tables.map(({ meta }) => Buffer.from(meta.firstKey).toString()))
}

describe('a tree', () => {
  test('shows what was written after any steps, at every open snapshot', () => {
    fc.assert(
      fc.property(fc.boolean(), steps, (isSeparated, list) => {
        const model = new TreeModel(undefined, { isSeparated })
        for (const [action, ...given] of list) {
          if (action === 'write') {
            const [key, kind, size] = given as [string, number, number]
            model.write(key, kind === 3 ? 1 : 0, size)
          } else if (action === 'range') {
            const [a, b] = given as [string, string | null]
            if (b === null) model.removeRange(a, undefined)
            else if (a !== b) model.removeRange(a < b ? a : b, a < b ? b : a)
          } else if (action === 'rotate') model.tree.rotate()
          else if (action === 'flush') runSync(model.flush())
          else if (action === 'compact') runSync(model.settle())
          else if (action === 'reopen') model.flushAndReopen()
          else if (action === 'snapshot') model.snapshot()
          else if (action === 'release') model.snapshots.shift()
          else runSync(model.major(800))
        }
        model.checkReads()
        model.flushAndReopen()
        model.check()
      }),
      { numRuns: 40 },
    )
  })

  test('keeps what a cursor began with', async () => {
    const model = new TreeModel()
    for (let i = 0; i < 200; i++) model.write(`key ${i % 50}`, 0, 30)
    model.flushAndReopen()
    const held = model.tree.superVersion
    held.acquire()
    const cursor = held.cursor(500, { lower: undefined, upper: undefined }, false)
    cursor.start()
    runSync(model.major(1 << 20))
    expect(model.tree.history()).toHaveLength(2)
    let count = 0
    const complete = (): void => {
      while (cursor.missing !== undefined) {
        cursor.missing.sync()
        cursor.retry()
      }
    }
    for (complete(); cursor.valid; complete()) {
      count++
      cursor.next()
    }
    expect(count).toBe(50)
    expect(() => model.checkFiles()).toThrow()
    held.release()
    await settle()
    model.checkFiles()
    expect(model.tree.history()).toEqual([model.tree.superVersion])
  })

  test('takes writes while a flush and a compaction run', async () => {
    const model = new TreeModel()
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 3000; i++) model.write(`key ${(i * 7) % 400}`, i % 9 === 0 ? 1 : 0, 60)
      const flush = run(model.flush())
      const compactions = run(model.settle())
      for (let i = 0; i < 200; i++) model.write(`key ${i}`, 0, 20)
      model.snapshot()
      await Promise.all([flush, compactions])
    }
    await run(model.settle())
    await settle()
    model.check()
  })

  test('tells how far a compaction is, and ends it when it is stopped', async () => {
    const model = new TreeModel()
    for (let i = 0; i < 20_000; i++) model.write(`key ${i % 9000}`, 0, 60)
    model.flushAndReopen()
    const { tree } = model
    const job = tree.claim(tree.majorPlan(1 << 20)!)
    const stopped = failure(() => run(tree.compact(job)))
    const seen: number[] = []
    while (seen.length < 3) {
      if (job.done > (seen.at(-1) ?? 0)) seen.push(job.done)
      await settle()
    }
    expect(tree.jobs()).toEqual([job])
    job.stop()
    expect(tree.jobs()).toEqual([])
    expect((await stopped).code).toBe('ABORTED')
    expect(seen.at(-1)).toBeLessThan(job.total)
    await settle()
    model.check()
    await run(model.major(1 << 20))
    await settle()
    model.checkFiles()
    const { superVersion } = tree
    const whole = runSync(superVersion.approximateSize(undefined, undefined))
    const half = runSync(superVersion.approximateSize(Buffer.from('key 5'), undefined))
    expect(whole).toBe(superVersion.version.tableBytes)
    expect(half / whole).toBeGreaterThan(0.3)
    expect(half / whole).toBeLessThan(0.7)
  })

  test('is gone with its tables once it is deleted, though not for those that read', async () => {
    const model = new TreeModel()
    for (let i = 0; i < 3000; i++) model.write(`key ${i}`, 0, 60)
    runSync(model.flush())
    const held = model.tree.superVersion
    held.acquire()
    const ended = failure(() => run(model.major(1 << 20)))
    await settle()
    model.tree.delete()
    expect((await ended).message).toBe('the tree was deleted')
    await settle()
    const files = (): string[] =>
      model.machine
        .list('/db')
        .sync()
        .filter((file) => file.endsWith('.table'))
    expect(files()).toHaveLength(held.version.tableCount)
    held.release()
    await settle()
    expect(files()).toEqual([])
  })
})

describe('a plan', () => {
  test('that merges tables beside another one keeps them in its run, on both sides of it', () => {
    const model = new TreeModel()
    const numbers = ['a', 'm', 'z'].map((key) => {
      const number = writeTable(model, key)
      compactSync(model, move([number], 3))
      return number
    })
    const runs = (): string[][] => firstKeys(model.tree.superVersion.version.levels[3]!)
    expect(runs()).toEqual([['a', 'm', 'z']])
    compactSync(model, merge([numbers[0]!, numbers[2]!], 3))
    expect(runs()).toEqual([['a', 'm', 'z']])
    model.checkReads()
  })

  test('that would hide newer entries, or names what is not there, is refused', async () => {
    const model = new TreeModel()
    const older = writeTable(model, 'a')
    const newer = writeTable(model, 'a')
    const refusal = async (plan: PlanData): Promise<string> =>
      (await failure(() => model.tree.claim(plan))).code
    expect(await refusal(move([newer], 3))).toBe('INVALID_ARGUMENT')
    expect(await refusal(move([999], 3))).toBe('PLAN_STALE')
    expect(await refusal(move([older], 7))).toBe('INVALID_ARGUMENT')
    expect(await refusal(move([], 3))).toBe('INVALID_ARGUMENT')
    expect(await refusal(move([older, older], 3))).toBe('INVALID_ARGUMENT')
    const job = model.tree.claim(move([older], 3))
    expect(await refusal(move([older], 3))).toBe('PLAN_STALE')
    runSync(model.tree.compact(job))
    model.checkReads()
  })

  // What a failed edit would have changed must not decide where the next output goes.
  test('is placed by what holds, not by an edit that the manifest has refused', async () => {
    const faults = new FaultVfs(newMachine())
    const late = new LateVfs(faults)
    const model = new TreeModel(faults.base as never, { vfs: late })
    // Two runs in level 1, of which the newer one has the key.
    compactSync(model, merge([writeTable(model, 'n', 'z')], 1))
    compactSync(model, merge([writeTable(model, 'b', 'p')], 1))
    const runs = model.tree.superVersion.version.levels[1]!
    expect(firstKeys(runs)).toEqual([['b'], ['n']])
    const { fileNumber } = runs[0]![0]!.meta
    const above = writeTable(model, 'b')
    // A flush waits for the sync of its edit.
    model.write('q', 0, 9)
    const flush = run(model.flush())
    while (late.waiting > 0) {
      const before = model.manifest.bytes
      late.step(0)
      await settle()
      if (model.manifest.bytes > before) break
    }
    expect(model.tree.sealedCount).toBe(1)
    faults.setPlan([{ operation: 'write', file: 'manifest', nth: 0, kind: 'ENOSPC' }])
    const { tree } = model
    const job = tree.claim({ kind: 'drop', tables: [fileNumber] })
    const refused = failure(() => run(tree.compact(job)))
    expect(faults.fired).toBe(1)
    faults.setPlan([])
    compactSync(model, merge([above], 1))
    while (late.waiting > 0) {
      late.step(0)
      await settle()
    }
    await flush
    expect((await refused).code).toBe('DISK_FULL')
    model.checkReads()
    model.reopen()
    model.checkReads()
  })
})

describe('a failing call', () => {
  test.each(['table', 'blob'] as const)('to a %s changes nothing, and is tried again', (kind) => {
    const isSeparated = kind === 'blob'
    for (const operation of ['create', 'write', 'sync', 'read', 'open', 'syncDir'] as const) {
      for (let nth = 0; nth < 6; nth++) {
        const vfs = new FaultVfs(newMachine())
        const model = new TreeModel(vfs.base as never, { vfs, isSeparated })
        for (let i = 0; i < 300; i++) model.write(`key ${i % 60}`, 0, 40)
        // Only what a job does to its files fails: a manifest that fails ends all writing.
        const file = operation === 'syncDir' ? {} : { file: kind }
        vfs.setPlan([{ operation, nth, kind: 'EIO', ...file }])
        let failures = 0
        for (let attempt = 0; attempt < 3; attempt++) {
          try {
            runSync(model.flush())
            runSync(model.major(1000))
          } catch {
            failures++
          }
        }
        expect(failures).toBe(vfs.fired)
        vfs.setPlan([])
        model.checkReads()
        model.reopen()
        model.check()
        model.close()
        expect(model.machine.openFiles).toBe(0)
      }
    }
  })
})
