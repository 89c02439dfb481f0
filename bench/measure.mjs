// Measuring inside one process: benchmark.js for the throughput of what can be repeated, tinybench
// for percentiles, a plain clock for what happens once (filling an empty store).

import Benchmark from 'benchmark'
import { Bench } from 'tinybench'

const CHUNK = 1000

/** Operations per second of `operation(i)` over the numbers in `order`, each result consumed. */
export function throughput(order, operation) {
  let at = 0
  const chunk = () => {
    for (let n = 0; n < CHUNK; n++) {
      operation(order[at])
      at = at + 1 === order.length ? 0 : at + 1
    }
  }
  const bench = new Benchmark('chunk', { fn: chunk, minSamples: 10, maxTime: 0.7 })
  bench.run({ async: false })
  if (bench.error) throw bench.error
  return { rate: bench.hz * CHUNK, spread: bench.stats.rme }
}

/** Items per second of a pass that returns how many it saw. */
export function passes(expected, pass) {
  let seen = 0
  const bench = new Benchmark('pass', {
    fn: () => {
      seen = pass()
    },
    minSamples: 5,
    maxTime: 0.7,
  })
  bench.run({ async: false })
  if (bench.error) throw bench.error
  if (seen !== expected) throw new Error(`a pass saw ${seen} of ${expected}`)
  return { rate: bench.hz * expected, spread: bench.stats.rme }
}

/** The same for passes that return a promise: the median of a few. */
export async function asyncPasses(expected, pass, repeats = 5) {
  const rates = []
  for (let i = 0; i < repeats; i++) {
    const started = performance.now()
    const seen = await pass()
    if (seen !== expected) throw new Error(`a pass saw ${seen} of ${expected}`)
    rates.push((expected / (performance.now() - started)) * 1000)
  }
  return { rate: rates.toSorted((a, b) => a - b)[rates.length >> 1] }
}

/** What happens once: `count` operations in one go. */
export async function once(count, work) {
  const started = performance.now()
  await work()
  return { rate: (count / (performance.now() - started)) * 1000 }
}

/** Percentiles of one operation in microseconds. */
export async function percentiles(operation) {
  const bench = new Bench({ time: 300, warmupTime: 100, retainSamples: true })
  bench.add('operation', operation)
  await bench.run()
  const { latency } = bench.tasks[0].result
  const us = (ms) => Math.round(ms * 1e6) / 1e3
  return {
    p50: us(latency.p50),
    p99: us(latency.p99),
    p999: us(latency.p999),
    max: us(latency.max),
  }
}
