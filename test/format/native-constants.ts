// Reads enumerations and constants from the C++ sources, for comparison with docs/format.md.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../support/source-files.ts'

const texts = new Map<string, string>()

function sourceOf(file: string): string {
  const known = texts.get(file)
  if (known !== undefined) return known
  const text = readFileSync(join(root, 'native', file), 'utf8').replaceAll(/\/\/[^\n]*/g, '')
  texts.set(file, text)
  return text
}

/** The value of an expression of literals, casts, shifts, sums and products. */
function evaluate(expression: string, where: string): number {
  const plain = expression
    .replaceAll(/\b(?:u?int(?:8|16|32|64)_t|size_t|Kind|Seqno)\s*\{([^{}]*)\}/g, '($1)')
    .replaceAll(/static_cast<\w+>/g, '')
    .replaceAll(/(0x[0-9a-fA-F]+|\d+)[uUlL]*/g, '$1n')
  if (!/^[\s0-9a-fnx()+*<-]+$/i.test(plain)) throw new Error(`${where}: cannot read ${expression}`)
  return Number(Sums.parse(plain, where))
}

/** A parser of what `evaluate` lets through: shifts bind weaker than sums, sums than products. */
class Sums {
  readonly #tokens: string[]
  readonly #where: string
  #at = 0

  private constructor(text: string, where: string) {
    this.#tokens = text.match(/0x[0-9a-f]+n|\d+n|<<|[()+*-]/gi) ?? []
    this.#where = where
  }

  static parse(text: string, where: string): bigint {
    const parser = new Sums(text, where)
    const value = parser.#shift()
    if (parser.#at !== parser.#tokens.length) throw new Error(`${where}: rest in ${text}`)
    return value
  }

  #take(...wanted: string[]): string | undefined {
    const token = this.#tokens[this.#at]
    if (token === undefined || !wanted.includes(token)) return undefined
    this.#at += 1
    return token
  }

  #shift(): bigint {
    let value = this.#sum()
    while (this.#take('<<') !== undefined) value <<= this.#sum()
    return value
  }

  #sum(): bigint {
    let value = this.#product()
    for (let sign = this.#take('+', '-'); sign !== undefined; sign = this.#take('+', '-')) {
      const next = this.#product()
      value = sign === '+' ? value + next : value - next
    }
    return value
  }

  #product(): bigint {
    let value = this.#atom()
    while (this.#take('*') !== undefined) value *= this.#atom()
    return value
  }

  #atom(): bigint {
    if (this.#take('(') !== undefined) {
      const value = this.#shift()
      if (this.#take(')') === undefined) throw new Error(`${this.#where}: unbalanced`)
      return value
    }
    const token = this.#tokens[this.#at] ?? ''
    this.#at += 1
    if (!/^(0x[0-9a-f]+|\d+)n$/i.test(token)) throw new Error(`${this.#where}: at "${token}"`)
    return BigInt(token.slice(0, -1))
  }
}

/** Enumerators of `enum name` or `enum class name` in native/`file`, with their values. */
export function nativeEnum(file: string, name: string): Map<string, number> {
  const found = new RegExp(`\\benum (?:class )?${name}\\b[^{;]*\\{([^}]*)\\}`).exec(sourceOf(file))
  if (found === null) throw new Error(`native/${file}: no enum ${name}`)
  const result = new Map<string, number>()
  let next = 0
  for (const part of (found[1] ?? '').split(',')) {
    const [, enumerator, value] = /^\s*(k\w+)\s*(?:=\s*(.+?))?\s*$/s.exec(part) ?? []
    if (enumerator === undefined) continue
    if (value !== undefined) next = evaluate(value, `${file}: ${enumerator}`)
    result.set(enumerator, next)
    next += 1
  }
  return result
}

/** The value of a constexpr number in native/`file`. */
export function nativeConstant(file: string, name: string): number {
  const found = new RegExp(`\\bconstexpr [\\w:]+ ${name} =([^;]+);`).exec(sourceOf(file))
  if (found === null) throw new Error(`native/${file}: no constant ${name}`)
  return evaluate(found[1] ?? '', `native/${file}: ${name}`)
}

/** The value of a constexpr string in native/`file`. */
export function nativeString(file: string, name: string): string {
  const found = new RegExp(`\\bconstexpr char ${name}\\[\\d*\\] = "([^"]*)";`).exec(sourceOf(file))
  if (found === null) throw new Error(`native/${file}: no string ${name}`)
  return found[1] ?? ''
}
