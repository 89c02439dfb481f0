// CRC32C and XXH64: the figures of docs/format.md, and every length against plain forms of both.

import { describe, expect, test } from 'vitest'
import {
  crc32c,
  CRC_BEGIN,
  crcEnd,
  crcUpdate,
  crcUpdateInPieces,
  keyedCrc,
} from '../../../lib/typescript/base/crc32c.ts'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { KeyHash } from '../../../lib/typescript/base/hash.ts'
import * as plain from '../../format/checksum.ts'
import { exampleBytes, readFormatDocument } from '../../format/format-document.ts'

const { text, examples } = readFormatDocument()

function someBytes(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 167 + (i >> 3)) & 0xff))
}

function hashText(bytes: Uint8Array): string {
  const hash = new KeyHash().of(bytes, 0, bytes.length)
  const half = (value: number): string => (value >>> 0).toString(16).padStart(8, '0')
  return half(hash.high) + half(hash.low)
}

describe('crc32c', () => {
  test('gives the check value', () => {
    const [, value = ''] = /`123456789` it is 0x([0-9A-F]{8})/.exec(text) ?? []
    expect(crc32c(Buffer.from('123456789'))).toBe(parseInt(value, 16))
  })

  test('does not depend on how the bytes are cut, at any length', () => {
    const bytes = someBytes(100)
    for (let length = 0; length <= bytes.length; length++) {
      const whole = crc32c(bytes, 0, length)
      for (const cut of [0, 1, length >> 1, length]) {
        const first = crcUpdate(CRC_BEGIN, bytes, 0, Math.min(cut, length))
        expect(crcEnd(crcUpdate(first, bytes, Math.min(cut, length), length))).toBe(whole)
      }
    }
  })

  test('in pieces it is the same', () => {
    const bytes = Buffer.alloc(2_500_000, someBytes(997))
    for (const end of [0, 5, 1_048_576, 2_097_153, bytes.length]) {
      const register = runSync(crcUpdateInPieces(CRC_BEGIN, bytes, end))
      expect(crcEnd(register)).toBe(crc32c(bytes, 0, end))
    }
  })

  test('keyed with file number and offset, it matches the document', () => {
    const header = exampleBytes(examples.get('log-header') ?? [])
    expect(keyedCrc(13, 0, header, 0, 28)).toBe(header.readUInt32LE(28))
    expect(keyedCrc(14, 0, header, 0, 28)).not.toBe(header.readUInt32LE(28))
    const record = exampleBytes(examples.get('log-record') ?? [])
    expect(keyedCrc(13, 32, record, 4, record.length)).toBe(record.readUInt32LE(0))
    expect(keyedCrc(13, 33, record, 4, record.length)).not.toBe(record.readUInt32LE(0))
  })
})

describe('the hash', () => {
  test('gives the examples of the document', () => {
    const lines = [
      ...text.matchAll(/^XXH64\((?:"([a-z]*)"|bytes 0\.\.63) *\) += ([0-9a-f]{16})$/gm),
    ]
    expect(lines).toHaveLength(5)
    for (const [, word, expected] of lines) {
      const bytes = word === undefined ? Buffer.from([...Array(64).keys()]) : Buffer.from(word)
      expect(hashText(bytes)).toBe(expected)
    }
  })

  test('is the same as with whole 64-bit words, at any length and offset', () => {
    const bytes = someBytes(300)
    for (let length = 0; length <= 200; length++) {
      const part = bytes.subarray(length >> 2, (length >> 2) + length)
      expect(hashText(part)).toBe(plain.xxh64(part).toString(16).padStart(16, '0'))
      const hash = new KeyHash().of(bytes, length >> 2, (length >> 2) + length)
      expect(BigInt.asUintN(64, BigInt(hash.high) * 2n ** 32n + BigInt(hash.low >>> 0))).toBe(
        plain.xxh64(part),
      )
    }
  })
})
