/**
 * The codecs of blocks and values: none, LZ4 (ours, lz4.ts) and zstd.
 *
 * The decompressed size is always known from outside and given as a bound: a decoder writes exactly
 * that many bytes or fails, so a hostile block cannot make the process allocate beyond what was
 * checked.
 */

import { ShaleError } from '../../errors.ts'
import type { Compression } from '../../types.ts'
import { lz4Compress, lz4Decompress } from './lz4.ts'
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

/** Whether blocks with this codec can be read and written here. */
export function isSupported(codec: number): boolean {
  return codec !== CODEC_ZSTD || loadZstd() !== undefined
}

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
  const length = end - begin
  const limit = at + length - Math.ceil(length / 8)
  if (codec === CODEC_LZ4) {
    return Math.max(lz4Compress(input, begin, end, output, at, limit) - at, 0)
  }
  if (codec === CODEC_ZSTD) {
    return Math.max(zstd().compress(input.subarray(begin, end), output, at, limit), 0)
  }
  return 0
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
  if (!decompresses(codec, input, begin, end, output, at, rawLength)) {
    throw corruption('a block does not decompress to what it says')
  }
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
