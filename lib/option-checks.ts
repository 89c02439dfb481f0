/** Options: read once, own properties only, checked against what is allowed, named when unknown. */

import { kindOf, ShaleError } from './errors.ts'

/** Elements of an option that is given per level: docs/format.md, `level_list_max`. */
export const LEVEL_LIST_MAX = 8

/** Letters of a wrong word that a message repeats. */
const SHOWN = 64

/** Checks one value; `name` is for the message. */
export type Check<T> = (value: unknown, name: string) => T

export function optionError(name: string, expected: string, value: unknown): ShaleError {
  const got = typeof value === 'number' ? String(value) : kindOf(value)
  return new ShaleError('INVALID_OPTION', `option ${name} must be ${expected}, not ${got}`)
}

export const boolean: Check<boolean> = (value, name) => {
  if (typeof value !== 'boolean') throw optionError(name, 'a boolean', value)
  return value
}

export function integer(min: number, max: number): Check<number> {
  return (value, name) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw optionError(name, `an integer from ${min} to ${max}`, value)
    }
    return value
  }
}

export function number(min: number, max: number): Check<number> {
  return (value, name) => {
    if (typeof value !== 'number' || !(value >= min && value <= max)) {
      throw optionError(name, `a number from ${min} to ${max}`, value)
    }
    return value
  }
}

/** Of a whole, but not nothing. */
export const share: Check<number> = (value, name) => {
  if (value === 0) throw optionError(name, 'a number above 0 and up to 1', value)
  return number(0, 1)(value, name)
}

export function oneOf<const T extends string>(...allowed: readonly T[]): Check<T> {
  const words = allowed.map((word) => `'${word}'`)
  const expected = `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
  return (value, name) => {
    if (typeof value === 'string' && (allowed as readonly string[]).includes(value)) {
      return value as T
    }
    if (typeof value !== 'string') throw optionError(name, expected, value)
    const got = `'${value.slice(0, SHOWN)}'`
    throw new ShaleError('INVALID_OPTION', `option ${name} must be ${expected}, not ${got}`)
  }
}

export type Schema = Readonly<Record<string, Check<unknown>>>
export type Given<S extends Schema> = { [K in keyof S]?: ReturnType<S[K]> }

/**
 * Reads the own, known properties of a plain options object, each once. `undefined` counts as left
 * out. `what` names the options in messages.
 */
export function readOptions<const S extends Schema>(
  options: unknown,
  what: string,
  schema: S,
): Given<S> {
  if (options === undefined) return {}
  if (!guarded(what, () => isObject(options))) {
    const kind =
      typeof options === 'object' && options !== null ? 'one of a class' : kindOf(options)
    throw new ShaleError('INVALID_ARGUMENT', `${what} must be a plain object, not ${kind}`)
  }
  const given: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  for (const [key, value] of guarded(what, () => ownProperties(options as object))) {
    if (!Object.hasOwn(schema, key)) {
      const word = key.slice(0, SHOWN)
      const hint = hintFor(word, Object.keys(schema))
      throw new ShaleError('INVALID_OPTION', `${what}: unknown option ${word}; ${hint}`)
    }
    if (value === undefined) continue
    given[key] = guarded(`option ${key}`, () => (schema[key] as Check<unknown>)(value, key))
  }
  return given as Given<S>
}

/** A plain object, of whatever realm: its prototype is none or has none. */
export function isObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function ownProperties(options: object): [string, unknown][] {
  return Object.keys(options).map((key) => [key, (options as Record<string, unknown>)[key]])
}

/** What a getter or Proxy throws becomes INVALID_ARGUMENT with that cause. */
export function guarded<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof ShaleError) throw cause
    throw new ShaleError('INVALID_ARGUMENT', `${what} could not be read`, { cause })
  }
}

/** The option that was meant; where none is like it, all of them. */
function hintFor(word: string, known: readonly string[]): string {
  const given = word.toLowerCase()
  let best = ''
  let bestDistance = Infinity
  for (const candidate of known) {
    const other = candidate.toLowerCase()
    const inside = given.length > 2 && other.includes(given)
    const distance = inside ? 1 : editDistance(given, other)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  const alike = bestDistance <= Math.max(1, Math.floor(given.length / 3))
  return alike ? `did you mean ${best}?` : `there are ${known.join(', ')}`
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
