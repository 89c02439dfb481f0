// Headers and records of logs against the bytes of docs/format.md.

import { describe, expect, test } from 'vitest'
import { keyedCrc } from '../../../lib/typescript/base/crc32c.ts'
import {
  encodeLogHeader,
  logHeaderError,
  putRecordHeader,
  recordFieldsHold,
} from '../../../lib/typescript/journal/log-format.ts'
import { exampleBytes, readFormatDocument } from '../../format/format-document.ts'

const { examples } = readFormatDocument()
const example = (name: string): Buffer => exampleBytes(examples.get(name) ?? [])

describe('the header', () => {
  test('is the one of the document', () => {
    expect(Buffer.from(encodeLogHeader('journal', 13))).toEqual(example('log-header'))
    expect(Buffer.from(encodeLogHeader('manifest', 14))).toEqual(example('manifest-header'))
    expect(logHeaderError(example('log-header'), 'journal', 13, '/j')).toBe(undefined)
  })

  test('is refused with the first reason that holds', () => {
    const changed = (at: number, value: number, sign = true): Uint8Array => {
      const bytes = new Uint8Array(example('log-header'))
      bytes[at] = value
      if (sign) Buffer.from(bytes.buffer).writeUInt32LE(keyedCrc(13, 0, bytes, 0, 28), 28)
      return bytes
    }
    const codeOf = (bytes: Uint8Array, number = 13): string | undefined =>
      logHeaderError(bytes, 'journal', number, '/j')?.code
    expect(codeOf(changed(0, 0x54))).toBe('NOT_A_DATABASE')
    expect(codeOf(example('manifest-header'), 14)).toBe('NOT_A_DATABASE')
    expect(codeOf(changed(16, 12, false))).toBe('CORRUPTION')
    expect(codeOf(example('log-header'), 12)).toBe('CORRUPTION')
    expect(codeOf(changed(8, 2))).toBe('FORMAT_TOO_NEW')
    expect(codeOf(changed(12, 1))).toBe('FORMAT_TOO_NEW')
    expect(codeOf(changed(15, 0x80))).toBe('FORMAT_TOO_NEW')
    expect(codeOf(changed(8, 0))).toBe('CORRUPTION')
    expect(codeOf(changed(16, 12))).toBe('CORRUPTION')
    expect(codeOf(changed(24, 1))).toBe('CORRUPTION')
    expect(codeOf(changed(10, 9))).toBe(undefined)
    expect(codeOf(example('log-header').subarray(0, 31))).toBe('CORRUPTION')
  })
})

describe('a record', () => {
  test('is the one of the document, its payload in place or elsewhere', () => {
    const expected = example('log-record')
    const payload = expected.subarray(32)
    const record = { type: 1, count: 2, syncedTo: 32, seqno: 8, payloadLength: payload.length }
    const apart = new Uint8Array(32)
    putRecordHeader(apart, 0, 13, 32, record, payload)
    expect(Buffer.from(apart)).toEqual(expected.subarray(0, 32))
    const together = new Uint8Array(5 + expected.length)
    together.set(payload, 5 + 32)
    putRecordHeader(together, 5, 13, 32, record)
    expect(Buffer.from(together.subarray(5))).toEqual(expected)
  })

  test('that only states what is durable, too', () => {
    const bytes = new Uint8Array(32)
    const record = { type: 2, count: 0, syncedTo: 94, seqno: 0, payloadLength: 0 }
    putRecordHeader(bytes, 0, 13, 94, record)
    expect(Buffer.from(bytes)).toEqual(example('log-synced-to'))
  })

  test('obeys the rules of its fields', () => {
    const holds = (kind: 'journal' | 'manifest', change: (bytes: Buffer) => void): boolean => {
      const bytes = Buffer.from(example(kind === 'journal' ? 'log-record' : 'manifest-record'))
      change(bytes)
      return recordFieldsHold(kind, bytes, 0, 32)
    }
    expect(holds('journal', () => {})).toBe(true)
    expect(holds('manifest', () => {})).toBe(true)
    expect(holds('journal', (bytes) => bytes.writeUInt32LE(1_090_519_040, 4))).toBe(true)
    const wrong: ((bytes: Buffer) => void)[] = [
      (bytes) => bytes.writeUInt32LE(1_090_519_041, 4),
      (bytes) => (bytes[8] = 0),
      (bytes) => (bytes[8] = 3),
      (bytes) => (bytes[8] = 2),
      (bytes) => (bytes[9] = 1),
      (bytes) => (bytes[11] = 1),
      (bytes) => bytes.writeUInt32LE(33, 16),
      (bytes) => (bytes[30] = 0x20),
    ]
    for (const change of wrong) {
      expect(holds('journal', change)).toBe(false)
      expect(holds('manifest', change)).toBe(false)
    }
    expect(holds('manifest', (bytes) => bytes.writeUInt32LE(1, 12))).toBe(false)
    expect(holds('manifest', (bytes) => (bytes[24] = 1))).toBe(false)
  })
})
