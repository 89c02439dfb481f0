/**
 * The compaction filter of a tree: what its jobs ask about the entries that they would keep. Twin
 * of native/tree/compaction_filter.h.
 */

import type { ApplicationFilterSource, CheckedVerdict, FilterSource } from '../../engine.ts'
import { asyncFilterFailure, predicateOf } from '../../compaction-filter.ts'
import { decodeBlobPointer } from '../base/blob-pointer.ts'
import { Io } from '../base/flow.ts'
import type { Flow, Slice } from '../base/flow.ts'
import { KIND_BLOB_POINTER } from '../base/internal-key.ts'
import { scannersOf } from '../blob/blob-scanner.ts'
import type { BlobScanner } from '../blob/blob-scanner.ts'
import type { BlobFile } from '../blob/blob-file.ts'
import type { CompactionJob } from './compaction-job.ts'
import type { JobFilter } from './filtered-output.ts'
import type { MayExistBelow } from './retention.ts'
import { pointsAstray } from './version-blobs.ts'

export const KEEP = 0
export const REMOVE = 1
export const DESTROY = 3

/** A version that would be kept: a value, or a pointer to one. */
export interface Candidate {
  readonly kind: number
  readonly key: Uint8Array
  readonly value: Uint8Array
}

export class CompactionFilter {
  readonly source: FilterSource
  /** Who brought it. */
  readonly owner: unknown
  /** It has answered with a promise: those who cannot wait need not ask. */
  answersLater = false

  constructor(source: FilterSource, owner: unknown) {
    this.source = source
    this.owner = owner
  }

  /** Whether values in blob files are read for it. */
  get needsBlobValues(): boolean {
    const { source } = this
    if (source.type === 'ttl') return source.in === 'value'
    return source.type === 'application' && source.needsBlobValues
  }
}

export interface QuestionParts {
  readonly filter: CompactionFilter
  readonly job: CompactionJob
  /** All blob files that entries point into, if their values are needed; the job holds them. */
  readonly files: readonly BlobFile[]
  readonly isLastLevel: boolean
  /** Milliseconds since the epoch. */
  readonly now: number
  readonly mayExistBelow: MayExistBelow
}

/** The filter of a tree, for one of its jobs. */
export class FilterQuestions implements JobFilter {
  readonly mayExistBelow: MayExistBelow
  readonly #filter: CompactionFilter
  readonly #job: CompactionJob
  readonly #isLastLevel: boolean
  /** Milliseconds since the epoch. */
  readonly #now: number
  /** Of the files that entries point into, past the cache. */
  readonly #scanners: ReadonlyMap<number, BlobScanner>

  constructor({ filter, job, files, isLastLevel, now, mayExistBelow }: QuestionParts) {
    this.#filter = filter
    this.#job = job
    this.#isLastLevel = isLastLevel
    this.#now = now
    this.#scanners = scannersOf(files)
    this.mayExistBelow = mayExistBelow
  }

  /** Bytes of the value that it will be asked with. */
  sizeOf({ kind, value }: Candidate): number {
    if (kind !== KIND_BLOB_POINTER) return value.length
    return this.#filter.needsBlobValues ? decodeBlobPointer(value, 0).rawLength : 0
  }

  /** One verdict for each. */
  *ask(candidates: readonly Candidate[], slice: Slice): Flow<readonly CheckedVerdict[]> {
    const values: (Uint8Array | undefined)[] = []
    for (const candidate of candidates) {
      values.push(yield* this.#valueOf(candidate))
      if (slice.isOver) yield* slice.pass
    }
    const { source } = this.#filter
    if (source.type === 'application') return yield* this.#judge(source, candidates, values)
    const isDropped = predicateOf(source)
    return candidates.map(({ key }, i) => {
      return isDropped({ key, value: values[i] }, this.#now) ? REMOVE : KEEP
    })
  }

  *#valueOf({ kind, key, value }: Candidate): Flow<Uint8Array | undefined> {
    if (kind !== KIND_BLOB_POINTER) return value
    if (!this.#filter.needsBlobValues) return undefined
    const pointer = decodeBlobPointer(value, 0)
    const scanner = this.#scanners.get(pointer.fileNumber)
    if (scanner === undefined) throw pointsAstray(pointer.fileNumber)
    return yield* scanner.value(pointer, key, 0, key.length)
  }

  /** The application gets bytes of its own. */
  #judge(
    source: ApplicationFilterSource,
    candidates: readonly Candidate[],
    values: readonly (Uint8Array | undefined)[],
  ): Io<readonly CheckedVerdict[]> {
    const filter = this.#filter
    const judge = (): ReturnType<ApplicationFilterSource['judge']> => {
      const isLastLevel = this.#isLastLevel
      const answer = source.judge(
        candidates.map(({ key }, i) => {
          const value = values[i]
          return { key: Buffer.from(key), value: value && Buffer.from(value), isLastLevel }
        }),
      )
      if (answer instanceof Promise) filter.answersLater = true
      return answer
    }
    return new Io<readonly CheckedVerdict[]>(
      () => {
        const answer = judge()
        if (!(answer instanceof Promise)) return answer
        answer.catch(() => {}) // it comes too late
        throw asyncFilterFailure(source)
      },
      async () => {
        const answer = judge()
        return answer instanceof Promise ? this.#job.answerOf(answer) : answer
      },
    )
  }
}
