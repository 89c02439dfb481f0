/** Background compaction of a database or bare tree, by the handle of its core. */

import type { CompactorEngine, JobData } from '../engine.ts'
import { door, META } from './addon.ts'
import { announce, completion } from './completions.ts'
import type { Core } from './core.ts'
import { META_COUNT, META_HANDLE } from './protocol.ts'

const STATES = ['idle', 'running', 'paused'] as const

export class NativeCompactor implements CompactorEngine {
  readonly #core: Core

  constructor(core: Core) {
    this.#core = core
  }

  state(): 'idle' | 'running' | 'paused' {
    META[META_HANDLE] = this.#core.handle
    door.compactorState()
    this.#core.check()
    return STATES[META[META_COUNT] as 0 | 1 | 2]
  }

  jobs(): readonly JobData[] {
    META[META_HANDLE] = this.#core.handle
    const jobs = door.compactorJobs()
    this.#core.check()
    return jobs
  }

  pause(): Promise<void> {
    META[META_HANDLE] = this.#core.handle
    announce()
    door.pauseCompactor()
    return completion(this)
  }

  resume(): void {
    META[META_HANDLE] = this.#core.handle
    door.resumeCompactor()
    this.#core.check()
  }

  drain(): Promise<void> {
    META[META_HANDLE] = this.#core.handle
    announce()
    door.drainCompactor()
    return completion(this)
  }
}
