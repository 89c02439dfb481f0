// A loop of sync writes in which the event loop never turns: what it fills must stay bounded.

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openDatabase } from '../support/engine.ts'
import { scratchDirectory } from '../support/scratch.ts'

const MIB = 2 ** 20

test('sync writes alone stay within memory, journals and level 0', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'), {
    maxWriteBufferSize: 2 * MIB,
    maxJournalSize: MIB,
    journalCompression: 'none',
    // Native threads may be slow on a busy machine; here nobody waits for them.
    maxStall: 120_000,
  })
  const keyspace = db.keyspaceSync('k', { maxMemtableSize: 256 * 1024 })
  const value = 'v'.repeat(1000)
  let [memory, journals, runs] = [0, 0, 0]
  for (let i = 0; i < 24 * 1024; i++) {
    keyspace.insertSync(`key ${(i * 7919) % 24_576}`, value)
    if (i % 64 !== 0) continue
    memory = Math.max(memory, db.writeBufferSize)
    journals = Math.max(journals, db.journalDiskSpace())
    runs = Math.max(runs, keyspace.version().levels[0]?.length ?? 0)
  }
  expect(memory).toBeLessThan(3 * MIB)
  expect(journals).toBeLessThan(8 * MIB)
  expect(runs).toBeLessThan(20)
  expect(keyspace.lenSync()).toBe(24_576)
  await db.close()
})

test('what sync writes make obsolete leaves the disk, whoever is idle beside it', async () => {
  const path = join(scratchDirectory(), 'db')
  const db = await openDatabase(path, {
    maxWriteBufferSize: 4 * MIB,
    maxJournalSize: MIB,
    journalCompression: 'none',
    maxStall: 120_000,
  })
  const keyspace = db.keyspaceSync('k', { maxMemtableSize: 128 * 1024 })
  db.keyspaceSync('idle').insertSync('a', 'b')
  const value = 'v'.repeat(1000)
  for (let i = 0; i < 24_000; i++) keyspace.insertSync(`key ${(i * 7919) % 2000}`, value)
  const bytes = readdirSync(path)
    .map((name) => statSync(join(path, name), { throwIfNoEntry: false })?.size ?? 0)
    .reduce((sum, size) => sum + size, 0)
  // 24 MB were written twice, to journals and tables; 2 MB of them are still there.
  expect(db.journalDiskSpace()).toBeLessThan(6 * MIB)
  expect(bytes).toBeLessThan(28 * MIB)
  await db.close()
})
