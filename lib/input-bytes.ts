/** Keys and values as they were given: measured, and copied. */

import { byteLengthOf, isBytes } from './errors.ts'
import type { KeyInput } from './types.ts'

/** Up to this length a loop is faster than a call. */
const LOOP_BYTES = 64

const { set } = Uint8Array.prototype

/** UTF-8 bytes of a string, real bytes of a Uint8Array, -1 for anything else. */
export function sizeOf(input: unknown): number {
  if (typeof input === 'string') {
    if (!(input as string & { isWellFormed(): boolean }).isWellFormed()) return -1
    return Buffer.byteLength(input)
  }
  return isBytes(input) ? byteLengthOf(input) : -1
}

/**
 * Copies what was measured to have `size` bytes. False if they cannot be read (detached), or do not
 * fit any more (shared memory that grows).
 */
export function put(target: Buffer, offset: number, input: KeyInput, size: number): boolean {
  const isShort = size > 0 && size <= LOOP_BYTES
  if (typeof input === 'string') {
    if (!isShort || size !== input.length) return target.write(input, offset, size) === size
    for (let i = 0; i < size; i++) target[offset + i] = input.charCodeAt(i)
    return true
  }
  if (isShort) {
    for (let i = 0; i < size; i++) target[offset + i] = input[i] as number
    return true
  }
  try {
    set.call(target, input, offset)
    return true
  } catch {
    return false
  }
}
