/** A keyspace as the database keeps it: its tree, and what its upkeep has to remember. */

import type { Tree } from '../tree/tree.ts'
import type { Strategy } from './strategies.ts'

export class Keyspace {
  readonly id: number
  readonly name: string
  readonly tree: Tree
  isDeleted = false
  /** What decides where the stored strategy has its name; undefined: nobody gave one. */
  strategy: Strategy | undefined

  // --- upkeep ------------------------------------------------------------------------------------
  /** What of its memtables is counted in the bytes of all. */
  countedActive = 0
  countedSealed = 0
  isFlushQueued = false
  /** A flush waits until a compaction makes room in level 0. */
  isFlushHeld = false
  /** Its next flush does not wait for that. */
  flushesNow = false
  isCompactionQueued = false
  /** A compaction has failed: until the pause is over none is begun. */
  isCompactionPausing = false
  /** Runs in level 0 when the strategy was asked and wanted nothing. */
  level0Left = 0
  /** A timer waits for tables to become too old. */
  awaitsAge = false
  /** Compactions that run. */
  compactions = 0
  /** Plans of callers that run or wait for a claim. */
  wanted = 0
  /** Milliseconds until a failed job is tried again. */
  flushRetry = 0
  compactionRetry = 0
  strategyRetry = 0
  /** Its strategy has failed: it is not asked until the pause is over. */
  isStrategyPausing = false

  /** Whether the application has still to give the strategy that is stored. */
  get lacksStrategy(): boolean {
    const { type, name } = this.tree.settings.compaction
    return type === 'user' && this.strategy?.name !== name
  }

  constructor(tree: Tree) {
    this.id = tree.id
    this.name = tree.name
    this.tree = tree
  }
}
