// Options: read once, own properties only, refused by name.

import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import {
  FifoCompaction,
  LeveledCompaction,
  SizeTieredCompaction,
  strategySetting,
} from '../../lib/compaction.ts'
import type { StrategySetting, TreeSettings } from '../../lib/engine.ts'
import { ShaleError } from '../../lib/errors.ts'
import { databaseSettings, heldOptions, keyspaceSettings, treeSettings } from '../../lib/options.ts'

function refusal(read: () => unknown): ShaleError {
  try {
    read()
  } catch (error) {
    if (error instanceof ShaleError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

test('defaults are those of the contract', () => {
  expect(databaseSettings(undefined, 8)).toEqual({
    engine: 'auto',
    settings: {
      createIfMissing: true,
      errorIfExists: false,
      readOnly: false,
      durability: 'os',
      syncInterval: 1000,
      cacheSize: 32 * 2 ** 20,
      maxOpenFiles: 900,
      workerThreads: 4,
      maxWriteBufferSize: 256 * 2 ** 20,
      maxStall: 200,
      maxValueSize: 2 ** 30,
      compactionRateLimit: 0,
      maxJournalSize: 512 * 2 ** 20,
      journalCompression: 'lz4',
      recovery: 'tail',
    },
  })
  expect(databaseSettings({}, 1).settings.workerThreads).toBe(1)
})

test('what is left out of keyspace options stays out', () => {
  expect(keyspaceSettings({ dataBlockSize: 512, filter: undefined })).toEqual({
    dataBlockSize: [512],
  })
})

const BAD_NUMBERS = [NaN, Infinity, -1, 1.5, '10', 10n, { valueOf: () => 10 }, null, true]

test.each(['syncInterval', 'cacheSize', 'maxOpenFiles', 'workerThreads', 'maxStall'])(
  'a bad number is refused: %s',
  (name) => {
    for (const value of BAD_NUMBERS) {
      const error = refusal(() => databaseSettings({ [name]: value }, 2))
      expect(error.code).toBe('INVALID_OPTION')
      expect(error.message).toContain(name)
    }
  },
)

test('words are exact and never inherited', () => {
  for (const value of ['OS', 'none', 'toString', '', 1]) {
    expect(refusal(() => databaseSettings({ durability: value }, 2)).code).toBe('INVALID_OPTION')
  }
  const polluted = Object.create(
    Object.assign(Object.create(null) as object, { durability: 'nonsense', cacheSize: -1 }),
  ) as object
  expect(databaseSettings(polluted, 2)).toEqual(databaseSettings(undefined, 2))
})

test('an unknown option is named with the nearest known one', () => {
  expect(refusal(() => databaseSettings({ cachesize: 1 }, 2)).message).toContain('cacheSize')
  expect(refusal(() => keyspaceSettings({ blockSize: 1 })).message).toContain('dataBlockSize')
})

test('options that are no plain object, or that throw when read', () => {
  for (const value of [null, [], 7, 'x', true, new Map(), new Date(), /x/]) {
    expect(refusal(() => databaseSettings(value, 2)).code).toBe('INVALID_ARGUMENT')
  }
  const { cacheSize } = databaseSettings(
    Object.assign(Object.create(null), { cacheSize: 7 }),
    2,
  ).settings
  expect(cacheSize).toBe(7)
  expect(databaseSettings(runInNewContext('({ cacheSize: 8 })'), 2).settings.cacheSize).toBe(8)
  const cause = new Error('from the getter')
  const getter = {
    get durability(): never {
      throw cause
    },
  }
  expect(refusal(() => databaseSettings(getter, 2))).toMatchObject({
    code: 'INVALID_ARGUMENT',
    cause,
  })
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  expect(refusal(() => databaseSettings(proxy, 2))).toMatchObject({
    code: 'INVALID_ARGUMENT',
    cause: expect.any(TypeError),
  })
})

test('a getter is read once', () => {
  let reads = 0
  const options = {
    get cacheSize(): number {
      return ++reads
    },
  }
  expect(databaseSettings(options, 2).settings.cacheSize).toBe(1)
})

test('per-level lists', () => {
  expect(keyspaceSettings({ compression: ['none', 'zstd'] })).toEqual({
    compression: ['none', 'zstd'],
  })
  for (const value of [[], ['none', 'gzip'], Array(2), [['none']], Array(9).fill('lz4')]) {
    expect(refusal(() => keyspaceSettings({ compression: value })).code).toBe('INVALID_OPTION')
  }
})

test('filter policies', () => {
  const given = [{ bitsPerKey: 7.5 }, 'none', { falsePositiveRate: 0.01 }]
  expect(keyspaceSettings({ filter: given })).toEqual({ filter: given })
  for (const value of ['some', {}, { bitsPerKey: 0 }, { bitsPerKey: 1, falsePositiveRate: 0.1 }]) {
    expect(refusal(() => keyspaceSettings({ filter: value })).code).toBe('INVALID_OPTION')
  }
})

test('kv separation is off unless given, and has defaults', () => {
  expect(keyspaceSettings({ kvSeparation: undefined })).toEqual({})
  const defaults = {
    threshold: 1024,
    fileSize: 64 * 2 ** 20,
    compression: 'lz4',
    stalenessThreshold: 0.25,
    ageCutoff: 0.25,
  }
  expect(treeSettings({ kvSeparation: {} }).settings.tree.kvSeparation).toEqual(defaults)
  const given = { threshold: 1, fileSize: 4096, compression: 'none', stalenessThreshold: 1 }
  expect(keyspaceSettings({ kvSeparation: { ...given, ageCutoff: 0 } }).kvSeparation).toEqual({
    ...given,
    ageCutoff: 0,
  })
})

test.each([
  null,
  true,
  'lz4',
  1024,
  [],
  { threshold: 0 },
  { threshold: 2 ** 30 + 1 },
  { fileSize: 4095 },
  { fileSize: 2 ** 40 + 1 },
  { compression: 'gzip' },
  { stalenessThreshold: 0 },
  { stalenessThreshold: 1.01 },
  { ageCutoff: -0.1 },
  { ageCutoff: NaN },
  { treshold: 1 },
])('kv separation that is none: %j', (kvSeparation) => {
  expect(refusal(() => keyspaceSettings({ kvSeparation })).code).toBe('INVALID_OPTION')
})

test('a strategy is one of ours, with its numbers', () => {
  const compaction = new LeveledCompaction({ l0Threshold: 2, levelRatio: 4 })
  expect(treeSettings({ compaction }).settings.tree.compaction).toEqual({
    type: 'leveled',
    name: 'leveled',
    l0Threshold: 2,
    targetSize: 64 * 2 ** 20,
    levelRatio: [4],
    tombstoneShare: 0.5,
  })
  expect(refusal(() => treeSettings({ compaction: { name: 'leveled' } })).code).toBe(
    'INVALID_OPTION',
  )
  for (const make of [
    () => new LeveledCompaction({ l0Threshold: 0 }),
    () => new SizeTieredCompaction({ minRuns: 1 }),
    () => new SizeTieredCompaction({ ratio: 1 }),
    () => new SizeTieredCompaction({ baseSize: 100 }),
    () => new LeveledCompaction({ tombstoneShare: 0 }),
    () => new LeveledCompaction({ tombstoneShare: 1.001 }),
    () => new LeveledCompaction({ tombstoneShare: NaN }),
    () => new SizeTieredCompaction({ tombstoneShare: '0.5' as unknown as number }),
    () => new LeveledCompaction({ maxAgeSeconds: 0 }),
    () => new SizeTieredCompaction({ maxAgeSeconds: -1 }),
    () => new SizeTieredCompaction({ maxAgeSeconds: Infinity }),
    () => new FifoCompaction({ limit: 1, tombstoneShare: 0.5 } as { limit: number }),
    () => new FifoCompaction({ limit: 0 }),
    () => new FifoCompaction({} as { limit: number }),
    () => new FifoCompaction(undefined as unknown as { limit: number }),
    () => new FifoCompaction({ limit: 1, ttlSeconds: 0 }),
  ]) {
    expect(refusal(make).code).toBe('INVALID_OPTION')
  }
})

test('the defaults of the other strategies', () => {
  expect(strategySetting(new SizeTieredCompaction())).toEqual({
    type: 'size-tiered',
    name: 'size-tiered',
    baseSize: 64 * 2 ** 20,
    ratio: 4,
    minRuns: 4,
    tombstoneShare: 0.5,
  })
  const given = { tombstoneShare: 1, maxAgeSeconds: 0.001 }
  expect(strategySetting(new LeveledCompaction(given))).toMatchObject(given)
  expect(strategySetting(new SizeTieredCompaction(given))).toMatchObject(given)
  const fifo = new FifoCompaction({ limit: 100 })
  expect(strategySetting(fifo)).toMatchObject({ limit: 100, ttlSeconds: undefined })
  expect([fifo.name, new SizeTieredCompaction().name]).toEqual(['fifo', 'size-tiered'])
})

test('a stored strategy is shown with the numbers it has', () => {
  const stored = [
    [
      LeveledCompaction,
      { type: 'leveled', l0Threshold: 5000, targetSize: 1, levelRatio: [1], tombstoneShare: 1e-9 },
    ],
    [
      SizeTieredCompaction,
      { type: 'size-tiered', baseSize: 1, ratio: 1.01, minRuns: 1000, maxAgeSeconds: 1e-9 },
    ],
    [FifoCompaction, { type: 'fifo', limit: 2, ttlSeconds: 0 }],
  ] as const
  for (const [Class, numbers] of stored) {
    const setting = { ...numbers, name: numbers.type } as StrategySetting
    const { compaction } = heldOptions({ compaction: setting } as unknown as TreeSettings, 'os')
    expect(compaction).toBeInstanceOf(Class)
    expect(treeSettings({ compaction }).settings.tree.compaction).toEqual(setting)
  }
})

test('of a strategy of the application only the name is stored', () => {
  const setting: StrategySetting = { type: 'user', name: 'mine' }
  const { compaction } = heldOptions({ compaction: setting } as unknown as TreeSettings, 'os')
  expect(compaction.name).toBe('mine')
  expect(compaction.choose(undefined as never, undefined as never)).toBeUndefined()
})

test('what holds of kv separation cannot be changed through the view of it', () => {
  const kvSeparation = keyspaceSettings({ kvSeparation: {} }).kvSeparation!
  const compaction: StrategySetting = { type: 'user', name: 'mine' }
  const held = heldOptions({ compaction, kvSeparation } as unknown as TreeSettings, 'os')
  expect(held.kvSeparation).toEqual(kvSeparation)
  expect(Object.isFrozen(held.kvSeparation)).toBe(true)
  expect(heldOptions({ compaction } as unknown as TreeSettings, 'os').kvSeparation).toBeUndefined()
})
