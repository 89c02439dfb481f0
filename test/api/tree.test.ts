// Bare trees: what databases do not have.

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { MAX_SEQNO, Tree } from '../../lib/index.ts'
import { failure, scratchDirectory } from '../support/scratch.ts'

test('MAX_SEQNO reads everything, also an entry that has it', async () => {
  const tree = await Tree.open(join(scratchDirectory(), 'tree'))
  tree.insertSync('key', 'older', MAX_SEQNO - 1)
  tree.insertSync('key', 'newest', MAX_SEQNO)
  expect(tree.getTextSync('key', MAX_SEQNO - 1)).toBe(undefined)
  for (const flushed of [false, true]) {
    if (flushed) await tree.flush()
    expect(tree.getTextSync('key', MAX_SEQNO)).toBe('newest')
    expect((await tree.get('key', MAX_SEQNO))?.toString()).toBe('newest')
    expect(tree.getManySync(['key'], MAX_SEQNO).join()).toBe('newest')
    expect(tree.iter(MAX_SEQNO).toArraySync().join()).toBe('key,newest')
  }
  await tree.close()
})

test('options that the format has no room for are refused, and the tree opens again', async () => {
  const path = join(scratchDirectory(), 'tree')
  Tree.openSync(path).closeSync()
  const error = await failure(() => Tree.openSync(path, { pinIndex: Array(9).fill(true) }))
  expect(error.code).toBe('INVALID_OPTION')
  const widest = { pinIndex: Array(8).fill(true), dataBlockSize: Array(8).fill(4 * 2 ** 20) }
  Tree.openSync(path, widest).closeSync()
  Tree.openSync(path).closeSync()
})
