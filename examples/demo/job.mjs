// The main job on one engine, in a process of its own: loads, closes, reopens, verifies every
// record, looks around, and survives a kill. Sends its parent the rows, or the error's code.
//
//   node job.mjs ENGINE DIR LIMIT

import { rmSync } from 'node:fs'
import cliProgress from 'cli-progress'
import { Database, ShaleError } from 'shale'
import { killAndRecover } from './kill.mjs'
import { batchesOf, load, verify } from './load.mjs'
import { readPlaces } from './places.mjs'
import { tour } from './tour.mjs'

const [engine, dir, limitText] = process.argv.slice(2)
const limit = Number(limitText)
const rows = []

function report(what, count, ms) {
  rows.push({ what, count, ms })
}

async function timed(what, count, work) {
  const started = performance.now()
  const result = await work()
  report(what, count, performance.now() - started)
  return result
}

function progress(label, total) {
  const bar = new cliProgress.SingleBar({
    format: `${label} {bar} {percentage}% | {value}/{total} records`,
    hideCursor: true,
    noTTYOutput: true,
    notTTYSchedule: 5000,
  })
  bar.start(total, 0)
  return bar
}

async function run() {
  const places = readPlaces()
  let total = 0
  for (const records of batchesOf(places, limit)) total += records.length

  let db = await Database.open(dir, { engine, errorIfExists: true })
  console.log(
    `engine ${db.engine}: ${total.toLocaleString('en')} records of ` +
      `${places.length.toLocaleString('en')} places, durability os, ${dir}\n`,
  )

  const loading = progress('load  ', total)
  await timed('records written in atomic batches', total, () =>
    load(db, places, limit, (count) => loading.increment(count)),
  )
  loading.stop()
  await timed('close', 1, () => db.close())
  db = await timed('reopen', 1, () => Database.open(dir, { engine }))

  const verifying = progress('verify', total)
  await timed('records verified after reopening', total, () =>
    verify(db, places, limit, (count) => verifying.increment(count)),
  )
  verifying.stop()

  await tour(db, places, report)
  const bytes = db.diskSpace()
  const name = db.engine
  await db.close()

  const killed = `${dir}-killed`
  try {
    const recovered = await timed('killed in mid-load and recovered', 1, () =>
      killAndRecover(engine, killed, places),
    )
    console.log()
    return { engine: name, rows, bytes, recovered }
  } finally {
    rmSync(killed, { recursive: true, force: true })
  }
}

try {
  process.send(await run())
} catch (error) {
  if (!(error instanceof ShaleError)) throw error
  console.error(`${error.code}: ${error.message}`)
  process.send({ failed: error.code })
  process.exitCode = 1
}
