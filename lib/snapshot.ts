/** Snapshots: a read seqno that stays readable while it is held. */

import type { DatabaseEngine } from './engine.ts'
import { ShaleError } from './errors.ts'
import { uncloneable, wrongReceiver } from './receiver.ts'

interface Held {
  readonly engine: DatabaseEngine
  readonly seqno: number
}

/** Gives back the snapshots that were dropped without close(). */
const abandoned = new FinalizationRegistry<Held>(({ engine, seqno }) => {
  engine.closeSnapshot(seqno, true)
})

const TOKEN = Symbol('snapshot')

/** For Database only. */
export let makeSnapshot: (owner: object, engine: DatabaseEngine) => Snapshot
/** The read seqno of an open snapshot of `owner`; throws what is wrong with it otherwise. */
export let snapshotSeqno: (snapshot: unknown, owner: object) => number

/**
 * What a database held at one moment, over all keyspaces: reads with `{ snapshot }` see exactly the
 * commits that were visible when it was taken, whatever is written, flushed or compacted since.
 *
 * It costs the versions that only it can still see; close it (or let `using` do it). One that is
 * dropped is closed when it is collected.
 */
export class Snapshot {
  readonly #engine: DatabaseEngine
  readonly #owner: object
  readonly #seqno: number
  #closed = false

  private constructor(token: symbol, owner: object, engine: DatabaseEngine) {
    if (token !== TOKEN) {
      throw new ShaleError('INVALID_ARGUMENT', 'a Snapshot is made by database.snapshot()')
    }
    uncloneable(this)
    this.#owner = owner
    this.#engine = engine
    this.#seqno = engine.openSnapshot()
    abandoned.register(this, { engine, seqno: this.#seqno }, this)
  }

  static {
    makeSnapshot = (owner, engine) => new Snapshot(TOKEN, owner, engine)
    snapshotSeqno = (snapshot, owner) => {
      if (typeof snapshot !== 'object' || snapshot === null || !(#seqno in snapshot)) {
        throw new ShaleError('INVALID_ARGUMENT', 'snapshot must be a Snapshot')
      }
      const s = snapshot
      if (s.#owner !== owner) {
        throw new ShaleError('INVALID_ARGUMENT', 'the snapshot belongs to another database')
      }
      if (s.#closed) throw new ShaleError('SNAPSHOT_CLOSED', 'the snapshot is closed')
      return s.#seqno
    }
  }

  /** Reads through it see entries with a smaller seqno. */
  get seqno(): number {
    if (!(#seqno in Object(this))) throw wrongReceiver('Snapshot', 'seqno')
    return this.#seqno
  }

  get closed(): boolean {
    if (!(#seqno in Object(this))) throw wrongReceiver('Snapshot', 'closed')
    if (this.#closed) return true
    const status = this.#engine.status()
    return status === 'closing' || status === 'closed'
  }

  /** Gives it back; a second time does nothing. */
  close(): void {
    if (!(#seqno in Object(this))) throw wrongReceiver('Snapshot', 'close')
    if (this.#closed) return
    this.#closed = true
    abandoned.unregister(this)
    this.#engine.closeSnapshot(this.#seqno)
  }

  [Symbol.dispose](): void {
    Snapshot.prototype.close.call(this)
  }
}
