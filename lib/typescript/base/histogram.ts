/**
 * How long things take: counts by duration, fine enough for percentiles and cheap enough to be
 * always on.
 *
 * Buckets are log-linear: each power of two of nanoseconds is cut into 32, so that a bucket is at
 * most 1/32 as wide as what it holds, and its middle at most 1/64 away.
 */

/** Buckets of one power of two. */
const STEPS = 32
const STEP_BITS = 5
/** Longer ones count as this long, but for the longest: 2^37 ns are 137 s. */
const POWER_MAX = 36
const BUCKETS = STEPS * (POWER_MAX - STEP_BITS + 2)
const NANOS = 1e6
const MICROS = 1e3

/** The highest power of two in it. */
function powerOf(nanos: number): number {
  return nanos < 2 ** 32 ? 31 - Math.clz32(nanos) : 63 - Math.clz32(nanos / 2 ** 32)
}

function bucketOf(nanos: number): number {
  if (nanos < STEPS) return nanos
  const power = powerOf(nanos)
  if (power > POWER_MAX) return BUCKETS - 1
  const step = Math.floor(nanos / 2 ** (power - STEP_BITS)) - STEPS
  return STEPS * (power - STEP_BITS + 1) + step
}

/** Nanoseconds. */
function middleOf(bucket: number): number {
  if (bucket < STEPS) return bucket
  const width = 2 ** (Math.floor(bucket / STEPS) - 1)
  return (STEPS + (bucket % STEPS)) * width + (width - 1) / 2
}

export class Histogram {
  readonly #weights = new Float64Array(BUCKETS)
  #total = 0
  /** Nanoseconds. */
  #max = 0

  /** One duration, which stands for `weight` of them. */
  record(milliseconds: number, weight = 1): void {
    const nanos = Math.max(0, Math.round(milliseconds * NANOS))
    this.#weights[bucketOf(nanos)]! += weight
    this.#total += weight
    if (nanos > this.#max) this.#max = nanos
  }

  /** Microseconds; 0 if there is none. */
  get max(): number {
    return this.#max / MICROS
  }

  /** Microseconds: a `share` of all is not longer; 0 if there is none. */
  percentile(share: number): number {
    const rank = Math.max(share * this.#total, Number.MIN_VALUE)
    let passed = 0
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      passed += this.#weights[bucket]!
      if (passed >= rank) return Math.min(middleOf(bucket), this.#max) / MICROS
    }
    return this.max
  }
}

/**
 * How long calls take of which most are too short for two looks at the clock: one of `every` is
 * timed and stands for all of them. Each of the long ones is timed, and stands for itself.
 */
export class Latency {
  readonly #histogram = new Histogram()
  readonly #every: number
  /** Calls until the next one is timed. The first one is, and stands for itself. */
  #left = 1
  #weight = 1
  /** Of all calls, timed or not. */
  count = 0

  constructor(every = 1) {
    this.#every = every
  }

  /** A call begins: the time, or 0 if it is not to be timed. */
  begin(): number {
    if (--this.#left > 0) return 0
    this.#left = this.#every
    return performance.now()
  }

  /** It ended, and waited for nothing. `begun`: what `begin` returned. */
  end(begun: number): void {
    this.count++
    if (begun === 0) return
    this.#histogram.record(performance.now() - begun, this.#weight)
    this.#weight = this.#every
  }

  /** A long one has ended. */
  add(milliseconds: number): void {
    this.count++
    this.#histogram.record(milliseconds)
  }

  /** In microseconds. */
  summary(): { count: number; p50: number; p99: number; p999: number; max: number } {
    const { count } = this
    const histogram = this.#histogram
    return {
      count,
      p50: histogram.percentile(0.5),
      p99: histogram.percentile(0.99),
      p999: histogram.percentile(0.999),
      max: histogram.max,
    }
  }
}
