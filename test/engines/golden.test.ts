// Directories that were written when the format was new (test/golden/write.mjs): both engines read
// them for ever, and find what was written.

import { createHash } from 'node:crypto'
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Database, ShaleError, Tree, type DatabaseOptions, type Engine } from '../../lib/index.ts'
import { scratchDirectory } from '../support/scratch.ts'

const golden = fileURLToPath(new URL('../golden/v1', import.meta.url))
const names = readdirSync(golden).filter((name) => !name.endsWith('.txt'))
const databases = names.filter((name) => !name.endsWith('-tree'))
const trees = names.filter((name) => name.endsWith('-tree'))
const ENGINES = ['native', 'typescript'] as const
const MODES = ['tail', 'strict', 'salvage'] as const

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** Opening writes. */
function copyOf(name: string): string {
  const copy = join(scratchDirectory(), name)
  cpSync(join(golden, name), copy, { recursive: true })
  return copy
}

function lineOf([key, value]: readonly [Buffer, Buffer]): string {
  const hex = key.toString('hex')
  const shown = hex.length > 200 ? `${hex.slice(0, 40)}... ${digest(Buffer.from(hex))}` : hex
  return `${shown} ${value.length} ${digest(value).slice(0, 16)}`
}

/** The lines of NAME.txt, in sections: before the first line with `word`, and behind each. */
function expectation(
  name: string,
  word: string,
): { head: string[]; sections: [string, string[]][] } {
  const lines = readFileSync(join(golden, `${name}.txt`), 'utf8')
    .trimEnd()
    .split('\n')
  const head: string[] = []
  const sections: [string, string[]][] = []
  for (const line of lines) {
    if (line.startsWith(`${word} `)) sections.push([line.slice(word.length + 1), []])
    else (sections.at(-1)?.[1] ?? head).push(line)
  }
  return { head, sections }
}

function openedAs(path: string, options: DatabaseOptions): string {
  try {
    const db = Database.openSync(path, options)
    const { commitsReplayed, bytesDropped, commitsDropped, files } = db.recovery
    db.closeSync()
    const figures = [commitsReplayed, bytesDropped, commitsDropped].map(String).join(' ')
    return `opened, ${figures} ${files.join(' ')}`.trim()
  } catch (error) {
    if (!(error instanceof ShaleError)) throw error
    return `${error.code} ${basename(error.path ?? '')} ${error.offset}`
  }
}

function expectContents(name: string, path: string, options: DatabaseOptions): void {
  const { sections } = expectation(name, 'keyspace')
  const db = Database.openSync(path, options)
  expect(db.listKeyspaceNames()).toEqual(sections.map(([keyspace]) => keyspace))
  for (const [keyspaceName, [settings, ...expected]] of sections) {
    const keyspace = db.keyspaceSync(keyspaceName)
    const { compaction, ...others } = JSON.parse(settings!.slice('options '.length)) as object & {
      compaction: object
    }
    expect(compaction).toEqual({})
    expect(keyspace.options).toMatchObject(others)
    const rows = keyspace.iter().toArraySync()
    expect(rows.map(lineOf)).toEqual(expected)
    expect(keyspace.iter({ reverse: true }).toArraySync()).toEqual(rows.toReversed())
    for (const [key, value] of rows) expect(keyspace.getSync(key)).toEqual(value)
    expect(keyspace.getSync('no such key')).toBe(undefined)
  }
  db.closeSync()
}

describe.each(databases)('%s', (name) => {
  test.each(ENGINES)('is opened by %s in each mode as when it was written', (engine) => {
    const { head } = expectation(name, 'keyspace')
    const found = MODES.map(
      (recovery) => `${recovery}: ${openedAs(copyOf(name), { engine, recovery })}`,
    )
    expect(found).toEqual(head)
  })

  test.each(ENGINES)('is read by %s, and by the other one after it', (engine) => {
    const path = copyOf(name)
    const other = ENGINES.find((one) => one !== engine)!
    expectContents(name, path, { engine, readOnly: true })
    expectContents(name, path, { engine })
    expectContents(name, path, { engine: other })
  })
})

describe.each(trees)('%s', (name) => {
  function expectTree(path: string, engine: Engine): void {
    const { head, sections } = expectation(name, 'at')
    const tree = Tree.openSync(path, { engine })
    expect([`gc seqno ${tree.gcSeqno}`, `highest seqno ${tree.highestSeqno}`]).toEqual(head)
    for (const [seqno, expected] of sections) {
      const rows = tree.iter(Number(seqno)).toArraySync()
      expect(rows.map(lineOf), `at ${seqno}`).toEqual(expected)
      for (const [key, value] of rows) expect(tree.getSync(key, Number(seqno))).toEqual(value)
    }
    tree.majorCompactionSync()
    tree.closeSync()
  }

  test.each(ENGINES)(
    'is read and compacted by %s, and read by the other one after it',
    (engine) => {
      const path = copyOf(name)
      expectTree(path, engine)
      expectTree(
        path,
        ENGINES.find((one) => one !== engine)!,
      )
    },
  )
})

// After the others: nothing that reads them has changed them.
test('every golden file is what it was, and none has come', () => {
  const files = readdirSync(golden, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(golden, join(entry.path, entry.name)))
    .filter((name) => name !== 'files.txt')
    .toSorted()
  const sums = files.map((name) => `${digest(readFileSync(join(golden, name)))}  ${name}\n`)
  expect(sums.join('')).toBe(readFileSync(join(golden, 'files.txt'), 'utf8'))
  expect(names.length).toBe(8)
})
