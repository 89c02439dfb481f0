// Directories for one test, removed after it; and failures as values.

import { mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { ShaleError } from '../../lib/errors.ts'

/** Of a file system in memory, below which it is not used: there are two tests at a time. */
const MEMORY_BYTES_MIN = 4 * 2 ** 30

/** A fresh directory that goes when the running test ends. */
export function scratchDirectory(): string {
  return directoryIn(tmpdir())
}

/**
 * The same for tests that sync thousands of times and end no process of the system: in memory where
 * that is possible. They take a third of the time.
 */
export function quickDirectory(): string {
  return directoryIn(isRoomy('/dev/shm') ? '/dev/shm' : tmpdir())
}

function isRoomy(path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(path)
    return bavail * bsize >= MEMORY_BYTES_MIN
  } catch {
    return false
  }
}

function directoryIn(parent: string): string {
  const path = mkdtempSync(join(parent, 'shale-test-'))
  onTestFinished(() => {
    rmSync(path, { recursive: true, force: true })
  })
  return path
}

/** The ShaleError that `call` throws or rejects with; async forms must not throw synchronously. */
export async function failure(call: () => unknown): Promise<ShaleError> {
  let returned: unknown
  let threw = true
  try {
    returned = call()
    threw = false
    if (!(returned instanceof Promise)) throw new Error('nothing was thrown')
    await returned
  } catch (error) {
    if (error instanceof ShaleError) return error
    throw error
  }
  throw new Error(threw ? 'nothing was thrown' : 'nothing was rejected')
}

/** The same for a call that returns a promise: throwing synchronously is a failure of the test. */
export async function rejection(call: () => unknown): Promise<ShaleError> {
  let returned: unknown
  try {
    returned = call()
  } catch (error) {
    throw new Error('an async form threw synchronously', { cause: error })
  }
  return failure(() => returned)
}

/** SHALE_SCALE multiplies the volume of the long tests. */
export function scaled(count: number): number {
  return Math.max(1, Math.round(count * Number(process.env['SHALE_SCALE'] ?? 1)))
}

/** One seed for everything random in a test; SEED repeats a run. */
export function testSeed(): number {
  const given = process.env['SEED']
  return given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given)
}
