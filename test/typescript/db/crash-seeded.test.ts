// The test of the tests: bugs, put into the engine for a while, which the oracles have to notice.

import { afterEach, expect, test, vi } from 'vitest'
import { Io } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import { CommitQueue } from '../../../lib/typescript/db/commit-queue.ts'
import type { Commit } from '../../../lib/typescript/db/commit-queue.ts'
import { CommitWriter } from '../../../lib/typescript/db/commit-writer.ts'
import { JournalKeeper } from '../../../lib/typescript/db/journal-keeper.ts'
import { UndurableTail } from '../../../lib/typescript/db/recovery-journal.ts'
import { SnapshotTracker } from '../../../lib/typescript/db/snapshot-tracker.ts'
import { LogWriter } from '../../../lib/typescript/journal/log-writer.ts'
import { JournalManager } from '../../../lib/typescript/journal/manager.ts'
import { Manifest } from '../../../lib/typescript/tree/manifest.ts'
import { Placement } from '../../../lib/typescript/tree/placement.ts'
import type { FaultOperation } from '../../../lib/typescript/vfs/fault-vfs.ts'
import type { FileKind } from '../../../lib/typescript/vfs/file-name.ts'
import { fileName } from '../../../lib/typescript/vfs/file-name.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { UnsyncedFiles } from '../../../lib/typescript/vfs/unsynced-files.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { testSeed } from '../../support/scratch.ts'
import { runCrashImages } from '../support/crash-oracle.ts'
import { CrashWorkload, optionsOf } from '../support/crash-workload.ts'
import { enumerateFaults, runFault } from '../support/fault-runs.ts'
import { Random } from '../support/random.ts'
import { runTree } from '../support/tree-run.ts'
import { holdTimers } from '../support/turns.ts'

const TRIES = 40
const FAULTS_A_TRY = 10
/** Milliseconds; most machines need a tenth of it. */
const TIMEOUT = 600_000

afterEach(() => {
  vi.restoreAllMocks()
})

/** What is wrong, if anything; a run that cannot go on is wrong as well. */
type Hunt = (attempt: number) => Promise<string | undefined>

const images: Hunt = async (attempt) => {
  const options = optionsOf(testSeed() + attempt, {
    steps: 70,
    memtable: 1024,
    maxJournalSize: 32 * 1024,
  })
  return (await runCrashImages(options, 1, 2, { liveness: 5 })).problem
}

/** What reads find, while the database runs. */
const reads: Hunt = async (attempt) => {
  const options = optionsOf(testSeed() + attempt, { steps: 150, memtable: 1024 })
  const workload = new CrashWorkload(new MemVfs(), options)
  await workload.run()
  await workload.end()
  return workload.problem
}

const trees: Hunt = async (attempt) => {
  // An odd one: many keys.
  await runTree(2 * (testSeed() + attempt) + 1)
  return undefined
}

function faults(operation: FaultOperation, file: FileKind): Hunt {
  return async (attempt) => {
    const options = optionsOf(testSeed() + attempt, { steps: 30, maxJournalSize: 32 * 1024 })
    const all = (await enumerateFaults({ ...options, isFaulty: true })).filter(
      (fault) => fault.operation === operation && fault.file === file && !fault.sticky,
    )
    const random = new Random(options.seed)
    for (let left = FAULTS_A_TRY; left > 0 && all.length > 0; left--) {
      const problem = await runFault(options, all[random.below(all.length)]!)
      if (problem !== undefined) return problem
    }
    return undefined
  }
}

/** The first problem; undefined if there is none. */
async function found(hunt: Hunt): Promise<string | undefined> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    try {
      const problem = await hunt(attempt)
      if (problem !== undefined) return `at try ${attempt + 1}: ${problem}`
    } catch (error) {
      const { message, cause } = error as Error
      return `at try ${attempt + 1}: ${message} ${(cause as Error | undefined)?.message ?? ''}`
    }
  }
  return undefined
}

type Append = (this: CommitWriter, commits: readonly Commit[], first: number) => void

function replaceAppend(make: (append: Append) => Append): void {
  const append: Append = CommitWriter.prototype.append
  vi.spyOn(CommitWriter.prototype, 'append').mockImplementation(make(append))
}

const BUGS: readonly [name: string, hunt: Hunt, plant: () => void][] = [
  [
    'a flush is committed before the journal is durable',
    images,
    () => vi.spyOn(JournalKeeper.prototype, 'ensureDurable').mockImplementation(function* () {}),
  ],
  [
    'a commit is acknowledged before it is synced',
    images,
    () => vi.spyOn(CommitWriter.prototype, 'sync').mockImplementation(function* () {}),
  ],
  [
    'a commit is acknowledged before it is handed over',
    images,
    () =>
      replaceAppend(
        (append) =>
          function (commits, first) {
            const weaker = commits.map((commit) =>
              commit.durability === 'os' ? { ...commit, durability: 'buffered' as const } : commit,
            )
            append.call(this, weaker, first)
          },
      ),
  ],
  [
    'a commit is published though the journal did not take it',
    faults('write', 'journal'),
    () =>
      replaceAppend(
        (append) =>
          function (commits, first) {
            try {
              append.call(this, commits, first)
            } catch (error) {
              // A sync would wait for ever for what the journal has not.
              if (commits.some(({ durability }) => durability === 'sync')) throw error
            }
          },
      ),
  ],
  [
    'a journal is removed although not everything in it is in tables',
    images,
    () => {
      const { evictable } = JournalManager.prototype
      vi.spyOn(JournalManager.prototype, 'evictable').mockImplementation(function (
        this: JournalManager,
      ) {
        return evictable.call(this, () => Infinity)
      })
    },
  ],
  [
    'a journal is removed before the manifest says so',
    images,
    () => {
      const machines = new WeakMap<Manifest, Vfs>()
      for (const name of ['create', 'load'] as const) {
        const open: (vfs: Vfs, ...rest: never[]) => Flow<Manifest> = Manifest[name]
        vi.spyOn(Manifest, name).mockImplementation(function* (vfs: Vfs, ...rest: unknown[]) {
          const manifest = yield* open.call(Manifest, vfs, ...(rest as never[]))
          machines.set(manifest, vfs)
          return manifest
        })
      }
      const { commit } = Manifest.prototype
      vi.spyOn(Manifest.prototype, 'commit').mockImplementation(function* (
        this: Manifest,
        edit,
        listener,
      ) {
        for (const number of edit.journalsRemoved ?? []) {
          machines
            .get(this)!
            .remove(`/db/${fileName('journal', number)}`)
            .sync()
        }
        yield* commit.call(this, edit, listener)
      })
    },
  ],
  [
    'the directory is not synced',
    images,
    () => vi.spyOn(MemVfs.prototype, 'syncDir').mockReturnValue(Io.now(() => {})),
  ],
  [
    'what a short write left is not cut back',
    faults('write', 'journal'),
    () => {
      const machine = new MemVfs()
      machine.makeDir('/d').sync()
      const file = Object.getPrototypeOf(machine.open('/d/a', 'create').sync())
      vi.spyOn(file, 'truncate').mockReturnValue(Io.now(() => {}))
    },
  ],
  [
    'a failed sync is tried again',
    faults('sync', 'journal'),
    () => {
      const { sync } = LogWriter.prototype
      vi.spyOn(LogWriter.prototype, 'sync').mockImplementation(function* (this: LogWriter) {
        try {
          yield* sync.call(this)
        } catch {
          this.failure = undefined
          yield* sync.call(this)
        }
      })
    },
  ],
  [
    'a compaction drops tombstones above what they hide',
    trees,
    () => vi.spyOn(Placement.prototype, 'mayExistBelow').mockReturnValue(() => false),
  ],
  [
    'flush and compaction know nothing of snapshots',
    reads,
    () => vi.spyOn(SnapshotTracker.prototype, 'seqnos').mockReturnValue([]),
  ],
  [
    'an ingestion is named before its files are durable',
    images,
    () => {
      vi.spyOn(UnsyncedFiles.prototype, 'sync').mockImplementation(function* (this: UnsyncedFiles) {
        yield* Io.now(() => this.close())
      })
    },
  ],
  [
    'recovery forgets the last seqno',
    images,
    () => {
      const { start } = CommitQueue.prototype
      vi.spyOn(CommitQueue.prototype, 'start').mockImplementation(function (
        this: CommitQueue,
        nextSeqno,
      ) {
        start.call(this, Math.max(1, nextSeqno - 1))
      })
    },
  ],
  [
    'recovery leaves what it found as durable as it was',
    images,
    () => vi.spyOn(UndurableTail.prototype, 'records').mockReturnValue([]),
  ],
]

test.each(BUGS)(
  '%s: that is noticed',
  async (name, hunt, plant) => {
    holdTimers()
    plant()
    const problem = await found(hunt)
    console.log(`${name}: noticed ${problem?.split('\n')[0]}`)
    expect(problem).toBeDefined()
  },
  TIMEOUT,
)
