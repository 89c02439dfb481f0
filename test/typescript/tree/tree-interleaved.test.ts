// A tree whose jobs overlap in every way, crashed at every operation.

import { test } from 'vitest'
import { scaled, testSeed } from '../../support/scratch.ts'
import { runTree } from '../support/tree-run.ts'
import { holdTimers } from '../support/turns.ts'

const IMAGES = 800
/** Milliseconds; most machines need a tenth of it. */
const TIMEOUT = 600_000

test(
  'jobs that overlap in any order leave what was written, at every crash',
  async () => {
    holdTimers()
    let images = 0
    for (let i = 0; images < scaled(IMAGES); i++) images += await runTree(testSeed() + i)
    console.log(`crash images of a tree: ${images}`)
  },
  TIMEOUT,
)
