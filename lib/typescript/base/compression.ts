/**
 * The codecs of blocks and values: none, LZ4 (ours, lz4.ts) and zstd.
 *
 * The decompressed size is always known from outside and given as a bound: a decoder writes exactly
 * that many bytes or fails, so a hostile block cannot make the process allocate beyond what was
 * checked.
 */

import { lz4Compress, lz4Decompress } from './lz4.ts'
import { corruption } from './status.ts'

/** Numbers are on disk. */
export const CODEC_NONE = 0
export const CODEC_LZ4 = 1
export const CODEC_ZSTD = 2
export const CODEC_MAX = 2

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
  if (codec !== CODEC_LZ4) return 0
  return Math.max(lz4Compress(input, begin, end, output, at, limit) - at, 0)
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
  if (codec === CODEC_NONE && end - begin === rawLength) {
    output.set(input.subarray(begin, end), at)
  } else if (codec !== CODEC_LZ4 || !lz4Decompress(input, begin, end, output, at, at + rawLength)) {
    throw corruption(`${codec === CODEC_LZ4 ? 'an LZ4' : 'a'} block does not decompress`)
  }
}
