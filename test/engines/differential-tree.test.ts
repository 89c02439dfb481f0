// The same random operations on a bare tree of each engine: every answer, every failure, every
// version and every choice of a strategy is the same.

import { expect, test } from 'vitest'
import { scaled, quickDirectory, testSeed } from '../support/scratch.ts'
import { TreeRun } from './support/tree-run.ts'

const OPERATIONS = 2500
const RUNS = scaled(24)
const seed = testSeed()

test('trees of both engines answer alike', { timeout: 60_000 * RUNS }, async () => {
  const directory = quickDirectory()
  const totals = { calls: 0, swaps: 0, plans: 0 }
  for (let i = 0; i < RUNS; i++) {
    const run = new TreeRun(`SEED=${seed}, run ${i}`, directory, seed + i)
    // oxlint-disable-next-line no-await-in-loop
    await run.run(OPERATIONS)
    totals.calls += run.comparison.calls
    totals.swaps += run.swaps
    totals.plans += run.plans
  }
  console.log(`trees: ${JSON.stringify(totals)}, SEED=${seed}`)
  expect(totals.calls).toBeGreaterThan(RUNS * OPERATIONS)
  expect(totals.plans).toBeGreaterThan(RUNS)
})
