/** Bare trees of the TypeScript engine. */

import type {
  BareTreeEngine,
  CompactorEngine,
  EntryKind,
  IngestionEngine,
  MajorCompaction,
  PlanData,
  StrategySetting,
  SuperVersionData,
} from '../engine.ts'
import { keyError, MAX_VALUE_BYTES } from '../errors.ts'
import type { KeyInput, ValueInput } from '../types.ts'
import { run, runSync } from './base/flow.ts'
import { READ_ALL } from './base/internal-key.ts'
import { keepAlive } from './base/keep-alive.ts'
import { encodeKey, keyBytes } from './base/key-bytes.ts'
import { valueBytes } from './db/entry-encoder.ts'
import { CompactionWatch } from './db/compaction-watch.ts'
import type { StandaloneTree } from './db/standalone-tree.ts'
import { TypescriptCompactor, watched } from './typescript-compactor.ts'
import { TypescriptIngestion } from './typescript-ingestion.ts'
import { TypescriptReads } from './typescript-reads.ts'
import { superVersionData } from './typescript-views.ts'

/** Closes the trees that were dropped. */
const abandoned = new FinalizationRegistry<StandaloneTree>((tree) => {
  run(tree.close()).catch(() => {}) // nobody is left to tell
})

export class TypescriptTree extends TypescriptReads implements BareTreeEngine {
  readonly path: string
  readonly compactor: CompactorEngine
  readonly #standalone: StandaloneTree
  #closing: Promise<void> | undefined

  constructor(standalone: StandaloneTree) {
    const { tree } = standalone
    super({ tree, visible: READ_ALL, holds: new Set(), check: () => standalone.check() })
    this.path = standalone.path
    this.#standalone = standalone
    this.compactor = new TypescriptCompactor(standalone)
    abandoned.register(this, standalone, this)
  }

  add(
    kind: EntryKind,
    key: KeyInput,
    value: ValueInput,
    seqno: number,
  ): { itemSize: number; memtableSize: number } {
    const keyLength = encodeKey(key)
    if (keyLength === 0) throw keyError(key)
    const bytes = valueBytes(value, MAX_VALUE_BYTES)
    return this.#standalone.add(kind, seqno, keyBytes, keyLength, bytes, bytes.length)
  }

  addRange(
    lower: Uint8Array,
    upper: Uint8Array | undefined,
    seqno: number,
  ): { itemSize: number; memtableSize: number } {
    return this.#standalone.addRange({ start: lower, end: upper, seqno })
  }

  gcSeqno(): number {
    this.#standalone.check()
    return this.#standalone.gcSeqno
  }

  setGcSeqno(seqno: number): void {
    this.#standalone.setGcSeqno(seqno)
  }

  rotateMemtable(): boolean {
    this.#standalone.check()
    return this.#standalone.rotate()
  }

  async flush(): Promise<void> {
    return keepAlive(run(this.#standalone.flush()))
  }

  flushSync(): void {
    runSync(this.#standalone.flush())
  }

  async compact(what: StrategySetting | PlanData): Promise<void> {
    return watched((watch) => run(this.#standalone.compact(what, watch)))
  }

  compactSync(what: StrategySetting | PlanData): void {
    runSync(this.#standalone.compact(what, new CompactionWatch()))
  }

  async majorCompaction(options: MajorCompaction): Promise<void> {
    return watched(
      (watch) => run(this.#standalone.majorCompaction(options.targetSize, watch)),
      options,
    )
  }

  majorCompactionSync({ targetSize }: MajorCompaction): void {
    runSync(this.#standalone.majorCompaction(targetSize, new CompactionWatch()))
  }

  async dropRange(lower: Uint8Array | undefined, upper: Uint8Array | undefined): Promise<void> {
    return watched((watch) => run(this.#standalone.dropRange(lower, upper, watch)))
  }

  dropRangeSync(lower: Uint8Array | undefined, upper: Uint8Array | undefined): void {
    runSync(this.#standalone.dropRange(lower, upper, new CompactionWatch()))
  }

  async startIngestion(seqno: number): Promise<IngestionEngine> {
    return this.startIngestionSync(seqno)
  }

  startIngestionSync(seqno: number): IngestionEngine {
    return new TypescriptIngestion(this.#standalone.startIngestion(seqno))
  }

  superVersionFor(seqno: number): SuperVersionData {
    this.#standalone.check()
    return superVersionData(this.#standalone.tree.superVersion.for(seqno))
  }

  superVersions(): readonly SuperVersionData[] {
    this.#standalone.check()
    return this.#standalone.tree.history().map(superVersionData)
  }

  async close(): Promise<void> {
    abandoned.unregister(this)
    this.#closing ??= keepAlive(run(this.#standalone.close()))
    return this.#closing
  }

  closeSync(): void {
    abandoned.unregister(this)
    runSync(this.#standalone.close())
  }
}
