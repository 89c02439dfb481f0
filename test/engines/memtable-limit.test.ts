// A memtable that nobody seals: it ends before its arena does, and nothing is lost.

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { MAX_SEQNO, Tree } from '../../lib/index.ts'
import { MEMTABLE_BYTES_MAX } from '../../lib/typescript/memtable/memtable.ts'
import { scratchDirectory } from '../support/scratch.ts'

test('a bare tree seals a memtable of a GiB by itself', () => {
  const path = join(scratchDirectory(), 'tree')
  const tree = Tree.openSync(path, { engine: 'typescript' })
  const value = Buffer.alloc(MEMTABLE_BYTES_MAX / 4)
  for (let i = 1; i <= 4; i++) {
    value[0] = i
    const { memtableSize } = tree.insertSync(`key ${i}`, value, i)
    expect(memtableSize).toBeGreaterThanOrEqual(i * value.length)
  }
  expect(tree.insertSync('key 5', 'small', 5).memtableSize).toBeLessThan(value.length)
  expect(tree.memtableSize()).toBeGreaterThan(MEMTABLE_BYTES_MAX)
  for (let i = 1; i <= 4; i++) expect(tree.getSync(`key ${i}`, MAX_SEQNO)![0]).toBe(i)
  tree.closeSync()
})
