// Tables: a row per figure, a column per store, what shale is times each peer, and the bars.

import { judge } from './bars.mjs'

/**
 * Prints the results of a workload and returns its bars.
 * `runs`: store name -> results of its runs, each `{ row: { rate, ... } }`; the first is shale's.
 */
export function report(title, workload, entries, runs) {
  const stores = [...runs.keys()].filter((store) => runs.get(store).length > 0)
  if (stores.length === 0) return []
  const medianOf = (store, row, figure) => median(figuresOf(runs.get(store), row, figure))
  const bars = judge(workload, entries, stores, medianOf)
  console.log(`## ${title}\n`)
  const names = new Set(
    stores.flatMap((store) => runs.get(store).flatMap((run) => Object.keys(run))),
  )
  const table = [['', ...stores, ...stores.slice(1).map((store) => `× ${store}`), 'bar']]
  for (const name of names) {
    const cells = stores.map((store) => summary(runs.get(store).map((run) => run[name])))
    const ratios = cells.slice(1).map((cell) => ratio(cells[0], cell))
    const held = bars.filter(({ row }) => row === name).map(barText)
    table.push([name, ...cells.map((cell) => cell.text), ...ratios, held.join('; ')])
  }
  print(table)
  printDetails(stores, names, runs)
  console.log()
  return bars.map((bar) => ({ workload, entries, ...bar }))
}

/** Every bar of the whole run. */
export function printBars(bars) {
  if (bars.length === 0) return
  const met = bars.filter((bar) => bar.met).length
  console.log(`## bars: ${met} met, ${bars.length - met} missed\n`)
  print([
    ['workload', 'entries', 'row', 'bar', 'reached', ''],
    ...bars.map(({ workload, entries, row, bar, reached, met: isMet }) => [
      workload,
      entries.toLocaleString('en'),
      row,
      bar,
      String(reached),
      isMet ? 'met' : 'missed',
    ]),
  ])
}

function barText({ bar, reached, met }) {
  return `${bar}: ${met ? 'met' : `missed (${reached})`}`
}

function figuresOf(results = [], row, figure) {
  return results.map((result) => result[row]?.[figure]).filter((value) => value !== undefined)
}

function median(values) {
  return values.toSorted((a, b) => a - b)[values.length >> 1]
}

function summary(results) {
  const present = results.filter((result) => result !== undefined && result !== null)
  if (present.length === 0) return { text: '-' }
  const unit = present[0].rate === undefined ? 'ms' : 'rate'
  const values = present.map((result) => result[unit])
  const middle = median(values)
  const spread = (Math.max(...values) - Math.min(...values)) / 2 / middle
  const shown = unit === 'ms' ? `${middle} ms` : short(middle)
  return { middle, unit, text: `${shown} ±${Math.round(spread * 100)}%` }
}

function ratio(ours, theirs) {
  if (ours.middle === undefined || theirs.middle === undefined) return '-'
  const times = ours.unit === 'ms' ? theirs.middle / ours.middle : ours.middle / theirs.middle
  return `${times.toFixed(2)}×`
}

function short(rate) {
  if (rate >= 1e6) return `${(rate / 1e6).toFixed(2)} M/s`
  return rate >= 1e4 ? `${(rate / 1e3).toFixed(0)} k/s` : `${rate.toFixed(0)}/s`
}

function print(table) {
  const widths = table[0].map((_, column) => Math.max(...table.map((row) => row[column].length)))
  const line = (row) => {
    const cells = row.map((cell, i) =>
      i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]),
    )
    return `| ${cells.join(' | ')} |`
  }
  const rules = widths.map((width, i) => `${'-'.repeat(width + 1)}${i === 0 ? '-' : ':'}`)
  console.log(line(table[0]))
  console.log(`|${rules.join('|')}|`)
  for (const row of table.slice(1)) console.log(line(row))
}

/** Everything that is not a rate: percentiles, longest waits, bytes. Medians over the runs. */
function printDetails(stores, names, runs) {
  for (const name of names) {
    for (const store of stores) {
      const results = runs
        .get(store)
        .map((run) => run[name])
        .filter(Boolean)
      const keys = Object.keys(results[0] ?? {}).filter(
        (key) => !['rate', 'spread', 'ms'].includes(key),
      )
      const parts = keys.map((key) => `${key} ${median(results.map((result) => result[key]))}`)
      if (parts.length > 0) console.log(`  ${name}, ${store}: ${parts.join(', ')}`)
    }
  }
}
