// The same random operations on a database of each engine: every answer and every failure is the
// same.

import { expect, test } from 'vitest'
import { scaled, quickDirectory, testSeed } from '../support/scratch.ts'
import { DatabaseRun } from './support/database-run.ts'

const OPERATIONS = 2500
const RUNS = scaled(16)
const seed = testSeed()

test('databases of both engines answer alike', { timeout: 60_000 * RUNS }, async () => {
  const directory = quickDirectory()
  const totals = { calls: 0, swaps: 0 }
  for (let i = 0; i < RUNS; i++) {
    const run = new DatabaseRun(`SEED=${seed}, run ${i}`, directory, seed + i)
    // oxlint-disable-next-line no-await-in-loop
    await run.run(OPERATIONS)
    totals.calls += run.comparison.calls
    totals.swaps += run.swaps
  }
  console.log(`databases: ${JSON.stringify(totals)}, SEED=${seed}`)
  expect(totals.calls).toBeGreaterThan(RUNS * OPERATIONS)
})
