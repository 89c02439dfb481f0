/**
 * Ingestion rows: how entries of an ingestion are packed on their way to the engine. Per row, back
 * to back and little-endian: kind u8 (VALUE, TOMBSTONE or WEAK_TOMBSTONE), reserved u8 (0), key
 * length u16, value length u32, then key bytes, then value bytes. Keys ascend strictly, from batch
 * to batch as well.
 */

import type { EntryKind } from './engine.ts'
import { put } from './input-bytes.ts'
import type { KeyInput, ValueInput } from './types.ts'

/** Bytes of a row before its key. */
export const INGESTION_ROW_HEADER = 8

/** Bytes of rows that go to the engine together; a larger row goes alone. */
const BATCH_BYTES = 64 * 1024
/** Up to this length a loop is faster than a call. */
const LOOP_BYTES = 64

/** Why a row was not taken: what cannot be read, or a key that is not above the one before. */
export type Refusal = 'key' | 'value' | 'order'

export class IngestionRows {
  /** Takes a batch of rows; they are written over once it returns. */
  readonly #sink: (rows: Uint8Array) => void
  readonly #batch = Buffer.allocUnsafeSlow(BATCH_BYTES)
  #end = 0
  /** Where the last key lies: in the batch, or in `#lastKey` when that was handed over. */
  #last: Buffer = this.#batch
  #lastBegin = 0
  /** 0: there was no row yet. */
  #lastLength = 0
  #lastKey: Buffer | undefined

  constructor(sink: (rows: Uint8Array) => void) {
    this.#sink = sink
  }

  /** Adds a row whose lengths were checked; when it is refused, nothing has changed. */
  add(
    kind: EntryKind,
    key: KeyInput,
    keyLength: number,
    value: ValueInput,
    valueLength: number,
  ): Refusal | undefined {
    const size = INGESTION_ROW_HEADER + keyLength + valueLength
    if (this.#end + size > BATCH_BYTES) this.flush()
    const isAlone = size > BATCH_BYTES
    const bytes = isAlone ? Buffer.allocUnsafeSlow(size) : this.#batch
    const start = isAlone ? 0 : this.#end
    const keyBegin = start + INGESTION_ROW_HEADER
    bytes[start] = kind
    bytes[start + 1] = 0
    bytes[start + 2] = keyLength
    bytes[start + 3] = keyLength >>> 8
    bytes[start + 4] = valueLength
    bytes[start + 5] = valueLength >>> 8
    bytes[start + 6] = valueLength >>> 16
    bytes[start + 7] = valueLength >>> 24
    if (!put(bytes, keyBegin, key, keyLength)) return 'key'
    if (!this.#isBehindLast(bytes, keyBegin, keyLength)) return 'order'
    if (!put(bytes, keyBegin + keyLength, value, valueLength)) return 'value'
    if (isAlone) {
      this.#sink(bytes)
      this.#keepLast(bytes, keyBegin, keyLength)
      return undefined
    }
    this.#end = start + size
    this.#last = bytes
    this.#lastBegin = keyBegin
    this.#lastLength = keyLength
    return undefined
  }

  /** Hands over what was collected. */
  flush(): void {
    if (this.#end === 0) return
    const rows = this.#batch.subarray(0, this.#end)
    this.#keepLast(this.#last, this.#lastBegin, this.#lastLength)
    this.#end = 0
    this.#sink(rows)
  }

  /** The bytes of the last key, before others take their place. */
  #keepLast(bytes: Buffer, begin: number, length: number): void {
    if (this.#lastKey === undefined || this.#lastKey.length < length) {
      this.#lastKey = Buffer.allocUnsafeSlow(2 * length)
    }
    bytes.copy(this.#lastKey, 0, begin, begin + length)
    this.#last = this.#lastKey
    this.#lastBegin = 0
    this.#lastLength = length
  }

  #isBehindLast(bytes: Buffer, begin: number, length: number): boolean {
    const last = this.#last
    const lastBegin = this.#lastBegin
    const lastLength = this.#lastLength
    const common = Math.min(length, lastLength)
    if (common > LOOP_BYTES) {
      return bytes.compare(last, lastBegin, lastBegin + lastLength, begin, begin + length) > 0
    }
    for (let i = 0; i < common; i++) {
      const difference = (bytes[begin + i] as number) - (last[lastBegin + i] as number)
      if (difference !== 0) return difference > 0
    }
    return length > lastLength
  }
}
