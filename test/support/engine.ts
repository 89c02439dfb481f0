// Opening on the engine whose turn it is. A test that opens a directory while it is open says so
// with `engine`.

import { Database, Tree } from '../../lib/index.ts'
import type { DatabaseOptions, TreeOptions } from '../../lib/index.ts'
import { nextEngine } from './next-engine.ts'

export function openDatabase(path: string, options?: DatabaseOptions): Promise<Database> {
  return Database.open(path, { engine: nextEngine(path), ...options })
}

export function openDatabaseSync(path: string, options?: DatabaseOptions): Database {
  return Database.openSync(path, { engine: nextEngine(path), ...options })
}

export function openTree(path: string, options?: TreeOptions): Promise<Tree> {
  return Tree.open(path, { engine: nextEngine(path), ...options })
}

export function openTreeSync(path: string, options?: TreeOptions): Tree {
  return Tree.openSync(path, { engine: nextEngine(path), ...options })
}
