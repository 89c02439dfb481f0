// LZ4 blocks: round trips over many shapes of input, the document's example, hostile input.

import { describe, expect, test } from 'vitest'
import {
  CODEC_LZ4,
  CODEC_NONE,
  CODEC_ZSTD,
  compress,
  compressInPieces,
  decompress,
  decompressInPieces,
} from '../../../lib/typescript/base/compression.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import { lz4Compress, lz4Decompress } from '../../../lib/typescript/base/lz4.ts'
import { exampleBytes, readFormatDocument } from '../../format/format-document.ts'
import { failure, scaled, testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'

const seed = testSeed()
console.log(`compression: SEED=${seed}`)

/** Bytes in which runs, copies of earlier parts and noise change. */
function shaped(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length;) {
    const count = Math.min(length - at, 1 + random.below(random.below(4) === 0 ? 2000 : 40))
    const kind = random.below(3)
    const byte = random.below(256)
    const distance = 1 + random.below(Math.max(at, 1))
    for (let i = 0; i < count; i++, at++) {
      if (kind === 0) bytes[at] = byte
      else if (kind === 1 && at >= distance) bytes[at] = bytes[at - distance]!
      else bytes[at] = random.below(256)
    }
  }
  return bytes
}

function compressAll(input: Uint8Array): Uint8Array {
  const output = new Uint8Array(input.length + Math.ceil(input.length / 255) + 16)
  const end = lz4Compress(input, 0, input.length, output, 0, output.length)
  expect(end).toBeGreaterThan(0)
  return output.subarray(0, end)
}

describe('lz4', () => {
  test('every length up to 300 comes back, whatever it is filled with', () => {
    for (let length = 0; length <= 300; length++) {
      for (const fill of [() => 7, (i: number) => i & 3, (i: number) => (i * 97) & 0xff]) {
        const input = Uint8Array.from({ length }, (_, i) => fill(i))
        const output = new Uint8Array(length)
        const packed = compressAll(input)
        expect(lz4Decompress(packed, 0, packed.length, output, 0, length)).toBe(true)
        expect(Buffer.compare(input, output)).toBe(0)
      }
    }
  })

  test('inputs of many shapes come back, in the middle of other bytes', () => {
    const random = new Random(seed)
    for (let round = 0; round < scaled(300); round++) {
      const input = shaped(random, random.below(random.below(10) === 0 ? 200_000 : 5000))
      const packed = compressAll(input)
      const around = new Uint8Array(input.length + 20).fill(0xaa)
      const source = Buffer.concat([Buffer.alloc(5), packed, Buffer.alloc(5, 0xff)])
      const end = 10 + input.length
      expect(lz4Decompress(source, 5, 5 + packed.length, around, 10, end)).toBe(true)
      expect(Buffer.compare(around.subarray(10, end), input)).toBe(0)
      expect([...around.subarray(0, 10), ...around.subarray(end)]).toEqual(Array(20).fill(0xaa))
    }
  })

  test('what does not fit is refused, and nothing is written behind the limit', () => {
    const random = new Random(seed)
    for (let round = 0; round < scaled(100); round++) {
      const input = shaped(random, 20 + random.below(3000))
      const packed = compressAll(input)
      const limit = random.below(packed.length)
      const output = new Uint8Array(packed.length).fill(0xaa)
      expect(lz4Compress(input, 0, input.length, output, 0, limit)).toBe(-1)
      expect(output.subarray(limit).every((byte) => byte === 0xaa)).toBe(true)
    }
  })

  test('the length must be right, and the block whole', () => {
    const input = shaped(new Random(seed), 1000)
    const packed = compressAll(input)
    const output = new Uint8Array(1100)
    for (const length of [0, 999, 1001, 1100]) {
      expect(lz4Decompress(packed, 0, packed.length, output, 0, length)).toBe(false)
    }
    for (let end = 0; end < packed.length; end++) {
      expect(lz4Decompress(packed, 0, end, output, 0, 1000)).toBe(false)
    }
  })

  test('hostile input writes nothing out of bounds and ends', () => {
    const random = new Random(seed)
    const output = new Uint8Array(600)
    for (let round = 0; round < scaled(20_000); round++) {
      const input = Uint8Array.from({ length: random.below(60) }, () =>
        random.below(3) === 0 ? 255 : random.below(256),
      )
      output.fill(0xaa)
      lz4Decompress(input, 0, input.length, output, 50, 550)
      const outside = [...output.subarray(0, 50), ...output.subarray(550)]
      expect(outside.every((byte) => byte === 0xaa)).toBe(true)
    }
  })

  test('the compressed value of the document', () => {
    const bytes = exampleBytes(readFormatDocument().examples.get('batch-entries') ?? [])
    const packed = bytes.subarray(0x20)
    const output = new Uint8Array(4096)
    decompress(CODEC_LZ4, packed, 0, packed.length, output, 0, 4096)
    expect(Buffer.compare(output, Buffer.alloc(4096, 'a'))).toBe(0)
    const target = new Uint8Array(4096)
    const length = compress(CODEC_LZ4, output, 0, 4096, target, 0)
    expect(target.subarray(0, length)).toEqual(new Uint8Array(packed))
  })
})

describe('codecs', () => {
  test('what saves less than an eighth is not compressed', () => {
    const random = new Random(seed)
    const noise = Uint8Array.from({ length: 4096 }, () => random.below(256))
    const target = new Uint8Array(4096)
    expect(compress(CODEC_LZ4, noise, 0, 4096, target, 0)).toBe(0)
    noise.fill(1, 0, 700)
    const length = compress(CODEC_LZ4, noise, 0, 4096, target, 0)
    expect(length).toBeGreaterThan(0)
    expect(length).toBeLessThanOrEqual(4096 - 512)
  })

  test('codec none has the same bytes, and the stated length', async () => {
    const output = new Uint8Array(4)
    decompress(CODEC_NONE, Uint8Array.of(9, 1, 2, 9), 1, 3, output, 1, 2)
    expect([...output]).toEqual([0, 1, 2, 0])
    const error = await failure(() => decompress(CODEC_NONE, output, 0, 3, output, 0, 2))
    expect(error.code).toBe('CORRUPTION')
  })
})

describe('large inputs', () => {
  const MIB = 2 ** 20

  function* thereAndBack(codec: number, input: Uint8Array): Flow<Uint8Array> {
    const output = new Uint8Array(input.length)
    const length = yield* compressInPieces(codec, input, input.length, output)
    expect(length).toBeGreaterThan(0)
    expect(length).toBeLessThanOrEqual((input.length * 7) / 8)
    const back = new Uint8Array(input.length)
    yield* decompressInPieces(codec, output, length, back)
    return back
  }

  const inputs: readonly (readonly [string, Uint8Array])[] = [
    ['of many shapes', shaped(new Random(seed), 3 * MIB + 12_345)],
    ['that are one run', new Uint8Array(3 * MIB)],
    ['just above a piece', Buffer.alloc(131_073 + 11, 'piece ')],
    ['of pieces', Buffer.alloc(4 * 131_072, 'piece ')],
    ['with noise at the end', Buffer.concat([Buffer.alloc(MIB, 'abc'), noise(100_000)])],
  ]

  function noise(length: number): Uint8Array {
    const random = new Random(seed)
    return Uint8Array.from({ length }, () => random.below(256))
  }

  test.each(inputs)('%s come back from both codecs, in both forms', async (_, input) => {
    for (const codec of [CODEC_LZ4, CODEC_ZSTD]) {
      expect(Buffer.compare(runSync(thereAndBack(codec, input)), input)).toBe(0)
      // oxlint-disable-next-line no-await-in-loop
      expect(Buffer.compare(await run(thereAndBack(codec, input)), input)).toBe(0)
    }
  })

  test('are worked on in turns, and several at a time do not disturb each other', async () => {
    let turns = 0
    let isOver = false
    const turn = (): void => {
      turns++
      if (!isOver) setImmediate(turn)
    }
    setImmediate(turn)
    const all = inputs.map(([, input]) => input)
    const packed = await Promise.all(all.map(async (input) => run(thereAndBack(CODEC_LZ4, input))))
    isOver = true
    packed.forEach((bytes, i) => expect(Buffer.compare(bytes, all[i]!)).toBe(0))
    const pieces = all.map(({ length }) => Math.floor(length / 131_072))
    expect(turns).toBeGreaterThan(pieces.reduce((sum, count) => sum + count))
  })

  test('are not compressed where that saves less than an eighth', async () => {
    for (const codec of [CODEC_LZ4, CODEC_ZSTD]) {
      const input = noise(300_000)
      const pack = (): Flow<number> =>
        compressInPieces(codec, input, input.length, new Uint8Array(input.length))
      // oxlint-disable-next-line no-await-in-loop
      expect([runSync(pack()), await run(pack())]).toEqual([0, 0])
    }
  })

  test('that are damaged do not come back', async () => {
    for (const codec of [CODEC_LZ4, CODEC_ZSTD]) {
      const input = shaped(new Random(seed), MIB)
      const output = new Uint8Array(input.length)
      const length = runSync(compressInPieces(codec, input, input.length, output))
      for (const [end, rawLength] of [
        [length, MIB - 1],
        [length, MIB + 1],
        [length - 1, MIB],
        [length >> 1, MIB],
        [0, MIB],
      ] as const) {
        const unpack = (): Flow<void> =>
          decompressInPieces(codec, output, end, new Uint8Array(rawLength))
        // oxlint-disable-next-line no-await-in-loop
        expect((await failure(() => runSync(unpack()))).code).toBe('CORRUPTION')
        // oxlint-disable-next-line no-await-in-loop
        expect((await failure(async () => run(unpack()))).code).toBe('CORRUPTION')
      }
    }
  })
})
