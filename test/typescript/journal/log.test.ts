// Writer and reader of logs: what was written comes back; how a log may end, and what it is called.

import { describe, expect, test } from 'vitest'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import { encodeLogHeader } from '../../../lib/typescript/journal/log-format.ts'
import { LogReader } from '../../../lib/typescript/journal/log-reader.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { keepEverything, keepRandom, keepTorn } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure, scaled, testSeed } from '../../support/scratch.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { createLog, payloadsOf, readLog } from '../support/logs.ts'
import { newMachine, putFile, readFile } from '../support/machine.ts'
import { Random } from '../support/random.ts'

const PATH = '/db/000013.journal'
const LOG = { fileNumber: 13 } as const

/** Commits 1 to 4; the first two are synced, and the third says so. */
function fourCommits(): { vfs: MemVfs; bytes: Buffer; offsets: number[] } {
  const vfs = newMachine()
  const writer = createLog(vfs, PATH, 13)
  vfs.syncDir('/db').sync()
  const offsets: number[] = []
  for (const [i, text] of ['first', 'second', 'third', 'fourth'].entries()) {
    if (i === 2) runSync(writer.sync())
    offsets.push(writer.end)
    writer.append(1, i + 1, Buffer.from(text))
  }
  return { vfs, bytes: readFile(vfs, PATH), offsets }
}

/** What a reader makes of other bytes under the same name. */
function readBytes(bytes: Uint8Array, options: Parameters<typeof readLog>[2] = LOG) {
  const vfs = newMachine()
  putFile(vfs, PATH, bytes)
  return readLog(vfs, PATH, options)
}

describe('the writer', () => {
  test('states in each record what was durable when it was written', () => {
    const { vfs, offsets } = fourCommits()
    const content = readLog(vfs, PATH, LOG)
    expect(payloadsOf(content)).toEqual(['first', 'second', 'third', 'fourth'])
    expect(content.records.map(({ seqno }) => seqno)).toEqual([1, 2, 3, 4])
    expect([content.reader.syncedTo, content.reader.droppedBytes]).toEqual([offsets[2], 0])
  })

  test('witnesses a sync once, and that is no reason for the next', () => {
    const vfs = newMachine()
    const writer = createLog(vfs, PATH, 13)
    runSync(writer.sync())
    writer.witness()
    expect([writer.end, writer.unsyncedBytes]).toEqual([32, 0])
    writer.append(1, 1, Buffer.from('x'))
    expect(writer.unsyncedBytes).toBe(33)
    runSync(writer.sync())
    const synced = writer.end
    writer.witness()
    writer.witness()
    expect([writer.end, writer.unsyncedBytes]).toEqual([synced + 32, 0])
    runSync(writer.sync())
    writer.witness()
    expect(writer.end).toBe(synced + 32)
    const { reader, records } = readLog(vfs, PATH, LOG)
    expect([records.length, reader.syncedTo]).toEqual([2, synced])
  })

  test('takes back a failed append, so that no crash brings it to life', async () => {
    for (const kind of ['ENOSPC', 'EIO'] as const) {
      const memory = newMachine()
      const vfs = new FaultVfs(memory)
      const writer = createLog(vfs, PATH, 13)
      memory.syncDir('/db').sync()
      writer.append(1, 1, Buffer.from('kept'))
      vfs.setPlan([{ operation: 'write', nth: 0, kind }])
      // oxlint-disable-next-line no-await-in-loop
      const error = await failure(() => writer.append(1, 2, Buffer.from('refused')))
      expect(error.code).toBe(kind === 'ENOSPC' ? 'DISK_FULL' : 'IO_ERROR')
      expect(
        payloadsOf(
          readLog(
            memory.crash(() => 0),
            PATH,
            LOG,
          ),
        ),
      ).toEqual(['kept'])
      writer.append(1, 2, Buffer.from('next'))
      expect(payloadsOf(readLog(memory, PATH, LOG))).toEqual(['kept', 'next'])
    }
  })

  test('writes no more when it could not take back, or a sync failed', async () => {
    const memory = newMachine()
    const vfs = new FaultVfs(memory)
    const writer = createLog(vfs, PATH, 13)
    vfs.setPlan([
      { operation: 'write', nth: 0, kind: 'ENOSPC' },
      { operation: 'truncate', nth: 0, kind: 'EIO' },
    ])
    await failure(() => writer.append(1, 1, Buffer.from('a')))
    const after = await failure(() => writer.append(1, 1, Buffer.from('a')))
    expect([after.code, (await failure(() => runSync(writer.sync()))).code]).toEqual([
      'DB_FAILED',
      'DB_FAILED',
    ])

    const other = createLog(vfs, '/db/000014.journal', 14)
    other.append(1, 1, Buffer.from('a'))
    vfs.setPlan([{ operation: 'sync', nth: 0, kind: 'syncKept' }])
    const failed = await failure(async () => run(other.sync()))
    expect([failed.code, failed.indeterminate]).toEqual(['SYNC_FAILED', true])
    expect((await failure(async () => run(other.sync()))).code).toBe('SYNC_FAILED')
    expect((await failure(() => other.append(1, 2, Buffer.from('b')))).code).toBe('SYNC_FAILED')
    expect(other.syncedTo).toBe(0)
  })

  test('a sync covers what was appended before it, not what came meanwhile', async () => {
    const writer = createLog(newMachine(), PATH, 13)
    writer.append(1, 1, Buffer.from('a'))
    const covered = writer.end
    const syncing = run(writer.sync())
    writer.append(1, 2, Buffer.from('b'))
    writer.close()
    await syncing
    expect(writer.syncedTo).toBe(covered)
  })

  // What a system could not write it tells one of them, and nothing is left for the other to do.
  test('of two syncs at a time neither says more than is durable', async () => {
    for (const isBlocking of [true, false]) {
      const machine = newMachine()
      const faults = new FaultVfs(machine)
      const late = new LateVfs(faults)
      const writer = createLog(late, PATH, 13)
      writer.append(1, 1, Buffer.from('a'))
      faults.setPlan([{ operation: 'sync', nth: 0, kind: 'syncKept' }])
      const first = failure(async () => run(writer.sync()))
      // It has failed, and has not been answered.
      late.step(0)
      const second = failure(() => (isBlocking ? runSync(writer.sync()) : run(writer.sync())))
      if (isBlocking) expect((await second).code).toBe('SYNC_FAILED')
      while (late.waiting > 0) late.step(0)
      for (const failed of [first, second]) expect((await failed).code).toBe('SYNC_FAILED')
      expect(writer.syncedTo).toBe(0)
    }
  })

  test('an async sync that waits for another has nothing left to do', async () => {
    const faults = new FaultVfs(newMachine())
    const writer = createLog(faults, PATH, 13)
    writer.append(1, 1, Buffer.from('a'))
    const calls = [1, 2, 3].map(async () => run(writer.sync()))
    writer.append(1, 2, Buffer.from('b'))
    calls.push(run(writer.sync()))
    await Promise.all(calls)
    expect(faults.count('sync')).toBe(2)
    expect(writer.syncedTo).toBe(writer.end)
  })
})

describe('the end of a log', () => {
  test('is clean at its length, at zeros, and right behind the header', () => {
    const { bytes } = fourCommits()
    expect(payloadsOf(readBytes(bytes))).toHaveLength(4)
    const padded = readBytes(Buffer.concat([bytes, Buffer.alloc(1_000_000)]))
    expect(payloadsOf(padded)).toHaveLength(4)
    expect([padded.reader.end, padded.reader.droppedBytes]).toEqual([bytes.length, 0])
    expect(payloadsOf(readBytes(encodeLogHeader('journal', 13)))).toEqual([])
  })

  test('is torn wherever a cut leaves what was durable', () => {
    const { bytes, offsets } = fourCommits()
    const [, , third = 0, fourth = 0] = offsets
    for (let cut = third; cut < bytes.length; cut++) {
      const content = readBytes(bytes.subarray(0, cut))
      const whole = cut < fourth ? 2 : 3
      const begin = whole === 2 ? third : fourth
      expect(payloadsOf(content)).toHaveLength(whole)
      const lost = bytes.subarray(begin, cut)
      expect(content.reader.droppedBytes).toBe(lost.findLastIndex((byte) => byte !== 0) + 1)
      expect(content.reader.end).toBe(begin)
    }
  })

  test('is damage wherever a record that says so would have been durable', async () => {
    const { bytes, offsets } = fourCommits()
    const third = offsets[2]!
    for (let at = 32; at < third; at++) {
      const damaged = Buffer.from(bytes)
      damaged[at]! ^= 0x10
      const begin = offsets.findLast((offset) => offset <= at)
      // One flip after the other.
      // oxlint-disable-next-line no-await-in-loop
      const error = await failure(() => readBytes(damaged))
      expect([error.code, error.path, error.offset]).toEqual(['CORRUPTION', PATH, begin])
    }
    for (let at = third; at < bytes.length; at++) {
      const torn = Buffer.from(bytes)
      torn[at]! ^= 0x10
      expect(payloadsOf(readBytes(torn)).length).toBeGreaterThanOrEqual(2)
    }
  })

  test('zeros in the place of durable records are damage, however they end', async () => {
    const { bytes, offsets } = fourCommits()
    const holes = Buffer.from(bytes).fill(0, offsets[1], offsets[2])
    expect((await failure(() => readBytes(holes))).offset).toBe(offsets[1])
    // The record that called the second one durable is gone as well: nobody knows.
    const ended = Buffer.from(bytes).fill(0, offsets[1])
    expect(payloadsOf(readBytes(ended))).toEqual(['first'])
  })

  test('the manifest may state it: then it must be there, exactly', async () => {
    const { bytes, offsets } = fourCommits()
    const [, , third = 0, fourth = 0] = offsets
    const upTo = (finalLength: number) => ({ fileNumber: 13, finalLength })
    expect(payloadsOf(readBytes(bytes, upTo(fourth)))).toHaveLength(3)
    const garbage = Buffer.concat([bytes.subarray(0, fourth), Buffer.alloc(100, 0xff)])
    expect(payloadsOf(readBytes(garbage, upTo(fourth)))).toHaveLength(3)
    for (const [data, length, at] of [
      [bytes, fourth + 1, fourth],
      [bytes, fourth - 1, third],
      [bytes.subarray(0, fourth), bytes.length, fourth],
      [Buffer.from(bytes).fill(0, fourth), bytes.length, fourth],
    ] as const) {
      // oxlint-disable-next-line no-await-in-loop
      const error = await failure(() => readBytes(data, upTo(length)))
      expect([error.code, error.offset]).toEqual(['CORRUPTION', at])
    }
  })

  test('strict refuses a torn tail; salvage reads on behind what it cannot read', async () => {
    const { bytes, offsets } = fourCommits()
    const cut = bytes.subarray(0, bytes.length - 1)
    const strict = await failure(() => readBytes(cut, { ...LOG, mode: 'strict' }))
    expect([strict.code, strict.offset]).toEqual(['CORRUPTION', offsets[3]])
    expect(payloadsOf(readBytes(bytes, { ...LOG, mode: 'strict' }))).toHaveLength(4)

    const damaged = Buffer.from(bytes)
    damaged[offsets[1]! + 33]! ^= 1
    const salvaged = readBytes(damaged, { ...LOG, mode: 'salvage' })
    expect(payloadsOf(salvaged)).toEqual(['first', 'third', 'fourth'])
    expect(salvaged.reader.droppedBytes).toBe(offsets[2]! - offsets[1]!)
    const both = readBytes(damaged.subarray(0, bytes.length - 1), { ...LOG, mode: 'salvage' })
    expect(payloadsOf(both)).toEqual(['first', 'third'])
    expect(both.reader.droppedBytes).toBe(
      offsets[2]! - offsets[1]! + bytes.length - 1 - offsets[3]!,
    )
  })

  test('records larger than what is read at a time, and their damage', async () => {
    const vfs = newMachine()
    const writer = createLog(vfs, PATH, 13)
    const sizes = [600_000, 10, 262_144 - 64, 262_144, 100]
    const offsets = sizes.map((size, i) => {
      const at = writer.end
      writer.append(1, i + 1, Buffer.alloc(size, i + 1))
      return at
    })
    runSync(writer.sync())
    writer.witness()
    expect(payloadsOf(readLog(vfs, PATH, LOG)).map(({ length }) => length)).toEqual(sizes)
    const bytes = readFile(vfs, PATH)
    bytes[offsets[0]! + 500_000]! ^= 1
    expect((await failure(() => readBytes(bytes))).offset).toBe(offsets[0])
    const salvaged = readBytes(bytes, { ...LOG, mode: 'salvage' })
    expect(payloadsOf(salvaged).map(({ length }) => length)).toEqual(sizes.slice(1))
  })

  test('headers are told apart by the caller', () => {
    expect(readBytes(encodeLogHeader('journal', 12)).reader.headerError?.code).toBe('CORRUPTION')
    expect(readBytes(new Uint8Array(7)).reader.headerError?.code).toBe('CORRUPTION')
    expect(readBytes(Buffer.alloc(64, 'x')).reader.headerError?.code).toBe('NOT_A_DATABASE')
  })

  test('a search that would take too long ends as damage', async () => {
    const { bytes } = fourCommits()
    // Many headers that look right and claim the rest of the file.
    const header = Buffer.alloc(32)
    header[8] = 1
    header[12] = 1
    const tail = Buffer.concat(Array.from({ length: 2000 }, () => header))
    for (let i = 0; i < 2000; i++) tail.writeUInt32LE(tail.length - 32 * i - 32, 32 * i + 4)
    const error = await failure(() => readBytes(Buffer.concat([bytes, tail])))
    expect([error.code, error.offset]).toEqual(['CORRUPTION', bytes.length])
  })
})

test('after any crash, a prefix of the commits, and no less than what was synced', () => {
  const seed = testSeed()
  const random = new Random(seed)
  for (let round = 0; round < scaled(300); round++) {
    const vfs = newMachine()
    const writer = createLog(vfs, PATH, 13)
    runSync(writer.sync())
    vfs.syncDir('/db').sync()
    let synced = 0
    const count = 1 + random.below(8)
    for (let seqno = 1; seqno <= count; seqno++) {
      writer.append(1, seqno, Buffer.alloc(random.below(100), seqno))
      if (random.below(3) === 0) {
        runSync(writer.sync())
        synced = seqno
        if (random.below(2) === 0) writer.witness()
      }
    }
    const pending = vfs.pendingChanges().length
    const policies = [keepEverything, keepRandom(() => random.next() / 2 ** 32)]
    for (let i = 0; i < pending; i++) policies.push(keepTorn(i, random.below(130)))
    for (const policy of policies) {
      const { records } = readLog(vfs.crash(policy), PATH, LOG)
      const seqnos = records.filter(({ type }) => type === 1).map((record) => record.seqno)
      expect(seqnos, `SEED=${seed}`).toEqual(seqnos.map((_, i) => i + 1))
      expect(seqnos.length, `SEED=${seed}`).toBeGreaterThanOrEqual(synced)
    }
  }
})

test('whatever the bytes are, the reader ends', () => {
  const seed = testSeed()
  const random = new Random(seed)
  const { bytes } = fourCommits()
  for (let round = 0; round < scaled(500); round++) {
    const mutated = Buffer.from(bytes.subarray(0, 32 + random.below(bytes.length)))
    for (let i = random.below(5); i > 0; i--) {
      mutated[random.below(mutated.length)] = random.below(3) === 0 ? 0 : random.below(256)
    }
    for (const mode of ['tail', 'salvage'] as const) {
      try {
        readBytes(mutated, { fileNumber: 13, mode })
      } catch (error) {
        expect(error, `SEED=${seed}`).toMatchObject({ code: 'CORRUPTION' })
      }
    }
  }
})

test('both forms of reading give the same', async () => {
  const { vfs } = fourCommits()
  const reader = new LogReader(vfs.open(PATH, 'read').sync(), {
    kind: 'journal',
    mode: 'tail',
    ...LOG,
  })
  await run(reader.open())
  const seqnos: number[] = []
  // oxlint-disable-next-line no-await-in-loop
  while (await run(reader.next())) seqnos.push(reader.seqno)
  expect(seqnos).toEqual([1, 2, 3, 4])
})
