/**
 * An index block: where the blocks behind it lie, each with a separator that is not before its
 * last entry and before the first entry of the next; docs/format.md, section 8.3.
 */

import { Decoder } from '../base/coding.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'
import { corruption } from '../base/status.ts'
import { BlockEntry, SortedBlock } from './sorted-block.ts'
import { BLOCK_TRAILER_BYTES } from './table-format.ts'

/** Of one whose key is that of its restart head. */
const LEAST_ENTRY_BYTES = 5

const decoder = new Decoder(new Uint8Array(0))

export class IndexBlock extends SortedBlock {
  /** `limit`: the offset of the footer; `mayBeEmpty`: the table may be without data blocks. */
  constructor(bytes: Uint8Array, limit: number, mayBeEmpty: boolean) {
    super(bytes, mayBeEmpty)
    if (this.bucketCount > 0) throw corruption('an index block has buckets')
    const entry = new BlockEntry()
    let end = 0
    for (let i = 0; i < this.count; i++) {
      this.decode(i, entry)
      const { offset, length } = entry
      if (length < 1 || offset < end || offset + length + BLOCK_TRAILER_BYTES > limit) {
        throw corruption('an index block points to what is no block, or does not ascend')
      }
      end = offset + length + BLOCK_TRAILER_BYTES
    }
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
    entry.seqno = decoder.varint()
    entry.offset = decoder.varint()
    entry.length = decoder.varint()
    entry.restBegin = decoder.skip(restLength)
    entry.restEnd = entry.restBegin + restLength
    entry.at = entry.restEnd
    if (entry.seqno > SEQNO_MAX) throw corruption('a separator of a block is none')
  }

  override decode(i: number, entry: BlockEntry): void {
    const { bytes } = this
    entry.at = this.startOf(i)
    entry.shared = entry.varint(bytes)
    const restLength = entry.varint(bytes)
    entry.seqno = entry.varint(bytes)
    entry.offset = entry.varint(bytes)
    entry.length = entry.varint(bytes)
    entry.restBegin = entry.at
    entry.restEnd = entry.restBegin + restLength
  }
}
