// The main job on real data: loads the world's places with the indexes that an application would
// keep, closes, reopens, verifies every record, looks around, and survives a kill.
//
//   npm run demo -- [--records N] [--dir DIR]
//
//   --records N   stop after about N records (default: all, more than a million)
//   --dir DIR     keep the database there for a look around (must not exist yet)

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import cliProgress from 'cli-progress'
import { Database, ShaleError } from 'shale'
import { killAndRecover } from './kill.mjs'
import { batchesOf, load, verify } from './load.mjs'
import { readPlaces } from './places.mjs'
import { tour } from './tour.mjs'

const rows = []

function report(what, count, ms) {
  rows.push([what, count.toLocaleString('en'), `${ms.toFixed(0)} ms`, rate(count, ms)])
}

function rate(count, ms) {
  return count < 100 ? '' : `${Math.round((count / ms) * 1000).toLocaleString('en')}/s`
}

function printTable() {
  const table = [['what', 'count', 'time', 'rate'], ...rows]
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)))
  for (const row of table) {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]),
    )
    console.log(`  ${cells.join('   ')}`)
  }
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

async function timed(what, count, work) {
  const started = performance.now()
  const result = await work()
  report(what, count, performance.now() - started)
  return result
}

async function run(dir, limit) {
  const places = readPlaces()
  let total = 0
  for (const records of batchesOf(places, limit)) total += records.length

  let db = await Database.open(dir, { errorIfExists: true })
  console.log(
    `${total.toLocaleString('en')} records of ${places.length.toLocaleString('en')} places`,
  )
  console.log(`engine ${db.engine}, durability os, ${dir}\n`)

  const loading = progress('load  ', total)
  await timed('records written in atomic batches', total, () =>
    load(db, places, limit, (count) => loading.increment(count)),
  )
  loading.stop()
  await timed('close', 1, () => db.close())
  db = await timed('reopen', 1, () => Database.open(dir))

  const verifying = progress('verify', total)
  await timed('records verified after reopening', total, () =>
    verify(db, places, limit, (count) => verifying.increment(count)),
  )
  verifying.stop()

  await tour(db, places, report)
  const bytes = db.diskSpace()
  await db.close()

  const killed = `${dir}-killed`
  try {
    const recovered = await timed('killed in mid-load and recovered', 1, () =>
      killAndRecover(killed, places),
    )
    console.log()
    printTable()
    const { acknowledged, batches, records, openedIn } = recovered
    console.log(
      `\n  killed with SIGKILL: ${acknowledged} batches acknowledged, ${batches} found whole`,
    )
    console.log(
      `  (${records.toLocaleString('en')} records), reopened in ${openedIn.toFixed(0)} ms`,
    )
    console.log(`  on disk: ${(bytes / 2 ** 20).toFixed(1)} MiB`)
  } finally {
    rmSync(killed, { recursive: true, force: true })
  }
}

function readArguments() {
  const { values } = parseArgs({
    options: { records: { type: 'string' }, dir: { type: 'string' } },
  })
  const limit = values.records === undefined ? Infinity : Number(values.records)
  if (!(limit >= 1)) throw new Error(`--records takes a number from 1, not ${values.records}`)
  return { limit, dir: values.dir }
}

const { limit, dir } = readArguments()
const scratch = dir === undefined ? mkdtempSync(join(tmpdir(), 'shale-demo-')) : undefined
try {
  await run(scratch === undefined ? resolve(dir) : join(scratch, 'db'), limit)
  if (scratch === undefined) console.log(`  kept: ${resolve(dir)}`)
} catch (error) {
  if (!(error instanceof ShaleError)) throw error
  console.error(`${error.code}: ${error.message}`)
  process.exitCode = 1
} finally {
  if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true })
}
