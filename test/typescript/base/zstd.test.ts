// zstd frames, by whatever this runtime has: there and back, bounds, damage.

import { describe, expect, test } from 'vitest'
import {
  CODEC_ZSTD,
  compress,
  compressInPieces,
  decompress,
} from '../../../lib/typescript/base/compression.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import { failure, testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'

const seed = testSeed()
console.log(`zstd: SEED=${seed}`)

const text = Buffer.from('a line that comes again and again. '.repeat(200))

function packed(input: Uint8Array): Uint8Array {
  const output = new Uint8Array(input.length)
  const length = compress(CODEC_ZSTD, input, 0, input.length, output, 0)
  expect(length).toBeGreaterThan(0)
  return output.slice(0, length)
}

describe('zstd', () => {
  test('frames come back, in the middle of other bytes', () => {
    for (const input of [text, Buffer.alloc(3_000_000, 'xyz'), text.subarray(0, 100)]) {
      const frame = packed(input)
      const source = Buffer.concat([Buffer.alloc(3), frame, Buffer.alloc(3)])
      const output = new Uint8Array(input.length + 2).fill(0xaa)
      decompress(CODEC_ZSTD, source, 3, 3 + frame.length, output, 1, input.length)
      expect(Buffer.compare(output.subarray(1, 1 + input.length), input)).toBe(0)
      expect([output[0], output.at(-1)]).toEqual([0xaa, 0xaa])
    }
  })

  test('frames state the size of their content', async () => {
    /** Frame_Content_Size of RFC 8878. */
    const stated = (frame: Uint8Array): number => {
      const bytes = Buffer.from(frame)
      const [flag, isSingle] = [bytes[4]! >> 6, (bytes[4]! & 0x20) !== 0]
      const at = isSingle ? 5 : 6
      if (flag === 0) return isSingle ? bytes.readUInt8(at) : NaN
      if (flag === 1) return bytes.readUInt16LE(at) + 256
      return flag === 2 ? bytes.readUInt32LE(at) : Number(bytes.readBigUInt64LE(at))
    }
    for (const length of [100, 255, 5000, 70_000]) {
      expect(stated(packed(Buffer.alloc(length, 'size ')))).toBe(length)
    }
    for (const length of [131_073, 200_000, 3_000_000]) {
      const input = Buffer.alloc(length, 'size ')
      for (const drive of [runSync, run]) {
        const output = new Uint8Array(length)
        // oxlint-disable-next-line no-await-in-loop
        const end = await drive(compressInPieces(CODEC_ZSTD, input, length, output))
        expect(stated(output.subarray(0, end))).toBe(length)
      }
    }
  })

  test('what saves less than an eighth is not compressed', () => {
    const random = new Random(seed)
    const noise = Uint8Array.from({ length: 4096 }, () => random.below(256))
    expect(compress(CODEC_ZSTD, noise, 0, 4096, new Uint8Array(4096), 0)).toBe(0)
  })

  test('another length, a cut or a flipped byte is damage, or the same bytes', async () => {
    const frame = packed(text)
    const read = (bytes: Uint8Array, length: number): Uint8Array => {
      const output = new Uint8Array(length)
      decompress(CODEC_ZSTD, bytes, 0, bytes.length, output, 0, length)
      return output
    }
    for (const length of [0, 1, text.length - 1, text.length + 1]) {
      // oxlint-disable-next-line no-await-in-loop
      expect((await failure(() => read(frame, length))).code).toBe('CORRUPTION')
    }
    for (let end = 0; end < frame.length; end++) {
      // oxlint-disable-next-line no-await-in-loop
      expect((await failure(() => read(frame.subarray(0, end), text.length))).code).toBe(
        'CORRUPTION',
      )
    }
    for (let at = 0; at < frame.length; at++) {
      const flipped = Uint8Array.from(frame)
      flipped[at]! ^= 1
      try {
        expect(read(flipped, text.length)).toHaveLength(text.length)
      } catch (error) {
        expect(error).toMatchObject({ code: 'CORRUPTION' })
      }
    }
  })
})
