/**
 * The blob files of a version, and what its tables point to in them: the rest of a file is garbage.
 * A file that nothing points into is none of the version's.
 */

import type { ShaleError } from '../../errors.ts'
import type { BlobPointer } from '../base/blob-pointer.ts'
import { corruption } from '../base/status.ts'
import type { BlobFile } from '../blob/blob-file.ts'
import type { BlobReference } from '../table/blob-references.ts'
import { fileName } from '../vfs/file-name.ts'
import type { BlobAdded, BlobStale, TreeFile } from './manifest-edit.ts'
import type { TableMeta } from './table-meta.ts'

export interface VersionBlob {
  readonly file: BlobFile
  /** Pointers into it, and the bytes of the frames that they name. */
  readonly usedItems: number
  readonly usedBytes: number
}

/** By file number. */
export type VersionBlobs = ReadonlyMap<number, VersionBlob>

export const NO_BLOBS: VersionBlobs = new Map()

/** Bytes of frames that nothing points to. */
export function staleBytes({ file, usedBytes }: VersionBlob): number {
  return file.meta.frameBytes - usedBytes
}

/** The file that a pointer names. */
export function blobFileOf(blobs: VersionBlobs, { fileNumber }: BlobPointer): BlobFile {
  const blob = blobs.get(fileNumber)
  if (blob !== undefined) return blob.file
  throw pointsAstray(fileNumber)
}

/** Of a pointer into a file that is none of its tree. */
export function pointsAstray(fileNumber: number): ShaleError {
  const name = fileName('blob', fileNumber)
  return corruption(`an entry points into ${name}, which its tree does not have`)
}

/** Of all bytes of frames. */
export function staleShare(blob: VersionBlob): number {
  return staleBytes(blob) / blob.file.meta.frameBytes
}

/** Of an opened tree. CORRUPTION if tables point to more than there is. */
export function blobsOf(files: readonly BlobFile[], tables: readonly TableMeta[]): VersionBlobs {
  if (files.length === 0) return NO_BLOBS
  const blobs = listed(files)
  for (const table of tables) count(blobs, table.blobs, 1)
  for (const { file, usedItems, usedBytes } of blobs.values()) {
    if (usedItems <= file.meta.itemCount && usedBytes <= file.meta.frameBytes) continue
    throw corruption('tables point to more than the blob file holds', file.path)
  }
  return blobs
}

/** After tables went and came. */
export function changeBlobs(
  before: VersionBlobs,
  added: readonly BlobFile[],
  gone: Iterable<TableMeta>,
  come: Iterable<TableMeta>,
): VersionBlobs {
  if (before.size === 0 && added.length === 0) return before
  const blobs = new Map([...before, ...listed(added)])
  for (const table of gone) count(blobs, table.blobs, -1)
  for (const table of come) count(blobs, table.blobs, 1)
  for (const [number, { usedItems }] of blobs) if (usedItems === 0) blobs.delete(number)
  return blobs
}

function listed(files: readonly BlobFile[]): Map<number, VersionBlob> {
  return new Map(files.map((file) => [file.meta.fileNumber, { file, usedItems: 0, usedBytes: 0 }]))
}

function count(
  blobs: Map<number, VersionBlob>,
  references: readonly BlobReference[],
  sign: 1 | -1,
): void {
  for (const { fileNumber, itemCount, bytes } of references) {
    const blob = blobs.get(fileNumber)
    if (blob === undefined) throw corruption('a table points into a blob file that is not there')
    blobs.set(fileNumber, {
      file: blob.file,
      usedItems: blob.usedItems + sign * itemCount,
      usedBytes: blob.usedBytes + sign * bytes,
    })
  }
}

export interface BlobEdits {
  readonly blobsRemoved: readonly TreeFile[]
  readonly blobsAdded: readonly BlobAdded[]
  readonly blobsStale: readonly BlobStale[]
}

/** What the manifest is told of the way from one version to the next. */
export function blobEdits(tree: number, before: VersionBlobs, after: VersionBlobs): BlobEdits {
  const blobsRemoved: TreeFile[] = []
  const blobsAdded: BlobAdded[] = []
  const blobsStale: BlobStale[] = []
  for (const file of before.keys()) if (!after.has(file)) blobsRemoved.push({ tree, file })
  for (const [number, blob] of after) {
    const was = before.get(number)
    if (was === blob) continue
    const { fileNumber: file, ...meta } = blob.file.meta
    if (was === undefined) blobsAdded.push({ tree, file, ...meta })
    const known = was?.usedBytes ?? meta.frameBytes
    if (blob.usedBytes === known) continue
    const staleItems = meta.itemCount - blob.usedItems
    blobsStale.push({ tree, file, staleItems, staleBytes: staleBytes(blob) })
  }
  return { blobsRemoved, blobsAdded, blobsStale }
}
