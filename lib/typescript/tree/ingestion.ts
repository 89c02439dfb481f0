/**
 * An ingestion: rows in ascending order go straight to tables, and to blob files where values are
 * separated, all with the stored seqno 0. When it gets its seqno, that is the global seqno of its
 * tables, which become the newest run of level 0.
 */

import { INGESTION_ROW_HEADER } from '../../ingestion-rows.ts'
import type { TreeSettings } from '../../engine.ts'
import { getU16, getU32 } from '../base/coding.ts'
import type { Flow } from '../base/flow.ts'
import type { Memtable } from '../memtable/memtable.ts'
import { jobOutput } from './job-output.ts'
import type { Opened } from './opened.ts'
import type { TableOutput, WrittenTable } from './table-output.ts'
import type { Table } from './table.ts'
import type { JobFigures, TreeContext } from './tree-context.ts'

/** Bytes of a table. */
const TABLE_BYTES = 64 * 2 ** 20
/** It is data at rest, wherever it stands for now. */
const POLICY_LEVEL = 1
/** Full tables, and blob files, that are synced at the end: until then no writer waits for one. */
const UNSYNCED_MAX = 48

export class Ingestion {
  readonly output: TableOutput
  readonly #context: TreeContext
  #count = 0
  #givenBytes = 0
  #tables: readonly WrittenTable[] = []

  constructor(context: TreeContext, settings: TreeSettings) {
    this.#context = context
    this.output = jobOutput(context, settings, {
      level: 0,
      policyLevel: POLICY_LEVEL,
      targetSize: TABLE_BYTES,
      unsyncedMax: UNSYNCED_MAX,
    })
  }

  /** Entries so far. */
  get count(): number {
    return this.#count
  }

  /** Of keys and values. */
  get givenBytes(): number {
    return this.#givenBytes
  }

  /** Those that `end` has made durable. */
  get tables(): readonly WrittenTable[] {
    return this.#tables
  }

  /** Ingestion rows, which may change once it is done. */
  *add(rows: Uint8Array): Flow<void> {
    const { output } = this
    for (let at = 0; at < rows.length;) {
      const keyBegin = at + INGESTION_ROW_HEADER
      const keyEnd = keyBegin + getU16(rows, at + 2)
      const valueEnd = keyEnd + getU32(rows, at + 4)
      output.add(rows[at]!, 0, rows, keyBegin, keyEnd, rows, keyEnd, valueEnd)
      // What makes it full is not copied yet.
      if (output.isFull) yield* output.drain()
      this.#count++
      this.#givenBytes += valueEnd - keyBegin
      at = valueEnd
    }
  }

  /** Everything is durable when it is done, and named by nothing. */
  *end(): Flow<void> {
    this.#tables = yield* this.output.finish()
  }

  /** Removes everything that was written. */
  abandon(): Flow<void> {
    return this.output.abandon()
  }

  /** The same behind everybody's back: large files take their time. */
  abandonSoon(): void {
    for (const path of this.output.letGo()) this.#context.remove(path, TABLE_BYTES)
  }
}

/** Its seqno, asked when everything is prepared, and when it has come to its end. */
export interface IngestionTurn {
  /**
   * A seqno above all that was written so far; from here on nothing below it is. The active
   * memtable is sealed.
   */
  begin(): number
  /** It is in the version, or never will be. */
  end(): void
}

/** An ingestion that has its seqno, until it is in the version or has failed. */
export class IngestionCommit {
  readonly seqno: number
  readonly opened: Opened
  /** Memtables with smaller seqnos: to be in tables first, since reads stop at the first hit. */
  readonly older: ReadonlySet<Memtable>
  /** The manifest has it: no other way is left. */
  isCommitting = false
  isSettled = false
  /** Of itself and of the memtables that it flushes. */
  readonly figures: JobFigures = { bytesRead: 0, bytesWritten: 0, tables: 0 }
  error: unknown
  readonly #onEnd: () => void

  constructor(seqno: number, opened: Opened, older: Iterable<Memtable>, onEnd: () => void) {
    this.seqno = seqno
    this.older = new Set(older)
    this.#onEnd = onEnd
    this.opened = { ...opened, tables: opened.tables.map((table) => ingestedAt(table, seqno)) }
  }

  settle(error?: unknown): void {
    if (this.isSettled) return
    this.isSettled = true
    this.error = error
    this.#onEnd()
  }
}

/** Nobody has read it yet. */
function ingestedAt({ meta, shared }: Table, seqno: number): Table {
  shared.reader.globalSeqno = seqno
  const lowestSeqno = meta.lowestSeqno + seqno
  const highestSeqno = meta.highestSeqno + seqno
  return { meta: { ...meta, lowestSeqno, highestSeqno, globalSeqno: seqno }, shared }
}
