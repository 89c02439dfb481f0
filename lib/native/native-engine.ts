/** The native engine: databases and trees in the C++ core. */

import type {
  BareTreeEngine,
  DatabaseEngine,
  DatabaseSettings,
  Engine,
  TreeEngineSettings,
} from '../engine.ts'
import { ShaleError } from '../errors.ts'
import { door, loadFailure, META, type GivenTreeSettings } from './addon.ts'
import { announce, asNumber, outcome } from './completions.ts'
import { failure } from './failure.ts'
import { givenFilter } from './filters.ts'
import { NativeDatabase } from './native-database.ts'
import { NativeTree } from './native-tree.ts'
import { META_HANDLE, META_STATUS } from './protocol.ts'
import { answerQuestions } from './questions.ts'
import { doorSettings } from './strategies.ts'

/**
 * The engine of this environment.
 *
 * @throws ShaleError NOT_SUPPORTED when no native binary loads here; `cause` says why
 */
export function nativeEngine(): Engine {
  const cause = loadFailure()
  if (cause !== undefined) throw new ShaleError('NOT_SUPPORTED', cause.message, { cause })
  if (!isServing) door.onQuestions(answerQuestions)
  isServing = true
  return engine
}

/** The core knows who answers its questions. */
let isServing = false

const engine: Engine = {
  name: 'native',

  openDatabase(path: string, settings: DatabaseSettings): Promise<DatabaseEngine> {
    announce()
    door.openDatabase(path, settings)
    return outcome(asNumber, engine).then(async (handle) => {
      const database = new NativeDatabase(handle, settings)
      try {
        database.giveFilters()
      } catch (error) {
        await database.close()
        throw error
      }
      return database
    })
  },

  openDatabaseSync(path: string, settings: DatabaseSettings): DatabaseEngine {
    door.openDatabaseSync(path, settings)
    const database = new NativeDatabase(made(), settings)
    try {
      database.giveFilters()
    } catch (error) {
      database.closeSync()
      throw error
    }
    return database
  },

  openTree(path: string, settings: TreeEngineSettings): Promise<BareTreeEngine> {
    announce()
    door.openTree(path, givenTree(settings))
    return outcome(asNumber, engine).then((handle) => NativeTree.open(handle, settings))
  },

  openTreeSync(path: string, settings: TreeEngineSettings): BareTreeEngine {
    door.openTreeSync(path, givenTree(settings))
    return NativeTree.open(made(), settings)
  },
}

function givenTree(settings: TreeEngineSettings): GivenTreeSettings {
  const { filter, tree } = settings
  return { ...settings, tree: doorSettings(tree), filter: filter && givenFilter(filter) }
}

/** The handle that the last call made; throws if it failed. */
function made(): number {
  const status = META[META_STATUS] as number
  if (status !== 0) throw failure(status)
  return META[META_HANDLE] as number
}
