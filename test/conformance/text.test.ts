// Values as text.

import { join } from 'node:path'
import { afterEach, expect, test, vi } from 'vitest'
import { openDatabase } from '../support/engine.ts'
import { rejection, scratchDirectory } from '../support/scratch.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

test('a value too long for a string says so, also when it comes from the disk', async () => {
  const db = await openDatabase(join(scratchDirectory(), 'db'), { cacheSize: 0 })
  const keyspace = await db.keyspace('k')
  keyspace.insertSync('key', 'value')
  await keyspace.rotateMemtableAndWait()
  const tooLong = new Error('Cannot create a string longer than that')
  vi.spyOn(Buffer.prototype, 'toString').mockImplementation(() => {
    throw tooLong
  })
  const error = await rejection(() => keyspace.getText('key'))
  expect(error).toMatchObject({ code: 'VALUE_TOO_LARGE', cause: tooLong })
  vi.restoreAllMocks()
  expect(await keyspace.getText('key')).toBe('value')
  await db.close()
})
