// Several threads of one process and one directory. This is where the engines differ: the core of
// the native one is shared by all threads, the TypeScript one lives in the thread that opened it.

import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { expect, onTestFinished, test } from 'vitest'
import { openDatabase } from '../support/engine.ts'
import { nextEngine } from '../support/next-engine.ts'
import { scratchDirectory } from '../support/scratch.ts'

type Answer = { readonly read: string } | { readonly code: string; readonly sameProcess: boolean }

/** What a thread of its own finds under `key` of keyspace `k`, or why it cannot open the path. */
async function readInThread(path: string, engine: string): Promise<Answer> {
  const script = new URL('thread.mjs', import.meta.url)
  const worker = new Worker(script, { workerData: { path, engine } })
  onTestFinished(() => void worker.terminate())
  const exited = once(worker, 'exit')
  const [answer] = (await once(worker, 'message')) as [Answer]
  await exited
  return answer
}

test('another thread: shares the core of native, is refused by typescript', async () => {
  const path = join(scratchDirectory(), 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k')
  await keyspace.insert('key', 'value', { durability: 'buffered' })
  const answer = await readInThread(path, db.engine)
  if (db.engine === 'native') expect(answer).toEqual({ read: 'value' })
  else expect(answer).toEqual({ code: 'DB_LOCKED', sameProcess: true })
  expect(keyspace.getTextSync('key')).toBe('value')
  await db.close()
  expect(await readInThread(path, nextEngine(path))).toEqual({ read: 'value' })
})

test.each(['exit', 'throw', 'natural'])(
  'a thread that ends (%s) without a close loses nothing, and gives the directory back',
  async (end) => {
    const path = join(scratchDirectory(), 'db')
    const script = new URL('thread.mjs', import.meta.url)
    const worker = new Worker(script, { workerData: { path, engine: nextEngine(path), end } })
    worker.on('error', () => {}) // it throws
    await new Promise((resolve) => {
      worker.on('exit', resolve)
    })
    const db = await openDatabase(path)
    expect(await (await db.keyspace('k')).len()).toBe(100)
    await db.close()
  },
)

test('another handle in the same thread shares what is open', async () => {
  const path = join(scratchDirectory(), 'db')
  const one = await openDatabase(path)
  const two = await openDatabase(path, { engine: one.engine })
  const keyspace = await two.keyspace('k')
  await (await one.keyspace('k')).insert('key', 'value', { durability: 'buffered' })
  expect(keyspace.getTextSync('key')).toBe('value')
  await one.close()
  await keyspace.insert('key', 'newer')
  expect(await keyspace.getText('key')).toBe('newer')
  await two.close()
})
