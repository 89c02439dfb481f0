// The reader against section 4.4 of docs/format.md, said in another way: a record is valid exactly
// if its bytes are those that were written. Logs are built byte by byte, then damaged.

import { describe, expect, test } from 'vitest'
import { ShaleError } from '../../../lib/errors.ts'
import { putU32, putU64 } from '../../../lib/typescript/base/coding.ts'
import { keyedCrc } from '../../../lib/typescript/base/crc32c.ts'
import { breath, run, runSync } from '../../../lib/typescript/base/flow.ts'
import { encodeLogHeader, putRecordHeader } from '../../../lib/typescript/journal/log-format.ts'
import { LogReader } from '../../../lib/typescript/journal/log-reader.ts'
import type { LogReaderOptions, LogTail } from '../../../lib/typescript/journal/log-reader.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { failure, scaled, testSeed } from '../../support/scratch.ts'
import { newMachine, putFile } from '../support/machine.ts'
import { Random } from '../support/random.ts'

const NUMBER = 7
const PATH = '/db/000007.journal'
/** Of the reader. */
const CHUNK = 512 * 1024

interface BuiltRecord {
  readonly offset: number
  readonly end: number
  readonly isData: boolean
  readonly syncedTo: number
  readonly payload: Buffer
}

class LogBuilder {
  readonly records: BuiltRecord[] = []
  readonly #parts: Buffer[] = [Buffer.from(encodeLogHeader('journal', NUMBER))]
  end = 32

  data(seqno: number, payload: string | Buffer, syncedTo: number): this {
    return this.#add(1, 1, seqno, Buffer.from(payload as string), syncedTo)
  }

  syncedTo(length: number): this {
    return this.#add(2, 0, 0, Buffer.alloc(0), length)
  }

  #add(type: number, count: number, seqno: number, payload: Buffer, syncedTo: number): this {
    const bytes = Buffer.alloc(32 + payload.length)
    payload.copy(bytes, 32)
    const record = { type, count, syncedTo, seqno, payloadLength: payload.length }
    putRecordHeader(bytes, 0, NUMBER, this.end, record)
    const end = this.end + bytes.length
    this.records.push({ offset: this.end, end, isData: type === 1, syncedTo, payload })
    this.#parts.push(bytes)
    this.end = end
    return this
  }

  zeros(count: number): this {
    this.#parts.push(Buffer.alloc(count))
    return this
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

/** How a log reads: what `next` goes to, and what the reader says at the end. */
interface Reading {
  readonly payloads: readonly string[]
  readonly end: number
  readonly tail: LogTail
  readonly droppedBytes: number
  readonly syncedTo: number
  readonly message: string | undefined
}

function readAll(vfs: Vfs, options: Partial<LogReaderOptions> = {}): Reading {
  const file = vfs.open(PATH, 'read').sync()
  const reader = new LogReader(file, {
    kind: 'journal',
    fileNumber: NUMBER,
    mode: 'tail',
    ...options,
  })
  const payloads: string[] = []
  let message: string | undefined
  runSync(reader.open())
  expect(reader.headerError).toBe(undefined)
  try {
    while (runSync(reader.next())) {
      if (reader.type === 1) payloads.push(Buffer.from(reader.payload).toString('latin1'))
    }
  } catch (error) {
    if (!(error instanceof ShaleError) || error.code !== 'CORRUPTION') throw error
    expect([error.path, error.offset]).toEqual([PATH, reader.end])
    ;({ message } = error)
  }
  file.close()
  const { end, droppedBytes, syncedTo } = reader
  const tail = message === undefined ? reader.tail : 'damaged'
  return { payloads, end, tail, droppedBytes, syncedTo, message }
}

function read(bytes: Uint8Array, options: Partial<LogReaderOptions> = {}): Reading {
  const vfs = newMachine()
  putFile(vfs, PATH, bytes)
  return readAll(vfs, options)
}

/** What a reader must say of `bytes`, into which `log` was changed. */
function oracle(log: LogBuilder, bytes: Buffer, finalLength = Infinity) {
  const original = log.bytes()
  const length = Math.min(bytes.length, finalLength)
  const isIntact = ({ offset, end }: BuiltRecord): boolean =>
    end <= length && bytes.subarray(offset, end).equals(original.subarray(offset, end))
  const bad = log.records.findIndex((record) => !isIntact(record))
  const whole = bad < 0 ? log.records : log.records.slice(0, bad)
  const end = whole.at(-1)?.end ?? 32
  const last = bytes.subarray(0, length).findLastIndex((byte) => byte !== 0) + 1
  const intact = log.records.filter(isIntact)
  const syncedTo = Math.max(0, ...intact.map((record) => record.syncedTo))
  const durable = Math.max(syncedTo, Number.isFinite(finalLength) ? finalLength : 0)
  const tail: LogTail = durable > end ? 'damaged' : last > end ? 'torn' : 'clean'
  return {
    payloads: payloadsOf(whole),
    end,
    tail,
    ...(tail === 'damaged' ? {} : { droppedBytes: Math.max(0, last - end), syncedTo }),
  }
}

function payloadsOf(records: readonly BuiltRecord[]): string[] {
  return records
    .filter(({ isData }) => isData)
    .map(({ payload }) => Buffer.from(payload).toString('latin1'))
}

/** Records of both types, some that tell of a sync and some that do not; zeros behind them. */
function smallLog(): LogBuilder {
  const log = new LogBuilder().data(1, 'first', 0).data(2, 'the second one', 32)
  const two = log.end
  log.syncedTo(two).data(3, 'x'.repeat(100), two).data(4, '', two).data(5, 'five', two)
  const five = log.end
  return log.data(6, 'six', five).data(7, 'seven', five).zeros(70)
}

describe('what a reader says is what the document says', () => {
  test('of every flipped bit', () => {
    const log = smallLog()
    const original = log.bytes()
    for (let bit = 32 * 8; bit < original.length * 8; bit++) {
      const bytes = Buffer.from(original)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      expect(read(bytes), `bit ${bit}`).toMatchObject(oracle(log, bytes))
      if (bit % 3 !== 0) continue
      expect(read(bytes, { finalLength: log.end }), `bit ${bit}`).toMatchObject(
        oracle(log, bytes, log.end),
      )
    }
  })

  test('edge case 34: of every cut, with and without zeros behind it', () => {
    const log = smallLog()
    const original = log.bytes()
    for (let length = 32; length <= original.length; length++) {
      const cut = original.subarray(0, length)
      const zeros = Buffer.concat([cut, Buffer.alloc(original.length - length)])
      for (const bytes of [cut, zeros]) {
        expect(read(bytes), `at ${length}`).toMatchObject(oracle(log, bytes))
        expect(read(bytes, { finalLength: log.end }), `at ${length}`).toMatchObject(
          oracle(log, bytes, log.end),
        )
      }
    }
  })

  test('of ranges that hold zeros, garbage, or another part of the log', () => {
    const seed = testSeed()
    const random = new Random(seed)
    const log = smallLog()
    const original = log.bytes()
    for (let begin = 32; begin < original.length; begin += 3) {
      for (const length of [8, 32, 90, original.length]) {
        const end = Math.min(original.length, begin + length)
        const zeros = Buffer.from(original).fill(0, begin, end)
        const garbage = Buffer.from(original)
        for (let i = begin; i < end; i++) garbage[i] = random.below(256) | 1
        const moved = Buffer.from(original)
        original.copy(moved, begin, 32, 32 + end - begin)
        for (const bytes of [zeros, garbage, moved]) {
          expect(read(bytes), `SEED=${seed}, ${begin} to ${end}`).toMatchObject(oracle(log, bytes))
        }
      }
    }
  })

  test('of final lengths', () => {
    const log = new LogBuilder().data(1, 'one', 0)
    const one = log.end
    log.data(2, 'two', one)
    const two = log.end
    log.data(3, 'not part of it', two)
    const bytes = log.bytes()
    for (const finalLength of [two - 1, one + 1, one + 32, log.end + 1, log.end + 4096]) {
      expect(read(bytes, { finalLength }).tail, `${finalLength}`).toBe('damaged')
    }
    const behind = Buffer.from(bytes)
    behind[two + 5]! ^= 1
    for (const whole of [bytes, behind]) {
      expect(read(whole, { finalLength: two })).toMatchObject({ end: two, tail: 'clean' })
    }
  })
})

describe('one record is lost in the middle', () => {
  const cases: readonly (readonly [string, LogTail, number, boolean, number])[] = [
    ['nothing was durable', 'torn', -1, false, -1],
    ['a data record says: exactly up to it', 'torn', 0, false, -1],
    ['a data record says: one byte of it', 'damaged', 1, false, -1],
    ['a synced-to record says: up to it', 'torn', 0, true, -1],
    ['a synced-to record says: one byte of it', 'damaged', 1, true, -1],
    ['the manifest says so', 'damaged', -1, false, 1],
  ]
  test.each(cases)('%s: %s', (_, tail, stated, isWitness, known) => {
    const log = new LogBuilder().data(1, 'kept', 0)
    const lost = log.end
    const syncedTo = stated < 0 ? 0 : lost + stated
    log.data(2, 'lost', 0).data(3, 'between', 0)
    if (isWitness) log.syncedTo(syncedTo)
    else log.data(4, 'behind', syncedTo)
    // A hole, as pages that are written in any order leave it.
    const bytes = log.bytes().fill(0, lost, lost + 36)
    const options = known < 0 ? {} : { finalLength: log.end }
    expect(read(bytes, options)).toMatchObject({ payloads: ['kept'], tail, end: lost })
  })
})

describe('the words for damage', () => {
  const log = new LogBuilder().data(1, 'one', 0).data(2, 'two', 0)
  const second = log.records[1]!

  test('a record, or all from there on', () => {
    const bytes = log.bytes()
    bytes[second.offset + 33]! ^= 1
    expect(read(bytes, { finalLength: log.end }).message).toBe(
      'a record that was durable is damaged',
    )
    const cut = log.bytes().subarray(0, second.offset)
    expect(read(cut, { finalLength: log.end }).message).toBe(
      'records that were durable are missing',
    )
    const torn = log.bytes().subarray(0, log.end - 1)
    expect(read(torn, { mode: 'strict' }).message).toBe('the tail of the journal is torn')
  })

  test('a right checksum over a wrong field, even at the very end', () => {
    const withField = (change: (record: Buffer) => void): string | undefined => {
      const bytes = log.bytes()
      const record = bytes.subarray(second.offset, second.end)
      change(record)
      putU32(record, 0, keyedCrc(NUMBER, second.offset, record, 4, record.length))
      return read(bytes).message
    }
    expect(withField(() => {})).toBe(undefined)
    const changes: readonly ((record: Buffer) => void)[] = [
      (record) => (record[8] = 0),
      (record) => (record[8] = 3),
      // One that states what is durable has no payload.
      (record) => (record[8] = 2),
      (record) => (record[9] = 1),
      (record) => (record[11] = 1),
      (record) => putU64(record, 16, second.offset + 1),
      (record) => putU64(record, 24, 2 ** 53),
    ]
    for (const change of changes) {
      expect(withField(change)).toBe('a record is not what a writer makes')
    }
  })

  test('lengths that lie are no more than a bad record', () => {
    for (const length of [4, 1000, 0x40_000_000, 0x41_000_000, 0xff_ff_ff_ff]) {
      const bytes = log.bytes()
      putU32(bytes, second.offset + 4, length)
      expect(read(bytes)).toMatchObject({ payloads: ['one'], tail: 'torn' })
    }
  })
})

/** A header behind which `length` bytes seem to belong to it. */
function putCandidate(bytes: Uint8Array, at: number, length: number): void {
  putU32(bytes, at, 0xde_ad_be_ef)
  putU32(bytes, at + 4, length)
  bytes[at + 8] = 1
}

describe('the search behind a bad record', () => {
  test('ends when it has cost enough, and what it could not rule out is damage', () => {
    const log = new LogBuilder().data(1, 'one', 0)
    const bytes = Buffer.concat([log.bytes(), Buffer.alloc(256 * 1024)])
    for (let at = log.end; at + 64 < bytes.length; at += 32) {
      putCandidate(bytes, at, bytes.length - at - 32)
    }
    const vfs = new FaultVfs(newMachine())
    putFile(vfs, PATH, bytes)
    const message = 'too much lies behind a bad record to tell how it came about'
    expect(readAll(vfs)).toMatchObject({ payloads: ['one'], message })
    expect(readAll(vfs, { mode: 'salvage' })).toMatchObject({
      payloads: ['one'],
      tail: 'damaged',
      // All but the zeros at the end: the last candidate is cut to nine bytes.
      droppedBytes: bytes.findLastIndex((byte) => byte !== 0) + 1 - log.end,
    })
    expect(vfs.count('read')).toBeLessThan(100)
  })

  test('passes over some that only look like one', () => {
    const nonsense = Buffer.alloc(4000)
    for (let at = 0; at + 64 < nonsense.length; at += 400) putCandidate(nonsense, at, 3000)
    const log = new LogBuilder().data(1, 'one', 0).data(2, nonsense, 0)
    log.data(3, 'three', log.end)
    const bytes = log.bytes()
    bytes[log.records[1]!.offset + 1]! ^= 1
    expect(read(bytes)).toMatchObject({ ...oracle(log, bytes), tail: 'damaged' })
  })

  test('goes on behind each record: what a value holds is not a record', () => {
    const inner = new LogBuilder()
    for (let i = 1; i <= 50; i++) inner.data(i, 'inner', inner.end)
    const log = new LogBuilder().data(1, 'one', 0).data(2, inner.bytes(), 0).data(3, 'three', 0)
    const bytes = log.bytes()
    bytes[log.records[1]!.offset]! ^= 1
    // There they lie at another offset, so their checksums are wrong.
    expect(read(bytes).tail).toBe('torn')
    expect(read(bytes, { mode: 'salvage' }).payloads).toEqual(['one', 'three'])
  })

  test('lets the event loop turn', async () => {
    const log = new LogBuilder().data(1, 'one', 0)
    const bytes = Buffer.concat([log.bytes(), Buffer.alloc(512 * 1024)])
    // They claim the rest of the file, so their checksums cost 16 times what is there.
    for (let at = log.end; at + 64 < bytes.length; at += 32) {
      putCandidate(bytes, at, bytes.length - at - 32)
    }
    const vfs = newMachine()
    putFile(vfs, PATH, bytes)
    const options = { kind: 'journal', fileNumber: NUMBER, mode: 'tail' } as const
    const reader = new LogReader(vfs.open(PATH, 'read').sync(), options)
    await run(reader.open())
    let [turns, breaths] = [0, 0]
    const drive = (): void => {
      const flow = reader.next()
      let step = flow.next()
      while (step.done !== true) {
        if (step.value === breath) breaths++
        turns++
        step = flow.next(step.value.sync())
      }
    }
    drive()
    await failure(drive)
    // At least one for every MiB of them, reads being turns as well.
    expect(turns).toBeGreaterThanOrEqual(8)
    expect(breaths).toBeGreaterThan(0)
  })
})

test('a failed read is no verdict, and neither is a file that becomes shorter', async () => {
  const log = smallLog()
  const bytes = Buffer.concat([log.bytes(), Buffer.alloc(2 ** 21, 0x7f)])
  const vfs = new FaultVfs(newMachine())
  putFile(vfs, PATH, bytes)
  for (const nth of [1, 2, 3, 4]) {
    for (const [kind, code] of [
      ['EIO', 'IO_ERROR'],
      ['shortRead', 'CORRUPTION'],
    ] as const) {
      vfs.setPlan([{ operation: 'read', nth, kind }])
      const file = vfs.open(PATH, 'read').sync()
      const reader = new LogReader(file, { kind: 'journal', fileNumber: NUMBER, mode: 'salvage' })
      // One plan after the other.
      // oxlint-disable-next-line no-await-in-loop
      const error = await failure(() => {
        runSync(reader.open())
        while (runSync(reader.next()));
      })
      expect([error.code, error.path]).toEqual([code, PATH])
      if (code === 'CORRUPTION') {
        expect(error.message).toBe('the file became shorter while it was read')
      }
      file.close()
    }
  }
})

test('salvage delivers every record that is intact, and counts the rest', () => {
  const seed = testSeed()
  const random = new Random(seed)
  for (let round = 0; round < scaled(30); round++) {
    const log = new LogBuilder()
    for (let seqno = 1; seqno <= 100; seqno++) {
      const size = random.below(40) === 0 ? random.below(1_000_000) : random.below(200)
      log.data(seqno, Buffer.alloc(size, seqno), random.below(log.end))
    }
    const bytes = log.zeros(random.below(5000)).bytes()
    const hit = new Set<BuiltRecord>()
    for (let count = random.below(12); count > 0; count--) {
      const record = log.records[random.below(log.records.length)]!
      const at = record.offset + random.below(record.end - record.offset)
      if (!hit.has(record)) bytes[at]! ^= 0x10
      hit.add(record)
    }
    const intact = log.records.filter((record) => !hit.has(record))
    const { payloads, droppedBytes } = read(bytes, { mode: 'salvage' })
    expect(payloads.length, `SEED=${seed}`).toBe(intact.length)
    expect(payloads.join() === payloadsOf(intact).join(), `SEED=${seed}`).toBe(true)
    const lost = [...hit].reduce((sum, { offset, end }) => sum + end - offset, 0)
    expect(droppedBytes, `SEED=${seed}`).toBe(lost)
  }
})

test('records of any size across what is read at a time', () => {
  const sizes = [0, CHUNK - 100, 1, CHUNK - 33, CHUNK - 32, CHUNK - 31, CHUNK, CHUNK + 1]
  const log = new LogBuilder()
  for (const [i, size] of [...sizes, 5 * CHUNK + 3, 17, 2 * CHUNK, 40].entries()) {
    log.data(i + 1, Buffer.alloc(size, i + 1), log.end)
  }
  for (let i = 0; i < 5000; i++) log.data(100 + i, String(i), log.end)
  const bytes = log.zeros(3 * CHUNK).bytes()
  const { payloads, tail, end } = read(bytes)
  expect([payloads.length, tail, end]).toEqual([log.records.length, 'clean', log.end])
  expect(payloads.join() === payloadsOf(log.records).join()).toBe(true)
})
