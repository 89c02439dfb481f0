/**
 * Internal entries: what one version of a key is inside the engine.
 *
 * Order: user key ascending by unsigned bytes, then seqno descending; the kind takes no part in it.
 * A seqno fits a double exactly, so it travels as a number, and the kind beside it.
 */

import { compareRanges } from './slice.ts'

/** Kinds are on disk: never change one. */
export const KIND_VALUE = 0
export const KIND_TOMBSTONE = 1
export const KIND_WEAK_TOMBSTONE = 2
/** Hides the entries of a key range with a smaller seqno; never in data blocks. */
export const KIND_RANGE_TOMBSTONE = 3
/** The value is a blob pointer; in tables only. */
export const KIND_BLOB_POINTER = 4

/** Largest seqno that an entry may carry. */
export const SEQNO_MAX: number = Number.MAX_SAFE_INTEGER
/** A read at R sees entries with seqno < R; this one sees everything. */
export const READ_ALL: number = SEQNO_MAX + 1

export function isTombstone(kind: number): boolean {
  return kind === KIND_TOMBSTONE || kind === KIND_WEAK_TOMBSTONE
}

/** Internal order of two entries whose keys are parts of arrays. */
export function compareInternal(
  a: Uint8Array,
  aBegin: number,
  aEnd: number,
  aSeqno: number,
  b: Uint8Array,
  bBegin: number,
  bEnd: number,
  bSeqno: number,
): number {
  return compareRanges(a, aBegin, aEnd, b, bBegin, bEnd) || bSeqno - aSeqno
}
