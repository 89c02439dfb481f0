// The table of README.md, from the figures in bench/results.
//
//   node bench/table.mjs

import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { SHALE } from './levels.mjs'
import { median, print, rateText } from './report.mjs'

const STORES = [...SHALE, 'classic-level', 'lmdb', 'rocksdb', 'better-sqlite3', 'sorted-btree']
const LARGE = 1_000_000

/** What it is called, the workload and its number of entries, the row there. */
const ROWS = [
  ['database, `os`: `insertSync`', 'database-writes', 100_000, 'random insertSync'],
  ['database, `os`: awaited `insert`', 'database-writes', 100_000, 'awaited insert'],
  ['database, `os`: batches of 100 (items)', 'database-writes', 100_000, 'batches of 100 (items)'],
  ['database, `sync`: 1 writer', 'durable', 5000, '1 writer'],
  ['database, `sync`: 32 writers', 'durable', 5000, '32 writers'],
  ['database: `getSync` from memory', 'database-reads', 100_000, 'random getSync'],
  ['database: awaited `get` from memory', 'database-reads', 100_000, 'awaited get'],
  ['4 async clients, half writes, 1 M entries', 'clients', LARGE, 'mixed operations'],
  ['load of 5 M random entries', 'load', 5_000_000, 'random load'],
  ['random `getSync` after it, 64 MiB cache', 'load', 5_000_000, 'random get after it'],
  ['open after a kill, 200,000 entries', 'open-after-kill', 200_000, 'open'],
  ['tree, in memory: `insertSync`', 'memtable-writes', 100_000, 'random insert'],
  ['tree, in memory: `getSync`', 'memtable-reads', 100_000, 'random get'],
  ['tree, in memory: `containsKeySync`', 'memtable-reads', 100_000, 'contains'],
  ['tree, in memory: scan as `[key, value]`', 'memtable-scans', 100_000, 'full scan'],
  ['tree, tables in the cache, 1 M: `getSync`', 'tables-cached', LARGE, 'random get'],
  ['tree, tables in the cache, 1 M: scan', 'tables-cached', LARGE, 'full scan'],
]

/** Prints what was measured; a row without results is left out. */
export async function printTable() {
  const spreads = []
  const counts = new Set()
  const table = [['', ...STORES]]
  for (const [label, workload, entries, row] of ROWS) {
    const runs = readRuns(workload, entries)
    if (runs === undefined) continue
    const { slow = {} } = await import(`./workloads/${workload}.mjs`)
    const cells = STORES.map((store) => {
      const values = figures(runs[store], row)
      if (values.length === 0) return ''
      spreads.push((Math.max(...values) - Math.min(...values)) / 2 / median(values))
      counts.add(values.length)
      return cell(runs[store], row) + fewer(slow[store]?.entries)
    })
    table.push([label, ...cells])
  }
  if (table.length === 1) return
  console.log('## the table of README.md\n')
  print(table)
  const percent = (part) => Math.round(part * 100)
  console.log(
    `\n  medians of ${Math.min(...counts)} to ${Math.max(...counts)} runs, ` +
      `spread ${percent(Math.min(...spreads))} to ${percent(Math.max(...spreads))} %`,
  )
}

function readRuns(workload, entries) {
  const file = fileURLToPath(new URL(`results/${workload}-${entries}.json`, import.meta.url))
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).runs : undefined
}

function figures(results = [], row) {
  return results
    .map((result) => result[row]?.rate ?? result[row]?.ms)
    .filter((value) => value !== undefined)
}

function cell(results, row) {
  const middle = median(figures(results, row))
  const isRate = results.some((result) => result[row]?.rate !== undefined)
  return isRate ? rateText(middle) : `${middle} ms`
}

function fewer(entries) {
  return entries === undefined ? '' : ` (${entries / 1e6} M)`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await printTable()
