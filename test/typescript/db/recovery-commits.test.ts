// What recovery makes of commits, and how it makes them durable: steps 6 and 7 of docs/format.md,
// 5.4, as they are numbered there.

import { describe, expect, test } from 'vitest'
import { compress } from '../../../lib/typescript/base/compression.ts'
import { breath } from '../../../lib/typescript/base/flow.ts'
import type { Tree } from '../../../lib/typescript/tree/tree.ts'
import { keepNothing } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { payloadsOf, readLog } from '../support/logs.ts'
import {
  batchBytes,
  changeFile,
  commits,
  entryBytes,
  filesOf,
  journalPath,
  killed,
  newDirectory,
  OPTIONS,
  recoverAndDie,
  recovering,
  refusal,
  reopened,
  rows,
  synced,
  TINY_OPTIONS,
} from '../support/recoveries.ts'
import type { Contents, RecoverOptions } from '../support/recoveries.ts'

describe('6: entries', () => {
  test('of several keyspaces, values and tombstones, compressed ones too', () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    const large = Buffer.alloc(5000, 'abcdefg')
    const packed = Buffer.alloc(5000)
    const length = compress(1, large, 0, large.length, packed, 4)
    packed.writeUInt32LE(large.length, 0)
    const [x, y] = [
      { tree: 1, key: 'x', value: '1' },
      { tree: 2, key: 'x', value: '2' },
    ]
    journal.append(2, 1, batchBytes([x, y]))
    journal.append(1, 2, batchBytes([{ tree: 1, key: 'x' }]))
    journal.append(1, 3, entryBytes(0, 2, 'large', packed.subarray(0, 4 + length), 1))
    journal.append(1, 4, entryBytes(2, 2, 'x'))
    const { contents, report } = recoverAndDie(killed(made))
    expect(contents).toEqual({ a: {}, b: { large: large.toString() } })
    expect(report.commitsReplayed).toBe(4)
  })

  test('of one commit on one key: the last holds', () => {
    const made = newDirectory()
    const entries = ['1', undefined, '3'].map((value) => ({ tree: 1, key: 'k', value }))
    made.journal().append(3, 1, batchBytes(entries))
    expect(recoverAndDie(killed(made)).contents).toEqual({ a: { k: '3' } })
  })

  test('below the flushed seqno are in tables', () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    for (let seqno = 1; seqno <= 4; seqno++) {
      const entry = { key: `k${seqno}`, value: `v${seqno}` }
      const both = [1, 2].map((tree) => ({ tree, ...entry }))
      journal.append(2, seqno, batchBytes(both))
    }
    made.edit({ flushedSeqnos: [{ tree: 1, seqno: 3 }] })
    const { contents, report } = recoverAndDie(killed(made))
    expect(contents).toEqual({ a: rows(3, 4), b: rows(1, 4) })
    expect(report.commitsReplayed).toBe(4)
    made.edit({ flushedSeqnos: [{ tree: 2, seqno: 5 }] })
    expect(recoverAndDie(killed(made)).report.commitsReplayed).toBe(2)
  })

  test('of a keyspace that was deleted since are passed over', () => {
    const made = newDirectory().keyspaces(['gone', 'b'])
    made.edit({ treesDeleted: [2] })
    const journal = made.journal()
    journal.append(1, 1, batchBytes([{ tree: 2, key: 'k', value: 'v' }]))
    journal.append(1, 2, entryBytes(0x41, 2, ''))
    commits(journal, 3, 3, 3)
    const { contents, report } = recoverAndDie(killed(made))
    expect(contents).toEqual({ a: {}, b: rows(3, 3) })
    expect(report.commitsReplayed).toBe(1)
  })

  test('of a keyspace that never was are damage', async () => {
    const made = newDirectory()
    const journal = made.journal()
    commits(journal, 1, 1)
    const at = journal.end
    commits(journal, 2, 2, 9)
    expect(await refusal(made)).toEqual([
      'CORRUPTION',
      'a commit writes to a keyspace that never was',
      journalPath(journal.fileNumber),
      at,
    ])
  })

  test('create makes a keyspace whose manifest commit did not happen', () => {
    const made = newDirectory()
    const journal = made.journal()
    commits(journal, 1, 1)
    journal.append(1, 2, entryBytes(0x40, 4, 'müsli', OPTIONS))
    commits(journal, 3, 4, 4)
    const vfs = killed(made)
    const { contents, manifest, report } = recoverAndDie(vfs)
    expect(contents).toEqual({ a: rows(1, 1), müsli: rows(3, 4) })
    expect(manifest.state.trees.get(4)).toMatchObject({ name: 'müsli', createdSeqno: 2 })
    expect([manifest.state.nextTreeId, manifest.newTreeId()]).toEqual([5, 5])
    expect(report.commitsReplayed).toBe(3)
    // The second time it exists.
    expect(recoverAndDie(vfs).contents).toEqual(contents)
  })

  test('create looks at the trees that are there no oftener the more there are', () => {
    const made = newDirectory()
    const journal = made.journal()
    const count = 300
    for (let i = 1; i <= count; i++) {
      journal.append(1, i, entryBytes(0x40, 1 + i, `k${i}`, OPTIONS))
    }
    let looks = 0
    class Watched extends Map<number, Tree> {
      override values(): MapIterator<Tree> {
        looks += this.size
        return super.values()
      }
    }
    const { contents } = recoverAndDie(killed(made), { trees: new Watched() })
    expect(Object.keys(contents)).toHaveLength(count + 1)
    // Some walks over all of them, none for each.
    expect(looks).toBeLessThan(10 * count)
  })

  test('create of one that existed does nothing', () => {
    const made = newDirectory().keyspaces(['gone'])
    made.edit({ treesDeleted: [2] })
    const journal = made.journal()
    journal.append(1, 1, entryBytes(0x40, 1, 'other name', OPTIONS))
    journal.append(1, 2, entryBytes(0x40, 2, 'gone', OPTIONS))
    expect(recoverAndDie(killed(made)).contents).toEqual({ a: {} })
  })

  test('delete removes a keyspace, its tables with it', () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    for (let seqno = 1; seqno <= 100; seqno++) {
      commits(journal, seqno, seqno, seqno <= 50 ? 2 : 1)
      if (seqno % 10 === 0) synced(journal)
    }
    const vfs = killed(made)
    // Flushed while it is replayed, and deleted by a later recovery, or by the same one.
    const first = recoverAndDie(vfs, { writeBuffer: 4000 })
    expect(filesOf(vfs, 'table').length).toBeGreaterThan(0)
    const again = vfs.crash(keepNothing)
    const writer = reopened(again, first.journals!)
    writer.append(1, 101, entryBytes(0x41, 2, ''))
    writer.close()
    journal.append(1, 101, entryBytes(0x41, 2, ''))
    for (const machine of [again, killed(made)]) {
      let created = 0
      machine.onOperation = (operation, path) => {
        if (operation === 'create' && path.endsWith('.table')) created++
      }
      const { contents, manifest, nextSeqno } = recoverAndDie(machine, { writeBuffer: 4000 })
      expect(contents).toEqual({ a: rows(51, 100) })
      expect([...manifest.state.trees.keys(), nextSeqno]).toEqual([1, 102])
      const { tables } = manifest.state.trees.get(1)!
      expect(filesOf(machine, 'table')).toHaveLength(tables.size)
      if (machine !== again) expect(created).toBeGreaterThan(tables.size)
    }
  })

  test('a memtable that is full is sealed, behind a whole commit', () => {
    const made = newDirectory()
    made.edit({ treeOptions: [{ tree: 1, options: TINY_OPTIONS }] })
    commits(made.journal(), 1, 3)
    const { trees, contents } = recoverAndDie(killed(made))
    expect([trees.get(1)!.sealedCount, contents]).toEqual([3, { a: rows(1, 3) }])
  })

  test('a keyspace may have the name of one that was deleted before it', () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    commits(journal, 1, 1, 2)
    journal.append(1, 2, entryBytes(0x41, 2, ''))
    journal.append(1, 3, entryBytes(0x40, 3, 'b', OPTIONS))
    commits(journal, 4, 5, 3)
    const vfs = killed(made)
    const { contents, manifest } = recoverAndDie(vfs)
    expect(contents).toEqual({ a: {}, b: rows(4, 5) })
    expect([...manifest.state.trees.keys()]).toEqual([1, 3])
    expect(recoverAndDie(vfs.crash(keepNothing)).contents).toEqual(contents)
  })

  test('created and deleted in the journals alone never reaches the manifest', () => {
    const made = newDirectory()
    const journal = made.journal()
    journal.append(1, 1, entryBytes(0x40, 2, 'brief', OPTIONS))
    commits(journal, 2, 2, 2)
    journal.append(1, 3, entryBytes(0x41, 2, ''))
    commits(journal, 4, 4, 2)
    // The name is free again.
    journal.append(1, 5, entryBytes(0x40, 3, 'brief', OPTIONS))
    commits(journal, 6, 6, 3)
    const { contents, manifest } = recoverAndDie(killed(made))
    expect(contents).toEqual({ a: {}, brief: rows(6, 6) })
    expect([...manifest.state.trees.keys()]).toEqual([1, 3])
  })

  const bad: Readonly<Record<string, [count: number, payload: Uint8Array, message: string]>> = {
    'another number of entries': [
      2,
      entryBytes(0, 1, 'k', 'v'),
      'a commit has another number of entries',
    ],
    'no entries': [1, Buffer.alloc(0), 'a commit has another number of entries'],
    'a cut header': [1, Buffer.alloc(11), 'a batch entry is cut off in its header'],
    'a cut entry': [
      1,
      entryBytes(0, 1, 'k', 'v').subarray(0, 13),
      'a batch entry is longer than its batch',
    ],
    'a tombstone with a value': [
      1,
      entryBytes(1, 1, 'k', 'v'),
      'a batch entry breaks a rule of its kind',
    ],
    'a name that is taken': [1, entryBytes(0x40, 2, 'a', OPTIONS), 'two keyspaces have one name'],
    'a name that is no text': [
      1,
      entryBytes(0x40, 2, Uint8Array.of(0xff), OPTIONS),
      'a batch entry breaks a rule of its kind',
    ],
    'a name that is no text, of a keyspace that exists': [
      1,
      entryBytes(0x40, 1, Uint8Array.of(0xff), OPTIONS),
      'a batch entry breaks a rule of its kind',
    ],
    'an id out of reach': [
      1,
      entryBytes(0x40, 2 ** 31, 'far', OPTIONS),
      'a keyspace record has an impossible id',
    ],
    'a range that ends where it begins': [
      1,
      entryBytes(3, 1, 'b', '\0b'),
      'a batch entry breaks a rule of its kind',
    ],
    'a range with an end that it should not have': [
      1,
      entryBytes(3, 1, 'b', '\u0001c'),
      'a batch entry breaks a rule of its kind',
    ],
    'a range with flags that are unknown': [
      1,
      entryBytes(3, 1, 'b', '\u0002c'),
      'a batch entry breaks a rule of its kind',
    ],
    'a range with an end that is no key': [
      1,
      entryBytes(3, 1, 'b', `\0${'c'.repeat(65_536)}`),
      'a batch entry breaks a rule of its kind',
    ],
    'a range of a keyspace that never was': [
      1,
      entryBytes(3, 7, 'b', '\0c'),
      'a commit writes to a keyspace that never was',
    ],
    'a keyspace record that shares its commit': [
      2,
      entryBytes(0x40, 2, 'b', OPTIONS),
      'a keyspace record shares its commit',
    ],
  }
  test.each(Object.keys(bad))('%s: damage in every mode', async (what) => {
    const [count, payload, message] = bad[what]!
    for (const mode of ['tail', 'strict', 'salvage'] as const) {
      const made = newDirectory()
      const journal = made.journal()
      commits(journal, 1, 1)
      const at = journal.end
      journal.append(count, 2, payload)
      // oxlint-disable-next-line no-await-in-loop
      expect(await refusal(made, { mode })).toEqual([
        'CORRUPTION',
        message,
        journalPath(journal.fileNumber),
        at,
      ])
    }
  })

  test('values that do not decompress, and options that are none, are damage', async () => {
    const value = Buffer.from([100, 0, 0, 0, 0xff, 0xff, 0xff])
    for (const payload of [
      entryBytes(0, 1, 'k', value, 1),
      entryBytes(0x40, 2, 'b', Buffer.from([2, 1, 99])),
    ]) {
      const made = newDirectory()
      const journal = made.journal()
      journal.append(1, 1, payload)
      // oxlint-disable-next-line no-await-in-loop
      const [code, , path, offset] = await refusal(made)
      expect([code, path, offset]).toEqual(['CORRUPTION', journalPath(journal.fileNumber), 32])
    }
  })

  test('more bytes than a commit may have, once decompressed, are damage', async () => {
    const made = newDirectory().keyspaces(['gone'])
    made.edit({ treesDeleted: [2] })
    const journal = made.journal()
    const claim = Buffer.alloc(10)
    claim.writeUInt32LE(2 ** 26, 0)
    const entry = entryBytes(0, 2, 'k', claim, 1)
    journal.append(17, 1, Buffer.concat(Array.from({ length: 17 }, () => entry)))
    expect(await refusal(made)).toEqual([
      'CORRUPTION',
      'a commit is larger than one may be',
      journalPath(journal.fileNumber),
      32,
    ])
  })

  test('range tombstones hide what came before, and cancel what stands before them', () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    commits(journal, 1, 6)
    journal.append(1, 7, entryBytes(3, 1, 'k2', '\0k4'))
    const batch = [
      entryBytes(0, 1, 'k3', 'cancelled'),
      entryBytes(0, 2, 'k3', 'elsewhere'),
      entryBytes(3, 1, 'k3', '\0k5'),
      entryBytes(0, 1, 'k4', 'behind'),
    ]
    journal.append(batch.length, 8, Buffer.concat(batch))
    for (let round = 0; round < 2; round++) {
      const { contents } = recoverAndDie(made.vfs)
      expect(contents).toEqual({
        a: { k1: 'v1', k4: 'behind', k5: 'v5', k6: 'v6' },
        b: { k3: 'elsewhere' },
      })
    }
  })

  test('a clear hides everything before it, in tables as well', () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    commits(journal, 1, 3)
    commits(journal, 4, 5, 2)
    journal.append(1, 6, entryBytes(0x42, 1, ''))
    commits(journal, 7, 7)
    expect(recoverAndDie(made.vfs).contents).toEqual({ a: rows(7, 7), b: rows(4, 5) })
  })

  test('a change of tables has nothing to replay, but its seqno is used', () => {
    const made = newDirectory()
    const journal = made.journal()
    commits(journal, 1, 1)
    journal.append(1, 2, entryBytes(0x43, 1, ''))
    commits(journal, 3, 3)
    const found = recoverAndDie(made.vfs)
    expect(found.contents).toEqual({ a: { ...rows(1, 1), ...rows(3, 3) } })
  })
})

describe('7: what was not durable', () => {
  test('is written again with its seqnos, and the old journal ends before it', () => {
    const made = newDirectory()
    const journal = made.journal()
    commits(journal, 1, 3)
    synced(journal)
    const durable = journal.syncedTo
    commits(journal, 4, 6)
    const vfs = killed(made)
    const { journals, manifest } = recoverAndDie(vfs)
    const number = journals!.activeNumber
    expect(manifest.state.journals).toEqual(
      new Map([
        [journal.fileNumber, durable],
        [number, undefined],
      ]),
    )
    const { records } = readLog(vfs, journalPath(number), { fileNumber: number })
    expect(records.map(({ seqno, count }) => [seqno, count])).toEqual([
      [4, 1],
      [5, 1],
      [6, 1],
    ])
    const lost = vfs.crash(keepNothing)
    expect(recoverAndDie(lost, { mode: 'strict' }).contents).toEqual({ a: rows(1, 6) })
  })

  test('is nothing, if the last record says that all before it is durable', () => {
    const made = newDirectory()
    const journal = made.journal()
    commits(journal, 1, 3)
    synced(journal)
    const { journals, manifest } = recoverAndDie(killed(made))
    expect(journals!.activeIsEmpty).toBe(true)
    expect(manifest.state.journals.get(journal.fileNumber)).toBe(journal.syncedTo)
  })

  test('is all of it that nobody calls durable, and all of unnamed journals', () => {
    const made = newDirectory()
    const first = made.journal()
    commits(first, 1, 2)
    const second = made.journal({ named: false })
    commits(second, 3, 4)
    synced(second)
    const vfs = killed(made)
    const { journals, manifest } = recoverAndDie(vfs)
    expect(manifest.state.journals.get(first.fileNumber)).toBe(32)
    expect(manifest.state.journals.has(second.fileNumber)).toBe(false)
    const content = readLog(vfs, journalPath(journals!.activeNumber), {
      fileNumber: journals!.activeNumber,
    })
    expect(payloadsOf(content)).toHaveLength(4)
    expect(filesOf(vfs, 'journal')).toHaveLength(2)
  })

  test('behind a record that is written again, all are', () => {
    const made = newDirectory()
    const first = made.journal()
    commits(first, 1, 2)
    made.seal(first)
    const second = made.journal()
    commits(second, 3, 3)
    const third = made.journal()
    commits(third, 4, 5)
    const { journals, manifest } = recoverAndDie(killed(made))
    expect(manifest.state.journals).toEqual(
      new Map([
        [first.fileNumber, first.end],
        [second.fileNumber, 32],
        [third.fileNumber, 32],
        [journals!.activeNumber, undefined],
      ]),
    )
  })

  test('large ones and many of them', () => {
    const made = newDirectory()
    const journal = made.journal()
    const value = 'large'.repeat(100_000)
    commits(journal, 1, 2000)
    journal.append(1, 2001, entryBytes(0, 1, 'large', value))
    commits(journal, 2002, 4000)
    const vfs = killed(made)
    const { contents } = recoverAndDie(vfs)
    const all = { a: { ...rows(1, 2000), ...rows(2002, 4000), large: value } }
    expect(contents).toEqual(all)
    expect(recoverAndDie(vfs.crash(keepNothing)).contents).toEqual(all)
  })

  test('the old journals stay until their trees are flushed', () => {
    const made = newDirectory().keyspaces(['b'])
    const first = made.journal()
    commits(first, 1, 2)
    synced(first)
    const second = made.journal()
    commits(second, 3, 3, 2)
    synced(second)
    commits(second, 4, 4)
    const vfs = killed(made)
    const { journals } = recoverAndDie(vfs)
    const flushed = new Map([
      [1, 0],
      [2, 0],
    ])
    const evictable = (): unknown[] => {
      const sealed = journals!.evictable((tree) => flushed.get(tree))
      return sealed.map(({ number, lastSeqno }) => [number, lastSeqno])
    }
    expect(journals!.unrecorded()).toEqual([])
    expect(evictable()).toEqual([])
    flushed.set(1, 3)
    expect(evictable()).toEqual([[first.fileNumber, 2]])
    flushed.set(2, 4)
    expect(evictable()).toEqual([[first.fileNumber, 2]])
    flushed.set(1, 5)
    expect(evictable()).toEqual([
      [first.fileNumber, 2],
      [second.fileNumber, 4],
    ])
  })

  test('nothing to write again: the journal is empty, and takes commits', () => {
    const made = newDirectory()
    const vfs = killed(made)
    const { journals, nextSeqno } = recoverAndDie(vfs)
    expect([journals!.activeIsEmpty, nextSeqno, journals!.numbers.length]).toEqual([true, 1, 1])
  })

  test('what replay could not flush is sealed, to be flushed when the database is open', () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    commits(journal, 1, 100)
    commits(journal, 101, 200, 2)
    const sealed = (options: RecoverOptions): boolean[] => {
      const vfs = killed(made)
      const { trees } = recoverAndDie(vfs, options)
      expect(filesOf(vfs, 'table')).toEqual([])
      return [...trees.values()].map(({ sealedCount, activeBytes }) => {
        expect(activeBytes > 0).toBe(sealedCount === 0)
        return sealedCount > 0
      })
    }
    expect(sealed({ writeBuffer: 1000 })).toEqual([true, true])
    expect(sealed({})).toEqual([false, false])
  })

  test('the manifest that was cut is reported', () => {
    const made = newDirectory()
    const { vfs, manifest } = made
    commits(made.journal(), 1, 1)
    const path = `/db/${filesOf(vfs, 'manifest').at(-1)}`
    changeFile(vfs, path, (bytes) => Buffer.concat([bytes, Buffer.alloc(20, 7)]))
    const { report, contents } = recoverAndDie(killed(made))
    expect(contents).toEqual({ a: rows(1, 1) })
    expect(report).toMatchObject({ bytesDropped: 20, commitsDropped: 0 })
    expect(report.files).toHaveLength(1)
    expect(manifest.failure).toBe(undefined)
  })
})

/** Recovers step by step: how often the event loop has its turn, and how long it waits at most. */
function turnsOf(vfs: MemVfs): { contents: Contents; breaths: number; longest: number } {
  const flow = recovering(vfs)
  let [breaths, longest, before] = [0, 0, vfs.time]
  let step = flow.next()
  while (step.done !== true) {
    if (step.value === breath) {
      breaths++
      longest = Math.max(longest, vfs.time - before)
      before = vfs.time
    }
    step = flow.next(step.value.sync())
  }
  step.value.close()
  return { contents: step.value.contents, breaths, longest }
}

describe('the event loop has its turns', () => {
  test('while many commits are replayed', () => {
    const made = newDirectory()
    commits(made.journal(), 1, 3000)
    // Each look at the clock takes a millisecond here.
    const { breaths, longest } = turnsOf(killed(made))
    expect(breaths).toBeGreaterThan(10)
    expect(longest).toBeLessThan(10)
  })

  test('while a large value is decompressed', () => {
    const made = newDirectory()
    const value = Buffer.from(Array.from({ length: 2 ** 20 }, (_, i) => `item ${i}`).join())
    const packed = Buffer.alloc(value.length)
    const length = compress(1, value, 0, value.length, packed, 4)
    packed.writeUInt32LE(value.length, 0)
    made.journal().append(1, 1, entryBytes(0, 1, 'k', packed.subarray(0, 4 + length), 1))
    const { contents, breaths } = turnsOf(killed(made))
    expect(contents['a']!['k'] === value.toString()).toBe(true)
    expect(breaths).toBeGreaterThan(8)
  })
})
