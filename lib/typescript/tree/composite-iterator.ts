/** What iterators that are made of others have in common: they stand where one of those does. */

import type { Io } from '../base/flow.ts'
import { EntryIterator } from '../base/iterator.ts'

export abstract class CompositeIterator extends EntryIterator {
  /** Stands at the entry that the source is at. */
  protected show(source: EntryIterator): void {
    this.valid = true
    this.missing = undefined
    this.key = source.key
    this.keyBegin = source.keyBegin
    this.keyEnd = source.keyEnd
    this.seqno = source.seqno
    this.kind = source.kind
    this.value = source.value
    this.valueBegin = source.valueBegin
    this.valueEnd = source.valueEnd
  }

  /** Stands at no entry: there is none, or it takes a call to get there. */
  protected showNone(missing?: Io<void>): void {
    this.valid = false
    this.missing = missing
  }
}
