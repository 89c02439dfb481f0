// Separated values in a tree: garbage that is counted and collected, values that a scan reads
// ahead, and pointers that lead nowhere.

import { describe, expect, test } from 'vitest'
import { decodeBlobPointer, encodeBlobPointer } from '../../../lib/typescript/base/blob-pointer.ts'
import type { BlobPointer } from '../../../lib/typescript/base/blob-pointer.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { BlobFile } from '../../../lib/typescript/blob/blob-file.ts'
import { BlobValues } from '../../../lib/typescript/tree/blob-values.ts'
import { stalePlan } from '../../../lib/typescript/tree/blob-upkeep.ts'
import { DEFAULT_SETTINGS } from '../../../lib/typescript/tree/options.ts'
import type { TableMeta } from '../../../lib/typescript/tree/table-meta.ts'
import {
  blobEdits,
  blobsOf,
  changeBlobs,
  NO_BLOBS,
} from '../../../lib/typescript/tree/version-blobs.ts'
import { Version } from '../../../lib/typescript/tree/version.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import type { FaultKind, FaultOperation } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { failure } from '../../support/scratch.ts'
import { BLOB, BLOB_PATH, blobContext, openBlobs, writeBlobs } from '../support/blobs.ts'
import type { Item } from '../support/blobs.ts'
import { newMachine, putFile, readFile } from '../support/machine.ts'
import { tableMeta } from '../support/table-metas.ts'
import { SlowMachine } from '../support/super-versions.ts'
import { TreeModel } from '../support/tree-model.ts'
import { PointLookup } from '../../../lib/typescript/table/table-reader.ts'

const SEPARATION = {
  threshold: 1,
  fileSize: 4096,
  compression: 'none',
  stalenessThreshold: 0.5,
  ageCutoff: 0,
} as const
const SETTINGS = { ...DEFAULT_SETTINGS, kvSeparation: SEPARATION }

/** Of ten frames of 100 bytes. */
function blobFile(fileNumber: number): BlobFile {
  const meta = { fileNumber, size: 1096, itemCount: 10, frameBytes: 1000, rawBytes: 500 }
  return { meta, path: `/db/${fileNumber}.blob` } as unknown as BlobFile
}

/** A table that points to so many frames of each file. */
function table(number: number, level: number, frames: Readonly<Record<number, number>>): TableMeta {
  const blobs = Object.entries(frames).map(([file, itemCount]) => {
    return { fileNumber: Number(file), itemCount, bytes: 100 * itemCount }
  })
  const key = String.fromCodePoint(96 + number)
  return tableMeta(number, key, key, { level, runOrder: number, blobs })
}

describe('the garbage of a version', () => {
  test('is what no table points to; a file that nothing points into leaves', () => {
    const [ten, eleven, twelve] = [blobFile(10), blobFile(11), blobFile(12)]
    const before = blobsOf([ten, eleven], [table(1, 0, { 10: 4 }), table(2, 1, { 10: 6, 11: 3 })])
    const after = changeBlobs(
      before,
      [twelve],
      [table(2, 1, { 10: 6, 11: 3 })],
      [table(3, 1, { 10: 5, 12: 10 })],
    )
    expect([...after.keys()]).toEqual([10, 12])
    expect(blobEdits(1, before, after)).toEqual({
      blobsRemoved: [{ tree: 1, file: 11 }],
      blobsAdded: [
        { tree: 1, file: 12, size: 1096, itemCount: 10, frameBytes: 1000, rawBytes: 500 },
      ],
      blobsStale: [{ tree: 1, file: 10, staleItems: 1, staleBytes: 100 }],
    })
    const none = changeBlobs(
      after,
      [],
      [table(1, 0, { 10: 4 }), table(3, 1, { 10: 5, 12: 10 })],
      [],
    )
    expect(none.size).toBe(0)
    expect(blobEdits(1, after, none).blobsRemoved.map(({ file }) => file)).toEqual([10, 12])
  })

  test('costs nothing where no values are separated', () => {
    expect(changeBlobs(NO_BLOBS, [], [table(1, 0, {})], [table(2, 0, {})])).toBe(NO_BLOBS)
  })

  test('a table cannot point to what there is not', async () => {
    const more = await failure(() => blobsOf([blobFile(10)], [table(1, 0, { 10: 11 })]))
    expect(more).toMatchObject({ code: 'CORRUPTION', path: '/db/10.blob' })
    const unknown = await failure(() => blobsOf([blobFile(10)], [table(1, 0, { 12: 1 })]))
    expect(unknown.code).toBe('CORRUPTION')
  })
})

describe('a rewrite for the sake of garbage', () => {
  const files = [blobFile(10), blobFile(11), blobFile(12)]
  /** 10: nothing stale; 11: half of it; 12: nearly all. */
  const metas = [
    table(1, 0, { 10: 10 }),
    table(2, 1, { 11: 2 }),
    table(3, 1, { 11: 2, 12: 1 }),
    table(4, 6, { 11: 1 }),
  ]
  const tables = metas.map((meta) => ({ meta, shared: undefined as never }))
  const version = Version.of(1, tables, blobsOf(files, metas))

  test('takes tables of one run that point into the oldest file that is due', () => {
    const plan = { kind: 'merge', destinationLevel: 1, targetSize: 2 ** 26 }
    expect(stalePlan(version, SETTINGS, new Set())).toEqual({ ...plan, tables: [3] })
    expect(stalePlan(version, SETTINGS, new Set([3]))).toEqual({ ...plan, tables: [2] })
    const deeper = { ...plan, destinationLevel: 6, tables: [4] }
    expect(stalePlan(version, SETTINGS, new Set([2, 3]))).toEqual(deeper)
    expect(stalePlan(version, SETTINGS, new Set([2, 3, 4]))).toBeUndefined()
  })

  test('is not wanted below the threshold, without separation, or first in, first out', () => {
    const strict = { ...SEPARATION, stalenessThreshold: 0.95 }
    expect(stalePlan(version, { ...SETTINGS, kvSeparation: strict }, new Set())).toBeUndefined()
    expect(stalePlan(version, DEFAULT_SETTINGS, new Set())).toBeUndefined()
    const compaction = { type: 'fifo', name: 'fifo', limit: 1, ttlSeconds: undefined } as const
    expect(stalePlan(version, { ...SETTINGS, compaction }, new Set())).toBeUndefined()
  })

  test('comes to an end, and leaves no file that is due', () => {
    const model = new TreeModel(undefined, { isSeparated: true })
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 60; i++) {
        if (i % 12 !== round) model.write(`key ${i % 40}`, i % 7 === round ? 1 : 0, 40 + i)
      }
      if (round === 5) model.snapshot()
      runSync(model.flush())
      let steps = 0
      while (runSync(model.compact())) expect(++steps).toBeLessThan(200)
      expect(model.tree.stalePlan()).toBeUndefined()
      model.check()
    }
    model.snapshots.length = 0
    runSync(model.major(1000))
    runSync(model.major(1000))
    const { blobs } = model.tree.superVersion.version
    for (const { file, usedBytes } of blobs.values()) expect(usedBytes).toBe(file.meta.frameBytes)
    model.check()
    model.close()
  })

  test('a sync caller may take over from one that reads a file', async () => {
    const model = new TreeModel(undefined, { isSeparated: true })
    for (let i = 0; i < 50; i++) model.write(`key ${i}`, 0, 60)
    runSync(model.flush())
    for (let i = 0; i < 50; i += 2) model.write(`key ${i}`, 0, 60)
    runSync(model.flush())
    runSync(model.major(2000))
    const { tree } = model
    const job = tree.claim(tree.stalePlan()!)
    const rewriting = failure(() => run(tree.compact(job)))
    runSync(tree.takeOver())
    runSync(model.settle())
    expect((await rewriting).code).toBe('PLAN_STALE')
    model.check()
    model.close()
    expect(model.machine.openFiles).toBe(0)
  })
})

/** Counts the reads of blob files. */
class ReadingVfs extends FaultVfs {
  reads = 0

  override next(operation: FaultOperation, path: string): FaultKind | undefined {
    if (operation === 'read' && path.endsWith('.blob')) this.reads++
    return super.next(operation, path)
  }
}

describe('values that a scan passes', () => {
  const items: Item[] = Array.from({ length: 400 }, (_, i) => {
    const value = Buffer.alloc(1000, `value ${i} `)
    return { key: Buffer.from(`key ${1000 + i}`), seqno: 1000 - i, value }
  })

  function scanned(
    values: BlobValues,
    pointers: readonly BlobPointer[],
    numbers: readonly number[],
  ): string[] {
    return numbers.map((i) => {
      const { key } = items[i]!
      const value = encodeBlobPointer(pointers[i]!)
      const row = { key, keyEnd: key.length, value, valueBegin: 0 }
      const found = values.get(row)
      if (found !== undefined) return Buffer.from(found).toString()
      values.missing!.sync()
      return Buffer.from(values.get(row)!).toString()
    })
  }

  /** `damaged`: the number of a value that is. */
  function opened(cacheSize: number, damaged?: number) {
    const vfs = new ReadingVfs(newMachine())
    const { meta, pointers } = writeBlobs(vfs, items, { codec: 0 })
    if (damaged !== undefined) {
      const bytes = readFile(vfs, BLOB_PATH)
      bytes[pointers[damaged]!.offset + 40]! ^= 4
      putFile(vfs, BLOB_PATH, bytes)
    }
    const file = openBlobs(blobContext(vfs, cacheSize), meta)
    const blobs = new Map([[BLOB, { file, usedItems: items.length, usedBytes: meta.frameBytes }]])
    vfs.reads = 0
    return { vfs, blobs, pointers }
  }

  const forward = items.map((_, i) => i)
  const texts = items.map(({ value }) => value.toString())

  test('are read many at once going forward, and then from memory', () => {
    const { vfs, blobs, pointers } = opened(1 << 20)
    expect(scanned(new BlobValues(blobs, false), pointers, forward)).toEqual(texts)
    expect(vfs.reads).toBeLessThan(12)
    vfs.reads = 0
    expect(scanned(new BlobValues(blobs, false), pointers, forward)).toEqual(texts)
    expect(vfs.reads).toBe(0)
  })

  test('are not read for nothing: backward, and far apart', () => {
    const { vfs, blobs, pointers } = opened(0)
    const backward = forward.toReversed()
    const found = scanned(new BlobValues(blobs, true), pointers, backward)
    expect(found).toEqual(texts.toReversed())
    expect(vfs.reads).toBe(items.length)
    vfs.reads = 0
    const few = forward.filter((i) => i % 50 === 0)
    expect(scanned(new BlobValues(blobs, false), pointers, few)).toEqual(few.map((i) => texts[i]))
    expect(vfs.reads).toBe(few.length)
  })

  test('damage is met where it is, whatever was read ahead', async () => {
    const { blobs, pointers } = opened(0, 300)
    const { offset } = pointers[300]!
    const values = new BlobValues(blobs, false)
    expect(scanned(values, pointers, forward.slice(0, 300))).toEqual(texts.slice(0, 300))
    const damage = { code: 'CORRUPTION', path: BLOB_PATH, offset }
    expect(await failure(() => scanned(values, pointers, [300]))).toMatchObject(damage)
    expect(await failure(() => scanned(values, pointers, [300]))).toMatchObject(damage)
    expect(scanned(values, pointers, [301])).toEqual([texts[301]])
  })
})

describe('a pointer', () => {
  test('into a file that its tree does not have is damage, but has a size', async () => {
    const machine = new SlowMachine(1)
    const pointer = { fileNumber: 77, offset: 32, storedLength: 9, rawLength: 1234 }
    const value = Buffer.from(encodeBlobPointer(pointer))
    expect(decodeBlobPointer(value, 0)).toEqual(pointer)
    const entry = { key: Buffer.from('a'), seqno: 3, kind: 4, value }
    const layers = { active: [], sealed: [], runs: [[entry]] }
    const superVersion = machine.superVersion(layers)
    const lookup = new PointLookup()
    lookup.start(entry.key, 0, 1, 9)
    expect((await failure(() => runSync(superVersion.findSettled(lookup)))).code).toBe('CORRUPTION')
    lookup.start(entry.key, 0, 1, 9, false)
    expect(runSync(superVersion.findSettled(lookup))).toBe(true)
    superVersion.release()
  })
})
