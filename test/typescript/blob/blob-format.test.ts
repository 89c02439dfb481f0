// Blob files byte for byte: the examples of the document, which are one whole file, and damage.

import { describe, expect, test } from 'vitest'
import {
  decodeBlobPointer,
  encodeBlobPointer,
  frameBytes,
  isBlobPointer,
} from '../../../lib/typescript/base/blob-pointer.ts'
import { putU16, putU32, putU64 } from '../../../lib/typescript/base/coding.ts'
import { keyedCrc } from '../../../lib/typescript/base/crc32c.ts'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import {
  decodeBlobFooter,
  decodeBlobValue,
  decodeFrame,
  encodeBlobFooter,
} from '../../../lib/typescript/blob/blob-format.ts'
import { exampleBytes, readFormatDocument } from '../../format/format-document.ts'
import { BLOB, BLOB_PATH, blobContext, openBlobs, valueOf, writeBlobs } from '../support/blobs.ts'
import { newMachine, readFile } from '../support/machine.ts'
import { failure } from '../../support/scratch.ts'

const { examples } = readFormatDocument()
const example = (name: string): Buffer => exampleBytes(examples.get(name)!)
const offsetOf = (name: string): number => examples.get(name)![0]!.offset

const PHOTO = { key: Buffer.from('photo'), seqno: 9, value: Buffer.from('a large value') }

async function codeOf(call: () => unknown): Promise<string> {
  return (await failure(call)).code
}

describe('the example of the document', () => {
  test('is what the writer makes', () => {
    const vfs = newMachine()
    const { meta, pointers } = writeBlobs(vfs, [PHOTO], { codec: 0 })
    const whole = ['blob-header', 'blob-frame', 'blob-footer'].map(example)
    expect(readFile(vfs, BLOB_PATH)).toEqual(Buffer.concat(whole))
    expect(meta).toEqual({
      fileNumber: BLOB,
      size: 138,
      itemCount: 1,
      frameBytes: 42,
      rawBytes: 13,
    })
    expect(Buffer.from(encodeBlobPointer(pointers[0]!))).toEqual(example('blob-pointer'))
    expect(frameBytes(5, 13)).toBe(42)
  })

  test('is read as it says', () => {
    const vfs = newMachine()
    const { meta } = writeBlobs(vfs, [PHOTO], { codec: 0 })
    const bytes = example('blob-pointer')
    expect(isBlobPointer(bytes, 0, 24)).toBe(true)
    const pointer = decodeBlobPointer(bytes, 0)
    expect(pointer).toEqual({ fileNumber: 15, offset: 32, storedLength: 13, rawLength: 13 })
    const file = openBlobs(blobContext(vfs), meta)
    expect(Buffer.from(valueOf(file, pointer, PHOTO)).toString()).toBe('a large value')
  })
})

describe('frames', () => {
  const good = example('blob-frame')
  const at = offsetOf('blob-frame')

  test('come back', () => {
    const frame = runSync(decodeFrame(good, BLOB, at))
    expect({ ...frame, key: String(Buffer.from(frame.key)), stored: frame.stored.length }).toEqual({
      key: 'photo',
      seqno: 9,
      codec: 0,
      rawLength: 13,
      stored: 13,
    })
    expect(Buffer.from(runSync(decodeBlobValue(frame))).toString()).toBe('a large value')
  })

  test('with a flipped bit, cut off or elsewhere are damage', async () => {
    const decode = (bytes: Uint8Array, number = BLOB, offset = at) => {
      return codeOf(() => runSync(decodeFrame(bytes, number, offset)))
    }
    const wrong = Array.from({ length: good.length * 8 }, (_, bit) => {
      const bytes = Buffer.from(good)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      return bytes
    })
    const cut = Array.from({ length: good.length }, (_, length) => good.subarray(0, length))
    const codes = await Promise.all([...wrong, ...cut].map((bytes) => decode(bytes)))
    expect(new Set(codes)).toEqual(new Set(['CORRUPTION']))
    expect(await decode(good, BLOB + 1)).toBe('CORRUPTION')
    expect(await decode(good, BLOB, at + 1)).toBe('CORRUPTION')
  })

  test('with fields that break a rule are damage, whatever the checksum', async () => {
    const changes: Readonly<Record<string, (bytes: Buffer) => void>> = {
      'no key': (bytes) => putU16(bytes, 4, 0),
      'another length': (bytes) => putU16(bytes, 4, 6),
      codec: (bytes) => (bytes[6] = 3),
      reserved: (bytes) => (bytes[7] = 1),
      'raw length of what is raw': (bytes) => putU32(bytes, 8, 14),
      'stored length': (bytes) => putU32(bytes, 12, 2 ** 32 - 1),
      'raw length': (bytes) => {
        bytes[6] = 1
        putU32(bytes, 8, 67_108_865)
      },
      seqno: (bytes) => putU64(bytes, 16, 2 ** 53),
    }
    for (const [what, change] of Object.entries(changes)) {
      const bytes = Buffer.from(good)
      change(bytes)
      putU32(bytes, 0, keyedCrc(BLOB, at, bytes, 4, bytes.length))
      // oxlint-disable-next-line no-await-in-loop
      expect(await codeOf(() => runSync(decodeFrame(bytes, BLOB, at))), what).toBe('CORRUPTION')
    }
  })
})

test('pointers that may exist', () => {
  const isOne = (fileNumber: number, offset: number, storedLength: number, rawLength: number) => {
    const bytes = encodeBlobPointer({ fileNumber, offset, storedLength, rawLength })
    return isBlobPointer(bytes, 0, 24)
  }
  const most = Number.MAX_SAFE_INTEGER
  expect(isOne(most, most, 0, 0)).toBe(true)
  expect(isOne(1, 32, 2 ** 30, 2 ** 30)).toBe(true)
  expect(isOne(1, 32, 2 ** 30, 2 ** 26)).toBe(true)
  expect(isOne(0, 32, 1, 1)).toBe(false)
  expect(isOne(most + 1, 32, 1, 1)).toBe(false)
  expect(isOne(1, 31, 1, 1)).toBe(false)
  expect(isOne(1, most + 1, 1, 1)).toBe(false)
  expect(isOne(1, 32, 2 ** 30 + 1, 2 ** 30 + 1)).toBe(false)
  expect(isOne(1, 32, 1, 2 ** 26 + 1)).toBe(false)
  expect(isBlobPointer(new Uint8Array(25), 0, 25)).toBe(false)
})

test('the footer: what it says, and damage', async () => {
  const good = example('blob-footer')
  const at = offsetOf('blob-footer')
  const footer = { itemCount: 1, frameBytes: 42, rawBytes: 13, createdAt: 1_700_000_000_000 }
  expect(decodeBlobFooter(good, BLOB, at)).toEqual(footer)
  expect(Buffer.from(encodeBlobFooter(footer, BLOB, at))).toEqual(good)
  const decode = async (change: (bytes: Buffer) => void, sealed = true): Promise<string> => {
    const bytes = Buffer.from(good)
    change(bytes)
    if (sealed) putU32(bytes, 60, keyedCrc(BLOB, at, bytes, 0, 60))
    return codeOf(() => decodeBlobFooter(bytes, BLOB, at))
  }
  for (let bit = 0; bit < good.length * 8; bit++) {
    const flip = (bytes: Buffer): void => void (bytes[bit >> 3]! ^= 1 << (bit & 7))
    // oxlint-disable-next-line no-await-in-loop
    expect(await decode(flip, false), `bit ${bit}`).toBe('CORRUPTION')
  }
  expect(await decode((bytes) => putU16(bytes, 8, 2))).toBe('FORMAT_TOO_NEW')
  expect(await decode((bytes) => putU16(bytes, 8, 0))).toBe('CORRUPTION')
  expect(await decode((bytes) => putU32(bytes, 12, 1))).toBe('FORMAT_TOO_NEW')
  expect(await decode((bytes) => putU64(bytes, 16, 16))).toBe('CORRUPTION')
  expect(await decode((bytes) => putU64(bytes, 32, 41))).toBe('CORRUPTION')
  expect(await decode((bytes) => putU32(bytes, 56, 1))).toBe('CORRUPTION')
})
