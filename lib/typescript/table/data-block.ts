/** A data block: entries with kind, seqno and value; docs/format.md, section 8.2. */

import { isBlobPointer } from '../base/blob-pointer.ts'
import { Decoder } from '../base/coding.ts'
import type { Flow } from '../base/flow.ts'
import {
  isTombstone,
  KIND_BLOB_POINTER,
  KIND_TOMBSTONE,
  KIND_VALUE,
  KIND_WEAK_TOMBSTONE,
  SEQNO_MAX,
} from '../base/internal-key.ts'
import { VALUE_BYTES_MAX } from '../base/limits.ts'
import { corruption } from '../base/status.ts'
import { SortedBlock } from './sorted-block.ts'
import type { BlockEntry } from './sorted-block.ts'

/** Of one whose key is that of its restart head. */
const LEAST_ENTRY_BYTES = 5

const decoder = new Decoder(new Uint8Array(0))

function isKind(kind: number): boolean {
  return (
    kind === KIND_VALUE ||
    kind === KIND_TOMBSTONE ||
    kind === KIND_WEAK_TOMBSTONE ||
    kind === KIND_BLOB_POINTER
  )
}

export class DataBlock extends SortedBlock {
  private constructor(bytes: Uint8Array) {
    super(bytes, false)
  }

  static *open(bytes: Uint8Array): Flow<DataBlock> {
    const block = new DataBlock(bytes)
    yield* block.check()
    return block
  }

  override leastEntryBytes(): number {
    return LEAST_ENTRY_BYTES
  }

  override checkEntry(entry: BlockEntry, limit: number): void {
    decoder.bytes = this.bytes
    decoder.at = entry.at
    decoder.end = limit
    entry.shared = decoder.varint()
    const restLength = decoder.varint()
    entry.kind = decoder.u8()
    entry.seqno = decoder.varint()
    const valueLength = decoder.varint()
    entry.restBegin = decoder.skip(restLength)
    entry.restEnd = entry.restBegin + restLength
    entry.valueBegin = decoder.skip(valueLength)
    entry.valueEnd = entry.valueBegin + valueLength
    entry.at = entry.valueEnd
    if (
      !isKind(entry.kind) ||
      entry.seqno > SEQNO_MAX ||
      valueLength > VALUE_BYTES_MAX ||
      (isTombstone(entry.kind) && valueLength !== 0) ||
      (entry.kind === KIND_BLOB_POINTER &&
        !isBlobPointer(this.bytes, entry.valueBegin, entry.valueEnd))
    ) {
      throw corruption('an entry of a block is none')
    }
  }

  override decode(i: number, entry: BlockEntry): void {
    const { bytes } = this
    entry.at = this.startOf(i)
    entry.shared = entry.varint(bytes)
    const restLength = entry.varint(bytes)
    entry.kind = bytes[entry.at++]!
    entry.seqno = entry.varint(bytes)
    const valueLength = entry.varint(bytes)
    entry.restBegin = entry.at
    entry.restEnd = entry.restBegin + restLength
    entry.valueBegin = entry.restEnd
    entry.valueEnd = entry.valueBegin + valueLength
  }
}
