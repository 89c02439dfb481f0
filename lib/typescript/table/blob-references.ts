/** Which blob files the pointers of a table point into; docs/format.md, section 8.6. */

import { Decoder } from '../base/coding.ts'
import { corruption } from '../base/status.ts'

const ITEM_BYTES = 24

export interface BlobReference {
  readonly fileNumber: number
  readonly itemCount: number
  /** Whole frames: header, key, stored value. */
  readonly bytes: number
}

export function decodeBlobReferences(raw: Uint8Array): BlobReference[] {
  const decoder = new Decoder(raw)
  const count = decoder.u32()
  if (count < 1 || count * ITEM_BYTES !== decoder.left) {
    throw corruption('a blob reference block has a wrong count')
  }
  const references: BlobReference[] = []
  for (let i = 0; i < count; i++) {
    const reference = {
      fileNumber: decoder.u64(),
      itemCount: decoder.u64(),
      bytes: decoder.u64(),
    }
    const isAbove = reference.fileNumber > (references.at(-1)?.fileNumber ?? 0)
    if (!isAbove || reference.itemCount < 1) throw corruption('a blob reference is none')
    references.push(reference)
  }
  return references
}
