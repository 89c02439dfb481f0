/**
 * Files that are written whole and not durable yet. A job that is in no hurry to have each of them
 * synced keeps some open, and syncs them together when it ends.
 */

import { each } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { Fifo } from '../base/fifo.ts'
import type { File } from './vfs.ts'

/** Files that an async caller syncs at once. */
const SYNCS_MAX = 4

export class UnsyncedFiles {
  readonly #most: number
  readonly #files = new Fifo<File>()

  /** So many stay open at most; 0: each is synced when it comes. */
  constructor(most: number) {
    this.#most = most
  }

  /** Takes over a file; it is closed once it is synced, or cannot be. */
  *take(file: File): Flow<void> {
    this.#files.push(file)
    while (this.#files.length > this.#most) yield* syncAndClose(this.#files.shift()!)
  }

  /** All of them are durable when it is done. */
  *sync(): Flow<void> {
    let problem: unknown
    yield* each(this.#files.takeAll(), SYNCS_MAX, function* (file) {
      try {
        yield* syncAndClose(file)
      } catch (error) {
        problem ??= error
      }
    })
    if (problem !== undefined) throw problem as Error
  }

  /** Nobody needs them any more. */
  close(): void {
    for (const file of this.#files.takeAll()) file.close()
  }
}

function* syncAndClose(file: File): Flow<void> {
  try {
    yield* file.sync()
  } finally {
    file.close()
  }
}
