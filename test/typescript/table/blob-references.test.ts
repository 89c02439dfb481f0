// What a table says of the blob files that its pointers point into.

import { expect, test } from 'vitest'
import { encodeBlobPointer } from '../../../lib/typescript/base/blob-pointer.ts'
import { putU32, putU64 } from '../../../lib/typescript/base/coding.ts'
import {
  decodeBlobReferences,
  encodeBlobReferences,
} from '../../../lib/typescript/table/blob-references.ts'
import type { BlobReference } from '../../../lib/typescript/table/blob-references.ts'
import { failure } from '../../support/scratch.ts'
import { allForward, textsOf } from '../support/entries.ts'
import { newMachine } from '../support/machine.ts'
import { openTable, PATH, writeTable } from '../support/tables.ts'

function pointing(key: string, fileNumber: number, storedLength: number, offset = 32) {
  const pointer = { fileNumber, offset, storedLength, rawLength: storedLength }
  const value = Buffer.from(encodeBlobPointer(pointer))
  return { key: Buffer.from(key), seqno: 5, kind: 4, value }
}

const ENTRIES = [
  pointing('a', 80, 100),
  pointing('bb', 70, 10),
  { key: Buffer.from('c'), seqno: 5, kind: 0, value: Buffer.from('inline') },
  pointing('d', 80, 1),
]
const REFERENCES: readonly BlobReference[] = [
  { fileNumber: 70, itemCount: 1, bytes: 24 + 2 + 10 },
  { fileNumber: 80, itemCount: 2, bytes: 24 + 1 + 100 + 24 + 1 + 1 },
]

test.each([0, 1])('a table keeps them, index codec %i', (indexCodec) => {
  const vfs = newMachine()
  const { blobs } = writeTable(vfs, ENTRIES, { indexCodec })
  expect(blobs).toEqual(REFERENCES)
  const table = openTable(vfs, { blobs })
  expect(table.blobReferences).toEqual(REFERENCES)
  expect(textsOf(allForward(table.iterator()))).toEqual(textsOf(ENTRIES))
})

test('a table whose references are not those of the manifest is damaged', async () => {
  const vfs = newMachine()
  const { properties } = writeTable(vfs, ENTRIES)
  const [first, second] = REFERENCES as [BlobReference, BlobReference]
  for (const blobs of [
    [],
    [first],
    [first, { ...second, itemCount: 1 }],
    [first, { ...second, bytes: second.bytes + 1 }],
    [first, { ...second, fileNumber: 81 }],
  ]) {
    // oxlint-disable-next-line no-await-in-loop
    const { code, path, offset } = await failure(() => openTable(vfs, { blobs }))
    expect([code, path, offset]).toEqual(['CORRUPTION', PATH, properties.blobReferences.offset])
  }
})

test('a table without pointers has none', async () => {
  const vfs = newMachine()
  const { blobs } = writeTable(vfs, ENTRIES.slice(2, 3))
  expect(blobs).toEqual([])
  expect(openTable(vfs).blobReferences).toEqual([])
  expect((await failure(() => openTable(vfs, { blobs: REFERENCES }))).code).toBe('CORRUPTION')
})

test('a pointer that cannot exist is damage', async () => {
  for (const wrong of [pointing('a', 80, 5, 31), pointing('a', 0, 5)]) {
    const vfs = newMachine()
    const { blobs } = writeTable(vfs, [wrong])
    // A reader that does not look at the references reads the block.
    const code = async (): Promise<string> =>
      (await failure(() => allForward(openTable(vfs, { blobs }).iterator()))).code
    // oxlint-disable-next-line no-await-in-loop
    expect(await code()).toBe('CORRUPTION')
  }
})

test('hostile blocks are damage', async () => {
  const good = encodeBlobReferences(REFERENCES)
  expect(decodeBlobReferences(good)).toEqual(REFERENCES)
  const changes: Readonly<Record<string, (bytes: Uint8Array) => void>> = {
    'no reference': (bytes) => putU32(bytes, 0, 0),
    'many references': (bytes) => putU32(bytes, 0, 2 ** 32 - 1),
    'one twice': (bytes) => putU64(bytes, 4, 80),
    'no file': (bytes) => putU64(bytes, 4, 0),
    'descending files': (bytes) => putU64(bytes, 28, 69),
    'no such file': (bytes) => putU64(bytes, 28, 2 ** 53),
    'no item': (bytes) => putU64(bytes, 12, 0),
  }
  for (const [what, change] of Object.entries(changes)) {
    const bytes = new Uint8Array(good)
    change(bytes)
    // oxlint-disable-next-line no-await-in-loop
    expect((await failure(() => decodeBlobReferences(bytes))).code, what).toBe('CORRUPTION')
  }
  for (const bytes of [good.subarray(0, -1), new Uint8Array([...good, 0]), new Uint8Array(3)]) {
    // oxlint-disable-next-line no-await-in-loop
    expect((await failure(() => decodeBlobReferences(bytes))).code).toBe('CORRUPTION')
  }
})
