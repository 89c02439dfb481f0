/**
 * The trees of a database while its journals are replayed: commits go into their memtables, and the
 * records of the journals create and delete them. What the manifest has to be told of that is kept.
 *
 * Memory: where the memtables outgrow half of the write buffer some are flushed, but only what is
 * known to be durable, and whole commits: the flushed seqno hides the rest of one from the next
 * replay.
 */

import { ShaleError } from '../../errors.ts'
import { getU16, getU32 } from '../base/coding.ts'
import { CODEC_NONE } from '../base/compression.ts'
import { breath } from '../base/flow.ts'
import type { Flow } from '../base/flow.ts'
import { KIND_RANGE_TOMBSTONE } from '../base/internal-key.ts'
import { BATCH_BYTES_MAX } from '../base/limits.ts'
import { FIRST_KEY } from '../base/range-tombstone.ts'
import type { RangeTombstone } from '../base/range-tombstone.ts'
import { corruption } from '../base/status.ts'
import type { ManifestEdit } from '../tree/manifest-edit.ts'
import { newTree } from '../tree/manifest-state.ts'
import type { ManifestState, TreeState } from '../tree/manifest-state.ts'
import { Tree } from '../tree/tree.ts'
import type { TreeContext } from '../tree/tree.ts'
import { Cancelled } from './cancelled.ts'
import {
  BatchReader,
  ENTRY_HEADER_BYTES,
  isKeyspaceRecord,
  KEYSPACE_CLEAR,
  KEYSPACE_CREATE,
  KEYSPACE_DELETE,
  TABLES_CHANGED,
} from './write-batch.ts'

/** Ids of creations that failed, between two that did not. */
const TREE_ID_GAP_MAX = 2 ** 20

/** Milliseconds between two turns of the event loop. */
const SLICE_MILLIS = 3
/** What is done between two looks at the clock, in bytes; an entry counts for some. */
const WORK_PER_LOOK = 8192
const ENTRY_WORK = 256

export class ReplayedTrees {
  readonly #context: TreeContext
  readonly #trees: Map<number, Tree>
  /** Of the trees. */
  readonly #names = new Set<string>()
  /** What the manifest says when recovery begins. */
  readonly #state: ManifestState
  /** Bytes of memtables that replay should stay within; 0: it may not flush. */
  #writeBuffer: number
  /** Bytes of all memtables. */
  #memory = 0
  /** The last commit when all memtables were sealed to be flushed; 0: they are not. */
  #sealedAt = 0
  /** By records of the journals. */
  readonly #created = new Map<number, TreeState>()
  readonly #deleted = new Set<number>()
  /** The deleted ones; their files stay until the manifest knows. */
  #gone: Tree[] = []
  /** By the commit at hand. */
  readonly #touched: Tree[] = []
  #scratch: Uint8Array = new Uint8Array(0)
  #work = 0
  #until = 0

  constructor(context: TreeContext, trees: Map<number, Tree>, writeBuffer: number) {
    this.#context = context
    this.#trees = trees
    for (const { name } of trees.values()) this.#names.add(name)
    this.#state = context.manifest.state
    this.#writeBuffer = writeBuffer
  }

  // --- commits -----------------------------------------------------------------------------------

  /** Applies one commit; whether it changed a memtable. */
  *apply(
    payload: Uint8Array,
    count: number,
    seqno: number,
    watermarks: Map<number, number>,
  ): Flow<boolean> {
    const batch = new BatchReader(payload)
    // The payload is read twice only where there may be something to cancel.
    const cancelled = count > 1 && mayHoldRanges(payload) ? Cancelled.of(payload) : undefined
    this.#touched.length = 0
    while (batch.next()) {
      const { kind } = batch
      if (batch.rawBytes > BATCH_BYTES_MAX) throw corruption('a commit is larger than one may be')
      if (kind === KEYSPACE_CREATE) {
        yield* this.#create(batch, seqno)
      } else {
        const tree = this.#treeOf(batch, seqno)
        if (tree !== undefined && kind === KIND_RANGE_TOMBSTONE) {
          this.#insertRange(tree, batch.range(seqno))
          watermarks.set(tree.id, seqno)
        } else if (tree !== undefined && kind === KEYSPACE_CLEAR) {
          this.#insertRange(tree, { start: FIRST_KEY, end: undefined, seqno })
          watermarks.set(tree.id, seqno)
        } else if (tree !== undefined && cancelled?.has(batch) !== true) {
          const value = batch.codec === CODEC_NONE ? undefined : yield* this.#decompressed(batch)
          this.#insert(tree, batch, seqno, value)
          watermarks.set(tree.id, seqno)
        }
      }
      if (isKeyspaceRecord(kind) && count !== 1) {
        throw corruption('a keyspace record shares its commit')
      }
      this.#work += ENTRY_WORK + batch.valueEnd - batch.keyBegin
      if (this.#work >= WORK_PER_LOOK) {
        this.#work = 0
        if (this.#context.vfs.monotonicMillis() >= this.#until) yield* this.#rest()
      }
    }
    if (batch.count !== count) throw corruption('a commit has another number of entries')
    return this.#touched.length > 0
  }

  *#rest(): Flow<void> {
    yield* breath
    this.#until = this.#context.vfs.monotonicMillis() + SLICE_MILLIS
  }

  /** The tree that an entry goes into; undefined for one that is passed over, or is a deletion. */
  #treeOf(batch: BatchReader, seqno: number): Tree | undefined {
    const { kind, keyspaceId: id } = batch
    const tree = this.#trees.get(id)
    if (tree === undefined) {
      // Deleted since.
      if (id < this.#state.nextTreeId || this.#deleted.has(id)) return undefined
      if (kind === KEYSPACE_DELETE) {
        // Its creation failed, and the journal with the record of that is gone.
        this.#deleted.add(id)
        this.#passOver(id)
        return undefined
      }
      throw corruption('a commit writes to a keyspace that never was')
    }
    if (kind === KEYSPACE_DELETE) {
      this.#delete(tree)
      return undefined
    }
    // The manifest has it.
    if (kind === TABLES_CHANGED) return undefined
    return seqno < tree.flushedSeqno ? undefined : tree
  }

  /** The value of an entry; good until the next one. */
  *#decompressed(batch: BatchReader): Flow<Uint8Array> {
    const { rawLength } = batch
    if (rawLength > this.#scratch.length) this.#scratch = new Uint8Array(rawLength)
    const value = this.#scratch.subarray(0, rawLength)
    yield* batch.copyValue(value)
    return value
  }

  /** `value`: if it is not the one in the batch. */
  #insert(tree: Tree, batch: BatchReader, seqno: number, value: Uint8Array | undefined): void {
    const { kind, bytes, keyBegin, keyEnd, valueBegin, valueEnd } = batch
    const before = tree.activeBytes
    if (value === undefined) {
      tree.insert(kind, seqno, bytes, keyBegin, keyEnd, bytes, valueBegin, valueEnd)
    } else {
      tree.insert(kind, seqno, bytes, keyBegin, keyEnd, value, 0, value.length)
    }
    this.#applied(tree, before)
  }

  #insertRange(tree: Tree, range: RangeTombstone): void {
    const before = tree.activeBytes
    tree.insertRange(range)
    this.#applied(tree, before)
  }

  #applied(tree: Tree, bytesBefore: number): void {
    this.#memory += tree.activeBytes - bytesBefore
    if (this.#touched.at(-1) !== tree) this.#touched.push(tree)
  }

  /** Nobody else gets the id. */
  #passOver(id: number): void {
    if (id - this.#state.nextTreeId > TREE_ID_GAP_MAX) {
      throw corruption('a keyspace record has an impossible id')
    }
    const { manifest } = this.#context
    while (manifest.newTreeId() < id);
  }

  /** A creation whose manifest commit did not happen. */
  *#create(batch: BatchReader, createdSeqno: number): Flow<void> {
    const { keyspaceId: id, bytes, keyBegin, keyEnd, valueBegin, valueEnd } = batch
    const name = nameOf(bytes.subarray(keyBegin, keyEnd))
    const existed = id < this.#state.nextTreeId || this.#deleted.has(id)
    if (existed || this.#trees.has(id)) return
    this.#passOver(id)
    if (this.#names.has(name)) throw corruption('two keyspaces have one name')
    const options = bytes.slice(valueBegin, valueEnd)
    const state = newTree({ tree: id, name, createdSeqno, options })
    this.#trees.set(id, yield* Tree.open(this.#context, state))
    this.#names.add(name)
    this.#created.set(id, state)
  }

  #delete(tree: Tree): void {
    this.#memory -= tree.activeBytes + tree.sealedBytes
    this.#trees.delete(tree.id)
    this.#names.delete(tree.name)
    this.#deleted.add(tree.id)
    this.#gone.push(tree)
  }

  // --- memory ------------------------------------------------------------------------------------

  /** Whether the memtables take more than they should. */
  get isOverLimit(): boolean {
    return this.#memory > this.#writeBuffer / 2
  }

  /** Not while memtables wait to be flushed: these must not take what is not durable with them. */
  sealFull(): void {
    if (this.#sealedAt !== 0) return
    for (const tree of this.#touched) {
      if (tree.isFull) tree.rotate()
    }
  }

  /**
   * Everything is sealed where it stands, behind commit `last`, and once that is known to be
   * durable the largest trees go to tables.
   */
  *relieve(last: number, durable: number): Flow<void> {
    if (this.#writeBuffer === 0 || !this.isOverLimit) return
    if (this.#sealedAt === 0) {
      this.rotateAll()
      this.#sealedAt = last
    }
    if (durable < this.#sealedAt) return
    this.#sealedAt = 0
    try {
      for (const { tree, bytes } of this.#sealedByBytes()) {
        if (!this.isOverLimit) break
        yield* tree.flush()
        this.#memory -= bytes
      }
    } catch (error) {
      // Rather more memory than a database that does not open.
      if (!(error instanceof ShaleError) || error.code !== 'DISK_FULL') throw error
      this.#writeBuffer = 0
    }
  }

  /** Those with sealed memtables, largest first. */
  #sealedByBytes(): { readonly tree: Tree; readonly bytes: number }[] {
    return [...this.#trees.values()]
      .map((tree) => ({ tree, bytes: tree.sealedBytes }))
      .filter(({ tree, bytes }) => bytes > 0 && this.#isKnown(tree))
      .toSorted((a, b) => b.bytes - a.bytes)
  }

  /** One that the manifest does not know cannot have tables. */
  #isKnown(tree: Tree): boolean {
    return this.#state.trees.has(tree.id)
  }

  rotateAll(): void {
    for (const tree of this.#trees.values()) tree.rotate()
  }

  /** All memtables to tables; the manifest knows the trees. */
  *flushAll(): Flow<void> {
    this.rotateAll()
    for (const tree of this.#trees.values()) yield* tree.flush()
  }

  // --- what the manifest has to be told ----------------------------------------------------------

  /**
   * What the journals said of trees, in the order in which the manifest is told: what is created
   * may have the name of what is deleted. One that was created and deleted in the journals alone
   * never reaches the manifest.
   */
  edits(): [deletions: ManifestEdit, creations: ManifestEdit] {
    const created = [...this.#created.values()].filter(({ id }) => !this.#deleted.has(id))
    const treesCreated = created.map(({ id: tree, name, createdSeqno, options }) => {
      return { tree, name, createdSeqno, options }
    })
    const treesDeleted = [...this.#deleted].filter((id) => this.#state.trees.has(id))
    return [{ treesDeleted }, { treesCreated }]
  }

  /** The manifest knows that they are deleted. */
  deleteGone(): void {
    for (const tree of this.#gone.splice(0)) tree.delete()
  }

  /** Lets go of deleted trees without the manifest knowing. */
  closeGone(): void {
    for (const tree of this.#gone.splice(0)) tree.close()
  }
}

/** Whether a payload has a range tombstone; what is no payload is found out by its reader. */
function mayHoldRanges(payload: Uint8Array): boolean {
  let at = 0
  while (at + ENTRY_HEADER_BYTES <= payload.length) {
    if (payload[at] === KIND_RANGE_TOMBSTONE) return true
    at += ENTRY_HEADER_BYTES + getU16(payload, at + 2) + getU32(payload, at + 8)
  }
  return false
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function nameOf(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw corruption('a batch entry breaks a rule of its kind')
  }
}
