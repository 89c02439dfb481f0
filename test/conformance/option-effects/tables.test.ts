// What each option of keyspaces and trees does to the files that they write, and to how these are
// read: docs/options.md names them all. What both have is shown with both.

import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { TableInfo, Tree, TreeOptions } from '../../../lib/index.ts'
import { MAX_SEQNO } from '../../../lib/index.ts'
import { filesOf, flipByteInPlace } from '../../support/files.ts'
import { PATIENT } from '../../support/patient.ts'
import { failure } from '../../support/scratch.ts'
import { newKeyspace, newTree, numbered, tablesOf, treeAt } from '../../support/trees.ts'

const ROWS = 400

/** Footer fields of a table, from the end of the file: docs/format.md, 8.8. */
const FOOTER = {
  indexAt: -64 + 32,
  filterAt: -64 + 40,
  indexLength: -64 + 52,
  filterLength: -64 + 56,
}

interface Made {
  readonly table: TableInfo
  /** Stored bytes of the index, or of its top; and of the filter. */
  readonly indexLength: number
  readonly filterLength: number
  readonly bytes: Buffer
}

function describeTable(path: string, table: TableInfo): Made {
  const file = filesOf(path, 'table').find((name) => Number(/(\d+)\.t/.exec(name)![1]) === table.id)
  const bytes = readFileSync(file!)
  return {
    table,
    indexLength: bytes.readUInt32LE(bytes.length + FOOTER.indexLength),
    filterLength: bytes.readUInt32LE(bytes.length + FOOTER.filterLength),
    bytes,
  }
}

/**
 * The table that a flush writes with these options, and what a major compaction makes of it. The
 * same of a keyspace and of a bare tree.
 */
async function made(options: TreeOptions): Promise<{ flushed: Made; merged: Made }> {
  const given: TreeOptions = {
    compaction: PATIENT,
    compression: 'none',
    filter: 'none',
    ...options,
  }
  const { path, keyspace } = await newKeyspace(given)
  const tree = await newTree(given)
  for (let i = 0; i < ROWS; i++) {
    keyspace.insertSync(numbered(i), `value ${i}`)
    tree.insertSync(numbered(i), `value ${i}`, i + 1)
  }
  await keyspace.rotateMemtableAndWait()
  await tree.flush()
  const first = [
    describeTable(path, tablesOf(keyspace)[0]!),
    describeTable(tree.path, tablesOf(tree)[0]!),
  ]
  await keyspace.compact({
    kind: 'merge',
    tables: [first[0]!.table.id],
    destinationLevel: 6,
    targetSize: 2 ** 30,
  })
  await tree.majorCompaction()
  const second = [
    describeTable(path, tablesOf(keyspace)[0]!),
    describeTable(tree.path, tablesOf(tree)[0]!),
  ]
  for (const [ofKeyspace, ofTree] of [first, second] as [Made, Made][]) {
    expect(ofTree.table.blockCount).toBe(ofKeyspace.table.blockCount)
    // Seqnos differ, and with them what they compress to.
    expect(Math.abs(ofTree.indexLength - ofKeyspace.indexLength)).toBeLessThan(20)
    expect(ofTree.filterLength).toBe(ofKeyspace.filterLength)
  }
  for (let i = 0; i < ROWS; i += 50) {
    expect(keyspace.getTextSync(numbered(i))).toBe(`value ${i}`)
    expect(tree.getTextSync(numbered(i), MAX_SEQNO)).toBe(`value ${i}`)
    expect(tree.containsKeySync(`${numbered(i)} behind`, MAX_SEQNO)).toBe(false)
  }
  return { flushed: first[0]!, merged: second[0]! }
}

test('option KeyspaceOptions.dataBlockSize: cuts blocks', async () => {
  const small = await made({ dataBlockSize: 128 })
  const large = await made({ dataBlockSize: 65_536 })
  const mixed = await made({ dataBlockSize: [65_536, 128] })
  expect(small.flushed.table.blockCount).toBeGreaterThan(ROWS / 10)
  expect(large.flushed.table.blockCount).toBe(1)
  expect(mixed.flushed.table.blockCount).toBe(1)
  expect(mixed.merged.table.blockCount).toBe(small.merged.table.blockCount)
})

test('option KeyspaceOptions.restartInterval: shares the beginnings of keys', async () => {
  const each = await made({ restartInterval: 1 })
  const shared = await made({ restartInterval: [16, 1] })
  // Of ten bytes of a key six and more are those of the one before it; each head costs two.
  expect(each.flushed.table.size - shared.flushed.table.size).toBeGreaterThan(ROWS * 6)
  expect(Math.abs(shared.merged.table.size - each.flushed.table.size)).toBeLessThan(ROWS)
})

test('option KeyspaceOptions.hashIndexRatio: adds buckets to blocks', async () => {
  const without = await made({ hashIndexRatio: 0 })
  const twice = await made({ hashIndexRatio: [2, 0] })
  const difference = twice.flushed.table.size - without.flushed.table.size
  expect(Math.abs(difference - 2 * ROWS)).toBeLessThan(50)
  expect(Math.abs(twice.merged.table.size - without.merged.table.size)).toBeLessThan(50)
})

test('option KeyspaceOptions.compression: makes data blocks smaller', async () => {
  const plain = await made({ compression: 'none' })
  expect(plain.flushed.table.compression).toBe('none')
  expect(plain.flushed.bytes.includes('value 321')).toBe(true)
  for (const codec of ['lz4', 'zstd'] as const) {
    const { flushed, merged } = await made({ compression: [codec, 'none'] })
    expect([flushed.table.compression, merged.table.compression]).toEqual([codec, 'none'])
    expect(flushed.table.size).toBeLessThan(0.8 * plain.flushed.table.size)
    expect(Math.abs(merged.table.size - plain.merged.table.size)).toBeLessThan(50)
  }
})

test('option KeyspaceOptions.indexCompression: makes index blocks smaller', async () => {
  const plain = await made({ dataBlockSize: 64, indexCompression: 'none' })
  for (const codec of ['lz4', 'zstd'] as const) {
    const packed = await made({ dataBlockSize: 64, indexCompression: [codec, 'none'] })
    expect(packed.flushed.table.blockCount).toBe(plain.flushed.table.blockCount)
    expect(packed.flushed.indexLength).toBeLessThan(0.88 * plain.flushed.indexLength)
    expect(Math.abs(packed.merged.indexLength - plain.merged.indexLength)).toBeLessThan(20)
  }
})

test('option KeyspaceOptions.filter: adds a filter, of that size', async () => {
  const none = await made({ filter: 'none' })
  expect([none.flushed.filterLength, none.merged.filterLength]).toEqual([0, 0])
  const first = await made({ filter: [{ bitsPerKey: 10 }, 'none'] })
  expect(first.flushed.filterLength).toBeGreaterThanOrEqual((ROWS * 10) / 8)
  expect(first.merged.filterLength).toBe(0)
})

test('option FilterPolicy.bitsPerKey: is the size of the filter', async () => {
  const lengths: number[] = []
  for (const bitsPerKey of [5, 10, 20]) {
    lengths.push((await made({ filter: { bitsPerKey } })).flushed.filterLength)
  }
  for (const [i, bits] of [5, 10, 20].entries()) {
    expect(lengths[i]).toBeGreaterThanOrEqual((ROWS * bits) / 8)
    expect(lengths[i]).toBeLessThan((ROWS * bits) / 8 + 100)
  }
})

test('option FilterPolicy.falsePositiveRate: takes the bits that it needs', async () => {
  const rough = await made({ filter: { falsePositiveRate: 0.1 } })
  const fine = await made({ filter: { falsePositiveRate: 1e-4 } })
  // About 5 and 21 bits a key.
  expect(rough.flushed.filterLength).toBeLessThan(ROWS)
  expect(fine.flushed.filterLength).toBeGreaterThan(2 * ROWS)
})

test('option KeyspaceOptions.partitionIndex: puts a small top over index parts', async () => {
  const whole = await made({ dataBlockSize: 64, partitionIndex: false })
  const parts = await made({ dataBlockSize: 64, partitionIndex: [true, false] })
  expect(parts.flushed.indexLength).toBeLessThan(0.3 * whole.flushed.indexLength)
  expect(parts.merged.indexLength).toBe(whole.merged.indexLength)
})

test('option KeyspaceOptions.partitionFilter: puts a small top over filter parts', async () => {
  const filter = { bitsPerKey: 20 }
  const whole = await made({ filter, partitionFilter: false })
  const parts = await made({ filter, partitionFilter: [true, false] })
  expect(whole.flushed.filterLength).toBeGreaterThan(ROWS * 2)
  expect(parts.flushed.filterLength).toBeLessThan(ROWS)
  expect(parts.flushed.filterLength).toBeGreaterThan(0)
  expect(parts.merged.filterLength).toBe(whole.merged.filterLength)
})

test('option KeyspaceOptions.expectPointReadHits: leaves out the last filters', async () => {
  const filter = { bitsPerKey: 10 }
  const sought = await made({ filter, expectPointReadHits: false })
  const hits = await made({ filter, expectPointReadHits: true })
  expect(sought.merged.filterLength).toBeGreaterThan(0)
  expect(hits.merged.filterLength).toBe(0)
  expect(hits.flushed.filterLength).toBe(sought.flushed.filterLength)
})

/** A tree over one table, opened anew without a cache. */
async function reopened(
  options: TreeOptions,
): Promise<{ tree: Tree; bytes: Buffer; file: string }> {
  const first = await newTree({
    compaction: PATIENT,
    compression: 'none',
    dataBlockSize: 128,
    filter: { bitsPerKey: 10 },
    ...options,
  })
  for (let i = 0; i < ROWS; i++) first.insertSync(numbered(i), `value ${i}`, i + 1)
  await first.flush()
  await first.close()
  const [file = ''] = filesOf(first.path, 'table')
  return { tree: await treeAt(first.path, { cacheSize: 0 }), bytes: readFileSync(file), file }
}

test('option KeyspaceOptions.pinIndex: keeps the index of an open table in memory', async () => {
  for (const pinIndex of [true, false]) {
    const { tree, bytes, file } = await reopened({ pinIndex })
    expect(tree.getTextSync(numbered(7), MAX_SEQNO)).toBe('value 7')
    const at = Number(bytes.readBigUInt64LE(bytes.length + FOOTER.indexAt))
    flipByteInPlace({ file, at: at + 10 })
    // Only who reads it again meets the damage.
    if (pinIndex) expect(tree.getTextSync(numbered(7), MAX_SEQNO)).toBe('value 7')
    else expect((await failure(() => tree.getSync(numbered(7), MAX_SEQNO))).offset).toBe(at)
    await tree.close()
  }
})

test('option KeyspaceOptions.pinFilter: keeps the filter of an open table in memory', async () => {
  for (const pinFilter of [true, false]) {
    const { tree, bytes, file } = await reopened({ pinFilter })
    expect(tree.getTextSync(numbered(7), MAX_SEQNO)).toBe('value 7')
    const at = Number(bytes.readBigUInt64LE(bytes.length + FOOTER.filterAt))
    flipByteInPlace({ file, at: at + 10 })
    if (pinFilter) expect(tree.getTextSync(numbered(7), MAX_SEQNO)).toBe('value 7')
    else expect((await failure(() => tree.getSync(numbered(7), MAX_SEQNO))).offset).toBe(at)
    await tree.close()
  }
})
