/** What a flush or a compaction writes to: tables, and blob files where values are separated. */

import type { TreeSettings } from '../../engine.ts'
import { LEVEL_COUNT } from '../base/limits.ts'
import type { BlobFile } from '../blob/blob-file.ts'
import { SeparatingOutput } from './separating-output.ts'
import { writeOptions } from './table-options.ts'
import { TableOutput } from './table-output.ts'
import type { OutputOptions } from './table-output.ts'
import type { TreeContext } from './tree-context.ts'

/** Bytes of the level below that one output of a compaction may meet, in sizes of an output. */
const BELOW_FACTOR = 10

export interface OutputTarget extends Pick<
  OutputOptions,
  'targetSize' | 'fences' | 'below' | 'throttle' | 'unsyncedMax'
> {
  readonly level: number
  /** See Version.policyLevel. */
  readonly policyLevel: number
  /** Blob files that values are moved out of. */
  readonly relocated?: readonly BlobFile[]
}

export function jobOutput(
  { vfs, directory, manifest }: TreeContext,
  settings: TreeSettings,
  { level, policyLevel, relocated = [], ...target }: OutputTarget,
): TableOutput {
  const options: OutputOptions = {
    ...writeOptions(settings, policyLevel, level === LEVEL_COUNT - 1),
    ...target,
    belowBytesMax: BELOW_FACTOR * target.targetSize,
    vfs,
    directory,
    newFileNumber: () => manifest.newFileNumber(),
    createdAt: vfs.wallMillis(),
  }
  const { kvSeparation } = settings
  return kvSeparation === undefined
    ? new TableOutput(options)
    : new SeparatingOutput(options, kvSeparation, relocated)
}
