// One run of random operations on two databases, one per engine, with every answer compared. What
// depends on when background work comes to its turn is not: which tables there are, and the figures
// about them.

import { rmSync } from 'node:fs'
import { join } from 'node:path'
import {
  Database,
  type Cursor,
  type DatabaseOptions,
  type Durability,
  type Ingestion,
  type Keyspace,
  type KeyRange,
  type KeyspaceOptions,
  type Snapshot,
  type WriteBatch,
} from '../../../lib/index.ts'
import { Draw, shownKey, shownRange } from './draw.ts'
import { Comparison, type Twin } from './twins.ts'

const NAMES = ['plain', 'Größe', '日本', '__proto__', 'a b', '\u{10ffff}']
/** Keyspaces that separate their values. */
const SEPARATED: ReadonlySet<string> = new Set(['Größe', '__proto__', '\u{10ffff}'])
/** Removed weakly only what was written once since its last removal. */
const ONCE = 1

export class DatabaseRun {
  readonly comparison: Comparison
  swaps = 0
  readonly #draw: Draw
  readonly #paths: Twin<string>
  #databases!: Twin<Database>
  #keyspaces: Twin<Keyspace>[] = []
  #snapshots: Twin<Snapshot>[] = []
  #cursors: { readonly name: string; readonly cursors: Twin<Cursor> }[] = []
  #writes = new Map<string, number>()

  constructor(title: string, directory: string, seed: number) {
    this.#draw = new Draw(seed)
    this.#paths = { native: join(directory, 'n'), typescript: join(directory, 't') }
    this.comparison = new Comparison(title, this.#paths)
  }

  async run(operations: number): Promise<void> {
    this.#open()
    for (let i = 0; i < operations; i++) {
      // oxlint-disable-next-line no-await-in-loop
      await this.#draw.weighted(this.#operations)()
    }
    await this.#close()
    for (const path of Object.values(this.#paths)) rmSync(path, { recursive: true })
  }

  /** What may come next, and how often. */
  readonly #operations: readonly (readonly [number, () => void | Promise<void>])[] = [
    [300, () => this.#write()],
    [150, () => this.#batch()],
    [12, () => this.#removeRange()],
    [6, () => this.#ingest()],
    [1, () => this.#clear()],
    [250, () => this.#get()],
    [30, () => this.#getMany()],
    [10, () => this.#ends()],
    [50, () => this.#scan()],
    [60, () => this.#cursor()],
    [20, () => this.#snapshot()],
    [10, () => this.#figures()],
    [12, () => this.#badCall()],
    [8, () => this.#keyspace()],
    [6, () => this.#flush()],
    [1, () => this.#major()],
    [10, () => this.#persist()],
    [2, () => this.#reopen()],
  ]

  #all(what: string, call: (db: Database) => unknown): void {
    this.comparison.callSync(what, this.#databases, call)
  }

  async #allAsync(what: string, call: (db: Database) => Promise<unknown>): Promise<void> {
    await this.comparison.call(what, this.#databases, call)
  }

  /** A call on a keyspace that both have. */
  #each(what: string, twin: Twin<Keyspace>, call: (keyspace: Keyspace) => unknown): void {
    this.comparison.callSync(`${twin.native.name}: ${what}`, twin, call)
  }

  async #eachAsync(
    what: string,
    twin: Twin<Keyspace>,
    call: (keyspace: Keyspace) => Promise<unknown>,
  ): Promise<void> {
    await this.comparison.call(`${twin.native.name}: ${what}`, twin, call)
  }

  // --- life --------------------------------------------------------------------------------------

  #options(): DatabaseOptions {
    // Nobody is to wait for what a slow device does.
    return { ...this.#draw.databaseOptions(), maxWriteBufferSize: 2 ** 28 }
  }

  #open(): void {
    const options = this.#options()
    this.#databases = {
      native: Database.openSync(this.#paths.native, { ...options, engine: 'native' }),
      typescript: Database.openSync(this.#paths.typescript, { ...options, engine: 'typescript' }),
    }
    this.#all('opened', (db) => [db.listKeyspaceNames(), db.recovery, db.seqno, db.visibleSeqno])
    this.#keyspaces = []
    this.#keyspace()
    for (const name of this.#databases.native.listKeyspaceNames()) {
      if (this.#draw.oneIn(2)) this.#openKeyspace(name, {})
    }
  }

  async #close(): Promise<void> {
    if (this.#draw.oneIn(2)) this.#all('close', (db) => db.closeSync())
    else await this.#allAsync('close', async (db) => db.close())
  }

  /** Handles that are left over are asked once more; each database may get the other engine. */
  async #reopen(): Promise<void> {
    const snapshot = this.#snapshots[0]
    const [keyspace] = this.#keyspaces
    await this.#close()
    this.#all('closed', (db) => [db.status, db.path === ''])
    this.#all('closed: batch', (db) => db.batch())
    this.#all('closed: names', (db) => db.listKeyspaceNames())
    this.#all('closed: close', (db) => db.closeSync())
    this.#each('closed: get', keyspace!, (one) => one.getSync('a'))
    this.#each('closed: insert', keyspace!, (one) => one.insertSync('a', ''))
    this.#each('closed: iter', keyspace!, (one) => one.iter())
    await this.#eachAsync('closed: get', keyspace!, async (one) => one.get('a'))
    await this.#eachAsync('closed: flush', keyspace!, async (one) => one.rotateMemtableAndWait())
    if (snapshot !== undefined) {
      this.comparison.callSync('closed: snapshot', snapshot, (one) => [one.closed, one.close()])
    }
    for (const { name, cursors } of this.#cursors) {
      this.comparison.callSync(`${name}: closed`, cursors, (cursor) => cursor.nextSync())
    }
    this.#cursors = []
    this.#snapshots = []
    if (this.#draw.oneIn(2)) {
      const { native, typescript } = this.#paths
      Object.assign(this.#paths, { native: typescript, typescript: native })
      this.swaps += 2
    }
    this.#open()
  }

  /** Opens or creates one, with options or as it is stored. */
  #keyspace(): void {
    const draw = this.#draw
    const name = draw.pick(NAMES)
    const options: KeyspaceOptions = {
      ...draw.treeOptions(['none', 'lz4', 'zstd']),
      ...(draw.oneIn(3) && { durability: draw.durability() }),
    }
    const codecs = ['none', 'lz4', 'zstd'] as const
    const separation = SEPARATED.has(name) ? { kvSeparation: draw.separation(codecs) } : {}
    this.#openKeyspace(name, { ...(draw.oneIn(2) && options), ...separation })
  }

  #openKeyspace(name: string, options: KeyspaceOptions): void {
    const { native, typescript } = this.#databases
    const twin = {
      native: native.keyspaceSync(name, options),
      typescript: typescript.keyspaceSync(name, options),
    }
    this.#each('opened', twin, (one) => [one.id, one.path.length > 0, JSON.stringify(one.options)])
    if (!this.#keyspaces.some((other) => other.native === twin.native)) this.#keyspaces.push(twin)
  }

  // --- writes ------------------------------------------------------------------------------------

  #durability(): { durability?: Durability } {
    return this.#draw.oneIn(3) ? { durability: this.#draw.durability() } : {}
  }

  /** What a removal of the key may be. */
  #removal(keyspace: Twin<Keyspace>, key: Buffer): 'remove' | 'removeWeak' {
    const id = `${keyspace.native.id} ${key.toString('latin1')}`
    const mayBeWeak = this.#writes.get(id) === ONCE
    this.#writes.set(id, 0)
    return mayBeWeak && this.#draw.oneIn(2) ? 'removeWeak' : 'remove'
  }

  #inserted(keyspace: Twin<Keyspace>, key: Buffer): void {
    const id = `${keyspace.native.id} ${key.toString('latin1')}`
    this.#writes.set(id, (this.#writes.get(id) ?? 0) + 1)
  }

  async #write(): Promise<void> {
    const draw = this.#draw
    const twin = draw.pick(this.#keyspaces)
    const key = draw.key()
    const value = draw.value()
    const options = this.#durability()
    const isSync = !draw.oneIn(4)
    if (draw.oneIn(4)) {
      const removal = this.#removal(twin, key)
      const what = `${removal} ${shownKey(key)}`
      if (isSync) this.#each(what, twin, (one) => one[`${removal}Sync`](key, options))
      else await this.#eachAsync(what, twin, async (one) => one[removal](key, options))
    } else {
      this.#inserted(twin, key)
      const what = `insert ${shownKey(key)}`
      if (isSync) this.#each(what, twin, (one) => one.insertSync(key, value, options))
      else await this.#eachAsync(what, twin, async (one) => one.insert(key, value, options))
    }
  }

  /** Of what is in a range nothing was written since. */
  #rangeRemoved(keyspace: Keyspace, { gt, gte, lt, lte }: KeyRange): void {
    const [after, from, before, to] = [gt, gte, lt, lte].map((bound) => bound as Buffer | undefined)
    for (const id of this.#writes.keys()) {
      const space = id.indexOf(' ')
      const key = Buffer.from(id.slice(space + 1), 'latin1')
      const isInside =
        Number(id.slice(0, space)) === keyspace.id &&
        (after === undefined || Buffer.compare(key, after) > 0) &&
        (from === undefined || Buffer.compare(key, from) >= 0) &&
        (before === undefined || Buffer.compare(key, before) < 0) &&
        (to === undefined || Buffer.compare(key, to) <= 0)
      if (isInside) this.#writes.set(id, 0)
    }
  }

  async #removeRange(): Promise<void> {
    const twin = this.#draw.pick(this.#keyspaces)
    const range = this.#draw.range()
    const options = this.#durability()
    const what = `removeRange ${shownRange(range)}`
    this.#rangeRemoved(twin.native, range)
    if (this.#draw.oneIn(4)) {
      await this.#eachAsync(what, twin, async (one) => one.removeRange(range, options))
    } else {
      this.#each(what, twin, (one) => one.removeRangeSync(range, options))
    }
  }

  async #ingest(): Promise<void> {
    const draw = this.#draw
    const twin = draw.pick(this.#keyspaces)
    const isAborted = draw.oneIn(8)
    const rows = draw.rows().map(([key, value]) => {
      if (isAborted) return { key, value, isWeak: false }
      if (value !== undefined) this.#inserted(twin, key)
      return {
        key,
        value,
        isWeak: value === undefined && this.#removal(twin, key) === 'removeWeak',
      }
    })
    const fill = (ingestion: Ingestion): void => {
      for (const { key, value, isWeak } of rows) {
        if (value !== undefined) ingestion.write(key, value)
        else if (isWeak) ingestion.writeWeakTombstone(key)
        else ingestion.writeTombstone(key)
      }
    }
    const what = `ingest ${rows.length}`
    if (draw.oneIn(3)) {
      await this.#eachAsync(what, twin, async (one) => {
        const ingestion = await one.startIngestion()
        fill(ingestion)
        return isAborted ? ingestion.abort() : ingestion.finish()
      })
    } else {
      this.#each(what, twin, (one) => {
        const ingestion = one.startIngestionSync()
        fill(ingestion)
        return isAborted ? ingestion.abort() : ingestion.finishSync()
      })
    }
    this.#all('seqno', (db) => [db.seqno, db.visibleSeqno])
  }

  async #clear(): Promise<void> {
    const twin = this.#draw.pick(this.#keyspaces)
    this.#rangeRemoved(twin.native, {})
    if (this.#draw.oneIn(2)) this.#each('clear', twin, (one) => one.clearSync())
    else await this.#eachAsync('clear', twin, async (one) => one.clear())
  }

  async #batch(): Promise<void> {
    const draw = this.#draw
    const { native, typescript } = this.#databases
    const batches: Twin<WriteBatch> = { native: native.batch(), typescript: typescript.batch() }
    const before = [...this.#writes]
    for (let count = draw.pick([0, 1, 2, 5, 30]); count > 0; count--) this.#add(batches)
    if (draw.oneIn(20)) {
      this.comparison.callSync('batch: clear', batches, (one) => !one.clear())
      this.#writes = new Map(before)
    }
    const options = this.#durability()
    const what = `commit ${batches.native.length}`
    const length = (one: WriteBatch): number => one.length
    if (draw.oneIn(3)) {
      await this.comparison.call(what, batches, async (one) => one.commit(options))
    } else {
      this.comparison.callSync(what, batches, (one) => one.commitSync(options))
    }
    this.comparison.callSync('batch: length', batches, length)
    this.#all('seqno', (db) => [db.seqno, db.visibleSeqno])
  }

  /** In a batch of its own keys, the last operation on one holds. */
  #add(batches: Twin<WriteBatch>): void {
    const draw = this.#draw
    const { native: n, typescript: t } = draw.pick(this.#keyspaces)
    const key = draw.key()
    if (draw.oneIn(15)) {
      const range = draw.range()
      batches.native.removeRange(n, range)
      batches.typescript.removeRange(t, range)
      this.#rangeRemoved(n, range)
    } else if (draw.oneIn(4)) {
      batches.native.remove(n, key)
      batches.typescript.remove(t, key)
      this.#writes.set(`${n.id} ${key.toString('latin1')}`, 0)
    } else {
      const value = draw.value()
      batches.native.insert(n, key, value)
      batches.typescript.insert(t, key, value)
      // Twice in a batch is once; where that matters, a plain removal is not wrong.
      this.#writes.set(`${n.id} ${key.toString('latin1')}`, ONCE + 1)
    }
  }

  // --- reads -------------------------------------------------------------------------------------

  /** A snapshot for each, or none. */
  #readOptions(): Twin<{ snapshot?: Snapshot }> {
    if (this.#snapshots.length === 0 || this.#draw.oneIn(2)) return { native: {}, typescript: {} }
    const { native, typescript } = this.#draw.pick(this.#snapshots)
    return { native: { snapshot: native }, typescript: { snapshot: typescript } }
  }

  /** A keyspace of each, with what its reads are told. */
  #reader(): Twin<readonly [Keyspace, { snapshot?: Snapshot }]> {
    const { native, typescript } = this.#draw.pick(this.#keyspaces)
    const options = this.#readOptions()
    return {
      native: [native, options.native],
      typescript: [typescript, options.typescript],
    }
  }

  async #get(): Promise<void> {
    const draw = this.#draw
    const twin = this.#reader()
    const key = draw.key()
    const what = `get ${twin.native[0].name} ${shownKey(key)}`
    const form = draw.pick(['sync', 'sync', 'sync', 'text', 'into', 'size', 'async'] as const)
    if (form === 'async') {
      await this.comparison.call(what, twin, async ([one, options]) =>
        Promise.all([
          one.get(key, options),
          one.getText(key, options),
          one.sizeOf(key, options),
          one.containsKey(key, options),
        ]),
      )
      return
    }
    const length = draw.pick([4, 100, 200_000])
    this.comparison.callSync(what, twin, ([one, options]) => {
      if (form === 'sync') return one.getSync(key, options)
      if (form === 'text') return one.getTextSync(key, options)
      if (form === 'size') return [one.sizeOfSync(key, options), one.containsKeySync(key, options)]
      const target = Buffer.alloc(length)
      return [one.getIntoSync(key, target, 2, options), target]
    })
  }

  async #getMany(): Promise<void> {
    const twin = this.#reader()
    const keys = Array.from({ length: this.#draw.below(30) }, () => this.#draw.key())
    const what = `getMany ${twin.native[0].name} ${keys.length}`
    if (this.#draw.oneIn(4)) {
      await this.comparison.call(what, twin, async ([one, options]) => one.getMany(keys, options))
    } else {
      this.comparison.callSync(what, twin, ([one, options]) => one.getManySync(keys, options))
    }
  }

  async #ends(): Promise<void> {
    const twin = this.#reader()
    const what = `ends ${twin.native[0].name}`
    if (this.#draw.oneIn(3)) {
      await this.comparison.call(what, twin, async ([one, options]) =>
        Promise.all([
          one.firstKeyValue(options),
          one.lastKeyValue(options),
          one.len(options),
          one.isEmpty(options),
        ]),
      )
      return
    }
    this.comparison.callSync(what, twin, ([one, options]) => [
      one.firstKeyValueSync(options),
      one.lastKeyValueSync(options),
      one.lenSync(options),
      one.isEmptySync(options),
      one.approximateLen() >= (options.snapshot === undefined ? one.lenSync() : 0),
    ])
  }

  async #scan(): Promise<void> {
    const draw = this.#draw
    const twin = this.#reader()
    const range = {
      ...draw.range(),
      reverse: draw.oneIn(2),
      limit: draw.pick([-1, -1, 0, 1, 5, 60]),
      batchSize: draw.pick([1, 100, 4000, 2 ** 16]),
    }
    const what = `scan ${twin.native[0].name} ${shownRange(range)}`
    const form = draw.pick(['pairs', 'pairs', 'keys', 'values', 'prefix', 'async'] as const)
    const prefix = draw.key().subarray(0, draw.below(4))
    if (form === 'async') {
      await this.comparison.call(what, twin, async ([one, options]) =>
        one.range({ ...range, ...options }).toArray(),
      )
      return
    }
    this.comparison.callSync(what, twin, ([one, options]) => {
      if (form === 'prefix') return one.prefix(prefix, options).toArraySync()
      const rows = one.range({ ...range, ...options })
      if (form === 'keys') return [...rows.keys()]
      return form === 'values' ? [...rows.values()] : rows.toArraySync()
    })
  }

  /** Cursors stay open over whatever happens: they read one state. */
  async #cursor(): Promise<void> {
    const draw = this.#draw
    if (this.#cursors.length === 0 || (this.#cursors.length < 4 && draw.oneIn(8))) {
      const twin = this.#reader()
      const range = { ...draw.range(), reverse: draw.oneIn(2) }
      const open = ([one, options]: readonly [Keyspace, { snapshot?: Snapshot }]): Cursor =>
        one.range({ ...range, ...options }).cursor()
      this.#cursors.push({
        name: `cursor ${twin.native[0].name} ${shownRange(range)}`,
        cursors: { native: open(twin.native), typescript: open(twin.typescript) },
      })
      return
    }
    const held = draw.pick(this.#cursors)
    const { name, cursors } = held
    if (draw.oneIn(12)) {
      this.comparison.callSync(`${name}: close`, cursors, (cursor) => cursor.close())
      this.#cursors = this.#cursors.filter((other) => other !== held)
      return
    }
    for (let steps = draw.between(1, 6); steps > 0; steps--) {
      const key = draw.key()
      const step = draw.pick(['next', 'next', 'nextBack', 'nextBack', 'seek', 'async'] as const)
      if (step === 'async') {
        // oxlint-disable-next-line no-await-in-loop
        await this.comparison.call(`${name}: next`, cursors, async (cursor) => cursor.next())
      } else {
        this.comparison.callSync(`${name}: ${step}`, cursors, (cursor) => {
          if (step === 'next') return cursor.nextSync()
          if (step === 'nextBack') return cursor.nextBackSync()
          return [cursor.seek(key), cursor.nextSync()]
        })
      }
    }
  }

  #snapshot(): void {
    const draw = this.#draw
    if (this.#snapshots.length === 0 || (this.#snapshots.length < 5 && draw.oneIn(2))) {
      const { native, typescript } = this.#databases
      const twin = { native: native.snapshot(), typescript: typescript.snapshot() }
      this.comparison.callSync('snapshot', twin, (one) => [one.seqno, one.closed])
      this.#snapshots.push(twin)
      return
    }
    const twin = draw.pick(this.#snapshots)
    this.#snapshots = this.#snapshots.filter((other) => other !== twin)
    this.comparison.callSync('snapshot: close', twin, (one) => [one.close(), one.closed])
    const [keyspace] = this.#keyspaces
    const reader: Twin<readonly [Keyspace, Snapshot]> = {
      native: [keyspace!.native, twin.native],
      typescript: [keyspace!.typescript, twin.typescript],
    }
    this.comparison.callSync('snapshot: closed', reader, ([one, snapshot]) =>
      one.getSync('a', { snapshot }),
    )
  }

  // --- the rest ----------------------------------------------------------------------------------

  #figures(): void {
    this.#all('figures', (db) => [
      db.seqno,
      db.visibleSeqno,
      db.cacheCapacity,
      db.status,
      db.keyspaceCount,
      db.listKeyspaceNames(),
      NAMES.map((name) => db.keyspaceExists(name)),
      db.journalCount > 0,
      db.journalDiskSpace() > 0,
      db.diskSpace() >= db.journalDiskSpace(),
    ])
  }

  async #flush(): Promise<void> {
    const twin = this.#draw.pick(this.#keyspaces)
    const form = this.#draw.pick(['rotate', 'sync', 'async'] as const)
    if (form === 'rotate') this.#each('rotate', twin, (one) => void one.rotateMemtable())
    else if (form === 'sync') this.#each('flush', twin, (one) => one.rotateMemtableAndWaitSync())
    else await this.#eachAsync('flush', twin, async (one) => one.rotateMemtableAndWait())
  }

  async #major(): Promise<void> {
    const twin = this.#draw.pick(this.#keyspaces)
    const options = { targetSize: this.#draw.pick([4096, 100_000]) }
    if (this.#draw.oneIn(2)) {
      this.#each('major', twin, (one) => one.majorCompactionSync(options))
    } else await this.#eachAsync('major', twin, async (one) => one.majorCompaction(options))
  }

  async #persist(): Promise<void> {
    const mode = this.#draw.durability()
    if (this.#draw.oneIn(2)) this.#all(`persist ${mode}`, (db) => db.persistSync(mode))
    else await this.#allAsync(`persist ${mode}`, async (db) => db.persist(mode))
  }

  async #badCall(): Promise<void> {
    const draw = this.#draw
    type Any = never
    const key = draw.pick<unknown>(['', 'lone \ud800', 7, null, Buffer.alloc(65_536), [1], 'fine'])
    const value = draw.pick<unknown>([undefined, 1, '\udfff', new Uint16Array(2), {}, ''])
    const options = draw.pick<unknown>([{ durability: 'never' }, { durably: true }, 3, [], null])
    const name = draw.pick<unknown>(['', 'a\0b', 'n'.repeat(256), 7, '\ud800', undefined])
    const bad: Record<string, (one: Keyspace) => unknown> = {
      insert: (one) => one.insertSync(key as Any, value as Any),
      remove: (one) => one.removeSync(key as Any, options as Any),
      get: (one) => one.getSync(key as Any, options as Any),
      getMany: (one) => one.getManySync(['a', key] as Any),
      getInto: (one) => one.getIntoSync('fine', value as Any, 9),
      range: (one) => one.range({ gte: key, gt: 'a' } as Any),
      removeRange: (one) => one.removeRangeSync({ gte: key, lt: value } as Any, options as Any),
      limit: (one) => one.iter({ limit: value } as Any).toArraySync(),
      prefix: (one) => one.prefix(value as Any).toArraySync(),
      major: (one) => one.majorCompactionSync({ targetSize: 1 }),
      snapshot: (one) => one.getSync('a', { snapshot: {} as Any }),
    }
    const twin = draw.pick(this.#keyspaces)
    const call = draw.pick(Object.keys(bad))
    const what = `bad ${call} ${typeof key} ${typeof value}`
    if (draw.oneIn(3)) await this.#eachAsync(what, twin, async (one) => bad[call]!(one))
    else this.#each(what, twin, bad[call]!)
    this.#all(`bad name ${typeof name}`, (db) => db.keyspaceSync(name as Any))
    this.#all('bad options', (db) => db.keyspaceSync('plain', { filter: value } as Any).id)
    this.#all('bad mode', (db) => db.persistSync(value as Any))
    const { native, typescript } = this.#databases
    // Of the other database: each is a stranger to the other.
    const strangers: Twin<readonly [Database, Keyspace]> = {
      native: [native, twin.typescript],
      typescript: [typescript, twin.native],
    }
    this.comparison.callSync('bad stranger', strangers, ([db, keyspace]) =>
      db.batch().insert(keyspace, 'a', 'b'),
    )
  }
}
