// Reads the files of the repository for tests that check how it is laid out.

import { readFileSync, readdirSync } from 'node:fs'
import { join, posix, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root: string = fileURLToPath(new URL('../..', import.meta.url))

/** One file: its path relative to the repository with forward slashes, and its lines. */
export interface SourceFile {
  readonly path: string
  readonly text: string
  readonly lines: readonly string[]
}

const skipped = /(^|\/)(node_modules|vendor[^/]*|dist|out|build|prebuilds|coverage|\.git)(\/|$)/

/** Every file below `dir` whose name matches `pattern`, made files and packages left out. */
export function readSources(dir: string, pattern: RegExp): SourceFile[] {
  return readdirSync(join(root, dir), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => relative(root, join(entry.path, entry.name)).replaceAll(sep, '/'))
    .filter((path) => !skipped.test(path))
    .toSorted()
    .map((path) => {
      const text = readFileSync(join(root, path), 'utf8')
      return { path, text, lines: text.split('\n') }
    })
}

/** One import of a module: where it points, and what kind it is. */
export interface ModuleImport {
  readonly specifier: string
  /** Repository path of a relative import, else undefined. */
  readonly path: string | undefined
  readonly kind: 'value' | 'type' | 'dynamic'
}

/** The imports and re-exports of a TypeScript module, dynamic ones included. */
export function importsOf(file: SourceFile): ModuleImport[] {
  const staticForm = /^(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?'([^']+)'/gm
  const dynamicForm = /\bimport\(\s*'([^']+)'\s*\)/g
  const resolve = (specifier: string): string | undefined =>
    specifier.startsWith('.') ? posix.join(posix.dirname(file.path), specifier) : undefined
  const statics = [...file.text.matchAll(staticForm)].map(([, type, specifier = '']) => ({
    specifier,
    path: resolve(specifier),
    kind: type === undefined ? ('value' as const) : ('type' as const),
  }))
  const dynamics = [...file.text.matchAll(dynamicForm)].map(([, specifier = '']) => ({
    specifier,
    path: resolve(specifier),
    kind: 'dynamic' as const,
  }))
  return [...statics, ...dynamics]
}

/** The words of a line, with camelCase and snake_case taken apart, in lower case. */
export function wordsOf(line: string): string[] {
  const spaced = line.replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2')
  return spaced.toLowerCase().match(/[a-z]+/g) ?? []
}
