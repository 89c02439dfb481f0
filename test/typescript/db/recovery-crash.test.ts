// Recovery that is interrupted: by a crash at each of its operations, and by each of its calls
// failing in turn. The next recovery finds the same commits.

import { expect, test } from 'vitest'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import type { Fault, FaultKind, FaultOperation } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { keepEverything, keepNothing, keepRandom } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { CrashPolicy, MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { ShaleError } from '../../../lib/errors.ts'
import { scaled, testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'
import {
  changeFile,
  commits,
  entryBytes,
  journalPath,
  killed,
  newDirectory,
  OPTIONS,
  recover,
  recoverAndDie,
  synced,
  TINY_OPTIONS,
} from '../support/recoveries.ts'
import type { Contents, Recovered, RecoverOptions } from '../support/recoveries.ts'
import { Workload } from '../support/workload.ts'

/** Directories that processes left, each whole on its disk. */
const SPECIMENS: Readonly<Record<string, () => MemVfs>> = {
  'an undurable tail over two journals': () => {
    const made = newDirectory()
    const first = made.journal()
    commits(first, 1, 3)
    synced(first)
    commits(first, 4, 5)
    commits(made.journal(), 6, 8)
    return killed(made)
  },
  'a torn tail with a journal behind it': () => {
    const made = newDirectory()
    const first = made.journal()
    commits(first, 1, 4)
    commits(made.journal(), 5, 6)
    changeFile(made.vfs, journalPath(first.fileNumber), (bytes) => bytes.subarray(0, -1))
    return killed(made)
  },
  'a torn creation and an interrupted recovery': () => {
    const made = newDirectory()
    commits(made.journal(), 1, 4)
    changeFile(made.vfs, journalPath(made.journal({ named: false }).fileNumber), () => {
      return Buffer.alloc(7)
    })
    commits(made.journal({ named: false }), 3, 4)
    return killed(made)
  },
  'keyspaces that the manifest does not know': () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    commits(journal, 1, 2, 2)
    journal.append(1, 3, entryBytes(0x40, 3, 'c', OPTIONS))
    commits(journal, 4, 5, 3)
    journal.append(1, 6, entryBytes(0x41, 2, ''))
    journal.append(1, 7, entryBytes(0x40, 4, 'brief', OPTIONS))
    journal.append(1, 8, entryBytes(0x41, 4, ''))
    return killed(made)
  },
  'more than the memory may hold': () => {
    const made = newDirectory().keyspaces(['b'])
    const journal = made.journal()
    for (let seqno = 1; seqno <= 120; seqno++) {
      commits(journal, seqno, seqno, 1 + (seqno % 2))
      if (seqno % 7 === 0) synced(journal)
    }
    return killed(made)
  },
}

const OPTIONS_OF: RecoverOptions = { writeBuffer: 6000 }

/** Crashes the machine before each operation that it does from now on, and checks the images. */
function crashAlways(
  vfs: MemVfs,
  policies: () => readonly CrashPolicy[],
  check: (image: MemVfs) => void,
): () => number {
  let images = 0
  vfs.onOperation = () => {
    for (const policy of policies()) {
      check(vfs.crash(policy))
      images++
    }
  }
  return () => {
    vfs.onOperation!('sync', 'at the end')
    vfs.onOperation = undefined
    return images
  }
}

test.each(Object.keys(SPECIMENS))('%s: crashed at any operation', (what) => {
  const seed = testSeed()
  const random = new Random(seed)
  const vfs = SPECIMENS[what]!()
  const { contents, nextSeqno } = recoverAndDie(vfs.crash(keepNothing), OPTIONS_OF)
  const draw = (): number => random.next() / 2 ** 32
  const policies = () => [keepNothing, keepEverything, keepRandom(draw), keepRandom(draw)]
  const end = crashAlways(vfs, policies, (image) => {
    const again = recoverAndDie(image, OPTIONS_OF)
    expect(again.contents, `SEED=${seed}`).toEqual(contents)
    expect(again.nextSeqno, `SEED=${seed}`).toBe(nextSeqno)
    // And once more: what it wrote is a directory like any other.
    const third = recoverAndDie(image.crash(keepNothing), OPTIONS_OF)
    expect(third.contents, `SEED=${seed}`).toEqual(contents)
  })
  expect(recoverAndDie(vfs, OPTIONS_OF).contents).toEqual(contents)
  expect(end()).toBeGreaterThan(20)
})

// The tail is in memory alone: what goes to tables before it is written again must not be of it.
test('behind a process that died, with the power cut at any operation', () => {
  const made = newDirectory().keyspaces(['b'])
  const { vfs } = made
  made.edit({ treeOptions: [1, 2].map((tree) => ({ tree, options: TINY_OPTIONS })) })
  const journal = made.journal()
  let durable = 0
  for (let seqno = 1; seqno <= 80; seqno++) {
    commits(journal, seqno, seqno, 1 + (seqno % 2))
    if (seqno % 20 !== 0 || seqno === 80) continue
    synced(journal)
    durable = seqno
  }
  const options = { writeBuffer: 4000 }
  const { contents } = recoverAndDie(vfs.crash(keepEverything), options)
  let wasWritten = false
  const end = crashAlways(
    vfs,
    () => [keepNothing],
    (image) => {
      const again = recoverAndDie(image, options)
      expect(again.nextSeqno).toBeGreaterThan(durable)
      expect(again.nextSeqno === 81).toBe(isSame(again, contents))
      wasWritten = again.nextSeqno === 81
    },
  )
  expect(recoverAndDie(vfs, options).contents).toEqual(contents)
  expect(end()).toBeGreaterThan(20)
  expect(wasWritten).toBe(true)
})

function isSame(recovered: Recovered, contents: Contents): boolean {
  return JSON.stringify(recovered.contents) === JSON.stringify(contents)
}

const FAULTS: readonly (readonly [FaultOperation, readonly FaultKind[]])[] = [
  ['open', ['EIO', 'EMFILE']],
  ['create', ['EIO', 'ENOSPC']],
  ['read', ['EIO']],
  ['write', ['EIO', 'ENOSPC', 'shortWrite']],
  ['truncate', ['EIO']],
  ['sync', ['EIO', 'syncKept', 'syncDropped']],
  ['syncDir', ['EIO']],
  ['size', ['EIO']],
  ['list', ['EIO']],
  ['remove', ['EIO']],
]

/** Every single fault that a run of `work` can meet. */
function faultsOf(vfs: FaultVfs): Fault[] {
  return FAULTS.flatMap(([operation, kinds]) =>
    kinds.flatMap((kind) =>
      Array.from({ length: vfs.count(operation) }, (_, nth) => ({ operation, nth, kind })),
    ),
  )
}

test.each(Object.keys(SPECIMENS))('%s: with any call failing', (what) => {
  const specimen = SPECIMENS[what]!()
  const clean = new FaultVfs(specimen.crash(keepNothing))
  const { contents, close } = recover(clean, OPTIONS_OF)
  close()
  let refused = 0
  for (const fault of faultsOf(clean)) {
    const memory = specimen.crash(keepNothing)
    const vfs = new FaultVfs(memory)
    vfs.setPlan([fault])
    const where = JSON.stringify(fault)
    try {
      const recovered = recover(vfs, OPTIONS_OF)
      expect(recovered.contents, where).toEqual(contents)
      recovered.close()
    } catch (error) {
      // Nothing but the fault itself; and nothing stays open.
      expect(error, where).toBeInstanceOf(ShaleError)
      expect((error as ShaleError).code, where).toMatch(
        /^(IO_ERROR|DISK_FULL|SYNC_FAILED|TOO_MANY_OPEN_FILES|DB_FAILED)$/,
      )
      refused++
    }
    expect(memory.openFiles, where).toBe(0)
    for (const policy of [keepEverything, keepNothing]) {
      expect(recoverAndDie(memory.crash(policy), OPTIONS_OF).contents, where).toEqual(contents)
    }
  }
  expect(refused).toBeGreaterThan(30)
})

test('whatever a writer was doing: a prefix of its commits, again after any second crash', () => {
  const seed = testSeed()
  const random = new Random(seed)
  const draw = (): number => random.next() / 2 ** 32
  for (let round = 0; round < scaled(12); round++) {
    const where = `SEED=${seed}, round ${round}`
    const workload = new Workload(random)
    const { vfs } = workload
    const crashAt = random.below(250)
    let operations = 0
    let image: MemVfs | undefined
    let atLeast = 0
    vfs.onOperation = () => {
      if (operations++ !== crashAt) return
      atLeast = workload.durable
      image = vfs.crash(random.below(4) === 0 ? keepEverything : keepRandom(draw))
    }
    workload.run(120)
    vfs.onOperation = undefined
    image ??= vfs.crash(keepNothing)
    if (operations <= crashAt) atLeast = workload.durable

    const options = { writeBuffer: random.below(2) === 0 ? 3000 : 1 << 26 }
    const first = recoverAndDie(image.crash(keepEverything), options)
    expect(workload.prefixOf(first.contents), where).toBeGreaterThanOrEqual(atLeast)
    const policies = () => [keepNothing, keepRandom(draw)]
    const end = crashAlways(image, policies, (again) => {
      // The image is what the disk has: nothing of it gets lost any more.
      expect(recoverAndDie(again, options).contents, where).toEqual(first.contents)
    })
    expect(recoverAndDie(image, options).contents, where).toEqual(first.contents)
    expect(end()).toBeGreaterThan(5)
  }
})
