// The end of the process: by itself, by process.exit, by an error, with everything open.

import { join } from 'node:path'
import { describe, test } from 'vitest'
import type { Engine } from '../../../lib/index.ts'
import { nextEngine } from '../../support/next-engine.ts'
import { scratchDirectory } from '../../support/scratch.ts'
import { expectScenario } from '../../support/scenario.ts'

const script = new URL('children/exit.mjs', import.meta.url)

/** One process of several that open the same directory, one after the other. */
async function run(
  name: string,
  directory: string,
  end?: { code: number; said: string },
): Promise<Engine> {
  const engine = nextEngine(join(directory, 'db'))
  await expectScenario({ script, name, engines: [engine], directory }, end)
  return engine
}

/**
 * Ends of which a runtime does not tell the engine: what was buffered may go as it does by SIGKILL.
 * Bun does not tell native code, Deno tells nobody of an error that nobody catches.
 */
const UNTOLD: Record<string, Partial<Record<Engine, readonly string[]>>> = {
  bun: { native: ['bufferedExit', 'bufferedClosing', 'bufferedUncaught', 'bufferedWorker'] },
  deno: { native: ['bufferedUncaught'], typescript: ['bufferedUncaught'] },
}
const runtime = ['bun', 'deno'].find((name) => name in process.versions) ?? 'node'

describe('the process', () => {
  test.each([
    ['ends although databases, trees and iterators are open', 'idle', 0, 'done'],
    ['stays while a call is pending', 'pendingKeeps', 0, 'answered'],
    ['stays while a read is pending', 'pendingReadsKeep', 0, 'answered'],
    ['exits with a database open', 'exitOpen', 7, 'leaving'],
    ['exits with calls pending', 'exitPending', 7, 'leaving'],
    ['exits inside a callback', 'exitInCallback', 7, 'leaving'],
    ['exits inside a visitor', 'exitInVisitor', 7, 'leaving'],
    ['exits while closing', 'exitWhileClosing', 7, 'leaving'],
    ['closes in the exit event', 'closeAtExit', 7, 'leaving'],
    ['ends by an uncaught error', 'uncaught', 1, 'done'],
  ])('%s', async (_, name, code, said) => {
    const directory = scratchDirectory()
    await run(name, directory, { code, said })
    await run('check', directory)
  })

  test.each([
    ['process.exit', 'bufferedExit', 7],
    ['process.exit while it closes', 'bufferedClosing', 7],
    ['an uncaught error', 'bufferedUncaught', 1],
    ['process.exit in a worker', 'bufferedWorker', 7],
    ['its natural end', 'bufferedEnd', 0],
  ])('keeps what was buffered when it ends by %s', async (_, name, code) => {
    const directory = scratchDirectory()
    const said = runtime === 'deno' && name === 'bufferedUncaught' ? 'done' : 'leaving'
    const engine = await run(name, directory, { code, said })
    const isUntold = UNTOLD[runtime]?.[engine]?.includes(name) === true
    await run(isUntold ? 'checkPrefix' : 'checkBuffered', directory)
  })
})
