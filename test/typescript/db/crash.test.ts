// What a crash may leave, at every operation of a workload.

import { expect, test } from 'vitest'
import { scaled, testSeed } from '../../support/scratch.ts'
import { runCrashImages } from '../support/crash-oracle.ts'
import { optionsOf } from '../support/crash-workload.ts'
import { holdTimers } from '../support/turns.ts'

const IMAGES = 700
/** Milliseconds; most machines need a tenth of it. */
const TIMEOUT = 600_000

test(
  'every image opens to a prefix of all commits, and goes on',
  async () => {
    holdTimers()
    const wanted = scaled(IMAGES)
    let images = 0
    for (let run = 0; images < wanted; run++) {
      const options = optionsOf(testSeed() + run)
      const result = await runCrashImages(options, 1, 1, { liveness: 20 })
      images += result.images
      expect(result.problem).toBeUndefined()
    }
    console.log(`crash images: ${images}`)
  },
  TIMEOUT,
)
