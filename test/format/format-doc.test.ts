// docs/format.md is what both engines are written from: its tables must say what the code does, its
// tables must add up, and its examples must be bytes that a reader accepts.

import { describe, expect, test } from 'vitest'
import { keyedCrc, xxh64 } from './checksum.ts'
import { exampleBytes, readFormatDocument } from './format-document.ts'
import { nativeConstant, nativeEnum, nativeString } from './native-constants.ts'

const document = readFormatDocument()

function pascal(name: string): string {
  const words = name.split(/[ _-]/)
  return `k${words.map((word) => word.slice(0, 1).toUpperCase() + word.slice(1)).join('')}`
}

function numbersOf(name: string): Record<string, number> {
  const rows = document.enums.get(name)
  if (rows === undefined) throw new Error(`docs/format.md: no enum ${name}`)
  return Object.fromEntries(rows.map((row) => [pascal(row.name), row.value]))
}

function fieldsOf(name: string): NonNullable<ReturnType<typeof document.tables.get>> {
  const fields = document.tables.get(name)
  if (fields === undefined) throw new Error(`docs/format.md: no table ${name}`)
  return fields
}

function example(name: string): Buffer {
  const lines = document.examples.get(name)
  if (lines === undefined) throw new Error(`docs/format.md: no example ${name}`)
  return exampleBytes(lines)
}

function offsetOf(name: string): number {
  return document.examples.get(name)?.[0]?.offset ?? 0
}

// Document enum -> file and enum of the core, and what the core does not have yet.
const enums: Record<string, readonly [file: string, name: string, absent?: readonly string[]]> = {
  kind: ['base/internal_key.h', 'Kind'],
  codec: ['base/compression.h', 'Codec'],
  'file-kind': ['vfs/file_name.h', 'FileKind'],
  'record-type': ['journal/log_format.h', 'RecordType'],
  tail: ['journal/log_reader.h', 'Tail'],
  'index-kind': ['table/table_format.h', 'IndexKind'],
  'filter-kind': ['table/table_format.h', 'FilterKind'],
  bound: ['base/range_tombstone.h', 'KeyBound'],
  'table-property': ['table/table_format.cc', 'PropertyId'],
  edit: ['tree/manifest_edit.cc', 'EditId'],
  'directory-kind': ['tree/manifest_edit.h', 'DirectoryKind'],
  option: ['tree/options.cc', 'Option'],
  'compaction-field': ['tree/options.cc', 'CompactionField'],
  strategy: ['tree/options.h', 'StrategyKind'],
  memtable: ['memtable/memtable.h', 'MemtableKind', ['kBtree', 'kAuto']],
  durability: ['db/options.h', 'Durability'],
}

// Document enum -> constants of the core, one for each row.
const flags: Record<string, Record<string, readonly [file: string, name: string]>> = {
  'keyspace-record': {
    kCreateKeyspace: ['db/write_batch.h', 'kKeyspaceCreate'],
    kDeleteKeyspace: ['db/write_batch.h', 'kKeyspaceDelete'],
    kClearKeyspace: ['db/write_batch.h', 'kKeyspaceClear'],
    kTablesChanged: ['db/write_batch.h', 'kTablesChanged'],
  },
  'block-flag': { kWideRestarts: ['table/block_shape.h', 'kBlockFlagWideRestarts'] },
  bucket: {
    kConflict: ['table/block_shape.h', 'kBucketConflict'],
    kFree: ['table/block_shape.h', 'kBucketFree'],
  },
  'filter-algorithm': { kBlockedBloom: ['table/filter_block.cc', 'kAlgorithmBlockedBloom'] },
  'lock-engine': { kNative: ['db/directory_lock.cc', 'kEngineNative'] },
  'range-flag': { kUnboundedEnd: ['table/range_block.cc', 'kUnboundedEnd'] },
}

// Enums whose code comes with the feature: nothing to compare with yet.
const later = ['filter-policy', 'kv-separation-field', 'feature']

const constants: Record<string, readonly [file: string, name: string]> = {
  key_bytes_max: ['base/internal_key.h', 'kKeyBytesMax'],
  value_bytes_max: ['base/internal_key.h', 'kValueBytesMax'],
  batch_bytes_max: ['base/internal_key.h', 'kBatchBytesMax'],
  seqno_max: ['base/internal_key.h', 'kSeqnoMax'],
  block_stored_bytes_max: ['table/table_format.h', 'kBlockStoredBytesMax'],
  block_raw_bytes_max: ['table/table_format.h', 'kBlockRawBytesMax'],
  large_block_bytes_max: ['table/table_format.h', 'kLargeBlockBytesMax'],
  level_count: ['tree/options.h', 'kLevelCount'],
  level_list_max: ['tree/options.cc', 'kLevelListMax'],
  file_number_max: ['vfs/file_name.h', 'kFileNumberMax'],
  name_bytes_max: ['base/internal_key.h', 'kNameBytesMax'],
  log_header_bytes: ['base/file_header.h', 'kFileHeaderBytes'],
  log_record_header_bytes: ['journal/log_format.h', 'kLogRecordHeaderBytes'],
  entry_header_bytes: ['db/write_batch.h', 'kEntryHeaderBytes'],
  block_trailer_bytes: ['table/table_format.h', 'kBlockTrailerBytes'],
  block_footer_bytes: ['table/block_shape.h', 'kBlockFooterBytes'],
  filter_line_bytes: ['table/block.h', 'kCacheLineBytes'],
  filter_footer_bytes: ['table/filter_block.h', 'kFilterFooterBytes'],
  table_footer_bytes: ['table/table_format.h', 'kTableFooterBytes'],
  blob_frame_header_bytes: ['base/blob_pointer.h', 'kBlobFrameHeaderBytes'],
  blob_pointer_bytes: ['base/blob_pointer.h', 'kBlobPointerBytes'],
  blob_footer_bytes: ['blob/blob_format.h', 'kBlobFooterBytes'],
  lock_bytes: ['db/directory_lock.cc', 'kRecordBytes'],
  format_major: ['base/file_header.h', 'kFormatMajor'],
  format_minor: ['base/file_header.h', 'kFormatMinor'],
  known_features: ['base/file_header.h', 'kKnownFeatures'],
}
describe('numbers', () => {
  test.each(Object.keys(enums))('enum %s', (name) => {
    const [file, native, absent = []] = enums[name] ?? ['', '']
    const code = Object.fromEntries(nativeEnum(file, native))
    for (const missing of absent) expect(code).not.toHaveProperty(missing)
    const expected = Object.entries(numbersOf(name)).filter(([key]) => !absent.includes(key))
    expect(code).toEqual(Object.fromEntries(expected))
  })

  test.each(Object.keys(flags))('constants of %s', (name) => {
    const written = numbersOf(name)
    for (const [row, [file, constant]] of Object.entries(flags[name] ?? {})) {
      expect([row, nativeConstant(file, constant)]).toEqual([row, written[row]])
    }
  })

  test('every enum of the document is compared', () => {
    const known = [...Object.keys(enums), ...Object.keys(flags), ...later]
    expect([...document.enums.keys()].toSorted()).toEqual(known.toSorted())
  })

  test.each([...document.enums.keys()])('values and names of %s occur once', (name) => {
    const rows = document.enums.get(name) ?? []
    expect(new Set(rows.map((row) => row.value)).size).toBe(rows.length)
    expect(new Set(rows.map((row) => row.name)).size).toBe(rows.length)
  })

  test.each(Object.keys(constants))('constant %s', (name) => {
    const [file, native] = constants[name] ?? ['', '']
    expect(nativeConstant(file, native)).toBe(document.constants.get(name))
  })

  test('every constant of the document is compared', () => {
    expect([...document.constants.keys()].toSorted()).toEqual(Object.keys(constants).toSorted())
  })

  test('tables and logs are of one format', () => {
    const version = (name: string): number | undefined => document.constants.get(name)
    expect(nativeConstant('table/table_format.h', 'kTableFormatMajor')).toBe(
      version('format_major'),
    )
    expect(nativeConstant('table/table_format.h', 'kTableFormatMinor')).toBe(
      version('format_minor'),
    )
    expect(nativeConstant('table/table_format.h', 'kTableFeatureBits')).toBe(
      version('known_features'),
    )
    expect(nativeConstant('table/filter_block.h', 'kFilterProbesMax')).toBe(24)
    expect(nativeConstant('table/filter_block.cc', 'kGoldenRatio')).toBe(0x9e3779b9)
    expect(nativeConstant('table/block_shape.h', 'kRestartIntervalMax')).toBe(255)
    for (const [file, name] of [
      ['db/write_batch.h', 'kJournalCompressionMax'],
      ['base/blob_pointer.h', 'kBlobCompressionMax'],
    ] as const) {
      expect(nativeConstant(file, name)).toBe(document.constants.get('block_raw_bytes_max'))
    }
  })
})

describe('structures', () => {
  test.each([...document.tables.keys()])('fields of %s lie one behind the other', (name) => {
    let end: number | undefined = 0
    for (const field of fieldsOf(name)) {
      expect([field.name, field.offset]).toEqual([field.name, end ?? '+'])
      end = end === undefined || field.size === 'var' ? undefined : end + field.size
    }
    const names = fieldsOf(name).map((field) => field.name)
    expect(new Set(names).size).toBe(names.length)
  })

  test.each([
    ['log-header', 'log_header_bytes'],
    ['log-record', 'log_record_header_bytes'],
    ['batch-entry', 'entry_header_bytes'],
    ['block-trailer', 'block_trailer_bytes'],
    ['block-footer', 'block_footer_bytes'],
    ['filter-footer', 'filter_footer_bytes'],
    ['table-footer', 'table_footer_bytes'],
    ['blob-frame', 'blob_frame_header_bytes'],
    ['blob-pointer', 'blob_pointer_bytes'],
    ['blob-footer', 'blob_footer_bytes'],
    ['lock', 'lock_bytes'],
  ])('the fixed part of %s is %s', (name, constant) => {
    const fixed = fieldsOf(name).filter((field) => field.size !== 'var')
    const size = fixed.reduce((sum, field) => sum + Number(field.size), 0)
    expect(size).toBe(document.constants.get(constant))
  })

  test('magic numbers', () => {
    const magics = (name: string): string[] =>
      [...(fieldsOf(name)[0]?.meaning ?? '').matchAll(/`(\w{8})`/g)].map(([, magic = '']) => magic)
    expect(magics('log-header')).toEqual([
      nativeString('journal/log_format.h', 'kJournalMagic'),
      nativeString('journal/log_format.h', 'kManifestMagic'),
    ])
    expect(magics('table-footer')).toEqual([nativeString('table/table_format.h', 'kTableMagic')])
    expect(magics('lock')).toEqual([nativeString('db/directory_lock.cc', 'kLockMagic')])
    expect(magics('blob-footer')).toEqual([nativeString('blob/blob_format.h', 'kBlobFooterMagic')])
    const blobMagic = nativeString('blob/blob_format.h', 'kBlobMagic')
    expect(document.text).toContain(`with magic \`${blobMagic}\``)
  })

  test('every file says its version at the same place', () => {
    for (const name of ['log-header', 'table-footer', 'blob-footer', 'lock']) {
      const places = fieldsOf(name)
        .slice(0, 4)
        .map((field) => [field.offset, field.size, field.name])
      expect(places).toEqual([
        [0, 8, 'magic'],
        [8, 2, 'format_major'],
        [10, 2, 'format_minor'],
        [12, 4, 'feature_bits'],
      ])
    }
  })
})

describe('examples', () => {
  test('hashes', () => {
    const lines = [...document.text.matchAll(/^XXH64\((?:"(\w*)" *|bytes 0\.\.63)\) +(?:= )?/gm)]
    expect(lines).toHaveLength(5)
    for (const line of lines) {
      const [start = '', key] = line
      const bytes =
        key === undefined ? Buffer.from(Array.from({ length: 64 }, (_, i) => i)) : Buffer.from(key)
      const written = document.text.slice(line.index + start.length, line.index + start.length + 16)
      expect(xxh64(bytes).toString(16).padStart(16, '0')).toBe(written)
    }
  })

  // Where the checksum lies, what it covers (from, to), and with what it is keyed.
  const journal = 13n
  const manifest = 14n
  const blob = 15n
  test.each([
    ['log-header', journal, 28, 0, 28],
    ['log-record', journal, 0, 4, Infinity],
    ['log-synced-to', journal, 0, 4, Infinity],
    ['manifest-header', manifest, 28, 0, 28],
    ['manifest-record', manifest, 0, 4, Infinity],
    ['blob-header', blob, 28, 0, 28],
    ['blob-frame', blob, 0, 4, Infinity],
    ['blob-footer', blob, 60, 0, 60],
    ['table-footer', 12n, 60, 0, 60],
    ['lock', 0x1122334455667788n, 92, 0, 92],
  ])('checksum of %s', (name, number, at, from, to) => {
    const bytes = example(name)
    const covered = bytes.subarray(from, to)
    expect(keyedCrc(number, offsetOf(name), covered)).toBe(bytes.readUInt32LE(at))
  })

  const blocks = ['data', 'range-tombstones', 'filter', 'index', 'properties']
  test('blocks of the table: trailers, and back to back up to the footer', () => {
    let end = 0
    for (const name of blocks.map((block) => `table-${block}`)) {
      const bytes = example(name)
      expect(offsetOf(name)).toBe(end)
      const stored = bytes.length - 9
      expect(bytes[stored]).toBe(0)
      expect(bytes.readUInt32LE(stored + 1)).toBe(stored)
      const crc = keyedCrc(12n, end, bytes.subarray(0, stored + 5))
      expect(crc).toBe(bytes.readUInt32LE(stored + 5))
      end += bytes.length
    }
    const footer = example('table-footer')
    expect(offsetOf('table-footer')).toBe(end)
    const handles = [24, 32, 40].map((at, i) => [
      Number(footer.readBigUInt64LE(at)),
      footer.readUInt32LE(48 + 4 * i),
    ])
    expect(handles).toEqual(
      ['table-properties', 'table-index', 'table-filter'].map((name) => [
        offsetOf(name),
        example(name).length - 9,
      ]),
    )
  })

  test('the filter of the table holds exactly its keys', () => {
    const block = example('table-filter')
    const lineCount = block.readUInt32LE(64)
    const probes = block[73] ?? 0
    const line = Buffer.alloc(64)
    for (const key of ['apple', 'apricot', 'banana']) {
      const hash = xxh64(Buffer.from(key))
      expect(((hash >> 32n) * BigInt(lineCount)) >> 32n).toBe(0n)
      let x = Number(hash & 0xffffffffn)
      for (let i = 0; i < probes; i++) {
        const bit = x >>> 23
        line[bit >> 3] = (line[bit >> 3] ?? 0) | (1 << (bit & 7))
        x = Math.imul(x, 0x9e3779b9) >>> 0
      }
    }
    expect(block.subarray(0, 64).equals(line)).toBe(true)
  })

  test('records lie one behind the other', () => {
    expect(offsetOf('log-record')).toBe(example('log-header').length)
    expect(offsetOf('log-synced-to')).toBe(offsetOf('log-record') + example('log-record').length)
    const syncedTo = Number(example('log-synced-to').readBigUInt64LE(16))
    expect(syncedTo).toBe(offsetOf('log-synced-to'))
    expect(offsetOf('manifest-record')).toBe(example('manifest-header').length)
  })

  test('every example is one of those checked here or read by the native suite', () => {
    const own = ['log', 'manifest', 'blob', 'table', 'lock', 'batch', 'keyspace', 'options']
    for (const name of document.examples.keys()) {
      expect(own.some((prefix) => name === prefix || name.startsWith(`${prefix}-`))).toBe(true)
      expect(example(name).length).toBeGreaterThan(0)
    }
  })
})

// The checks above are worth what their readers notice.
describe('the readers of this test', () => {
  test('a changed number, size or byte is noticed', () => {
    const changed = readFormatDocument(
      document.text
        .replace('| 2 | weak tombstone |', '| 6 | weak tombstone |')
        .replace(
          '| 8 | 1 | type | see enum record-type |',
          '| 8 | 2 | type | see enum record-type |',
        )
        .replace('| block_trailer_bytes | 9 |', '| block_trailer_bytes | 10 |'),
    )
    expect(changed.enums.get('kind')).not.toEqual(document.enums.get('kind'))
    expect(changed.tables.get('log-record')).not.toEqual(document.tables.get('log-record'))
    expect(changed.constants.get('block_trailer_bytes')).toBe(10)
  })

  test('a marker without its table is an error', () => {
    expect(() => readFormatDocument('<!-- enum: kind -->\n\n| value | name | meaning |')).toThrow()
    expect(() => readFormatDocument('<!-- table: x -->\n| a |\n|---|\n| 1 |')).toThrow()
    expect(() => readFormatDocument('<!-- example: x -->\n```hex\nzz\n```')).toThrow()
  })

  test('expressions of the core', () => {
    expect(nativeConstant('base/internal_key.h', 'kSeqnoMax')).toBe(2 ** 53 - 1)
    expect(nativeConstant('table/table_format.h', 'kLargeBlockBytesMax')).toBe(2 ** 30 + 2 ** 17)
    expect(() => nativeConstant('base/internal_key.h', 'kNoSuchThing')).toThrow()
    expect(() => nativeEnum('base/internal_key.h', 'NoSuchEnum')).toThrow()
  })
})
