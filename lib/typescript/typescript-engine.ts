/** The engine in TypeScript alone: databases and trees on the thread of their environment. */

import type {
  BareTreeEngine,
  DatabaseEngine,
  DatabaseSettings,
  Engine,
  TreeEngineSettings,
} from '../engine.ts'
import { run, runSync } from './base/flow.ts'
import type { Flow } from './base/flow.ts'
import { keepAlive } from './base/keep-alive.ts'
import { DatabaseHandle } from './db/registry.ts'
import { StandaloneTree } from './db/standalone-tree.ts'
import { TypescriptDatabase } from './typescript-database.ts'
import { givenStrategy } from './typescript-strategy.ts'
import { TypescriptTree } from './typescript-tree.ts'
import { realVfs } from './vfs/real-vfs.ts'

/** The engine of this environment. */
export function typescriptEngine(): Engine {
  return engine
}

const engine: Engine = {
  name: 'typescript',

  async openDatabase(path: string, settings: DatabaseSettings): Promise<DatabaseEngine> {
    return keepAlive(run(openDatabase(path, settings)))
  },

  openDatabaseSync(path: string, settings: DatabaseSettings): DatabaseEngine {
    return runSync(openDatabase(path, settings))
  },

  async openTree(path: string, settings: TreeEngineSettings): Promise<BareTreeEngine> {
    return keepAlive(run(openTree(path, settings)))
  },

  openTreeSync(path: string, settings: TreeEngineSettings): BareTreeEngine {
    return runSync(openTree(path, settings))
  },
}

function* openDatabase(path: string, settings: DatabaseSettings): Flow<DatabaseEngine> {
  return new TypescriptDatabase(yield* DatabaseHandle.open(realVfs, path, settings))
}

function* openTree(path: string, settings: TreeEngineSettings): Flow<BareTreeEngine> {
  const strategy = givenStrategy(settings.tree.compaction)
  return new TypescriptTree(yield* StandaloneTree.open(realVfs, path, settings, strategy))
}
