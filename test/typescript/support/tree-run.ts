// A tree whose jobs overlap in every way: what waits goes on in an order drawn from a seed, with
// sync calls in its midst, and the machine crashes at every operation.

import { expect } from 'vitest'
import type { ApplicationFilterSource, CheckedVerdict, FilterEntry } from '../../../lib/engine.ts'
import { ShaleError } from '../../../lib/errors.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import { keepEverything, keepNothing, keepRandom } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { CrashPolicy } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { LateVfs } from './late-vfs.ts'
import { newMachine } from './machine.ts'
import { Random } from './random.ts'
import { TreeModel } from './tree-model.ts'
import { Turns } from './turns.ts'

const STEPS = 60
/** Few keys meet in every job; many fill several levels. */
const KEYS = [7, 160]

class TreeRun {
  readonly random: Random
  readonly #keys: number
  readonly #hasRanges: boolean
  readonly #isFiltered: boolean
  readonly model: TreeModel
  readonly turns: Turns
  /** Calls that are not answered. */
  pending = 0
  images = 0
  hasReopened = false
  readonly unexpected: unknown[] = []

  constructor(seed: number) {
    this.random = new Random(seed)
    this.#keys = KEYS[seed % KEYS.length]!
    this.#hasRanges = seed % 3 > 0
    this.#isFiltered = seed % 4 === 1
    const machine = newMachine()
    const late = new LateVfs(machine)
    this.model = new TreeModel(machine, {
      isSeparated: seed % 5 > 1,
      ...(this.#isFiltered && { filter: this.#filter(late) }),
      vfs: late,
      beforeFlushCommit: function* () {
        yield* late.pause
      },
    })
    this.turns = new Turns(late, this.random)
    machine.onOperation = () => this.#crash()
  }

  /** Replaces values by the same ones, and says so at once or later. */
  #filter(late: LateVfs): ApplicationFilterSource {
    const verdict = ({ value }: FilterEntry): CheckedVerdict => {
      return this.random.below(4) === 0 ? new Uint8Array(value!) : 0
    }
    return {
      type: 'application',
      name: 'the same',
      keyspace: undefined,
      needsBlobValues: true,
      patience: Infinity,
      judge: (entries) => {
        const verdicts = entries.map(verdict)
        if (this.random.below(3) === 0) return verdicts
        return late.pause.async().then(() => verdicts)
      },
    }
  }

  #crash(): void {
    const { machine } = this.model
    const policies: CrashPolicy[] = [
      keepNothing,
      keepEverything,
      keepRandom(() => this.random.below(1000) / 1000),
    ]
    try {
      this.model.checkImage(machine.crash(policies[this.images++ % policies.length]!))
    } catch (error) {
      this.unexpected.push(['in an image', error])
    }
  }

  /** It may find that others were faster, or that the tree was closed. */
  begin(flow: Flow<unknown>): void {
    this.pending++
    run(flow)
      .catch((error: unknown) => this.#excuse(error))
      .finally(() => this.pending--)
  }

  now(flow: Flow<unknown>): void {
    try {
      runSync(flow)
    } catch (error) {
      this.#excuse(error)
    }
  }

  #excuse(error: unknown): void {
    const codes = ['ABORTED', 'PLAN_STALE', 'INVALID_ARGUMENT']
    if (!(error instanceof ShaleError) || !codes.includes(error.code)) this.unexpected.push(error)
  }

  step(): void {
    const { model, random } = this
    const lot = random.below(100)
    if (this.#hasRanges && random.below(12) === 0) {
      this.#removeRange()
    } else if (lot < 40) {
      for (let left = 1 + random.below(this.#keys); left > 0; left--) {
        const kind = random.below(3) === 0 ? 1 : 0
        model.write(`key ${random.below(this.#keys)}`, kind, random.below(90))
      }
    } else if (lot < 45) model.tree.rotate()
    else if (lot < 60) this.begin(model.flush())
    else if (lot < 66) this.now(model.flush())
    else if (lot < 76) this.begin(model.compact())
    else if (lot < 80) this.now(model.compact())
    else if (lot < 84) this.begin(this.#plan())
    else if (lot < 87) this.#major()
    else if (lot < 90) this.now(model.tree.takeOver())
    else if (lot < 94) model.snapshot()
    else if (lot < 97) model.snapshots.splice(random.below(model.snapshots.length), 1)
    else {
      this.hasReopened = true
      model.reopen()
    }
  }

  #removeRange(): void {
    const { model, random } = this
    const [a, b] = [random.below(this.#keys), random.below(this.#keys)].map((i) => `key ${i}`)
    if (random.below(4) === 0) model.removeRange(random.below(2) === 0 ? a! : '\0', undefined)
    else if (a !== b) model.removeRange(a! < b! ? a! : b!, a! < b! ? b! : a!)
  }

  /** Seldom where there are many keys: it leaves one level. */
  #major(): void {
    const { model, random } = this
    if (this.#keys > 10 && random.below(8) > 0) return
    const flow = model.major(100 + random.below(2000))
    if (random.below(2) === 0) this.begin(flow)
    else this.now(flow)
  }

  /** Some tables somewhere: as a user might want it, and a tree refuse it. */
  *#plan(): Flow<void> {
    const { tree } = this.model
    const { random } = this
    const tables = tree.superVersion.version
      .tables()
      .map(({ meta }) => meta.fileNumber)
      .filter(() => random.below(3) === 0)
    const destinationLevel = random.below(7)
    const plan =
      random.below(2) === 0
        ? ({ kind: 'merge', tables, destinationLevel, targetSize: 600 } as const)
        : ({ kind: 'move', tables, destinationLevel } as const)
    yield* tree.compact(tree.claim(plan))
  }

  check(): void {
    expect(this.unexpected).toEqual([])
    this.model.checkReads()
  }
}

/** One run; throws what is wrong. How many crashes it has seen. */
export async function runTree(seed: number): Promise<number> {
  const one = new TreeRun(seed)
  try {
    for (let step = 0; step < STEPS; step++) {
      one.step()
      one.check()
      await one.turns.some()
      one.check()
    }
    await one.turns.rest()
    expect(one.pending).toBe(0)
    one.check()
    one.now(one.model.flush())
    await one.turns.rest()
    one.check()
    // No reads of before a filter are left.
    one.model.tree.releaseHeld({ snapshots: [], visible: Infinity })
    await one.turns.rest()
    // What a close left behind is removed by the next open.
    if (!one.hasReopened) one.model.checkFiles()
    expect(one.model.tree.superVersion.sealed).toEqual([])
    expect(one.model.tree.history()).toHaveLength(1)
    one.model.reopen()
    one.model.check()
    one.model.close()
    expect(one.model.machine.openFiles).toBe(0)
  } catch (error) {
    throw new Error(`SEED=${seed}`, { cause: error })
  }
  return one.images
}
