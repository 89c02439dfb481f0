// A folder that is taken from under an open database.

import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Database } from '../../lib/index.ts'
import { rejection, scratchDirectory } from '../support/scratch.ts'

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
