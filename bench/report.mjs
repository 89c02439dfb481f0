// Tables: a line per store under each operation, how many times each engine of shale is that store,
// and the bars.

import { judge } from './bars.mjs'
import { SHALE } from './levels.mjs'

/**
 * Prints the results of a workload and returns its bars.
 * `runs`: store name -> results of its runs, each `{ row: { rate, ... } }`, or `{ failed }` with
 * the reason; `without`: store name -> why it has no figures here.
 */
export function report(title, workload, entries, runs, without = {}) {
  console.log(`## ${title}\n`)
  const stores = [...runs.keys()]
  const good = new Map(
    stores.map((store) => [store, runs.get(store).filter((run) => run.failed === undefined)]),
  )
  const engines = SHALE.filter((store) => good.get(store)?.length > 0)
  const bars = judge(workload, entries, stores, (store, row, figure) =>
    median(figuresOf(good.get(store), row, figure)),
  )
  const names = new Set([...good.values()].flat().flatMap((run) => Object.keys(run)))
  names.delete('timeline')
  const table = [['operation', 'store', 'median', ...engines.map((name) => `${name} ×`), 'bar']]
  for (const name of names) {
    const summaries = new Map(stores.map((store) => [store, summary(good.get(store), name)]))
    const present = stores.filter((store) => summaries.get(store) !== undefined)
    for (const store of present) {
      const held = bars.filter((bar) => bar.store === store && bar.row === name).map(barText)
      table.push([
        store === present[0] ? name : '',
        store,
        summaries.get(store).text,
        ...engines.map((engine) =>
          engine === store ? '' : ratio(summaries.get(engine), summaries.get(store)),
        ),
        held.join('; '),
      ])
    }
  }
  if (names.size > 0) print(table, 2)
  printDetails(good, names)
  for (const store of stores) {
    const failed = runs.get(store).filter((run) => run.failed !== undefined)
    if (failed.length === 0) continue
    console.log(
      `  ${store} failed ${failed.length} of ${runs.get(store).length} runs: ` + failed[0].failed,
    )
  }
  for (const [store, reason] of Object.entries(without)) console.log(`  no ${store}: ${reason}`)
  console.log()
  return bars.map((bar) => ({ workload, entries, ...bar }))
}

/** Every bar of the whole run. */
export function printBars(bars) {
  if (bars.length === 0) return
  const met = bars.filter((bar) => bar.met).length
  console.log(`## bars: ${met} met, ${bars.length - met} missed\n`)
  const table = [
    ['engine', 'workload', 'entries', 'row', 'bar', 'reached', ''],
    ...bars.map(({ store, workload, entries, row, bar, reached, met: isMet }) => [
      store,
      workload,
      entries.toLocaleString('en'),
      row,
      bar,
      String(reached ?? 'no figure'),
      isMet ? 'met' : 'missed',
    ]),
  ]
  print(table, 2)
  console.log()
}

function barText({ bar, reached, met }) {
  return `${bar}: ${met ? 'met' : `missed (${reached ?? 'no figure'})`}`
}

function figuresOf(results = [], row, figure) {
  return results.map((result) => result[row]?.[figure]).filter((value) => value !== undefined)
}

/** Of an even number the upper one; undefined of none. */
export function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1]
}

function summary(results, name) {
  const present = results.map((result) => result[name]).filter(Boolean)
  if (present.length === 0) return undefined
  const unit = present[0].rate === undefined ? 'ms' : 'rate'
  const values = present.map((result) => result[unit])
  const middle = median(values)
  const spread = (Math.max(...values) - Math.min(...values)) / 2 / middle
  const shown = unit === 'ms' ? `${middle} ms` : rateText(middle)
  return { middle, unit, text: `${shown} ±${Math.round(spread * 100)}%` }
}

function ratio(ours, theirs) {
  if (ours === undefined) return '-'
  const times = ours.unit === 'ms' ? theirs.middle / ours.middle : ours.middle / theirs.middle
  return times.toFixed(2)
}

/** Three figures and a unit. */
export function rateText(rate) {
  if (rate >= 1e6) return `${(rate / 1e6).toFixed(2)} M/s`
  if (rate >= 1e4) return `${(rate / 1e3).toFixed(0)} k/s`
  return rate >= 1e3 ? `${(rate / 1e3).toFixed(1)} k/s` : `${rate.toFixed(0)}/s`
}

/** As Markdown; the first `textColumns` columns to the left, figures to the right. */
export function print(table, textColumns = 1) {
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)))
  const line = (row) => {
    const cells = row.map((cell, i) =>
      i < textColumns ? cell.padEnd(widths[i]) : cell.padStart(widths[i]),
    )
    return `| ${cells.join(' | ')} |`
  }
  const rules = widths.map((width, i) => `${'-'.repeat(width + 1)}${i < textColumns ? '-' : ':'}`)
  console.log(line(table[0]))
  console.log(`|${rules.join('|')}|`)
  for (const row of table.slice(1)) console.log(line(row))
}

/** Everything that is not a rate: percentiles, longest waits, bytes. Medians over the runs. */
function printDetails(runs, names) {
  for (const name of names) {
    for (const [store, results] of runs) {
      const present = results.map((run) => run[name]).filter(Boolean)
      const keys = Object.keys(present[0] ?? {}).filter(
        (key) => !['rate', 'spread', 'ms'].includes(key),
      )
      const parts = keys.map((key) => `${key} ${median(present.map((result) => result[key]))}`)
      if (parts.length > 0) console.log(`  ${name}, ${store}: ${parts.join(', ')}`)
    }
  }
}
