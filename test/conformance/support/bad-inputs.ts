// What is no key and no value, and why it is refused; for whatever takes either.

export type Call = (...args: never[]) => unknown

/** Calls a method with whatever arguments, as JavaScript would. */
export function loose(target: object, method: string, ...args: unknown[]): unknown {
  return (Reflect.get(target, method) as Call).call(target as never, ...(args as never[]))
}

/** A view that its buffer has shrunk below. */
function shrunk(): Uint8Array {
  const memory = new (
    ArrayBuffer as unknown as new (
      length: number,
      options: { maxByteLength: number },
    ) => ArrayBuffer & { resize(length: number): void }
  )(16, { maxByteLength: 32 })
  const view = new Uint8Array(memory, 4, 8)
  memory.resize(8)
  return view
}

function detached(): Uint8Array {
  const bytes = new Uint8Array(8)
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  return bytes
}

export const LONG = new Uint8Array(65_536)

export const BAD_KEYS: readonly (readonly [string, unknown, string])[] = [
  ['undefined', undefined, 'INVALID_KEY'],
  ['null', null, 'INVALID_KEY'],
  ['a number', 7, 'INVALID_KEY'],
  ['a bigint', 7n, 'INVALID_KEY'],
  ['a boolean', true, 'INVALID_KEY'],
  ['a symbol', Symbol('key'), 'INVALID_KEY'],
  ['a function', () => 'key', 'INVALID_KEY'],
  ['a plain object', {}, 'INVALID_KEY'],
  ['an array', [1], 'INVALID_KEY'],
  ['a Date', new Date(0), 'INVALID_KEY'],
  ['an ArrayBuffer', new ArrayBuffer(4), 'INVALID_KEY'],
  ['a Uint16Array', new Uint16Array(4), 'INVALID_KEY'],
  ['a Proxy over bytes', new Proxy(Buffer.from('key'), {}), 'INVALID_KEY'],
  ['an empty string', '', 'INVALID_KEY'],
  ['no bytes', new Uint8Array(0), 'INVALID_KEY'],
  ['a lone surrogate', 'a\ud800', 'INVALID_KEY'],
  ['a detached buffer', detached(), 'INVALID_KEY'],
  ['a buffer that has shrunk', shrunk(), 'INVALID_KEY'],
  ['65,536 bytes', LONG, 'KEY_TOO_LARGE'],
  ['65,536 letters', 'k'.repeat(65_536), 'KEY_TOO_LARGE'],
  ['65,536 bytes of two-byte letters', 'é'.repeat(32_768), 'KEY_TOO_LARGE'],
]

/** Where a value has at most 1,000 bytes. */
export const BAD_VALUES: readonly (readonly [string, unknown, string])[] = [
  ['undefined', undefined, 'INVALID_VALUE'],
  ['null', null, 'INVALID_VALUE'],
  ['a number', 7, 'INVALID_VALUE'],
  ['a symbol', Symbol('value'), 'INVALID_VALUE'],
  ['a function', () => 'value', 'INVALID_VALUE'],
  ['a plain object', {}, 'INVALID_VALUE'],
  ['a Proxy over bytes', new Proxy(Buffer.from('value'), {}), 'INVALID_VALUE'],
  ['a lone surrogate', '\udfff', 'INVALID_VALUE'],
  ['a detached buffer', detached(), 'INVALID_VALUE'],
  ['a buffer that has shrunk', shrunk(), 'INVALID_VALUE'],
  ['more than maxValueSize', new Uint8Array(1001), 'VALUE_TOO_LARGE'],
  ['a string of more than maxValueSize', 'v'.repeat(1001), 'VALUE_TOO_LARGE'],
]
