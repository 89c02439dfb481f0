// Holds what a crash has left against what was promised.

import { runSync } from '../../../lib/typescript/base/flow.ts'
import { ShaleError } from '../../../lib/errors.ts'
import { Database } from '../../../lib/typescript/db/database.ts'
import {
  keepFirst,
  keepNothing,
  keepRandom,
  keepTorn,
  MemVfs,
} from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { CrashPolicy } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { CrashWorkload, settingsOf } from './crash-workload.ts'
import type { WorkloadOptions } from './crash-workload.ts'
import { contentsIn, entryOf, keyspaceOf, put, SMALL_TREE } from './databases.ts'
import { difference, textOf } from './history.ts'
import type { History } from './history.ts'
import { Random } from './random.ts'
import type { Contents } from './recoveries.ts'

export interface ImageCheck {
  /** Writes that have to work afterwards. */
  readonly liveness: number
  /** The disk lied: CORRUPTION is an answer. */
  readonly isDamageAllowed?: boolean
  /** No tail may have to be cut off. */
  readonly isClean?: boolean
  /** Another power cut, right after the open, changes nothing. */
  readonly isCutAgain?: boolean
}

/** A crash, drawn from a seed, for the changes that are pending now. */
export interface Crash {
  readonly name: string
  /** Undefined: only the process ends. */
  readonly policy: CrashPolicy | undefined
}

export const KILL: Crash = { name: 'all that was written', policy: undefined }
export const POWER_CUT: Crash = { name: 'what was synced', policy: keepNothing }

export function drawCrash(machine: MemVfs, random: Random): Crash {
  const pending = machine.pendingChanges()
  const index = random.below(pending.length + 1)
  switch (random.below(6)) {
    case 0:
      return POWER_CUT
    case 1:
      return KILL
    case 2:
      return { name: `the first ${index}`, policy: keepFirst(index) }
    case 3: {
      const bytes = random.below((pending[index]?.length ?? 0) + 1)
      return { name: `${bytes} bytes of ${index}`, policy: keepTorn(index, bytes) }
    }
    default:
      return { name: 'some', policy: keepRandom(() => random.below(1000) / 1000) }
  }
}

/** What is left of the machine. */
export function imageOf(machine: MemVfs, { policy }: Crash): MemVfs {
  return policy === undefined ? machine.killed() : machine.crash(policy)
}

/** How many of the acknowledged commits survive. */
export function survivors({ ackedOs, ackedSync }: History, { policy }: Crash): number {
  return policy === undefined ? ackedOs : ackedSync
}

/** What is wrong with an image; undefined if nothing is. */
export function checkImage(
  image: MemVfs,
  history: History,
  atLeast: number,
  options: WorkloadOptions,
  check: ImageCheck,
): string | undefined {
  try {
    return check.isDamageAllowed === true
      ? checkDamaged(image, history, options)
      : checkWhole(image, history, atLeast, options, check)
  } catch (error) {
    return (error as Error).stack
  }
}

function openImage(image: MemVfs, options: WorkloadOptions): Database {
  return runSync(Database.open(image, '/db', settingsOf(options)))
}

function checkWhole(
  image: MemVfs,
  history: History,
  atLeast: number,
  options: WorkloadOptions,
  { liveness, isCutAgain = true, isClean = false }: ImageCheck,
): string | undefined {
  const database = openImage(image, options)
  const contents = contentsIn(database)
  const found = history.prefixOf(contents, atLeast)
  if (typeof found === 'string') return found
  const { bytesDropped } = database.recovery
  if (isClean && bytesDropped > 0) return `a torn tail of ${bytesDropped} bytes`
  if (isCutAgain) {
    const again = openImage(image.crash(keepNothing), options)
    const recovered = contentsIn(again)
    runSync(again.close())
    if (textOf(recovered) !== textOf(contents)) {
      return `what was recovered was lost again: ${difference(contents, recovered)}`
    }
  }
  const problem = liveness === 0 ? undefined : checkLiveness(database, contents, liveness)
  runSync(database.close())
  return problem
}

/** The truth, or an error that says what it is; never something made up. */
function checkDamaged(
  image: MemVfs,
  history: History,
  options: WorkloadOptions,
): string | undefined {
  let database: Database
  try {
    database = openImage(image, options)
  } catch (error) {
    return told(error)
  }
  let problem: string | undefined
  try {
    const contents = contentsIn(database)
    const wasCut = database.recovery.bytesDropped > 0
    const found = history.prefixOf(contents, 0)
    if (typeof found === 'string') problem = wasCut ? history.isMadeUp(contents) : found
  } catch (error) {
    problem = told(error)
  }
  runSync(database.close())
  return problem
}

function told(error: unknown): string | undefined {
  const codes = ['CORRUPTION', 'NOT_A_DATABASE', 'FORMAT_TOO_NEW']
  if (error instanceof ShaleError && codes.includes(error.code)) return undefined
  return (error as Error).stack
}

/** It goes on: also over what was recovered, new commits are newer than old ones. */
function checkLiveness(database: Database, found: Contents, writes: number): string | undefined {
  const expected: Record<string, Record<string, string>> = structuredClone(found)
  const keyspace = keyspaceOf(database, 'liveness', SMALL_TREE)
  const rows: Record<string, string> = (expected['liveness'] = {})
  for (let i = 0; i < writes; i++) {
    const key = `k${i % 300}`
    put(database, keyspace, key, `${i}`)
    rows[key] = `${i}`
  }
  for (const old of database.keyspaces.all()) {
    const [key] = Object.keys(found[old.name] ?? {})
    if (key === undefined) continue
    database.writeOneSync(entryOf(old, key, 'newer'), 'sync')
    expected[old.name]![key] = 'newer'
  }
  runSync(database.flush(keyspace))
  const contents = contentsIn(database)
  if (textOf(contents) === textOf(expected)) return undefined
  return `after recovery: ${difference(expected, contents)}`
}

export interface CrashRun {
  images: number
  problem: string | undefined
}

/** Runs a workload; at every operation of the machine it is crashed, in several ways. */
export async function runCrashImages(
  options: WorkloadOptions,
  imagesPerOperation: number,
  every: number,
  check: ImageCheck,
): Promise<CrashRun> {
  const result: CrashRun = { images: 0, problem: undefined }
  const machine = new MemVfs()
  const workload = new CrashWorkload(machine, options)
  const random = new Random(options.seed ^ 0x5eed)
  let operations = 0
  machine.onOperation = (operation, path) => {
    if (operations++ % every !== 0) return
    for (let i = 0; i < imagesPerOperation && result.problem === undefined; i++) {
      const crash = drawCrash(machine, random)
      const { history } = workload
      const atLeast = survivors(history, crash)
      const problem = checkImage(imageOf(machine, crash), history, atLeast, options, check)
      result.images++
      if (problem !== undefined) {
        const where = `operation ${operations} (${operation} ${path})`
        result.problem = `seed ${options.seed}, ${where}, kept ${crash.name}: ${problem}`
      }
    }
  }
  await workload.run()
  await workload.end()
  machine.onOperation = undefined
  if (machine.openFiles > 0) result.problem ??= `${machine.openFiles} files are left open`
  result.problem ??= workload.problem && `seed ${options.seed}: ${workload.problem}`
  return result
}

/** At every so manieth operation it is crashed, and the recovery from that at each of its own. */
export async function runRecoveryCrashes(
  options: WorkloadOptions,
  every: number,
  check: ImageCheck,
): Promise<CrashRun> {
  const result: CrashRun = { images: 0, problem: undefined }
  const machine = new MemVfs()
  const workload = new CrashWorkload(machine, options)
  const { history } = workload
  const random = new Random(options.seed ^ 0xc4a5)
  let operations = 0
  const crashAgain = (image: MemVfs, first: Crash, step: number): void => {
    const second = drawCrash(image, random)
    // What only the page cache held is gone after the second one, unless that is no power cut.
    const atLeast = Math.min(survivors(history, first), survivors(history, second))
    const problem = checkImage(imageOf(image, second), history, atLeast, options, check)
    result.images++
    if (problem === undefined) return
    const where = `operation ${operations}, kept ${first.name}, operation ${step} of the recovery`
    result.problem = `seed ${options.seed}, ${where}, kept ${second.name}: ${problem}`
  }
  machine.onOperation = () => {
    if (operations++ % every !== 0 || result.problem !== undefined) return
    const first = drawCrash(machine, random)
    const image = imageOf(machine, first)
    let step = 0
    image.onOperation = () => {
      if (result.problem === undefined) crashAgain(image, first, ++step)
    }
    const database = openImage(image, options)
    image.onOperation = undefined
    runSync(database.close())
  }
  await workload.run()
  await workload.end()
  result.problem ??= workload.problem
  return result
}
