// Memory that crosses the border: changed, detached, shared or shrunk by its owner.

import { describe, test } from 'vitest'
import { scratchDirectory } from '../support/scratch.ts'
import { expectScenario } from './child.ts'

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
  ])('%s', async (_, scenario) => {
    await expectScenario('buffers.mjs', [scenario, scratchDirectory()])
  })
})
