/** Looking for one key, waiting included, and what is made of what was found. */

import { BufferView } from '../buffer-view.ts'
import { ShaleError } from '../errors.ts'
import { run, runSync } from './base/flow.ts'
import { blobValueLength } from './base/blob-pointer.ts'
import { isTombstone, KIND_BLOB_POINTER } from './base/internal-key.ts'
import { keepAlive } from './base/keep-alive.ts'
import type { Pending } from './base/pending.ts'
import { ownCopy } from './base/slab.ts'
import { BLOCKED, FOUND } from './table/table-reader.ts'
import type { PointLookup } from './table/table-reader.ts'
import type { SuperVersion } from './tree/super-version.ts'

/** Whether there is a value, waiting in place for what is not in memory. */
export function findNow(superVersion: SuperVersion, lookup: PointLookup): boolean {
  const found = superVersion.find(lookup)
  if (found === BLOCKED) return findBlocked(superVersion, lookup)
  return found === FOUND && !isTombstone(lookup.kind)
}

/** The same, of which is known that memory does not answer it. */
export function findBlocked(superVersion: SuperVersion, lookup: PointLookup): boolean {
  const found = runSync(superVersion.findSettled(lookup))
  lookup.settle()
  return found && !isTombstone(lookup.kind)
}

/** The same by a lookup that nobody else uses meanwhile; one of `reads` until it has ended. */
export async function findLater(
  reads: Pending,
  superVersion: SuperVersion,
  own: PointLookup,
): Promise<boolean> {
  superVersion.acquire()
  reads.begin()
  try {
    return (await keepAlive(run(superVersion.findSettled(own)))) && !isTombstone(own.kind)
  } finally {
    reads.end()
    superVersion.release()
  }
}

/** Length of the value, which need not be there itself. */
export function sizeOf({ kind, value, valueBegin, valueEnd }: PointLookup): number {
  if (kind === KIND_BLOB_POINTER) return blobValueLength(value, valueBegin)
  return valueEnd - valueBegin
}

export function valueOf({ value, valueBegin, valueEnd }: PointLookup): Buffer {
  return ownCopy(value, valueBegin, valueEnd)
}

export function textOf({ value, valueBegin, valueEnd }: PointLookup): string {
  const { buffer, byteOffset } = value
  try {
    return new BufferView(buffer, byteOffset + valueBegin, valueEnd - valueBegin).toString()
  } catch (cause) {
    throw new ShaleError('VALUE_TOO_LARGE', 'the value is too long for a string', { cause })
  }
}
