/**
 * Plans that drop tables. Twin of native/tree/drops.cc: the same choice from the same version.
 *
 * A table stays while an older one that it overlaps does: what it hides must not come to light.
 * Runs may overlap as they like.
 */

import type { FifoSetting, PlanData } from './engine.ts'
import {
  endsBefore,
  isBefore,
  type Levels,
  type Tables,
  type TableSummary,
} from './table-summary.ts'

/**
 * The first-in-first-out strategy, for data that ages: nothing is merged; dropped is what was
 * written `ttlSeconds` ago or longer, and then the oldest until `limit` bytes are left, counting
 * with a table what it points to in blob files.
 *
 * Costs a look at each table; and for one to be dropped, one at each older one that stays.
 */
export function chooseFifo(
  levels: Levels,
  setting: FifoSetting,
  busy: ReadonlySet<number>,
  now: number,
): PlanData | undefined {
  const { ttlSeconds, limit } = setting
  const drops = new Drops(levels, busy)
  if (ttlSeconds !== undefined) {
    const expiry = now - ttlSeconds * 1000
    drops.dropWhere(({ createdAt }) => createdAt <= expiry)
  }
  if (drops.size > limit) drops.dropWhere(() => drops.size > limit)
  return drops.plan()
}

/** The tables inside of the bounds: lower inclusive, upper exclusive, undefined = none. */
export function chooseDropRange(
  levels: Levels,
  lower: Uint8Array | undefined,
  upper: Uint8Array | undefined,
): PlanData | undefined {
  const drops = new Drops(levels, new Set())
  drops.dropWhere((table) => {
    const isBehind = lower === undefined || !isBefore(table.firstKey, lower)
    return isBehind && (upper === undefined || endsBefore(table, upper))
  })
  return drops.plan()
}

class Drops {
  /** The oldest first. */
  readonly #runs: readonly Tables[]
  readonly #busy: ReadonlySet<number>
  readonly #dropped = new Set<number>()
  /** Bytes of what is left; what a job has may be dropped already. */
  size: number

  constructor(levels: Levels, busy: ReadonlySet<number>) {
    this.#runs = levels.flat().toReversed()
    this.#busy = busy
    const idle = this.#runs.flat().filter(({ id }) => !busy.has(id))
    this.size = idle.reduce((sum, table) => sum + bytesOf(table), 0)
  }

  dropWhere(isDue: (table: TableSummary) => boolean): void {
    const kept: TableSummary[] = []
    for (const run of this.#runs) {
      const left = run.filter(({ id }) => !this.#dropped.has(id))
      for (const table of left.toSorted(byAge)) {
        if (this.#busy.has(table.id) || !isDue(table) || kept.some((one) => meet(one, table))) {
          continue
        }
        this.#dropped.add(table.id)
        this.size -= bytesOf(table)
      }
      kept.push(...left.filter(({ id }) => !this.#dropped.has(id)))
    }
  }

  plan(): PlanData | undefined {
    return this.#dropped.size === 0 ? undefined : { kind: 'drop', tables: [...this.#dropped] }
  }
}

/** With what it points to in blob files. */
function bytesOf({ size, blobs = [] }: TableSummary): number {
  return blobs.reduce((sum, { bytes }) => sum + bytes, size)
}

function byAge(a: TableSummary, b: TableSummary): number {
  return a.createdAt - b.createdAt || a.id - b.id
}

function meet(a: TableSummary, b: TableSummary): boolean {
  return !endsBefore(a, b.firstKey) && !endsBefore(b, a.firstKey)
}
