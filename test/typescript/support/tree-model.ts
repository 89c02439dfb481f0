// A tree in a directory of its own, and beside it every entry that was ever written: what each read
// must find, live and after a crash.

import { expect } from 'vitest'
import type { FilterSource, TreeSettings } from '../../../lib/engine.ts'
import { Cache } from '../../../lib/typescript/base/cache.ts'
import { Io, run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import { isTombstone } from '../../../lib/typescript/base/internal-key.ts'
import { PointLookup } from '../../../lib/typescript/table/table-reader.ts'
import { Pending } from '../../../lib/typescript/base/pending.ts'
import type { RangeTombstone } from '../../../lib/typescript/base/range-tombstone.ts'
import { BARE_TREE } from '../../../lib/typescript/tree/manifest-edit.ts'
import { Manifest } from '../../../lib/typescript/tree/manifest.ts'
import { encodeOptions, newOptions } from '../../../lib/typescript/tree/options.ts'
import type { SuperVersion } from '../../../lib/typescript/tree/super-version.ts'
import { staleBytes } from '../../../lib/typescript/tree/version-blobs.ts'
import { Tree } from '../../../lib/typescript/tree/tree.ts'
import type { TreeContext } from '../../../lib/typescript/tree/tree.ts'
import { ClosableVfs } from '../../../lib/typescript/vfs/closable-vfs.ts'
import { FileCache } from '../../../lib/typescript/vfs/file-cache.ts'
import { parseFileName } from '../../../lib/typescript/vfs/file-name.ts'
import type { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { compareEntries, visibleOf } from './entries.ts'
import type { Entry } from './entries.ts'
import { newMachine } from './machine.ts'
import { rowsOf } from './rows.ts'
import { expectSame } from '../../support/same.ts'

const ID = 1

/** Small blocks, small tables, few levels: everything happens soon. */
const SETTINGS: Partial<TreeSettings> = {
  dataBlockSize: [200],
  restartInterval: [4],
  hashIndexRatio: [0.5],
  compression: ['none', 'lz4'],
  pinIndex: [true, false],
  pinFilter: [true, false],
  partitionIndex: [false, true],
  partitionFilter: [false, true],
  compaction: {
    type: 'leveled',
    name: 'leveled',
    l0Threshold: 2,
    targetSize: 1200,
    levelRatio: [2],
    tombstoneShare: 0.5,
    maxAgeSeconds: undefined,
  },
}

/** Most values are large; files are small, and garbage goes soon. */
const SEPARATION: NonNullable<TreeSettings['kvSeparation']> = {
  threshold: 16,
  fileSize: 600,
  compression: 'lz4',
  stalenessThreshold: 0.3,
  ageCutoff: 0.5,
}

export interface ModelOptions {
  readonly isSeparated?: boolean
  /** It must change nothing that a read could tell. */
  readonly filter?: FilterSource
  /** What the tree sees of the machine; the machine itself by default. */
  readonly vfs?: Vfs
  /** Before a flush is committed. */
  readonly beforeFlushCommit?: (highest: number) => Flow<void>
}

export class TreeModel {
  readonly machine: MemVfs
  readonly vfs: Vfs
  tree!: Tree
  manifest!: Manifest
  /** Read seqnos that are held. */
  snapshots: number[] = []
  /** What is flushed up to that seqno, exclusive, was told to be. */
  acknowledged = 0
  readonly #options: ModelOptions
  readonly #entries: Entry[] = []
  readonly #ranges: RangeTombstone[] = []
  #seqno = 1
  /** What the open tree sees. */
  #closable!: ClosableVfs

  constructor(machine: MemVfs = newMachine(), options: ModelOptions = {}) {
    this.machine = machine
    this.vfs = options.vfs ?? machine
    this.#options = options
    this.#closable = runSync(ClosableVfs.of(this.vfs, '/db'))
    this.manifest = runSync(Manifest.create(this.#closable, '/db', BARE_TREE))
    const kvSeparation = options.isSeparated === true ? SEPARATION : undefined
    const stored = encodeOptions(newOptions({ ...SETTINGS, kvSeparation }))
    const created = { tree: this.manifest.newTreeId(), name: '', createdSeqno: 0, options: stored }
    runSync(this.manifest.commit({ treesCreated: [created] }))
    this.#openTree()
  }

  #openTree(): void {
    const state = this.manifest.state.trees.get(ID)!
    this.tree = runSync(Tree.open(this.#context(), state))
    this.tree.offerFilter(this.#options.filter, this)
  }

  #context(): TreeContext {
    const { manifest } = this
    const vfs = this.#closable
    const { beforeFlushCommit = function* () {} } = this.#options
    return {
      vfs,
      directory: '/db',
      manifest,
      cache: new Cache(10_000),
      reads: new Pending(),
      files: new FileCache(vfs, 3),
      remove: (path) => {
        run(removal(vfs, path)).catch(() => {})
      },
      removeDue: Io.now(() => {}),
      // oxlint-disable-next-line require-yield
      view: function* (this: TreeModel) {
        return { snapshots: this.snapshots.toSorted((a, b) => a - b), visible: this.#seqno }
      }.bind(this),
      beforeFlushCommit,
      atASeqno: (_, install) => {
        this.tree.rotate()
        install(this.tree.highestSeqno)
      },
      *throttle() {
        // Nothing has to be paid.
      },
    }
  }

  // --- what is done ------------------------------------------------------------------------------

  /** Of the next entry. */
  get seqno(): number {
    return this.#seqno
  }

  write(name: string, kind: number, size: number): void {
    const key = Buffer.from(name)
    const value = Buffer.alloc(kind === 0 ? size : 0, `${name}${this.#seqno} `)
    const seqno = this.#seqno++
    this.tree.insert(kind, seqno, key, 0, key.length, value, 0, value.length)
    this.#entries.push({ key, seqno, kind, value })
  }

  /** From `first` on, up to `end` or without end. */
  removeRange(first: string, end: string | undefined): void {
    const bounds = { start: Buffer.from(first), end: end === undefined ? end : Buffer.from(end) }
    const range = { ...bounds, seqno: this.#seqno++ }
    this.tree.insertRange(range)
    this.#ranges.push(range)
  }

  snapshot(): void {
    this.snapshots.push(this.#seqno)
  }

  /** Seals and flushes; what was written before is acknowledged when it is done. */
  *flush(): Flow<void> {
    this.tree.rotate()
    const { highestSealedSeqno } = this.tree
    yield* this.tree.flush()
    if (highestSealedSeqno === 0) return
    this.acknowledged = Math.max(this.acknowledged, highestSealedSeqno + 1)
  }

  /**
   * One compaction that the strategy wants, if it does; tables that nobody misses go first, then
   * those with many tombstones, and garbage last.
   */
  *compact(): Flow<boolean> {
    const { tree } = this
    const wanted = (yield* tree.coveredPlan()) ?? tree.choosePlan()
    const plan = wanted ?? (yield* tree.upkeepPlan()) ?? tree.stalePlan()
    if (plan !== undefined) yield* this.tree.compact(this.tree.claim(plan))
    return plan !== undefined
  }

  *major(targetSize: number): Flow<void> {
    const plan = this.tree.majorPlan(targetSize)
    if (plan !== undefined) yield* this.tree.compact(this.tree.claim(plan))
  }

  /** Compacts until the strategy is content. */
  *settle(): Flow<void> {
    while (yield* this.compact());
  }

  close(): void {
    runSync(this.manifest.settle())
    runSync(this.manifest.recordFileNumbers())
    this.tree.close()
    this.manifest.close()
    this.#closable.close()
  }

  /** Closed and opened by a sync caller; what was in memtables only is lost. */
  reopen(): void {
    this.close()
    this.#closable = runSync(ClosableVfs.of(this.vfs, '/db'))
    this.manifest = runSync(Manifest.load(this.#closable, '/db'))
    this.#openTree()
    removeOrphans(this.vfs, this.manifest)
    const { flushedSeqno } = this.tree
    const lost = this.#entries.findIndex(({ seqno }) => seqno >= flushedSeqno)
    if (lost >= 0) this.#entries.splice(lost)
    const lostRange = this.#ranges.findIndex(({ seqno }) => seqno >= flushedSeqno)
    if (lostRange >= 0) this.#ranges.splice(lostRange)
    this.snapshots = this.snapshots.filter((seqno) => seqno <= flushedSeqno)
  }

  flushAndReopen(): void {
    runSync(this.flush())
    this.reopen()
  }

  // --- what must hold ----------------------------------------------------------------------------

  check(): void {
    this.checkReads()
    this.checkFiles()
  }

  checkReads(): void {
    const { superVersion } = this.tree
    checkReads(superVersion, this.#entries, this.#ranges, [...this.snapshots, this.#seqno])
    checkBlobs(superVersion, this.manifest)
  }

  /** On disk are exactly the files that the version names. */
  checkFiles(): void {
    const files = this.machine.list('/db').sync().map(parseFileName)
    const { version } = this.tree.superVersion
    const named = {
      table: version.tables().map(({ meta }) => meta.fileNumber),
      blob: [...version.blobs.keys()],
    }
    for (const [of, names] of Object.entries(named)) {
      const numbers = files.filter(({ kind }) => kind === of).map(({ number }) => number)
      expect(numbers.toSorted(ascending), of).toEqual(names.toSorted(ascending))
    }
  }

  /** What a crash left: all up to some entry, and all that was told to be flushed. */
  checkImage(image: MemVfs): void {
    const manifest = runSync(Manifest.load(image, '/db'))
    const state = manifest.state.trees.get(ID)
    // Its creation is the first thing that happens.
    if (state === undefined) return manifest.close()
    const { flushedSeqno } = state
    expect(flushedSeqno).toBeGreaterThanOrEqual(this.acknowledged)
    const context = { ...this.#context(), vfs: image, manifest, files: new FileCache(image, 3) }
    const tree = runSync(Tree.open(context, state))
    const flushed = this.#entries.filter(({ seqno }) => seqno < flushedSeqno)
    const reads = this.snapshots.filter((seqno) => seqno <= flushedSeqno)
    const ranges = this.#ranges.filter(({ seqno }) => seqno < flushedSeqno)
    checkReads(tree.superVersion, flushed, ranges, [...reads, this.#seqno])
    checkBlobs(tree.superVersion, manifest)
    tree.close()
    manifest.close()
  }

  get(name: string, read: number): string | undefined {
    return getFrom(this.tree.superVersion, name, read)
  }
}

function* removal(vfs: Vfs, path: string): Flow<void> {
  yield* vfs.remove(path)
}

/** As whoever opens a directory does. */
function removeOrphans(vfs: Vfs, { state }: Manifest): void {
  const { tables, blobFiles } = state.trees.get(ID)!
  for (const name of vfs.list('/db').sync()) {
    const { kind, number } = parseFileName(name)
    const isOurs = kind === 'table' || kind === 'blob'
    const isNamed = tables.has(number) || blobFiles.has(number)
    if (isOurs && !isNamed) vfs.remove(`/db/${name}`).sync()
  }
}

/** Garbage is what no table points to, and the manifest says the same. */
function checkBlobs({ version }: SuperVersion, { state }: Manifest): void {
  const { blobFiles } = state.trees.get(ID)!
  const used = new Map<number, number>()
  for (const { blobs } of version.tables().map(({ meta }) => meta)) {
    for (const { fileNumber, bytes } of blobs) {
      used.set(fileNumber, (used.get(fileNumber) ?? 0) + bytes)
    }
  }
  const stale = [...version.blobs].map(([number, blob]) => [number, staleBytes(blob)])
  const counted = [...version.blobs].map(([number, { file }]) => {
    return [number, file.meta.frameBytes - used.get(number)!]
  })
  expectSame(stale, counted)
  const known = [...blobFiles].map(([number, file]) => [number, file.staleBytes])
  expectSame(Object.fromEntries(stale), Object.fromEntries(known))
}

function ascending(a: number, b: number): number {
  return a - b
}

function checkReads(
  from: SuperVersion,
  entries: readonly Entry[],
  ranges: readonly RangeTombstone[],
  reads: readonly number[],
): void {
  const sorted = entries.toSorted(compareEntries)
  const names = [...new Set(sorted.map(({ key }) => key.toString()))]
  for (const read of reads) {
    const expected = new Map(
      visibleOf(sorted, read)
        .filter((entry) => !isTombstone(entry.kind) && !isHidden(entry, ranges, read))
        .map(({ key, value }) => [key.toString(), value.toString()]),
    )
    const found = new Map<string, string>()
    for (const name of names) {
      const value = getFrom(from, name, read)
      if (value !== undefined) found.set(name, value)
    }
    expectSame(found, expected)
    expectSame(rowsOf(from, read, false), [...expected])
    expectSame(rowsOf(from, read, true), [...expected].toReversed())
  }
}

function isHidden({ key, seqno }: Entry, ranges: readonly RangeTombstone[], read: number): boolean {
  return ranges.some(({ start, end, seqno: of }) => {
    const isOver = Buffer.compare(start, key) <= 0 && (!end || Buffer.compare(key, end) < 0)
    return isOver && seqno < of && of < read
  })
}

function getFrom(from: SuperVersion, name: string, read: number): string | undefined {
  const key = Buffer.from(name)
  const lookup = new PointLookup()
  lookup.start(key, 0, key.length, read)
  const found = runSync(from.findSettled(lookup))
  if (!found || isTombstone(lookup.kind)) return undefined
  return Buffer.from(lookup.value.slice(lookup.valueBegin, lookup.valueEnd)).toString()
}
