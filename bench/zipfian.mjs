// Numbers of which few are drawn often: rank r in proportion to 1 / (r + 1)^0.99. The method is
// that of Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (1994).

const THETA = 0.99

/** Draws numbers below n, the smallest most often; `random(below)` is uniform. */
export function zipfian(n, random) {
  const sum = (count) => {
    let total = 0
    for (let i = 1; i <= count; i++) total += 1 / i ** THETA
    return total
  }
  const whole = sum(n)
  const alpha = 1 / (1 - THETA)
  const eta = (1 - (2 / n) ** (1 - THETA)) / (1 - sum(2) / whole)
  return () => {
    const u = random(2 ** 31) / 2 ** 31
    const scaled = u * whole
    if (scaled < 1) return 0
    if (scaled < 1 + 0.5 ** THETA) return 1
    return Math.min(n - 1, Math.floor(n * (eta * u - eta + 1) ** alpha))
  }
}
