// Closing: with work in flight, twice, at odd moments, and what every method says afterwards.

import { join } from 'node:path'
import { describe, test } from 'vitest'
import { nextEngine } from '../../support/next-engine.ts'
import { scratchDirectory } from '../../support/scratch.ts'
import { expectScenario } from '../../support/scenario.ts'

const script = new URL('children/close.mjs', import.meta.url)

describe('close', () => {
  test.each([
    ['with writes pending: each settles, what was acknowledged is there', 'pendingWrites'],
    ['with reads and scans pending: each settles', 'pendingReads'],
    ['with flush, compaction and persist pending: each settles', 'pendingJobs'],
    ['twice, in both forms and orders', 'twice'],
    ['of one of two handles on one core', 'sharedCore'],
    ['then every method of a database is DB_CLOSED', 'databaseAfterClose'],
    ['then every method of a bare tree is DB_CLOSED', 'treeAfterClose'],
    ['inside a visitor', 'closeInsideVisitor'],
  ])('%s', async (_, name) => {
    const directory = scratchDirectory()
    const path = join(directory, 'db')
    const engines = [nextEngine(path), nextEngine(path)]
    await expectScenario({ script, name, engines, directory })
  })
})
