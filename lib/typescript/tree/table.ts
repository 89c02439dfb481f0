/**
 * A table of a tree: what the manifest says of it, and the open file that all who read it share.
 */

import type { TableReader } from '../table/table-reader.ts'
import type { TableMeta } from './table-meta.ts'

/** Of one version; a table that was moved is another one over the same file. */
export interface Table {
  readonly meta: TableMeta
  readonly shared: SharedTable
}

/**
 * The last one to let go closes the file; if the table was replaced meanwhile, it is handed to
 * `onObsolete`, since nobody reads it any more.
 */
export class SharedTable {
  readonly reader: TableReader
  readonly #onObsolete: () => void
  #holders = 1
  #replaced = false

  /** Held once. */
  constructor(reader: TableReader, onObsolete: () => void) {
    this.reader = reader
    this.#onObsolete = onObsolete
  }

  acquire(): void {
    this.#holders++
  }

  release(): void {
    if (--this.#holders > 0) return
    this.reader.close()
    if (this.#replaced) this.#onObsolete()
  }

  /** No version will name it any more. */
  replace(): void {
    this.#replaced = true
  }
}
