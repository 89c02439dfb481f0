// Every call of a workload fails once, or for good, in every way that it can.

import { expect, test } from 'vitest'
import { scaled, testSeed } from '../../support/scratch.ts'
import { optionsOf } from '../support/crash-workload.ts'
import { enumerateFaults, runFault } from '../support/fault-runs.ts'
import { Random } from '../support/random.ts'
import { holdTimers } from '../support/turns.ts'

const CASES = 150
const CASES_A_RUN = 50
/** Milliseconds; most machines need a tenth of it. */
const TIMEOUT = 600_000

test(
  'every call may fail',
  async () => {
    holdTimers()
    const kinds = new Set<string>()
    let cases = 0
    for (let run = 0; cases < scaled(CASES); run++) {
      const options = optionsOf(testSeed() + 700 + run, {
        steps: 30,
        memtable: run % 2 === 0 ? 1024 : 4096,
        maxJournalSize: 32 * 1024,
      })
      const faults = await enumerateFaults(options)
      const random = new Random(options.seed)
      for (let i = 0; i < CASES_A_RUN; i++) {
        const fault = faults[random.below(faults.length)]!
        expect(await runFault(options, fault)).toBeUndefined()
        kinds.add(`${fault.operation} ${fault.kind}`)
        cases++
      }
    }
    console.log(`faults: ${cases} cases of ${kinds.size} kinds`)
  },
  TIMEOUT,
)
