// One workload on one store in one process; prints one line of JSON: the rows, or `failed`.
//
//   node process.mjs WORKLOAD STORE ENTRIES

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openEngine } from './engines/index.mjs'

const [workload, engine, entries] = process.argv.slice(2)
const { run, options } = await import(`./workloads/${workload}.mjs`)
const scratch = mkdtempSync(join(process.env.SHALE_BENCH_DIR ?? tmpdir(), 'shale-bench-'))
let opened = 0

/** A store in a directory of its own, or in a given one. */
function open(dir = join(scratch, String(opened++))) {
  mkdirSync(join(dir, '..'), { recursive: true })
  return openEngine(engine, dir, options)
}

try {
  const dir = join(scratch, 'named')
  if (workload === 'workers') mkdirSync(dir)
  const rows = await run({ open, engine, dir, entries: Number(entries) })
  console.log(JSON.stringify(rows))
} catch (error) {
  const { code, name, message } = error
  console.log(JSON.stringify({ failed: `${code ?? name}: ${message}` }))
  throw error
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
