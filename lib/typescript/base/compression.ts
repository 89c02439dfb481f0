/**
 * The codecs of blocks and values: none, LZ4 (ours, lz4.ts) and zstd.
 *
 * The decompressed size is always known from outside and given as a bound: a decoder writes exactly
 * that many bytes or fails, so a hostile block cannot make the process allocate beyond what was
 * checked.
 */

import { ShaleError } from '../../errors.ts'
import type { Compression } from '../../types.ts'
import { breath } from './flow.ts'
import type { Flow } from './flow.ts'
import { lz4Compress, lz4Decompress, Lz4Decoder, Lz4Encoder } from './lz4.ts'
import { corruption } from './status.ts'
import { loadZstd } from './zstd.ts'
import type { Zstd } from './zstd.ts'

/** Numbers are on disk. */
export const CODEC_NONE = 0
export const CODEC_LZ4 = 1
export const CODEC_ZSTD = 2
export const CODEC_MAX = 2

/** Numbers by the names of the API. */
export const CODECS: Readonly<Record<Compression, number>> = {
  none: CODEC_NONE,
  lz4: CODEC_LZ4,
  zstd: CODEC_ZSTD,
}

/** What has more bytes is large: the event loop gets its turns while it is worked on. */
export const LARGE_BYTES = 131_072
/** Bytes between two turns. */
const COMPRESSED_BYTES = 65_536
const DECOMPRESSED_BYTES = 524_288

/** NOT_SUPPORTED unless it can be used here. */
export function requireCodec(name: Compression): void {
  if (CODECS[name] === CODEC_ZSTD) zstd()
}

/**
 * Compresses input[begin..end) to `output` at `at`, which has room for the input. Returns the bytes
 * written; 0 when that would not save at least an eighth: then the input is stored as it is.
 */
export function compress(
  codec: number,
  input: Uint8Array,
  begin: number,
  end: number,
  output: Uint8Array,
  at: number,
): number {
  const limit = at + bytesWorthwhile(end - begin)
  if (codec === CODEC_LZ4) {
    return Math.max(lz4Compress(input, begin, end, output, at, limit) - at, 0)
  }
  if (codec === CODEC_ZSTD) {
    return Math.max(zstd().compress(input.subarray(begin, end), output, at, limit), 0)
  }
  return 0
}

function bytesWorthwhile(length: number): number {
  return length - Math.ceil(length / 8)
}

/** `compress` for the first `length` bytes of an input of any size, and one of the two codecs. */
export function* compressInPieces(
  codec: number,
  input: Uint8Array,
  length: number,
  output: Uint8Array,
): Flow<number> {
  if (length <= LARGE_BYTES) return compress(codec, input, 0, length, output, 0)
  const limit = bytesWorthwhile(length)
  if (codec === CODEC_ZSTD) {
    yield* breath
    const written = yield* zstd().compressLarge(input.subarray(0, length), output, limit)
    yield* breath
    return Math.max(written, 0)
  }
  const encoder = new Lz4Encoder(input, 0, length, output, 0, limit)
  let stop = COMPRESSED_BYTES
  for (; stop < length && encoder.step(stop); stop += COMPRESSED_BYTES) yield* breath
  return Math.max(encoder.finish(), 0)
}

/** Writes exactly `rawLength` bytes to `output` at `at`; CORRUPTION if the input is not that. */
export function decompress(
  codec: number,
  input: Uint8Array,
  begin: number,
  end: number,
  output: Uint8Array,
  at: number,
  rawLength: number,
): void {
  if (!decompresses(codec, input, begin, end, output, at, rawLength)) throw damaged()
}

/** `decompress` for the first `length` bytes and an output of any size, to be filled. */
export function* decompressInPieces(
  codec: number,
  input: Uint8Array,
  length: number,
  output: Uint8Array,
): Flow<void> {
  const rawLength = output.length
  if (rawLength <= LARGE_BYTES) return decompress(codec, input, 0, length, output, 0, rawLength)
  if (codec === CODEC_ZSTD) {
    yield* breath
    const isWhole = yield* zstd().decompressLarge(input.subarray(0, length), output)
    yield* breath
    if (!isWhole) throw damaged()
    return undefined
  }
  const decoder = new Lz4Decoder(input, 0, length, output, 0, rawLength)
  for (let stop = DECOMPRESSED_BYTES; ; stop += DECOMPRESSED_BYTES) {
    decoder.step(stop)
    if (decoder.isWhole !== undefined) break
    yield* breath
  }
  if (!decoder.isWhole) throw damaged()
  return undefined
}

function damaged(): ShaleError {
  return corruption('a block does not decompress to what it says')
}

function decompresses(
  codec: number,
  input: Uint8Array,
  begin: number,
  end: number,
  output: Uint8Array,
  at: number,
  rawLength: number,
): boolean {
  if (codec === CODEC_LZ4) return lz4Decompress(input, begin, end, output, at, at + rawLength)
  if (codec === CODEC_ZSTD) {
    return zstd().decompress(input.subarray(begin, end), output, at, rawLength)
  }
  if (codec !== CODEC_NONE || end - begin !== rawLength) return false
  output.set(input.subarray(begin, end), at)
  return true
}

function zstd(): Zstd {
  const codec = loadZstd()
  if (codec === undefined) {
    throw new ShaleError(
      'NOT_SUPPORTED',
      'zstd needs Node.js 22.15 or the package @bokuweb/zstd-wasm',
    )
  }
  return codec
}
