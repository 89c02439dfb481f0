// Which processes end and which stay: background work holds none, a pending call does.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const child = fileURLToPath(new URL('process-end.mjs', import.meta.url))

/** What the scenario says; it must end by itself. */
async function output(scenario: string): Promise<string[]> {
  const options = { timeout: 30_000, killSignal: 'SIGKILL' } as const
  const { stdout } = await promisify(execFile)(process.execPath, [child, scenario], options)
  return stdout.split('\n').slice(0, -1)
}

test.each([
  ['background work does not keep a process', 'background', ['begun']],
  ['a pending call does, until it is answered', 'pending', ['done']],
  ['several calls keep it until the last one is answered', 'several', ['done', 'done']],
  ['a call that fails lets go', 'failing', ['failed']],
  ['a failure that nobody handles is told once', 'uncaught', ['unhandled failed']],
  ['a call that pauses keeps it', 'pauses', ['slept']],
  ['background work goes on in a loop that sleeps', 'sleepingLoop', ['done']],
])('%s', async (_, scenario, said) => {
  expect(await output(scenario)).toEqual(said)
})
