// Files that a closed database must have let go of, whoever still holds what it gave out.

import { readdirSync, readlinkSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { Database } from '../../lib/index.ts'
import type { Cursor } from '../../lib/index.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

/** Descriptors of files in `directory`. */
function openFiles(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((name) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${name}`)
      return target.startsWith(directory) ? [target] : []
    } catch {
      return [] // that of the listing itself
    }
  })
}

test.each(['close', 'closeSync'] as const)('%s ends cursors that are open', async (close) => {
  const path = join(scratchDirectory(), 'db')
  const cursors: Cursor[] = []
  for (let round = 0; round < 3; round++) {
    // oxlint-disable no-await-in-loop
    const db = await Database.open(path, { engine: 'typescript' })
    const keyspace = await db.keyspace('k')
    for (let i = 0; i < 100; i++) keyspace.insertSync(`key ${i}`, `value ${i}`)
    await keyspace.rotateMemtableAndWait()
    const cursor = keyspace.iter().cursor()
    expect(cursor.nextSync()).toBeDefined()
    cursors.push(cursor)
    await db[close]()
    // A call of the system that a sync close has left under way ends first.
    await vi.waitFor(() => {
      expect(openFiles(path)).toEqual([])
    })
  }
  for (const cursor of cursors) {
    expect((await failure(() => cursor.nextSync())).code).toBe('DB_CLOSED')
    cursor.close()
  }
})

test('a folder that was removed and made anew under an open database is left alone', async () => {
  const path = join(scratchDirectory(), 'db')
  const forgotten = await Database.open(path, { engine: 'typescript' })
  const old = await forgotten.keyspace('k')
  for (let i = 0; i < 100; i++) await old.insert(`old ${i}`, 'value')
  rmSync(path, { recursive: true })
  const db = await Database.open(path, { engine: 'typescript' })
  const keyspace = await db.keyspace('k')
  for (let i = 0; i < 100; i++) await keyspace.insert(`new ${i}`, 'value')
  await keyspace.rotateMemtableAndWait()
  const files = readdirSync(path).toSorted()
  const refused = await rejection(() => old.rotateMemtableAndWait())
  expect([refused.code, refused.path]).toEqual(['IO_ERROR', path])
  expect(refused.message).toContain('removed or replaced')
  await forgotten.close().catch(() => {})
  expect(readdirSync(path).toSorted()).toEqual(files)
  await db.close()
  const again = await Database.open(path, { engine: 'typescript' })
  expect(await (await again.keyspace('k')).len()).toBe(100)
  await again.close()
})
