// Runs one scenario of a script in a process of its own; scenario.mjs is what the scripts share.
// SHALE_CHILD_PRELOAD names a library to preload there: a sanitizer's, when the addon was built
// with it (see run.mjs).

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { Engine } from '../../lib/index.ts'

/** How long a scenario may take; one that hangs has failed. */
const LIMIT = 120_000

export interface Scenario {
  readonly script: URL
  readonly name: string
  /** The ones that open each of its directories, in turn. */
  readonly engines: readonly Engine[]
  /** Where it may do what it likes. */
  readonly directory: string
  readonly more?: readonly string[]
  /** Of the process. */
  readonly flags?: readonly string[]
}

/** Expects the scenario to end by itself, with `code`, having said `said` last. */
export async function expectScenario(
  { script, name, engines, directory, more = [], flags = [] }: Scenario,
  { code, said }: { code: number; said: string } = { code: 0, said: 'done' },
): Promise<void> {
  const args = [...flags, fileURLToPath(script), engines.join(), name, directory, ...more]
  const preload = process.env['SHALE_CHILD_PRELOAD']
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...(preload !== undefined && { LD_PRELOAD: preload }) },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT,
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  const last = stdout.trimEnd().split('\n').at(-1)
  expect({ code: status, signal, last }, stderr).toEqual({ code, signal: null, last: said })
}
