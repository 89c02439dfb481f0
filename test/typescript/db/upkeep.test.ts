// What a database does beside commits, where sync and async callers meet in the midst of it.

import { describe, expect, test } from 'vitest'
import { VALUE } from '../../../lib/engine.ts'
import { Io, run, runSync } from '../../../lib/typescript/base/flow.ts'
import { DirectoryLock } from '../../../lib/typescript/db/directory-lock.ts'
import { DatabaseHandle } from '../../../lib/typescript/db/registry.ts'
import { StandaloneTree } from '../../../lib/typescript/db/standalone-tree.ts'
import { Throttle } from '../../../lib/typescript/db/throttle.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure } from '../../support/scratch.ts'
import { get, keyspaceOf, openSmall, put, SMALL } from '../support/databases.ts'
import { LateVfs } from '../support/late-vfs.ts'

async function tick(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

/** Lets the loop turn and the oldest pending call of the disk end, so many times. */
async function walk(late: LateVfs, steps: number): Promise<void> {
  for (let i = 0; i < steps; i++) {
    // oxlint-disable-next-line no-await-in-loop
    await tick()
    if (late.waiting > 0) late.step(0)
  }
}

test('a sync close ends an async one wherever it is, and the directory is free', async () => {
  const settings = { ...SMALL, syncInterval: 0 }
  const closed = { ended: false }
  for (let steps = 0; steps < 400 && !closed.ended; steps++) {
    const late = new LateVfs(new MemVfs())
    const handle = runSync(DatabaseHandle.open(late, '/db', settings))
    put(handle.database, keyspaceOf(handle.database), 'k', 'v')
    const closing = run(handle.close()).finally(() => {
      closed.ended = true
    })
    // oxlint-disable-next-line no-await-in-loop
    await walk(late, steps)
    if (closed.ended) break
    runSync(handle.close())
    runSync(runSync(DatabaseHandle.open(late, '/db', settings)).close())
    // oxlint-disable-next-line no-await-in-loop
    await walk(late, 50)
    // oxlint-disable-next-line no-await-in-loop
    await closing
    closed.ended = false
  }
  expect(closed.ended).toBe(true)
})

test('a sweep that fails keeps nobody out', () => {
  const machine = new MemVfs()
  machine.makeDir('/db').sync()
  const vfs = new FaultVfs(machine)
  vfs.setPlan([{ operation: 'list', nth: 0, kind: 'EMFILE' }])
  runSync(DirectoryLock.acquire(vfs, '/db')).release()
  runSync(DirectoryLock.acquire(machine, '/db')).release()
})

test('a lock that cannot be read any more is given back all the same', () => {
  const machine = new MemVfs()
  machine.makeDir('/db').sync()
  const vfs = new FaultVfs(machine)
  const lock = runSync(DirectoryLock.acquire(vfs, '/db'))
  vfs.setPlan([{ operation: 'open', nth: 0, kind: 'EMFILE' }])
  lock.release()
  runSync(DirectoryLock.acquire(machine, '/db')).release()
})

test('a failed sync of the next journal ends writing, and fails no commit that is visible', () => {
  const vfs = new FaultVfs(new MemVfs())
  const database = openSmall(vfs, { syncInterval: 0 })
  const keyspace = keyspaceOf(database, 'a', {})
  // Commits are `os`: the next sync of any journal is that of the next one.
  vfs.setPlan([{ operation: 'sync', file: 'journal', nth: 0, kind: 'EIO', sticky: true }])
  const refused: string[] = []
  for (let i = 0; i < 200; i++) {
    try {
      put(database, keyspace, `k${i}`, 'v'.repeat(1000))
    } catch {
      refused.push(`k${i}`)
    }
  }
  expect([refused.length > 0, database.status]).toEqual([true, 'failed'])
  expect(refused.filter((key) => get(database, keyspace, key) !== undefined)).toEqual([])
})

test('a flush that cannot be committed leaves no table behind', async () => {
  const machine = new MemVfs()
  const vfs = new FaultVfs(machine)
  const database = openSmall(vfs, { syncInterval: 0 })
  const keyspace = keyspaceOf(database, 'a', {})
  put(database, keyspace, 'k', 'v', 'buffered')
  vfs.setPlan([{ operation: 'write', file: 'journal', nth: 0, kind: 'ENOSPC', sticky: true }])
  for (let i = 0; i < 5; i++) {
    // oxlint-disable-next-line no-await-in-loop
    const error = await failure(() => runSync(database.flush(keyspace)))
    expect(error.code).toBe('DISK_FULL')
  }
  // The background has tried as well.
  for (let i = 0; i < 50; i++) {
    // oxlint-disable-next-line no-await-in-loop
    await tick()
  }
  const names = machine.list('/db').sync()
  expect(names.filter((name) => name.endsWith('.table'))).toEqual([])
})

test('an async eviction under way does not stop those of a sync writer', async () => {
  const problems = new Set<string>()
  for (let steps = 0; steps < 24; steps++) {
    const late = new LateVfs(new MemVfs())
    const database = openSmall(late, { syncInterval: 0 })
    const keyspace = keyspaceOf(database, 'a', { maxMemtableSize: 64 * 1024 })
    // Sealed journals pile up with async upkeep, as the event loop turns and the disk answers.
    for (let i = 0; i < 30; i++) {
      put(database, keyspace, `k${i}`, 'v'.repeat(1000))
      // oxlint-disable-next-line no-await-in-loop
      await walk(late, 4)
    }
    runSync(database.flush(keyspace))
    // The eviction that follows the flush goes some steps of its way, and no further.
    // oxlint-disable-next-line no-await-in-loop
    await walk(late, steps)
    for (let i = 0; i < 400; i++) {
      put(database, keyspace, `k${i % 50}`, 'v'.repeat(1000))
      if (database.figures().journalCount > 30) problems.add(`journals after ${steps} steps`)
      if (database.status !== 'open') problems.add(`${database.status} after ${steps} steps`)
    }
  }
  expect([...problems]).toEqual([])
})

test('a sync caller does not sleep for the rate limit of compactions', () => {
  const vfs = new MemVfs()
  let slept = 0
  vfs.sleep = () => Io.now(() => void slept++)
  const throttle = new Throttle(vfs, 1)
  runSync(throttle.pay(1000, () => true))
  expect(slept).toBe(0)
})

test('thousands of keyspaces without work are looked at one after the other', async () => {
  const database = openSmall(new MemVfs(), { syncInterval: 0 })
  await database.maintenance.pause()
  for (let i = 0; i < 3000; i++) runSync(database.openKeyspace(`k${i}`, {}))
  // In a recursion each of them would add to the stack.
  const depths = new Set<number>()
  const { prepareStackTrace, stackTraceLimit } = Error
  Error.stackTraceLimit = 200
  const [tree] = database.keyspaces.all().map((keyspace) => keyspace.tree)
  const choosePlan = tree!.choosePlan.bind(tree)
  for (const keyspace of database.keyspaces.all()) {
    keyspace.tree.choosePlan = () => {
      depths.add(new Error('depth').stack!.split('\n').length)
      return choosePlan()
    }
  }
  database.maintenance.resume()
  await database.maintenance.drain()
  Object.assign(Error, { prepareStackTrace, stackTraceLimit })
  expect(Math.max(...depths)).toBeLessThan(50)
})

describe('files that nothing names any more', () => {
  const tablesIn = (machine: MemVfs): string[] =>
    machine
      .list('/db')
      .sync()
      .filter((name) => name.endsWith('.table'))

  test('leave one after the other behind an async job, however many they are', async () => {
    const machine = new MemVfs()
    let blocking = 0
    const remove = machine.remove.bind(machine)
    machine.remove = (path) => {
      const io = remove(path)
      const sync = (): void => {
        if (path.endsWith('.table')) blocking++
        io.sync()
      }
      return new Io(sync, async () => io.async())
    }
    const database = openSmall(machine, { syncInterval: 0 })
    const keyspace = keyspaceOf(database)
    await database.maintenance.pause()
    for (let i = 0; i < 75; i++) {
      put(database, keyspace, `k${i}`, 'v')
      runSync(database.flush(keyspace))
    }
    expect(tablesIn(machine)).toHaveLength(75)
    await run(database.maintenance.majorCompaction(keyspace, undefined))
    while (tablesIn(machine).length > 1) await tick()
    expect(blocking).toBe(0)
  })

  test('are not left for long by a sync caller, however large they are', async () => {
    const machine = new MemVfs()
    const database = openSmall(machine, { syncInterval: 0, maxWriteBufferSize: 2 ** 26 })
    const keyspace = keyspaceOf(database, 'a', { maxMemtableSize: 2 ** 26 })
    let most = 0
    for (let i = 0; i < 24; i++) {
      put(database, keyspace, 'k', `${i}`.repeat(2 ** 20))
      runSync(database.flush(keyspace))
      runSync(database.maintenance.majorCompaction(keyspace, undefined))
      const bytes = tablesIn(machine).map((name) => machine.stat(`/db/${name}`).sync().size)
      most = Math.max(
        most,
        bytes.reduce((sum, size) => sum + size, 0),
      )
    }
    // 32 MiB, what lives, and what a job has written meanwhile.
    expect(most).toBeLessThan(40 * 2 ** 20)
  })
})

test('a sync writer keeps few journals of which everything is in tables', () => {
  const machine = new MemVfs()
  const database = openSmall(machine, { syncInterval: 0, maxJournalSize: 2 ** 20 })
  const keyspace = keyspaceOf(database, 'a', { maxMemtableSize: 8 * 1024 })
  let most = 0
  for (let i = 0; i < 2000; i++) {
    put(database, keyspace, `k${i % 50}`, 'v'.repeat(1000))
    most = Math.max(most, database.figures().journalDiskSpace)
  }
  // The active one and the last one, each an eighth of the limit.
  expect(most).toBeLessThan(2.2 * 2 ** 17)
})

test('level 0 of a bare tree stays small where the event loop never turns', () => {
  const opened = runSync(
    StandaloneTree.open(new MemVfs(), '/tree', {
      tree: { maxMemtableSize: 4096 },
      cacheSize: 1 << 16,
      maxOpenFiles: 8,
      backgroundCompaction: true,
      filter: undefined,
    }),
  )
  const [key, value] = [Buffer.alloc(8), Buffer.alloc(200)]
  let most = 0
  for (let i = 0; i < 2000; i++) {
    key.writeUInt32BE((i * 7919) % 2003, 4)
    opened.add(VALUE, i + 1, key, key.length, value, value.length)
    most = Math.max(most, opened.tree.level0Runs)
  }
  expect(most).toBeLessThanOrEqual(12)
  runSync(opened.close())
})
