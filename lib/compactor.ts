/** Background compaction, as a user sees and steers it. */

import type { CompactionPlan } from './compaction-plan.ts'
import type { CompactorEngine } from './engine.ts'
import { ShaleError } from './errors.ts'
import type { Progress } from './read-options.ts'
import { rejected, uncloneable, wrongReceiver } from './receiver.ts'

/** A compaction that is running. */
export interface CompactionJob {
  readonly keyspace: string | undefined
  readonly plan: CompactionPlan
  /** Bytes of inputs read so far and in all. */
  readonly progress: Progress
}

const TOKEN = Symbol('compactor')

/** For Database and Tree only. */
export let makeCompactor: (engine: CompactorEngine) => Compactor

/** Background compaction of a database, or of a bare tree opened with `backgroundCompaction`. */
export class Compactor {
  readonly #engine: CompactorEngine

  private constructor(token: symbol, engine: CompactorEngine) {
    if (token !== TOKEN) {
      throw new ShaleError('INVALID_ARGUMENT', 'a Compactor belongs to a Database or Tree')
    }
    this.#engine = engine
    uncloneable(this)
  }

  static {
    makeCompactor = (engine) => new Compactor(TOKEN, engine)
  }

  get state(): 'idle' | 'running' | 'paused' {
    if (!(#engine in Object(this))) throw wrongReceiver('Compactor', 'state')
    return this.#engine.state()
  }

  /** What runs now. */
  jobs(): readonly CompactionJob[] {
    if (!(#engine in Object(this))) throw wrongReceiver('Compactor', 'jobs')
    return this.#engine.jobs().map(({ keyspace, plan, done, total }) => ({
      keyspace,
      plan,
      progress: { done, total, unit: 'bytes' },
    }))
  }

  /**
   * No new job starts; resolves when none runs. Flushes go on.
   *
   * Level 0 grows meanwhile, and nobody is slowed down for it: that is what a bulk load wants. The
   * bill comes with `resume()`: until compaction has worked level 0 off, reads look into every run
   * there and writers wait as usual (sync forms up to `maxStall`, then STALLED; on the TypeScript
   * engine they do the work themselves). Await `drain()` after `resume()` to have that behind you,
   * and do not leave it paused under a steady load.
   */
  pause(): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Compactor', 'pause'))
    return this.#engine.pause()
  }

  /** Compactions start again, and writers wait for them again; see `pause()`. */
  resume(): void {
    if (!(#engine in Object(this))) throw wrongReceiver('Compactor', 'resume')
    this.#engine.resume()
  }

  /** Resolves when no strategy has anything left to do. Does not end while paused. */
  drain(): Promise<void> {
    if (!(#engine in Object(this))) return rejected(wrongReceiver('Compactor', 'drain'))
    return this.#engine.drain()
  }
}
