// The engine of a conformance test. Each project of vitest.config.ts provides one: `native`,
// `typescript`, or `alternating`, under which a directory changes its engine whenever it is opened
// again. A test that opens a directory while it is open says so with `engine`.

import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { hash } from 'fast-check'
import { inject, onTestFailed } from 'vitest'
import { Database, Tree } from '../../lib/index.ts'
import type { DatabaseOptions, Engine, TreeOptions } from '../../lib/index.ts'
import { testSeed } from './scratch.ts'

declare module 'vitest' {
  interface ProvidedContext {
    engine: Engine | 'alternating'
  }
}

/** Under `alternating`: who opened each directory, in order. */
const openings = new Map<string, Engine[]>()

/** Who opens `path` next. A new directory begins with what the seed and its name draw. */
export function nextEngine(path: string): Engine {
  const provided = inject('engine')
  if (provided !== 'alternating') return provided
  const known = existsSync(path) ? openings.get(path) : undefined
  const turns = known ?? []
  const first = (testSeed() + hash(basename(path))) % 2
  const next = (first + turns.length) % 2 === 0 ? 'native' : 'typescript'
  turns.push(next)
  if (known === undefined) {
    openings.set(path, turns)
    onTestFailed(() => console.log(`${path} was opened by ${turns.join(', ')}`))
  }
  return next
}

/** Database.open on the engine whose turn it is. */
export function openDatabase(path: string, options?: DatabaseOptions): Promise<Database> {
  return Database.open(path, { engine: nextEngine(path), ...options })
}

export function openDatabaseSync(path: string, options?: DatabaseOptions): Database {
  return Database.openSync(path, { engine: nextEngine(path), ...options })
}

/** Tree.open on the engine whose turn it is. */
export function openTree(path: string, options?: TreeOptions): Promise<Tree> {
  return Tree.open(path, { engine: nextEngine(path), ...options })
}

export function openTreeSync(path: string, options?: TreeOptions): Tree {
  return Tree.openSync(path, { engine: nextEngine(path), ...options })
}
