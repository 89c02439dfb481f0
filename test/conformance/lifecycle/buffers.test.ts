// Memory that crosses the border: changed, detached, shared or shrunk by its owner.

import { join } from 'node:path'
import { describe, test } from 'vitest'
import { nextEngine } from '../../support/next-engine.ts'
import { scratchDirectory } from '../../support/scratch.ts'
import { expectScenario } from '../../support/scenario.ts'

const script = new URL('children/buffers.mjs', import.meta.url)

describe('buffers', () => {
  test.each([
    ['changed and transferred after the call', 'changedAfterCall'],
    ['detached before the call', 'detachedArguments'],
    ['shared and resizable', 'sharedAndResizable'],
    ['views that lie about themselves', 'lyingViews'],
    ['results cannot be transferred from under the engine', 'resultsTransferred'],
    ['user code inside a call', 'reentrancy'],
    ['the async context of the caller', 'asyncContext'],
    ['sizes around every threshold', 'sizes'],
    ['strings of every width', 'strings'],
    ['of a bare tree', 'treeValues'],
  ])('%s', async (_, name) => {
    const directory = scratchDirectory()
    const engines = [nextEngine(join(directory, 'db'))]
    await expectScenario({ script, name, engines, directory })
  })
})
