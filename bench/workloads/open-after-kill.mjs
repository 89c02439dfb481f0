// How long does it take to open after a kill with 200,000 entries in the journal?

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { check, shuffled, valueOf } from '../data.mjs'
import { openEngine } from '../engines/index.mjs'
import { SHALE } from '../levels.mjs'

export const title = 'open after a kill'
export const engines = [...SHALE, 'classic-level']
export const sizes = [200_000]
export const options = { level: 'database' }

if (process.argv[2] === '--child')
  await loadAndWait(process.argv[3], process.argv[4], Number(process.argv[5]))

async function loadAndWait(engine, dir, entries) {
  const store = await openEngine(engine, dir, options)
  const order = shuffled(entries)
  for (let at = 0; at < entries; at += 100) await store.batch(order.subarray(at, at + 100), valueOf)
  process.send('loaded')
  setInterval(() => {}, 1000)
}

export async function run({ open, entries, engine, dir }) {
  const child = fork(fileURLToPath(import.meta.url), ['--child', engine, dir, String(entries)])
  const [said] = await Promise.race([once(child, 'message'), once(child, 'close')])
  if (said !== 'loaded') throw new Error(`the loading process ended with ${said}`)
  child.kill('SIGKILL')
  await once(child, 'close')
  const started = performance.now()
  const store = await open(dir)
  const ms = performance.now() - started
  for (let i = 0; i < entries; i += 997) check(await store.get(i), i)
  await store.close()
  return { open: { ms: Math.round(ms) } }
}
