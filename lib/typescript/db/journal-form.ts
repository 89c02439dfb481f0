/** What the journal takes of a commit: its entries, with large values compressed. */

import { CODEC_NONE, compress } from '../base/compression.ts'
import { putU32 } from '../base/coding.ts'
import { KIND_VALUE } from '../base/internal-key.ts'
import { BLOCK_RAW_BYTES_MAX } from '../base/limits.ts'
import { BatchReader, ENTRY_HEADER_BYTES, putEntryHeader, RAW_LENGTH_BYTES } from './write-batch.ts'

/** Bytes of a value from which on it is compressed. */
const COMPRESSION_MIN = 4096

/** Undefined where that is the entries as they are. */
export function journalForm(entries: Uint8Array, codec: number): Uint8Array | undefined {
  if (codec === CODEC_NONE || entries.length < ENTRY_HEADER_BYTES + COMPRESSION_MIN) {
    return undefined
  }
  const reader = new BatchReader(entries)
  let form: Uint8Array | undefined
  let end = 0
  /** Entries from here on are to be copied as they are. */
  let copied = 0
  while (reader.next()) {
    const { kind, keyBegin, keyEnd, valueBegin, valueEnd } = reader
    const length = valueEnd - valueBegin
    if (kind !== KIND_VALUE || length < COMPRESSION_MIN || length > BLOCK_RAW_BYTES_MAX) continue
    form ??= Buffer.allocUnsafe(entries.length + RAW_LENGTH_BYTES)
    const header = end + keyBegin - ENTRY_HEADER_BYTES - copied
    const value = end + keyEnd - copied
    const bytes = compress(codec, entries, valueBegin, valueEnd, form, value + RAW_LENGTH_BYTES)
    if (bytes === 0) continue
    // What stands before the value, and behind the last one that was compressed.
    form.set(entries.subarray(copied, keyEnd), end)
    const { keyspaceId } = reader
    const stored = RAW_LENGTH_BYTES + bytes
    putEntryHeader(form, header, kind, codec, keyEnd - keyBegin, keyspaceId, stored)
    putU32(form, value, length)
    end = value + stored
    copied = valueEnd
  }
  if (form === undefined || copied === 0) return undefined
  form.set(entries.subarray(copied), end)
  return form.subarray(0, end + entries.length - copied)
}
