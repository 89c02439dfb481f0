/**
 * The super version that holds now, and those before it that somebody still holds. Rotation, flush,
 * compaction and ingestion each make the next one.
 */

import { Memtable } from '../memtable/memtable.ts'
import type { RetentionView } from './retention.ts'
import { stillNeeded, SuperVersion } from './super-version.ts'
import type { HeldVersion } from './super-version.ts'
import type { Table } from './table.ts'
import type { Version } from './version.ts'

export class SuperVersions {
  /** Who reads it across a wait acquires it. */
  current: SuperVersion
  /** All that somebody holds, the current one included. */
  readonly #living = new Set<SuperVersion>()
  /** Of the tree: each is stamped with it. */
  readonly #highestSeqno: () => number
  #nextMemtableId = 2

  constructor(version: Version<Table>, highestSeqno: () => number) {
    this.#highestSeqno = highestSeqno
    this.current = this.#make(new Memtable(1), [], version, [])
  }

  /** Those that somebody holds, newest first. */
  history(): readonly SuperVersion[] {
    return [...this.#living].toReversed()
  }

  /** The active memtable joins the sealed ones. */
  seal(): void {
    const { active, sealed, version } = this.current
    this.install(new Memtable(this.#nextMemtableId++), [active, ...sealed], version)
  }

  install(
    active: Memtable,
    sealed: readonly Memtable[],
    version: Version<Table>,
    held: readonly HeldVersion[] = this.current.held,
  ): void {
    const before = this.current
    this.current = this.#make(active, sealed, version, held)
    before.release()
  }

  /** Installs a version in which something is missing that reads at `until` and below see. */
  installVisible(version: Version<Table>, until: number): void {
    const { active, sealed, version: old, held } = this.current
    const superVersion = this.#make(active, sealed, old, [])
    // What is written from now on is not to stay in memory with the held one.
    const next = active.isEmpty ? new Memtable(this.#nextMemtableId++) : active
    this.install(next, sealed, version, [...held, { until, superVersion }])
    superVersion.release()
  }

  /** Lets go of what is held for reads that have ended. */
  releaseHeld(view: RetentionView): void {
    const { active, sealed, version, held } = this.current
    const needed = stillNeeded(held, view)
    if (needed.length < held.length) this.install(active, sealed, version, needed)
  }

  #make(
    active: Memtable,
    sealed: readonly Memtable[],
    version: Version<Table>,
    held: readonly HeldVersion[],
  ): SuperVersion {
    const made = new SuperVersion(
      active,
      sealed,
      version,
      this.#highestSeqno(),
      held,
      (released) => {
        this.#living.delete(released)
      },
    )
    this.#living.add(made)
    return made
  }
}
