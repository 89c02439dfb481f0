// Recovery within a bound of memory (step 8 of docs/format.md, 5.4), and one that may not write.

import { describe, expect, test } from 'vitest'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { keepNothing } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure } from '../../support/scratch.ts'
import {
  batchBytes,
  commits,
  entryBytes,
  filesOf,
  killed,
  newDirectory,
  OPTIONS,
  recover,
  recoverAndDie,
  reopened,
  rows,
  synced,
  TINY_OPTIONS,
} from '../support/recoveries.ts'
import type { Contents, Recovered } from '../support/recoveries.ts'

const BUDGET = 64 * 1024

/** Much more in the journal than the budget; every so many commits were synced. */
function large(syncEvery: number): { vfs: MemVfs; contents: Contents } {
  const made = newDirectory().keyspaces(['b', 'c'])
  const journal = made.journal()
  const contents: Record<string, Record<string, string>> = { a: {}, b: {}, c: {} }
  for (let seqno = 1; seqno <= 600; seqno++) {
    const entries = ['a', 'b', 'c'].flatMap((name, i) => {
      if (seqno % (i + 1) !== 0) return []
      const entry = { key: `key${(seqno * 7919) % 400}`, value: seqno + 'v'.repeat(400) }
      contents[name]![entry.key] = entry.value
      return [{ tree: i + 1, ...entry }]
    })
    journal.append(entries.length, seqno, batchBytes(entries))
    if (seqno % syncEvery === 0) runSync(journal.sync())
  }
  return { vfs: killed(made), contents }
}

function memoryOf({ trees }: Recovered): number {
  return [...trees.values()].reduce((sum, tree) => sum + tree.activeBytes + tree.sealedBytes, 0)
}

describe('memory', () => {
  test('stays within half of the write buffer and what came since the last sync', () => {
    const { vfs, contents } = large(10)
    const recovered = recover(vfs, { writeBuffer: BUDGET })
    expect(memoryOf(recovered)).toBeLessThanOrEqual(BUDGET / 2 + 20_000)
    expect(recovered.contents).toEqual(contents)
    expect(recovered.report.commitsReplayed).toBe(600)
    recovered.close()
    // As seldom as that takes.
    expect(filesOf(vfs, 'table').length).toBeGreaterThan(3)
    expect(filesOf(vfs, 'table').length).toBeLessThan(40)
    // What was flushed is replayed no more.
    const again = recoverAndDie(vfs.crash(keepNothing), { writeBuffer: BUDGET })
    expect(again.contents).toEqual(contents)
    expect(again.report.commitsReplayed).toBeLessThan(600)
  })

  test('what is not known to be durable is not flushed early', () => {
    const { vfs, contents } = large(1_000_000)
    const recovered = recover(vfs, { writeBuffer: BUDGET })
    expect(filesOf(vfs, 'table')).toEqual([])
    expect(memoryOf(recovered)).toBeGreaterThan(BUDGET)
    expect(recovered.contents).toEqual(contents)
    // Now it is: everything waits to be flushed.
    for (const tree of recovered.trees.values()) {
      expect(tree.activeBytes).toBe(0)
      runSync(tree.flush())
    }
    recovered.close()
    const again = recoverAndDie(vfs.crash(keepNothing))
    expect([again.contents, again.report.commitsReplayed]).toEqual([contents, 0])
  })

  test('a sealed journal is durable, whatever its records say', () => {
    const made = newDirectory()
    const journal = made.journal()
    commits(journal, 1, 500)
    made.seal(journal)
    const vfs = killed(made)
    const recovered = recoverAndDie(vfs, { writeBuffer: 20_000 })
    expect(recovered.contents).toEqual({ a: rows(1, 500) })
    expect(filesOf(vfs, 'table').length).toBeGreaterThan(1)
  })

  test('a journal that nobody names is not, whatever its records say', () => {
    const made = newDirectory()
    const journal = made.journal({ named: false })
    for (let seqno = 1; seqno <= 500; seqno++) {
      commits(journal, seqno, seqno)
      if (seqno % 10 === 0) synced(journal)
    }
    const vfs = killed(made)
    expect(recoverAndDie(vfs, { writeBuffer: 20_000 }).contents).toEqual({ a: rows(1, 500) })
    expect(filesOf(vfs, 'table')).toEqual([])
  })

  test('a keyspace that the manifest does not know is not flushed', () => {
    const made = newDirectory()
    const journal = made.journal()
    journal.append(1, 1, entryBytes(0x40, 2, 'new', OPTIONS))
    for (let seqno = 2; seqno <= 500; seqno++) {
      commits(journal, seqno, seqno, 2)
      if (seqno % 10 === 0) synced(journal)
    }
    const vfs = killed(made)
    const recovered = recoverAndDie(vfs, { writeBuffer: 20_000 })
    expect(recovered.contents).toEqual({ a: {}, new: rows(2, 500) })
    expect(filesOf(vfs, 'table')).toEqual([])
  })

  test('a keyspace that is deleted takes its memory with it', () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    journal.append(1, 1, entryBytes(0, 2, 'large', 'v'.repeat(20_000)))
    journal.append(1, 2, entryBytes(0x41, 2, ''))
    for (let seqno = 3; seqno <= 50; seqno++) {
      commits(journal, seqno, seqno)
      synced(journal)
    }
    const vfs = killed(made)
    const { contents } = recoverAndDie(vfs, { writeBuffer: 44_000 })
    expect(contents).toEqual({ a: rows(3, 50) })
    expect(filesOf(vfs, 'table')).toEqual([])
  })

  // Half of a commit in a table and half in memory must not count as flushed.
  test('a commit is flushed as a whole', () => {
    const made = newDirectory()
    made.edit({ treeOptions: [{ tree: 1, options: TINY_OPTIONS }] })
    const journal = made.journal()
    for (let seqno = 1; seqno <= 20; seqno++) {
      const entries = ['x', 'y', 'z'].map((key) => ({ tree: 1, key: key + seqno, value: 'v' }))
      journal.append(3, seqno, batchBytes(entries))
      if (seqno % 3 === 0) synced(journal)
    }
    const vfs = killed(made)
    const recovered = recover(vfs, { writeBuffer: 300 })
    expect(Object.keys(recovered.contents['a']!)).toHaveLength(60)
    for (const tree of recovered.trees.values()) runSync(tree.flush())
    recovered.close()
    const again = recoverAndDie(vfs.crash(keepNothing))
    expect(Object.keys(again.contents['a']!)).toHaveLength(60)
    expect(again.report.commitsReplayed).toBe(0)
  })

  test('a full disk costs memory, not the opening', () => {
    const { vfs: memory, contents } = large(10)
    const vfs = new FaultVfs(memory)
    vfs.setPlan([{ operation: 'create', file: 'table', nth: 1, kind: 'ENOSPC', sticky: true }])
    const recovered = recover(vfs, { writeBuffer: BUDGET })
    expect(recovered.contents).toEqual(contents)
    expect(memoryOf(recovered)).toBeGreaterThan(BUDGET)
    expect(vfs.fired).toBe(1)
    recovered.close()
  })

  test('another failure of a flush is one of the opening', async () => {
    const { vfs: memory } = large(10)
    const vfs = new FaultVfs(memory)
    vfs.setPlan([{ operation: 'write', file: 'table', nth: 0, kind: 'EIO' }])
    expect((await failure(() => recover(vfs, { writeBuffer: BUDGET }))).code).toBe('IO_ERROR')
    expect(memory.openFiles).toBe(0)
  })
})

describe('read-only', () => {
  test('holds everything and writes nothing', () => {
    const { vfs, contents } = large(10)
    vfs.onOperation = (operation, path) => {
      throw new Error(`${operation} ${path}`)
    }
    const recovered = recoverAndDie(vfs, { readOnly: true })
    expect([recovered.contents, recovered.nextSeqno]).toEqual([contents, 601])
    expect(recovered.report.commitsReplayed).toBe(600)
  })

  test('creates and deletes keyspaces in memory alone, and lets go of them', () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    for (let seqno = 1; seqno <= 50; seqno++) {
      commits(journal, seqno, seqno, 2)
      synced(journal)
    }
    const vfs = killed(made)
    const { journals } = recoverAndDie(vfs, { writeBuffer: 1000 })
    const tables = filesOf(vfs, 'table')
    expect(tables.length).toBeGreaterThan(0)
    const again = reopened(vfs, journals!)
    again.append(1, 51, entryBytes(0x40, 3, 'c', OPTIONS))
    commits(again, 52, 53, 3)
    again.append(1, 54, entryBytes(0x41, 2, ''))
    again.close()
    vfs.onOperation = (operation, path) => {
      throw new Error(`${operation} ${path}`)
    }
    for (const mode of ['tail', 'strict', 'salvage'] as const) {
      const { contents } = recoverAndDie(vfs, { readOnly: true, mode })
      expect(contents).toEqual({ a: {}, c: rows(52, 53) })
    }
    vfs.onOperation = undefined
    expect(filesOf(vfs, 'table')).toEqual(tables)
    recoverAndDie(vfs)
    expect(filesOf(vfs, 'table')).toEqual([])
  })
})
