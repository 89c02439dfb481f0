// The rows that a read shows, waited for in place.

import { KIND_BLOB_POINTER } from '../../../lib/typescript/base/internal-key.ts'
import { BlobValues } from '../../../lib/typescript/tree/blob-values.ts'
import type { SuperVersion } from '../../../lib/typescript/tree/super-version.ts'

/** As texts, from either end. */
export function rowsOf(from: SuperVersion, read: number, backward = false): [string, string][] {
  const cursor = from.cursor(read, { lower: undefined, upper: undefined }, backward)
  const values = new BlobValues(from.version.blobs, backward)
  const rows: [string, string][] = []
  const complete = (): void => {
    while (cursor.missing !== undefined) {
      cursor.missing.sync()
      cursor.retry()
    }
  }
  cursor.start()
  for (complete(); cursor.valid; cursor.next(), complete()) {
    if (cursor.kind === KIND_BLOB_POINTER) {
      const found = values.get(cursor)
      values.missing?.sync()
      cursor.putValue(found ?? values.get(cursor)!)
    }
    const { key, keyEnd, value, valueBegin, valueEnd } = cursor
    rows.push([textOf(key, 0, keyEnd), textOf(value, valueBegin, valueEnd)])
  }
  return rows
}

function textOf(bytes: Uint8Array, begin: number, end: number): string {
  return Buffer.from(bytes.subarray(begin, end)).toString()
}
