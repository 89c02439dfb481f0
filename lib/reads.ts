/** Reads that keyspaces and trees share, made of the few that an engine gives. */

import { BACK, FRONT, ROW_ENTRY, ROW_KEY, type ReadEngine, type ScanEnd } from './engine.ts'
import { byteLengthOf, isBytes, isKey, keyError, kindOf, ShaleError } from './errors.ts'
import { EVERYTHING, scanRange } from './keys.ts'
import { guarded } from './option-checks.ts'
import type { RowBatch } from './row-batch.ts'
import { pairOf, type Pair } from './rows.ts'
import { Turn } from './turn.ts'
import type { KeyInput } from './types.ts'

const COUNT_FILL = 256 * 1024
const MAX_MANY = 1_000_000

/** The entry at one end. */
export async function endPair(
  reads: ReadEngine,
  end: ScanEnd,
  seqno: number,
): Promise<Pair | undefined> {
  const scan = reads.scan(scanRange(EVERYTHING, seqno))
  try {
    const batch = await scan.fill(end, ROW_ENTRY, 1, 1)
    return batch && pairOf(batch, 0)
  } finally {
    scan.close()
  }
}

export function endPairSync(reads: ReadEngine, end: ScanEnd, seqno: number): Pair | undefined {
  const scan = reads.scan(scanRange(EVERYTHING, seqno))
  try {
    const batch = scan.fillSync(end, ROW_ENTRY, 1, 1)
    return batch && pairOf(batch, 0)
  } finally {
    scan.close()
  }
}

/** Looks for one key; copies no value. */
export async function isEmpty(reads: ReadEngine, seqno: number): Promise<boolean> {
  const scan = reads.scan(scanRange(EVERYTHING, seqno))
  try {
    return (await scan.fill(FRONT, ROW_KEY, 1, 1)) === undefined
  } finally {
    scan.close()
  }
}

export function isEmptySync(reads: ReadEngine, seqno: number): boolean {
  const scan = reads.scan(scanRange(EVERYTHING, seqno))
  try {
    return scan.fillSync(FRONT, ROW_KEY, 1, 1) === undefined
  } finally {
    scan.close()
  }
}

/** Counts by a full scan over keys; what it returns once `signal` is aborted is of no use. */
export async function count(
  reads: ReadEngine,
  seqno: number,
  signal?: AbortSignal,
): Promise<number> {
  const scan = reads.scan(scanRange(EVERYTHING, seqno))
  try {
    const turn = new Turn()
    let total = 0
    let batch: RowBatch | undefined
    while ((batch = await scan.fill(FRONT, ROW_KEY, COUNT_FILL, 2 ** 32 - 1)) !== undefined) {
      total += batch.count
      if (signal?.aborted === true) break
      if (turn.isOver) await turn.pass()
    }
    return total
  } finally {
    scan.close()
  }
}

export function countSync(reads: ReadEngine, seqno: number): number {
  const scan = reads.scan(scanRange(EVERYTHING, seqno))
  try {
    let total = 0
    let batch: RowBatch | undefined
    while ((batch = scan.fillSync(FRONT, ROW_KEY, COUNT_FILL, 2 ** 32 - 1, batch)) !== undefined) {
      total += batch.count
    }
    return total
  } finally {
    scan.close()
  }
}

export const FIRST: ScanEnd = FRONT
export const LAST: ScanEnd = BACK

/** The offset to copy to; throws when `target` cannot take anything there. */
export function targetOffset(target: unknown, offset: unknown): number {
  if (!isBytes(target)) {
    throw new ShaleError('INVALID_ARGUMENT', `target must be a Uint8Array, not ${kindOf(target)}`)
  }
  if (offset === undefined) return 0
  const size = byteLengthOf(target)
  if (typeof offset !== 'number' || !Number.isInteger(offset) || offset < 0 || offset > size) {
    throw new ShaleError('INVALID_ARGUMENT', `offset must be an integer from 0 to ${size}`)
  }
  return offset
}

/** A dense copy of `keys`, so that what the caller does to the array later changes nothing. */
export function manyKeys(keys: unknown): readonly KeyInput[] {
  return guarded('keys', () => readKeys(keys))
}

function readKeys(keys: unknown): readonly KeyInput[] {
  if (!Array.isArray(keys)) {
    throw new ShaleError('INVALID_ARGUMENT', `keys must be an array, not ${kindOf(keys)}`)
  }
  if (keys.length > MAX_MANY) {
    throw new ShaleError('INVALID_ARGUMENT', `${keys.length} keys; at most ${MAX_MANY} at a time`)
  }
  const own: KeyInput[] = []
  for (let i = 0, { length } = keys; i < length; i++) {
    const key: unknown = keys[i]
    if (!isKey(key)) throw keyError(key, `keys[${i}]`)
    own.push(key)
  }
  return own
}
