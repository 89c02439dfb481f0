// A database over a machine in memory: one order of commits, and what every failure leaves.

import { describe, expect, test } from 'vitest'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { keepEverything, MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure, testSeed } from '../../support/scratch.ts'
import { contentsIn, keyspaceOf, openSmall, put } from '../support/databases.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { Random } from '../support/random.ts'
import { holdTimers, Turns } from '../support/turns.ts'

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
