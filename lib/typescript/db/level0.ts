/** What of level 0 weighs on writers. */

import { toleratedLevel0Runs } from '../../strategy.ts'
import { DEFAULT_SETTINGS } from '../tree/options.ts'
import type { Keyspace } from './keyspace.ts'
import { LEVEL0_RUNS_MAX } from './write-control.ts'

const BY_DEFAULT = toleratedLevel0Runs(DEFAULT_SETTINGS.compaction)

/**
 * Runs in level 0 that weigh on writers: of those that the strategy leaves alone on purpose only as
 * many as it leaves by default. What it has left alone when it was asked is on purpose, however
 * many that are: no compaction would ever take them off the writers.
 */
export function level0Debt({ tree, level0Left }: Keyspace, runs: number): number {
  const tolerated = Math.max(toleratedLevel0Runs(tree.settings.compaction), level0Left)
  return Math.max(0, runs - Math.max(0, tolerated - BY_DEFAULT))
}

export function isLevel0Full(keyspace: Keyspace): boolean {
  return level0Debt(keyspace, keyspace.tree.level0Runs) >= LEVEL0_RUNS_MAX
}
