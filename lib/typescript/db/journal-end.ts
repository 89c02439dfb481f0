/** The journals of a database that closes. */

import type { Flow } from '../base/flow.ts'
import type { JournalManager } from '../journal/manager.ts'
import type { ManifestEdit } from '../tree/manifest-edit.ts'
import type { Manifest } from '../tree/manifest.ts'
import { tryRemove } from '../vfs/directory.ts'
import { fileName, pathIn } from '../vfs/file-name.ts'
import type { Vfs } from '../vfs/vfs.ts'

export interface JournalEnd {
  readonly vfs: Vfs
  readonly directory: string
  readonly manifest: Manifest
  readonly journal: JournalManager
  /** Everything is in tables. */
  readonly isFlushed: boolean
  readonly lastSeqno: number
}

/** Everything in tables: no journal is needed any more. Else they are sealed at their length. */
export function* endJournals(of: JournalEnd): Flow<void> {
  const { vfs, directory, manifest, journal, isFlushed, lastSeqno } = of
  const numbers = [...manifest.state.journals.keys()]
  let edit: ManifestEdit
  if (isFlushed) {
    edit = { journalsRemoved: numbers, lastSeqno, cleanShutdown: true }
  } else {
    yield* journal.sync()
    const lengths = journal.finalLengths()
    edit = { journalsSealed: lengths.map(({ number, bytes }) => ({ file: number, length: bytes })) }
  }
  yield* manifest.commit(edit)
  if (!isFlushed) return
  // The last close of a file that has no name any more frees its blocks, here.
  journal.close()
  for (const number of numbers) {
    yield* tryRemove(vfs, pathIn(directory, fileName('journal', number)))
  }
}
