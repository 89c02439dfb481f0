// A filter that writes, asked on the stack of a write that cannot wait: neither disturbs the other.

import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { Database, LeveledCompaction } from '../../lib/index.ts'
import type { CompactionFilter, Keyspace, KeyspaceOptions } from '../../lib/index.ts'
import { scratchDirectory } from '../support/scratch.ts'

const ROWS = 6000

test.each([1, 4])('a filter that writes, level 0 is full with %i runs', async (l0Threshold) => {
  const opened: { audit?: Keyspace } = {}
  let asked = 0
  const auditing: CompactionFilter = {
    name: 'auditing',
    filter: (entries) => {
      asked++
      for (const { key } of entries) opened.audit!.insertSync(key, `seen ${String(key)}`)
      return entries.map(() => 'keep')
    },
  }
  const database = await Database.open(join(scratchDirectory(), 'db'), {
    engine: 'typescript',
    compactionFilters: (name) => (name === 'k' ? auditing : undefined),
  })
  onTestFinished(() => database.close())
  const options: KeyspaceOptions = {
    maxMemtableSize: 4096,
    compaction: new LeveledCompaction({ l0Threshold }),
  }
  opened.audit = await database.keyspace('audit', options)
  const keyspace = await database.keyspace('k', options)
  // The event loop does not turn meanwhile.
  for (let i = 0; i < ROWS; i++) keyspace.insertSync(`key ${i}`, `value ${i}`.padEnd(40))
  expect(asked).toBeGreaterThan(0)
  for (let i = 0; i < ROWS; i++) {
    expect(keyspace.getTextSync(`key ${i}`)).toBe(`value ${i}`.padEnd(40))
  }
  await keyspace.rotateMemtableAndWait()
  await keyspace.majorCompaction()
  expect(keyspace.lenSync()).toBe(ROWS)
  const rows = opened.audit.iter().toArraySync()
  expect(rows).toHaveLength(ROWS)
  for (const [key, value] of rows) expect(String(value)).toBe(`seen ${String(key)}`)
  expect(database.status).toBe('open')
})
