// The data of all workloads: 16-byte keys ("key" and 13 digits), 100-byte values that LZ4 brings to
// about 0.6, orders from a printed seed.

export const KEY_BYTES = 16
export const VALUE_BYTES = 100
export const SEED = Number(process.env.SEED ?? 1)

/** A small seeded generator (xorshift32): the same on every machine. */
export function randomFrom(seed) {
  let state = (seed * 2_654_435_761 + 1) >>> 0 || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    state >>>= 0
    return state % below
  }
}

/** The numbers 0..n-1 in a random order. */
export function shuffled(n, seed = SEED) {
  const random = randomFrom(seed)
  const order = Uint32Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const j = random(i + 1)
    ;[order[i], order[j]] = [order[j], order[i]]
  }
  return order
}

export function ascending(n) {
  return Uint32Array.from({ length: n }, (_, i) => i)
}

/** Added to a number: the key of that number with its last digit replaced, which no store holds. */
export const ABSENT = 0x4000_0000

/**
 * Writes the digits of key i into one reused buffer: a benchmark of the store, not of making keys.
 */
export function keyBuffer() {
  const key = Buffer.from('key0000000000000')
  return (number) => {
    const i = number & ~ABSENT
    let rest = i
    for (let at = KEY_BYTES - 1; at >= 3; at--) {
      const tenth = (rest / 10) | 0
      key[at] = 48 + rest - tenth * 10
      rest = tenth
    }
    if (i !== number) key[KEY_BYTES - 1] = 120
    return key
  }
}

export function keyText(i) {
  return `key${String(i).padStart(13, '0')}`
}

const values = makeValues()

function makeValues() {
  const random = randomFrom(7)
  return Array.from({ length: 64 }, () => {
    const value = Buffer.alloc(VALUE_BYTES, 'value ')
    for (let i = 4; i < VALUE_BYTES / 2; i++) value[i] = random(256)
    return value
  })
}

/** The value of key i: the number, noise, text. Valid until the same slot comes round again. */
export function valueOf(i) {
  const value = values[i & 63]
  value.writeUInt32LE(i, 0)
  return value
}

const mixed = Buffer.alloc(400, 'mixed ')

/** A value of 1 to 400 bytes, the same for the same key. */
export function mixedValueOf(i) {
  return mixed.subarray(0, 1 + (((i * 2_654_435_761) >>> 0) % mixed.length))
}

/** Throws unless `value` is what key i was written with: every result is looked at. */
export function check(value, i) {
  if (value === undefined || value === null || value.length !== VALUE_BYTES) {
    throw new Error(`key ${i}: ${value === undefined ? 'missing' : 'wrong length'}`)
  }
  if ((value[0] | (value[1] << 8) | (value[2] << 16) | (value[3] << 24)) >>> 0 !== i) {
    throw new Error(`key ${i}: wrong value`)
  }
}
