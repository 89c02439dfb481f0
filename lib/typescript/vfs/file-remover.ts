/**
 * Removes files that nothing names any more, one after the other, behind everybody's back: whoever
 * lets go of a table must not wait for the file system. What cannot be removed, the next open
 * removes.
 */

import { Background } from '../base/background.ts'
import { runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { tryRemove } from './directory.ts'
import type { Vfs } from './vfs.ts'

/** Files that may wait for their removal. */
const WAITING_MAX = 32

export class FileRemover {
  readonly #vfs: Vfs
  #paths: string[] = []
  readonly #background = new Background()
  #isRemoving = false
  #isStopped = false

  constructor(vfs: Vfs) {
    this.#vfs = vfs
  }

  remove(path: string): void {
    if (this.#isStopped) return
    this.#paths.push(path)
    // The event loop does not turn: nobody else removes them.
    if (this.#paths.length > WAITING_MAX) runSync(this.#removeAll())
    else if (!this.#isRemoving) this.#background.begin(this.#removeAll(), () => {})
  }

  *#removeAll(): Flow<void> {
    this.#isRemoving = true
    for (let path = this.#paths.shift(); path !== undefined; path = this.#paths.shift()) {
      yield* tryRemove(this.#vfs, path)
    }
    this.#isRemoving = false
  }

  /** Removes what waits; whatever comes later is left to the next open. */
  *stop(): Flow<void> {
    yield* this.#removeAll()
    yield* this.#background.end
    this.#isStopped = true
  }
}
