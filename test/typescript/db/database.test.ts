// A database over a machine in memory: one order of commits, and what every failure leaves.

import { describe, expect, test, vi } from 'vitest'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { keepEverything, keepNothing, MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure, testSeed } from '../../support/scratch.ts'
import { contentsIn, keyspaceOf, openSmall, put } from '../support/databases.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { Random } from '../support/random.ts'
import { commits, entryBytes, killed, newDirectory, synced } from '../support/recoveries.ts'
import { holdTimers, settle, Turns } from '../support/turns.ts'

test('a database is whole or absent wherever its creation was cut off', () => {
  const machine = new MemVfs()
  let images = 0
  machine.onOperation = () => {
    const changes = machine.pendingChanges().length
    // Every choice of what the disk has of it.
    for (let kept = 0; kept < 2 ** changes; kept++) {
      const image = machine.crash((_, i) => (((kept >> i) & 1) === 1 ? Infinity : 0))
      const database = openSmall(image)
      expect(contentsIn(database)).toEqual({})
      runSync(database.close())
      images++
    }
  }
  const database = openSmall(machine)
  machine.onOperation = undefined
  runSync(database.close())
  expect(images).toBeGreaterThan(20)
})

// The record that states the last edit to be durable is in memory alone, and stays there.
test('a failed sync of the manifest at open costs nothing at the next one', async () => {
  const machine = new MemVfs()
  const first = openSmall(machine)
  put(first, keyspaceOf(first), 'k1', 'v1', 'sync')
  const after = machine.killed()
  const vfs = new FaultVfs(after)
  vfs.setPlan([{ operation: 'sync', file: 'manifest', nth: 0, kind: 'syncKept' }])
  expect((await failure(() => openSmall(vfs))).code).toBe('SYNC_FAILED')
  vfs.setPlan([])
  const second = openSmall(vfs)
  put(second, keyspaceOf(second, 'b'), 'k2', 'v2', 'sync')
  const last = openSmall(after.crash(keepNothing))
  expect(contentsIn(last)).toEqual({ a: { k1: 'v1' }, b: { k2: 'v2' } })
})

describe('a large write', () => {
  test('that the disk has no room for leaves what was staged before it', async () => {
    const machine = new MemVfs()
    const vfs = new FaultVfs(machine)
    const database = openSmall(vfs)
    const keyspace = keyspaceOf(database)
    put(database, keyspace, 'k1', 'v1', 'buffered')
    // The first write hands over what is buffered, the second one is the large one's own.
    vfs.setPlan([{ operation: 'write', file: 'journal', nth: 1, kind: 'ENOSPC' }])
    const large = 'v'.repeat(100_000)
    expect((await failure(() => put(database, keyspace, 'k2', large))).code).toBe('DISK_FULL')
    vfs.setPlan([])
    put(database, keyspace, 'k3', 'v3', 'sync')
    put(database, keyspace, 'k4', 'v4', 'sync')
    const image = openSmall(machine.crash(keepEverything))
    expect(contentsIn(image)).toEqual({ a: { k1: 'v1', k3: 'v3', k4: 'v4' } })
  })
})

describe('journals', () => {
  // An async preparation is at any of its steps when a sync writer needs the next journal.
  test('stand in the order of their numbers, whoever makes the next one', async () => {
    holdTimers()
    for (let steps = 0; steps < 12; steps++) {
      const machine = new MemVfs()
      const late = new LateVfs(machine)
      const turns = new Turns(late, new Random(testSeed()))
      const database = openSmall(late)
      const keyspace = keyspaceOf(database, 'a', { maxMemtableSize: 1 << 20 })
      const rows: Record<string, string> = {}
      const write = (bytes: number): void => {
        for (let written = 0; written < bytes; written += 100) {
          const key = `k${Object.keys(rows).length}`
          put(database, keyspace, key, (rows[key] = 'v'.repeat(60)))
        }
      }
      // The next journal is begun at half of 4096 bytes, and needed at twice that.
      write(2100)
      expect(late.waiting).toBe(1)
      await turns.oldest(steps)
      write(30_000)
      await turns.rest()
      write(30_000)
      await turns.rest()
      const image = openSmall(machine.crash(keepEverything))
      expect(contentsIn(image)).toEqual({ a: rows })
      expect(image.recovery.bytesDropped).toBe(0)
    }
  })
})

describe('the creation of a keyspace', () => {
  // Other syncs are faster than the one that it waits for.
  test('keeps its journal until the manifest has it', async () => {
    holdTimers()
    const machine = new MemVfs()
    const late = new LateVfs(machine)
    const turns = new Turns(late, new Random(testSeed()))
    const database = openSmall(late)
    const keyspace = keyspaceOf(database, 'a', { maxMemtableSize: 1 << 20 })
    const creation = run(database.openKeyspace('b', {}))
    await settle()
    expect(late.waiting).toBe(1)
    for (let i = 0; i < 300; i++) put(database, keyspace, `k${i}`, 'v'.repeat(100), 'sync')
    runSync(database.flush(keyspace))
    put(database, keyspace, 'last', '', 'sync')
    // The creation stays where it is.
    for (let left = 200; left > 0; left--) {
      if (late.waiting > 1) late.step(1)
      else vi.advanceTimersByTime(10)
      await settle()
    }
    for (const policy of [keepEverything, keepNothing]) {
      const image = openSmall(machine.crash(policy))
      expect(Object.keys(contentsIn(image)['a']!)).toHaveLength(301)
      expect(Object.keys(contentsIn(image))).toEqual(['a', 'b'])
      runSync(image.close())
    }
    await turns.until(creation)
    await turns.rest()
    // It is pinned no longer than that.
    runSync(database.flush(keyspace))
    await turns.rest()
    expect(database.figures().journalCount).toBeLessThan(3)
    await turns.until(run(database.close()))
  })

  // Its record was in a journal before, of which everything else was in tables.
  test('may be taken back in a journal that outlives its own', () => {
    const made = newDirectory()
    const journal = made.journal()
    commits(journal, 10, 11)
    journal.append(1, 12, entryBytes(0x41, 2, ''))
    commits(journal, 13, 13)
    synced(journal)
    made.edit({ lastSeqno: 9 })
    const machine = killed(made)
    const database = openSmall(machine)
    expect(Object.keys(contentsIn(database)['a']!)).toEqual(['k10', 'k11', 'k13'])
    // The record would delete another one with its id.
    put(database, keyspaceOf(database, 'b'), 'k', 'v', 'sync')
    const again = openSmall(machine.crash(keepEverything))
    expect(contentsIn(again)['b']).toEqual({ k: 'v' })
  })
})
