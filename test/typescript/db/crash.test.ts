// What a crash may leave, at every operation of a workload, and of a recovery.

import { expect, test } from 'vitest'
import { scaled, testSeed } from '../../support/scratch.ts'
import { runCrashImages, runRecoveryCrashes } from '../support/crash-oracle.ts'
import { optionsOf } from '../support/crash-workload.ts'
import { holdTimers } from '../support/turns.ts'

const IMAGES = 500
const RECOVERY_IMAGES = 400
/** Milliseconds; most machines need a tenth of it. */
const TIMEOUT = 600_000

test(
  'every image opens to a prefix of all commits, and goes on',
  async () => {
    holdTimers()
    let images = 0
    for (let run = 0; images < scaled(IMAGES); run++) {
      const options = optionsOf(testSeed() + run)
      const result = await runCrashImages(options, 1, 1, { liveness: 20 })
      images += result.images
      expect(result.problem).toBeUndefined()
    }
    console.log(`crash images: ${images}`)
  },
  TIMEOUT,
)

test(
  'a recovery may be cut off anywhere',
  async () => {
    holdTimers()
    let images = 0
    for (let run = 0; images < scaled(RECOVERY_IMAGES); run++) {
      const options = optionsOf(testSeed() + 5000 + run, { steps: 60 })
      const result = await runRecoveryCrashes(options, 11, { liveness: 5 })
      images += result.images
      expect(result.problem).toBeUndefined()
    }
    console.log(`images of crashed recoveries: ${images}`)
  },
  TIMEOUT,
)
