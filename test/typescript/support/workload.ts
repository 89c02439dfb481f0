// A writer without a database: it commits, syncs, seals journals, flushes, creates and deletes
// keyspaces, all by the rules of docs/format.md, 5.3, in an order drawn from a seed. It knows what
// every number of commits looks like.

import { expect } from 'vitest'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { LogWriter } from '../../../lib/typescript/journal/log-writer.ts'
import { JournalManager } from '../../../lib/typescript/journal/manager.ts'
import { DATABASE } from '../../../lib/typescript/tree/manifest-edit.ts'
import { Manifest } from '../../../lib/typescript/tree/manifest.ts'
import { Tree } from '../../../lib/typescript/tree/tree.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { Random } from './random.ts'
import { batchBytes, contextOf, entryBytes, journalPath, OPTIONS } from './recoveries.ts'
import type { Contents } from './recoveries.ts'

const KEYS = 25

export class Workload {
  readonly vfs: MemVfs
  /** The last commit that a sync covered. */
  durable = 0
  readonly #random: Random
  readonly #manifest: Manifest
  readonly #journals: JournalManager
  readonly #trees = new Map<number, Tree>()
  /** Deleted ones that the manifest still names. */
  readonly #gone: Tree[] = []
  /** What a reader sees after so many commits. */
  readonly #states: Contents[] = [{}]

  constructor(random: Random) {
    this.#random = random
    this.vfs = new MemVfs()
    this.vfs.makeDir('/db').sync()
    this.vfs.syncDir('/').sync()
    this.#manifest = runSync(Manifest.create(this.vfs, '/db', DATABASE))
    this.#journals = new JournalManager(this.#newJournal())
    this.#createKeyspace()
  }

  /** How many commits a state is; it must be one that was. */
  prefixOf(contents: Contents): number {
    const texts = this.#states.map((state) => textOf(state))
    const found = texts.lastIndexOf(textOf(contents))
    expect(found, textOf(contents)).toBeGreaterThanOrEqual(0)
    return found
  }

  run(steps: number): void {
    for (let i = 0; i < steps; i++) this.#step()
  }

  #step(): void {
    const lot = this.#random.below(100)
    if (lot < 60) this.#commit()
    else if (lot < 72) this.#sync()
    else if (lot < 80) this.#journals.witness()
    else if (lot < 87) this.#rotate()
    else if (lot < 94) this.#flush()
    else if (lot < 97 && this.#trees.size < 4) this.#createKeyspace()
    else if (this.#trees.size > 1) this.#deleteKeyspace()
  }

  get #last(): number {
    return this.#states.length - 1
  }

  #append(count: number, payload: Uint8Array, state: Contents): number {
    const seqno = this.#states.length
    this.#states.push(state)
    this.#journals.append(count, seqno, payload)
    return seqno
  }

  #commit(): void {
    const trees = [...this.#trees.values()]
    const state: Record<string, Record<string, string>> = structuredClone(this.#states.at(-1)!)
    const entries = Array.from({ length: 1 + this.#random.below(4) }, () => {
      const tree = trees[this.#random.below(trees.length)]!
      const key = `key ${this.#random.below(KEYS)}`
      const isRemoval = this.#random.below(5) === 0
      const value = isRemoval ? undefined : `${this.#states.length} `.repeat(this.#random.below(40))
      if (value === undefined) delete state[tree.name]![key]
      else state[tree.name]![key] = value
      return { tree: tree.id, key, value }
    })
    const seqno = this.#append(entries.length, batchBytes(entries), state)
    for (const { tree, key, value } of entries) {
      const [k, v] = [Buffer.from(key), Buffer.from(value ?? '')]
      const kind = value === undefined ? 1 : 0
      this.#trees.get(tree)!.insert(kind, seqno, k, 0, k.length, v, 0, v.length)
    }
  }

  #sync(): void {
    const last = this.#last
    runSync(this.#journals.sync())
    this.durable = last
    const unrecorded = this.#journals.unrecorded()
    if (unrecorded.length === 0 || this.#random.below(2) === 0) return
    const journalsSealed = unrecorded.map(({ number, bytes }) => ({ file: number, length: bytes }))
    runSync(this.#manifest.commit({ journalsSealed }))
    for (const { number } of unrecorded) this.#journals.markRecorded(number)
    this.#tellDeletions()
    this.#evict()
  }

  /** After a sync, and before the record of one may go with its journal. */
  #tellDeletions(): void {
    const gone = this.#gone.splice(0)
    if (gone.length === 0) return
    runSync(this.#manifest.commit({ treesDeleted: gone.map(({ id }) => id) }))
    for (const tree of gone) tree.delete()
  }

  #evict(): void {
    const evicted = this.#journals.evictable((id) => this.#trees.get(id)?.flushedSeqno)
    if (evicted.length === 0) return
    const numbers = evicted.map(({ number }) => number)
    const lastSeqno = Math.max(...evicted.map((journal) => journal.lastSeqno))
    runSync(this.#manifest.commit({ journalsRemoved: numbers, lastSeqno }))
    this.#journals.drop(new Set(numbers))
    for (const number of numbers) this.vfs.remove(journalPath(number)).sync()
  }

  /** Created, durable and named before it takes a record. */
  #newJournal(): LogWriter {
    const number = this.#manifest.newFileNumber()
    const writer = runSync(LogWriter.create(this.vfs, journalPath(number), 'journal', number))
    runSync(writer.sync())
    this.vfs.syncDir('/db').sync()
    runSync(this.#manifest.commit({ journalsAdded: [number] }))
    return writer
  }

  #rotate(): void {
    if (this.#journals.activeIsEmpty) return
    this.#journals.setNext(this.#newJournal())
    const marks = [...this.#trees.values()].map((tree) => [tree.id, tree.highestSeqno] as const)
    this.#journals.rotate(new Map(marks))
  }

  #flush(): void {
    const trees = [...this.#trees.values()]
    const tree = trees[this.#random.below(trees.length)]!
    this.#sync()
    tree.rotate()
    runSync(tree.flush())
  }

  #createKeyspace(): void {
    const id = this.#manifest.newTreeId()
    const name = `keyspace ${id}`
    const state = { ...this.#states.at(-1), [name]: {} }
    const createdSeqno = this.#append(1, entryBytes(0x40, id, name, OPTIONS), state)
    this.#sync()
    const treesCreated = [{ tree: id, name, createdSeqno, options: OPTIONS }]
    runSync(this.#manifest.commit({ treesCreated }))
    const context = contextOf(this.vfs, this.#manifest)
    this.#trees.set(id, runSync(Tree.open(context, this.#manifest.state.trees.get(id)!)))
  }

  #deleteKeyspace(): void {
    const trees = [...this.#trees.values()]
    const tree = trees[this.#random.below(trees.length)]!
    const { [tree.name]: _, ...state } = this.#states.at(-1)!
    this.#append(1, entryBytes(0x41, tree.id, ''), state)
    this.#trees.delete(tree.id)
    this.#gone.push(tree)
    // The manifest may be told at once, later, or by a recovery.
    if (this.#random.below(2) === 0) return
    this.#sync()
    this.#tellDeletions()
  }
}

function textOf(contents: Contents): string {
  const sorted = Object.entries(contents).map(
    ([name, found]) =>
      [name, Object.entries(found).toSorted(([a], [b]) => (a < b ? -1 : 1))] as const,
  )
  return JSON.stringify(sorted.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
