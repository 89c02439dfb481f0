/**
 * The addon as TypeScript sees it: its functions, and the register file that their numbers go
 * through.
 *
 * It is loaded once per copy of this module, by its import, so that its functions are constants to
 * the code that calls them. Where no binary loads, importing this is harmless: `loadFailure` says
 * why, and every function throws it. Where SHALE_ENGINE chooses the other engine, the addon is
 * loaded only when somebody asks for it all the same; then each of its functions is found by call.
 */

import type {
  DatabaseFigures,
  DatabaseMetricsData,
  DatabaseSettings,
  JobData,
  KeyspaceMetricsData,
  PlanData,
  RecoveryFigures,
  StrategySetting,
  SuperVersionData,
  TreeEngineSettings,
  TreeFigures,
  TreeSettings,
  VersionData,
} from '../engine.ts'
import type { KeyInput, ValueInput } from '../types.ts'
import { loadAddon } from './binding.ts'
import type { EventData } from './event-feed.ts'
import type { GivenFilter } from './filters.ts'
import type { DoorTreeSettings, StrategyQuestion } from './strategies.ts'
import { META_WORDS, PROTOCOL_VERSION } from './protocol.ts'

/** What the core says about a failure; `code` is an index of ERROR_CODES. */
export interface CoreError {
  readonly code: number
  readonly message?: string
  readonly indeterminate?: boolean
  readonly path?: string
  readonly keyspace?: string
  readonly syscall?: string
  readonly offset?: number
  readonly errno?: number
  readonly pid?: number
  readonly sameProcess?: boolean
  /** ABORTED: a filter or strategy failed. */
  readonly fromApplication?: boolean
  /** What it was asked then; see asked.ts. */
  readonly question?: number
  readonly cause?: CoreError
}

/**
 * The functions of the addon; see native/binding. Results that are numbers, and outcomes, are left
 * in the register file. Without `Sync` the outcome may be STATUS_PENDING: an answer will come.
 */
export interface Door {
  setSlab(slab: Uint8Array): void
  takeAnswers(): void
  takeBytes(target: Uint8Array): void
  takeError(): CoreError
  lastError(): CoreError
  release(): void
  /** The same for what nobody closed: the collector found it. */
  abandon(): void

  get(key: KeyInput): Buffer | undefined
  getText(key: KeyInput): string | undefined
  getInto(key: KeyInput, target: Uint8Array): void
  sizeOf(key: KeyInput): void
  getMany(keys: readonly KeyInput[]): void
  endMany(): void
  holdMany(): void
  resumeMany(): void
  getLater(key: KeyInput): void
  submitReads(): void
  treeFigures(): TreeFigures
  version(): VersionData
  superVersions(): SuperVersionData[]
  superVersionFor(): SuperVersionData
  settings(): TreeSettings
  approximateSize(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void

  openScan(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void
  fillSlab(): void
  fillBuffer(target: Uint8Array): void
  fillLater(): void
  seekScan(key: Uint8Array): void
  scanValue(key: KeyInput): Buffer | undefined
  scanValueLater(key: KeyInput): void

  openDatabase(path: string, settings: DatabaseSettings): void
  openDatabaseSync(path: string, settings: DatabaseSettings): void
  describeDatabase(): { path: string; recovery: RecoveryFigures }
  databaseStatus(): void
  close(): void
  closeSync(): void
  openKeyspace(name: string, given: DoorTreeSettings): void
  openKeyspaceSync(name: string, given: DoorTreeSettings): void
  describeKeyspace(): { id: number; name: string }
  keyspaceNames(): string[]
  insert(key: KeyInput, value: ValueInput): void
  insertSync(key: KeyInput, value: ValueInput): void
  remove(key: KeyInput): void
  removeSync(key: KeyInput): void
  write(entries: Uint8Array): void
  writeSync(entries: Uint8Array): void
  persist(): void
  persistSync(): void
  openSnapshot(): void
  closeSnapshot(): void
  figures(): DatabaseFigures
  rotate(): void
  flushKeyspace(): void
  flushKeyspaceSync(): void
  majorCompaction(): void
  majorCompactionSync(): void
  dropRange(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void
  dropRangeSync(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void
  compactKeyspace(plan: PlanData): void
  jobProgress(): void
  stopJob(): void
  compactorState(): void
  compactorJobs(): JobData[]
  resumeCompactor(): void
  pauseCompactor(): void
  drainCompactor(): void

  databaseMetrics(): DatabaseMetricsData
  treeMetrics(): KeyspaceMetricsData
  listen(): void
  takeEvents(): EventData[] | undefined

  onQuestions(answerQuestions: () => void): void
  addFilter(keyspace: string, filter: GivenFilter): void
  releaseCompactions(): void
  takeQuestion(): Buffer | StrategyQuestion | undefined
  answerQuestion(verdicts: Uint8Array): void
  answerWithPlan(plan: PlanData | undefined): void
  failQuestion(message: string): void

  startIngestion(): void
  startTreeIngestion(): void
  ingestRows(rows: Uint8Array): void
  finishIngestion(): void
  finishIngestionSync(): void

  openTree(path: string, settings: GivenTreeSettings): void
  openTreeSync(path: string, settings: GivenTreeSettings): void
  describeTree(): string
  addSync(key: KeyInput, value: ValueInput): void
  addRangeSync(lower: Uint8Array, upper: Uint8Array | undefined): void
  gcSeqno(): void
  setGcSeqno(): void
  rotateTree(): void
  flushTree(): void
  flushTreeSync(): void
  compactTree(what: PlanData | StrategySetting): void
  compactTreeSync(what: PlanData | StrategySetting): void
  compactWholeTree(): void
  compactWholeTreeSync(): void
  dropTreeRange(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void
  dropTreeRangeSync(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void
}

export type GivenTreeSettings = Omit<TreeEngineSettings, 'filter' | 'tree'> & {
  readonly tree: DoorTreeSettings
  readonly filter: GivenFilter | undefined
}

interface Addon {
  readonly protocolVersion: number
  bind(meta: Uint32Array, deliver: () => void): Door
}

const memory = new ArrayBuffer(META_WORDS * 4)
/** The register file, by words. Nothing that runs user code comes between a store and a call. */
export const META: Uint32Array = new Uint32Array(memory)
/** The same by doubles: word w is number w / 2. */
export const NUMBERS: Float64Array = new Float64Array(memory)

let deliver = (): void => {}
/** What is called when answers have come; set once, by completions.ts. */
export function onAnswers(handler: () => void): void {
  deliver = handler
}

let loaded: Door | Error | undefined

function load(): Door | Error {
  loaded ??= bindAddon()
  return loaded
}

function bindAddon(): Door | Error {
  try {
    const addon = loadAddon() as Addon
    if (addon.protocolVersion !== PROTOCOL_VERSION) {
      throw new Error('the native binary belongs to another version of shale')
    }
    return addon.bind(META, () => {
      deliver()
    })
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

/** Why no binary loads here, if it does not. */
export function loadFailure(): Error | undefined {
  const made = load()
  return made instanceof Error ? made : undefined
}

/** Loads the addon with the first call of any function. */
function doorOnDemand(): Door {
  return new Proxy({} as Door, {
    get:
      (_, name: keyof Door) =>
      (...args: unknown[]): unknown => {
        const made = load()
        if (made instanceof Error) throw made
        return (made[name] as (...given: unknown[]) => unknown)(...args)
      },
  })
}

function makeDoor(): Door {
  if (process.env['SHALE_ENGINE'] === 'typescript') return doorOnDemand()
  const made = load()
  return made instanceof Error ? doorOnDemand() : made
}

export const door: Door = makeDoor()
