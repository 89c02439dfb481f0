// One run of random operations on two bare trees, one per engine, with every answer compared.
//
// Where no codec is used and filters are in memory as a whole, both trees have the same tables to
// the byte: versions, sizes and what strategies choose are compared as well. Otherwise sizes
// differ, or tombstones stay longer; then plans name what each has at the same places, and contents
// are compared. So it is where ranges are removed: when tables that nobody misses are dropped is
// each engine's own affair, and so is where a table of range tombstones ends.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import {
  FifoCompaction,
  MAX_SEQNO,
  Tree,
  type CompactionFilter,
  type CompactionPlan,
  type Cursor,
  type FilterVerdict,
  type Ingestion,
  type SuperVersion,
  type TreeOptions,
  type Version,
} from '../../../lib/index.ts'
import { collectGarbage } from '../../support/collect.ts'
import { Draw, shownKey, shownRange } from './draw.ts'
import { Comparison, type Twin } from './twins.ts'

/** Iterations that were dropped are held until they are collected, which may take some turns. */
const COLLECTIONS_MAX = 20

interface OpenCursor {
  readonly cursors: Twin<Cursor>
  readonly name: string
  /** Nothing is written below it: what an open cursor may see has to be there when it is opened. */
  readonly seqno: number
}

export class TreeRun {
  readonly comparison: Comparison
  readonly #draw: Draw
  readonly #paths: Twin<string>
  /** Tables are the same to the byte. */
  readonly #isExact: boolean
  readonly #hasRanges: boolean
  readonly #isSeparated: boolean
  readonly #isFiltered: boolean
  #trees!: Twin<Tree>
  #cursors: OpenCursor[] = []
  #seqno = 1
  swaps = 0
  plans = 0

  constructor(title: string, directory: string, seed: number) {
    this.#draw = new Draw(seed)
    this.#hasRanges = this.#draw.oneIn(3)
    this.#isExact = !this.#hasRanges && !this.#draw.oneIn(4)
    this.#isSeparated = this.#draw.oneIn(3)
    this.#isFiltered = this.#draw.oneIn(3)
    this.#paths = { native: join(directory, 'n'), typescript: join(directory, 't') }
    this.comparison = new Comparison(title, this.#paths)
  }

  async run(operations: number): Promise<void> {
    this.#open()
    for (let i = 0; i < operations; i++) {
      // oxlint-disable-next-line no-await-in-loop
      await this.#draw.weighted(this.#operations)()
    }
    this.#all('close', (tree) => tree.closeSync())
    for (const path of Object.values(this.#paths)) rmSync(path, { recursive: true })
  }

  #all(what: string, call: (tree: Tree) => unknown): unknown {
    const outcome = this.comparison.callSync(what, this.#trees, call)
    return 'result' in outcome ? outcome.result : undefined
  }

  #open(): void {
    const draw = this.#draw
    const codecs = this.#isExact ? (['none'] as const) : (['none', 'lz4', 'zstd'] as const)
    const options: TreeOptions = {
      ...draw.treeOptions(codecs),
      ...(this.#isSeparated && { kvSeparation: draw.separation(codecs) }),
      ...(this.#isFiltered && { compactionFilter: hashFilter(draw.oneIn(2)) }),
      ...(this.#isExact && { pinFilter: true, partitionFilter: false }),
      cacheSize: draw.pick([0, 5000, 2 ** 20]),
      maxOpenFiles: draw.pick([16, 900]),
    }
    this.#trees = {
      native: Tree.openSync(this.#paths.native, { ...options, engine: 'native' }),
      typescript: Tree.openSync(this.#paths.typescript, { ...options, engine: 'typescript' }),
    }
    this.#compareVersions('open')
  }

  /** What may come next, and how often. */
  readonly #operations: readonly (readonly [number, () => void | Promise<void>])[] = [
    [420, () => this.#write('insert')],
    [60, () => this.#write('remove')],
    [40, () => this.#write('removeWeak')],
    [15, () => this.#removeRange()],
    [6, () => this.#ingest()],
    [200, () => this.#get()],
    [25, () => this.#getMany()],
    [10, () => this.#ends()],
    [40, () => this.#scan()],
    [60, () => this.#cursor()],
    [15, () => this.#figures()],
    [8, () => this.#setGcSeqno()],
    [10, () => this.#badCall()],
    [8, () => void this.#all('rotate', (tree) => tree.rotateMemtable())],
    [6, () => this.#flush()],
    [8, () => this.#strategy()],
    [5, () => this.#plan()],
    [1, () => this.#major()],
    [2, () => this.#dropRange()],
    [2, () => this.#reopen()],
  ]

  // --- writes ------------------------------------------------------------------------------------

  /** Mostly ascending; sometimes one that may be too small, or far ahead. */
  #nextSeqno(): number {
    const draw = this.#draw
    const least = Math.max(0, ...this.#cursors.map(({ seqno }) => seqno))
    if (draw.oneIn(40)) return Math.max(least, this.#seqno - draw.below(60))
    if (draw.oneIn(3)) this.#seqno += draw.oneIn(500) ? 2 ** 33 : draw.between(1, 4)
    return this.#seqno
  }

  #write(name: 'insert' | 'remove' | 'removeWeak'): void {
    // A weak removal of what was written more than once may bring it back, sooner or later.
    if (this.#hasRanges && name === 'removeWeak') return this.#write('remove')
    const key = this.#draw.key()
    const seqno = this.#nextSeqno()
    const value = this.#draw.value()
    this.#all(`${name} ${shownKey(key)} @${seqno}`, (tree) => {
      const written =
        name === 'insert'
          ? tree.insertSync(key, value, seqno)
          : name === 'remove'
            ? tree.removeSync(key, seqno)
            : tree.removeWeakSync(key, seqno)
      // What it takes in memory depends on the structure.
      return Object.keys(written)
    })
  }

  /** Above all that was written: whatever is in the range is hidden. */
  #removeRange(): void {
    if (!this.#hasRanges) return
    const range = this.#draw.oneIn(20) ? {} : this.#draw.range()
    const seqno = Math.max(this.#seqno, ...this.#cursors.map((open) => open.seqno)) + 1
    this.#seqno = seqno
    this.#all(`removeRange ${shownRange(range)} @${seqno}`, (tree) =>
      Object.keys(tree.removeRangeSync(range, seqno)),
    )
  }

  /** Above all that was written, or not: then it is refused. */
  async #ingest(): Promise<void> {
    const draw = this.#draw
    const above = Math.max(this.#seqno, ...this.#cursors.map((open) => open.seqno)) + 1
    const seqno = draw.oneIn(10) ? Math.max(0, above - draw.between(1, 30)) : above
    this.#seqno = above
    const rows = draw.rows()
    const isAborted = draw.oneIn(8)
    const again = draw.key()
    const what = `ingest ${rows.length} @${seqno}`
    const fill = (ingestion: Ingestion): void => {
      for (const [key, value] of rows) {
        if (value === undefined) ingestion.writeTombstone(key)
        else ingestion.write(key, value)
      }
    }
    if (draw.oneIn(3)) {
      await this.comparison.call(what, this.#trees, async (tree) => {
        const ingestion = await tree.startIngestion(seqno)
        fill(ingestion)
        return isAborted ? ingestion.abort() : ingestion.finish()
      })
    } else {
      this.#all(what, (tree) => {
        const ingestion = tree.startIngestionSync(seqno)
        fill(ingestion)
        return isAborted ? ingestion.abort() : ingestion.finishSync()
      })
    }
    this.#compareVersions(what)
    this.#all(`${what}: out of order`, (tree) => {
      const ingestion = tree.startIngestionSync(above + 1)
      try {
        fill(ingestion)
        ingestion.write(again, '')
      } finally {
        ingestion.abort()
      }
    })
  }

  // --- reads -------------------------------------------------------------------------------------

  /** Of reads: often everything, else something lately, or long ago. */
  #readSeqno(): number {
    const draw = this.#draw
    if (draw.oneIn(3)) return MAX_SEQNO
    if (draw.oneIn(6)) return draw.below(this.#seqno + 2)
    return Math.max(0, this.#seqno + 1 - draw.below(100))
  }

  async #get(): Promise<void> {
    const draw = this.#draw
    const key = draw.key()
    const seqno = this.#readSeqno()
    const what = `${shownKey(key)} @${seqno}`
    const form = draw.pick([
      'sync',
      'sync',
      'sync',
      'sync',
      'text',
      'into',
      'sizeOf',
      'contains',
      'async',
    ] as const)
    if (form === 'async') {
      await this.comparison.call(`get ${what}`, this.#trees, async (tree) =>
        Promise.all([tree.get(key, seqno), tree.sizeOf(key, seqno), tree.containsKey(key, seqno)]),
      )
      return
    }
    const offset = draw.below(4)
    const length = draw.pick([4, 100, 200_000])
    this.#all(`get ${form} ${what}`, (tree) => {
      if (form === 'sync') return tree.getSync(key, seqno)
      if (form === 'text') return tree.getTextSync(key, seqno)
      if (form === 'sizeOf') return tree.sizeOfSync(key, seqno)
      if (form === 'contains') return tree.containsKeySync(key, seqno)
      const target = Buffer.alloc(length)
      return [tree.getIntoSync(key, seqno, target, offset), target]
    })
  }

  async #getMany(): Promise<void> {
    const keys = Array.from({ length: this.#draw.below(30) }, () => this.#draw.key())
    const seqno = this.#readSeqno()
    this.#all(`getMany ${keys.length} @${seqno}`, (tree) => tree.getManySync(keys, seqno))
    if (!this.#draw.oneIn(5)) return
    await this.comparison.call(`getMany ${keys.length} @${seqno}`, this.#trees, async (tree) =>
      tree.getMany(keys, seqno),
    )
  }

  #ends(): void {
    const seqno = this.#readSeqno()
    this.#all(`ends @${seqno}`, (tree) => [
      tree.firstKeyValueSync(seqno),
      tree.lastKeyValueSync(seqno),
      tree.isEmptySync(seqno),
      tree.lenSync(seqno),
    ])
  }

  async #scan(): Promise<void> {
    const draw = this.#draw
    const seqno = this.#readSeqno()
    const options = {
      reverse: draw.oneIn(2),
      limit: draw.pick([-1, -1, 0, 1, 5, 60]),
      batchSize: draw.pick([1, 100, 4000, 2 ** 16]),
    }
    const range = { ...draw.range(), ...options }
    const prefix = draw.oneIn(4) ? draw.key().subarray(0, draw.below(5)) : undefined
    const start = prefix === undefined ? shownRange(range) : `prefix ${shownKey(prefix)}`
    const ranged = (tree: Tree) =>
      prefix === undefined ? tree.range(range, seqno) : tree.prefix(prefix, seqno, options)
    const form = draw.pick([
      'pairs',
      'pairs',
      'pairs',
      'keys',
      'values',
      'entries',
      'visit',
      'async',
    ] as const)
    if (form === 'async') {
      await this.comparison.call(`scan ${start} @${seqno}`, this.#trees, async (tree) =>
        ranged(tree).toArray(),
      )
      return
    }
    this.#all(`scan ${form} ${start} @${seqno}`, (tree) => {
      if (form === 'keys') return [...ranged(tree).keys()]
      if (form === 'values') return [...ranged(tree).values()]
      if (form === 'pairs') return ranged(tree).toArraySync()
      if (form === 'entries') {
        const entries = [...ranged(tree).entries()]
        return entries.map((entry) => [entry.key, entry.size, entry.valueSync()])
      }
      const visited: [Buffer, Buffer][] = []
      ranged(tree).forEachSync((key, value) => {
        visited.push([Buffer.from(key), Buffer.from(value)])
      })
      return visited
    })
  }

  /** A step of a cursor that stays open over whatever happens; or a new one, or the end of one. */
  async #cursor(): Promise<void> {
    const draw = this.#draw
    if (this.#cursors.length === 0 || (this.#cursors.length < 4 && draw.oneIn(8))) {
      return this.#openCursor()
    }
    const open = draw.pick(this.#cursors)
    if (draw.oneIn(12)) {
      this.comparison.callSync(`${open.name} close`, open.cursors, (cursor) => cursor.close())
      this.#cursors = this.#cursors.filter((other) => other !== open)
      return
    }
    const steps = draw.between(1, 6)
    for (let i = 0; i < steps; i++) {
      // oxlint-disable-next-line no-await-in-loop
      await this.#step(open)
    }
  }

  #openCursor(): void {
    const seqno = Math.min(this.#seqno, this.#readSeqno())
    const range = { ...this.#draw.range(), reverse: this.#draw.oneIn(2) }
    const { native, typescript } = this.#trees
    const name = `cursor ${shownRange(range)} @${seqno}`
    const cursors = {
      native: native.range(range, seqno).cursor(),
      typescript: typescript.range(range, seqno).cursor(),
    }
    this.#cursors.push({ cursors, name, seqno })
  }

  async #step({ cursors, name }: OpenCursor): Promise<void> {
    const step = this.#draw.pick(['next', 'next', 'nextBack', 'nextBack', 'seek', 'async'] as const)
    if (step === 'async') {
      await this.comparison.call(`${name} next`, cursors, async (cursor) => cursor.next())
      return
    }
    const key = this.#draw.key()
    this.comparison.callSync(`${name} ${step}`, cursors, (cursor) => {
      if (step === 'next') return cursor.nextSync()
      if (step === 'nextBack') return cursor.nextBackSync()
      return [cursor.seek(key), cursor.nextSync()]
    })
  }

  // --- figures and versions ----------------------------------------------------------------------

  async #figures(): Promise<void> {
    this.#all('figures', (tree) => [
      // Tombstones that stay longer count.
      this.#isExact && tree.approximateLen(),
      tree.highestSeqno,
      tree.highestPersistedSeqno,
      !this.#hasRanges && [tree.tableCount(), tree.l0TableCount()],
      tree.gcSeqno,
      tree.compactor.state,
      tree.compactor.jobs(),
      tree.memtableSize() > 0,
    ])
    if (this.#isExact) {
      const range = this.#draw.range()
      this.#all(`sizes ${shownRange(range)}`, (tree) => [
        tree.diskSpace(),
        tree.approximateSize(range),
      ])
    }
    await this.#compareHistories()
  }

  async #compareHistories(): Promise<void> {
    if (this.#hasRanges) return
    this.#all('current super version', (tree) => {
      const [current] = tree.versionHistory()
      const views = [current!, tree.getVersionForSnapshot(this.#seqno)]
      return views.map((one) => this.#superVersionView(one))
    })
    let histories = this.#histories()
    for (let i = 0; i < COLLECTIONS_MAX && !isDeepStrictEqual(...histories); i++) {
      // oxlint-disable-next-line no-await-in-loop
      await collectGarbage()
      histories = this.#histories()
    }
    this.comparison.same('history', ...histories)
  }

  /**
   * What the TypeScript engine holds, and what of it the native one holds as well, which lets go of
   * what nobody reads some time later.
   */
  #histories(): [native: unknown[], typescript: unknown[]] {
    const [native, typescript] = [this.#trees.native, this.#trees.typescript].map((tree) =>
      tree.versionHistory().map((one) => this.#superVersionView(one)),
    )
    let at = 0
    const held = typescript!.filter((one) => {
      const found = native!.findIndex((other, i) => i >= at && isDeepStrictEqual(one, other))
      at = found + 1
      return found >= 0
    })
    return [held, typescript!]
  }

  #superVersionView({ version, seqno, activeMemtable, sealedMemtables }: SuperVersion): unknown {
    const memtables = [activeMemtable, ...sealedMemtables].map((one) => ({ ...one, size: 0 }))
    return { version: this.#versionView(version), seqno, memtables }
  }

  /** All that has to be equal. */
  #versionView({ id, levels, blobFiles }: Version): unknown {
    const tables = levels.map((runs) =>
      runs.map((run) =>
        run.map((table) => {
          return { ...table, id: 0, createdAt: 0, blobs: table.blobs.map(({ bytes }) => bytes) }
        }),
      ),
    )
    if (!this.#isExact) return { id, tables: tables.map(({ length }) => length) }
    return { id, tables, blobFiles: blobFiles.map((file) => ({ ...file, id: 0 })) }
  }

  #compareVersions(what: string): void {
    if (this.#hasRanges) return
    const { native, typescript } = this.#trees
    this.comparison.same(
      `${what}: version`,
      this.#versionView(native.version()),
      this.#versionView(typescript.version()),
    )
  }

  // --- maintenance -------------------------------------------------------------------------------

  async #maintain(
    what: string,
    call: (tree: Tree, isSync: boolean) => void | Promise<void>,
  ): Promise<void> {
    if (this.#draw.oneIn(4)) {
      await this.comparison.call(what, this.#trees, async (tree) => call(tree, false))
    } else {
      this.#all(what, (tree) => void call(tree, true))
    }
    this.#compareVersions(what)
  }

  #flush(): Promise<void> {
    return this.#maintain('flush', (tree, isSync) => (isSync ? tree.flushSync() : tree.flush()))
  }

  /** What the strategy would choose by itself, and then what the engine chooses and does. */
  async #strategy(): Promise<void> {
    const { native, typescript } = this.#trees
    const fifo = new FifoCompaction({ limit: this.#draw.pick([10_000, 100_000]) })
    const isAged = this.#draw.oneIn(4)
    // So that every table of both is too old.
    if (isAged) await setTimeout(5)
    const own = this.#draw.strategy(isAged ? { maxAgeSeconds: 0.001 } : undefined)
    const strategy = this.#draw.oneIn(8) ? fifo : own
    const context = { busyTables: new Set<number>(), now: Date.now(), seenBelow: native.gcSeqno }
    const chosen = [native, typescript].map((tree) => {
      const version = tree.version()
      return placed(strategy.choose(version, context), version)
    })
    if (this.#isExact) this.comparison.same('choose', chosen[0], chosen[1])
    if (chosen[0] !== undefined) this.plans++
    // With codecs the two may differ in what they choose.
    if (!this.#isExact) return
    await this.#maintain(`compact ${JSON.stringify(chosen[0])}`, (tree, isSync) =>
      isSync ? tree.compactSync(strategy) : tree.compact(strategy),
    )
  }

  /** A plan of tables at random places: often stale or against the rules. */
  async #plan(): Promise<void> {
    if (this.#hasRanges) return
    const draw = this.#draw
    const kind = draw.pick(['merge', 'merge', 'move', 'drop'] as const)
    const wanted = new Set<string>()
    const { levels } = this.#trees.native.version()
    const places = levels.flatMap((runs, level) => runs.map((_, run) => `${level} ${run}`))
    const count = draw.between(1, 4)
    const first = draw.below(places.length)
    for (const place of places.slice(first, first + count)) wanted.add(place)
    const tablesOf = (tree: Tree): number[] => [
      ...tree
        .version()
        .levels.flatMap((runs, level) =>
          runs.flatMap((run, i) => (wanted.has(`${level} ${i}`) ? run.map(({ id }) => id) : [])),
        ),
      ...extra,
    ]
    const extra = draw.oneIn(10) ? [draw.pick([999_999, 1])] : []
    const destinationLevel = draw.below(7)
    const targetSize = this.#isExact ? draw.pick([4096, 20_000, 2 ** 30]) : 2 ** 40
    const planOf = (tree: Tree): CompactionPlan => {
      const tables = tablesOf(tree)
      if (kind === 'drop') return { kind, tables }
      if (kind === 'move') return { kind, tables, destinationLevel }
      return { kind, tables, destinationLevel, targetSize }
    }
    const what = `plan ${JSON.stringify(planOf(this.#trees.native))}`
    await this.#maintain(what, (tree, isSync) =>
      isSync ? tree.compactSync(planOf(tree)) : tree.compact(planOf(tree)),
    )
  }

  async #major(): Promise<void> {
    const targetSize = this.#isExact ? this.#draw.pick([4096, 30_000, 2 ** 26]) : 2 ** 40
    await this.#maintain(`major ${targetSize}`, (tree, isSync) =>
      isSync ? tree.majorCompactionSync({ targetSize }) : tree.majorCompaction({ targetSize }),
    )
  }

  /** Which tables lie inside is the same where tables are. */
  async #dropRange(): Promise<void> {
    if (!this.#isExact) return
    const range = this.#draw.range()
    await this.#maintain(`dropRange ${shownRange(range)}`, (tree, isSync) =>
      isSync ? tree.dropRangeSync(range) : tree.dropRange(range),
    )
  }

  #setGcSeqno(): void {
    const draw = this.#draw
    const old = this.#trees.native.gcSeqno
    const seqno = draw.oneIn(6)
      ? Math.max(0, old - draw.below(3))
      : draw.between(old, this.#seqno + 1)
    this.#all(`setGcSeqno ${seqno}`, (tree) => tree.setGcSeqno(seqno))
  }

  #badCall(): void {
    const draw = this.#draw
    const seqno = draw.pick<unknown>([-1, 1.5, 2 ** 53, '1', undefined, NaN, this.#seqno])
    const key = draw.pick<unknown>([
      '',
      Buffer.alloc(0),
      Buffer.alloc(65_536),
      'é'.repeat(40_000),
      'lone \ud800',
      7,
      null,
      'fine',
    ])
    const value = draw.pick<unknown>([undefined, 1, '\udfff', new Uint16Array(2), ''])
    const keys = draw.pick<unknown>([[key], ['a', key], 'ab', Array(2), new Set(['a']), 5])
    type Any = never
    const calls: Record<string, (tree: Tree) => unknown> = {
      insert: (tree) => tree.insertSync(key as Any, value as Any, seqno as Any).itemSize > 0,
      remove: (tree) => tree.removeSync(key as Any, seqno as Any).itemSize > 0,
      get: (tree) => tree.getSync(key as Any, seqno as Any),
      sizeOf: (tree) => tree.sizeOfSync(key as Any, seqno as Any),
      getMany: (tree) => tree.getManySync(keys as Any, seqno as Any),
      getText: (tree) => tree.getTextSync(key as Any, seqno as Any),
      getInto: (tree) => tree.getIntoSync('fine', 9, value as Any, seqno as Any),
      range: (tree) => tree.range({ gte: key as Any }, seqno as Any).toArraySync(),
      seek: (tree) => {
        using cursor = tree.iter(9).cursor()
        cursor.seek(key as Any)
      },
      setGcSeqno: (tree) => tree.setGcSeqno(seqno === this.#seqno ? -2 : (seqno as Any)),
      compact: (tree) => tree.compactSync({ kind: 'merge', tables: [seqno] } as Any),
      major: (tree) => tree.majorCompactionSync({ targetSize: seqno } as Any),
    }
    const name = draw.pick(Object.keys(calls))
    this.#all(`bad ${name} ${typeof key} ${typeof value} ${String(seqno)}`, calls[name]!)
  }

  /** Both are closed and opened again with other options, each perhaps by the other engine. */
  #reopen(): void {
    this.#all('close', (tree) => tree.closeSync())
    for (const { cursors, name } of this.#cursors) {
      this.comparison.callSync(`${name} after close`, cursors, (cursor) => cursor.nextSync())
    }
    this.#all('closed', (tree) => tree.getSync('a', 1))
    this.#cursors = []
    if (this.#draw.oneIn(2)) this.#swap()
    this.#open()
  }

  #swap(): void {
    const { native, typescript } = this.#paths
    Object.assign(this.#paths, { native: typescript, typescript: native })
    this.swaps += 2
  }
}

/** Its verdicts follow from the key, the value where it has that, and whether more lies below. */
function hashFilter(needsBlobValues: boolean): CompactionFilter {
  return {
    name: 'by a hash',
    needsBlobValues,
    filter: (entries) =>
      entries.map(({ key, value = Buffer.alloc(0), isLastLevel }): FilterVerdict => {
        const hash = [...key.subarray(-4), value.length].reduce((sum, n) => sum * 31 + n, 7)
        const verdicts: FilterVerdict[] = [
          'remove',
          'removeWeak',
          isLastLevel ? 'destroy' : 'keep',
          { replace: Buffer.concat([value, key.subarray(0, 10)]) },
          { replace: 'v'.repeat(hash % 3000) },
        ]
        return verdicts[hash % 40] ?? 'keep'
      }),
  }
}

/** A plan that names tables by their places: the file numbers may differ. */
function placed(plan: CompactionPlan | undefined, { levels }: Version): unknown {
  if (plan === undefined) return undefined
  const places = new Map(
    levels.flatMap((runs, level) =>
      runs.flatMap((run, i) => run.map(({ id }, j) => [id, `${level}/${i}/${j}`] as const)),
    ),
  )
  return { ...plan, tables: plan.tables.map((id) => places.get(id)) }
}
