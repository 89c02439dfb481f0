// One directory, opened by one engine after the other in the midst of the operations, with a model
// beside it. Some openings find what a killed process leaves: a copy of the open directory.

import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Database, Tree, type Engine, type Keyspace, type TreeOptions } from '../../lib/index.ts'
import { scaled, quickDirectory, testSeed } from '../support/scratch.ts'
import { Draw } from './support/draw.ts'
import { copyOpen } from './support/images.ts'
import { expectSame } from './support/outcome.ts'

const DATABASE_SWAPS = scaled(180)
const TREE_SWAPS = scaled(120)
/** After so many a new directory with other options is begun. */
const SWAPS_A_LIFE = 60
const TIMEOUT = { timeout: 2_000 * DATABASE_SWAPS }
const seed = testSeed()

const OTHER = { native: 'typescript', typescript: 'native' } as const
type Rows = [Buffer, Buffer][]

function text(key: Uint8Array): string {
  return Buffer.from(key).toString('latin1')
}

function sorted(contents: ReadonlyMap<string, Buffer>): Rows {
  return [...contents]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => [Buffer.from(key, 'latin1'), value])
}

/** Leaves the directory as if the process that has it open had been killed. */
async function kill(path: string, close: () => Promise<void>): Promise<void> {
  const copy = `${path}.copy`
  copyOpen(path, copy)
  await close()
  rmSync(path, { recursive: true })
  renameSync(copy, path)
}

/** A database, and what it has to hold. */
class DatabaseLife {
  writes = 0
  readonly #draw: Draw
  readonly #path: string
  readonly #names: readonly string[]
  readonly #contents: readonly Map<string, Buffer>[]
  /** How often a key was written since its last removal: weak removals need to know. */
  readonly #since = new Map<string, number>()

  constructor(draw: Draw, path: string) {
    this.#draw = draw
    this.#path = path
    this.#names = ['first', 'second', 'third'].slice(0, draw.between(1, 3))
    this.#contents = this.#names.map(() => new Map())
  }

  /** Opens it, compares all that it holds, and goes on with it. */
  async turn(engine: Engine, title: string): Promise<void> {
    const draw = this.#draw
    const db = await Database.open(this.#path, { ...draw.databaseOptions(), engine })
    const keyspaces = await Promise.all(
      this.#names.map(async (name) => {
        const isNew = !db.keyspaceExists(name)
        const codecs = ['none', 'lz4', 'zstd'] as const
        const isSeparated = name === 'second'
        const separation = isSeparated ? { kvSeparation: draw.separation(codecs) } : {}
        const options = { ...draw.treeOptions(codecs), ...separation }
        return db.keyspace(name, isNew || draw.oneIn(8) ? options : {})
      }),
    )
    this.#compare(keyspaces, title)
    for (let steps = draw.below(16); steps > 0; steps--) {
      // oxlint-disable-next-line no-await-in-loop
      await this.#step(db, keyspaces)
    }
    if (draw.oneIn(4)) {
      await db.persist('os')
      await kill(this.#path, async () => db.close())
    } else if (draw.oneIn(2)) await db.close()
    else db.closeSync()
  }

  #compare(keyspaces: readonly Keyspace[], title: string): void {
    for (const [i, contents] of this.#contents.entries()) {
      const keyspace = keyspaces[i]!
      const expected = sorted(contents)
      const what = `${title}, ${keyspace.name}`
      expectRows(what, expected, keyspace.iter().toArraySync())
      expectRows(what, expected.toReversed(), keyspace.iter({ reverse: true }).toArraySync())
      for (const [key, value] of this.#some(expected)) {
        expect(value.equals(keyspace.getSync(key)!), what).toBe(true)
      }
      const absent = Buffer.from(`absent ${this.#draw.below(1000)}`)
      expect(keyspace.getSync(absent), what).toBe(undefined)
    }
  }

  #some(rows: Rows): Rows {
    return rows.filter(() => this.#draw.oneIn(5))
  }

  async #step(db: Database, keyspaces: readonly Keyspace[]): Promise<void> {
    const draw = this.#draw
    const keyspace = draw.pick(keyspaces)
    const step = draw.below(100)
    if (step < 80) return this.#write(db, keyspaces)
    if (step < 86) return this.#ingest(keyspaces)
    if (step < 93) return keyspace.rotateMemtableAndWait()
    if (step < 95) keyspace.rotateMemtable()
    else if (step < 97) await keyspace.majorCompaction({ targetSize: draw.pick([4096, 100_000]) })
    else await db.persist(draw.durability())
  }

  async #ingest(keyspaces: readonly Keyspace[]): Promise<void> {
    const draw = this.#draw
    const i = draw.below(keyspaces.length)
    const ingestion = await keyspaces[i]!.startIngestion()
    for (const [key, value] of draw.rows()) {
      const id = `${i} ${text(key)}`
      if (value === undefined) {
        if (this.#since.get(id) === 1) ingestion.writeWeakTombstone(key)
        else ingestion.writeTombstone(key)
        this.#contents[i]!.delete(text(key))
        this.#since.set(id, 0)
      } else {
        ingestion.write(key, value)
        this.#contents[i]!.set(text(key), value)
        this.#since.set(id, (this.#since.get(id) ?? 0) + 1)
      }
      this.writes++
    }
    if (draw.oneIn(2)) await ingestion.finish()
    else ingestion.finishSync()
  }

  async #write(db: Database, keyspaces: readonly Keyspace[]): Promise<void> {
    const draw = this.#draw
    const batch = db.batch()
    // A removal that its batch overrides is none: what counts is how it was before the batch.
    const before = new Map<string, number>()
    for (let count = draw.pick([1, 1, 2, 20]); count > 0; count--) {
      const i = draw.below(keyspaces.length)
      const key = draw.key()
      const id = `${i} ${text(key)}`
      if (!before.has(id)) before.set(id, this.#since.get(id) ?? 0)
      if (draw.oneIn(4)) {
        // A weak removal of what the batch wrote itself would meet nothing.
        const isWeak = this.#since.get(id) === 1 && count === 1 && batch.length === 0
        if (isWeak) batch.removeWeak(keyspaces[i]!, key)
        else batch.remove(keyspaces[i]!, key)
        this.#contents[i]!.delete(text(key))
        this.#since.set(id, 0)
      } else {
        const value = draw.value()
        batch.insert(keyspaces[i]!, key, value)
        this.#contents[i]!.set(text(key), value)
        this.#since.set(id, before.get(id)! + 1)
      }
      this.writes++
    }
    const durability = draw.durability()
    if (draw.oneIn(3)) await batch.commit({ durability })
    else batch.commitSync({ durability })
  }
}

/** Contents of a tree at each seqno are what was written below it. */
class TreeLife {
  writes = 0
  readonly #draw: Draw
  readonly #path: string
  readonly #versions = new Map<string, [seqno: number, value: Buffer | undefined][]>()
  readonly #isSeparated: boolean
  #seqno = 1
  #gcSeqno = 0

  constructor(draw: Draw, path: string) {
    this.#draw = draw
    this.#path = path
    this.#isSeparated = draw.oneIn(2)
  }

  #options(): TreeOptions {
    const draw = this.#draw
    const codecs = ['none', 'lz4'] as const
    const options = draw.treeOptions(codecs)
    return this.#isSeparated ? { ...options, kvSeparation: draw.separation(codecs) } : options
  }

  async turn(engine: Engine, title: string): Promise<void> {
    const draw = this.#draw
    const options = this.writes === 0 || draw.oneIn(8) ? this.#options() : {}
    const tree = await Tree.open(this.#path, { ...options, engine })
    expect(tree.gcSeqno, title).toBe(this.#gcSeqno)
    for (const seqno of [this.#seqno, draw.between(this.#gcSeqno, this.#seqno)]) {
      const what = `${title}, at ${seqno}`
      const contents = this.#at(seqno)
      const expected = sorted(contents)
      expectRows(what, expected, tree.iter(seqno).toArraySync())
      expectRows(what, expected.toReversed(), tree.iter(seqno, { reverse: true }).toArraySync())
      for (const key of [...this.#versions.keys()].filter(() => draw.oneIn(10))) {
        const value = tree.getSync(Buffer.from(key, 'latin1'), seqno)
        expect(value, what).toEqual(contents.get(key))
      }
    }
    for (let steps = draw.below(40); steps > 0; steps--) this.#step(tree)
    tree.flushSync()
    if (draw.oneIn(4)) {
      // The seqno that was set is recorded by jobs and at close.
      this.#gcSeqno = 0
      await kill(this.#path, async () => tree.close())
      const again = await Tree.open(this.#path, { engine: OTHER[engine] })
      this.#gcSeqno = again.gcSeqno
      await again.close()
    } else await tree.close()
  }

  #at(seqno: number): Map<string, Buffer> {
    const contents = new Map<string, Buffer>()
    for (const [key, versions] of this.#versions) {
      const value = versions.findLast(([written]) => written < seqno)?.[1]
      if (value !== undefined) contents.set(key, value)
    }
    return contents
  }

  #step(tree: Tree): void {
    const draw = this.#draw
    const step = draw.below(100)
    if (step < 87) this.#write(tree)
    else if (step < 90) this.#ingest(tree)
    else if (step < 94) tree.flushSync()
    else if (step < 97) tree.compactSync(draw.strategy())
    else if (step < 98) tree.majorCompactionSync({ targetSize: draw.pick([4096, 100_000]) })
    else {
      this.#gcSeqno = draw.between(this.#gcSeqno, this.#seqno)
      tree.setGcSeqno(this.#gcSeqno)
    }
  }

  #write(tree: Tree): void {
    const key = this.#draw.key()
    const seqno = this.#seqno++
    const value = this.#draw.oneIn(4) ? undefined : this.#draw.value()
    this.#written(key, value, seqno)
    if (value === undefined) tree.removeSync(key, seqno)
    else tree.insertSync(key, value, seqno)
  }

  #ingest(tree: Tree): void {
    const seqno = this.#seqno++
    const ingestion = tree.startIngestionSync(seqno)
    for (const [key, value] of this.#draw.rows()) {
      this.#written(key, value, seqno)
      if (value === undefined) ingestion.writeTombstone(key)
      else ingestion.write(key, value)
    }
    ingestion.finishSync()
  }

  #written(key: Buffer, value: Buffer | undefined, seqno: number): void {
    const versions = this.#versions.get(text(key)) ?? []
    this.#versions.set(text(key), versions)
    versions.push([seqno, value])
    this.writes++
  }
}

function expectRows(title: string, expected: Rows, found: Rows): void {
  const isSame = (row: Rows[number], i: number): boolean =>
    row[0].equals(found[i]![0]) && row[1].equals(found[i]![1])
  if (expected.length === found.length && expected.every(isSame)) return
  const shown = (rows: Rows): [string, string][] =>
    rows.map(([key, value]) => [text(key), value.toString('latin1')])
  expectSame(title, shown(expected), shown(found))
}

test.each([
  ['a database', DATABASE_SWAPS, DatabaseLife],
  ['a bare tree', TREE_SWAPS, TreeLife],
] as const)('%s that changes hands', TIMEOUT, async (name, swaps, Life) => {
  const draw = new Draw(seed)
  let writes = 0
  let engine = draw.pick<Engine>(['native', 'typescript'])
  for (let swap = 0; swap < swaps;) {
    const directory = quickDirectory()
    const life = new Life(draw, join(directory, 'one'))
    for (let i = 0; i < SWAPS_A_LIFE && swap < swaps; i++, swap++) {
      engine = OTHER[engine]
      // oxlint-disable-next-line no-await-in-loop
      await life.turn(engine, `SEED=${seed}, swap ${swap} to ${engine}`)
    }
    writes += life.writes
    rmSync(directory, { recursive: true })
  }
  console.log(`${name}: ${swaps} swaps, ${writes} writes, SEED=${seed}`)
  expect(writes).toBeGreaterThan(swaps)
})
