// Compaction filters of environments that come and go, and what a filter does to the thread and the
// process that gave it.

import { describe, test } from 'vitest'
import { scratchDirectory } from '../support/scratch.ts'
import { expectScenario } from '../support/scenario.ts'

const script = new URL('children/filters.mjs', import.meta.url)

async function run(name: string, more: string[] = [], flags: string[] = []): Promise<void> {
  const directory = scratchDirectory()
  await expectScenario({ script, name, engines: ['native'], directory, more, flags })
}

describe('a worker whose filter a compaction waits for', () => {
  test.each(['closes', 'returns', 'exits', 'terminated', 'terminatedInFilter'])(
    '%s: the compaction is aborted, and the next one asks the next filter',
    async (how) => {
      await run('workerGoes', [how])
    },
  )
})

describe('a filter', () => {
  test.each([
    ['answers a thread that waits in a synchronous call', 'answersAnotherThread'],
    ['of the background is asked while its thread waits in a synchronous call', 'servedMeanwhile'],
    ['may close the database that asks it', 'closesDatabase'],
    ['may close the tree that asks it', 'closesTree'],
    ['keeps no process alive', 'keepsNothingAlive'],
    ['ends with a process that exits while it is asked', 'exitsInside'],
  ])('%s', async (_, name) => {
    await run(name)
  })

  test('that refers to its database is collected with it', async () => {
    await run('collected', [], ['--expose-gc'])
  })
})
