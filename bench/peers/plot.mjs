// Draws what the benchmarks put on a timeline: the rate of each store, and how the bytes of shale
// are spread over the levels. Here because this directory is where the library is installed.

import { writeFileSync } from 'node:fs'
import { parse, View } from 'vega'
import { compile } from 'vega-lite'

const WIDTH = 720
const HEIGHT = 260

/**
 * Writes `<file>-rate.svg`, and `<file>-levels.svg` for each store that has levels, from the
 * timelines `{ store: points }`; returns the names.
 */
export async function plotTimelines(file, title, timelines) {
  const points = Object.entries(timelines).flatMap(([store, timeline]) =>
    timeline.map(({ second, phase, rate }) => ({ store, second, phase, rate })),
  )
  const written = [await draw(`${file}-rate.svg`, rateChart(title, points))]
  for (const [store, timeline] of Object.entries(timelines)) {
    const name = `${file}-levels-${nameOf(store)}.svg`
    const figures = timeline.flatMap(({ second, phase, figures: shown = {} }) =>
      Object.entries(shown).map(([what, value]) => ({ second, phase, what, value })),
    )
    if (figures.length > 0) {
      written.push(
        await draw(`${file}-${nameOf(store)}.svg`, figureChart(`${title}: ${store}`, figures)),
      )
    }
    const sizes = timeline.flatMap(({ second, levels = [] }) =>
      levels.map(({ bytes }, level) => ({ second, level: `L${level}`, MiB: bytes / 2 ** 20 })),
    )
    if (sizes.length === 0) continue
    written.push(await draw(name, levelChart(`${title}: ${store}`, sizes)))
  }
  return written
}

function nameOf(store) {
  return store.replace(/\W+/g, '-').replace(/-$/, '')
}

const second = { field: 'second', type: 'quantitative', title: 'seconds' }

function rateChart(title, values) {
  const y = { field: 'rate', type: 'quantitative', title: 'operations per second' }
  const color = { field: 'store', type: 'nominal' }
  const strokeDash = { field: 'phase', type: 'nominal', sort: null }
  return chart(title, values, { mark: 'line', encoding: { x: second, y, color, strokeDash } })
}

function figureChart(title, values) {
  const y = { field: 'value', type: 'quantitative', title: null }
  const color = { field: 'what', type: 'nominal', title: null }
  const strokeDash = { field: 'phase', type: 'nominal', sort: null }
  return chart(title, values, { mark: 'line', encoding: { x: second, y, color, strokeDash } })
}

function levelChart(title, values) {
  const y = { field: 'MiB', type: 'quantitative', stack: 'zero' }
  const color = { field: 'level', type: 'ordinal' }
  return chart(title, values, { mark: 'area', encoding: { x: second, y, color } })
}

function chart(title, values, view) {
  return { title, width: WIDTH, height: HEIGHT, background: 'white', data: { values }, ...view }
}

async function draw(file, specification) {
  const view = new View(parse(compile(specification).spec), { renderer: 'none' })
  writeFileSync(file, await view.toSVG())
  view.finalize()
  return file
}
