// What the journal takes of a batch whose values are partly worth compressing.

import { expect, test, vi } from 'vitest'
import { CODEC_LZ4 } from '../../../lib/typescript/base/compression.ts'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { journalForm } from '../../../lib/typescript/db/journal-form.ts'
import {
  BatchReader,
  ENTRY_HEADER_BYTES,
  putEntryHeader,
} from '../../../lib/typescript/db/write-batch.ts'
import { testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'

const seed = testSeed()

function entryOf(key: string, value: Uint8Array): Buffer {
  const entry = Buffer.alloc(ENTRY_HEADER_BYTES + key.length + value.length)
  putEntryHeader(entry, 0, 0, 0, key.length, 1, value.length)
  entry.write(key, ENTRY_HEADER_BYTES, 'latin1')
  entry.set(value, ENTRY_HEADER_BYTES + key.length)
  return entry
}

function valuesIn(bytes: Uint8Array): Buffer[] {
  const reader = new BatchReader(bytes)
  const values: Buffer[] = []
  while (reader.next()) {
    const value = Buffer.alloc(reader.rawLength)
    runSync(reader.copyValue(value))
    values.push(value)
  }
  return values
}

/** `count` values of 4 KiB, those at multiples of `every` of one letter, the others noise. */
function makeValues(count: number, every: number): Buffer[] {
  const random = new Random(seed)
  return Array.from({ length: count }, (_, i) =>
    i % every === 0
      ? Buffer.alloc(4096, 'a')
      : Buffer.from(Array.from({ length: 4096 }, () => random.below(256))),
  )
}

test.each([1, 2, 7])('one value in %d can be compressed', (every) => {
  const values = makeValues(40, every)
  const entries = Buffer.concat(values.map((value, i) => entryOf(`key ${i}`, value)))
  const form = journalForm(entries, CODEC_LZ4)!
  expect(form.length).toBeLessThan(entries.length)
  expect(valuesIn(form)).toEqual(values)
})

test('values that cannot be compressed are not copied for that, however many there are', () => {
  const [, ...noise] = makeValues(500, 500)
  const entries = Buffer.concat(noise.map((value, i) => entryOf(`key ${i}`, value)))
  const set = vi.spyOn(Uint8Array.prototype, 'set')
  try {
    expect(journalForm(entries, CODEC_LZ4)).toBeUndefined()
    const copied = set.mock.calls.reduce((sum, [bytes]) => sum + bytes.length, 0)
    expect(copied).toBeLessThan(3 * entries.length)
  } finally {
    set.mockRestore()
  }
})
