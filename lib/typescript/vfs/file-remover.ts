/**
 * Removes files that nothing names any more, one after the other, behind everybody's back: whoever
 * lets go of a table must not wait for the file system. What cannot be removed, the next open
 * removes.
 */

import { Background } from '../base/background.ts'
import { Fifo } from '../base/fifo.ts'
import { Io, runSync } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { tryRemove } from './directory.ts'
import type { Vfs } from './vfs.ts'

/** Files, and their bytes, that a caller who keeps the event loop from turning leaves waiting. */
const WAITING_MAX = 32
const WAITING_BYTES_MAX = 32 * 2 ** 20

interface Waiting {
  readonly path: string
  readonly bytes: number
}

export class FileRemover {
  readonly #vfs: Vfs
  readonly #waiting = new Fifo<Waiting>()
  #bytes = 0
  readonly #background = new Background()
  #isRemoving = false
  #isStopped = false

  /**
   * For jobs, between two of them: a sync one removes what waits once that is too much, since the
   * event loop may not turn. Nothing to an async one.
   */
  readonly due: Io<void> = new Io<void>(
    () => {
      if (this.#waiting.length <= WAITING_MAX && this.#bytes <= WAITING_BYTES_MAX) return
      runSync(this.#removeAll())
    },
    async () => undefined,
  )

  constructor(vfs: Vfs) {
    this.#vfs = vfs
  }

  remove(path: string, bytes: number): void {
    if (this.#isStopped) return
    this.#waiting.push({ path, bytes })
    this.#bytes += bytes
    if (this.#isRemoving) return
    this.#isRemoving = true
    this.#background.begin(this.#removeInBackground(), () => {})
  }

  *#removeInBackground(): Flow<void> {
    yield* this.#removeAll()
    this.#isRemoving = false
  }

  *#removeAll(): Flow<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#bytes -= next.bytes
      yield* tryRemove(this.#vfs, next.path)
    }
  }

  /** Removes what waits; whatever comes later is left to the next open. */
  *stop(): Flow<void> {
    yield* this.#removeAll()
    yield* this.#background.end
    this.#isStopped = true
  }
}
