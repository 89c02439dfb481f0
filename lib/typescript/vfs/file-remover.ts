/**
 * Removes files that nothing names any more, one after the other, behind everybody's back: whoever
 * lets go of a table must not wait for the file system. What cannot be removed, the next open
 * removes.
 */

import { run } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { tryRemove } from './directory.ts'
import type { Vfs } from './vfs.ts'

export class FileRemover {
  readonly #vfs: Vfs
  #paths: string[] = []
  #running: Promise<void> | undefined
  #stopped = false

  constructor(vfs: Vfs) {
    this.#vfs = vfs
  }

  remove(path: string): void {
    if (this.#stopped) return
    this.#paths.push(path)
    this.#running ??= run(this.#removeAll()).finally(() => {
      this.#running = undefined
    })
  }

  *#removeAll(): Flow<void> {
    for (let path = this.#paths.shift(); path !== undefined; path = this.#paths.shift()) {
      yield* tryRemove(this.#vfs, path)
    }
  }

  /** Removes what waits; whatever comes later is left to the next open. */
  *stop(): Flow<void> {
    yield* this.#removeAll()
    this.#stopped = true
  }
}
