/** What a tree counts while it is read and written. */

import { BlobCounters } from '../blob/blob-file.ts'
import { TableCounters } from '../table/table-counters.ts'

export class TreeCounters {
  readonly tables: TableCounters = new TableCounters()
  readonly blobs: BlobCounters = new BlobCounters()
  /** Bytes of keys and values that were written, both ends of removed ranges included. */
  givenBytes = 0
  /** Bytes that were put into files for them: entries of the journal, tables, blob files. */
  fileBytes = 0
}
