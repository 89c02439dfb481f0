// Which commits recovery finds, or that something durable is damaged: steps 1 to 5 of
// docs/format.md, 5.4, as they are numbered there.

import { describe, expect, test } from 'vitest'
import { keyedCrc } from '../../../lib/typescript/base/crc32c.ts'
import { encodeLogHeader } from '../../../lib/typescript/journal/log-format.ts'
import type { LogWriter } from '../../../lib/typescript/journal/log-writer.ts'
import { keepNothing } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure } from '../../support/scratch.ts'
import { putFile, readFile } from '../support/machine.ts'
import {
  changeFile,
  commits,
  entryBytes,
  filesOf,
  flipBit,
  journalPath,
  killed,
  newDirectory,
  NOTHING_DROPPED,
  OPTIONS,
  recoverAndDie,
  refusal,
  rows,
  synced,
} from '../support/recoveries.ts'
import type { DirectoryMaker } from '../support/recoveries.ts'

describe('1: the journals', () => {
  test('are replayed by ascending number, named ones first', () => {
    const made = newDirectory()
    const first = made.journal()
    const second = made.journal({ named: false })
    commits(first, 1, 3)
    commits(second, 4, 5)
    const { contents, report, nextSeqno } = recoverAndDie(killed(made))
    expect(contents).toEqual({ a: rows(1, 5) })
    expect(report).toEqual({ commitsReplayed: 5, ...NOTHING_DROPPED })
    expect(nextSeqno).toBe(6)
  })

  test('a named one that is missing is damage', async () => {
    for (const mode of ['tail', 'strict', 'salvage'] as const) {
      const made = newDirectory()
      const first = made.journal()
      made.journal()
      made.vfs.remove(journalPath(first.fileNumber)).sync()
      const path = journalPath(first.fileNumber)
      // One mode after the other.
      // oxlint-disable-next-line no-await-in-loop
      expect(await refusal(made, { mode })).toEqual(['CORRUPTION', 'a journal is missing', path, 0])
    }
  })

  test('edge case 28: unnamed ones below a named one go, and files that nothing names', () => {
    const made = newDirectory()
    const stray = made.journal({ named: false })
    commits(stray, 1, 1)
    const named = made.journal()
    commits(named, 1, 2)
    for (const name of ['000077.table', '000078.blob', 'notes.txt', '1.table', 'lock']) {
      putFile(made.vfs, `/db/${name}`, Buffer.from('x'))
    }
    const vfs = killed(made)
    const { contents, journals } = recoverAndDie(vfs)
    expect(contents).toEqual({ a: rows(1, 2) })
    expect(filesOf(vfs, 'journal')).toEqual(
      journals!.numbers.map((number) => journalPath(number).slice('/db/'.length)),
    )
    expect(vfs.list('/db').sync()).toEqual(expect.arrayContaining(['notes.txt', '1.table', 'lock']))
    expect([...filesOf(vfs, 'blob'), ...filesOf(vfs, 'table')]).toEqual(['1.table'])
  })

  test('after a clean shutdown nothing is replayed, and unnamed ones are removed', () => {
    const made = newDirectory()
    const named = made.journal()
    commits(named, 1, 2)
    const stray = made.journal({ named: false })
    commits(stray, 3, 3)
    made.edit({ cleanShutdown: true, lastSeqno: 41 })
    const vfs = killed(made)
    const { contents, report, nextSeqno, manifest } = recoverAndDie(vfs)
    expect(contents).toEqual({ a: {} })
    expect(report).toEqual({ commitsReplayed: 0, ...NOTHING_DROPPED })
    expect([nextSeqno, manifest.state.cleanShutdown]).toEqual([42, false])
    expect(filesOf(vfs, 'journal')).toHaveLength(2)
    expect(filesOf(vfs, 'journal')).not.toContain(journalPath(stray.fileNumber).slice(4))
  })

  test('after a clean shutdown a named one must be there all the same', async () => {
    const made = newDirectory()
    const named = made.journal()
    made.edit({ cleanShutdown: true })
    made.vfs.remove(journalPath(named.fileNumber)).sync()
    expect((await refusal(made)).slice(0, 2)).toEqual(['CORRUPTION', 'a journal is missing'])
  })
})

describe('2: a journal with a final length', () => {
  test('ends there: nothing behind it is looked at', () => {
    const made = newDirectory()
    const first = made.journal()
    commits(first, 1, 2)
    made.seal(first)
    commits(first, 3, 3)
    const second = made.journal()
    commits(second, 3, 4)
    const vfs = killed(made)
    const { contents } = recoverAndDie(vfs)
    expect(contents).toEqual({ a: rows(1, 4) })
  })

  test('must have records up to it', async () => {
    const cases: readonly [change: number, message: string, at: 'last' | 'end'][] = [
      [1, 'records that were durable are missing', 'end'],
      [-1, 'a record that was durable is damaged', 'last'],
    ]
    for (const [difference, message, at] of cases) {
      const made = newDirectory()
      const journal = made.journal()
      commits(journal, 1, 2)
      const last = journal.end
      commits(journal, 3, 3)
      const end = journal.end
      made.seal(journal, end + difference)
      // oxlint-disable-next-line no-await-in-loop
      expect(await refusal(made)).toEqual([
        'CORRUPTION',
        message,
        journalPath(journal.fileNumber),
        at === 'last' ? last : end,
      ])
    }
  })

  test('must have a header', async () => {
    const made = newDirectory()
    const journal = made.journal()
    made.seal(journal)
    const path = journalPath(journal.fileNumber)
    putFile(made.vfs, path, Buffer.alloc(0))
    expect(await refusal(made)).toEqual(['CORRUPTION', 'the file has no whole header', path, 0])
  })
})

describe('3: a journal without final length', () => {
  test('may end torn: what was not durable is cut, and reported', () => {
    for (const cut of [1, 20, 40]) {
      const made = newDirectory()
      const journal = made.journal()
      commits(journal, 1, 2)
      synced(journal)
      const end = journal.end
      commits(journal, 3, 3)
      const path = journalPath(journal.fileNumber)
      changeFile(made.vfs, path, (bytes) => bytes.subarray(0, bytes.length - cut))
      const left = readFile(made.vfs, path)
      const { contents, report, nextSeqno } = recoverAndDie(killed(made))
      expect(contents).toEqual({ a: rows(1, 2) })
      expect([report, nextSeqno]).toEqual([
        {
          commitsReplayed: 2,
          bytesDropped: left.findLastIndex((byte) => byte !== 0) + 1 - end,
          commitsDropped: undefined,
          files: [path.slice('/db/'.length)],
        },
        3,
      ])
    }
  })

  test('strict refuses that', async () => {
    const made = newDirectory()
    const journal = made.journal()
    commits(journal, 1, 1)
    const end = journal.end
    commits(journal, 2, 2)
    const path = journalPath(journal.fileNumber)
    changeFile(made.vfs, path, (bytes) => bytes.subarray(0, bytes.length - 1))
    expect(await refusal(made, { mode: 'strict' })).toEqual([
      'CORRUPTION',
      'the tail of the journal is torn',
      path,
      end,
    ])
  })

  test('may not be damaged where it was durable', async () => {
    for (const mode of ['tail', 'strict'] as const) {
      const made = newDirectory()
      const journal = made.journal()
      commits(journal, 1, 1)
      const second = journal.end
      commits(journal, 2, 3)
      synced(journal)
      flipBit(made.vfs, journal, second + 5)
      // oxlint-disable-next-line no-await-in-loop
      expect(await refusal(made, { mode })).toEqual([
        'CORRUPTION',
        'a record that was durable is damaged',
        journalPath(journal.fileNumber),
        second,
      ])
    }
  })

  test('with zeros behind its records ends cleanly', () => {
    const made = newDirectory()
    const journal = made.journal()
    commits(journal, 1, 2)
    const path = journalPath(journal.fileNumber)
    changeFile(made.vfs, path, (bytes) => Buffer.concat([bytes, Buffer.alloc(10_000)]))
    const { contents, report } = recoverAndDie(killed(made), { mode: 'strict' })
    expect([contents, report.bytesDropped]).toEqual([{ a: rows(1, 2) }, 0])
  })

  test('unnamed and without a valid header is a torn creation: it counts as empty', () => {
    const headers = [
      new Uint8Array(0),
      Buffer.alloc(32),
      encodeLogHeader('journal', 999),
      Buffer.alloc(500, 'x'),
    ]
    for (const header of headers) {
      for (const mode of ['tail', 'strict', 'salvage'] as const) {
        const made = newDirectory()
        const first = made.journal()
        commits(first, 1, 2)
        const torn = made.journal({ named: false })
        putFile(made.vfs, journalPath(torn.fileNumber), header)
        const third = made.journal({ named: false })
        commits(third, 3, 3)
        const vfs = killed(made)
        const { contents, report } = recoverAndDie(vfs, { mode })
        expect(contents).toEqual({ a: rows(1, 3) })
        expect(report).toEqual({ commitsReplayed: 3, ...NOTHING_DROPPED })
        expect(filesOf(vfs, 'journal')).not.toContain(journalPath(torn.fileNumber).slice(4))
      }
    }
  })

  test('named and without a valid header is damage', async () => {
    const cases = [
      [new Uint8Array(0), 'the file has no whole header'],
      [Buffer.alloc(32), 'the journal has no header'],
      [Buffer.alloc(500, 'x'), 'the journal has no header'],
      [encodeLogHeader('journal', 999), 'the checksum of the header is wrong'],
    ] as const
    for (const [header, message] of cases) {
      const made = newDirectory()
      const path = journalPath(made.journal().fileNumber)
      putFile(made.vfs, path, header)
      // oxlint-disable-next-line no-await-in-loop
      expect(await refusal(made)).toEqual(['CORRUPTION', message, path, 0])
    }
  })

  test('of a newer version is refused, named or not, and stays', async () => {
    for (const named of [true, false]) {
      const made = newDirectory()
      const journal = made.journal({ named })
      const path = journalPath(journal.fileNumber)
      changeFile(made.vfs, path, (bytes) => {
        bytes[8] = 2
        reseal(bytes, journal.fileNumber)
      })
      // oxlint-disable-next-line no-await-in-loop
      expect(await refusal(made)).toEqual([
        'FORMAT_TOO_NEW',
        'the file was written by a newer version',
        path,
        0,
      ])
    }
  })
})

function reseal(header: Buffer, fileNumber: number): void {
  header.writeUInt32LE(keyedCrc(fileNumber, 0, header, 0, 28), 28)
}

describe('4: seqnos', () => {
  test('the first record of all may have any', () => {
    const made = newDirectory()
    commits(made.journal(), 500, 502)
    const { contents, nextSeqno } = recoverAndDie(killed(made))
    expect([contents, nextSeqno]).toEqual([{ a: rows(500, 502) }, 503])
  })

  test('a repetition is passed over, in the file that has it and in later ones', () => {
    const made = newDirectory()
    const first = made.journal()
    commits(first, 1, 5)
    // Recoveries that did not reach their manifest commit wrote a tail again.
    commits(made.journal({ named: false }), 4, 5)
    const third = made.journal({ named: false })
    commits(third, 3, 5)
    commits(third, 6, 7)
    const { contents, report } = recoverAndDie(killed(made), { mode: 'strict' })
    expect(contents).toEqual({ a: rows(1, 7) })
    expect(report).toEqual({ commitsReplayed: 7, ...NOTHING_DROPPED })
  })

  test('a gap inside one file is damage', async () => {
    for (const mode of ['tail', 'strict'] as const) {
      const made = newDirectory()
      const journal = made.journal()
      commits(journal, 1, 2)
      const at = journal.end
      commits(journal, 4, 4)
      // oxlint-disable-next-line no-await-in-loop
      expect(await refusal(made, { mode })).toEqual([
        'CORRUPTION',
        'commits are missing before this one',
        journalPath(journal.fileNumber),
        at,
      ])
    }
  })

  test('a gap behind a repetition is damage', async () => {
    const made = newDirectory()
    commits(made.journal(), 1, 2)
    const second = made.journal()
    commits(second, 2, 2)
    const at = second.end
    commits(second, 4, 4)
    expect(await refusal(made)).toEqual([
      'CORRUPTION',
      'commits are missing before this one',
      journalPath(second.fileNumber),
      at,
    ])
  })

  test('that no writer gives are damage in every mode', async () => {
    for (const mode of ['tail', 'strict', 'salvage'] as const) {
      for (const [count, seqno] of [
        [1, 0],
        [0, 1],
      ] as const) {
        const made = newDirectory()
        const journal = made.journal()
        journal.append(count, seqno, entryBytes(0, 1, 'k', 'v'))
        // oxlint-disable-next-line no-await-in-loop
        expect(await refusal(made, { mode })).toEqual([
          'CORRUPTION',
          'a commit has an impossible number',
          journalPath(journal.fileNumber),
          32,
        ])
      }
    }
  })
})

describe('5: nothing is replayed behind a loss', () => {
  test('a torn tail: the next journal is dropped if nothing of it was durable', () => {
    const made = newDirectory()
    const first = made.journal()
    commits(first, 1, 3)
    const second = made.journal()
    commits(second, 4, 6)
    const path = journalPath(first.fileNumber)
    changeFile(made.vfs, path, (bytes) => bytes.subarray(0, bytes.length - 1))
    const vfs = killed(made)
    const { contents, report, nextSeqno } = recoverAndDie(vfs)
    expect(contents).toEqual({ a: rows(1, 2) })
    expect(nextSeqno).toBe(3)
    expect(report).toEqual({
      commitsReplayed: 2,
      bytesDropped: 48 - 1 + 3 * 48,
      commitsDropped: undefined,
      files: [second, first].map(({ fileNumber }) => journalPath(fileNumber).slice(4)),
    })
    // What was dropped must not come back.
    expect(recoverAndDie(vfs.crash(keepNothing)).contents).toEqual({ a: rows(1, 2) })
  })

  test('a gap between files: the commits behind it are counted', () => {
    const made = newDirectory()
    commits(made.journal(), 1, 3)
    const second = made.journal()
    commits(second, 6, 7)
    const third = made.journal()
    commits(third, 8, 8)
    const { contents, report } = recoverAndDie(killed(made))
    expect(contents).toEqual({ a: rows(1, 3) })
    expect(report).toEqual({
      commitsReplayed: 3,
      bytesDropped: 3 * 48,
      commitsDropped: 3,
      files: [second, third].map(({ fileNumber }) => journalPath(fileNumber).slice(4)),
    })
  })

  test('repetitions behind a loss are no loss', () => {
    const made = newDirectory()
    const first = made.journal()
    commits(first, 1, 4)
    commits(made.journal({ named: false }), 2, 3)
    const third = made.journal({ named: false })
    commits(third, 3, 6)
    changeFile(made.vfs, journalPath(first.fileNumber), (bytes) => bytes.subarray(0, -1))
    const { contents, report } = recoverAndDie(killed(made))
    expect(contents).toEqual({ a: rows(1, 3) })
    expect(report).toEqual({
      commitsReplayed: 3,
      bytesDropped: 3 * 48 + 48 - 1,
      commitsDropped: undefined,
      files: [third, first].map(({ fileNumber }) => journalPath(fileNumber).slice(4)),
    })
  })

  test('an open journal without data that one with data follows', () => {
    const made = newDirectory()
    commits(made.journal(), 1, 3)
    made.journal()
    commits(made.journal(), 4, 5)
    const { contents, report } = recoverAndDie(killed(made))
    expect(contents).toEqual({ a: rows(1, 3) })
    expect([report.commitsDropped, report.bytesDropped]).toEqual([2, 2 * 48])
  })

  test('an unnamed one without data is none, and neither is one before repetitions', () => {
    const made = newDirectory()
    commits(made.journal(), 1, 3)
    made.journal()
    commits(made.journal({ named: false }), 2, 3)
    expect(recoverAndDie(killed(made), { mode: 'strict' }).contents).toEqual({ a: rows(1, 3) })
    const other = newDirectory()
    commits(other.journal(), 1, 3)
    other.journal({ named: false })
    commits(other.journal({ named: false }), 4, 5)
    expect(recoverAndDie(killed(other), { mode: 'strict' }).contents).toEqual({ a: rows(1, 5) })
  })

  const losses: Readonly<Record<string, (made: DirectoryMaker) => [LogWriter, number]>> = {
    'a torn tail': (made) => {
      const first = made.journal()
      commits(first, 1, 2)
      const at = first.end
      commits(first, 3, 3)
      const path = journalPath(first.fileNumber)
      changeFile(made.vfs, path, (bytes) => bytes.subarray(0, bytes.length - 1))
      return [first, at]
    },
    'a gap': (made) => {
      const first = made.journal()
      commits(first, 1, 2)
      return [first, first.end]
    },
    'an empty journal': (made) => {
      commits(made.journal(), 1, 3)
      return [made.journal(), 32]
    },
  }

  test.each(Object.keys(losses))('%s: strict refuses it', async (what) => {
    const made = newDirectory()
    const [lost, at] = losses[what]!(made)
    commits(made.journal(), 4, 5)
    const message =
      what === 'a torn tail'
        ? 'the tail of the journal is torn'
        : 'commits are missing at the end of the journal'
    const path = journalPath(lost.fileNumber)
    expect(await refusal(made, { mode: 'strict' })).toEqual(['CORRUPTION', message, path, at])
  })

  test.each(Object.keys(losses))('%s: damage if later records were durable', async (what) => {
    const provers: readonly ((made: DirectoryMaker, journal: LogWriter) => void)[] = [
      (_, journal) => synced(journal),
      (made, journal) => made.seal(journal),
      // In a journal further behind.
      (made, journal) => {
        const next = made.journal()
        commits(next, 6, 6)
        synced(next)
        expect(journal.syncedTo).toBeLessThan(journal.end)
      },
    ]
    for (const prove of provers) {
      const made = newDirectory()
      const [lost, at] = losses[what]!(made)
      const behind = made.journal()
      commits(behind, 4, 5)
      prove(made, behind)
      // oxlint-disable-next-line no-await-in-loop
      expect(await refusal(made)).toEqual([
        'CORRUPTION',
        'commits that were durable are missing',
        journalPath(lost.fileNumber),
        at,
      ])
    }
  })

  test('damage behind a loss is damage', async () => {
    const made = newDirectory()
    losses['a gap']!(made)
    const behind = made.journal()
    commits(behind, 4, 4)
    const at = behind.end
    commits(behind, 5, 5)
    synced(behind)
    flipBit(made.vfs, behind, at)
    expect(await refusal(made)).toEqual([
      'CORRUPTION',
      'a record that was durable is damaged',
      journalPath(behind.fileNumber),
      at,
    ])
  })

  test('a torn tail behind a loss is dropped with the rest', () => {
    const made = newDirectory()
    losses['a gap']!(made)
    const behind = made.journal()
    commits(behind, 4, 5)
    const path = journalPath(behind.fileNumber)
    changeFile(made.vfs, path, (bytes) => bytes.subarray(0, bytes.length - 1))
    const { contents, report } = recoverAndDie(killed(made))
    expect(contents).toEqual({ a: rows(1, 2) })
    expect(report).toEqual({
      commitsReplayed: 2,
      bytesDropped: 2 * 48 - 1,
      commitsDropped: undefined,
      files: [path.slice(4)],
    })
  })

  test('effects that the manifest names must be reached', async () => {
    const flushed = newDirectory()
    commits(flushed.journal(), 1, 3)
    flushed.edit({ flushedSeqnos: [{ tree: 1, seqno: 5 }] })
    const error = await failure(() => recoverAndDie(killed(flushed)))
    expect([error.code, error.message, error.path, error.offset, error.keyspace]).toEqual([
      'CORRUPTION',
      'the journals end before what is in tables',
      '/db',
      undefined,
      'a',
    ])
    // As far as 4 is enough, or a journal that was removed.
    commits(flushed.journal(), 4, 4)
    expect(recoverAndDie(killed(flushed)).nextSeqno).toBe(5)
    const created = newDirectory()
    commits(created.journal(), 1, 3)
    const tree = created.manifest.newTreeId()
    created.edit({ treesCreated: [{ tree, name: 'b', createdSeqno: 4, options: OPTIONS }] })
    expect((await failure(() => recoverAndDie(killed(created)))).keyspace).toBe('b')
    created.edit({ lastSeqno: 4 })
    expect(recoverAndDie(killed(created)).nextSeqno).toBe(5)
  })
})
