// Bare trees: what databases do not have.

import { join } from 'node:path'
import { expect, test } from 'vitest'
import { MAX_SEQNO } from '../../lib/index.ts'
import { openTree, openTreeSync } from '../support/engine.ts'
import { failure, scratchDirectory } from '../support/scratch.ts'

test('MAX_SEQNO reads everything, and no entry has it', async () => {
  const tree = await openTree(join(scratchDirectory(), 'tree'))
  for (const call of [
    () => tree.insertSync('key', 'value', MAX_SEQNO),
    () => tree.removeSync('key', MAX_SEQNO),
    () => tree.removeWeakSync('key', MAX_SEQNO),
  ]) {
    const error = await failure(call)
    expect(error.code).toBe('INVALID_ARGUMENT')
    expect(error.message).toContain(`${MAX_SEQNO - 1}`)
  }
  expect(tree.highestSeqno).toBe(undefined)
  tree.insertSync('key', 'older', MAX_SEQNO - 2)
  tree.insertSync('key', 'newest', MAX_SEQNO - 1)
  expect(tree.getTextSync('key', MAX_SEQNO - 1)).toBe('older')
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
  openTreeSync(path).closeSync()
  const error = await failure(() => openTreeSync(path, { pinIndex: Array(9).fill(true) }))
  expect(error.code).toBe('INVALID_OPTION')
  const widest = { pinIndex: Array(8).fill(true), dataBlockSize: Array(8).fill(4 * 2 ** 20) }
  openTreeSync(path, widest).closeSync()
  openTreeSync(path).closeSync()
})

test('ranges of a closed tree are refused when they are made', async () => {
  const tree = openTreeSync(join(scratchDirectory(), 'tree'))
  tree.closeSync()
  for (const call of [
    () => tree.iter(MAX_SEQNO),
    () => tree.range({}, MAX_SEQNO),
    () => tree.prefix('k', MAX_SEQNO),
  ]) {
    expect((await failure(call)).code).toBe('DB_CLOSED')
  }
})
