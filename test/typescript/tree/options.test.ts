// Stored options: the bytes of docs/format.md, defaults, what is kept, and what is damage.

import { describe, expect, test } from 'vitest'
import type { StrategySetting, TreeSettings } from '../../../lib/engine.ts'
import { Encoder } from '../../../lib/typescript/base/coding.ts'
import {
  changedOptions,
  DEFAULT_SETTINGS,
  decodeOptions,
  encodeOptions,
  newOptions,
} from '../../../lib/typescript/tree/options.ts'
import { exampleBytes, readFormatDocument } from '../../format/format-document.ts'
import { failure } from '../../support/scratch.ts'

const { examples } = readFormatDocument()
const example = exampleBytes(examples.get('options') ?? [])

test('the defaults are the example of the document, byte for byte', () => {
  expect(Buffer.from(encodeOptions(newOptions({})))).toEqual(example)
  expect(decodeOptions(example)).toEqual(newOptions({}))
  expect(decodeOptions(new Uint8Array(0))).toEqual(newOptions({}))
})

test('every option comes back', () => {
  const settings: TreeSettings = {
    maxMemtableSize: 12_345,
    memtable: 'skiplist',
    dataBlockSize: [1, 33_554_432],
    restartInterval: [255, 1, 2],
    hashIndexRatio: [0.75, 8],
    compression: ['zstd', 'lz4', 'none'],
    indexCompression: ['lz4'],
    filter: ['none', { bitsPerKey: 100 }, { falsePositiveRate: 0.5 }],
    pinIndex: [false],
    pinFilter: [true, true],
    partitionIndex: [true],
    partitionFilter: [true, false],
    expectPointReadHits: true,
    compaction: {
      type: 'leveled',
      name: 'leveled',
      l0Threshold: 7,
      targetSize: 2 ** 33,
      levelRatio: [4, 8.5],
      tombstoneShare: 0.125,
      maxAgeSeconds: 86_400,
    },
    kvSeparation: {
      threshold: 1,
      fileSize: 2 ** 40,
      compression: 'zstd',
      stalenessThreshold: 1,
      ageCutoff: 0,
    },
    durability: 'sync',
  }
  expect(decodeOptions(encodeOptions(newOptions(settings))).settings).toEqual(settings)
  expect(decodeOptions(encodeOptions(newOptions({ memtable: 'radix' }))).settings).toEqual({
    ...DEFAULT_SETTINGS,
    memtable: 'radix',
  })
})

test('every strategy comes back', () => {
  const tiers = { type: 'size-tiered', name: 'size-tiered' } as const
  const numbers = { baseSize: 12_345, ratio: 2.5, minRuns: 7, tombstoneShare: 1 }
  const strategies: readonly StrategySetting[] = [
    { ...tiers, ...numbers, maxAgeSeconds: 0.25 },
    { ...tiers, ...numbers, maxAgeSeconds: undefined },
    { type: 'fifo', name: 'fifo', limit: 2 ** 40, ttlSeconds: 0.5 },
    { type: 'fifo', name: 'fifo', limit: 1, ttlSeconds: undefined },
    { type: 'user', name: 'mine' },
  ]
  for (const compaction of strategies) {
    const stored = newOptions({ compaction })
    expect(decodeOptions(encodeOptions(stored))).toEqual(stored)
  }
})

test('a strategy that was stored before there was an upkeep gets the numbers of a new one', () => {
  const leveled = new Encoder().field(1, Uint8Array.of(0)).view()
  const tiers = new Encoder()
    .field(1, Uint8Array.of(1))
    .field(6, Uint8Array.of(100))
    .field(7, new Encoder().f64(2).view())
    .field(8, Uint8Array.of(3))
    .view()
  for (const compaction of [leveled, tiers]) {
    const stored = decodeOptions(new Encoder().field(14, compaction).view())
    expect(stored.settings.compaction).toMatchObject({
      tombstoneShare: 0.5,
      maxAgeSeconds: undefined,
    })
    expect(decodeOptions(encodeOptions(stored))).toEqual(stored)
  }
})

test('kv separation changes its numbers, and is not switched on', async () => {
  const kvSeparation = {
    threshold: 10,
    fileSize: 4096,
    compression: 'none',
    stalenessThreshold: 0.5,
    ageCutoff: 1,
  } as const
  const stored = decodeOptions(encodeOptions(newOptions({ kvSeparation })))
  expect(stored.settings.kvSeparation).toEqual(kvSeparation)
  const other = { ...kvSeparation, threshold: 20 }
  expect(changedOptions(stored, { kvSeparation: other }).settings.kvSeparation).toEqual(other)
  expect(changedOptions(stored, {}).settings.kvSeparation).toEqual(kvSeparation)
  const error = await failure(() => changedOptions(newOptions({}), { kvSeparation }))
  expect(error.code).toBe('INVALID_OPTION')
})

test('lists are stored up to the longest that the format has', () => {
  const stored = newOptions({ restartInterval: Array.from({ length: 20 }, (_, i) => i + 1) })
  expect(decodeOptions(encodeOptions(stored)).settings.restartInterval).toEqual([
    1, 2, 3, 4, 5, 6, 7, 8,
  ])
})

describe('what this version does not know', () => {
  test('is kept and written back', () => {
    const separation = new Encoder().field(1, Uint8Array.of(100)).field(6, Uint8Array.of(8)).view()
    const bytes = new Encoder()
      .field(14, new Encoder().field(1, Uint8Array.of(0)).field(99, Uint8Array.of(5)).view())
      .field(15, separation)
      .field(16, Uint8Array.of(0))
      .field(77, Uint8Array.of(1, 2))
      .view()
    const stored = decodeOptions(bytes)
    expect(stored.settings.durability).toBe('buffered')
    const again = decodeOptions(encodeOptions(stored))
    expect(again).toEqual(stored)
    expect(again.settings.kvSeparation).toMatchObject({ threshold: 100, compression: 'lz4' })
    expect(again.kept.map(({ id }) => id)).toEqual([77])
    expect(again.keptOfKvSeparation).toEqual([{ id: 6, content: Uint8Array.of(8) }])
    expect(again.keptOfCompaction).toEqual([{ id: 99, content: Uint8Array.of(5) }])
  })

  test('strategies of other kinds keep their fields and their name', () => {
    const later = new Encoder().field(1, Uint8Array.of(4)).field(9, Uint8Array.of(100)).view()
    const stored = decodeOptions(new Encoder().field(14, later).view())
    expect([stored.strategy, stored.settings.compaction]).toEqual([
      4,
      { type: 'user', name: 'user' },
    ])
    expect(stored.keptOfCompaction).toEqual([{ id: 9, content: Uint8Array.of(100) }])
    expect(decodeOptions(encodeOptions(stored))).toEqual(stored)
    // Another strategy does not inherit them.
    const { compaction } = DEFAULT_SETTINGS
    const changed = changedOptions(stored, { compaction })
    expect(changed).toMatchObject({ strategy: 0, keptOfCompaction: [] })
    const own = new Encoder().field(1, Uint8Array.of(3)).field(2, Buffer.from('mine')).view()
    const user = decodeOptions(new Encoder().field(14, own).view())
    expect([user.strategy, user.settings.compaction.name]).toEqual([3, 'mine'])
  })

  test('a memtable of another engine is left to this one', () => {
    const stored = decodeOptions(new Encoder().field(2, Uint8Array.of(2)).view())
    expect(stored.settings.memtable).toBe('auto')
  })
})

test('what breaks a rule is damage', async () => {
  const f64 = (value: number): number[] => [...new Encoder().f64(value).view()]
  const bad: readonly (readonly [number, readonly number[]])[] = [
    [1, [0]],
    [1, [1, 0]],
    [2, [3]],
    [3, []],
    [3, [0]],
    [3, [0x81, 0x80, 0x80, 0x10]],
    [3, [1, 1, 1, 1, 1, 1, 1, 1, 1]],
    [4, [0]],
    [4, [0x80, 0x02]],
    [5, f64(8.5)],
    [5, f64(-1)],
    [5, f64(0).slice(1)],
    [6, [3]],
    [8, [0, ...f64(1)]],
    [8, [1, ...f64(101)]],
    [8, [2, ...f64(0)]],
    [8, [2, ...f64(1)]],
    [8, [3, ...f64(0)]],
    [9, [2]],
    [13, [0, 0]],
    [14, []],
    [14, [2, 1, 0]],
    [14, [1, 1, 0, 3, 1, 0]],
    // Size-tiered: base size 0; a number missing; a ratio of 1; one run.
    [14, [1, 1, 1, 6, 1, 0, 7, 8, ...f64(2), 8, 1, 2]],
    [14, [1, 1, 1, 7, 8, ...f64(2), 8, 1, 2]],
    [14, [1, 1, 1, 6, 1, 1, 8, 1, 2]],
    [14, [1, 1, 1, 6, 1, 1, 7, 8, ...f64(2)]],
    [14, [1, 1, 1, 6, 1, 1, 7, 8, ...f64(1), 8, 1, 2]],
    [14, [1, 1, 1, 6, 1, 1, 7, 8, ...f64(NaN), 8, 1, 2]],
    [14, [1, 1, 1, 6, 1, 1, 7, 8, ...f64(2), 8, 1, 1]],
    // Both with an upkeep: a share of nothing, or of more than all; an age of nothing.
    [14, [1, 1, 0, 11, 8, ...f64(0)]],
    [14, [1, 1, 0, 11, 8, ...f64(1.01)]],
    [14, [1, 1, 0, 11, 8, ...f64(NaN)]],
    [14, [1, 1, 0, 12, 8, ...f64(0)]],
    [14, [1, 1, 0, 12, 8, ...f64(Infinity)]],
    [14, [1, 1, 1, 6, 1, 1, 7, 8, ...f64(2), 8, 1, 2, 11, 8, ...f64(-1)]],
    [14, [1, 1, 1, 6, 1, 1, 7, 8, ...f64(2), 8, 1, 2, 12, 1, 0]],
    // FIFO: without limit; limit 0; an age below 0.
    [14, [1, 1, 2]],
    [14, [1, 1, 2, 9, 1, 0]],
    [14, [1, 1, 2, 9, 1, 1, 10, 8, ...f64(-1)]],
    // Kv separation: threshold 0; file size 0; an unknown codec; shares out of range.
    [15, [1, 1, 0]],
    [15, [2, 1, 0]],
    [15, [3, 1, 3]],
    [15, [4, 8, ...f64(1.5)]],
    [15, [5, 8, ...f64(-1)]],
    [15, [5, 8, ...f64(NaN)]],
    [16, [3]],
    [16, []],
  ]
  for (const [id, content] of bad) {
    const bytes = new Encoder().field(id, Uint8Array.from(content)).view()
    // oxlint-disable-next-line no-await-in-loop
    const error = await failure(() => decodeOptions(bytes))
    expect(error.code, `${id}: ${content.join(' ')}`).toBe('CORRUPTION')
  }
})
