// Salvage: every commit that can still be read, also behind damage, and a report of the rest.

import { expect, test } from 'vitest'
import { keepEverything, keepNothing } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure } from '../../support/scratch.ts'
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
  rows,
  synced,
} from '../support/recoveries.ts'
import type { Contents, Recovered } from '../support/recoveries.ts'

const SALVAGE = { mode: 'salvage' } as const

/** Bytes of the record of one of `commits`, its seqno being of one digit. */
const RECORD = 48

/** Salvages; what it says must hold after a power loss too, without anything left to salvage. */
function salvage(vfs: MemVfs): Recovered {
  const salvaged = recoverAndDie(vfs, SALVAGE)
  const { contents, nextSeqno, manifest, journals } = salvaged
  expect([...manifest.state.journals]).toEqual([[journals!.activeNumber, undefined]])
  expect(filesOf(vfs, 'journal')).toHaveLength(1)
  const again = recoverAndDie(vfs.crash(keepNothing), { mode: 'strict' })
  expect(again).toMatchObject({ contents, nextSeqno, report: { bytesDropped: 0, files: [] } })
  return salvaged
}

function name(number: number): string {
  return journalPath(number).slice('/db/'.length)
}

test('with nothing to salvage it is any other recovery', () => {
  const made = newDirectory()
  const journal = made.journal()
  commits(journal, 1, 5)
  const vfs = killed(made)
  const { contents, report, manifest } = recoverAndDie(vfs, SALVAGE)
  expect(contents).toEqual({ a: rows(1, 5) })
  expect(report).toEqual({ commitsReplayed: 5, ...NOTHING_DROPPED })
  expect(manifest.state.journals.get(journal.fileNumber)).toBe(32)
  expect(filesOf(vfs, 'table')).toEqual([])
})

test('damage in the middle: what lies around it is kept', () => {
  for (const isDurable of [true, false]) {
    const made = newDirectory()
    const journal = made.journal()
    commits(journal, 1, 9)
    if (isDurable) synced(journal)
    // Commits 2, 5 and 6.
    for (const seqno of [2, 5, 6]) flipBit(made.vfs, journal, 32 + (seqno - 1) * RECORD + 33)
    const { contents, report, nextSeqno } = salvage(killed(made))
    expect(contents).toEqual({ a: { ...rows(1, 1), ...rows(3, 4), ...rows(7, 9) } })
    expect([report, nextSeqno]).toEqual([
      {
        commitsReplayed: 6,
        bytesDropped: 3 * RECORD,
        commitsDropped: undefined,
        files: [name(journal.fileNumber)],
      },
      10,
    ])
  }
})

test('a torn journal, and one whose durable end is gone: later ones are kept', () => {
  const made = newDirectory()
  const first = made.journal()
  commits(first, 1, 3)
  const second = made.journal()
  commits(second, 4, 5)
  made.seal(second)
  const third = made.journal()
  commits(third, 6, 7)
  synced(third)
  changeFile(made.vfs, journalPath(first.fileNumber), (bytes) =>
    bytes.subarray(0, bytes.length - 1),
  )
  changeFile(made.vfs, journalPath(second.fileNumber), (bytes) => bytes.fill(0, 32 + RECORD))
  const { contents, report } = salvage(killed(made))
  expect(contents).toEqual({ a: { ...rows(1, 2), ...rows(4, 4), ...rows(6, 7) } })
  expect(report).toEqual({
    commitsReplayed: 5,
    // Of the second one there was nothing but zeros to drop.
    bytesDropped: RECORD - 1,
    commitsDropped: undefined,
    files: [name(first.fileNumber), name(second.fileNumber)],
  })
})

test('gaps, in a file and between files: the commits that are missing are counted', () => {
  const made = newDirectory()
  const first = made.journal()
  commits(first, 1, 2)
  commits(first, 5, 5)
  made.journal()
  commits(made.journal(), 9, 9)
  const { contents, report } = salvage(killed(made))
  expect(contents).toEqual({ a: { ...rows(1, 2), ...rows(5, 5), ...rows(9, 9) } })
  expect(report).toEqual({
    commitsReplayed: 4,
    bytesDropped: 0,
    commitsDropped: 2 + 3,
    files: [],
  })
})

test('keyspaces are created and deleted on the way', () => {
  const made = newDirectory().keyspaces(['b'])
  const journal = made.journal()
  commits(journal, 1, 1, 2)
  journal.append(1, 2, entryBytes(0x40, 3, 'c', OPTIONS))
  commits(journal, 3, 4, 3)
  journal.append(1, 5, entryBytes(0x41, 2, ''))
  const at = journal.end
  commits(journal, 6, 7, 3)
  synced(journal)
  flipBit(made.vfs, journal, at + 33)
  const { contents } = salvage(killed(made))
  expect(contents).toEqual({ a: {}, c: { ...rows(3, 4), ...rows(7, 7) } })
})

test('effects that the manifest names need not be reached', () => {
  const made = newDirectory()
  const journal = made.journal()
  commits(journal, 1, 2)
  made.edit({ flushedSeqnos: [{ tree: 1, seqno: 10 }], lastSeqno: 4 })
  const { nextSeqno } = recoverAndDie(killed(made), SALVAGE)
  expect(nextSeqno).toBe(10)
})

test('headers that are none are refused all the same', async () => {
  const made = newDirectory()
  const path = journalPath(made.journal().fileNumber)
  changeFile(made.vfs, path, (bytes) => bytes.fill(0, 0, 1))
  const error = await failure(() => recoverAndDie(killed(made), SALVAGE))
  expect([error.code, error.message]).toEqual(['CORRUPTION', 'the journal has no header'])
})

test('a crash at any of its operations leaves all of it to be salvaged again', () => {
  const made = newDirectory().keyspaces(['b'])
  const first = made.journal()
  commits(first, 1, 5)
  synced(first)
  const second = made.journal()
  commits(second, 6, 6, 2)
  second.append(1, 7, entryBytes(0x40, 3, 'c', OPTIONS))
  commits(second, 8, 9, 3)
  synced(second)
  flipBit(made.vfs, first, 32 + RECORD + 33)
  flipBit(made.vfs, second, 32 + 33)
  const expected: Contents = {
    a: { ...rows(1, 1), ...rows(3, 5) },
    b: {},
    c: rows(8, 9),
  }
  const vfs = killed(made)
  let images = 0
  const check = (): void => {
    for (const policy of [keepNothing, keepEverything]) {
      expect(recoverAndDie(vfs.crash(policy), SALVAGE).contents).toEqual(expected)
      images++
    }
  }
  vfs.onOperation = check
  expect(recoverAndDie(vfs, SALVAGE).contents).toEqual(expected)
  check()
  expect(images).toBeGreaterThan(30)
})
