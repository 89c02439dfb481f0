// One long phase of work on one store: how fast, how even, how long single operations took.

import { createHistogram } from 'node:perf_hooks'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Milliseconds of one point of the timeline. */
const STEP = 100
const STEPS_OF_A_SECOND = 1000 / STEP

/**
 * Runs `operation(i)` for every number of `order`, or `operation(part)` for each hundred of them
 * where it takes `parts`. An operation that returns a promise is awaited. `observe` is asked once a
 * second for what goes on the timeline.
 */
export async function phase(order, operation, { parts = 1, observe = () => ({}) } = {}) {
  const latency = createHistogram()
  const counts = []
  const timeline = []
  const started = performance.now()
  for (let at = 0; at < order.length; at += parts) {
    const before = performance.now()
    const pending = parts === 1 ? operation(order[at]) : operation(order.subarray(at, at + parts))
    if (pending instanceof Promise) await pending
    const after = performance.now()
    latency.record(Math.max(1, Math.round((after - before) * 1e6)))
    const step = Math.floor((after - started) / STEP)
    if (counts.length <= step) {
      while (counts.length <= step) counts.push(0)
      const second = Math.floor(step / STEPS_OF_A_SECOND)
      if (timeline.length <= second) timeline.push({ second, ...observe() })
    }
    counts[step] += parts
  }
  const ms = performance.now() - started
  for (const point of timeline) point.rate = inSecond(counts, point.second * STEPS_OF_A_SECOND)
  return {
    figures: {
      rate: (order.length / ms) * 1000,
      worstSecond: worstSecond(counts),
      ...microseconds(latency),
    },
    timeline,
  }
}

function inSecond(counts, from) {
  const part = counts.slice(from, from + STEPS_OF_A_SECOND)
  return Math.round((part.reduce((sum, n) => sum + n, 0) / part.length) * STEPS_OF_A_SECOND)
}

/** Operations of the second in which the fewest ended; of less than a second its rate. */
function worstSecond(counts) {
  let worst = Infinity
  const last = Math.max(1, counts.length - STEPS_OF_A_SECOND)
  for (let from = 0; from < last; from++) worst = Math.min(worst, inSecond(counts, from))
  return worst
}

function microseconds(latency) {
  const us = (nanos) => Number((nanos / 1000).toPrecision(3))
  return {
    p50Us: us(latency.percentile(50)),
    p99Us: us(latency.percentile(99)),
    p999Us: us(latency.percentile(99.9)),
    maxMs: Number((latency.max / 1e6).toPrecision(3)),
  }
}

/** Bytes that this process had the device write (Linux; elsewhere NaN). */
export function bytesWritten() {
  try {
    const [, bytes] = /write_bytes: (\d+)/.exec(readFileSync('/proc/self/io', 'latin1'))
    return Number(bytes)
  } catch {
    return Number.NaN
  }
}

/** Bytes of all files below `dir`, as far as they are on the device. */
export function bytesOnDisk(dir) {
  let bytes = 0
  for (const entry of readdirSync(dir, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue
    const file = statSync(join(entry.parentPath ?? entry.path, entry.name), {
      throwIfNoEntry: false,
    })
    if (file !== undefined) bytes += file.blocks * 512
  }
  return bytes
}

export function peakMiB() {
  return Math.round(process.resourceUsage().maxRSS / 1024)
}

/** How many times `whole` is `part`, for people. */
export function times(whole, part) {
  return Number((whole / part).toFixed(2))
}
