/**
 * An LSM-tree: writes go to the active memtable; a full one is sealed; flush writes the sealed ones
 * to tables in level 0; compaction merges tables downwards. What holds at a moment is a super
 * version; what is durable, the manifest says.
 *
 * Flush and compaction are flows, one step after the other on the one thread. They may overlap: a
 * job claims its input tables, so that edits of different jobs commute, and looks again at what
 * holds when it commits.
 */

import type { PlanData, TreeSettings } from '../../engine.ts'
import { ShaleError } from '../../errors.ts'
import { chooseLeveled } from '../../leveled.ts'
import type { Cache } from '../base/cache.ts'
import type { Flow } from '../base/flow.ts'
import { LEVEL_COUNT } from '../base/limits.ts'
import { compareBytes } from '../base/slice.ts'
import { corruption } from '../base/status.ts'
import { Memtable } from '../memtable/memtable.ts'
import type { Block } from '../table/table-file.ts'
import { TableReader } from '../table/table-reader.ts'
import { fileName, pathIn } from '../vfs/file-name.ts'
import type { Vfs } from '../vfs/vfs.ts'
import type { ManifestEdit } from './manifest-edit.ts'
import type { Manifest } from './manifest.ts'
import { MergeIterator } from './merge-iterator.ts'
import { runMerge } from './merge-job.ts'
import { mayExistIn, Placement } from './placement.ts'
import type { MayExistBelow, RetentionView } from './retention.ts'
import { RunIterator } from './run-iterator.ts'
import { SuperVersion } from './super-version.ts'
import type { TableMeta } from './table-meta.ts'
import { pinOptions, writeOptions } from './table-options.ts'
import { metaOf, TableOutput } from './table-output.ts'
import type { WrittenTable } from './table-output.ts'
import { SharedTable } from './table.ts'
import type { Table } from './table.ts'
import { Version } from './version.ts'
import type { TablePlace, VersionEdit } from './version.ts'

/** Bytes that a compaction reads at once. */
const READ_AHEAD = 262_144

export interface TreeContext {
  readonly vfs: Vfs
  readonly directory: string
  readonly manifest: Manifest
  readonly cache: Cache<Block>
  /** What may still be read; asked when a job begins. */
  readonly view: () => RetentionView
  /** Makes the journal durable up to a seqno (inclusive) before a table with it is named. */
  readonly syncJournal: (seqno: number) => Flow<void>
  /** Whether flush tells the manifest up to which seqno entries are in tables. */
  readonly recordsFlushed: boolean
}

export interface CompactionJob {
  readonly plan: PlanData
  /** Bytes, of the input tables. */
  done: number
  readonly total: number
}

export class Tree {
  readonly id: number
  readonly settings: TreeSettings
  readonly #context: TreeContext
  #super: SuperVersion
  /** The version with all edits that were handed to the manifest. */
  #planned: Version<Table>
  #nextMemtableId: number
  #nextRunOrder: number
  /** Memtables that a commit under way puts into tables. */
  readonly #flushing = new Set<Memtable>()
  /** Commits that are under way. */
  #commits = 0
  readonly #jobs = new Set<CompactionJob>()
  /** File numbers of tables that running jobs read. */
  readonly #claimed = new Set<number>()
  /** Files that nobody reads and the manifest does not name. */
  readonly #garbage: string[]
  #closed = false

  private constructor(
    context: TreeContext,
    id: number,
    settings: TreeSettings,
    tables: readonly Table[],
    garbage: string[],
  ) {
    this.id = id
    this.#garbage = garbage
    this.settings = settings
    this.#context = context
    this.#planned = new Version(0, tables)
    this.#super = new SuperVersion(new Memtable(0), [], this.#planned)
    this.#nextMemtableId = 1
    this.#nextRunOrder = 1 + Math.max(0, ...tables.map(({ meta }) => meta.runOrder))
  }

  /** With the tables that the manifest names; each is opened and compared with what it says. */
  static *open(context: TreeContext, id: number, settings: TreeSettings): Flow<Tree> {
    const state = context.manifest.state.trees.get(id)
    const metas = [...(state?.tables.values() ?? [])]
    const plain = new Version(
      0,
      metas.map((meta) => ({ meta })),
    )
    const tables: Table[] = []
    const garbage: string[] = []
    try {
      for (const meta of metas) {
        const policy = pinOptions(settings, plain.policyLevel(meta.level))
        tables.push(yield* openTable(context, meta, policy, garbage))
      }
      return new Tree(context, id, settings, tables, garbage)
    } finally {
      // From here on the super version holds them, or nobody.
      for (const { shared } of tables) shared.release()
    }
  }

  // --- reading and writing -----------------------------------------------------------------------

  /** What holds now; who reads across a wait acquires it. */
  get superVersion(): SuperVersion {
    return this.#super
  }

  /** Bytes of the active memtable after it. */
  insert(
    kind: number,
    seqno: number,
    key: Uint8Array,
    keyBegin: number,
    keyEnd: number,
    value: Uint8Array,
    valueBegin: number,
    valueEnd: number,
  ): number {
    const { active } = this.#super
    active.insert(kind, seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd)
    return active.size
  }

  /** Seals the active memtable; false if it is empty. */
  rotate(): boolean {
    const { active, sealed, version } = this.#super
    if (active.isEmpty) return false
    this.#install(new Memtable(this.#nextMemtableId++), [active, ...sealed], version)
    return true
  }

  #install(active: Memtable, sealed: readonly Memtable[], version: Version<Table>): void {
    const before = this.#super
    this.#super = new SuperVersion(active, sealed, version)
    before.release()
  }

  // --- flush -------------------------------------------------------------------------------------

  /** Writes all memtables that are sealed now to tables in level 0. */
  *flush(): Flow<void> {
    const wanted = this.#super.sealed
    while (wanted.some((memtable) => this.#unflushed().includes(memtable))) {
      yield* this.#flushSealed()
    }
    // What another flush has recorded becomes durable with the next commit.
    if (wanted.some((memtable) => this.#flushing.has(memtable))) {
      yield* this.#context.manifest.commit({})
    }
    yield* this.sweep()
  }

  /** Sealed memtables that no commit under way puts into tables, newest first. */
  #unflushed(): readonly Memtable[] {
    return this.#super.sealed.filter((memtable) => !this.#flushing.has(memtable))
  }

  *#flushSealed(): Flow<void> {
    const sealed = this.#unflushed()
    const output = this.#output(0, 0, this.settings.compaction.targetSize, [])
    const written = yield* this.#run(
      output,
      new MergeIterator(sealed.map((memtable) => memtable.versions())),
      // Tables of a commit under way are below these memtables as well.
      mayExistIn(this.#planned.levels.flat()),
    )
    const highest = Math.max(...sealed.map((memtable) => memtable.highestSeqno))
    yield* this.#context.syncJournal(highest)
    const opened = yield* this.#openWritten(written, 0, output)
    // Of flushes that overlap, the one that gets here first wins. There is no wait from here to the
    // place in line, so that newer entries always get the higher run order.
    // It must write the oldest ones: what stays in memory is read first.
    const oldest = this.#unflushed().slice(-sealed.length)
    if (!sealed.every((memtable, i) => memtable === oldest[i])) {
      this.#discard(opened)
      return
    }
    const place = { level: 0, runOrder: this.#nextRunOrder++ }
    for (const memtable of sealed) this.#flushing.add(memtable)
    try {
      yield* this.#commit(
        { added: opened.map((table) => placed(table, place)) },
        this.#context.recordsFlushed
          ? { flushedSeqnos: [{ tree: this.id, seqno: highest + 1 }] }
          : {},
        sealed,
      )
    } finally {
      for (const memtable of sealed) this.#flushing.delete(memtable)
    }
  }

  // --- compaction --------------------------------------------------------------------------------

  /** What the tree's strategy would do now. */
  choosePlan(): PlanData | undefined {
    const levels = this.#super.version.levels.map((runs) =>
      runs.map((run) => run.map(({ meta }) => ({ ...meta, id: meta.fileNumber }))),
    )
    return chooseLeveled(levels, this.settings.compaction, this.#claimed)
  }

  /** All tables into the last level. */
  majorPlan(targetSize: number): PlanData | undefined {
    const tables = this.#super.version.tables().map(({ meta }) => meta.fileNumber)
    if (tables.length === 0) return undefined
    return { kind: 'merge', tables, destinationLevel: LEVEL_COUNT - 1, targetSize }
  }

  /** Compactions that run. */
  jobs(): readonly CompactionJob[] {
    return [...this.#jobs]
  }

  /**
   * PLAN_STALE: a table is gone or busy. `progress` is called once a slice and may throw, which
   * ends the job. Nothing has changed when it fails.
   */
  *compact(plan: PlanData, progress?: (job: CompactionJob) => void): Flow<void> {
    this.#checkOpen()
    const placement = new Placement(this.#super.version, plan)
    if (plan.tables.some((number) => this.#claimed.has(number))) {
      throw new ShaleError('PLAN_STALE', 'a table of the plan is busy')
    }
    for (const number of plan.tables) this.#claimed.add(number)
    const total = placement.inputs.reduce((sum, { meta }) => sum + meta.size, 0)
    const job: CompactionJob = { plan, done: 0, total }
    this.#jobs.add(job)
    try {
      if (plan.kind === 'merge') yield* this.#merge(placement, plan, job, progress)
      else if (plan.kind === 'move') yield* this.#move(placement, plan)
      else yield* this.#commit({ removed: plan.tables })
      job.done = total
      progress?.(job)
    } finally {
      this.#jobs.delete(job)
      for (const number of plan.tables) this.#claimed.delete(number)
    }
    yield* this.sweep()
  }

  *#merge(
    placement: Placement,
    plan: PlanData & { kind: 'merge' },
    job: CompactionJob,
    progress: ((job: CompactionJob) => void) | undefined,
  ): Flow<void> {
    const { destinationLevel: level } = plan
    const output = this.#output(level, placement.policyLevel, plan.targetSize, placement.fences())
    const runs = new Version(0, placement.inputs).levels.flat()
    const written = yield* this.#run(
      output,
      new MergeIterator(runs.map((run) => new RunIterator(run, READ_AHEAD))),
      placement.mayExistBelow(),
      (bytes) => {
        job.done = Math.min(job.total, job.done + bytes)
        progress?.(job)
      },
    )
    const opened = yield* this.#openWritten(written, level, output)
    let place: TablePlace
    try {
      place = this.#place(plan, opened)
    } catch (error) {
      this.#discard(opened)
      throw error
    }
    const added = opened.map((table) => placed(table, place))
    yield* this.#commit({ added, removed: plan.tables })
  }

  *#move(placement: Placement, plan: PlanData): Flow<void> {
    const place = this.#place(plan, placement.inputs)
    yield* this.#commit({ moved: new Map(plan.tables.map((number) => [number, place])) })
  }

  /** Others may have committed meanwhile: the place is chosen on what is planned now. */
  #place(plan: PlanData, tables: readonly Table[]): TablePlace {
    const metas = tables.map(({ meta }) => meta)
    const place = new Placement(this.#planned, plan).place(metas, this.#nextRunOrder)
    this.#nextRunOrder = Math.max(this.#nextRunOrder, place.runOrder + 1)
    return place
  }

  // --- jobs --------------------------------------------------------------------------------------

  /** Merges entries into tables. What it reads stays while it runs. */
  *#run(
    output: TableOutput,
    entries: MergeIterator,
    mayExistBelow: MayExistBelow,
    progress?: (bytes: number) => void,
  ): Flow<readonly WrittenTable[]> {
    const held = this.#super
    held.acquire()
    try {
      return yield* runMerge({
        entries,
        view: this.#context.view(),
        mayExistBelow,
        output,
        clock: () => this.#context.vfs.monotonicMillis(),
        progress: (bytes) => {
          this.#checkOpen()
          progress?.(bytes)
        },
      })
    } finally {
      held.release()
    }
  }

  #output(
    level: number,
    policyLevel: number,
    targetSize: number,
    fences: readonly Uint8Array[],
  ): TableOutput {
    const { vfs, directory, manifest } = this.#context
    return new TableOutput({
      ...writeOptions(this.settings, policyLevel, level === LEVEL_COUNT - 1),
      vfs,
      directory,
      newFileNumber: () => manifest.newFileNumber(),
      createdAt: vfs.wallMillis(),
      targetSize,
      fences,
    })
  }

  /** Opens what a job wrote for a level; each is held once, and has its place later. */
  *#openWritten(
    written: readonly WrittenTable[],
    level: number,
    output: TableOutput,
  ): Flow<Table[]> {
    const tables: Table[] = []
    const policy = pinOptions(this.settings, this.#planned.policyLevel(level))
    try {
      for (const one of written) {
        const meta = metaOf(one, { level, runOrder: 0 })
        tables.push(yield* openTable(this.#context, meta, policy, this.#garbage))
      }
      return tables
    } catch (error) {
      for (const { shared } of tables) shared.release()
      yield* output.abandon()
      throw error
    }
  }

  /**
   * Makes an edit durable and then applies it. If the manifest fails it may name the new tables all
   * the same: then their files stay.
   */
  *#commit(
    edit: VersionEdit<Table>,
    more: ManifestEdit = {},
    flushed: readonly Memtable[] = [],
  ): Flow<void> {
    const { manifest } = this.#context
    const { added = [], removed = [], moved = new Map<number, TablePlace>() } = edit
    const id = this.#planned.id + 1
    const tree = this.id
    this.#commits++
    try {
      this.#planned = this.#planned.apply(id, edit, placed)
      yield* manifest.commit({
        ...more,
        tablesAdded: added.map(({ meta }) => ({ tree, table: meta })),
        tablesRemoved: removed.map((file) => ({ tree, file })),
        tablesMoved: [...moved].map(([file, place]) => ({ tree, file, ...place })),
      })
      const { active, sealed, version } = this.#super
      for (const number of removed) version.find(number)?.shared.replace()
      const left = sealed.filter((memtable) => !flushed.includes(memtable))
      this.#install(active, left, version.apply(id, edit, placed))
    } catch (error) {
      if (manifest.failure === undefined) for (const { shared } of added) shared.replace()
      throw error
    } finally {
      for (const { shared } of added) shared.release()
      if (--this.#commits === 0) this.#planned = this.#super.version
    }
  }

  /** Lets go of tables that were written for nothing. */
  #discard(tables: readonly Table[]): void {
    for (const { shared } of tables) {
      shared.replace()
      shared.release()
    }
  }

  #checkOpen(): void {
    if (this.#closed) throw new ShaleError('ABORTED', 'the tree is closing')
  }

  /**
   * Removes the files that nobody reads any more; what cannot be removed, the next open removes.
   */
  *sweep(): Flow<void> {
    const paths = this.#garbage.splice(0)
    for (const path of paths) {
      try {
        yield* this.#context.vfs.remove(path)
      } catch {
        // It is no longer named: an opener removes it.
      }
    }
  }

  /** Running jobs end without a commit. Readers that hold a super version go on. */
  *close(): Flow<void> {
    if (this.#closed) return
    this.#closed = true
    this.#super.release()
    yield* this.sweep()
  }
}

function placed(table: Table, place: TablePlace): Table {
  return { meta: { ...table.meta, ...place }, shared: table.shared }
}

/** Held once. `garbage` takes the path when the table is obsolete. */
function* openTable(
  context: TreeContext,
  meta: TableMeta,
  pins: { readonly pinIndex: boolean; readonly pinFilter: boolean },
  garbage: string[],
): Flow<Table> {
  const { vfs, directory, cache } = context
  const path = pathIn(directory, fileName('table', meta.fileNumber))
  const file = yield* vfs.open(path, 'read')
  try {
    const { fileNumber, size, globalSeqno } = meta
    if ((yield* file.size()) !== size) throw corruption('a table has another size', path, size)
    const options = { file, fileNumber, size, globalSeqno, cache, ...pins }
    const reader = yield* TableReader.open(options)
    if (!agrees(meta, reader)) throw corruption('a table is not what the manifest says', path, 0)
    return { meta, shared: new SharedTable(reader, () => garbage.push(path)) }
  } catch (error) {
    file.close()
    throw error
  }
}

/** Whether a table says of itself what the manifest says of it. */
function agrees(meta: TableMeta, { properties, blobReferences }: TableReader): boolean {
  return (
    properties.itemCount === meta.itemCount &&
    properties.tombstoneCount === meta.tombstoneCount &&
    properties.weakTombstoneCount === meta.weakTombstoneCount &&
    properties.rangeTombstoneCount === meta.rangeTombstoneCount &&
    properties.blockCount === meta.blockCount &&
    compareBytes(properties.firstKey, meta.firstKey) === 0 &&
    compareBytes(properties.lastKey, meta.lastKey) === 0 &&
    properties.lastKeyBound === meta.lastKeyBound &&
    properties.lowestSeqno + meta.globalSeqno === meta.lowestSeqno &&
    properties.highestSeqno + meta.globalSeqno === meta.highestSeqno &&
    blobReferences.length === meta.blobs.length
  )
}
