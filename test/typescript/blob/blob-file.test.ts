// Blob files: what was written comes back, from memory and from the file; damage is told.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ShaleError } from '../../../lib/errors.ts'
import type { BlobPointer } from '../../../lib/typescript/base/blob-pointer.ts'
import { putU32, putU64 } from '../../../lib/typescript/base/coding.ts'
import { keyedCrc } from '../../../lib/typescript/base/crc32c.ts'
import { run, runSync, Slice } from '../../../lib/typescript/base/flow.ts'
import { BlobCounters } from '../../../lib/typescript/blob/blob-file.ts'
import type { BlobFile } from '../../../lib/typescript/blob/blob-file.ts'
import { decodeBlobFooter } from '../../../lib/typescript/blob/blob-format.ts'
import { BlobOutput } from '../../../lib/typescript/blob/blob-output.ts'
import { BlobScanner, SCAN_BYTES } from '../../../lib/typescript/blob/blob-scanner.ts'
import { BlobWriter } from '../../../lib/typescript/blob/blob-writer.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { fileName } from '../../../lib/typescript/vfs/file-name.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { failure, testSeed } from '../../support/scratch.ts'
import { root } from '../../support/source-files.ts'
import {
  BLOB,
  BLOB_PATH,
  blobContext,
  openBlobs,
  randomItems,
  valueOf,
  writeBlobs,
} from '../support/blobs.ts'
import type { Item, WrittenBlobs } from '../support/blobs.ts'
import { newMachine, putFile, readFile } from '../support/machine.ts'
import { Random } from '../support/random.ts'

const seed = testSeed()
console.log(`blob files: SEED=${seed}`)

const CODECS = [0, 1, 2]

function verify(file: BlobFile): void {
  runSync(file.verify(new Slice(() => 0)))
}

function expectValues(file: BlobFile, items: readonly Item[], { pointers }: WrittenBlobs): void {
  for (const [i, item] of items.entries()) {
    expect(Buffer.from(valueOf(file, pointers[i]!, item)).equals(item.value)).toBe(true)
  }
}

describe('a blob file', () => {
  test.each(CODECS)('gives every value back, codec %i', (codec) => {
    const items = randomItems(new Random(seed), 80, 4000)
    const vfs = newMachine()
    const written = writeBlobs(vfs, items, { codec })
    const { meta, pointers } = written
    expect(readFile(vfs, BLOB_PATH).length).toBe(meta.size)
    expect(meta.itemCount).toBe(items.length)
    expect(meta.rawBytes).toBe(items.reduce((sum, { value }) => sum + value.length, 0))
    expect(meta.size).toBe(meta.frameBytes + 96)
    expect(pointers.some((p) => p.storedLength < p.rawLength)).toBe(codec > 0)
    const file = openBlobs(blobContext(vfs), meta)
    expectValues(file, items, written)
    expectValues(file, items, written)
    verify(file)
  })

  test.each(CODECS)('takes large values, codec %i', async (codec) => {
    const sizes = [131_072, 131_073, 1_500_000, 10, 0, 700_000]
    const items = sizes.map((size, i) => ({
      key: Buffer.from(`key ${i}`),
      seqno: 5,
      value: Buffer.alloc(size, `value ${i} `),
    }))
    const vfs = newMachine()
    const written = writeBlobs(vfs, items, { codec })
    const file = openBlobs(blobContext(vfs, 1 << 24), written.meta)
    expectValues(file, items, written)
    await run(file.verify(new Slice(() => performance.now())))
  })

  test('is asked once for a value that stays in memory', async () => {
    const items = randomItems(new Random(seed), 10, 3000)
    const vfs = newMachine()
    const { meta, pointers } = writeBlobs(vfs, items)
    const counters = new BlobCounters()
    const context = blobContext(vfs)
    const file = openBlobs(context, meta, counters)
    const [{ key }, pointer] = [items[3]!, pointers[3]!]
    expect(file.cached(pointer, key, 0, key.length)).toBe(undefined)
    runSync(file.load(pointer, key, 0, key.length, true))
    expect(file.cached(pointer, key, 0, key.length)).toBe(undefined)
    const value = await run(file.load(pointer, key, 0, key.length))
    expect(file.cached(pointer, key, 0, key.length)).toBe(value)
    expect([counters.loadsIo, counters.loadsCached]).toEqual([2, 1])
    expect(context.cache.size).toBeGreaterThanOrEqual(value.length)
    // A hit in the cache asks for the same key and lengths as the frame does.
    const other = { ...pointer, rawLength: pointer.rawLength + 1 }
    for (const [one, name] of [
      [other, key],
      [pointer, Buffer.from('other')],
    ] as const) {
      const cached = () => file.cached(one, name, 0, name.length)
      // oxlint-disable-next-line no-await-in-loop
      expect((await failure(cached)).code).toBe('CORRUPTION')
    }
    file.release()
    expect(context.cache.size).toBe(0)
  })

  test('goes with its last holder once it is replaced', () => {
    const vfs = newMachine()
    const { meta } = writeBlobs(vfs, randomItems(new Random(seed), 3, 100))
    const removed: string[] = []
    const file = openBlobs(blobContext(vfs, 0, removed), meta)
    file.acquire()
    file.replace()
    file.release()
    expect(removed).toEqual([])
    file.release()
    expect(removed).toEqual([BLOB_PATH])
    const other = openBlobs(blobContext(vfs, 0, removed), meta)
    other.release()
    expect(removed).toEqual([BLOB_PATH])
  })

  test('has a frame for each pointer into it, or the pointer is damage', async () => {
    const items = randomItems(new Random(seed), 10, 3000)
    const vfs = newMachine()
    const { meta, pointers } = writeBlobs(vfs, items)
    const context = blobContext(vfs)
    const file = openBlobs(context, meta)
    const { key } = items[4]!
    const good = pointers[4]!
    const cases: readonly (readonly [BlobPointer, Buffer])[] = [
      [good, Buffer.from('kez 100002')],
      [good, Buffer.from('key')],
      [{ ...good, offset: good.offset + 1 }, key],
      [{ ...good, offset: 31 }, key],
      [{ ...good, offset: Number.MAX_SAFE_INTEGER }, key],
      [{ ...good, storedLength: good.storedLength + 1 }, key],
      [{ ...good, rawLength: good.rawLength + 1 }, key],
      [{ ...good, storedLength: 2 ** 30 }, key],
    ]
    for (const [pointer, name] of cases) {
      const scanner = new BlobScanner(file)
      for (const read of [
        () => runSync(file.load(pointer, name, 0, name.length)),
        () => runSync(scanner.get(pointer, name, 0, name.length)),
      ]) {
        // oxlint-disable-next-line no-await-in-loop
        const { code, path, offset } = await failure(read)
        expect([code, path, offset]).toEqual(['CORRUPTION', BLOB_PATH, pointer.offset])
      }
    }
    expect(context.cache.size).toBe(0)
  })

  test('that is missing is damage', async () => {
    const meta = { fileNumber: BLOB, size: 138, itemCount: 1, frameBytes: 42, rawBytes: 13 }
    const { code, path } = await failure(() => openBlobs(blobContext(newMachine()), meta))
    expect([code, path]).toEqual(['CORRUPTION', BLOB_PATH])
  })

  test('is not read again after a failure: the failure is not remembered', async () => {
    const items = randomItems(new Random(seed), 4, 100)
    const vfs = newMachine()
    const written = writeBlobs(vfs, items)
    const file = openBlobs(blobContext(vfs), written.meta)
    const bytes = readFile(vfs, BLOB_PATH)
    const damaged = Buffer.from(bytes)
    damaged[written.pointers[0]!.offset + 5]! ^= 1
    const out = vfs.open(BLOB_PATH, 'write').sync()
    out.write(0, [damaged]).sync()
    const call = () => valueOf(file, written.pointers[0]!, items[0]!)
    expect((await failure(call)).code).toBe('CORRUPTION')
    out.write(0, [bytes]).sync()
    expectValues(file, items, written)
  })
})

// --- damage --------------------------------------------------------------------------------------

/** Reads everything of a file with these bytes; what is read without an error must be true. */
function reportsOf(bytes: Uint8Array, items: readonly Item[], written: WrittenBlobs): number {
  const vfs = newMachine()
  putFile(vfs, BLOB_PATH, bytes)
  let reports = 0
  const attempt = <T>(call: () => T): T | undefined => {
    try {
      return call()
    } catch (error) {
      if (!(error instanceof ShaleError)) throw error
      expect([error.code, error.path, typeof error.offset]).toEqual([
        'CORRUPTION',
        BLOB_PATH,
        'number',
      ])
      reports++
      return undefined
    }
  }
  const file = attempt(() => openBlobs(blobContext(vfs), written.meta))
  if (file === undefined) return reports
  for (const [i, item] of items.entries()) {
    const value = attempt(() => valueOf(file, written.pointers[i]!, item))
    if (value !== undefined) expect(Buffer.from(value).equals(item.value)).toBe(true)
  }
  attempt(() => verify(file))
  return reports
}

describe('damage', () => {
  const items = randomItems(new Random(seed), 5, 60).map((item, i) =>
    i === 1 ? { ...item, value: Buffer.alloc(80, 'c') } : item,
  )
  const vfs = newMachine()
  const written = writeBlobs(vfs, items)
  const good = readFile(vfs, BLOB_PATH)

  test('every flipped byte is reported', () => {
    const random = new Random(seed)
    expect(reportsOf(good, items, written)).toBe(0)
    for (let at = 0; at < good.length; at++) {
      const damaged = Buffer.from(good)
      damaged[at]! ^= 1 << random.below(8)
      expect(reportsOf(damaged, items, written), `byte ${at}`).toBeGreaterThan(0)
    }
  })

  test('every truncation is reported', () => {
    for (let length = 0; length < good.length; length++) {
      const cut = good.subarray(0, length)
      expect(reportsOf(cut, items, written), `${length}`).toBeGreaterThan(0)
      const zeros = Buffer.concat([cut, Buffer.alloc(good.length - length)])
      if (!zeros.equals(good)) expect(reportsOf(zeros, items, written)).toBeGreaterThan(0)
    }
    const longer = Buffer.concat([good, Buffer.alloc(1)])
    expect(reportsOf(longer, items, written)).toBeGreaterThan(0)
  })

  test('a file that is not the one of the manifest is reported', () => {
    for (const field of ['size', 'itemCount', 'frameBytes', 'rawBytes'] as const) {
      const meta = { ...written.meta, [field]: written.meta[field] + 1 }
      expect(reportsOf(good, items, { ...written, meta }), field).toBeGreaterThan(0)
    }
  })

  test('verification looks behind the checksums', () => {
    const offset = (i: number): number => written.pointers[i]!.offset
    const end = (i: number): number => offset(i + 1)
    const reports = (i: number, change: (bytes: Buffer) => void): number => {
      const bytes = Buffer.from(good)
      change(bytes)
      putU32(bytes, offset(i), keyedCrc(BLOB, offset(i), bytes, offset(i) + 4, end(i)))
      return reportsOf(bytes, [], { ...written, pointers: [] })
    }
    expect(reports(1, () => undefined)).toBe(0)
    expect(reports(2, (bytes) => (bytes[offset(2) + 24] = 0x61))).toBe(1)
    expect(reports(1, (bytes) => putU64(bytes, offset(1) + 16, items[0]!.seqno))).toBe(1)
    const { storedLength, rawLength } = written.pointers[1]!
    expect(storedLength).toBeLessThan(rawLength)
    expect(reports(1, (bytes) => bytes.fill(0xff, end(1) - storedLength, end(1)))).toBe(1)
    const claim = (bytes: Buffer): void => {
      putU32(bytes, offset(0) + 8, 2 ** 30)
      putU32(bytes, offset(0) + 12, 2 ** 30)
      bytes[offset(0) + 6] = 0
    }
    expect(reports(0, claim)).toBe(1)
  })
})

// --- files of both engines -----------------------------------------------------------------------

/**
 * What the files of test/cases/blobs hold under key number i / 2: the engines wrote them once, 7
 * (LZ4) and 8 (zstd) are of the native one, 9 and 10 of this one.
 */
function valueOfCase(i: number): Buffer {
  const value = Buffer.alloc([1000, 600, 0, 300, 200_000, 40][i]!)
  let noise = i
  for (let at = 0; at < value.length; at++) {
    noise = (Math.imul(noise, 1_664_525) + 1_013_904_223) >>> 0
    value[at] = i % 2 === 0 ? i + (at % 50) : noise >>> 24
  }
  return value
}

test.each([7, 8, 9, 10])('file %i of both engines is read', (fileNumber) => {
  const name = fileName('blob', fileNumber)
  const bytes = readFileSync(join(root, 'test/cases/blobs', name))
  const end = bytes.length - 64
  const footer = decodeBlobFooter(bytes.subarray(end), fileNumber, end)
  const vfs = newMachine()
  putFile(vfs, `/db/${name}`, bytes)
  const file = openBlobs(blobContext(vfs), { ...footer, fileNumber, size: bytes.length })
  verify(file)
  const scanner = new BlobScanner(file)
  for (let i = 0; i < 6; i++) {
    const { key, seqno, codec, stored } = runSync(scanner.next())!
    const value = valueOfCase(i)
    const compressed = fileNumber % 2 === 1 ? 1 : 2
    const expected = [`key ${i >> 1}`, 100 - i, i % 2 === 0 && i !== 2 ? compressed : 0]
    expect([Buffer.from(key).toString(), seqno, codec]).toEqual(expected)
    const { offset } = scanner
    const pointer = { fileNumber, offset, storedLength: stored.length, rawLength: value.length }
    const item = { key: Buffer.from(key), seqno, value }
    expect(value.equals(valueOf(file, pointer, item))).toBe(true)
  }
  expect(runSync(scanner.next())).toBe(undefined)
})

// --- scanning, relocation, output ----------------------------------------------------------------

describe('frames', () => {
  test('are scanned in order, also those larger than a chunk', () => {
    const items = randomItems(new Random(seed), 200, 4000).map((item, i) =>
      i === 7 || i === 8 ? { ...item, value: Buffer.alloc(SCAN_BYTES * (i - 6) - 50, i) } : item,
    )
    const vfs = newMachine()
    const { meta, pointers } = writeBlobs(vfs, items, { codec: 0 })
    const context = blobContext(vfs)
    const scanner = new BlobScanner(openBlobs(context, meta))
    for (const [i, item] of items.entries()) {
      const frame = runSync(scanner.next())!
      expect(scanner.offset).toBe(pointers[i]!.offset)
      expect([frame.seqno, Buffer.from(frame.key)]).toEqual([item.seqno, item.key])
      expect(item.value.equals(frame.stored)).toBe(true)
    }
    expect(runSync(scanner.next())).toBe(undefined)
    expect(context.cache.size).toBe(0)
  })

  test.each(CODECS)('move to another file as they are stored, codec %i', (codec) => {
    const random = new Random(seed)
    const items = randomItems(random, 200, 5000)
    const vfs = newMachine()
    const old = writeBlobs(vfs, items, { codec })
    const scanner = new BlobScanner(openBlobs(blobContext(vfs), old.meta))
    const writer = new BlobWriter({ fileNumber: 16, codec: 0, createdAt: 1 })
    const path = '/db/000016.blob'
    const out = vfs.open(path, 'create').sync()
    const kept: Item[] = []
    const pointers: BlobPointer[] = []
    for (const [i, item] of items.entries()) {
      if (random.below(3) > 0) continue
      const before = old.pointers[i]!
      const frame = runSync(scanner.get(before, item.key, 0, item.key.length))
      const pointer = runSync(writer.addFrame(frame))
      expect([pointer.storedLength, pointer.rawLength]).toEqual([
        before.storedLength,
        before.rawLength,
      ])
      kept.push(item)
      pointers.push(pointer)
      if (writer.isFull) runSync(writer.drain(out))
    }
    const meta = runSync(writer.finish(out))
    const file = openBlobs(blobContext(vfs), meta)
    verify(file)
    expectValues(file, kept, { meta, pointers })
  })
})

describe('output', () => {
  function outputTo(vfs: Vfs, fileSize: number): BlobOutput {
    let next = 10
    return new BlobOutput({
      vfs,
      directory: '/db',
      newFileNumber: () => next++,
      codec: 0,
      createdAt: 1,
      fileSize,
    })
  }

  function addAll(output: BlobOutput, items: readonly Item[]): BlobPointer[] {
    return items.map(({ key, seqno, value }) => {
      const add = output.add(seqno, key, 0, key.length, value, 0, value.length)
      const pointer = runSync(add)
      if (output.isFull) runSync(output.drain())
      return pointer
    })
  }

  test('ends its files at the wanted size', () => {
    const items = randomItems(new Random(seed), 60, 1000)
    const vfs = newMachine()
    const output = outputTo(vfs, 4000)
    const pointers = addAll(output, items)
    const metas = runSync(output.finish())
    expect(metas.length).toBeGreaterThan(2)
    for (const { size } of metas.slice(0, -1)) {
      expect(size).toBeGreaterThanOrEqual(4000)
      expect(size).toBeLessThan(5100)
    }
    const context = blobContext(vfs)
    const files = new Map(metas.map((meta) => [meta.fileNumber, openBlobs(context, meta)]))
    for (const [i, item] of items.entries()) {
      const file = files.get(pointers[i]!.fileNumber)!
      expect(Buffer.from(valueOf(file, pointers[i]!, item)).equals(item.value)).toBe(true)
    }
    for (const file of files.values()) verify(file)
  })

  test('of nothing is no file', () => {
    const vfs = newMachine()
    expect(runSync(outputTo(vfs, 4000).finish())).toEqual([])
    expect(vfs.list('/db').sync()).toEqual([])
  })

  test('that is abandoned leaves nothing, also when a call fails', () => {
    const items = randomItems(new Random(seed), 20, 1000)
    const machine = newMachine()
    const output = outputTo(machine, 3000)
    addAll(output, items)
    expect(machine.list('/db').sync().length).toBeGreaterThan(1)
    runSync(output.abandon())
    expect(machine.list('/db').sync()).toEqual([])
    for (const operation of ['create', 'write', 'sync'] as const) {
      for (let nth = 0; ; nth++) {
        const vfs = new FaultVfs(newMachine())
        const failing = outputTo(vfs, 3000)
        vfs.setPlan([{ operation, nth, kind: 'EIO' }])
        try {
          addAll(failing, items)
          runSync(failing.finish())
        } catch (error) {
          expect(error).toBeInstanceOf(ShaleError)
        }
        if (vfs.fired === 0) {
          expect(nth).toBeGreaterThan(2)
          break
        }
        vfs.setPlan([])
        runSync(failing.abandon())
        expect(vfs.list('/db').sync()).toEqual([])
      }
    }
  })
})
