// Compaction filters where values are separated: what is read for them, what is separated again,
// and what becomes of the blob files.

import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ttlFilter } from '../../lib/index.ts'
import type {
  CompactionEntry,
  CompactionFilter,
  FilterVerdict,
  Keyspace,
  KvSeparationOptions,
} from '../../lib/index.ts'
import { filterOf, flushed, mergeDown, openFiltered, seen, spoken } from '../support/filters.ts'

const SEPARATION: KvSeparationOptions = { threshold: 64, fileSize: 4096, compression: 'none' }

function large(of: string, length = 1000): string {
  return `${of} `.repeat(length).slice(0, length)
}

function keyOf(i: number): string {
  return `key ${String(i).padStart(4, '0')}`
}

/** The bytes that tables point to, and what blob files hold besides. */
function blobBytes(keyspace: Keyspace): { used: number; stale: number } {
  const { levels, blobFiles } = keyspace.version()
  const used = levels.flat(2).flatMap(({ blobs }) => blobs)
  return {
    used: used.reduce((sum, { bytes }) => sum + bytes, 0),
    stale: blobFiles.reduce((sum, { staleBytes }) => sum + staleBytes, 0),
  }
}

/** Frame header, key and value, as they are stored without a codec. */
function frameOf(i: number, length: number): number {
  return 24 + keyOf(i).length + length
}

test.each(['none', 'lz4', 'zstd'] as const)('values are read for it: %s', async (compression) => {
  const asked = new Map<string, string>()
  const filter = filterOf((entry) => {
    asked.set(String(entry.key), String(entry.value))
    return spoken(entry)
  })
  const kvSeparation = { ...SEPARATION, compression }
  const { path, database, keyspace } = await openFiltered(filter, { kvSeparation })
  const rows: Record<string, string> = {}
  for (let i = 0; i < 40; i++) {
    const word = ['keep', 'remove', 'destroy', 'small'][i % 4]!
    rows[keyOf(i)] = i % 4 === 3 ? word : large(word, 500 + 100 * i)
  }
  rows['of many KiB'] = large('keep', 300_000)
  await flushed(keyspace, rows)
  expect(keyspace.blobFileCount()).toBeGreaterThan(0)
  await keyspace.majorCompaction()
  expect(Object.fromEntries(asked)).toEqual(rows)
  const left = Object.entries(rows).filter(([, value]) => /^(keep|small)/.test(value))
  const check = (of: Keyspace): void => {
    expect(
      of
        .iter()
        .toArraySync()
        .map((row) => row.map(String)),
    ).toEqual(left)
  }
  check(keyspace)
  await database.close()
  const again = await openFiltered(undefined, {}, { path })
  check(again.keyspace)
})

test('values are not read for one that does not need them', async () => {
  const asked: string[] = []
  const verdict = ({ key, value }: CompactionEntry): FilterVerdict => {
    asked.push(value === undefined ? 'separated' : String(value))
    return String(key) < 'c' ? 'keep' : 'remove'
  }
  const filter = filterOf(verdict, { needsBlobValues: false })
  // Nothing is rewritten for its garbage.
  const kvSeparation = { ...SEPARATION, stalenessThreshold: 1 }
  const { keyspace } = await openFiltered(filter, { kvSeparation })
  await flushed(keyspace, { a: 'small', b: large('b'), c: large('c'), d: 'small too' })
  await keyspace.majorCompaction()
  expect(asked).toEqual(['small', 'separated', 'separated', 'small too'])
  expect(seen(keyspace)).toBe(`a=small b=${large('b')}`)
  expect(blobBytes(keyspace).used).toBe(24 + 1 + 1000)
})

test('a new value is separated if it is large enough, and else it is not', async () => {
  const verdict = ({ key }: CompactionEntry): FilterVerdict => {
    const i = Number(String(key).slice(4))
    if (i % 3 === 0) return { replace: large(`new ${i}`, 2000) }
    return i % 3 === 1 ? { replace: `new ${i}` } : 'keep'
  }
  const { path, database, keyspace } = await openFiltered(filterOf(verdict), {
    kvSeparation: SEPARATION,
  })
  const rows: Record<string, string> = {}
  for (let i = 0; i < 60; i++) rows[keyOf(i)] = i % 2 === 0 ? large(`old ${i}`) : `old ${i}`
  await flushed(keyspace, rows)
  const snapshot = database.snapshot()
  await keyspace.majorCompaction()
  const expected: [string, string][] = Object.entries(rows).map(([key, value], i) => {
    if (i % 3 === 2) return [key, value]
    return [key, i % 3 === 0 ? large(`new ${i}`, 2000) : `new ${i}`]
  })
  const check = (of: Keyspace): void => {
    expect(
      of
        .iter()
        .toArraySync()
        .map((row) => row.map(String)),
    ).toEqual(expected)
  }
  check(keyspace)
  expect(
    keyspace
      .iter({ snapshot })
      .toArraySync()
      .map((row) => row.map(String)),
  ).toEqual(Object.entries(rows))
  let used = 0
  for (const [i, [, value]] of expected.entries()) {
    if (value.length >= 64) used += frameOf(i, value.length)
  }
  expect(blobBytes(keyspace).used).toBe(used)
  snapshot.close()
  await database.close()
  const again = await openFiltered(undefined, {}, { path })
  check(again.keyspace)
  // What was replaced is garbage of files that others still use, and is collected.
  await again.keyspace.majorCompaction()
  await again.keyspace.majorCompaction()
  check(again.keyspace)
  expect(blobBytes(again.keyspace)).toEqual({ used, stale: 0 })
})

test('files are relocated in the same compaction', async () => {
  let removesOdd = false
  const verdict = ({ key }: CompactionEntry): FilterVerdict => {
    return removesOdd && Number(String(key).slice(4)) % 2 === 1 ? 'remove' : 'keep'
  }
  const { path, database, keyspace } = await openFiltered(filterOf(verdict), {
    kvSeparation: { ...SEPARATION, stalenessThreshold: 1 },
  })
  const rows = Object.fromEntries(
    Array.from({ length: 60 }, (_, i) => [keyOf(i), large(`first ${i}`)]),
  )
  await flushed(keyspace, rows)
  const again = Object.fromEntries(
    Array.from({ length: 20 }, (_, i) => [keyOf(3 * i), large(`second ${i}`)]),
  )
  await flushed(keyspace, again)
  await keyspace.majorCompaction()
  const garbage = blobBytes(keyspace).stale
  expect(garbage).toBe(20 * frameOf(0, 1000))
  removesOdd = true
  const snapshot = database.snapshot()
  await keyspace.majorCompaction()
  const all = Object.entries({ ...rows, ...again })
  const even = all.filter(([key]) => Number(key.slice(4)) % 2 === 0)
  expect(
    keyspace
      .iter()
      .toArraySync()
      .map((row) => row.map(String)),
  ).toEqual(even)
  expect(
    keyspace
      .iter({ snapshot })
      .toArraySync()
      .map((row) => row.map(String)),
  ).toEqual(all)
  // All that had garbage when it began was moved; of the others the removed half is left.
  expect(blobBytes(keyspace).used).toBe(30 * frameOf(0, 1000))
  snapshot.close()
  await keyspace.majorCompaction()
  expect(blobBytes(keyspace)).toEqual({ used: 30 * frameOf(0, 1000), stale: 0 })
  expect(
    keyspace
      .iter()
      .toArraySync()
      .map((row) => row.map(String)),
  ).toEqual(even)
  const files = keyspace.blobFileCount()
  await database.close()
  expect(readdirSync(path).filter((name) => name.endsWith('.blob'))).toHaveLength(files)
})

test('files end in the midst of a rewrite, and in the midst of a batch', async () => {
  const verdict = ({ key, value }: CompactionEntry): FilterVerdict => {
    const i = Number(String(key).slice(4))
    if (i % 5 === 0) return 'remove'
    // About three frames fill a file.
    return i % 2 === 0
      ? { replace: large(`new ${i}`, 1300 + i) }
      : spoken({ key, value, isLastLevel: true })
  }
  const { path, database, keyspace } = await openFiltered(filterOf(verdict), {
    kvSeparation: SEPARATION,
    dataBlockSize: 256,
  })
  const expected: [string, string][] = []
  for (let i = 0; i < 400; i++) {
    const value = large(`old ${i}`, 700 + i)
    keyspace.insertSync(keyOf(i), value)
    if (i % 5 === 0) continue
    expected.push([keyOf(i), i % 2 === 0 ? large(`new ${i}`, 1300 + i) : value])
  }
  await keyspace.rotateMemtableAndWait()
  const before = new Set(keyspace.version().blobFiles.map(({ id }) => id))
  await keyspace.majorCompaction({ targetSize: 4096 })
  const check = (of: Keyspace): void => {
    expect(
      of
        .iter()
        .toArraySync()
        .map((row) => row.map(String)),
    ).toEqual(expected)
    for (const [key, value] of expected) expect(of.getTextSync(key)).toBe(value)
  }
  check(keyspace)
  const fresh = keyspace.version().blobFiles.filter(({ id }) => !before.has(id))
  expect(fresh.length).toBeGreaterThan(20)
  expect(keyspace.tableCount()).toBeGreaterThan(2)
  const { used } = blobBytes(keyspace)
  expect(used).toBe(expected.reduce((sum, [, value]) => sum + frameOf(0, value.length), 0))
  await database.close()
  const again = await openFiltered(undefined, {}, { path })
  check(again.keyspace)
  expect(blobBytes(again.keyspace).used).toBe(used)
})

test('a removed pointer leaves no value to be found at any level', async () => {
  const { keyspace } = await openFiltered(filterOf(spoken), { kvSeparation: SEPARATION })
  await flushed(keyspace, { a: large('old'), b: large('old'), c: large('old') })
  await keyspace.majorCompaction()
  await flushed(keyspace, { a: large('remove'), b: large('destroy'), c: large('removeWeak') })
  await mergeDown(keyspace, 2)
  expect(seen(keyspace)).toBe(`b=${large('old')}`)
  await keyspace.majorCompaction()
  await keyspace.majorCompaction()
  expect(seen(keyspace)).toBe(`b=${large('old')}`)
  expect(blobBytes(keyspace)).toEqual({ used: 24 + 1 + 1000, stale: 0 })
})

test('ttlFilter reads the time of a separated value', async () => {
  const stamped = (at: number): Buffer => {
    const bytes = Buffer.alloc(1000, 'v')
    bytes.writeBigUInt64BE(BigInt(at), 16)
    return bytes
  }
  const filter: CompactionFilter = ttlFilter({ in: 'value', offset: 16, ttl: 60_000 })
  const { keyspace } = await openFiltered(filter, { kvSeparation: SEPARATION })
  keyspace.insertSync('fresh', stamped(Date.now()))
  keyspace.insertSync('old', stamped(Date.now() - 120_000))
  keyspace.insertSync('short', 'v'.repeat(23))
  await keyspace.rotateMemtableAndWait()
  await keyspace.majorCompaction()
  expect(Array.from(keyspace.iter().keys(), String)).toEqual(['fresh', 'short'])
})
