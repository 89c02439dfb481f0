// A workload over a database, all of it drawn from a seed: sync and async calls in any mixture,
// what waits going on in any order. It knows what the database has promised at any moment.

import { expect } from 'vitest'
import type { DatabaseSettings, TreeSettingsGiven } from '../../../lib/engine.ts'
import { ShaleError } from '../../../lib/errors.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import type { Commit } from '../../../lib/typescript/db/commit-queue.ts'
import { Database } from '../../../lib/typescript/db/database.ts'
import type { OpenIngestion } from '../../../lib/typescript/db/ingestions.ts'
import type { Keyspace } from '../../../lib/typescript/db/keyspace.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import type { Durability } from '../../../lib/types.ts'
import { contentsIn, rowsIn, SMALL, SMALL_BLOBS, SMALL_TREE } from './databases.ts'
import { difference, History, textOf } from './history.ts'
import type { Change } from './history.ts'
import { LateVfs } from './late-vfs.ts'
import { ingestionRows, watchIngestions } from './ingestions.ts'
import { Random } from './random.ts'
import { entryBytes } from './recoveries.ts'
import type { Contents } from './recoveries.ts'
import { Turns } from './turns.ts'

const KEYS = 30
const KEYSPACES = 6
/** Keyspaces that separate their values. */
const SEPARATED = new Set(['b', 'd', 'f'])
const DURABILITIES: readonly Durability[] = ['buffered', 'os', 'sync']

export interface WorkloadOptions {
  readonly seed: number
  readonly steps: number
  readonly memtable: number
  readonly maxJournalSize: number
  readonly maxWriteBufferSize: number
  /** Closes and opens again now and then. */
  readonly reopens: boolean
  /** Whether calls may fail; they do not without a reason. */
  readonly isFaulty: boolean
  /** Whether there are ingestions. */
  readonly ingests: boolean
  /** What a test changes in the database once it is open. */
  readonly onOpen?: (database: Database) => void
}

export function settingsOf({ maxJournalSize, maxWriteBufferSize }: WorkloadOptions) {
  return { ...SMALL, maxJournalSize, maxWriteBufferSize } satisfies DatabaseSettings
}

export function optionsOf(seed: number, more: Partial<WorkloadOptions> = {}): WorkloadOptions {
  return {
    seed,
    steps: 100,
    memtable: seed % 2 === 0 ? 2048 : 16 * 1024,
    maxJournalSize: seed % 3 === 0 ? 1 << 20 : 32 * 1024,
    maxWriteBufferSize: seed % 5 === 0 ? 24 * 1024 : 1 << 20,
    reopens: true,
    isFaulty: false,
    ingests: true,
    ...more,
  }
}

/** A write that was called. */
interface Issued {
  readonly bytes: Uint8Array
  readonly changes: readonly Change[]
  readonly serial: number
  /** Its number among all commits, once it is one. */
  number: number
}

/** A read seqno that is held, and what a read at it must find. */
interface Snapshot {
  readonly seqno: number
  readonly contents: Contents
}

export class CrashWorkload {
  readonly history: History = new History()
  readonly turns: Turns
  /** What no fault explains. */
  problem: string | undefined
  database: Database | undefined
  /** Calls that are not answered. */
  pending = 0
  /** Codes of the errors that calls ended with. */
  readonly codes: Set<string> = new Set()
  readonly #late: LateVfs
  readonly #options: WorkloadOptions
  readonly #random: Random
  #issued: Issued[] = []
  #serial = 0
  /** Of the last write that became a commit. */
  #lastSerial = 0
  /** The next commit gets this seqno, ... */
  #nextSeqno = 1
  /** ... and the first one of the open database got this one, after so many before. */
  #firstSeqno = 1
  #countAtOpen = 0
  /** The keyspace that is being created. */
  #creating: string | undefined
  /** Those whose creation has succeeded. */
  readonly #there = new Set<string>()
  /** The number of its commit. */
  #created = 0
  #snapshots: Snapshot[] = []
  /** Those that are written, and neither finished nor given up. */
  #ingestions: { readonly ingestion: OpenIngestion; readonly finished: () => void }[] = []
  #values = 0
  /** What is not durable may be lost. */
  #syncFailed = false
  #isOver = false
  /** By keyspace: its last commit that was acknowledged. */
  readonly #lastCommit = new Map<string, number>()

  /** `vfs`: what lies below the calls that wait. */
  constructor(vfs: Vfs, options: WorkloadOptions) {
    this.#options = options
    this.#random = new Random(options.seed)
    this.#late = new LateVfs(vfs)
    this.turns = new Turns(this.#late, this.#random)
  }

  async run(): Promise<void> {
    await this.open()
    for (let i = 0; i < this.#options.steps && this.#canGoOn; i++) {
      await this.#step()
      this.#checkLive()
      await this.turns.some()
      this.#checkLive()
    }
  }

  get #canGoOn(): boolean {
    return this.problem === undefined && this.database !== undefined && !this.hasFailed
  }

  get hasFailed(): boolean {
    return this.database?.status === 'failed'
  }

  #below(limit: number): number {
    return this.#random.below(limit)
  }

  #oneIn(count: number): boolean {
    return this.#below(count) === 0
  }

  #complain(problem: string): void {
    this.problem ??= problem
  }

  // --- opening and closing -----------------------------------------------------------------------

  /** Undefined afterwards if a fault kept it from opening. */
  async open(): Promise<void> {
    const settings = settingsOf(this.#options)
    try {
      const flow = Database.open(this.#late, '/db', settings)
      this.database = this.#oneIn(2) ? runSync(flow) : await this.turns.until(run(flow))
    } catch (error) {
      this.database = undefined
      this.#note(error)
      return
    }
    this.#watch(this.database)
    const { ackedOs, ackedSync } = this.history
    const found = this.#read(this.database, (contents) => {
      this.history.settleBy(contents)
      return this.history.prefixOf(contents, this.#syncFailed ? ackedSync : ackedOs)
    })
    if (found === undefined) {
      // What it holds is not known.
      await this.close(false)
      return
    }
    if (typeof found === 'string') this.#complain(`reopened to ${found}`)
    else this.#beginAt(found)
    this.#options.onOpen?.(this.database)
  }

  /** Undefined if a fault keeps it from being read. */
  #read<T>(database: Database, use: (contents: Contents) => T): T | undefined {
    let contents: Contents
    try {
      contents = contentsIn(database)
    } catch (error) {
      this.#note(error)
      return undefined
    }
    return use(contents)
  }

  #beginAt(count: number): void {
    const { history } = this
    if (count > history.count) history.push(history.maybe)
    else if (count < history.count) {
      if (!this.#options.isFaulty) this.#complain(`reopened to ${count} of ${history.count}`)
      history.cut(count)
      this.#lastCommit.clear()
    }
    history.maybe = []
    this.#creating = undefined
    this.#nextSeqno = this.database!.figures().seqno
    this.#firstSeqno = this.#nextSeqno
    this.#countAtOpen = history.count
    this.#snapshots = []
    this.#ingestions = []
    this.#there.clear()
    for (const { name } of this.database!.keyspaces.all()) this.#there.add(name)
  }

  /** Sees in which order writes become commits. */
  #watch(database: Database): void {
    const { writer } = database
    const append = writer.append.bind(writer)
    writer.append = (commits: readonly Commit[], first: number): void => {
      if (this.#isOver) return append(commits, first)
      this.#fillUpTo(first)
      append(commits, first)
      for (const commit of commits) this.#appended(commit)
      return undefined
    }
  }

  /** What is done from now on is none of it. */
  handOver(): void {
    this.#isOver = true
  }

  #appended({ entries }: Commit): void {
    const at = this.#issued.findIndex(({ bytes }) => Buffer.compare(bytes, entries) === 0)
    const [issued] = this.#issued.splice(at, 1)
    if (at < 0 || issued === undefined) return this.#complain('a commit that nobody called')
    if (issued.serial < this.#lastSerial) this.#complain('a later write was committed first')
    this.#lastSerial = issued.serial
    this.#push(issued.changes)
    issued.number = this.history.count
  }

  #push(changes: readonly Change[]): void {
    this.history.push(changes)
    this.#nextSeqno++
  }

  /** The records of keyspaces are commits of their own. */
  #fillUpTo(seqno: number): void {
    if (this.#isOver) return undefined
    while (this.#nextSeqno < seqno) {
      const { maybe } = this.history
      if (maybe.length === 0) return this.#complain('a commit out of nowhere')
      this.#push(maybe)
      const [{ keyspace, isTakenBack }] = maybe as [Change]
      if (isTakenBack !== true) this.#created = this.history.count
      const mayFail = isTakenBack !== true && this.#options.isFaulty
      this.history.maybe = mayFail ? [{ keyspace, isTakenBack: true }] : []
    }
    return undefined
  }

  async close(isSync: boolean): Promise<void> {
    const { database } = this
    if (database === undefined) return
    try {
      const flow = database.close()
      if (isSync) runSync(flow)
      else await this.turns.until(run(flow))
      this.history.acknowledge(this.history.count, 'sync')
    } catch (error) {
      this.#note(error)
    }
    this.database = undefined
  }

  // --- steps -------------------------------------------------------------------------------------

  async #step(): Promise<void> {
    const database = this.database!
    const lot = this.#below(100)
    if (database.keyspaces.all().length === 0 || lot < 5) return this.#openKeyspace()
    if (lot < 24) return this.#write(this.#fill(1), false)
    if (lot < 36) return this.#write(this.#fill(1 + this.#below(8)), false)
    if (lot < 58) return this.#write(this.#fill(1), true)
    if (lot < 72) return this.#write(this.#fill(1 + this.#below(8)), true)
    if (lot < 76) return this.#persist()
    if (lot < 80) return this.#rotate()
    if (lot < 86) return this.#flush()
    if (lot < 88) return this.#compact()
    if (lot < 91) return this.#options.ingests ? this.#ingest() : this.#rotate()
    if (lot < 92) return this.#snapshot()
    if (lot < 93) return this.#release()
    if (lot < 95) return this.#pauseOrResume()
    if (lot < 97 && this.#options.reopens) {
      await this.close(this.#oneIn(2))
      await this.open()
    }
    return undefined
  }

  #anyKeyspace(): Keyspace {
    const all = this.database!.keyspaces.all()
    return all[this.#below(all.length)]!
  }

  #anyDurability(): Durability {
    return DURABILITIES[this.#below(3)]!
  }

  #fill(count: number): Issued {
    const changes = Array.from({ length: count }, () => {
      const { name: keyspace } = this.#anyKeyspace()
      const key = `k${this.#below(KEYS)}`
      if (this.#oneIn(12)) {
        const end = this.#oneIn(3) ? undefined : `${key}${this.#below(9)}`
        return { keyspace, key: this.#oneIn(4) ? 'k' : key, range: { end } }
      }
      if (this.#oneIn(4)) return { keyspace, key }
      const length = this.#oneIn(40) ? 5000 : this.#oneIn(200) ? 70_000 : this.#below(60)
      return { keyspace, key, value: `${this.#values++} `.padEnd(length, 'v') }
    })
    const bytes = Buffer.concat(
      changes.map(({ keyspace, key, value, range }) => {
        const { id } = this.database!.keyspaces.all().find(({ name }) => name === keyspace)!
        if (range !== undefined) {
          const { end } = range
          return entryBytes(3, id, key, end === undefined ? '\u0001' : `\0${end}`)
        }
        return entryBytes(value === undefined ? 1 : 0, id, key, value)
      }),
    )
    return { bytes, changes, serial: ++this.#serial, number: 0 }
  }

  #write(issued: Issued, isSync: boolean): void {
    const database = this.database!
    const durability = this.#anyDurability()
    this.#issued.push(issued)
    const isOne = issued.changes.length === 1 && this.#oneIn(2)
    const done = (): void => {
      if (database !== this.database && this.#options.isFaulty) return
      this.history.acknowledge(issued.number, durability)
      this.#checkVisible(database, issued.number)
      for (const { keyspace } of issued.changes) {
        const before = this.#lastCommit.get(keyspace) ?? 0
        this.#lastCommit.set(keyspace, Math.max(before, issued.number))
      }
    }
    const refused = (): void => {
      this.#issued = this.#issued.filter((other) => other !== issued)
    }
    if (isSync) {
      try {
        if (isOne) database.writeOneSync(issued.bytes, durability)
        else database.writeSync(issued.bytes, durability)
        done()
      } catch (error) {
        refused()
        this.#note(error)
      }
      return
    }
    const call = isOne
      ? database.writeOne(issued.bytes, durability)
      : database.write(issued.bytes, durability)
    this.#follow(call, done, refused)
  }

  /** What was acknowledged is seen by every read that begins afterwards. */
  #checkVisible(database: Database, number: number): void {
    if (database !== this.database || number === 0) return
    if (this.#countOf(database.visible) < number) {
      this.#complain('a commit was acknowledged before it could be seen')
    }
  }

  #follow(
    call: Promise<unknown>,
    onDone: () => void = () => {},
    onFailure: () => void = () => {},
  ): void {
    this.pending++
    const follow = async (): Promise<void> => {
      try {
        await call
        onDone()
      } catch (error) {
        onFailure()
        this.#note(error)
      } finally {
        this.pending--
      }
    }
    void follow()
  }

  /** Errors that a close or a pause explains are none. */
  #note(error: unknown): void {
    if (!(error instanceof ShaleError)) {
      this.#complain(`no error of the engine: ${(error as Error).stack}`)
      return
    }
    this.codes.add(error.code)
    if (error.code === 'SYNC_FAILED') this.#syncFailed = true
    if (this.#options.isFaulty) return
    const isExplained = error.code === 'DB_CLOSED' || error.code === 'ABORTED'
    if (!isExplained) this.#complain(`a call failed: ${error.code} ${error.stack}`)
  }

  /** Now, or behind everybody's back. */
  #start(
    flow: Flow<unknown>,
    onDone: () => void = () => {},
    onFailure: () => void = () => {},
  ): void {
    if (this.#oneIn(2)) {
      this.#follow(run(flow), onDone, onFailure)
      return
    }
    try {
      runSync(flow)
      onDone()
    } catch (error) {
      onFailure()
      this.#note(error)
    }
  }

  #openKeyspace(): void {
    const database = this.database!
    const name = String.fromCodePoint(97 + this.#below(KEYSPACES))
    const plain: TreeSettingsGiven = { ...SMALL_TREE, maxMemtableSize: this.#options.memtable }
    const given = SEPARATED.has(name) ? { ...plain, kvSeparation: SMALL_BLOBS } : plain
    const flow = database.openKeyspace(name, given)
    if (database.keyspaces.names().includes(name)) return this.#start(flow)
    if (this.#creating !== undefined) {
      // Where the creation fails, who helps it on begins anew: its commits would be out of order.
      const mayHelp = this.#creating === name && !this.#options.isFaulty
      return mayHelp ? this.#start(flow) : undefined
    }
    this.#creating = name
    this.history.maybe = [{ keyspace: name }]
    this.#start(
      flow,
      () => this.#createdOrNot(database, true),
      () => this.#createdOrNot(database, false),
    )
    // Its record is a commit already.
    return this.#fillUpTo(database.figures().seqno)
  }

  #createdOrNot(database: Database, isCreated: boolean): void {
    const isHere = database === this.database && database.status !== 'closing'
    if (!isHere || this.#creating === undefined) return
    this.#fillUpTo(database.figures().seqno)
    if (isCreated) {
      this.#there.add(this.#creating)
      this.history.acknowledge(this.#created, 'sync')
    }
    // Where writing has ended it is unknown.
    if (database.status === 'failed') return
    this.#creating = undefined
    this.history.maybe = []
  }

  #persist(): void {
    const durability = this.#anyDurability()
    const { history } = this
    const persisted = { count: -1 }
    this.#start(this.database!.persist(durability), () => {
      const { count } = persisted
      history.acknowledge(count < 0 ? history.count : count, durability)
    })
    // What was called before has become a commit.
    persisted.count = history.count
  }

  #rotate(): void {
    this.database!.rotate(this.#anyKeyspace())
  }

  #flush(): void {
    const keyspace = this.#anyKeyspace()
    const number = this.#lastCommit.get(keyspace.name) ?? 0
    this.#start(this.database!.flush(keyspace), () => this.history.acknowledge(number, 'sync'))
  }

  #compact(): void {
    const { maintenance } = this.database!
    this.#start(maintenance.majorCompaction(this.#anyKeyspace(), 4096))
  }

  /** Begins an ingestion; or one that was begun finishes, or is given up. */
  #ingest(): void {
    const begun = this.#oneIn(3) ? undefined : this.#ingestions.pop()
    if (begun === undefined) return this.#beginIngestion()
    if (this.#oneIn(6)) return begun.ingestion.abort()
    return this.#start(begun.ingestion.finish(), begun.finished)
  }

  #beginIngestion(): void {
    const database = this.database!
    const keyspace = this.#anyKeyspace()
    const { name } = keyspace
    const keys = Array.from({ length: KEYS }, (_, i) => `k${i}`)
    const some = 1 + this.#below(6)
    const changes = keys
      .filter(() => this.#oneIn(some))
      .map((key): Change => {
        const length = this.#oneIn(40) ? 5000 : this.#below(60)
        const value = this.#oneIn(5) ? undefined : `${this.#values++} `.padEnd(length, 'i')
        return { keyspace: name, key, value }
      })
    let number = 0
    try {
      const ingestion = watchIngestions(keyspace.tree, () => database.startIngestion(keyspace), {
        begun: (seqno) => {
          this.#fillUpTo(seqno)
          number = this.history.pushIngestion(changes)
          this.#nextSeqno++
        },
        // Where a failure is not the only way to explain it, it may come to light later.
        ended: (isThere) => {
          if (isThere || !this.#options.isFaulty) this.history.settleIngestion(number, !isThere)
        },
      })
      ingestion.write(ingestionRows(changes))
      const finished = (): void => {
        if (database !== this.database && this.#options.isFaulty) return
        this.history.acknowledge(number, 'sync')
        this.#checkVisible(database, number)
      }
      this.#ingestions.push({ ingestion, finished })
    } catch (error) {
      this.#note(error)
    }
  }

  #pauseOrResume(): void {
    const { maintenance } = this.database!
    if (maintenance.state === 'paused') maintenance.resume()
    else if (this.#oneIn(2)) this.#follow(maintenance.pause())
    else this.#follow(maintenance.drain())
  }

  #snapshot(): void {
    const database = this.database!
    const { visible: seqno } = database
    database.snapshots.open(seqno)
    this.#snapshots.push({ seqno, contents: this.history.states[this.#countOf(seqno)]! })
  }

  #release(): void {
    const at = this.#below(this.#snapshots.length)
    const [snapshot] = this.#snapshots.splice(at, 1)
    if (snapshot !== undefined) this.database!.snapshots.close(snapshot.seqno)
  }

  // --- what must hold ----------------------------------------------------------------------------

  /** How many commits a read seqno sees. */
  #countOf(visible: number): number {
    return this.#countAtOpen + visible - this.#firstSeqno
  }

  #checkLive(): void {
    const { database, history } = this
    if (database === undefined || database.status === 'closed') return
    this.#fillUpTo(database.figures().seqno)
    const count = this.#countOf(database.visible)
    this.#read(database, (contents) => {
      this.#checkSame(history.states[count], contents, `contents of ${count}`)
    })
    try {
      for (const snapshot of this.#snapshots) this.#checkSnapshot(database, snapshot)
    } catch (error) {
      this.#note(error)
    }
  }

  #checkSnapshot(database: Database, { seqno, contents }: Snapshot): void {
    for (const keyspace of database.keyspaces.all()) {
      const rows = rowsIn({ visible: seqno }, keyspace)
      const { name } = keyspace
      this.#checkSame({ [name]: contents[name] ?? {} }, { [name]: rows }, `snapshot ${seqno}`)
    }
  }

  #checkSame(wanted: Contents | undefined, found: Contents, what: string): void {
    if (wanted === undefined) return this.#complain(`${what}: never were`)
    // A keyspace is there when it is there for good: later than its commit, or never.
    const there = Object.fromEntries(
      Object.entries(wanted).filter(([name]) => found[name] !== undefined || this.#there.has(name)),
    )
    if (textOf(there) !== textOf(found)) this.#complain(`${what}: ${difference(there, found)}`)
  }

  /** Every call is answered, and the database closed. */
  async end(): Promise<void> {
    await this.close(false)
    await this.turns.rest()
    if (this.pending > 0) this.#complain('a call is never answered')
    expect(this.problem).toBeUndefined()
  }
}
