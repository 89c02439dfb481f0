// Ingestions below the public classes: their rows, and when they get their place among the commits.

import { TOMBSTONE, VALUE } from '../../../lib/engine.ts'
import { INGESTION_ROW_HEADER } from '../../../lib/ingestion-rows.ts'
import type { OpenIngestion } from '../../../lib/typescript/db/ingestions.ts'
import type { Ingestion, IngestionTurn } from '../../../lib/typescript/tree/ingestion.ts'
import type { Tree } from '../../../lib/typescript/tree/tree.ts'

export interface IngestionRow {
  readonly key?: string
  /** Undefined: a tombstone. */
  readonly value?: string | undefined
}

/** As lib/ingestion-rows.ts describes them; in ascending order of their keys. */
export function ingestionRows(rows: readonly IngestionRow[]): Buffer {
  const sorted = rows
    .map(({ key = '', value }) => ({ key: Buffer.from(key), value }))
    .toSorted((a, b) => Buffer.compare(a.key, b.key))
  return Buffer.concat(
    sorted.map(({ key, value }) => {
      const bytes = Buffer.from(value ?? '')
      const header = Buffer.alloc(INGESTION_ROW_HEADER)
      header[0] = value === undefined ? TOMBSTONE : VALUE
      header.writeUInt16LE(key.length, 2)
      header.writeUInt32LE(bytes.length, 4)
      return Buffer.concat([header, key, bytes])
    }),
  )
}

/** Told of one ingestion: that it has a seqno, and whether it is in the version. */
export interface IngestionWatch {
  begun(seqno: number): void
  ended(isThere: boolean): void
}

const watches = new WeakMap<Ingestion, IngestionWatch>()
const watched = new WeakSet<Tree>()
let started: Ingestion | undefined

/** `start` begins an ingestion into the tree. */
export function watchIngestions(
  tree: Tree,
  start: () => OpenIngestion,
  watch: IngestionWatch,
): OpenIngestion {
  if (!watched.has(tree)) watchTree(tree)
  const opened = start()
  watches.set(started!, watch)
  return opened
}

function watchTree(tree: Tree): void {
  watched.add(tree)
  const startIngestion = tree.startIngestion.bind(tree)
  tree.startIngestion = () => (started = startIngestion())
  const ingest = tree.ingest.bind(tree)
  tree.ingest = (ingestion: Ingestion, turn: IngestionTurn) => {
    const watch = watches.get(ingestion)!
    return ingest(ingestion, {
      begin: () => {
        const seqno = turn.begin()
        watch.begun(seqno)
        return seqno
      },
      end: () => {
        const { version } = tree.superVersion
        watch.ended(
          ingestion.tables.every(({ fileNumber }) => version.find(fileNumber) !== undefined),
        )
        turn.end()
      },
    })
  }
}
