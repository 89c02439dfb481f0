// The main job on real data: loads the world's places with the indexes that an application would
// keep, closes, reopens, verifies every record, looks around, and survives a kill.
//
//   npm run demo -- [--engine NAME] [--records N] [--dir DIR]
//
//   --engine NAME  native, typescript or auto (default: both engines, side by side)
//   --records N    stop after about N records (default: all, more than a million)
//   --dir DIR      keep the database there for a look around (must not exist yet); of both engines
//                  in directories of their names in it

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const ENGINES = ['native', 'typescript', 'auto']

function readArguments() {
  const { values } = parseArgs({
    options: {
      engine: { type: 'string' },
      records: { type: 'string' },
      dir: { type: 'string' },
    },
  })
  const limit = values.records === undefined ? Infinity : Number(values.records)
  if (!(limit >= 1)) throw new Error(`--records takes a number from 1, not ${values.records}`)
  if (values.engine !== undefined && !ENGINES.includes(values.engine)) {
    throw new Error(`--engine takes ${ENGINES.join(', ')}, not ${values.engine}`)
  }
  return { engine: values.engine, limit, dir: values.dir }
}

/** Runs the job in a process of its own, so that neither engine warms up the other. */
async function runJob(engine, dir, limit) {
  const job = fork(fileURLToPath(new URL('job.mjs', import.meta.url)), [engine, dir, limit])
  let result = { failed: 'the job ended without a word' }
  job.on('message', (message) => (result = message))
  await once(job, 'close')
  return result
}

/** What every engine took; `times`: how many times faster the first is than the second. */
function printTable(results) {
  const [first, second] = results
  const headings = results.flatMap(({ engine }) => [engine, 'rate'])
  const table = [['what', 'count', ...headings, ...(second ? [`${first.engine} ×`] : [])]]
  for (const [i, { what, count }] of first.rows.entries()) {
    const cells = results.flatMap(({ rows }) => [`${rows[i].ms.toFixed(0)} ms`, rateOf(rows[i])])
    const times = second ? [(second.rows[i].ms / first.rows[i].ms).toFixed(1)] : []
    table.push([what, count.toLocaleString('en'), ...cells, ...times])
  }
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)))
  for (const row of table) {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]),
    )
    console.log(`  ${cells.join('   ')}`)
  }
}

function rateOf({ count, ms }) {
  return count < 100 ? '' : `${Math.round((count / ms) * 1000).toLocaleString('en')}/s`
}

function printRecovery({ engine, bytes, recovered }) {
  const { acknowledged, batches, records, openedIn } = recovered
  console.log(
    `\n  ${engine}: killed with SIGKILL, ${acknowledged} batches acknowledged, ` +
      `${batches} found whole (${records.toLocaleString('en')} records),`,
  )
  console.log(
    `  reopened in ${openedIn.toFixed(0)} ms; on disk: ${(bytes / 2 ** 20).toFixed(1)} MiB`,
  )
}

const { engine, limit, dir } = readArguments()
const scratch = dir === undefined ? mkdtempSync(join(tmpdir(), 'shale-demo-')) : undefined
const place = scratch === undefined ? resolve(dir) : join(scratch, 'db')
try {
  const chosen = engine === undefined ? ['native', 'typescript'] : [engine]
  if (engine === undefined) mkdirSync(place)
  const results = []
  for (const name of chosen) {
    const result = await runJob(name, engine === undefined ? join(place, name) : place, limit)
    if (result.failed === undefined) results.push(result)
    // Of two engines one may be missing: there is no binary for every machine.
    else if (engine !== undefined || result.failed !== 'NOT_SUPPORTED') process.exitCode = 1
  }
  if (results.length > 0) printTable(results)
  else process.exitCode = 1
  for (const result of results) printRecovery(result)
  if (scratch === undefined) console.log(`\n  kept: ${place}`)
} finally {
  if (scratch !== undefined) rmSync(scratch, { recursive: true, force: true })
}
