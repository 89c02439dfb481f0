// Entries of a commit: the bytes of docs/format.md, and what is damage.

import { expect, test } from 'vitest'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { BatchReader, putEntryHeader } from '../../../lib/typescript/db/write-batch.ts'
import { exampleBytes, readFormatDocument } from '../../format/format-document.ts'
import { failure } from '../../support/scratch.ts'

const { examples, enums } = readFormatDocument()
const example = (name: string): Buffer => exampleBytes(examples.get(name) ?? [])

interface Entry {
  readonly kind: number
  readonly keyspace: number
  readonly key: string
  readonly value: string
}

function read(bytes: Uint8Array): Entry[] {
  const reader = new BatchReader(bytes)
  const entries: Entry[] = []
  while (reader.next()) {
    const value = Buffer.alloc(reader.rawLength)
    runSync(reader.copyValue(value))
    entries.push({
      kind: reader.kind,
      keyspace: reader.keyspaceId,
      key: Buffer.from(bytes).toString('latin1', reader.keyBegin, reader.keyEnd),
      value: value.toString('latin1'),
    })
  }
  expect(reader.count).toBe(entries.length)
  return entries
}

test('a value and a weak tombstone', () => {
  expect(read(example('log-record').subarray(32))).toEqual([
    { kind: 0, keyspace: 1, key: 'k1', value: 'red' },
    { kind: 2, keyspace: 2, key: 'q', value: '' },
  ])
})

test('a range tombstone and a compressed value', () => {
  const bytes = example('batch-entries')
  expect(read(bytes)).toEqual([
    { kind: 3, keyspace: 1, key: 'b', value: '\0c' },
    { kind: 0, keyspace: 1, key: 'z', value: 'a'.repeat(4096) },
  ])
  const reader = new BatchReader(bytes)
  reader.next()
  expect(reader.range(7)).toEqual({ start: Buffer.from('b'), end: Buffer.from('c'), seqno: 7 })
  reader.next()
  expect(reader.rawBytes).toBe(12 + 1 + 2 + 12 + 1 + 4096)
})

test('a keyspace record', () => {
  const [first, ...others] = read(example('keyspace-record'))
  expect([first?.kind, first?.keyspace, first?.key, others]).toEqual([0x40, 2, 'queue', []])
  const kinds = enums.get('keyspace-record')?.map(({ value }) => value)
  expect(kinds).toEqual([0x40, 0x41, 0x42, 0x43])
})

/** One entry. */
function entry(
  kind: number,
  key: string,
  value: string,
  { codec = 0, keyspace = 1 } = {},
): Uint8Array {
  const bytes = Buffer.alloc(12 + key.length + value.length)
  putEntryHeader(bytes, 0, kind, codec, key.length, keyspace, value.length)
  bytes.write(key + value, 12, 'latin1')
  return bytes
}

test('what breaks a rule is damage', async () => {
  const joined = (...parts: Uint8Array[]): Uint8Array => Buffer.concat(parts)
  const bad: Readonly<Record<string, Uint8Array>> = {
    'a rest': joined(entry(0, 'k', 'v'), Buffer.alloc(5)),
    'cut off': entry(0, 'k', 'v').subarray(0, 13),
    'no keyspace': entry(0, 'k', 'v', { keyspace: 0 }),
    'no key': entry(0, '', 'v'),
    'a tombstone with a value': entry(1, 'k', 'v'),
    'a weak tombstone with a value': entry(2, 'k', 'v'),
    'a compressed tombstone': entry(1, 'k', '', { codec: 1 }),
    'a range without flags': entry(3, 'k', ''),
    'a range that ends where it begins': entry(3, 'k', '\0k'),
    'a range without end that has one': entry(3, 'k', '\u0001z'),
    'unknown flags': entry(3, 'k', '\u0002z'),
    'a blob pointer': entry(4, 'k', 'x'.repeat(24)),
    'an unknown kind': entry(5, 'k', 'v'),
    'an unknown keyspace record': entry(0x44, '', ''),
    'an unknown codec': entry(0, 'k', '\u0001\0\0\0x', { codec: 3 }),
    'a compressed value without content': entry(0, 'k', '\u0001\0\0\0', { codec: 1 }),
    'a raw length of 0': entry(0, 'k', '\0\0\0\0x', { codec: 1 }),
    'a raw length that is too large': entry(0, 'k', '\u0001\0\0\u0004x', { codec: 1 }),
    'a keyspace without a name': entry(0x40, '', 'o'),
    'a name that is too long': entry(0x40, 'n'.repeat(256), ''),
    'a deletion with a key': entry(0x41, 'k', ''),
    'a clear with a value': entry(0x42, '', 'v'),
    'a keyspace record before others': joined(entry(0x42, '', ''), entry(0, 'k', 'v')),
    'a keyspace record behind others': joined(entry(0, 'k', 'v'), entry(0x42, '', '')),
  }
  for (const [what, bytes] of Object.entries(bad)) {
    // oxlint-disable-next-line no-await-in-loop
    expect((await failure(() => read(bytes))).code, what).toBe('CORRUPTION')
  }
  expect(read(entry(3, 'k', '\u0001'))).toHaveLength(1)
})

test('a range without end says so', () => {
  const reader = new BatchReader(entry(3, 'k', '\u0001'))
  reader.next()
  expect(reader.range(7).end).toBe(undefined)
})
