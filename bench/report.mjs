// Tables: a row per figure, a column per store, and what shale is times each peer.

/** `runs`: store name -> results of its runs, each `{ row: { rate, ... } }`. */
export function printRows(title, runs) {
  const stores = [...runs.keys()].filter((store) => runs.get(store).length > 0)
  if (stores.length === 0) return
  console.log(`## ${title}\n`)
  const names = new Set(
    stores.flatMap((store) => runs.get(store).flatMap((run) => Object.keys(run))),
  )
  const table = [['', ...stores, ...stores.slice(1).map((store) => `× ${store}`)]]
  for (const name of names) {
    const cells = stores.map((store) => summary(runs.get(store).map((run) => run[name])))
    const ratios = cells.slice(1).map((cell) => ratio(cells[0], cell))
    table.push([name, ...cells.map((cell) => cell.text), ...ratios])
  }
  print(table)
  printDetails(stores, names, runs)
  console.log()
}

function summary(results) {
  const present = results.filter((result) => result !== undefined && result !== null)
  if (present.length === 0) return { text: '-' }
  const unit = present[0].rate === undefined ? 'ms' : 'rate'
  const sorted = present.map((result) => result[unit]).toSorted((a, b) => a - b)
  const median = sorted[sorted.length >> 1]
  const spread = (sorted.at(-1) - sorted[0]) / 2 / median
  const shown = unit === 'ms' ? `${median} ms` : short(median)
  return { median, unit, text: `${shown} ±${Math.round(spread * 100)}%` }
}

function ratio(ours, theirs) {
  if (ours.median === undefined || theirs.median === undefined) return '-'
  const times = ours.unit === 'ms' ? theirs.median / ours.median : ours.median / theirs.median
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
      const parts = keys.map((key) => {
        const sorted = results.map((result) => result[key]).toSorted((a, b) => a - b)
        return `${key} ${sorted[sorted.length >> 1]}`
      })
      if (parts.length > 0) console.log(`  ${name}, ${store}: ${parts.join(', ')}`)
    }
  }
}
