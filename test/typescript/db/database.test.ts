// A database over a machine in memory: one order of commits, and what every failure leaves.

import { describe, expect, test } from 'vitest'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { keepEverything, MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure } from '../../support/scratch.ts'
import { contentsIn, keyspaceOf, openSmall, put } from '../support/databases.ts'

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
