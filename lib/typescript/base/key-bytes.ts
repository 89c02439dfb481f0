/**
 * Keys as callers give them, made bytes: a copy in memory that every call of the environment uses
 * again, so that loops over keys see one kind of array, whatever the caller's is made of, and none
 * that another thread changes.
 */

import { byteLengthOf, isBytes } from '../../errors.ts'
import { KEY_BYTES_MAX } from './limits.ts'

/** Up to this length a loop is faster than the engine of JavaScript. */
const LOOP_BYTES = 64

/** The key that was encoded last begins here. Room for the UTF-8 of any text of a key's length. */
export const keyBytes: Uint8Array = new Uint8Array(3 * KEY_BYTES_MAX)
const keyBuffer = Buffer.from(keyBytes.buffer)
const { set } = Uint8Array.prototype

/** Copies a key to `keyBytes`; returns its length, or 0 for what `keyError` has words for. */
export function encodeKey(key: unknown): number {
  if (typeof key === 'string') {
    const { length } = key
    if (length > LOOP_BYTES) return encodeText(key)
    for (let i = 0; i < length; i++) {
      const unit = key.charCodeAt(i)
      if (unit > 0x7f) return encodeText(key)
      keyBytes[i] = unit
    }
    return length
  }
  if (!isBytes(key)) return 0
  const length = byteLengthOf(key)
  if (length <= LOOP_BYTES) {
    for (let i = 0; i < length; i++) keyBytes[i] = key[i]!
  } else if (length <= KEY_BYTES_MAX) {
    set.call(keyBytes, key)
  } else {
    return 0
  }
  return length
}

function encodeText(text: string): number {
  if (text.length > KEY_BYTES_MAX || !isWellFormed(text)) return 0
  const length = keyBuffer.write(text)
  return length <= KEY_BYTES_MAX ? length : 0
}

function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed()
}
