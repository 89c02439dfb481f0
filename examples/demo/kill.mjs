// The kill: a child loads, is killed with SIGKILL in the middle, and what it was acknowledged must
// be there.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Database } from 'shale'
import { batchesOf, load, openKeyspaces } from './load.mjs'
import { readPlaces } from './places.mjs'

const KILL_AFTER_BATCHES = 300

if (process.argv[2] === '--child') {
  const [, , , engine, dir] = process.argv
  const db = await Database.open(dir, { engine })
  await load(db, readPlaces(), Infinity, (_, number) => {
    process.send(number)
  })
  throw new Error('the child was to be killed before it ended')
}

/** Returns what was acknowledged and what was found, in batches and in records. */
export async function killAndRecover(engine, dir, places) {
  const child = fork(fileURLToPath(import.meta.url), ['--child', engine, dir])
  let acknowledged = 0
  child.on('message', (number) => {
    acknowledged = number
    if (number === KILL_AFTER_BATCHES) child.kill('SIGKILL')
  })
  const [code, signal] = await once(child, 'close')
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself with ${code}`)

  const opening = performance.now()
  const db = await Database.open(dir, { engine })
  const openedIn = performance.now() - opening
  try {
    const found = await countBatches(db, places)
    if (found.batches < acknowledged) {
      throw new Error(`${acknowledged} batches were acknowledged, ${found.batches} were found`)
    }
    return { acknowledged, ...found, openedIn }
  } finally {
    await db.close()
  }
}

/** Whole batches from the first one on; a half batch is an error. */
async function countBatches(db, places) {
  const keyspaces = await openKeyspaces(db)
  let batches = 0
  let records = 0
  for (const batch of batchesOf(places, Infinity)) {
    const there = batch.filter(
      ([name, key, value]) => keyspaces.get(name).getTextSync(key) === value,
    )
    if (there.length !== 0 && there.length !== batch.length)
      throw new Error('half a batch was found')
    if (there.length === 0) break
    batches++
    records += there.length
  }
  return { batches, records }
}
