// Several environments on one core: workers that come and go, in every way a worker can go.

import { describe, test } from 'vitest'
import { scratchDirectory } from '../support/scratch.ts'
import { expectScenario } from '../support/scenario.ts'

const script = new URL('children/workers.mjs', import.meta.url)

async function run(name: string, ...more: string[]): Promise<void> {
  const directory = scratchDirectory()
  await expectScenario({ script, name, engines: ['native'], directory, more })
}

describe('a worker that ends, while others commit,', () => {
  test.each([
    'return',
    'returnPending',
    'throw',
    'exit',
    'exitInCallback',
    'exitInVisitor',
    'exitWhileClosing',
    'terminated',
    'terminatedInLoop',
  ])('by %s', async (how) => {
    await run('ending', how)
  })
})

describe('workers', () => {
  test.each(['return', 'throw', 'exit'])('load the addon alone and end by %s', async (how) => {
    await run('workerOnly', how)
  })

  test.each([
    ['eight share one core', 'many'],
    ['are ended at every stage of opening and closing', 'terminatedEarly'],
    ['end with a tree flushing and compacting', 'tree'],
    ['are refused other options', 'otherOptions'],
    ['with a second copy of the addon are refused', 'twoCopies'],
    ['and two copies of the library in one environment', 'twoLibraries'],
  ])('%s', async (_, name) => {
    await run(name)
  })
})
