/** Which blob files the pointers of a table point into; docs/format.md, section 8.6. */

import { decodeBlobPointer, frameBytes } from '../base/blob-pointer.ts'
import { Decoder, Encoder } from '../base/coding.ts'
import { corruption } from '../base/status.ts'

const ITEM_BYTES = 24

export interface BlobReference {
  readonly fileNumber: number
  readonly itemCount: number
  /** Whole frames: header, key, stored value. */
  readonly bytes: number
}

/** Adds up the references of a table from its entries. */
export class BlobReferenceCounter {
  readonly #byFile = new Map<number, { itemCount: number; bytes: number }>()

  /** An entry whose value is the pointer at `at`. */
  add(bytes: Uint8Array, at: number, keyLength: number): void {
    const { fileNumber, storedLength } = decodeBlobPointer(bytes, at)
    let sum = this.#byFile.get(fileNumber)
    if (sum === undefined) this.#byFile.set(fileNumber, (sum = { itemCount: 0, bytes: 0 }))
    sum.itemCount++
    sum.bytes += frameBytes(keyLength, storedLength)
  }

  /** File numbers ascend. */
  sum(): BlobReference[] {
    return [...this.#byFile]
      .map(([fileNumber, sum]) => ({ fileNumber, ...sum }))
      .toSorted((a, b) => a.fileNumber - b.fileNumber)
  }
}

/** Whether two tables say the same. */
export function sameReferences(a: readonly BlobReference[], b: readonly BlobReference[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ fileNumber, itemCount, bytes }, i) => {
      const other = b[i]!
      return (
        fileNumber === other.fileNumber && itemCount === other.itemCount && bytes === other.bytes
      )
    })
  )
}

/** At least one. */
export function encodeBlobReferences(references: readonly BlobReference[]): Uint8Array {
  const out = new Encoder(4 + references.length * ITEM_BYTES).u32(references.length)
  for (const { fileNumber, itemCount, bytes } of references) {
    out.u64(fileNumber).u64(itemCount).u64(bytes)
  }
  return out.view()
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
