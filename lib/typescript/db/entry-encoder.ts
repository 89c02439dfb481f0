/** One write as the entry of a batch (docs/format.md, 5.1), from a key and a value as given. */

import type { EntryKind, KeyInput, ValueInput } from '../../engine.ts'
import {
  byteLengthOf,
  checkInBounds,
  isBytes,
  keyError,
  plainView,
  valueError,
} from '../../errors.ts'
import { CODEC_NONE } from '../base/compression.ts'
import { encodeKey, keyBytes } from '../base/key-bytes.ts'
import { copyRange } from '../base/slice.ts'
import { ENTRY_HEADER_BYTES, putEntryHeader } from './write-batch.ts'

/** Memory that sync writes use again. */
const SCRATCH_BYTES = 64 * 1024
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
/** Up to this length a loop is faster than the engine of JavaScript. */
const LOOP_BYTES = 64

const { set } = Uint8Array.prototype

/** INVALID_KEY, KEY_TOO_LARGE, INVALID_VALUE, VALUE_TOO_LARGE: with nothing changed. */
export class EntryEncoder {
  readonly #keyspaceId: number
  readonly #maxValueSize: number

  constructor(keyspaceId: number, maxValueSize: number) {
    this.#keyspaceId = keyspaceId
    this.#maxValueSize = maxValueSize
  }

  /** Good until the next call of any encoder, unless it is to be kept. */
  encode(kind: EntryKind, key: KeyInput, value: ValueInput, isKept: boolean): Uint8Array {
    const keyLength = encodeKey(key)
    if (keyLength === 0) throw keyError(key)
    const valueLength = lengthOf(value, this.#maxValueSize)
    const size = ENTRY_HEADER_BYTES + keyLength + valueLength
    const bytes = isKept || size > SCRATCH_BYTES ? Buffer.allocUnsafe(size) : scratch
    putEntryHeader(bytes, 0, kind, CODEC_NONE, keyLength, this.#keyspaceId, valueLength)
    copyRange(keyBytes, 0, keyLength, bytes, ENTRY_HEADER_BYTES)
    putValue(value, bytes, ENTRY_HEADER_BYTES + keyLength, valueLength)
    return bytes === scratch ? scratch.subarray(0, size) : bytes
  }
}

/** The bytes of a value, without what a subclass makes of them; good until the next call. */
export function valueBytes(value: ValueInput, limit: number): Uint8Array {
  const length = lengthOf(value, limit)
  if (length > SCRATCH_BYTES && typeof value !== 'string') return plainView(value)
  const bytes = length > SCRATCH_BYTES ? Buffer.allocUnsafe(length) : scratch.subarray(0, length)
  putValue(value, bytes, 0, length)
  return bytes
}

/** Bytes of a value; throws what is wrong with it. */
function lengthOf(value: ValueInput, limit: number): number {
  let length: number
  if (typeof value === 'string') {
    length = Buffer.byteLength(value)
    if (length !== value.length && !isWellFormed(value)) throw valueError(value, limit)
  } else {
    if (!isBytes(value)) throw valueError(value, limit)
    length = byteLengthOf(value)
    if (length === 0) checkInBounds(value)
  }
  if (length > limit) throw valueError(value, limit)
  return length
}

/** Writes a value whose length is known. */
function putValue(value: ValueInput, target: Buffer, at: number, length: number): void {
  if (typeof value !== 'string') {
    if (length > LOOP_BYTES) set.call(target, value, at)
    else for (let i = 0; i < length; i++) target[at + i] = value[i]!
  } else if (length === value.length && length <= LOOP_BYTES) {
    for (let i = 0; i < length; i++) target[at + i] = value.charCodeAt(i)
  } else {
    target.write(value, at, length)
  }
}

function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed()
}
