// Edits of a manifest: the bytes of docs/format.md, every kind there and back, and what is damage.

import { describe, expect, test, vi } from 'vitest'
import { Encoder } from '../../../lib/typescript/base/coding.ts'
import { decodeEdit, encodeEdit } from '../../../lib/typescript/tree/manifest-edit.ts'
import type { ManifestEdit } from '../../../lib/typescript/tree/manifest-edit.ts'
import {
  applyEdit,
  emptyState,
  GrowingState,
  snapshotOf,
} from '../../../lib/typescript/tree/manifest-state.ts'
import type { ManifestState } from '../../../lib/typescript/tree/manifest-state.ts'
import { exampleBytes, readFormatDocument } from '../../format/format-document.ts'
import { failure } from '../../support/scratch.ts'
import { tableMeta } from '../support/table-metas.ts'

const { examples, enums } = readFormatDocument()

/** One edit of every kind. */
const everything: ManifestEdit = {
  snapshot: 1,
  nextFileNumber: 100,
  nextTreeId: 9,
  lastSeqno: 2 ** 40,
  cleanShutdown: true,
  journalsAdded: [13, 14],
  journalsSealed: [{ file: 13, length: 99 }],
  journalsRemoved: [14],
  treesCreated: [{ tree: 3, name: 'käse', createdSeqno: 4, options: Uint8Array.of(2, 1, 255) }],
  treeOptions: [{ tree: 3, options: new Uint8Array(0) }],
  flushedSeqnos: [{ tree: 3, seqno: 8 }],
  clearedSeqnos: [{ tree: 3, seqno: 7 }],
  gcSeqnos: [{ tree: 3, seqno: 6 }],
  tablesRemoved: [{ tree: 3, file: 50 }],
  tablesMoved: [{ tree: 3, file: 51, level: 6, runOrder: 300 }],
  tablesAdded: [
    {
      tree: 3,
      table: tableMeta(52, 'a', 'c', {
        level: 2,
        runOrder: 7,
        blobs: [
          { fileNumber: 60, itemCount: 1, bytes: 42 },
          { fileNumber: 61, itemCount: 2, bytes: 84 },
        ],
      }),
    },
  ],
  blobsRemoved: [{ tree: 3, file: 59 }],
  blobsAdded: [{ tree: 3, file: 60, size: 1000, itemCount: 5, frameBytes: 904, rawBytes: 800 }],
  blobsStale: [{ tree: 3, file: 60, staleItems: 1, staleBytes: 42 }],
  treesDeleted: [2],
}

describe('the example of the document', () => {
  const payload = exampleBytes(examples.get('manifest-record') ?? []).subarray(32)

  test('is decoded to what it says', () => {
    const edit = decodeEdit(payload)
    expect(edit).toMatchObject({
      snapshot: 1,
      nextFileNumber: 21,
      nextTreeId: 2,
      lastSeqno: 9,
      cleanShutdown: false,
      journalsAdded: [13],
      treesCreated: [{ tree: 1, name: 'places', createdSeqno: 1 }],
      flushedSeqnos: [{ tree: 1, seqno: 8 }],
    })
    const { tree, table } = edit.tablesAdded![0]!
    expect(tree).toBe(1)
    expect({ ...table, firstKey: 0, lastKey: 0 }).toEqual({
      fileNumber: 12,
      level: 0,
      runOrder: 1,
      size: 358,
      itemCount: 4,
      tombstoneCount: 1,
      weakTombstoneCount: 0,
      rangeTombstoneCount: 1,
      blockCount: 1,
      firstKey: 0,
      lastKey: 0,
      lastKeyBound: 1,
      lowestSeqno: 3,
      highestSeqno: 7,
      globalSeqno: 0,
      createdAt: 1_700_000_000_000,
      codec: 0,
      blobs: [],
    })
    expect(Buffer.from(table.firstKey).toString()).toBe('apple')
    expect(Buffer.from(table.lastKey).toString()).toBe('c')
  })

  test('comes back byte for byte, through the state as well', () => {
    const edit = decodeEdit(payload)
    expect(Buffer.from(encodeEdit(edit))).toEqual(payload)
    const state = applyEdit(emptyState(1), edit)
    expect(Buffer.from(encodeEdit(snapshotOf(state)))).toEqual(payload)
  })
})

describe('an edit', () => {
  test('of every kind comes back', () => {
    expect(decodeEdit(encodeEdit(everything))).toEqual(everything)
    expect(decodeEdit(encodeEdit({ successor: 77 }))).toEqual({ successor: 77 })
    expect(() => decodeEdit(encodeEdit({}))).toThrow('an empty record')
    const kinds = enums.get('edit') ?? []
    expect(Object.keys(everything).length + 1).toBe(kinds.length)
  })

  test('that is cut off anywhere is damage, or fewer edits', async () => {
    const payload = encodeEdit(everything)
    for (let end = 0; end < payload.length; end++) {
      try {
        decodeEdit(payload.subarray(0, end))
      } catch (error) {
        expect(error).toMatchObject({ code: 'CORRUPTION' })
      }
    }
  })

  test('with a broken rule is damage', async () => {
    const edit = (id: number, ...body: number[]): Encoder =>
      new Encoder().field(id, Buffer.from(body))
    const both = (a: Encoder, b: Encoder): Encoder => new Encoder().raw(a.view()).raw(b.view())
    const table = (change: Partial<ReturnType<typeof tableMeta>>): Encoder =>
      new Encoder().raw(
        encodeEdit({ tablesAdded: [{ tree: 1, table: tableMeta(5, 'b', 'd', change) }] }),
      )
    const key = Buffer.from
    const bad: Readonly<Record<string, Encoder>> = {
      'unknown id': edit(22, 1),
      'id 0': edit(0),
      'descending ids': both(edit(3, 2), edit(2, 2)),
      'a rest': edit(2, 5, 0),
      'too short': edit(7, 5),
      'a second snapshot': both(edit(1, 1), edit(1, 1)),
      'kind of a directory': edit(1, 3),
      flag: edit(5, 2),
      'file 0': edit(6, 0),
      'tree 0': edit(20, 0),
      'level 7': edit(15, 1, 5, 7, 0),
      'successor and more': both(edit(20, 1), edit(21, 9)),
      'two successors': both(edit(21, 9), edit(21, 9)),
      'name not UTF-8': edit(9, 1, 1, 0xff, 0),
      'level of a table': table({ level: 7 }),
      'empty first key': table({ firstKey: new Uint8Array(0) }),
      'descending keys': table({ lastKey: key('a') }),
      'empty exclusive range': table({ lastKey: key('b'), lastKeyBound: 1 }),
      bound: table({ lastKeyBound: 3 }),
      'no upper end but a last key': table({ lastKeyBound: 2 }),
      'descending seqnos': table({ lowestSeqno: 9, highestSeqno: 8 }),
      codec: table({ codec: 3 }),
      'blob files that do not ascend': table({
        blobs: [
          { fileNumber: 6, itemCount: 1, bytes: 1 },
          { fileNumber: 6, itemCount: 1, bytes: 1 },
        ],
      }),
      'blob reference without pointers': table({
        blobs: [{ fileNumber: 6, itemCount: 0, bytes: 1 }],
      }),
      'count of blobs': new Encoder().raw(encodeEdit({ successor: 1 })).field(21, Buffer.from([1])),
    }
    for (const [what, encoder] of Object.entries(bad)) {
      // oxlint-disable-next-line no-await-in-loop
      const error = await failure(() => decodeEdit(encoder.view()))
      expect(error.code, what).toBe('CORRUPTION')
    }
  })
})

describe('the state', () => {
  const table = tableMeta
  const base: ManifestState = applyEdit(emptyState(1), {
    nextFileNumber: 100,
    nextTreeId: 10,
    lastSeqno: 5,
    journalsAdded: [20, 21],
    journalsSealed: [{ file: 20, length: 64 }],
    treesCreated: [
      { tree: 1, name: 'one', createdSeqno: 1, options: new Uint8Array(0) },
      { tree: 2, name: 'two', createdSeqno: 2, options: new Uint8Array(0) },
    ],
    flushedSeqnos: [{ tree: 1, seqno: 5 }],
    clearedSeqnos: [{ tree: 1, seqno: 4 }],
    gcSeqnos: [{ tree: 1, seqno: 3 }],
    tablesAdded: [
      { tree: 1, table: table(30, 'a', 'c') },
      { tree: 1, table: table(31, 'd', 'f') },
      { tree: 1, table: table(32, 'b', 'e', { level: 0, runOrder: 9 }) },
      { tree: 2, table: table(33, 'b', 'e') },
    ],
    blobsAdded: [{ tree: 1, file: 40, size: 200, itemCount: 2, frameBytes: 104, rawBytes: 50 }],
  })

  test('is the same after a snapshot of it', () => {
    const snapshot = decodeEdit(encodeEdit(snapshotOf(base)))
    expect(applyEdit(emptyState(snapshot.snapshot!), snapshot)).toEqual(base)
  })

  test('does not change when an edit makes the next one', () => {
    const before = snapshotOf(base)
    const next = applyEdit(base, {
      tablesRemoved: [{ tree: 1, file: 30 }],
      tablesMoved: [{ tree: 1, file: 32, level: 3, runOrder: 4 }],
      tablesAdded: [{ tree: 1, table: table(50, 'a', 'c') }],
      blobsStale: [{ tree: 1, file: 40, staleItems: 1, staleBytes: 52 }],
      journalsRemoved: [20],
      treesDeleted: [2],
    })
    expect(snapshotOf(base)).toEqual(before)
    const tree = next.trees.get(1)!
    expect([...tree.tables.keys()]).toEqual([31, 32, 50])
    expect(tree.tables.get(32)).toMatchObject({ level: 3, runOrder: 4 })
    expect(tree.blobFiles.get(40)).toMatchObject({ staleItems: 1, staleBytes: 52 })
    expect([[...next.journals.keys()], [...next.trees.keys()]]).toEqual([[21], [1]])
  })

  test('that grows edit by edit is the same, and copies no trees for that', () => {
    const growing = new GrowingState(1)
    let state = emptyState(1)
    const edits: ManifestEdit[] = [snapshotOf(base)]
    for (let tree = 10; tree < 200; tree++) {
      const created = {
        tree,
        name: `tree ${tree % 50}`,
        createdSeqno: 6,
        options: new Uint8Array(0),
      }
      edits.push({ nextTreeId: tree + 1, treesCreated: [created] })
      edits.push({
        nextFileNumber: 100 + tree,
        tablesAdded: [{ tree, table: table(99 + tree, 'x', 'y') }],
      })
      if (tree >= 59) edits.push({ treesDeleted: [tree - 49] })
    }
    for (const edit of edits) state = applyEdit(state, edit)
    let copied = 0
    const iterator = Map.prototype[Symbol.iterator]
    vi.spyOn(Map.prototype, Symbol.iterator).mockImplementation(function (this: Map<never, never>) {
      copied += this.size
      return iterator.call(this) as MapIterator<[never, never]>
    })
    for (const edit of edits) growing.apply(edit)
    vi.restoreAllMocks()
    expect(growing.state).toEqual(state)
    // Some 50 trees for each of them otherwise.
    expect(copied).toBeLessThan(2 * edits.length)
  })

  test('refuses what does not fit', async () => {
    const created = { tree: 3, name: 'three', createdSeqno: 6, options: new Uint8Array(0) }
    const bad: Readonly<Record<string, ManifestEdit>> = {
      'journal twice': { journalsAdded: [20] },
      'journal that is a table': { journalsAdded: [30] },
      'journal above the next number': { journalsAdded: [100] },
      'sealed without being there': { journalsSealed: [{ file: 22, length: 64 }] },
      'sealed again, elsewhere': { journalsSealed: [{ file: 20, length: 65 }] },
      'sealed inside its header': { journalsSealed: [{ file: 21, length: 31 }] },
      'journal removed twice': { journalsRemoved: [20, 20] },
      'last seqno': { lastSeqno: 4 },
      'next file number': { nextFileNumber: 99 },
      'next tree id': { nextTreeId: 9 },
      'tree twice': { treesCreated: [{ ...created, tree: 1 }] },
      'tree id': { treesCreated: [{ ...created, tree: 10 }] },
      'name twice': { treesCreated: [{ ...created, name: 'one' }] },
      'no name': { treesCreated: [{ ...created, name: '' }] },
      'options of no tree': { treeOptions: [{ tree: 3, options: new Uint8Array(0) }] },
      'flushed seqno': { flushedSeqnos: [{ tree: 1, seqno: 4 }] },
      'cleared seqno': { clearedSeqnos: [{ tree: 1, seqno: 3 }] },
      'gc seqno': { gcSeqnos: [{ tree: 1, seqno: 2 }] },
      'table removed twice': { tablesRemoved: [30, 30].map((file) => ({ tree: 1, file })) },
      'table of another tree': { tablesRemoved: [{ tree: 2, file: 30 }] },
      'table moved, not there': { tablesMoved: [{ tree: 1, file: 33, level: 1, runOrder: 1 }] },
      'table twice': { tablesAdded: [{ tree: 1, table: table(30, 'x', 'y') }] },
      'table in two trees': { tablesAdded: [{ tree: 2, table: table(30, 'x', 'y') }] },
      'table twice in one edit': {
        tablesAdded: [1, 2].map((tree) => ({ tree, table: table(60, 'x', 'y') })),
      },
      'new table twice in one edit': {
        nextFileNumber: 200,
        tablesAdded: [1, 2].map((tree) => ({ tree, table: table(160, 'x', 'y') })),
      },
      'new journal that is a new table': {
        nextFileNumber: 200,
        journalsAdded: [160],
        tablesAdded: [{ tree: 2, table: table(160, 'x', 'y') }],
      },
      'tables that meet': { tablesAdded: [{ tree: 1, table: table(60, 'c', 'c') }] },
      'moved into another': { tablesMoved: [{ tree: 1, file: 32, level: 1, runOrder: 1 }] },
      'unbounded below another': {
        tablesAdded: [{ tree: 2, table: table(60, 'a', 'a', { lastKeyBound: 2 }) }],
      },
      'blob file of no tree': { blobsRemoved: [{ tree: 2, file: 40 }] },
      'blob file twice': {
        blobsAdded: [{ tree: 1, file: 40, size: 1, itemCount: 1, frameBytes: 1, rawBytes: 1 }],
      },
      'more garbage than content': {
        blobsStale: [{ tree: 1, file: 40, staleItems: 3, staleBytes: 1 }],
      },
      'more garbage bytes than bytes': {
        blobsStale: [{ tree: 1, file: 40, staleItems: 1, staleBytes: 105 }],
      },
      'more garbage than what is added': {
        blobsAdded: [{ tree: 1, file: 90, size: 9, itemCount: 1, frameBytes: 5, rawBytes: 1 }],
        blobsStale: [{ tree: 1, file: 90, staleItems: 2, staleBytes: 1 }],
      },
      'blob file that goes while it is pointed to': {
        tablesAdded: [
          {
            tree: 1,
            table: table(60, 'x', 'y', { blobs: [{ fileNumber: 40, itemCount: 1, bytes: 1 }] }),
          },
        ],
        blobsRemoved: [{ tree: 1, file: 40 }],
      },
      'garbage of no file': { blobsStale: [{ tree: 2, file: 40, staleItems: 0, staleBytes: 0 }] },
      'pointers into no file': {
        tablesAdded: [
          {
            tree: 2,
            table: table(60, 'x', 'y', { blobs: [{ fileNumber: 40, itemCount: 1, bytes: 1 }] }),
          },
        ],
      },
      'tree deleted twice': { treesDeleted: [2, 2] },
    }
    for (const [what, edit] of Object.entries(bad)) {
      // oxlint-disable-next-line no-await-in-loop
      expect((await failure(() => applyEdit(base, edit))).code, what).toBe('CORRUPTION')
    }
  })

  test('an exclusive end may be where the next table starts', () => {
    const first = table(60, 'x', 'y', { lastKeyBound: 1 })
    const tables = [first, table(61, 'y', 'z', { lastKeyBound: 2 })]
    const edit = { tablesAdded: tables.map((added) => ({ tree: 2, table: added })) }
    expect(applyEdit(base, edit).trees.get(2)?.tables.size).toBe(3)
  })

  test('a bare tree has one tree without a name, and no journals', async () => {
    const bare = { ...emptyState(2), nextFileNumber: 9, nextTreeId: 3 }
    const tree = { tree: 1, name: '', createdSeqno: 0, options: new Uint8Array(0) }
    expect(applyEdit(bare, { treesCreated: [tree] }).trees.size).toBe(1)
    const bad: ManifestEdit[] = [
      { treesCreated: [{ ...tree, name: 'x' }] },
      { treesCreated: [{ ...tree, tree: 2 }] },
      { journalsAdded: [5] },
    ]
    for (const edit of bad) {
      // oxlint-disable-next-line no-await-in-loop
      expect((await failure(() => applyEdit(bare, edit))).code).toBe('CORRUPTION')
    }
  })
})
