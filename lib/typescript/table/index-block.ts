/**
 * An index block: where the blocks behind it lie, each with a separator that is not before its
 * last entry and before the first entry of the next; docs/format.md, section 8.3.
 */

import { Decoder } from '../base/coding.ts'
import type { Flow } from '../base/flow.ts'
import { SEQNO_MAX } from '../base/internal-key.ts'
import { corruption } from '../base/status.ts'
import { SortedBlock } from './sorted-block.ts'
import type { BlockEntry } from './sorted-block.ts'
import { BLOCK_TRAILER_BYTES } from './table-format.ts'

/** Of one whose key is that of its restart head. */
const LEAST_ENTRY_BYTES = 5

const decoder = new Decoder(new Uint8Array(0))

export class IndexBlock extends SortedBlock {
  /** Offset of the footer: blocks end there. */
  readonly #limit: number
  /** Where the block ends that was described last. */
  #end = 0

  private constructor(bytes: Uint8Array, limit: number, mayBeEmpty: boolean) {
    super(bytes, mayBeEmpty)
    this.#limit = limit
    if (this.bucketCount > 0) throw corruption('an index block has buckets')
  }

  /** `limit`: the offset of the footer; `mayBeEmpty`: the table may be without data blocks. */
  static *open(bytes: Uint8Array, limit: number, mayBeEmpty: boolean): Flow<IndexBlock> {
    const block = new IndexBlock(bytes, limit, mayBeEmpty)
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
    entry.seqno = decoder.varint()
    entry.offset = decoder.varint()
    entry.length = decoder.varint()
    entry.restBegin = decoder.skip(restLength)
    entry.restEnd = entry.restBegin + restLength
    entry.at = entry.restEnd
    if (entry.seqno > SEQNO_MAX) throw corruption('a separator of a block is none')
    const end = entry.offset + entry.length + BLOCK_TRAILER_BYTES
    if (entry.length < 1 || entry.offset < this.#end || end > this.#limit) {
      throw corruption('an index block points to what is no block, or does not ascend')
    }
    this.#end = end
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
