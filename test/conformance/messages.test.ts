// What errors say: what was given, what is allowed, where it happened.

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openDatabase, openDatabaseSync, openTreeSync } from '../support/engine.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

async function messageOf(options: object): Promise<string> {
  const path = join(scratchDirectory(), 'db')
  return (await failure(() => openDatabaseSync(path, options))).message
}

test('a word that is none of those allowed', async () => {
  const allowed = "must be 'buffered', 'os' or 'sync', not"
  expect(await messageOf({ durability: 'fsync' })).toContain(`${allowed} 'fsync'`)
  expect(await messageOf({ durability: 7 })).toContain(`${allowed} 7`)
  expect(await messageOf({ durability: null })).toContain(`${allowed} null`)
  expect((await messageOf({ durability: 'x'.repeat(10_000) })).length).toBeLessThan(200)
  expect(await messageOf({ cacheSize: '10' })).toContain('not a string')
})

test('an unknown option: the one that was meant, or all that there are', async () => {
  expect(await messageOf({ cachesize: 1 })).toContain('did you mean cacheSize?')
  expect(await messageOf({ stall: 1 })).toContain('did you mean maxStall?')
  const message = await messageOf({ encryption: true })
  expect(message).not.toContain('did you mean')
  for (const known of ['engine', 'maxStall', 'recovery']) expect(message).toContain(known)
  expect((await messageOf({ ['x'.repeat(10_000)]: 1 })).length).toBeLessThan(500)
})

test('DB_LOCKED names the directory, and the options that differ', async () => {
  const path = join(scratchDirectory(), 'db')
  const db = openDatabaseSync(path, { cacheSize: 1_000_000, recovery: 'strict' })
  const again = () =>
    openDatabase(path, { engine: db.engine, cacheSize: 2_000_000, durability: 'sync' })
  const error = await rejection(again)
  expect(error).toMatchObject({ code: 'DB_LOCKED', path, sameProcess: true })
  expect(error.message).toContain(path)
  for (const name of ['cacheSize', 'durability', 'recovery']) expect(error.message).toContain(name)
  expect(error.message).not.toContain('maxStall')
  await db.close()
})

test('a tree that is open here already', async () => {
  const path = join(scratchDirectory(), 'tree')
  const tree = openTreeSync(path)
  const error = await failure(() => openTreeSync(path, { engine: tree.engine }))
  expect(error).toMatchObject({ code: 'DB_LOCKED', path, sameProcess: true, pid: process.pid })
  expect(error.message).toContain(path)
  expect(error.message).toContain('this process')
  tree.closeSync()
})

test('seqnos that may not be', async () => {
  const tree = openTreeSync(join(scratchDirectory(), 'tree'))
  tree.insertSync('key', 'v', 17)
  tree.rotateMemtable()
  const sealed = await failure(() => tree.insertSync('key', 'v', 16))
  expect(sealed.message).toMatch(/\b16\b.*\b17\b/)
  tree.setGcSeqno(9)
  const lower = await failure(() => {
    tree.setGcSeqno(8)
  })
  expect(lower.message).toMatch(/\b8\b.*\b9\b/)
  tree.closeSync()
})
