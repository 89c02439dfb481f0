// What scans pin goes with the close of their database, whoever still holds them; those that run at
// that moment end first.

import { readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import {
  Database,
  MAX_SEQNO,
  Tree,
  type Engine,
  type EntryRange,
  type Keyspace,
} from '../../lib/index.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

const ENTRIES = 20_000

const key = (i: number): string => `key ${String(i).padStart(8, '0')}`

/** A database whose entries are in tables, opened anew: nothing is cached. */
async function openCold(
  path: string,
  engine: Engine,
): Promise<{ db: Database; keyspace: Keyspace }> {
  const made = await Database.open(path, { engine })
  const filled = await made.keyspace('k', { maxMemtableSize: 256 * 1024 })
  for (let i = 0; i < ENTRIES; i++) filled.insertSync(key(i), 'v'.repeat(100))
  await made.close()
  const db = await Database.open(path, { engine })
  return { db, keyspace: await db.keyspace('k') }
}

/** How many files in `directory` this process has open. */
function openFiles(directory: string): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(join('/proc/self/fd', fd))
    } catch {
      return ''
    }
  })
  return links.filter((link) => link.startsWith(`${directory}/`)).length
}

/** A call of the system that a sync close has left under way ends first. */
async function expectNoneOpen(directory: string): Promise<void> {
  await vi.waitFor(() => {
    expect(openFiles(directory)).toBe(0)
  })
}

/** Everything that reads a range and has begun, with what its next step comes to. */
function begin(range: EntryRange): (() => unknown)[] {
  const cursor = range.cursor()
  cursor.nextSync()
  cursor.nextBackSync()
  const iterator = range[Symbol.iterator]()
  iterator.next()
  const fresh = range.cursor()
  return [() => cursor.nextSync(), () => iterator.next(), () => fresh.nextSync()]
}

describe.runIf(process.platform === 'linux').each<Engine>(['native', 'typescript'])(
  '%s: an open scan keeps no file of a closed',
  (engine) => {
    test.each(['close', 'closeSync'] as const)('database: %s', async (method) => {
      const path = join(scratchDirectory(), 'db')
      const { db, keyspace } = await openCold(path, engine)
      const snapshot = db.snapshot()
      const steps = [
        ...begin(keyspace.iter()),
        ...begin(keyspace.iter({ snapshot, reverse: true })),
      ]
      expect(openFiles(path)).toBeGreaterThan(2)
      await db[method]()
      await expectNoneOpen(path)
      // oxlint-disable-next-line no-await-in-loop
      for (const step of steps) expect((await failure(step)).code).toBe('DB_CLOSED')
    })

    test('database, while reader threads fill', async () => {
      const directory = scratchDirectory()
      for (let round = 0; round < 10; round++) {
        // oxlint-disable-next-line no-await-in-loop
        const { db, keyspace } = await openCold(join(directory, `db ${round}`), engine)
        const cursors = Array.from({ length: 50 }, (_, i) => {
          return keyspace.range({ gte: key((i * 379) % ENTRIES) }).cursor()
        })
        const pending = cursors.map(async (cursor) => cursor.next())
        // oxlint-disable-next-line no-await-in-loop
        const settled = await Promise.allSettled([db.close(), ...pending])
        for (const result of settled) {
          if (result.status === 'rejected') expect(result.reason.code).toBe('DB_CLOSED')
        }
        await expectNoneOpen(db.path)
        // oxlint-disable-next-line no-await-in-loop
        expect((await rejection(async () => cursors[0]!.next())).code).toBe('DB_CLOSED')
      }
    })

    test('handle: the other one on that core goes on', async () => {
      const path = join(scratchDirectory(), 'db')
      const { db, keyspace } = await openCold(path, engine)
      const other = await Database.open(path, { engine })
      const cursor = (await other.keyspace('k')).iter().cursor()
      const steps = begin(keyspace.iter())
      await db.close()
      expect((await failure(steps[0]!)).code).toBe('DB_CLOSED')
      for (let i = 0; i < ENTRIES; i++) expect(String(cursor.nextSync()![0])).toBe(key(i))
      await other.close()
      await expectNoneOpen(path)
    })

    test('tree', async () => {
      const path = join(scratchDirectory(), 'tree')
      const tree = await Tree.open(path, { engine })
      for (let i = 0; i < 1000; i++) tree.insertSync(key(i), 'value', i)
      await tree.flush()
      const steps = begin(tree.iter(MAX_SEQNO))
      expect(openFiles(path)).toBeGreaterThan(1)
      tree.closeSync()
      await expectNoneOpen(path)
      expect((await failure(steps[0]!)).code).toBe('DB_CLOSED')
    })

    test.each(['close', 'closeSync'] as const)('database after %s in a visitor', async (method) => {
      const path = join(scratchDirectory(), 'db')
      const { db, keyspace } = await openCold(path, engine)
      const closing: (Promise<void> | void)[] = []
      let visited = 0
      const total = keyspace.iter().forEachSync((found) => {
        expect(String(found)).toBe(key(visited))
        if (visited++ === 10) closing.push(db[method]())
      })
      expect(total).toBe(ENTRIES)
      for (const closed of closing) await closed
      await expectNoneOpen(path)
    })
  },
)
