// The engine of a conformance test. Each project of vitest.config.ts provides one: `native`,
// `typescript`, or `alternating`, under which a directory changes its engine whenever it is opened
// again. A test that opens a directory while it is open says so with `engine`.

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

/** Who opens `path` next. The first one follows from the seed and the last part of the path. */
export function nextEngine(path: string): Engine {
  const provided = inject('engine')
  if (provided !== 'alternating') return provided
  let turns = openings.get(path)
  if (turns === undefined) {
    const opened: Engine[] = []
    onTestFailed(() => console.log(`${path} was opened by ${opened.join(', ')}`))
    openings.set(path, (turns = opened))
  }
  const draw = testSeed() + hash(basename(path)) + turns.length
  const engine = draw % 2 === 0 ? 'native' : 'typescript'
  turns.push(engine)
  return engine
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
