// Runs the workloads, every store in processes of its own, rounds alternating between the stores,
// and prints medians with their spread and how many times each engine of shale is each store.

import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { SEED } from './data.mjs'
import { NATIVE, SKIPLIST, TYPESCRIPT } from './levels.mjs'
import { installPeers } from './peers/install.mjs'
import { printBars, report } from './report.mjs'
import { printTable } from './table.mjs'

const HELP = `
npm run bench -- [--table] [--engine NAME]... [--only WORKLOAD]... [--entries N]... [--rounds N]
                 [--store NAME]...

  --table          all sizes (else 100,000 entries where there are several), then the table of
                   README.md; about 40 minutes
  --engine NAME    of shale's engines only this one: native or typescript
  --only WORKLOAD  only this workload, a file name of bench/workloads
  --entries N      with N entries
  --rounds N       runs of each store, default 5
  --store NAME     only this store; shale stands for both engines

Slow stores run less often or on fewer entries where a workload says so; the heading tells. Results
go to bench/results/<workload>-<entries>.json, the bars to bars.json beside them, and what a
workload has to show over time to drawings (.svg). The exit code is 1 if a run failed.
`

const ENGINES = { native: [NATIVE, SKIPLIST], typescript: [TYPESCRIPT] }

const here = fileURLToPath(new URL('.', import.meta.url))
const { values } = parseArgs({
  options: {
    table: { type: 'boolean', default: false },
    engine: { type: 'string', multiple: true },
    only: { type: 'string', multiple: true },
    entries: { type: 'string', multiple: true },
    store: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '5' },
    help: { type: 'boolean', default: false },
  },
})
const rounds = Number(values.rounds)
const workloads = readdirSync(join(here, 'workloads')).map((file) => file.replace(/\.mjs$/, ''))

if (values.help) console.log(HELP.trim())
else await runAll()

async function runAll() {
  for (const engine of values.engine ?? []) known('engine', engine, Object.keys(ENGINES))
  for (const name of values.only ?? []) known('workload', name, workloads)
  installPeers()
  console.log(`${cpus().length} x ${cpus()[0].model}, Node.js ${process.version}, seed ${SEED}`)
  console.log(`medians of ${rounds} runs, each in a process of its own; ± is half of max - min\n`)

  mkdirSync(join(here, 'results'), { recursive: true })
  const bars = []
  for (const name of workloads.filter((candidate) => values.only?.includes(candidate) ?? true)) {
    const workload = await import(`./workloads/${name}.mjs`)
    for (const entries of sizesOf(workload)) bars.push(...(await measure(name, workload, entries)))
  }
  printBars(bars)
  writeFileSync(join(here, 'results', 'bars.json'), `${JSON.stringify(bars, null, 1)}\n`)
  if (values.table) await printTable()
}

function known(what, name, names) {
  if (names.includes(name)) return
  console.error(`no ${what} ${name}; there are ${names.join(', ')}`)
  process.exit(2)
}

function sizesOf({ sizes }) {
  if (values.entries) return values.entries.map(Number)
  if (values.table || sizes.length === 1) return sizes
  return [100_000]
}

function isWanted(store) {
  const isNamed = (name) => store === name || store.startsWith(`${name} (`)
  if (values.store && !values.store.some(isNamed)) return false
  const isShale = Object.values(ENGINES).flat().includes(store)
  return !isShale || (values.engine?.some((name) => ENGINES[name].includes(store)) ?? true)
}

async function measure(name, { title, engines, enginesAt, slow = {}, without }, entries) {
  const stores = (enginesAt?.[entries] ?? engines).filter(isWanted)
  if (stores.length === 0) return []
  const runs = new Map(stores.map((store) => [store, []]))
  for (let round = 0; round < rounds; round++) {
    for (const store of stores) {
      if (round >= (slow[store]?.rounds ?? rounds)) continue
      const count = Math.min(entries, slow[store]?.entries ?? entries)
      runs.get(store).push(await runOnce(name, store, count))
    }
  }
  const heading = `${title}, ${entries.toLocaleString('en')} entries${exceptions(slow, stores)}`
  const judged = report(heading, name, entries, runs, without)
  const file = join(here, 'results', `${name}-${entries}.json`)
  const result = {
    title: heading,
    node: process.version,
    processor: cpus()[0].model,
    seed: SEED,
    rounds,
    bars: judged,
    runs: Object.fromEntries(runs),
  }
  writeFileSync(file, `${JSON.stringify(result, null, 1)}\n`)
  await plot(file.replace(/\.json$/, ''), heading, runs)
  return judged
}

/** Draws the timelines of the last runs, for workloads that have any. */
async function plot(file, heading, runs) {
  const last = [...runs].map(([store, results]) => [store, results.at(-1)?.timeline])
  const timelines = Object.fromEntries(last.filter(([, timeline]) => timeline !== undefined))
  if (Object.keys(timelines).length === 0) return
  const { plotTimelines } = await import('./peers/plot.mjs')
  const written = await plotTimelines(file, heading, timelines)
  console.log(`  drawn: ${written.map((path) => relative(process.cwd(), path)).join(', ')}\n`)
}

/** What the heading says of stores that run less. */
function exceptions(slow, stores) {
  const said = stores
    .filter((store) => slow[store] !== undefined)
    .map((store) => {
      const { rounds: runs, entries } = slow[store]
      const parts = []
      if (runs !== undefined && runs < rounds) parts.push(`runs: ${runs}`)
      if (entries !== undefined) parts.push(`entries: ${entries.toLocaleString('en')}`)
      return parts.length === 0 ? '' : `${store} ${parts.join(', ')}`
    })
    .filter(Boolean)
  return said.length === 0 ? '' : ` (${said.join('; ')})`
}

/** The rows of one run; `failed` with the reason if it failed, the whole of it on stderr. */
async function runOnce(name, store, entries) {
  const args = [join(here, 'process.mjs'), name, store, String(entries)]
  const lastOf = (output) => JSON.parse(output.trim().split('\n').at(-1))
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 2 ** 26 })
    return lastOf(stdout)
  } catch (error) {
    process.exitCode = 1
    console.error(`bench: ${store} in ${name}: ${String(error.stderr || error.message).trim()}`)
    if (error.stdout) return lastOf(error.stdout)
    return { failed: `ended with ${error.signal ?? error.code ?? error.message}` }
  }
}
