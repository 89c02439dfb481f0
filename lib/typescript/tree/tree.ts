/**
 * An LSM-tree: writes go to the active memtable; a full one is sealed; flush writes the sealed ones
 * to tables in level 0; compaction merges tables downwards. What holds at a moment is a super
 * version; what is durable, the manifest says.
 *
 * Flush and compaction are flows, one step after the other on the one thread. Async ones may
 * overlap, and a sync one may come between the steps of any: a job claims its input tables, so that
 * edits of different jobs commute, and looks again at what holds when it commits. What the manifest
 * has made durable is installed at that moment, in its order, whoever was waiting for it.
 */

import type { FilterSource, PlanData, StrategySetting, TreeSettings } from '../../engine.ts'
import { ShaleError } from '../../errors.ts'
import { chooseDropRange } from '../../drops.ts'
import { choosePlan, outputSize } from '../../strategy.ts'
import type { ChoiceContext } from '../../strategy.ts'
import { chooseUpkeep } from '../../upkeep.ts'
import type { Flow } from '../base/flow.ts'
import { highestOf } from '../base/numbers.ts'
import type { Pending } from '../base/pending.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { MEMTABLE_BYTES_MAX, MEMTABLE_RANGE_BYTES_MAX } from '../memtable/memtable.ts'
import { stalePlan } from './blob-upkeep.ts'
import { CompactionFilter } from './compaction-filter.ts'
import { CompactionJob } from './compaction-job.ts'
import { Flushes } from './flush.ts'
import type { FlushedEdit } from './flush.ts'
import { Ingestion } from './ingestion.ts'
import type { IngestionTurn } from './ingestion.ts'
import { anyMeet } from './levels.ts'
import type { TreeState } from './manifest-state.ts'
import { countWritten, discard, openedOf, openFiles, release, replace } from './opened.ts'
import type { Opened } from './opened.ts'
import { mergeInputs } from './merge-inputs.ts'
import { decodeOptions } from './options.ts'
import type { StoredOptions } from './options.ts'
import { Placement } from './placement.ts'
import type { RetentionView } from './retention.ts'
import { coveredPlan, dueIn, highestAwaited, lowestRead, majorPlan } from './plans.ts'
import { Hold } from './super-version.ts'
import type { SuperVersion } from './super-version.ts'
import { SuperVersions } from './super-versions.ts'
import { byFirstKey } from './table-meta.ts'
import { summaryLevels } from './table-summaries.ts'
import { pinOptions } from './table-options.ts'
import { metaOf } from './table-output.ts'
import type { TableOutput, WrittenTable } from './table-output.ts'
import { placed } from './table.ts'
import type { Table } from './table.ts'
import type { JobFigures, TreeContext } from './tree-context.ts'
import { TreeCounters } from './tree-counters.ts'
import { blobEdits, blobsOf } from './version-blobs.ts'
import { Version } from './version.ts'
import type { TablePlace, VersionEdit } from './version.ts'

export type { JobFigures, TreeContext } from './tree-context.ts'

export class Tree {
  readonly id: number
  readonly name: string
  readonly counters: TreeCounters
  readonly #context: TreeContext
  #stored: StoredOptions
  /** Of the opens that brought one, in their order: the first is what compactions ask. */
  #filters: readonly CompactionFilter[] = []
  readonly #supers: SuperVersions
  readonly #holds = new Set<Hold>()
  /** Edits that were handed to the manifest and are not settled yet, in its order. */
  #pending: { readonly id: number; readonly edit: VersionEdit<Table> }[] = []
  #nextVersionId = 2
  #nextRunOrder: number
  readonly #flushes: Flushes
  readonly #jobs = new Set<CompactionJob>()
  /** Those that leave no garbage in blob files. */
  readonly #majorPlans = new WeakSet<PlanData>()
  #flushedSeqno: number
  #highestSeqno: number
  #highestSealedSeqno: number
  #isDeleted = false
  #isClosed = false

  private constructor(
    context: TreeContext,
    state: TreeState,
    stored: StoredOptions,
    opened: Opened,
    counters: TreeCounters,
  ) {
    this.id = state.id
    this.name = state.name
    this.#context = context
    this.#stored = stored
    this.counters = counters
    this.#flushedSeqno = state.flushedSeqno
    const { tables, blobs } = opened
    const metas = tables.map(({ meta }) => meta)
    const persisted = metas.map(({ highestSeqno }) => highestSeqno)
    this.#highestSeqno = highestOf(persisted, Math.max(0, state.flushedSeqno - 1))
    this.#highestSealedSeqno = this.#highestSeqno
    this.#nextRunOrder = 1 + highestOf(metas.map(({ runOrder }) => runOrder))
    const version = Version.of(1, tables, blobsOf(blobs, metas))
    this.#supers = new SuperVersions(version, () => this.#highestSeqno)
    this.#flushes = new Flushes({
      context,
      settings: () => this.settings,
      current: () => this.#super,
      checkOpen: () => this.#checkOpen(),
      openWritten: (written, level, output) => this.#openWritten(written, level, output),
      newPlace: () => ({ level: 0, runOrder: this.#nextRunOrder++ }),
      commit: (edit, flushed) => this.#commit(edit, { flushed }),
    })
  }

  /** With the files that the manifest names; each is opened and compared with what it says. */
  static *open(context: TreeContext, state: TreeState): Flow<Tree> {
    const stored = decodeOptions(state.options)
    const metas = [...state.tables.values()].toSorted((a, b) => a.fileNumber - b.fileNumber)
    const plain = Version.of(
      1,
      metas.map((meta) => ({ meta })),
    )
    const tables = metas.map((meta) => {
      return { meta, pins: pinOptions(stored.settings, plain.policyLevel(meta.level)) }
    })
    const blobs = [...state.blobFiles].map(([fileNumber, file]) => ({ fileNumber, ...file }))
    const counters = new TreeCounters()
    const opened = yield* openFiles(context, tables, blobs, counters)
    try {
      return new Tree(context, state, stored, opened, counters)
    } finally {
      // From here on the super version holds them, or nobody.
      release(opened)
    }
  }

  // --- options and figures -----------------------------------------------------------------------

  get settings(): TreeSettings {
    return this.#stored.settings
  }
  get storedOptions(): StoredOptions {
    return this.#stored
  }

  /** They hold for new files. */
  setOptions(stored: StoredOptions): void {
    this.#stored = stored
  }

  /** Each `owner` brings one, and takes it with it. */
  offerFilter(source: FilterSource | undefined, owner: unknown): void {
    if (source === undefined || this.#filters.some((filter) => filter.owner === owner)) return
    this.#filters = [...this.#filters, new CompactionFilter(source, owner)]
  }

  /** Compactions that ask its filter end without a trace. */
  dropFilter(owner: unknown): void {
    this.#filters = this.#filters.filter((filter) => filter.owner !== owner)
    for (const job of this.#jobs) {
      if (job.filter !== undefined && job.filter.owner === owner) job.stop()
    }
  }

  get #filter(): CompactionFilter | undefined {
    return this.#filters[0]
  }

  /** Whether its filter answers with promises: only who can wait need begin a compaction. */
  get filterAnswersLater(): boolean {
    return this.#filter?.answersLater === true
  }

  /** Bytes of the active memtable. */
  get activeBytes(): number {
    return this.#super.active.size
  }

  get sealedBytes(): number {
    return this.#super.sealed.reduce((sum, { size }) => sum + size, 0)
  }

  get sealedCount(): number {
    return this.#super.sealed.length
  }

  get level0Runs(): number {
    return this.#super.version.levels[0]!.length
  }

  /** Of all versions and tombstones, in memory and in tables. */
  get itemCount(): number {
    const { active, sealed, version } = this.#super
    return (
      sealed.reduce((sum, memtable) => sum + memtable.itemCount, 0) +
      active.itemCount +
      version.itemCount
    )
  }

  /** Entries with a smaller seqno are in durable tables. */
  get flushedSeqno(): number {
    return this.#flushedSeqno
  }

  /** The highest that was inserted; 0 if none was. */
  get highestSeqno(): number {
    return this.#highestSeqno
  }
  get highestSealedSeqno(): number {
    return Math.max(this.#highestSealedSeqno, this.ingestingSeqno ?? 0)
  }

  // --- reading and writing -----------------------------------------------------------------------

  /**
   * What a read at this seqno goes to, across calls. It is in `set` until it ends, with the tree at
   * the latest; without one it outlives that.
   */
  hold(readSeqno: number, set: Set<Hold> | undefined): Hold {
    return new Hold(this.#super.for(readSeqno), this.reads, set ? [this.#holds, set] : [])
  }

  /** Those that wait for the disk. */
  get reads(): Pending {
    return this.#context.reads
  }

  /** What holds now; who reads across a wait acquires it. */
  get superVersion(): SuperVersion {
    return this.#supers.current
  }
  get #super(): SuperVersion {
    return this.#supers.current
  }

  /** Those that somebody holds, newest first. */
  history(): readonly SuperVersion[] {
    return this.#supers.history()
  }

  /** Bytes that the entry takes in the active memtable. */
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
    const before = active.size
    active.insert(kind, seqno, key, keyBegin, keyEnd, value, valueBegin, valueEnd)
    if (seqno > this.#highestSeqno) this.#highestSeqno = seqno
    return active.size - before
  }

  /** The same of a range tombstone. */
  insertRange(range: RangeTombstone): number {
    const { active } = this.#super
    const before = active.size
    active.insertRange(range)
    if (range.seqno > this.#highestSeqno) this.#highestSeqno = range.seqno
    return active.size - before
  }

  /** Whether the active memtable holds as much as the options say, or as it can. */
  get isFull(): boolean {
    const limit = Math.min(this.settings.maxMemtableSize, MEMTABLE_BYTES_MAX)
    return this.activeBytes >= limit || this.holdsTooManyRanges
  }

  /** Whether the range tombstones of the active memtable are as many as a flush should write. */
  get holdsTooManyRanges(): boolean {
    const { ranges } = this.#super.active
    return ranges !== undefined && ranges.bytes >= MEMTABLE_RANGE_BYTES_MAX
  }

  /** Seals the active memtable; false if it is empty. */
  rotate(): boolean {
    const { active } = this.#super
    if (active.isEmpty || this.#isClosed) return false
    this.#highestSealedSeqno = Math.max(this.#highestSealedSeqno, active.highestSeqno)
    this.#supers.seal()
    return true
  }

  /** Whether super versions are held for reads of before. */
  get holdsOlder(): boolean {
    return this.#super.held.length > 0
  }
  /** Lets go of those whose reads have ended. */
  releaseHeld(view: RetentionView): void {
    if (!this.#isClosed) this.#supers.releaseHeld(view)
  }

  // --- to level 0 --------------------------------------------------------------------------------

  /** Writes all memtables that are sealed now to tables in level 0. */
  flush(): Flow<JobFigures> {
    return this.#flushes.flush()
  }

  startIngestion(): Ingestion {
    return new Ingestion(this.#context, this.settings)
  }

  /** See Flushes. */
  *ingest(ingestion: Ingestion, turn: IngestionTurn): Flow<void> {
    const { bytesWritten } = yield* this.#flushes.ingest(ingestion, turn)
    this.counters.givenBytes += ingestion.givenBytes
    this.counters.fileBytes += bytesWritten
  }
  settleIngestion(): Flow<void> {
    return this.#flushes.settleIngestion()
  }
  get ingestingSeqno(): number | undefined {
    return this.#flushes.ingestingSeqno
  }

  // --- compaction --------------------------------------------------------------------------------

  /** What a strategy would do now, the tree's own if none is given. */
  choosePlan(strategy: StrategySetting = this.settings.compaction): PlanData | undefined {
    return choosePlan(summaryLevels(this.#super.version), strategy, this.#choiceContext())
  }

  /** What is left to do by its numbers where it wants nothing; undefined if there is nothing. */
  *upkeepPlan(strategy: StrategySetting = this.settings.compaction): Flow<PlanData | undefined> {
    const choose = (seenBelow: number): PlanData | undefined =>
      chooseUpkeep(summaryLevels(this.#super.version), strategy, this.#choiceContext(seenBelow))
    // What reads need is not asked for in vain: that may have to be recorded.
    return choose(Infinity) && choose(lowestRead(yield* this.#context.view()))
  }

  /** For a strategy that is no function here. */
  *strategyContext(): Flow<ChoiceContext> {
    return this.#choiceContext(lowestRead(yield* this.#context.view()))
  }

  #choiceContext(seenBelow = 0): ChoiceContext {
    return { busyTables: this.#busyTables(), now: this.#context.vfs.wallMillis(), seenBelow }
  }

  /** Milliseconds until the strategy has something to do although nothing is written. */
  get dueIn(): number | undefined {
    return dueIn(this.#super.version, this.settings.compaction, this.#context.vfs.wallMillis())
  }

  /** Drops tables that nobody can miss; undefined if there is none. */
  *coveredPlan(): Flow<PlanData | undefined> {
    if (this.#super.version.rangeTombstoneCount === 0) return undefined
    return coveredPlan(this.#super.version, yield* this.#context.view(), this.#busyTables())
  }

  /** Gets rid of the garbage in blob files; undefined: it is not worth it. */
  stalePlan(): PlanData | undefined {
    return stalePlan(this.#super.version, this.settings, this.#busyTables())
  }

  /** When a read at this seqno or below ends, there may be something to do. */
  get highestAwaited(): number {
    return highestAwaited(this.#super.version, this.settings.compaction)
  }

  /** All tables into the last level; undefined if there is none. */
  majorPlan(targetSize?: number): PlanData | undefined {
    const plan = majorPlan(this.#super.version, targetSize ?? outputSize(this.settings.compaction))
    if (plan !== undefined) this.#majorPlans.add(plan)
    return plan
  }

  /** Drops the tables inside of the bounds; undefined if there is none. */
  dropRangePlan(
    lower: Uint8Array | undefined,
    upper: Uint8Array | undefined,
  ): PlanData | undefined {
    return chooseDropRange(summaryLevels(this.#super.version), lower, upper)
  }

  #busyTables(): ReadonlySet<number> {
    return new Set([...this.#jobs].flatMap(({ plan }) => plan.tables))
  }

  /** Compactions that run. */
  jobs(): readonly CompactionJob[] {
    return [...this.#jobs]
  }

  /** Throws why there can be no claim: PLAN_STALE if a table is gone or busy. */
  checkClaim(plan: PlanData): Placement {
    const placement = new Placement(this.#super.version, plan)
    const metas = placement.inputs.map(({ meta }) => meta).toSorted(byFirstKey)
    if (plan.kind === 'move' && anyMeet(metas)) {
      throw new ShaleError('INVALID_ARGUMENT', 'a plan moves tables that overlap')
    }
    const busy = this.#busyTables()
    if (plan.tables.some((number) => busy.has(number))) {
      throw new ShaleError('PLAN_STALE', 'a table is busy')
    }
    return placement
  }

  /** A job with a claim on its tables, to be run; see checkClaim. */
  claim(plan: PlanData): CompactionJob {
    const { inputs } = this.checkClaim(plan)
    const job = new CompactionJob(plan, inputs, () => this.#jobs.delete(job))
    this.#jobs.add(job)
    return job
  }

  /**
   * For a sync caller that cannot wait for them: jobs that are not committed yet end without a
   * trace, the others are committed. Their claims are given back.
   */
  *takeOver(): Flow<void> {
    for (const job of this.#jobs) job.takeOver()
    yield* this.#context.manifest.settle()
  }

  /** Runs a job that was claimed. Nothing has changed when it fails. */
  *compact(job: CompactionJob): Flow<JobFigures> {
    const { plan } = job
    const figures = { bytesRead: 0, bytesWritten: 0, tables: 0 }
    try {
      if (plan.kind === 'merge') yield* this.#merge(job, plan, figures)
      else if (plan.kind === 'move') yield* this.#move(job, plan)
      else yield* this.#commit({ removed: plan.tables }, { job, isVisible: !plan.isHidden })
      job.done = job.total
    } catch (error) {
      // What was written for a tree that is closed may be gone already.
      this.#checkOpen()
      throw error
    } finally {
      job.end()
    }
    if (this.holdsOlder) this.releaseHeld(yield* this.#context.view())
    yield* this.#context.removeDue
    return figures
  }

  *#merge(job: CompactionJob, plan: PlanData & { kind: 'merge' }, figures: JobFigures): Flow<void> {
    job.filter = this.#filter
    const { written, output, isVisible } = yield* mergeInputs({
      context: this.#context,
      settings: this.settings,
      version: this.#super.version,
      job,
      plan,
      takesAllGarbage: this.#majorPlans.has(plan),
      filter: job.filter,
      clock: this.#clock,
      check: () => this.#checkJob(job),
    })
    const opened = yield* this.#openWritten(written, plan.destinationLevel, output)
    let place: TablePlace
    try {
      place = this.#place(plan, opened.tables)
    } catch (error) {
      discard(opened)
      throw error
    }
    const added = opened.tables.map((table) => placed(table, place))
    const edit = { added, removed: plan.tables, blobsAdded: opened.blobs }
    yield* this.#commit(edit, { job, isVisible })
    figures.bytesRead += job.total
    countWritten(figures, opened)
  }

  *#move(job: CompactionJob, plan: PlanData): Flow<void> {
    const place = this.#place(plan, job.inputs)
    yield* this.#commit({ moved: new Map(plan.tables.map((number) => [number, place])) }, { job })
  }

  /** Others may have committed meanwhile: the place is chosen on what is planned now. */
  #place(plan: PlanData, tables: readonly Table[]): TablePlace {
    if (tables.length === 0) return { level: 0, runOrder: 0 }
    const metas = tables.map(({ meta }) => meta)
    const place = new Placement(this.#planned(), plan).place(metas, this.#nextRunOrder)
    this.#nextRunOrder = Math.max(this.#nextRunOrder, place.runOrder + 1)
    return place
  }

  // --- jobs --------------------------------------------------------------------------------------

  /** Opens what a job wrote for a level; each is held once, and tables get their place later. */
  *#openWritten(
    written: readonly WrittenTable[],
    level: number,
    output: TableOutput,
  ): Flow<Opened> {
    const pins = pinOptions(this.settings, this.#super.version.policyLevel(level))
    const tables = written.map((one) => ({ meta: metaOf(one, { level, runOrder: 0 }), pins }))
    try {
      return yield* openFiles(this.#context, tables, output.blobFiles, this.counters)
    } catch (error) {
      yield* output.abandon()
      throw error
    }
  }

  readonly #clock = (): number => this.#context.vfs.monotonicMillis()

  /** The version with all edits that are under way. */
  #planned(): Version<Table> {
    let planned = this.#super.version
    for (const { id, edit } of this.#pending) planned = planned.apply(id, edit, placed)
    return planned
  }

  /**
   * Makes an edit durable; it is installed at that moment. If the manifest fails it may name the
   * new tables all the same: then their files stay.
   */
  *#commit(
    edit: VersionEdit<Table>,
    replaced: {
      readonly flushed?: FlushedEdit
      readonly job?: CompactionJob
      /** Reads can tell the difference. */
      readonly isVisible?: boolean
    },
  ): Flow<void> {
    const { manifest } = this.#context
    const {
      added = [],
      removed = [],
      moved = new Map<number, TablePlace>(),
      blobsAdded = [],
    } = edit
    const opened = { tables: added, blobs: blobsAdded }
    const { flushed, job, isVisible = false } = replaced
    const { memtables = [], flushedSeqno = 0, ingestedSeqno = 0 } = flushed ?? {}
    const pending = { id: this.#nextVersionId++, edit }
    const tree = this.id
    const settled = (error?: unknown): void => {
      release(opened)
      job?.end()
      this.#pending = this.#pending.filter((other) => other !== pending)
      flushed?.onSettled(error)
    }
    const before = this.#planned()
    let after: Version<Table>
    try {
      if (job !== undefined) this.#checkJob(job)
      after = before.apply(pending.id, edit, placed)
    } catch (error) {
      discard(opened)
      flushed?.onSettled(error)
      throw error
    }
    this.#pending.push(pending)
    if (job !== undefined) job.isCommitting = true
    yield* manifest.commit(
      {
        ...(flushed !== undefined && { flushedSeqnos: [{ tree, seqno: flushedSeqno }] }),
        tablesAdded: added.map(({ meta }) => ({ tree, table: meta })),
        tablesRemoved: removed.map((file) => ({ tree, file })),
        tablesMoved: [...moved].map(([file, place]) => ({ tree, file, ...place })),
        ...blobEdits(tree, before.blobs, after.blobs),
      },
      {
        durable: () => {
          const { active, sealed, version } = this.#super
          for (const number of removed) version.find(number)?.shared.replace()
          for (const [number, { file }] of before.blobs) {
            if (!after.blobs.has(number)) file.replace()
          }
          if (this.#isDeleted) replace(opened)
          this.#flushedSeqno = Math.max(this.#flushedSeqno, flushedSeqno)
          this.#highestSeqno = Math.max(this.#highestSeqno, ingestedSeqno)
          this.#highestSealedSeqno = Math.max(this.#highestSealedSeqno, ingestedSeqno)
          const next = version.apply(pending.id, edit, placed)
          if (this.#isClosed) {
            // Nobody reads any more.
          } else if (isVisible) {
            this.#context.atASeqno(this.id, (at) => this.#supers.installVisible(next, at))
          } else {
            const left = sealed.filter((memtable) => !memtables.includes(memtable))
            this.#supers.install(active, left, next)
          }
          settled()
        },
        failed: (error) => {
          if (manifest.failure === undefined) replace(opened)
          settled(error)
        },
      },
    )
  }

  #checkOpen(): void {
    if (this.#isDeleted) throw new ShaleError('ABORTED', 'the tree was deleted')
    if (this.#isClosed) throw new ShaleError('ABORTED', 'the tree is closing')
  }

  #checkJob(job: CompactionJob): void {
    this.#checkOpen()
    if (job.isStopped) throw job.stoppedError()
  }

  // --- the end -----------------------------------------------------------------------------------

  /** Its files go with their last reader; running jobs end without a commit. */
  delete(): void {
    this.#isDeleted = true
    replace(openedOf(this.#super.version))
    this.#end()
  }

  /** Running jobs end without a commit, and so do iterations; a read that waits goes on. */
  close(reason?: ShaleError): void {
    for (const hold of this.#holds) hold.end(reason)
    this.#end()
  }

  #end(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const job of this.#jobs) job.stop()
    this.#super.release()
  }
}
