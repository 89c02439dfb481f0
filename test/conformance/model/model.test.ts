// The model test: random command lists on a database with tiny memtables and blocks, so that flush
// and compaction happen all the time, against ordered maps; under several option sets.

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { LeveledCompaction } from '../../../lib/index.ts'
import type { CompactionFilter } from '../../../lib/index.ts'

import { PATIENT } from '../../support/patient.ts'
import { scaled, quickDirectory, testSeed } from '../../support/scratch.ts'
import { COMMANDS, emptyModel, openReal, type Real, type Setup } from './commands.ts'

const COMMANDS_PER_LIST = 250
const LISTS = scaled(25)
const seed = testSeed()

const tiny = {
  maxMemtableSize: 4096,
  dataBlockSize: 64,
  restartInterval: 2,
  compaction: new LeveledCompaction({ l0Threshold: 2, targetSize: 4096, levelRatio: 2 }),
}

/** Every compaction has changed something, which nobody can see. */
const SAME: CompactionFilter = {
  name: 'the same',
  filter: async (entries) => {
    await setImmediate()
    return entries.map(({ value }) => ({ replace: value! }))
  },
}

const SETS: Record<string, Omit<Setup, 'path'>> = {
  defaults: { options: {}, keyspaceOptions: [{}, { memtable: 'skiplist' }] },
  tiny: {
    options: { cacheSize: 10_000, maxOpenFiles: 16, maxWriteBufferSize: 2 ** 20 },
    keyspaceOptions: [tiny, { ...tiny, memtable: 'skiplist', compression: 'lz4' }],
  },
  'no cache, dense blocks': {
    options: { cacheSize: 0, maxJournalSize: 2 ** 20, workerThreads: 1 },
    keyspaceOptions: [
      { ...tiny, restartInterval: 1, hashIndexRatio: 1.5, filter: 'none', pinIndex: false },
      {
        ...tiny,
        compression: 'zstd',
        partitionIndex: true,
        partitionFilter: true,
        pinFilter: false,
      },
    ],
  },
  'separated values': {
    options: { cacheSize: 20_000, maxOpenFiles: 16 },
    keyspaceOptions: [
      { ...tiny, kvSeparation: { threshold: 16, fileSize: 4096 } },
      {
        ...tiny,
        kvSeparation: {
          threshold: 1,
          fileSize: 8192,
          compression: 'none',
          stalenessThreshold: 0.1,
          ageCutoff: 1,
        },
      },
    ],
  },
  'filtered by a hash of the key': {
    options: { cacheSize: 20_000 },
    keyspaceOptions: [
      { ...tiny, compaction: PATIENT },
      {
        ...tiny,
        compaction: PATIENT,
        // Files go when all of them is garbage: nothing is rewritten for them alone.
        kvSeparation: { threshold: 16, fileSize: 4096, stalenessThreshold: 1 },
      },
    ],
    isFiltered: true,
  },
  'filtered in the background, to the same': {
    options: { compactionFilters: () => SAME, cacheSize: 20_000, workerThreads: 2 },
    keyspaceOptions: [
      tiny,
      { ...tiny, kvSeparation: { threshold: 16, fileSize: 4096, stalenessThreshold: 0.1 } },
    ],
  },
  'many versions': {
    options: { durability: 'buffered', journalCompression: 'zstd' },
    keyspaceOptions: [
      { ...tiny, maxMemtableSize: 65_536, restartInterval: 255, filter: { bitsPerKey: 3.3 } },
      { ...tiny, expectPointReadHits: true, indexCompression: 'lz4' },
    ],
  },
}

test.each(Object.entries(SETS))('%s', { timeout: 600_000 * LISTS }, async (name, set) => {
  const dir = quickDirectory()
  let list = 0
  let operations = 0
  const commands = fc.commands(COMMANDS, { maxCommands: COMMANDS_PER_LIST, size: 'max' })
  const property = fc.asyncProperty(commands, async (given) => {
    const parent = join(dir, String(list++))
    mkdirSync(parent)
    let real: Real | undefined
    const setup = async () => {
      real = await openReal({ path: join(parent, name), ...set })
      return { model: emptyModel(set.keyspaceOptions.length), real }
    }
    try {
      await fc.asyncModelRun(setup, given)
      operations += [...given].length
    } finally {
      await real?.db.close()
      rmSync(parent, { recursive: true, force: true })
    }
  })
  await fc.assert(property, { seed, numRuns: LISTS, endOnFailure: false })
  console.log(`model, ${name}: ${operations} operations in ${LISTS} lists, SEED=${seed}`)
  expect(operations).toBeGreaterThan(0)
})
