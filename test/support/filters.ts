// Compaction filters for tests, and databases that have one.

import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { PATIENCE } from '../../lib/compaction-filter.ts'
import { LeveledCompaction } from '../../lib/index.ts'
import type {
  CompactionEntry,
  CompactionFilter,
  Database,
  DatabaseOptions,
  FilterVerdict,
  Keyspace,
  KeyspaceOptions,
  ReadOptions,
  Tree,
} from '../../lib/index.ts'
import { openDatabase } from './engine.ts'
import { PATIENT } from './patient.ts'
import { scratchDirectory } from './scratch.ts'

export { isFilterFailure, PATIENCE } from '../../lib/compaction-filter.ts'

/** A table that meets an older one is merged with it at once. */
export const EAGER: LeveledCompaction = new LeveledCompaction({ l0Threshold: 1 })

/** A filter with one answer for each entry. */
export function filterOf(
  verdict: (entry: CompactionEntry) => FilterVerdict,
  more: Partial<CompactionFilter> = {},
): CompactionFilter {
  return { name: 'test', filter: (entries) => entries.map(verdict), ...more }
}

/** Reads the verdict in the first word of a value; the rest replaces it. */
export function spoken({ value }: CompactionEntry): FilterVerdict {
  const [word, ...rest] = String(value).split(' ')
  if (word === 'remove' || word === 'removeWeak' || word === 'destroy') return word
  return word === 'replace' ? { replace: rest.join(' ') } : 'keep'
}

/** A filter whose answers stay open until `answer` is called; it may take as long as it takes. */
export class HeldFilter implements CompactionFilter {
  readonly name = 'held'
  readonly [PATIENCE] = 3_600_000
  readonly #verdict: (entry: CompactionEntry) => FilterVerdict
  readonly #open: (() => void)[] = []
  #asked: (() => void)[] = []
  batches = 0
  isOpen = false

  constructor(verdict: (entry: CompactionEntry) => FilterVerdict = () => 'keep') {
    this.#verdict = verdict
  }

  async filter(entries: readonly CompactionEntry[]): Promise<FilterVerdict[]> {
    this.batches++
    for (const told of this.#asked.splice(0)) told()
    if (!this.isOpen) await new Promise<void>((resolve) => this.#open.push(resolve))
    return entries.map(this.#verdict)
  }

  /** Until it is asked for the next time. */
  asked(): Promise<void> {
    return new Promise((resolve) => this.#asked.push(resolve))
  }

  /** Answers what is open and, from now on, at once. */
  answer(): void {
    this.isOpen = true
    for (const go of this.#open.splice(0)) go()
  }
}

export interface Filtered {
  readonly path: string
  readonly database: Database
  readonly keyspace: Keyspace
}

/** A database whose keyspace `k` has the filter. */
export async function openFiltered(
  filter: CompactionFilter | undefined,
  options: KeyspaceOptions = {},
  {
    path = join(scratchDirectory(), 'db'),
    ...more
  }: DatabaseOptions & { readonly path?: string } = {},
): Promise<Filtered> {
  const database = await openDatabase(path, { compactionFilters: () => filter, ...more })
  onTestFinished(() => database.close())
  const keyspace = await database.keyspace('k', { compaction: PATIENT, ...options })
  return { path, database, keyspace }
}

/** One table with these rows. */
export async function flushed(keyspace: Keyspace, rows: Record<string, string>): Promise<void> {
  for (const [key, value] of Object.entries(rows)) keyspace.insertSync(key, value)
  await keyspace.rotateMemtableAndWait()
}

/** All rows: `key=value key=value`. */
export function seen(keyspace: Pick<Keyspace, 'iter'>, options: ReadOptions = {}): string {
  const rows = keyspace.iter(options).toArraySync()
  return rows.map((row) => row.map(String).join('=')).join(' ')
}

/** Merges the tables of level 0 into another level, without what lies deeper. */
export async function mergeDown(keyspace: Keyspace, destinationLevel: number): Promise<void> {
  const tables = keyspace
    .version()
    .levels[0]!.flat()
    .map(({ id }) => id)
  await keyspace.compact({ kind: 'merge', tables, destinationLevel, targetSize: 2 ** 20 })
}

export interface Counts {
  items: number
  tombstones: number
  weak: number
}

/** What the tables hold, from level `from` on. */
export function countsIn(of: Pick<Keyspace | Tree, 'version'>, from = 0): Counts {
  const counts = { items: 0, tombstones: 0, weak: 0 }
  for (const table of of.version().levels.slice(from).flat(2)) {
    counts.items += table.itemCount
    counts.tombstones += table.tombstoneCount
    counts.weak += table.weakTombstoneCount
  }
  return counts
}
