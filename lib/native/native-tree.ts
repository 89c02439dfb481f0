/** Bare trees of the native engine. */

import type {
  BareTreeEngine,
  CompactorEngine,
  EntryKind,
  IngestionEngine,
  MajorCompaction,
  PlanData,
  StrategySetting,
  SuperVersionData,
  TreeEngineSettings,
} from '../engine.ts'
import { checkInBounds, keyError, MAX_VALUE_BYTES, valueError } from '../errors.ts'
import type { KeyInput, ValueInput } from '../types.ts'
import { door, META, NUMBERS } from './addon.ts'
import { announce, completion } from './completions.ts'
import { Core, releaseWith } from './core.ts'
import { failure } from './failure.ts'
import { startedJob } from './jobs.ts'
import { NativeCompactor } from './native-compactor.ts'
import { startedLater, startTreeIngestion } from './native-ingestion.ts'
import { NativeReads } from './native-reads.ts'
import {
  META_COUNT,
  META_FLAGS,
  META_HANDLE,
  META_NUMBER,
  META_NUMBER2,
  META_SEQNO,
  META_STATUS,
  STATUS_BAD_KEY,
  STATUS_BAD_VALUE,
} from './protocol.ts'

const { addSync } = door

/** Opens what can be read of the tree whose core is `handle`; its path is the result. */
function describe(handle: number): { path: string; reads: number } {
  META[META_HANDLE] = handle
  const path = door.describeTree()
  return { path, reads: META[META_HANDLE] }
}

export class NativeTree extends NativeReads implements BareTreeEngine {
  readonly path: string
  readonly compactor: CompactorEngine
  /** Held here, with what the core asks: see asked.ts. */
  readonly given: TreeEngineSettings
  readonly #core: Core
  readonly #reads: number

  /** What can be read has a handle of its own, which goes with the core's. */
  static open(handle: number, settings: TreeEngineSettings): NativeTree {
    const core = new Core(handle)
    const { path, reads } = describe(handle)
    return new NativeTree(core, path, reads, settings)
  }

  private constructor(core: Core, path: string, reads: number, settings: TreeEngineSettings) {
    super(reads, undefined)
    this.given = settings
    this.path = path
    this.#core = core
    this.#reads = reads
    this.compactor = new NativeCompactor(core)
    releaseWith(this, core)
    releaseWith(this, new Core(reads))
  }

  add(
    kind: EntryKind,
    key: KeyInput,
    value: ValueInput,
    seqno: number,
  ): { itemSize: number; memtableSize: number } {
    checkInBounds(value)
    META[META_HANDLE] = this.#core.handle
    META[META_FLAGS] = kind
    NUMBERS[META_SEQNO / 2] = seqno
    addSync(key, value)
    const status = META[META_STATUS] as number
    if (status !== 0) {
      if (status === STATUS_BAD_KEY) throw keyError(key)
      if (status === STATUS_BAD_VALUE) throw valueError(value, MAX_VALUE_BYTES)
      throw failure(status)
    }
    return {
      itemSize: NUMBERS[META_NUMBER / 2] as number,
      memtableSize: NUMBERS[META_NUMBER2 / 2] as number,
    }
  }

  addRange(
    lower: Uint8Array,
    upper: Uint8Array | undefined,
    seqno: number,
  ): { itemSize: number; memtableSize: number } {
    META[META_HANDLE] = this.#core.handle
    NUMBERS[META_SEQNO / 2] = seqno
    door.addRangeSync(lower, upper)
    this.#core.check()
    return {
      itemSize: NUMBERS[META_NUMBER / 2] as number,
      memtableSize: NUMBERS[META_NUMBER2 / 2] as number,
    }
  }

  gcSeqno(): number {
    META[META_HANDLE] = this.#core.handle
    door.gcSeqno()
    this.#core.check()
    return NUMBERS[META_NUMBER / 2] as number
  }

  setGcSeqno(seqno: number): void {
    META[META_HANDLE] = this.#core.handle
    NUMBERS[META_SEQNO / 2] = seqno
    door.setGcSeqno()
    this.#core.check()
  }

  rotateMemtable(): boolean {
    META[META_HANDLE] = this.#core.handle
    door.rotateTree()
    this.#core.check()
    return META[META_COUNT] === 1
  }

  flush(): Promise<void> {
    META[META_HANDLE] = this.#core.handle
    announce()
    door.flushTree()
    return completion(this)
  }

  flushSync(): void {
    META[META_HANDLE] = this.#core.handle
    door.flushTreeSync()
    this.#core.check()
  }

  compact(what: StrategySetting | PlanData): Promise<void> {
    META[META_HANDLE] = this.#core.handle
    announce()
    door.compactTree(what)
    return startedJob(this)
  }

  compactSync(what: StrategySetting | PlanData): void {
    META[META_HANDLE] = this.#core.handle
    door.compactTreeSync(what)
    this.#core.check()
  }

  majorCompaction(options: MajorCompaction): Promise<void> {
    META[META_HANDLE] = this.#core.handle
    NUMBERS[META_NUMBER / 2] = options.targetSize ?? 0
    announce()
    door.compactWholeTree()
    return startedJob(this, options)
  }

  majorCompactionSync(options: MajorCompaction): void {
    META[META_HANDLE] = this.#core.handle
    NUMBERS[META_NUMBER / 2] = options.targetSize ?? 0
    door.compactWholeTreeSync()
    this.#core.check()
  }

  dropRange(lower: Uint8Array | undefined, upper: Uint8Array | undefined): Promise<void> {
    META[META_HANDLE] = this.#core.handle
    announce()
    door.dropTreeRange(lower, upper)
    return startedJob(this)
  }

  dropRangeSync(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void {
    META[META_HANDLE] = this.#core.handle
    door.dropTreeRangeSync(lower, upper)
    this.#core.check()
  }

  startIngestion(seqno: number): Promise<IngestionEngine> {
    return startedLater(() => this.startIngestionSync(seqno))
  }

  startIngestionSync(seqno: number): IngestionEngine {
    return startTreeIngestion(this.#core.handle, seqno)
  }

  superVersions(): readonly SuperVersionData[] {
    META[META_HANDLE] = this.#reads
    const versions = door.superVersions()
    this.#core.check()
    return versions
  }

  superVersionFor(seqno: number): SuperVersionData {
    META[META_HANDLE] = this.#reads
    NUMBERS[META_SEQNO / 2] = seqno
    const version = door.superVersionFor()
    this.#core.check()
    return version
  }

  close(): Promise<void> {
    return this.#core.close()
  }

  closeSync(): void {
    this.#core.closeSync()
  }
}
