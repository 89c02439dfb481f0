// The upkeep to its end, on random versions: every plan is progress, no read can tell, and what is
// due at the end is due for a reason.

import { describe, expect, test } from 'vitest'
import type { LeveledSetting, PlanData } from '../../../lib/engine.ts'
import type { TableSummary } from '../../../lib/table-summary.ts'
import { chooseUpkeep, isDense } from '../../../lib/upkeep.ts'
import { scaled, testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'

const KEYS = 60
const VERSIONS = 100
const NOW = 1_000_000
const LEVELS = 7
/** Milliseconds; most machines need a hundredth of it. */
const TIMEOUT = 300_000

interface Entry {
  readonly key: number
  readonly seqno: number
  readonly isTombstone: boolean
}
interface Table extends TableSummary {
  /** By key, of one key the newest first. */
  readonly entries: readonly Entry[]
}
interface Run {
  readonly level: number
  tables: Table[]
}

function bytesOf(key: number): Buffer {
  return Buffer.from(String(key).padStart(3, '0'))
}

function covers({ entries }: Table, key: number): boolean {
  return entries[0]!.key <= key && key <= entries.at(-1)!.key
}

class Simulation {
  /** Newest first. */
  runs: Run[] = []
  readonly busy = new Set<number>()
  readonly #random: Random
  readonly #setting: LeveledSetting
  readonly #seenBelow: number
  #nextNumber = 1

  constructor(random: Random, setting: LeveledSetting, seen: number) {
    this.#random = random
    this.#setting = setting
    let seqno = 1
    for (let level = LEVELS - 1; level >= 0; level--) {
      const count = random.below(level === 0 ? 5 : 3)
      for (let i = 0; i < count; i++) {
        const density = random.below(5) / 4
        const entries = Array.from({ length: KEYS }, (_, key) => key)
          .filter(() => random.below(4) === 0)
          .map((key) => ({ key, seqno: seqno++, isTombstone: random.next() / 2 ** 32 < density }))
        const tables = this.#split(entries, [], () => random.below(NOW))
        if (tables.length > 0) this.runs.unshift({ level, tables })
      }
    }
    this.#seenBelow = Math.floor(seqno * seen)
  }

  get tables(): Table[] {
    return this.runs.flatMap(({ tables }) => tables)
  }

  #split(entries: readonly Entry[], fences: readonly number[], createdAt: () => number): Table[] {
    const tables: Table[] = []
    let from = 0
    for (const [i, { key }] of entries.entries()) {
      const next = entries[i + 1]
      if (next !== undefined && next.key === key) continue
      const isFenced = fences.some((fence) => key < fence && fence <= (next?.key ?? 0))
      if (next !== undefined && !isFenced && this.#random.below(6) > 0) continue
      const own = entries.slice(from, i + 1)
      from = i + 1
      tables.push({
        id: this.#nextNumber++,
        entries: own,
        size: own.length,
        itemCount: own.length,
        tombstoneCount: own.filter(({ isTombstone }) => isTombstone).length,
        weakTombstoneCount: 0,
        rangeTombstoneCount: 0,
        firstKey: bytesOf(own[0]!.key),
        lastKey: bytesOf(own.at(-1)!.key),
        highestSeqno: Math.max(...own.map(({ seqno }) => seqno)),
        createdAt: createdAt(),
      })
    }
    return tables
  }

  choose(): (PlanData & { kind: 'merge' }) | undefined {
    const levels = Array.from({ length: LEVELS }, (_, level) =>
      this.runs.filter((run) => run.level === level).map(({ tables }) => tables),
    )
    const context = { busyTables: this.busy, now: NOW, seenBelow: this.#seenBelow }
    const plan = chooseUpkeep(levels, this.#setting, context)
    if (plan === undefined) return undefined
    expect(plan.kind).toBe('merge')
    expect(new Set(plan.tables).size).toBe(plan.tables.length)
    expect(plan.tables.some((number) => this.busy.has(number))).toBe(false)
    return plan as PlanData & { kind: 'merge' }
  }

  /** The output goes to the run of the oldest input. */
  apply({ tables, destinationLevel }: PlanData & { kind: 'merge' }): void {
    const isInput = ({ id }: Table): boolean => tables.includes(id)
    const inputs = this.tables.filter(isInput)
    expect(inputs.length).toBe(tables.length)
    const destination = this.runs.findLast((run) => run.tables.some(isInput))!
    expect(destination.level).toBe(destinationLevel)
    const older = this.runs.slice(this.runs.indexOf(destination) + 1).flatMap((run) => run.tables)
    const kept = this.#kept(inputs, (key) => older.some((table) => covers(table, key)))
    for (const run of this.runs) run.tables = run.tables.filter((table) => !isInput(table))
    const fences = destination.tables.map(({ entries }) => entries[0]!.key)
    const added = this.#split(kept, fences, () => NOW)
    // Whatever runs beside it is in nobody's way.
    for (const { entries } of added) {
      const [low, high] = [entries[0]!.key, entries.at(-1)!.key]
      const met = destination.tables.filter((table) => {
        return table.entries[0]!.key <= high && low <= table.entries.at(-1)!.key
      })
      expect(met).toEqual([])
    }
    destination.tables = [...destination.tables, ...added].toSorted(
      (a, b) => a.entries[0]!.key - b.entries[0]!.key,
    )
    this.runs = this.runs.filter((run) => run.tables.length > 0)
  }

  /** As a job keeps them, with filters that never rule a key out. */
  #kept(inputs: readonly Table[], mayExistBelow: (key: number) => boolean): Entry[] {
    const entries = inputs
      .flatMap((table) => table.entries)
      .toSorted((a, b) => a.key - b.key || b.seqno - a.seqno)
    const kept: Entry[] = []
    for (const entry of entries) {
      const above = kept.at(-1)
      const isHidden = above?.key === entry.key && above.seqno < this.#seenBelow
      if (!isHidden) kept.push(entry)
    }
    return kept.filter(({ key, isTombstone }, i) => {
      return !isTombstone || kept[i + 1]?.key === key || mayExistBelow(key)
    })
  }

  /** What a read that sees so much finds, key by key. */
  rows(readSeqno: number): readonly (number | undefined)[] {
    return Array.from({ length: KEYS }, (_, key) => {
      const found = this.tables
        .flatMap(({ entries }) => entries)
        .find((entry) => entry.key === key && entry.seqno < readSeqno)
      return found === undefined || found.isTombstone ? undefined : found.seqno
    })
  }

  /** Falls with every plan: tombstones by the runs below them, and tables that are too old. */
  get measure(): number {
    const count = this.runs.length
    const tombstones = this.runs.map(({ tables }, i) => {
      return tables.reduce((sum, table) => sum + table.tombstoneCount, 0) * (count - i)
    })
    return tombstones.reduce((a, b) => a + b, this.tables.filter((one) => this.isOld(one)).length)
  }

  isOld({ createdAt }: Table): boolean {
    const { maxAgeSeconds } = this.#setting
    return maxAgeSeconds !== undefined && createdAt <= NOW - maxAgeSeconds * 1000
  }

  /** Why nothing more is done for a table that is dense. */
  isLeft(table: Table): boolean {
    const at = this.runs.findIndex(({ tables }) => tables.includes(table))
    const older = this.runs.slice(at + 1).flatMap(({ tables }) => tables)
    const meets = older.some(({ entries }) => {
      return !(
        entries.at(-1)!.key < table.entries[0]!.key || table.entries.at(-1)!.key < entries[0]!.key
      )
    })
    return !meets && table.highestSeqno >= this.#seenBelow
  }

  get reads(): readonly number[] {
    return [this.#seenBelow, this.#seenBelow + 20, Infinity]
  }
}

function draw(seed: number): { random: Random; simulation: Simulation; setting: LeveledSetting } {
  const random = new Random(seed)
  const setting: LeveledSetting = {
    type: 'leveled',
    name: 'leveled',
    l0Threshold: 4,
    // Nothing is too much.
    targetSize: 2 ** 30,
    levelRatio: [10],
    tombstoneShare: [0.1, 0.5, 1][random.below(3)]!,
    maxAgeSeconds: [undefined, undefined, 100, 700][random.below(4)],
  }
  const seen = [0, 0.5, 1, 2][random.below(4)]!
  return { random, setting, simulation: new Simulation(random, setting, seen) }
}

describe('the upkeep of a random version', { timeout: TIMEOUT }, () => {
  test('comes to its end, and no read can tell', () => {
    let plans = 0
    for (let i = 0; i < scaled(VERSIONS); i++) {
      const { simulation, setting } = draw(testSeed() + i)
      const before = simulation.reads.map((seqno) => simulation.rows(seqno))
      for (;;) {
        const plan = simulation.choose()
        if (plan === undefined) break
        const { measure } = simulation
        simulation.apply(plan)
        expect(simulation.measure).toBeLessThan(measure)
        plans++
      }
      expect(simulation.reads.map((seqno) => simulation.rows(seqno))).toEqual(before)
      const { tables } = simulation
      expect(tables.filter((table) => simulation.isOld(table))).toEqual([])
      const dense = tables.filter((table) => isDense(table, setting))
      expect(dense.filter((table) => !simulation.isLeft(table))).toEqual([])
    }
    expect(plans).toBeGreaterThan(scaled(VERSIONS))
  })

  test('does so with jobs that run side by side', () => {
    let together = 0
    for (let i = 0; i < scaled(VERSIONS); i++) {
      const { simulation, random } = draw(testSeed() - 1 - i)
      const before = simulation.reads.map((seqno) => simulation.rows(seqno))
      const jobs: (PlanData & { kind: 'merge' })[] = []
      for (;;) {
        const plan = jobs.length < 3 ? simulation.choose() : undefined
        if (plan !== undefined) {
          for (const number of plan.tables) simulation.busy.add(number)
          jobs.push(plan)
          if (jobs.length > 1) together++
          if (random.below(2) === 0) continue
        }
        if (jobs.length === 0) break
        const [job] = jobs.splice(random.below(jobs.length), 1) as [PlanData & { kind: 'merge' }]
        simulation.apply(job)
        for (const number of job.tables) simulation.busy.delete(number)
      }
      expect(simulation.reads.map((seqno) => simulation.rows(seqno))).toEqual(before)
    }
    expect(together).toBeGreaterThan(scaled(VERSIONS) / 10)
  })
})
