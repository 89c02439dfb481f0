// Runs the workloads, every store in processes of its own, rounds alternating between the stores,
// and prints medians with their spread and the ratios of shale to each peer.
//
//   npm run bench -- [--table] [--only WORKLOAD]... [--entries N]... [--rounds N] [--store NAME]...
//
//   --table      all sizes (else 100,000 entries where there are several); about 25 minutes
//   --rounds N   runs of each store, default 5
//
// Slow peers run less often or on fewer entries where a workload says so (`slow`); the heading
// tells. Results go to bench/results/<workload>-<entries>.json, the bars to bars.json beside them.

import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { SEED } from './data.mjs'
import { installPeers } from './peers/install.mjs'
import { printBars, report } from './report.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const { values } = parseArgs({
  options: {
    table: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true },
    entries: { type: 'string', multiple: true },
    store: { type: 'string', multiple: true },
    rounds: { type: 'string', default: '5' },
  },
})
const rounds = Number(values.rounds)

installPeers()
console.log(`${cpus().length} x ${cpus()[0].model}, Node.js ${process.version}, seed ${SEED}`)
console.log(`medians of ${rounds} runs, each in a process of its own; ± is half of max - min\n`)

const names = readdirSync(join(here, 'workloads')).map((file) => file.replace(/\.mjs$/, ''))
const unknown = (values.only ?? []).filter((name) => !names.includes(name))
if (unknown.length > 0) throw new Error(`no workload ${unknown.join()}; there are ${names.join()}`)
mkdirSync(join(here, 'results'), { recursive: true })
const bars = []
for (const name of names.filter((candidate) => values.only?.includes(candidate) ?? true)) {
  const workload = await import(`./workloads/${name}.mjs`)
  for (const entries of sizesOf(workload)) bars.push(...(await measure(name, workload, entries)))
}
printBars(bars)
writeFileSync(join(here, 'results', 'bars.json'), `${JSON.stringify(bars, null, 1)}\n`)

function sizesOf({ sizes }) {
  if (values.entries) return values.entries.map(Number)
  if (values.table || sizes.length === 1) return sizes
  return [100_000]
}

async function measure(name, { title, engines, enginesAt, slow = {} }, entries) {
  const all = enginesAt?.[entries] ?? engines
  const stores = all.filter((engine) => values.store?.includes(engine) ?? true)
  const runs = new Map(stores.map((store) => [store, []]))
  for (let round = 0; round < rounds; round++) {
    for (const store of stores) {
      if (round >= (slow[store]?.rounds ?? rounds)) continue
      const result = await runOnce(name, store, Math.min(entries, slow[store]?.entries ?? entries))
      if (result) runs.get(store).push(result)
    }
  }
  const heading = `${title}, ${entries.toLocaleString('en')} entries${exceptions(slow, stores)}`
  const judged = report(heading, name, entries, runs)
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
  return judged
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

/** A store that fails says so on stderr and is left out of that round. */
async function runOnce(name, store, entries) {
  const args = [join(here, 'process.mjs'), name, store, String(entries)]
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 2 ** 26 })
    return JSON.parse(stdout.trim().split('\n').at(-1))
  } catch (error) {
    console.error(`bench: ${store} in ${name}: ${String(error.stderr || error.message).trim()}`)
    return undefined
  }
}
