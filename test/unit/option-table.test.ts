// docs/options.md is what the declarations in lib/ say, and names for each option the test that
// shows its effect. A row that is missing or stale fails, and so does an option without a test.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readSources, root } from '../support/source-files.ts'

interface Option {
  /** `Interface.member`. */
  readonly name: string
  readonly default: string
  /** The rest of its comment. */
  readonly effect: string
}

/** What a comment says, without its stars and breaks. */
function proseOf(comment: string): string {
  const lines = comment.replace(/^\s*\/\*\*|\*\/\s*$/g, '').split('\n')
  return lines
    .map((line) => line.trim().replace(/^\*\s?/, ''))
    .join(' ')
    .trim()
}

/** The members of an interface with the comments above them. */
function membersOf(owner: string, body: string): Option[] {
  const member = /^ {2}(?:readonly )?(\w+)(\??): /gm
  let from = 0
  return [...body.matchAll(member)].map((match) => {
    const [line, key = '', mark] = match
    const above = body.slice(from, match.index)
    from = match.index + line.length
    const comment = above.includes('/**') ? proseOf(above.slice(above.lastIndexOf('/**'))) : ''
    const [effect = '', stated] = comment.split(/\s*@default /)
    const fallback = mark === '?' ? 'none' : 'required'
    return { name: `${owner}.${key}`, default: stated ?? fallback, effect: effect.trim() }
  })
}

/** Every option of the interfaces that index.ts exports, in the order of their files. */
function declaredOptions(): Option[] {
  const options: Option[] = []
  const files = readSources('lib', /\.ts$/).filter(({ path }) => /^lib\/[^/]+$/.test(path))
  const names = wordsBetweenBraces(files.find(({ path }) => path === 'lib/index.ts')!.text)
  for (const { text } of files) {
    const interfaces = /^export interface (\w+Options|KeyRange)(?: extends .+)? \{\n([^]*?)^\}$/gm
    for (const [, owner = '', body = ''] of text.matchAll(interfaces)) {
      options.push(...membersOf(owner, body))
    }
    const union = /^\/\*\* (.*) \*\/\nexport type (FilterPolicy) = (.*)$/gm
    for (const [, effect = '', owner, alternatives = ''] of text.matchAll(union)) {
      for (const [, key] of alternatives.matchAll(/\{ (\w+): number \}/g)) {
        options.push({ name: `${owner}.${key}`, default: 'one of them', effect })
      }
    }
  }
  return options.filter(({ name }) => names.has(name.slice(0, name.indexOf('.'))))
}

function wordsBetweenBraces(text: string): Set<string> {
  const lists = [...text.matchAll(/\{([^}]*)\}/g)].map(([, list = '']) => list)
  return new Set(lists.join().match(/\w+/g))
}

/** By option: the title of the test that shows its effect. */
function shownEffects(): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const { text } of readSources('test/conformance/option-effects', /\.test\.ts$/)) {
    for (const [, name = '', effect = ''] of text.matchAll(/'option ([\w.]+): ([^']+)'/g)) {
      found.set(name, [...(found.get(name) ?? []), effect])
    }
  }
  return found
}

const cell = (of: string): string => of.replaceAll('|', '\\|').replaceAll('\n', ' ')

function table(options: readonly Option[], tests: ReadonlyMap<string, string[]>): string {
  const rows = options.map(({ name, default: value, effect }) =>
    [`\`${name}\``, value, effect, tests.get(name)?.[0] ?? 'NO TEST'].map(cell).join(' | '),
  )
  const head = ['option', 'default', 'what it is', 'its effect, as a test shows it']
  const line = head.map(() => '---')
  return [head.join(' | '), line.join(' | '), ...rows].map((row) => `| ${row} |`).join('\n')
}

test('every option has one test that shows its effect', () => {
  const options = declaredOptions()
  expect(options.length).toBeGreaterThan(50)
  const tests = shownEffects()
  const missing = options.filter(({ name }) => tests.get(name)?.length !== 1)
  expect(missing.map(({ name }) => name)).toEqual([])
  const declared = new Set(options.map(({ name }) => name))
  expect([...tests.keys()].filter((name) => !declared.has(name))).toEqual([])
})

test('docs/options.md is what the declarations and the tests say', () => {
  const text = readFileSync(join(root, 'docs/options.md'), 'utf8')
  const shown = text.slice(text.indexOf('| option |')).trimEnd()
  expect(shown).toBe(table(declaredOptions(), shownEffects()))
})
