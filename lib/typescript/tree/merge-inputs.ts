/** The merge of a compaction: tables are read and written anew, and nothing is installed yet. */

import type { PlanData, TreeSettings } from '../../engine.ts'
import type { Flow } from '../base/flow.ts'
import { LEVEL_COUNT } from '../base/limits.ts'
import type { BlobFile } from '../blob/blob-file.ts'
import { pointedInto, relocatedFiles } from './blob-upkeep.ts'
import { FilterQuestions } from './compaction-filter.ts'
import type { CompactionFilter } from './compaction-filter.ts'
import type { CompactionJob } from './compaction-job.ts'
import { jobOutput } from './job-output.ts'
import { rangesOfTable } from './kept-ranges.ts'
import { MergeIterator } from './merge-iterator.ts'
import { runMerge } from './merge-job.ts'
import type { Merged } from './merge-job.ts'
import { Placement } from './placement.ts'
import { RunIterator } from './run-iterator.ts'
import type { TableOutput } from './table-output.ts'
import type { Table } from './table.ts'
import type { TreeContext } from './tree-context.ts'
import { Version } from './version.ts'

/** Bytes that a compaction reads at once. */
const READ_AHEAD = 262_144

export interface MergeOrder {
  readonly context: TreeContext
  readonly settings: TreeSettings
  readonly version: Version<Table>
  readonly job: CompactionJob
  readonly plan: PlanData & { kind: 'merge' }
  /** No garbage is left in blob files that it points into. */
  readonly takesAllGarbage: boolean
  readonly filter: CompactionFilter | undefined
  readonly clock: () => number
  /** Throws to end the job. */
  readonly check: () => void
}

export function* mergeInputs(order: MergeOrder): Flow<Merged & { readonly output: TableOutput }> {
  const { context, settings, version, job, plan, filter, clock, check } = order
  const placement = new Placement(version, plan)
  const { destinationLevel: level, targetSize } = plan
  const relocated = relocatedBy(order)
  const files = filter?.needsBlobValues === true ? pointedInto(version.blobs, job.inputs) : []
  job.hold([...new Set([...relocated, ...files])])
  const output = jobOutput(context, settings, {
    level,
    policyLevel: placement.policyLevel,
    targetSize,
    relocated,
    fences: placement.fences(),
    below: placement.below(),
    throttle: (bytes) => context.throttle(bytes, () => !job.isStopped),
  })
  const questions =
    filter &&
    new FilterQuestions({
      filter,
      job,
      files,
      isLastLevel: level === LEVEL_COUNT - 1,
      now: context.vfs.wallMillis(),
      mayExistBelow: placement.mayExistBelow(),
    })
  const runs = Version.of(0, job.inputs).levels.flat()
  const merged = yield* runMerge({
    entries: new MergeIterator(runs.map((run) => new RunIterator(run, READ_AHEAD))),
    ranges: job.inputs.flatMap(rangesOfTable),
    view: yield* context.view(),
    mayExistBelow: placement.mayExistBelow(),
    mayHideBelow: placement.mayHideBelow(),
    output,
    ...(questions && { filter: questions }),
    clock,
    progress: (bytes) => {
      check()
      job.done = Math.min(job.total, job.done + bytes)
    },
  })
  return { ...merged, output }
}

/** Blob files that the merge moves values out of. */
function relocatedBy({ settings, version, job, takesAllGarbage }: MergeOrder): readonly BlobFile[] {
  const { kvSeparation } = settings
  if (kvSeparation === undefined || version.blobs.size === 0) return []
  return relocatedFiles(version.blobs, job.inputs, kvSeparation, takesAllGarbage)
}
