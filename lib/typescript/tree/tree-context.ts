/** What a tree needs of the directory that it lies in, and what its jobs tell. */

import type { Flow, Io } from '../base/flow.ts'
import type { Pending } from '../base/pending.ts'
import type { Vfs } from '../vfs/vfs.ts'
import type { Manifest } from './manifest.ts'
import type { RetentionView } from './retention.ts'
import type { TableContext } from './table.ts'

export interface TreeContext extends TableContext {
  readonly vfs: Vfs
  readonly manifest: Manifest
  /** What may still be read; asked when a job begins. */
  readonly view: () => Flow<RetentionView>
  /** Makes the journal durable up to a seqno (inclusive) before a table with it is named. */
  readonly beforeFlushCommit: (highest: number) => Flow<void>
  /**
   * Calls `install` with a seqno of its own: reads at that and below began before. Where one of
   * them may last, the active memtable is sealed first.
   */
  readonly atASeqno: (tree: number, install: (at: number) => void) => void
  /** A sync job gives back the room of files that nobody needs, if they take too much of it. */
  readonly removeDue: Io<void>
  /** Those that wait for the disk. */
  readonly reads: Pending
  /** Waits for what a compaction has written to be paid for, as long as it is wanted. */
  readonly throttle: (bytes: number, isWanted: () => boolean) => Flow<void>
}

/** What one flush or compaction did. */
export interface JobFigures {
  bytesRead: number
  bytesWritten: number
  /** That were written. */
  tables: number
}
