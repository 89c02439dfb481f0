// A workload of which one call fails, once or for good, and what must hold afterwards.

import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import type { Fault, FaultKind, FaultOperation } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { parseFileName } from '../../../lib/typescript/vfs/file-name.ts'
import type { FileKind } from '../../../lib/typescript/vfs/file-name.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { checkImage, imageOf, KILL, POWER_CUT, survivors } from './crash-oracle.ts'
import { CrashWorkload } from './crash-workload.ts'
import type { WorkloadOptions } from './crash-workload.ts'
import { get, keyspaceOf, put } from './databases.ts'

const KINDS: Readonly<Partial<Record<FaultOperation, readonly FaultKind[]>>> = {
  open: ['EIO', 'EMFILE'],
  create: ['EIO', 'ENOSPC', 'EMFILE'],
  read: ['EIO', 'shortRead', 'flipRead'],
  write: ['EIO', 'ENOSPC', 'shortWrite', 'lostWrite', 'flipWrite'],
  truncate: ['EIO'],
  sync: ['EIO', 'ENOSPC', 'syncKept', 'syncDropped'],
  size: ['EIO'],
  syncDir: ['EIO', 'ENOSPC'],
  stat: ['EIO', 'EACCES'],
  remove: ['EIO', 'EACCES'],
  rename: ['EIO'],
  link: ['EIO'],
  list: ['EIO', 'EMFILE'],
}

/** Faults after which a disk has lied. Damage may be found then; wrong contents may not. */
const LIES: ReadonlySet<FaultKind> = new Set(['lostWrite', 'flipWrite', 'shortRead', 'flipRead'])

/** What calls may be told, beside what the fault itself is called. */
const CODES = ['DB_CLOSED', 'ABORTED', 'DB_FAILED', 'SYNC_FAILED']

function codesOf({ kind, file }: Fault): readonly string[] {
  // One that could not be removed.
  if (file === 'lock')
    return [...CODES, 'IO_ERROR', 'DISK_FULL', 'TOO_MANY_OPEN_FILES', 'DB_LOCKED']
  if (kind === 'ENOSPC') return [...CODES, 'DISK_FULL']
  if (kind === 'EMFILE') return [...CODES, 'TOO_MANY_OPEN_FILES']
  if (LIES.has(kind)) return [...CODES, 'CORRUPTION', 'NOT_A_DATABASE', 'FORMAT_TOO_NEW']
  return [...CODES, 'IO_ERROR']
}

/** Counts the calls by what a fault is named by. */
class CountingVfs extends FaultVfs {
  readonly calls: Map<string, number> = new Map()

  override next(operation: FaultOperation, path: string): FaultKind | undefined {
    const { kind } = parseFileName(path.slice(path.lastIndexOf('/') + 1))
    const key = `${operation} ${kind}`
    this.calls.set(key, (this.calls.get(key) ?? 0) + 1)
    return super.next(operation, path)
  }
}

/** Every fault that a run without any gives the opportunity for. */
export async function enumerateFaults(options: WorkloadOptions): Promise<Fault[]> {
  const vfs = new CountingVfs(new MemVfs())
  const workload = new CrashWorkload(vfs, options)
  await workload.run()
  await workload.end()
  return [...vfs.calls].flatMap(([key, calls]) => {
    const [operation, file] = key.split(' ') as [FaultOperation, FileKind]
    return (KINDS[operation] ?? []).flatMap((kind) =>
      Array.from({ length: calls }, (_, nth) =>
        [false, true].map((sticky) => ({ operation, file, nth, kind, sticky })),
      ).flat(),
    )
  })
}

export function describeFault({ operation, file, nth, kind, sticky }: Fault): string {
  return `${kind} at ${operation} ${nth} of ${file}${sticky === true ? ' and all behind' : ''}`
}

/** What is wrong after one fault; undefined if nothing is. */
export async function runFault(wanted: WorkloadOptions, fault: Fault): Promise<string | undefined> {
  const where = `seed ${wanted.seed}, ${describeFault(fault)}`
  const hasLied = LIES.has(fault.kind)
  // The disk does not hold what it was given: the next open may tell, or not know of it.
  const isLost = hasLied && fault.operation !== 'read'
  // What was ingested is in tables alone: a manifest that forgets them leaves a gap that nothing
  // tells from an ingestion that failed.
  const options = {
    ...wanted,
    isFaulty: true,
    reopens: wanted.reopens && !isLost,
    ingests: wanted.ingests && !isLost,
  }
  const memory = new MemVfs()
  const vfs = new FaultVfs(memory)
  vfs.setPlan([fault])
  const workload = new CrashWorkload(vfs, options)
  await workload.run()
  const codes = new Set(workload.codes)
  let problem = workload.problem
  problem ??= checkImages(memory, workload, fault, isLost, options)
  vfs.setPlan([])
  // A compaction of what is damaged is tried for ever.
  if (hasLied) for (let left = 50; left > 0; left--) await workload.turns.some()
  else await workload.turns.rest()
  workload.handOver()
  problem ??= await checkHealed(workload, hasLied)
  await workload.close(false)
  await workload.turns.rest()
  problem ??= workload.problem
  if (workload.pending > 0) problem ??= 'a call is never answered'
  if (memory.openFiles > 0) problem ??= `${memory.openFiles} files are left open`
  const allowed = codesOf(fault)
  const strange = [...codes].filter((code) => !allowed.includes(code))
  if (strange.length > 0) problem ??= `the error of a call is ${strange.join(', ')}`
  return problem && `${where}: ${problem}`
}

function checkImages(
  memory: MemVfs,
  { history }: CrashWorkload,
  fault: Fault,
  isLost: boolean,
  options: WorkloadOptions,
): string | undefined {
  for (const crash of [KILL, POWER_CUT]) {
    // A failed sync may throw away what had reached the system but not the disk.
    const isUnsure = fault.operation === 'sync'
    const atLeast = isUnsure ? history.ackedSync : survivors(history, crash)
    // What was refused has been cut back.
    const isClean = crash === KILL && !isUnsure && !isLost
    const check = { liveness: 5, isDamageAllowed: isLost, isCutAgain: !isLost, isClean }
    const problem = checkImage(imageOf(memory, crash), history, atLeast, options, check)
    if (problem !== undefined) return `kept ${crash.name}: ${problem}`
  }
  return undefined
}

/** With the fault over, a database that has not failed takes commits and flushes again. */
async function checkHealed(workload: CrashWorkload, hasLied: boolean): Promise<string | undefined> {
  const { database, turns } = workload
  if (database === undefined || database.status === 'failed') return undefined
  try {
    database.maintenance.resume()
    const keyspace = keyspaceOf(database, 'healed')
    put(database, keyspace, 'k', 'v', 'sync')
    for (const other of database.keyspaces.all()) runSync(database.flush(other))
    await turns.until(run(database.persist('sync')))
    if (!hasLied) await turns.rest()
    if (get(database, keyspace, 'k') !== 'v') return 'another value after the fault'
    if (database.status !== 'open' && !hasLied) return 'still degraded after the fault'
    return undefined
  } catch (error) {
    return hasLied ? undefined : `does not heal: ${(error as Error).stack}`
  }
}
