// What is dropped without close is given back by the collector, and nothing that is in use is.

import { join } from 'node:path'
import { describe, test } from 'vitest'
import { nextEngine } from '../../support/next-engine.ts'
import { scratchDirectory } from '../../support/scratch.ts'
import { expectScenario } from '../../support/scenario.ts'

const script = new URL('children/collect.mjs', import.meta.url)

describe('collected', () => {
  test.each([
    ['an abandoned database closes', 'database'],
    ['a keyspace or a pending call keeps its database open', 'keptOpen'],
    ['abandoned iterators let go of their versions', 'pins'],
    ['tables that only an abandoned iterator read are deleted', 'files'],
    ['an abandoned ingestion is rolled back', 'ingestions'],
    ['the collector runs in the middle of operations', 'underStress'],
    ['values outlive their slabs', 'retainedValues'],
    ['opening and closing leaves nothing behind', 'cycles'],
  ])('%s', async (_, name) => {
    const directory = scratchDirectory()
    const engines = [nextEngine(join(directory, 'db'))]
    await expectScenario({ script, name, engines, directory, flags: ['--expose-gc'] })
  })
})
