// Numbers and fields: every form at its edges, and nothing beyond the end of the container.

import { describe, expect, test } from 'vitest'
import {
  Decoder,
  Encoder,
  getU32,
  getU64,
  putU64,
  putVarint,
  TaggedFields,
  varintLength,
} from '../../../lib/typescript/base/coding.ts'
import { failure } from '../../support/scratch.ts'

const edges = [0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 49, 2 ** 53 - 1]

describe('varints', () => {
  test('come back, in the shortest form', () => {
    const bytes = new Uint8Array(10)
    for (const value of edges) {
      const end = putVarint(bytes, 0, value)
      expect(end).toBe(varintLength(value))
      const decoder = new Decoder(bytes, 0, end)
      expect(decoder.varint()).toBe(value)
      expect(decoder.done).toBe(true)
    }
  })

  test('longer forms of up to 10 bytes are read', () => {
    const long = Uint8Array.from([0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00])
    expect(new Decoder(long).varint()).toBe(5)
  })

  test('that are cut off, too long or too large are damage', async () => {
    const bad = [
      [],
      [0x80],
      Array.from({ length: 11 }, () => 0x80),
      [...Array.from({ length: 10 }, () => 0x80), 0],
      // 2^53
      [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10],
      Array.from({ length: 10 }, (_, i) => (i === 9 ? 1 : 0xff)),
    ]
    for (const bytes of bad) {
      const error = await failure(() => new Decoder(Uint8Array.from(bytes)).varint())
      expect(error.code).toBe('CORRUPTION')
    }
    const cut = new Uint8Array(3)
    putVarint(cut, 0, 70_000)
    expect((await failure(() => new Decoder(cut, 0, 2).varint())).code).toBe('CORRUPTION')
  })
})

test('64-bit numbers: exact to 2^53 - 1, damage above', async () => {
  const bytes = new Uint8Array(8)
  for (const value of edges) {
    putU64(bytes, 0, value)
    expect(getU64(bytes, 0)).toBe(value)
    expect(Buffer.from(bytes).readBigUInt64LE()).toBe(BigInt(value))
    expect(new Decoder(bytes).u64()).toBe(value)
  }
  bytes.set([0, 0, 0, 0, 0, 0, 0x20, 0])
  expect((await failure(() => new Decoder(bytes).u64())).code).toBe('CORRUPTION')
  expect(getU32(Uint8Array.from([1, 0, 0, 0xff]), 0)).toBe(0xff000001)
})

test('an encoder writes what a decoder reads', async () => {
  const encoder = new Encoder(1)
  encoder
    .u8(7)
    .u16(0x1234)
    .u32(0xdeadbeef)
    .u64(2 ** 40 + 3)
    .varint(300)
    .f64(0.25)
  encoder.prefixed(Buffer.from('key'))
  const decoder = new Decoder(encoder.view())
  const { u8, u16, u32, u64, f64 } = {
    u8: decoder.u8(),
    u16: decoder.u16(),
    u32: decoder.u32(),
    u64: decoder.u64(),
    f64: (expect(decoder.varint()).toBe(300), decoder.f64()),
  }
  expect([u8, u16, u32, u64, f64]).toEqual([7, 0x1234, 0xdeadbeef, 2 ** 40 + 3, 0.25])
  expect(Buffer.from(decoder.prefixed()).toString()).toBe('key')
  decoder.finish()
  for (const read of [() => decoder.u8(), () => decoder.u64(), () => decoder.prefixed()]) {
    expect((await failure(read)).code).toBe('CORRUPTION')
  }
  const short = new Decoder(encoder.view(), 0, encoder.length - 1)
  short.skip(24)
  expect((await failure(() => short.prefixed())).code).toBe('CORRUPTION')
  expect((await failure(() => short.finish())).code).toBe('CORRUPTION')
})

test('real numbers that are not finite are damage', async () => {
  for (const value of [NaN, Infinity, -Infinity]) {
    const bytes = new Encoder().f64(value).view()
    expect((await failure(() => new Decoder(bytes).f64())).code).toBe('CORRUPTION')
  }
})

describe('tagged fields', () => {
  test('are walked in order', () => {
    const bytes = new Encoder().field(1, Uint8Array.of(9)).field(300, new Uint8Array(0)).view()
    const fields = new TaggedFields(bytes)
    expect([fields.next(), fields.id, fields.content.u8(), fields.content.done]).toEqual([
      true,
      1,
      9,
      true,
    ])
    expect([fields.next(), fields.id, fields.content.left]).toEqual([true, 300, 0])
    expect(fields.next()).toBe(false)
  })

  test('whatever of a field was read, the next one follows it', () => {
    const bytes = new Encoder().field(1, Uint8Array.of(9, 9)).field(2, Uint8Array.of(8)).view()
    const fields = new TaggedFields(bytes)
    fields.next()
    fields.next()
    expect(fields.content.u8()).toBe(8)
  })

  test('that repeat, descend or reach too far are damage', async () => {
    const bad = [[2, 0, 1, 0], [2, 0, 2, 0], [1, 2, 0], [1, 0x80], [1]]
    for (const bytes of bad) {
      const error = await failure(() => {
        const fields = new TaggedFields(Uint8Array.from(bytes))
        while (fields.next());
      })
      expect(error.code).toBe('CORRUPTION')
    }
  })
})
