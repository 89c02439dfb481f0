/**
 * The keyspaces of a database: finding, creating and changing them.
 *
 * A creation is a commit like any other: journaled and synced in order, then recorded in the
 * manifest with its seqno. Others go on writing meanwhile; nothing can be written to the keyspace
 * before it is there for good. Everybody who asks for a keyspace that is being created helps to end
 * that, so a sync caller need not wait for an async one.
 */

import type { DatabaseSettings, FilterSource, TreeSettingsGiven } from '../../engine.ts'
import { ShaleError } from '../../errors.ts'
import { CODEC_NONE, requireCodec } from '../base/compression.ts'
import type { Flow } from '../base/flow.ts'
import { compareBytes, equalBytes } from '../base/slice.ts'
import { newTree } from '../tree/manifest-state.ts'
import type { TreeState } from '../tree/manifest-state.ts'
import { changedOptions, encodeOptions, newOptions } from '../tree/options.ts'
import { Tree } from '../tree/tree.ts'
import type { TreeContext } from '../tree/tree.ts'
import type { CommitQueue } from './commit-queue.ts'
import { Keyspace } from './keyspace.ts'
import type { Strategy } from './strategies.ts'
import {
  ENTRY_HEADER_BYTES,
  KEYSPACE_CREATE,
  KEYSPACE_DELETE,
  putEntryHeader,
  TABLES_CHANGED,
} from './write-batch.ts'

export interface KeyspacesParts {
  readonly context: TreeContext
  readonly queue: CommitQueue
  readonly isReadOnly: boolean
  /** Hands over a commit of its own with one record; returns its seqno. */
  readonly appendRecord: (record: Uint8Array) => number
  readonly onAdded: (keyspace: Keyspace) => void
  /** Its options, or its strategy, are others now. */
  readonly onChanged: (keyspace: Keyspace) => void
}

/** What the application gives a keyspace and nothing stores. */
export interface Offered {
  readonly filter?: FilterSource | undefined
  readonly filterOwner?: unknown
  readonly strategy?: Strategy | undefined
}

/** A keyspace on its way. */
interface Creation {
  readonly state: TreeState
  readonly keyspace: Keyspace
  /** The manifest has its edit. */
  isCommitting: boolean
  /** Of the commit that took it back. */
  takenBack: number
  outcome: 'created' | { readonly error: unknown } | undefined
}

export class Keyspaces {
  readonly #parts: KeyspacesParts
  readonly #byName = new Map<string, Keyspace>()
  readonly #byId = new Map<number, Keyspace>()
  readonly #creations = new Map<string, Creation>()

  constructor(parts: KeyspacesParts) {
    this.#parts = parts
  }

  byId(id: number): Keyspace | undefined {
    return this.#byId.get(id)
  }

  all(): Keyspace[] {
    return [...this.#byId.values()]
  }

  /** In the order of their bytes. */
  names(): string[] {
    return [...this.#byName.keys()]
      .map((name) => ({ name, bytes: Buffer.from(name) }))
      .toSorted((a, b) => compareBytes(a.bytes, b.bytes))
      .map(({ name }) => name)
  }

  /** By tree: the highest seqno that only journals have, of an entry or of the creation itself. */
  unflushed(): Map<number, number> {
    const seqnos = new Map<number, number>()
    for (const { id, tree } of this.#byId.values()) {
      const { highestSeqno, flushedSeqno } = tree
      if (highestSeqno !== 0 && highestSeqno >= flushedSeqno) seqnos.set(id, highestSeqno)
    }
    for (const { state } of this.#creations.values()) seqnos.set(state.id, state.createdSeqno)
    return seqnos
  }

  /** What of a tree has a smaller seqno needs no journal any more; undefined: the tree is gone. */
  flushedSeqno(id: number): number | undefined {
    const tree = this.#parts.context.manifest.state.trees.get(id)
    if (tree !== undefined) return Math.max(tree.flushedSeqno, tree.createdSeqno + 1)
    return [...this.#creations.values()].some(({ state }) => state.id === id) ? 0 : undefined
  }

  add(keyspace: Keyspace): void {
    this.#byName.set(keyspace.name, keyspace)
    this.#byId.set(keyspace.id, keyspace)
    if (!this.#parts.isReadOnly) this.#parts.onAdded(keyspace)
  }

  /** The keyspace with that name, these options and these helpers; created if there is none. */
  *open(
    name: string,
    given: TreeSettingsGiven,
    { filter, filterOwner, strategy }: Offered,
  ): Flow<Keyspace> {
    checkCodecs(given)
    const found = this.#byName.get(name)
    if (found === undefined && !this.#creations.has(name)) {
      return yield* this.#create(name, given, { filter, filterOwner, strategy })
    }
    const keyspace = found ?? (yield* this.#finish(this.#creations.get(name)!))
    keyspace.tree.offerFilter(filter, filterOwner)
    const hasChanged = yield* this.#change(keyspace, given)
    keyspace.strategy = strategy ?? keyspace.strategy
    const { isReadOnly, onChanged } = this.#parts
    if (!isReadOnly && (hasChanged || strategy !== undefined)) onChanged(keyspace)
    return keyspace
  }

  /** To all keyspaces; each open of a database brings its own. */
  offerFilters(filterOf: DatabaseSettings['filterOf']): void {
    for (const { name, tree } of this.#byName.values()) {
      tree.offerFilter(filterOf?.(name), filterOf)
    }
  }

  /** Whoever brought them has closed the database, which others go on with. */
  dropFilters(filterOf: DatabaseSettings['filterOf']): void {
    for (const { tree } of this.#byName.values()) tree.dropFilter(filterOf)
  }

  /** Brings to an end what others have begun. */
  *finish(): Flow<void> {
    for (const creation of this.#creations.values()) {
      try {
        yield* this.#finish(creation)
      } catch {
        // Whoever began it is told.
      }
    }
  }

  /** Whether they are others now. */
  *#change(keyspace: Keyspace, given: TreeSettingsGiven): Flow<boolean> {
    const { tree } = keyspace
    const before = tree.storedOptions
    const after = changedOptions(before, given)
    const options = encodeOptions(after)
    if (equalBytes(options, encodeOptions(before))) return false
    if (this.#parts.isReadOnly) {
      const message = 'a read-only database keeps the stored options'
      throw new ShaleError('READ_ONLY', message, { keyspace: keyspace.name })
    }
    const { manifest } = this.#parts.context
    yield* manifest.commit(
      { treeOptions: [{ tree: tree.id, options }] },
      { durable: () => tree.setOptions(after), failed: (error) => this.#failIfLost(error) },
    )
    return true
  }

  /** A failed sync of the manifest ends writing. */
  #failIfLost(error: unknown): void {
    if (error instanceof ShaleError && error.code === 'SYNC_FAILED') this.#parts.queue.fail(error)
  }

  *#create(
    name: string,
    given: TreeSettingsGiven,
    { filter, filterOwner, strategy }: Offered,
  ): Flow<Keyspace> {
    const { context, isReadOnly, appendRecord } = this.#parts
    if (isReadOnly) {
      throw new ShaleError('KEYSPACE_NOT_FOUND', 'there is no such keyspace', { keyspace: name })
    }
    const options = encodeOptions(newOptions(given))
    const tree = context.manifest.newTreeId()
    const state = newTree({ tree, name, createdSeqno: 0, options })
    const keyspace = new Keyspace(yield* Tree.open(context, state))
    keyspace.tree.offerFilter(filter, filterOwner)
    keyspace.strategy = strategy
    const key = Buffer.from(name)
    const createdSeqno = appendRecord(encodeRecord(KEYSPACE_CREATE, state.id, key, options))
    const creation: Creation = {
      state: { ...state, createdSeqno },
      keyspace,
      isCommitting: false,
      takenBack: 0,
      outcome: undefined,
    }
    this.#creations.set(name, creation)
    return yield* this.#finish(creation)
  }

  /** Everybody who waits for it may drive it to its end. */
  *#finish(creation: Creation): Flow<Keyspace> {
    const { context, queue } = this.#parts
    const { createdSeqno, id: tree, name, options } = creation.state
    try {
      yield* queue.syncTo(createdSeqno)
    } catch (error) {
      this.#creations.delete(name)
      throw error
    }
    while (creation.outcome === undefined) {
      if (creation.isCommitting) {
        yield* context.manifest.settle()
        continue
      }
      creation.isCommitting = true
      try {
        yield* context.manifest.commit(
          { treesCreated: [{ tree, name, createdSeqno, options }] },
          {
            durable: () => this.#created(creation),
            failed: (error) => this.#notCreated(creation, error),
          },
        )
      } catch {
        // The outcome says so.
      }
    }
    if (creation.outcome === 'created') return creation.keyspace
    // A failed sync fails the queue.
    if (queue.failure === undefined) yield* queue.syncTo(creation.takenBack)
    throw creation.outcome.error as Error
  }

  #created(creation: Creation): void {
    creation.outcome = 'created'
    this.#creations.delete(creation.state.name)
    this.add(creation.keyspace)
  }

  /**
   * The journal says that the keyspace exists and the manifest does not: another commit says that
   * it does not. If that fails as well, nothing may follow.
   */
  #notCreated(creation: Creation, error: unknown): void {
    creation.outcome = { error }
    this.#creations.delete(creation.state.name)
    this.#failIfLost(error)
    const { queue, appendRecord } = this.#parts
    if (queue.failure !== undefined) return
    try {
      const record = encodeRecord(KEYSPACE_DELETE, creation.state.id, NOTHING, NOTHING)
      creation.takenBack = appendRecord(record)
    } catch {
      queue.fail(error as ShaleError)
    }
  }
}

/** NOT_SUPPORTED for a codec that this environment has not. */
export function checkCodecs(given: TreeSettingsGiven): void {
  const { compression = [], indexCompression = [], kvSeparation } = given
  for (const name of [...compression, ...indexCompression]) requireCodec(name)
  if (kvSeparation !== undefined) requireCodec(kvSeparation.compression)
}

const NOTHING = new Uint8Array(0)

/** The commit of a change of tables that reads can tell. */
export function tablesChanged(id: number): Uint8Array {
  return encodeRecord(TABLES_CHANGED, id, NOTHING, NOTHING)
}

/** The entry of a commit that says something of a keyspace. */
function encodeRecord(kind: number, id: number, key: Uint8Array, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ENTRY_HEADER_BYTES + key.length + value.length)
  putEntryHeader(bytes, 0, kind, CODEC_NONE, key.length, id, value.length)
  bytes.set(key, ENTRY_HEADER_BYTES)
  bytes.set(value, ENTRY_HEADER_BYTES + key.length)
  return bytes
}
