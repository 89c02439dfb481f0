/**
 * Options of a tree as they are stored, in the manifest and in `create keyspace` records;
 * docs/format.md, section 7.
 *
 * Fields that this version does not know, or does not use, are kept and written back.
 */

import type {
  Compression,
  Durability,
  FifoSetting,
  FilterSetting,
  KvSeparationSetting,
  LeveledSetting,
  SizeTieredSetting,
  StrategySetting,
  TreeSettings,
  TreeSettingsGiven,
} from '../../engine.ts'
import { ShaleError } from '../../errors.ts'
import { Decoder, Encoder, TaggedFields } from '../base/coding.ts'
import { BLOCK_STORED_BYTES_MAX, LEVEL_LIST_MAX } from '../base/limits.ts'
import { corruption } from '../base/status.ts'

export const DEFAULT_SETTINGS: TreeSettings = {
  maxMemtableSize: 2 ** 26,
  memtable: 'auto',
  dataBlockSize: [4096],
  restartInterval: [10, 16],
  hashIndexRatio: [0],
  compression: ['none', 'none', 'lz4'],
  indexCompression: ['none'],
  filter: [{ falsePositiveRate: 0.0001 }, { bitsPerKey: 10 }],
  pinIndex: [true, true, false],
  pinFilter: [true, false],
  partitionIndex: [false, false, false, true],
  partitionFilter: [false, false, false, true],
  expectPointReadHits: false,
  compaction: {
    type: 'leveled',
    name: 'leveled',
    l0Threshold: 4,
    targetSize: 2 ** 26,
    levelRatio: [10],
    tombstoneShare: 0.5,
    maxAgeSeconds: undefined,
  },
  kvSeparation: undefined,
  durability: undefined,
}

const DEFAULT_KV_SEPARATION: KvSeparationSetting = {
  threshold: 1024,
  fileSize: 2 ** 26,
  compression: 'lz4',
  stalenessThreshold: 0.25,
  ageCutoff: 0.25,
}

export interface StoredOptions {
  readonly settings: TreeSettings
  /** Number of the kind of the strategy, of which this version may know only the name. */
  readonly strategy: number
  /** Fields to be written back as they are, of the options and inside nested ones. */
  readonly kept: readonly KeptField[]
  readonly keptOfCompaction: readonly KeptField[]
  readonly keptOfKvSeparation: readonly KeptField[]
}

interface KeptField {
  readonly id: number
  readonly content: Uint8Array
}

/** Of a tree that is created with these. */
export function newOptions(given: TreeSettingsGiven): StoredOptions {
  const settings = { ...DEFAULT_SETTINGS, ...given }
  const strategy = STRATEGY_TYPES.indexOf(settings.compaction.type)
  return { settings, strategy, kept: [], keptOfCompaction: [], keptOfKvSeparation: [] }
}

/** With what is given in place of what was stored. INVALID_OPTION if that cannot be changed. */
export function changedOptions(stored: StoredOptions, given: TreeSettingsGiven): StoredOptions {
  if (given.kvSeparation !== undefined && stored.settings.kvSeparation === undefined) {
    const message = 'option kvSeparation cannot be switched on: it was off at the creation'
    throw new ShaleError('INVALID_OPTION', message)
  }
  const settings = { ...stored.settings, ...given }
  if (given.compaction === undefined) return { ...stored, settings }
  // What was kept may be numbers of the strategy that is replaced.
  const strategy = STRATEGY_TYPES.indexOf(given.compaction.type)
  return { ...stored, settings, strategy, keptOfCompaction: [] }
}

// --- values --------------------------------------------------------------------------------------

/** How one value is written and read. */
interface Coder<T> {
  readonly write: (out: Encoder, value: T) => unknown
  readonly read: (from: Decoder) => T
}

function check(holds: boolean, what: string): void {
  if (!holds) throw corruption(`an option is out of range: ${what}`)
}

function integer(what: string, min: number, max: number = Number.MAX_SAFE_INTEGER): Coder<number> {
  return {
    write: (out, value) => out.varint(value),
    read: (from) => {
      const value = from.varint()
      check(value >= min && value <= max, what)
      return value
    },
  }
}

function real(what: string, min: number, max: number): Coder<number> {
  return {
    write: (out, value) => out.f64(value),
    read: (from) => {
      const value = from.f64()
      check(value >= min && value <= max, what)
      return value
    },
  }
}

function positive(what: string, max: number): Coder<number> {
  return real(what, Number.MIN_VALUE, max)
}

const flag: Coder<boolean> = {
  write: (out, value) => out.u8(Number(value)),
  read: (from) => {
    const value = from.u8()
    check(value <= 1, 'a flag')
    return value === 1
  },
}

/** A name for each number from 0 on. */
function named<T extends string>(what: string, names: readonly T[]): Coder<T> {
  return {
    write: (out, value) => out.u8(names.indexOf(value)),
    read: (from) => {
      const name = names[from.u8()]
      if (name === undefined) throw corruption(`an option is unknown: ${what}`)
      return name
    },
  }
}

/** One element for each level; the last holds for all deeper ones. */
function perLevel<T>(item: Coder<T>): Coder<readonly T[]> {
  return {
    write: (out, values) => {
      for (const value of values.slice(0, LEVEL_LIST_MAX)) item.write(out, value)
    },
    read: (from) => {
      const values: T[] = []
      while (!from.done) values.push(item.read(from))
      check(values.length > 0 && values.length <= LEVEL_LIST_MAX, 'the length of a list')
      return values
    },
  }
}

const FILTER_NONE = 0
const FILTER_BITS_PER_KEY = 1
const FILTER_FALSE_POSITIVE_RATE = 2

const filter: Coder<FilterSetting> = {
  write: (out, policy) => {
    if (policy === 'none') return out.u8(FILTER_NONE).f64(0)
    return 'bitsPerKey' in policy
      ? out.u8(FILTER_BITS_PER_KEY).f64(policy.bitsPerKey)
      : out.u8(FILTER_FALSE_POSITIVE_RATE).f64(policy.falsePositiveRate)
  },
  read: (from) => {
    const policy = from.u8()
    const value = from.f64()
    if (policy === FILTER_NONE) {
      check(value === 0, 'a filter')
      return 'none'
    }
    if (policy === FILTER_BITS_PER_KEY) {
      check(value >= 0 && value <= 100, 'bits per key')
      return { bitsPerKey: value }
    }
    check(policy === FILTER_FALSE_POSITIVE_RATE && value > 0 && value < 1, 'false positive rate')
    return { falsePositiveRate: value }
  },
}

const MEMTABLES: readonly (readonly [number, TreeSettings['memtable']])[] = [
  [255, 'auto'],
  [0, 'radix'],
  [1, 'skiplist'],
  // Another engine's: this one chooses.
  [2, 'auto'],
]

const memtable: Coder<TreeSettings['memtable']> = {
  write: (out, value) => out.u8(MEMTABLES.find(([, name]) => name === value)![0]),
  read: (from) => {
    const value = from.u8()
    const known = MEMTABLES.find(([number]) => number === value)
    if (known === undefined) throw corruption('an option is unknown: memtable')
    return known[1]
  },
}

const codec = named<Compression>('compression', ['none', 'lz4', 'zstd'])

// --- fields --------------------------------------------------------------------------------------

type Field<S> = { [K in keyof S]: readonly [id: number, name: K, coder: Coder<S[K]>] }[keyof S]

/** Of a strategy, those that are there. */
type Numbers<S extends StrategySetting> = {
  readonly [K in Exclude<keyof S, 'type' | 'name'>]: NonNullable<S[K]>
}

const COMPACTION = 14

/** All but the nested ones, by ascending id. */
const FIELDS: readonly Field<Omit<TreeSettings, 'compaction' | 'durability'>>[] = [
  [1, 'maxMemtableSize', integer('max memtable size', 1)],
  [2, 'memtable', memtable],
  [3, 'dataBlockSize', perLevel(integer('data block size', 1, BLOCK_STORED_BYTES_MAX))],
  [4, 'restartInterval', perLevel(integer('restart interval', 1, 255))],
  [5, 'hashIndexRatio', perLevel(real('hash index ratio', 0, 8))],
  [6, 'compression', perLevel(codec)],
  [7, 'indexCompression', perLevel(codec)],
  [8, 'filter', perLevel(filter)],
  [9, 'pinIndex', perLevel(flag)],
  [10, 'pinFilter', perLevel(flag)],
  [11, 'partitionIndex', perLevel(flag)],
  [12, 'partitionFilter', perLevel(flag)],
  [13, 'expectPointReadHits', flag],
]

const KV_SEPARATION = 15
/** Inside `kv separation`. */
const KV_SEPARATION_FIELDS = codersOf<KvSeparationSetting>([
  [1, 'threshold', integer('kv separation threshold', 1)],
  [2, 'fileSize', integer('blob file size', 1)],
  [3, 'compression', codec],
  [4, 'stalenessThreshold', real('staleness threshold', 0, 1)],
  [5, 'ageCutoff', real('age cutoff', 0, 1)],
])

const DURABILITY = 16
const durability = named<Durability>('durability', ['buffered', 'os', 'sync'])

/** Inside `compaction`. */
const STRATEGY_KIND = 1
/** Below it tiers would not grow. */
const RATIO_MIN = 1.01
const STRATEGY_NAME = 2
/** By their numbers. */
const STRATEGY_TYPES: readonly StrategySetting['type'][] = [
  'leveled',
  'size-tiered',
  'fifo',
  'user',
]
const TOMBSTONE_SHARE = [11, 'tombstoneShare', positive('tombstone share', 1)] as const
const MAX_AGE = [12, 'maxAgeSeconds', positive('max age', Number.MAX_VALUE)] as const
const STRATEGY_FIELDS = {
  leveled: codersOf<Numbers<LeveledSetting>>([
    [3, 'l0Threshold', integer('l0 threshold', 1)],
    [4, 'targetSize', integer('target size', 1)],
    [5, 'levelRatio', perLevel(real('level ratio', 1, Number.MAX_VALUE))],
    TOMBSTONE_SHARE,
    MAX_AGE,
  ]),
  'size-tiered': codersOf<Numbers<SizeTieredSetting>>([
    [6, 'baseSize', integer('base size', 1)],
    [7, 'ratio', real('ratio', RATIO_MIN, Number.MAX_VALUE)],
    [8, 'minRuns', integer('min runs', 2)],
    TOMBSTONE_SHARE,
    MAX_AGE,
  ]),
  fifo: codersOf<Numbers<FifoSetting>>([
    [9, 'limit', integer('limit', 1)],
    [10, 'ttlSeconds', real('ttl', 0, Number.MAX_VALUE)],
  ]),
  user: codersOf<object>([]),
}
/** What need not be there. */
const STRATEGY_DEFAULTS = {
  leveled: DEFAULT_SETTINGS.compaction,
  'size-tiered': { tombstoneShare: 0.5, maxAgeSeconds: undefined },
  fifo: { ttlSeconds: undefined },
  user: {},
}

type Coders = ReadonlyMap<number, readonly [name: string, coder: Coder<unknown>]>

function codersOf<S>(fields: readonly Field<S>[]): Coders {
  return new Map(fields.map(([id, name, coder]) => [id, [name as string, coder as Coder<unknown>]]))
}

const CODERS = codersOf(FIELDS)

function contentOf({ bytes, at, end }: Decoder): Uint8Array {
  return bytes.slice(at, end)
}

/** CORRUPTION if they break a rule. */
export function decodeOptions(bytes: Uint8Array): StoredOptions {
  const settings: Record<string, unknown> = {}
  const kept: KeptField[] = []
  let compaction = {
    strategy: 0,
    setting: DEFAULT_SETTINGS.compaction,
    kept: [] as KeptField[],
  }
  let kvSeparation: ReturnType<typeof decodeKvSeparation> | undefined
  const fields = new TaggedFields(bytes)
  while (fields.next()) {
    const { id, content } = fields
    const known = CODERS.get(id)
    if (known !== undefined) {
      settings[known[0]] = known[1].read(content)
      content.finish()
    } else if (id === COMPACTION) {
      compaction = decodeCompaction(content)
    } else if (id === KV_SEPARATION) {
      kvSeparation = decodeKvSeparation(content)
    } else if (id === DURABILITY) {
      settings['durability'] = durability.read(content)
      content.finish()
    } else {
      kept.push({ id, content: contentOf(content) })
    }
  }
  return {
    settings: {
      ...DEFAULT_SETTINGS,
      ...settings,
      compaction: compaction.setting,
      kvSeparation: kvSeparation?.setting,
    },
    strategy: compaction.strategy,
    kept,
    keptOfCompaction: compaction.kept,
    keptOfKvSeparation: kvSeparation?.kept ?? [],
  }
}

function decodeCompaction({ bytes, at, end }: Decoder) {
  const contents = new Map<number, Uint8Array>()
  const fields = new TaggedFields(bytes, at, end)
  while (fields.next()) contents.set(fields.id, contentOf(fields.content))
  const take = (id: number): Decoder | undefined => {
    const content = contents.get(id)
    contents.delete(id)
    return content && new Decoder(content)
  }
  const kind = take(STRATEGY_KIND)
  if (kind === undefined) throw corruption('an option is missing: the kind of a strategy')
  const strategy = kind.u8()
  kind.finish()
  const type = STRATEGY_TYPES[strategy] ?? 'user'
  const name = take(STRATEGY_NAME)
  const setting: Record<string, unknown> = {
    ...STRATEGY_DEFAULTS[type],
    type,
    name: name === undefined ? type : Buffer.from(contentOf(name)).toString(),
  }
  for (const [id, [member, coder]] of STRATEGY_FIELDS[type]) {
    const content = take(id)
    if (content !== undefined) {
      setting[member] = coder.read(content)
      content.finish()
    } else if (!(member in setting)) {
      throw corruption(`an option is missing: ${member} of the strategy`)
    }
  }
  const kept = [...contents].map(([id, content]) => ({ id, content }))
  return { strategy, setting: setting as unknown as StrategySetting, kept }
}

function decodeKvSeparation({ bytes, at, end }: Decoder) {
  const setting: Record<string, unknown> = { ...DEFAULT_KV_SEPARATION }
  const kept: KeptField[] = []
  const fields = new TaggedFields(bytes, at, end)
  while (fields.next()) {
    const { id, content } = fields
    const known = KV_SEPARATION_FIELDS.get(id)
    if (known === undefined) {
      kept.push({ id, content: contentOf(content) })
    } else {
      setting[known[0]] = known[1].read(content)
      content.finish()
    }
  }
  return { setting: setting as unknown as KvSeparationSetting, kept }
}

/** Every option with its value. */
export function encodeOptions({
  settings,
  strategy,
  kept,
  keptOfCompaction,
  keptOfKvSeparation,
}: StoredOptions): Uint8Array {
  const compaction = [
    { id: STRATEGY_KIND, content: Uint8Array.of(strategy) },
    { id: STRATEGY_NAME, content: Buffer.from(settings.compaction.name) },
    ...encodeFields(STRATEGY_FIELDS[settings.compaction.type], settings.compaction),
    ...keptOfCompaction,
  ]
  const fields = [
    ...encodeFields(CODERS, settings),
    { id: COMPACTION, content: join(compaction) },
    ...kept,
  ]
  const { kvSeparation } = settings
  if (kvSeparation !== undefined) {
    const numbers = encodeFields(KV_SEPARATION_FIELDS, kvSeparation)
    fields.push({ id: KV_SEPARATION, content: join([...numbers, ...keptOfKvSeparation]) })
  }
  if (settings.durability !== undefined) {
    const out = new Encoder()
    durability.write(out, settings.durability)
    fields.push({ id: DURABILITY, content: out.view() })
  }
  return join(fields)
}

/** What is undefined is left out. */
function encodeFields(coders: Coders, from: object): KeptField[] {
  const values = from as Record<string, unknown>
  return [...coders]
    .filter(([, [name]]) => values[name] !== undefined)
    .map(([id, [name, coder]]) => {
      const out = new Encoder()
      coder.write(out, values[name])
      return { id, content: out.view() }
    })
}

function join(fields: readonly KeptField[]): Uint8Array {
  const out = new Encoder()
  for (const { id, content } of fields.toSorted((a, b) => a.id - b.id)) out.field(id, content)
  return out.view()
}
