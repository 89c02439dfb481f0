/**
 * Who decides what is compacted: a strategy of ours by its numbers, or one of the application,
 * which is stored by its name and has to be given again in each process.
 */

import type { PlanData } from '../../engine.ts'
import type { ShaleError } from '../../errors.ts'
import type { ChoiceContext } from '../../strategy.ts'
import { strategyFailure, strategyMissing } from '../../user-strategy.ts'
import type { Flow } from '../base/flow.ts'
import type { Tree } from '../tree/tree.ts'
import type { Keyspace } from './keyspace.ts'
import { nextRetry } from './retry.ts'

/** A strategy of the application. */
export interface Strategy {
  readonly name: string
  /** Throws why it has no answer. */
  choose(tree: Tree, context: ChoiceContext): PlanData | undefined
}

interface StrategiesParts {
  /** Undefined: every keyspace has the strategy that is stored. */
  readonly onLacking: (problem: ShaleError | undefined) => void
  readonly onFailure: (error: ShaleError) => void
  readonly after: (milliseconds: number, call: () => void) => void
  /** It is time to ask it. */
  readonly changed: (keyspace: Keyspace) => void
}

export class Strategies {
  readonly #parts: StrategiesParts
  readonly #lacking = new Map<Keyspace, ShaleError>()

  constructor(parts: StrategiesParts) {
    this.#parts = parts
  }

  /** Its options, or the strategy that was given, may be others now. */
  look(keyspace: Keyspace): void {
    keyspace.isStrategyPausing = false
    const { name, tree } = keyspace
    if (!keyspace.lacksStrategy) this.#lacking.delete(keyspace)
    else this.#lacking.set(keyspace, strategyMissing(tree.settings.compaction.name, name))
    const [first] = this.#lacking.values()
    this.#parts.onLacking(first)
  }

  /** One decision. A strategy of the application that fails wants nothing, and is asked later. */
  *choose(keyspace: Keyspace): Flow<PlanData | undefined> {
    const { tree, strategy } = keyspace
    if (tree.settings.compaction.type !== 'user') return tree.choosePlan()
    if (strategy === undefined || keyspace.isStrategyPausing) return undefined
    const context = yield* tree.strategyContext()
    try {
      const plan = strategy.choose(tree, context)
      // The end of the job that has one of its tables asks again.
      const isBusy = plan?.tables.some((id) => context.busyTables.has(id))
      if (plan !== undefined && isBusy !== true) checkPlan(strategy, tree, plan)
      keyspace.strategyRetry = 0
      return isBusy === true ? undefined : plan
    } catch (error) {
      this.#failed(keyspace, error as ShaleError)
      return undefined
    }
  }

  #failed(keyspace: Keyspace, error: ShaleError): void {
    const { onFailure, after, changed } = this.#parts
    onFailure(error)
    keyspace.isStrategyPausing = true
    keyspace.strategyRetry = nextRetry(keyspace.strategyRetry)
    after(keyspace.strategyRetry, () => {
      keyspace.isStrategyPausing = false
      changed(keyspace)
    })
  }
}

/** Nothing can have changed since it was asked. */
function checkPlan({ name }: Strategy, tree: Tree, plan: PlanData): void {
  try {
    tree.checkClaim(plan)
  } catch (cause) {
    throw strategyFailure(name, 'answered with a plan that cannot be carried out', cause)
  }
}
