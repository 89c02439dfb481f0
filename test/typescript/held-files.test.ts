// Files that a closed database must have let go of, whoever still holds what it gave out.

import { readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { Database } from '../../lib/index.ts'
import type { Cursor } from '../../lib/index.ts'
import { failure, scratchDirectory } from '../support/scratch.ts'

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
