// Writers that commit at the same time go to the journal together, also after turns of the loop.

import { afterEach, expect, test, vi } from 'vitest'
import { CommitQueue } from '../../../lib/typescript/db/commit-queue.ts'
import type { Commit } from '../../../lib/typescript/db/commit-queue.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

test('concurrent writers stay in step', async () => {
  // Every look at the clock says that the event loop should have its turn.
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 10))
  let [appends, inserted] = [0, 0]
  const queue = new CommitQueue({
    append: () => void appends++,
    insert: () => void inserted++,
    onVisible: () => {},
    afterGroup: () => {},
    handedOver: () => inserted,
    // oxlint-disable-next-line require-yield
    sync: function* () {},
    onFailure: () => {},
  })
  queue.start(1)
  const commit: Commit = {
    entries: new Uint8Array(16),
    journal: undefined,
    count: 1,
    durability: 'os',
  }
  const writer = async (): Promise<void> => {
    // oxlint-disable-next-line no-await-in-loop
    for (let i = 0; i < 100; i++) await queue.defer(commit)
  }
  await Promise.all(Array.from({ length: 32 }, writer))
  expect(inserted).toBe(3200)
  expect(appends).toBeLessThan(200)
})
