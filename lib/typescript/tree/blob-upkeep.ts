/**
 * Which garbage of blob files is collected, and when. A merge moves the live values of files that
 * are stale enough; where no merge comes by, tables that point into such a file are rewritten in
 * their place.
 */

import type { KvSeparationSetting, PlanData, TreeSettings } from '../../engine.ts'
import { outputSize } from '../../strategy.ts'
import type { BlobFile } from '../blob/blob-file.ts'
import type { Table } from './table.ts'
import { staleBytes, staleShare } from './version-blobs.ts'
import type { VersionBlob, VersionBlobs } from './version-blobs.ts'
import type { Version } from './version.ts'

/** Of the files that the inputs of a merge point into, those that it moves the values out of. */
export function relocatedFiles(
  blobs: VersionBlobs,
  inputs: readonly Table[],
  setting: KvSeparationSetting,
  takesAll: boolean,
): BlobFile[] {
  const met = metBy(blobs, inputs)
  const chosen = takesAll ? met.filter((blob) => staleBytes(blob) > 0) : oldest(met, setting)
  return chosen.map(({ file }) => file)
}

/** All files that tables point into. */
export function pointedInto(blobs: VersionBlobs, inputs: readonly Table[]): BlobFile[] {
  return metBy(blobs, inputs).map(({ file }) => file)
}

function metBy(blobs: VersionBlobs, inputs: readonly Table[]): VersionBlob[] {
  const numbers = new Set(inputs.flatMap(({ meta }) => meta.blobs.map(numberOf)))
  return [...blobs].flatMap(([number, blob]) => (numbers.has(number) ? [blob] : []))
}

/**
 * A rewrite of tables that point into the oldest file that is due; undefined: none is. Each one
 * leaves fewer pointers into files that are due, so they come to an end.
 */
export function stalePlan(
  version: Version<Table>,
  { compaction, kvSeparation }: TreeSettings,
  busy: ReadonlySet<number>,
): PlanData | undefined {
  // First in, first out: nothing is written again, and garbage goes with the tables.
  if (kvSeparation === undefined || compaction.type === 'fifo') return undefined
  if (version.blobs.size === 0) return undefined
  const targetSize = outputSize(compaction)
  for (const { file } of due([...version.blobs.values()], kvSeparation)) {
    for (const run of version.levels.flat()) {
      const tables = run.filter(({ meta }) => {
        const pointsIn = meta.blobs.some(
          (reference) => numberOf(reference) === file.meta.fileNumber,
        )
        return pointsIn && !busy.has(meta.fileNumber)
      })
      if (tables.length === 0) continue
      const destinationLevel = tables[0]!.meta.level
      return { kind: 'merge', tables: some(tables, targetSize), destinationLevel, targetSize }
    }
  }
  return undefined
}

/** The first ones, of that many bytes, and at least one. */
function some(tables: readonly Table[], bytesMax: number): number[] {
  let bytes = 0
  const fitting = tables.filter(({ meta }, i) => (bytes += meta.size) <= bytesMax || i === 0)
  return fitting.map(({ meta }) => meta.fileNumber)
}

function numberOf({ fileNumber }: { readonly fileNumber: number }): number {
  return fileNumber
}

/** Those with too much garbage, oldest first. */
function due(
  blobs: readonly VersionBlob[],
  { stalenessThreshold }: KvSeparationSetting,
): VersionBlob[] {
  return blobs
    .filter((blob) => staleBytes(blob) > 0 && staleShare(blob) >= stalenessThreshold)
    .toSorted((a, b) => a.file.meta.fileNumber - b.file.meta.fileNumber)
}

/** Of these, as many as one merge takes. */
function oldest(blobs: readonly VersionBlob[], setting: KvSeparationSetting): VersionBlob[] {
  const all = due(blobs, setting)
  return all.slice(0, Math.max(1, Math.ceil(all.length * setting.ageCutoff)))
}
