/** Byte ranges and their order. A range is (bytes, begin, end): no object is made for one. */

/** By unsigned bytes; a proper prefix is smaller. Negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return compareRanges(a, 0, a.length, b, 0, b.length)
}

/** The same for parts of arrays. */
export function compareRanges(
  a: Uint8Array,
  aBegin: number,
  aEnd: number,
  b: Uint8Array,
  bBegin: number,
  bEnd: number,
): number {
  const aLength = aEnd - aBegin
  const bLength = bEnd - bBegin
  const common = aLength < bLength ? aLength : bLength
  for (let i = 0; i < common; i++) {
    const difference = a[aBegin + i]! - b[bBegin + i]!
    if (difference !== 0) return difference
  }
  return aLength - bLength
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0
}

/** Up to this many bytes a loop copies faster than the engine of JavaScript moves memory. */
const LOOP_COPY_BYTES = 32

/** Copies a range; the two arrays must not overlap. */
export function copyRange(
  from: Uint8Array,
  begin: number,
  end: number,
  to: Uint8Array,
  at: number,
): void {
  if (end - begin <= LOOP_COPY_BYTES) {
    for (let i = begin; i < end; i++) to[at++] = from[i]!
  } else {
    to.set(from.subarray(begin, end), at)
  }
}

/** A copy of a range. (The `slice` of a Buffer is none.) */
export function copyOf(bytes: Uint8Array, begin = 0, end: number = bytes.length): Uint8Array {
  return new Uint8Array(bytes.subarray(begin, end))
}
