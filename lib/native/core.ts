/**
 * An open core as JavaScript holds it: its number, and its end: closed by its user, or given back
 * when it was dropped.
 */

import { door, META } from './addon.ts'
import { announce, completion } from './completions.ts'
import { failure } from './failure.ts'
import { META_HANDLE, META_STATUS } from './protocol.ts'

export class Core {
  /** 0 once it is closed. */
  handle: number
  #closing: Promise<void> | undefined

  constructor(handle: number) {
    this.handle = handle
  }

  get closing(): boolean {
    return this.#closing !== undefined
  }

  close(): Promise<void> {
    if (this.#closing === undefined) {
      META[META_HANDLE] = this.handle
      announce()
      door.close()
      this.#closing = completion(this).finally(() => {
        this.release()
      })
    }
    return this.#closing
  }

  closeSync(): void {
    if (this.handle === 0) return
    META[META_HANDLE] = this.handle
    door.closeSync()
    const status = META[META_STATUS] as number
    this.#closing ??= Promise.resolve()
    const error = status === 0 ? undefined : failure(status)
    this.release()
    if (error !== undefined) throw error
  }

  /** Closes it in the background if nobody did. */
  release(): void {
    if (this.handle === 0) return
    META[META_HANDLE] = this.handle
    this.handle = 0
    door.release()
  }

  /** Throws what the last call left behind, if it failed. */
  check(): void {
    const status = META[META_STATUS] as number
    if (status !== 0) throw failure(status)
  }
}

const abandoned = new FinalizationRegistry<Core>((core) => {
  core.release()
})

/** Gives `core` back when `holder` is collected. */
export function releaseWith(holder: object, core: Core): void {
  abandoned.register(holder, core)
}
