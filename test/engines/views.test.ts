// What a tree says of itself: both engines say the same of the same directory.

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LeveledCompaction, MAX_SEQNO, Tree } from '../../lib/index.ts'
import type { Engine, KeyRange, TreeOptions } from '../../lib/index.ts'
import { scratchDirectory } from '../support/scratch.ts'

const OPTIONS: TreeOptions = {
  compression: ['none', 'lz4', 'zstd'],
  dataBlockSize: 1024,
  compaction: new LeveledCompaction({ l0Threshold: 3, targetSize: 16 * 1024 }),
}

function keyOf(i: number): string {
  return `key${String(i).padStart(6, '0')}`
}

/** Several levels, some of them compressed, tombstones, and entries in memory. */
function write(tree: Tree): void {
  let seqno = 10
  for (let round = 0; round < 7; round++) {
    for (let i = round; i < 3000; i += 2)
      tree.insertSync(keyOf(i), `${round} ${i} `.repeat(5), seqno++)
    for (let i = 0; i < 40; i++) tree.removeSync(keyOf(i * 7), seqno++)
    for (let i = 0; i < 9; i++) tree.removeWeakSync(keyOf(10_000 + i), seqno++)
    tree.flushSync()
    tree.compactSync(new LeveledCompaction({ l0Threshold: 3, targetSize: 16 * 1024 }))
  }
  writeMore(tree)
}

/** What is not flushed is gone when the tree is closed. */
function writeMore(tree: Tree): void {
  tree.insertSync('sealed', 'v', 1_000_000)
  tree.rotateMemtable()
  tree.insertSync('active', 'v', 1_000_001)
  tree.removeSync('active', 1_000_002)
}

const RANGES: readonly KeyRange[] = [
  {},
  { gte: keyOf(0) },
  { lt: keyOf(2999) },
  { lte: keyOf(10_008) },
  { lt: keyOf(10_009) },
  { gte: keyOf(500), lt: keyOf(501) },
  { gte: keyOf(500), lt: keyOf(2500) },
  { gt: keyOf(9000) },
  { gte: 'a', lt: 'b' },
  { gte: 'x' },
  { gte: keyOf(900), lt: keyOf(100) },
]

/** All that a tree says, but for what depends on how an engine keeps its memory. */
function viewsOf(tree: Tree): unknown {
  const { version, seqno, activeMemtable, sealedMemtables } = tree.getVersionForSnapshot(0)
  const memtables = [activeMemtable, ...sealedMemtables]
  return {
    levels: tree.version().levels.map((runs) =>
      runs.map((run) =>
        run.map((table) => ({
          ...table,
          firstKey: table.firstKey.toString(),
          lastKey: table.lastKey.toString(),
        })),
      ),
    ),
    versionIds: [tree.version().id, version.id],
    history: tree.versionHistory().length,
    seqno,
    memtables: memtables.map(({ id, itemCount, highestSeqno }) => ({
      id,
      itemCount,
      highestSeqno,
    })),
    isInMemory: memtables.map(({ size }) => size > 0),
    approximateLen: tree.approximateLen(),
    highestSeqno: tree.highestSeqno,
    highestPersistedSeqno: tree.highestPersistedSeqno,
    tableCount: tree.tableCount(),
    l0TableCount: tree.l0TableCount(),
    diskSpace: tree.diskSpace(),
    approximateSizes: RANGES.map((range) => tree.approximateSize(range)),
    len: tree.lenSync(MAX_SEQNO),
  }
}

test.each<Engine>(['native', 'typescript'])('written by the %s engine', (writer) => {
  const directory = join(scratchDirectory(), 'tree')
  const tree = Tree.openSync(directory, { ...OPTIONS, engine: writer })
  write(tree)
  expect(tree.tableCount()).toBeGreaterThan(5)
  tree.closeSync()
  const [native, typescript] = (['native', 'typescript'] as const).map((engine) => {
    const reopened = Tree.openSync(directory, { engine })
    writeMore(reopened)
    const views = viewsOf(reopened)
    reopened.closeSync()
    return views
  })
  expect(typescript).toEqual(native)
})

test('of an empty tree', () => {
  const [native, typescript] = (['native', 'typescript'] as const).map((engine) => {
    const tree = Tree.openSync(join(scratchDirectory(), engine), { engine })
    const views = viewsOf(tree)
    tree.closeSync()
    return views
  })
  expect(typescript).toEqual(native)
})
