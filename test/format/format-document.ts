// Reads docs/format.md: the tables behind its marker lines, and the bytes of its examples.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../support/source-files.ts'

/** One row of a `table` marker: a field of a structure. */
export interface Field {
  readonly offset: number | '+'
  readonly size: number | 'var'
  readonly name: string
  readonly meaning: string
}

/** One row of an `enum` or `constants` marker. */
export interface Named {
  readonly value: number
  readonly name: string
  readonly meaning: string
}

/** One line of an example: the bytes at an offset, and what the document says of them. */
export interface ExampleLine {
  readonly offset: number
  readonly bytes: Buffer
  readonly comment: string
}

export interface FormatDocument {
  readonly text: string
  readonly tables: ReadonlyMap<string, readonly Field[]>
  readonly enums: ReadonlyMap<string, readonly Named[]>
  readonly constants: ReadonlyMap<string, number>
  readonly examples: ReadonlyMap<string, readonly ExampleLine[]>
}

/** Cells of the rows below the two heading lines of a markdown table that starts at `at`. */
function rowsAt(lines: readonly string[], at: number, columns: readonly string[]): string[][] {
  const cells = (line: string): string[] =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim())
  const heading = cells(lines[at] ?? '')
  if (heading.join() !== columns.join() || lines[at + 1] !== `|${'---|'.repeat(columns.length)}`) {
    throw new Error(`docs/format.md:${at + 1}: not a table of ${columns.join(', ')}`)
  }
  const rows: string[][] = []
  for (let i = at + 2; lines[i]?.startsWith('|') === true; i++) {
    const row = cells(lines[i] ?? '')
    if (row.length !== columns.length) throw new Error(`docs/format.md:${i + 1}: wrong cells`)
    rows.push(row)
  }
  return rows
}

function wholeNumber(text: string, where: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`docs/format.md: ${where}: not a number: ${text}`)
  return Number(text)
}

/** The lines of a fenced example that starts at `at`. */
function exampleAt(lines: readonly string[], at: number): ExampleLine[] {
  const result: ExampleLine[] = []
  for (let i = at; lines[i] !== '```'; i++) {
    const line = lines[i] ?? ''
    const parts = /^([0-9a-f]{4}) {2}((?:[0-9a-f]{2} ?)+?)(?: {2,}(.*))?$/.exec(line)
    if (parts === null) throw new Error(`docs/format.md:${i + 1}: not a line of an example`)
    const [, offset = '', hex = '', comment = ''] = parts
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    result.push({ offset: parseInt(offset, 16), bytes, comment })
  }
  return result
}

function named(row: readonly string[], where: string): Named {
  const [value = '', name = '', meaning = ''] = row
  return { value: wholeNumber(value, where), name, meaning }
}

/** Reads `text`, or the document itself. A marker that is not followed by its table is an error. */
export function readFormatDocument(
  text: string = readFileSync(join(root, 'docs/format.md'), 'utf8'),
): FormatDocument {
  const lines = text.split('\n')
  const tables = new Map<string, readonly Field[]>()
  const enums = new Map<string, readonly Named[]>()
  const constants = new Map<string, number>()
  const examples = new Map<string, readonly ExampleLine[]>()
  for (const [i, line] of lines.entries()) {
    const [, type, name = ''] =
      /^<!-- (table|enum|constants|example): ([a-z-]+) -->$/.exec(line) ?? []
    if (type === 'table') {
      const rows = rowsAt(lines, i + 1, ['offset', 'size', 'field', 'meaning'])
      const fields = rows.map(([offset = '', size = '', field = '', meaning = '']): Field => ({
        offset: offset === '+' ? '+' : wholeNumber(offset, name),
        size: size === 'var' ? 'var' : wholeNumber(size, name),
        name: field,
        meaning,
      }))
      tables.set(name, fields)
    } else if (type === 'enum') {
      const rows = rowsAt(lines, i + 1, ['value', 'name', 'meaning'])
      enums.set(
        name,
        rows.map((row) => named(row, name)),
      )
    } else if (type === 'constants') {
      for (const [constant = '', value = ''] of rowsAt(lines, i + 1, [
        'name',
        'value',
        'meaning',
      ])) {
        constants.set(constant, wholeNumber(value, constant))
      }
    } else if (type === 'example' && lines[i + 1] === '```hex') {
      examples.set(name, exampleAt(lines, i + 2))
    }
  }
  return { text, tables, enums, constants, examples }
}

/** The bytes of an example from its first offset on. Lines must follow each other without gaps. */
export function exampleBytes(example: readonly ExampleLine[]): Buffer {
  const begin = example[0]?.offset ?? 0
  let end = begin
  for (const line of example) {
    if (line.offset !== end) throw new Error(`an example jumps from ${end} to ${line.offset}`)
    end += line.bytes.length
  }
  return Buffer.concat(example.map((line) => line.bytes))
}
