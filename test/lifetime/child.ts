// Runs one scenario of children/ in a process of its own. SHALE_CHILD_PRELOAD names a library to
// preload there: a sanitizer's, when the addon was built with it (see run.mjs).

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect } from 'vitest'
import { root } from '../support/source-files.ts'

export interface ChildResult {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** How long a scenario may take; one that hangs has failed. */
const LIMIT = 120_000

/** `node <flags> children/<file> <args>`. */
export async function runChild(
  file: string,
  args: readonly string[],
  flags: readonly string[] = [],
): Promise<ChildResult> {
  const preload = process.env['SHALE_CHILD_PRELOAD']
  const script = join(root, 'test/lifetime/children', file)
  const child = spawn(process.execPath, [...flags, script, ...args], {
    env: { ...process.env, ...(preload !== undefined && { LD_PRELOAD: preload }) },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT,
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk) => (stdout += chunk))
  child.stderr.on('data', (chunk) => (stderr += chunk))
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
  return { code, signal, stdout, stderr }
}

/** Expects the scenario to end by itself, with `code`, having said `said` last. */
export async function expectScenario(
  file: string,
  args: readonly string[],
  { flags = [], code = 0, said = 'done' }: { flags?: string[]; code?: number; said?: string } = {},
): Promise<void> {
  const result = await runChild(file, args, flags)
  const last = result.stdout.trimEnd().split('\n').at(-1)
  expect({ code: result.code, signal: result.signal, last }, result.stderr).toEqual({
    code,
    signal: null,
    last: said,
  })
}
