// CRC32C and XXH64 in their plainest form, written from docs/format.md, section 1.

const crcTable = Uint32Array.from({ length: 256 }, (_, i) => {
  let c = i
  for (let bit = 0; bit < 8; bit++) c = (c & 1) === 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1
  return c
})

/** CRC32C of the pieces, one after the other. */
export function crc32c(...pieces: readonly Uint8Array[]): number {
  let crc = 0xffffffff
  for (const piece of pieces) {
    for (const byte of piece) crc = (crc >>> 8) ^ (crcTable[(crc ^ byte) & 0xff] ?? 0)
  }
  return (crc ^ 0xffffffff) >>> 0
}

/** The checksum of bytes that lie at `offset` of file `fileNumber`. */
export function keyedCrc(fileNumber: bigint, offset: number, bytes: Uint8Array): number {
  const key = Buffer.alloc(16)
  key.writeBigUInt64LE(fileNumber, 0)
  key.writeBigUInt64LE(BigInt(offset), 8)
  return crc32c(key, bytes)
}

const mask = (1n << 64n) - 1n
const [p1, p2, p3, p4, p5] = [
  0x9e3779b185ebca87n,
  0xc2b2ae3d27d4eb4fn,
  0x165667b19e3779f9n,
  0x85ebca77c2b2ae63n,
  0x27d4eb2f165667c5n,
]
const rotate = (x: bigint, n: bigint): bigint => ((x << n) | (x >> (64n - n))) & mask
const round = (lane: bigint, word: bigint): bigint =>
  (rotate((lane + word * p2) & mask, 31n) * p1) & mask

/** XXH64 with seed 0. */
export function xxh64(bytes: Buffer): bigint {
  let at = 0
  let hash = p5
  if (bytes.length >= 32) {
    const lanes = [(p1 + p2) & mask, p2, 0n, -p1 & mask]
    for (; at + 32 <= bytes.length; at += 32) {
      for (const i of [0, 1, 2, 3]) {
        lanes[i] = round(lanes[i] ?? 0n, bytes.readBigUInt64LE(at + 8 * i))
      }
    }
    const turns = [1n, 7n, 12n, 18n]
    hash = lanes.reduce((sum, lane, i) => sum + rotate(lane, turns[i] ?? 0n), 0n) & mask
    for (const lane of lanes) hash = ((hash ^ round(0n, lane)) * p1 + p4) & mask
  }
  hash = (hash + BigInt(bytes.length)) & mask
  for (; at + 8 <= bytes.length; at += 8) {
    hash = (rotate(hash ^ round(0n, bytes.readBigUInt64LE(at)), 27n) * p1 + p4) & mask
  }
  if (at + 4 <= bytes.length) {
    hash = (rotate(hash ^ ((BigInt(bytes.readUInt32LE(at)) * p1) & mask), 23n) * p2 + p3) & mask
    at += 4
  }
  for (; at < bytes.length; at++) {
    hash = (rotate(hash ^ ((BigInt(bytes[at] ?? 0) * p5) & mask), 11n) * p1) & mask
  }
  hash = ((hash ^ (hash >> 33n)) * p2) & mask
  hash = ((hash ^ (hash >> 29n)) * p3) & mask
  return hash ^ (hash >> 32n)
}
