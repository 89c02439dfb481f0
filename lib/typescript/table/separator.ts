/** Short keys between two blocks; docs/format.md, section 8.3. */

import { copyOf, copyRange } from '../base/slice.ts'

/** A short key k with last <= k < next, for two different keys. */
export function shortSeparator(
  last: Uint8Array,
  lastBegin: number,
  lastEnd: number,
  next: Uint8Array,
  nextBegin: number,
  nextEnd: number,
): Uint8Array {
  const length = lastEnd - lastBegin
  let shared = 0
  while (shared < length && last[lastBegin + shared] === next[nextBegin + shared]) shared++
  const whole = (): Uint8Array => copyOf(last, lastBegin, lastEnd)
  if (shared === length) return whole()
  // Where the keys part, `next` is greater. If it goes on there, its prefix lies below it.
  if (nextEnd - nextBegin > shared + 1) return copyOf(next, nextBegin, nextBegin + shared + 1)
  let at = shared
  if (last[lastBegin + at]! + 1 === next[nextBegin + at]!) {
    // Nothing lies between the two bytes: a later one of `last` is raised.
    at++
    while (at < length && last[lastBegin + at] === 0xff) at++
    if (at >= length) return whole()
  }
  const key = new Uint8Array(at + 1)
  copyRange(last, lastBegin, lastBegin + at + 1, key, 0)
  key[at]!++
  return key
}
