// Super versions made by hand: entries in layers, the newest first, over a machine in memory whose
// files answer late; and a model of what a read of them must find.

import * as fc from 'fast-check'
import { Cache } from '../../../lib/typescript/base/cache.ts'
import { Io, runSync } from '../../../lib/typescript/base/flow.ts'
import { isTombstone } from '../../../lib/typescript/base/internal-key.ts'
import { Pending } from '../../../lib/typescript/base/pending.ts'
import { Memtable } from '../../../lib/typescript/memtable/memtable.ts'
import { TableReader } from '../../../lib/typescript/table/table-reader.ts'
import { TableWriter } from '../../../lib/typescript/table/table-writer.ts'
import type { TableWriteOptions } from '../../../lib/typescript/table/table-writer.ts'
import { Hold, SuperVersion } from '../../../lib/typescript/tree/super-version.ts'
import { metaOf } from '../../../lib/typescript/tree/table-output.ts'
import { SharedTable } from '../../../lib/typescript/tree/table.ts'
import type { Table } from '../../../lib/typescript/tree/table.ts'
import type { Tree } from '../../../lib/typescript/tree/tree.ts'
import { Version } from '../../../lib/typescript/tree/version.ts'
import type { TablePlace } from '../../../lib/typescript/tree/version.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import type { ReadFile } from '../../../lib/typescript/vfs/vfs.ts'
import type { ReadSource } from '../../../lib/typescript/typescript-reads.ts'
import { ShaleError } from '../../../lib/errors.ts'
import { compareEntries, hardKeys, kinds, values, visibleOf } from './entries.ts'
import type { Entry } from './entries.ts'
import { newMachine } from './machine.ts'
import { Random } from './random.ts'
import { PLAIN } from './tables.ts'

/** Entries of one tree; seqnos below a layer's number are in the layers behind it. */
export interface Layers {
  readonly active: readonly Entry[]
  readonly sealed: readonly Entry[]
  /** Each is a run of tables; the first one is level 0, the others lie below. */
  readonly runs: readonly (readonly Entry[])[]
}

/** A machine whose tables are read late: after some turns of the event loop, drawn from a seed. */
export class SlowMachine {
  readonly vfs: FaultVfs = new FaultVfs(newMachine())
  readonly #random: Random
  /** Reads of tables, sync or async. */
  reads = 0
  bytesRead = 0
  /** Reads of more bytes fail. */
  failAbove = Infinity
  #nextNumber = 10
  /** Files that were given back by their last reader. */
  readonly closed: string[] = []

  constructor(seed: number) {
    this.#random = new Random(seed)
  }

  /** Writes a table and opens it; held once. */
  table(
    entries: readonly Entry[],
    place: TablePlace,
    cache: Cache,
    options: Partial<TableWriteOptions>,
  ): Table {
    const fileNumber = this.#nextNumber++
    const path = `/db/${String(fileNumber).padStart(6, '0')}.table`
    const file = this.vfs.open(path, 'create').sync()
    const writer = new TableWriter({ ...PLAIN, blockSize: 100, ...options, fileNumber })
    for (const { kind, seqno, key, value } of entries) {
      writer.add(kind, seqno, key, 0, key.length, value, 0, value.length)
      if (writer.isFull) runSync(writer.drain(file))
    }
    const written = runSync(writer.finish(file))
    file.close()
    const reader = runSync(
      TableReader.open({
        file: this.#slow(path),
        fileNumber,
        size: written.size,
        globalSeqno: 0,
        blobs: written.blobs,
        cache,
        pinIndex: false,
        pinFilter: false,
      }),
    )
    this.reads = 0
    this.bytesRead = 0
    const shared = new SharedTable(reader, () => this.closed.push(path))
    shared.replace()
    return { meta: metaOf({ fileNumber, ...written }, place), shared }
  }

  #slow(path: string): ReadFile {
    const file = this.vfs.open(path, 'read').sync()
    return {
      path,
      size: () => file.size(),
      close: () => file.close(),
      read: (offset, target) => {
        const read = file.read(offset, target)
        const count = (): void => {
          this.reads++
          this.bytesRead += target.length
          if (target.length > this.failAbove) throw new ShaleError('IO_ERROR', 'read failed: EIO')
        }
        return new Io(
          () => (count(), read.sync()),
          async () => {
            count()
            for (let turns = this.#random.below(3); turns >= 0; turns--) await turn()
            return read.async()
          },
        )
      },
    }
  }

  superVersion(
    { active, sealed, runs }: Layers,
    options: {
      readonly cacheSize?: number
      readonly table?: Partial<TableWriteOptions>
      readonly onReleased?: () => void
    } = {},
  ): SuperVersion {
    const cache = new Cache(options.cacheSize ?? 0)
    const tables = runs.flatMap((run, i) => {
      const place = { level: i === 0 ? 0 : 4 + i, runOrder: 9 - i }
      return split(run).map((part) => this.table(part, place, cache, options.table ?? {}))
    })
    const made = new SuperVersion(
      memtableOf(2, active),
      sealed.length > 0 ? [memtableOf(1, sealed)] : [],
      Version.of(1, tables),
      7,
      [],
      options.onReleased,
    )
    for (const { shared } of tables) shared.release()
    return made
  }
}

export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

export function memtableOf(id: number, entries: readonly Entry[]): Memtable {
  const memtable = new Memtable(id)
  for (const { kind, seqno, key, value } of entries) {
    memtable.insert(kind, seqno, key, 0, key.length, value, 0, value.length)
  }
  return memtable
}

/** A run of up to three tables; all versions of a key are in one of them. */
function split(run: readonly Entry[]): readonly (readonly Entry[])[] {
  const cuts = [1, 2].map((third) => {
    let at = Math.floor((run.length * third) / 3)
    while (at > 0 && at < run.length && run[at]!.key.equals(run[at - 1]!.key)) at++
    return at
  })
  const parts = [run.slice(0, cuts[0]), run.slice(cuts[0], cuts[1]), run.slice(cuts[1])]
  return parts.filter((part) => part.length > 0)
}

/** What a database or tree is to its reads. */
export class Source implements ReadSource {
  visible: number
  isClosed = false
  superVersion: SuperVersion
  readonly holds: Set<Hold> = new Set()
  readonly #reads = new Pending()

  constructor(superVersion: SuperVersion, visible: number) {
    this.superVersion = superVersion
    this.visible = visible
  }

  get tree(): Tree {
    const { superVersion, holds } = this
    const reads = this.#reads
    const hold = (): Hold => new Hold(superVersion, reads, [holds])
    return { superVersion, reads, hold } as unknown as Tree
  }

  check(): void {
    if (this.isClosed) throw new ShaleError('DB_CLOSED', 'the database or tree is closed')
  }

  /** As a flush or compaction does. */
  replace(next: SuperVersion): void {
    const before = this.superVersion
    this.superVersion = next
    before.release()
  }
}

/** Entries in layers: what is newer is in the layer that is read first. */
export const layered: fc.Arbitrary<{
  readonly entries: readonly Entry[]
  readonly layers: Layers
}> = fc
  .tuple(
    fc.array(
      fc.record({
        key: hardKeys,
        seqno: fc.integer({ min: 1, max: 40 }),
        kind: kinds,
        value: values,
      }),
      { maxLength: 90 },
    ),
    fc.array(fc.integer({ min: 0, max: 41 }), { minLength: 3, maxLength: 3 }),
  )
  .map(([list, cuts]) => {
    const unique = new Map(list.map((one) => [`${one.key.toString('hex')}@${one.seqno}`, one]))
    const entries = [...unique.values()]
      .map((one) => (one.kind === 0 ? one : { ...one, value: Buffer.alloc(0) }))
      .toSorted(compareEntries)
    return { entries, layers: layersOf(entries, cuts) }
  })

/** `cuts`: the three seqnos at which the next layer begins. */
export function layersOf(entries: readonly Entry[], cuts: readonly number[]): Layers {
  const [first = 0, second = 0, third = 0] = cuts.toSorted((a, b) => b - a)
  const sorted = entries.toSorted(compareEntries)
  const between = (low: number, high: number): readonly Entry[] =>
    sorted.filter(({ seqno }) => seqno >= low && seqno < high)
  return {
    active: between(first, Infinity),
    sealed: between(second, first),
    runs: [between(third, second), between(0, third)],
  }
}

/** The rows that a read sees, in order. */
export function rowsSeen(entries: readonly Entry[], readSeqno: number): readonly Entry[] {
  return visibleOf(entries, readSeqno).filter(({ kind }) => !isTombstone(kind))
}
