// An ingestion that finishes, step by step: whatever a sync caller does in between, and whichever
// call fails.

import { describe, expect, test } from 'vitest'
import type { DatabaseSettings, TreeSettingsGiven } from '../../../lib/engine.ts'
import { ShaleError } from '../../../lib/errors.ts'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import type { Database } from '../../../lib/typescript/db/database.ts'
import type { OpenIngestion } from '../../../lib/typescript/db/ingestions.ts'
import type { Keyspace } from '../../../lib/typescript/db/keyspace.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import type { Fault, FaultKind, FaultOperation } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { parseFileName } from '../../../lib/typescript/vfs/file-name.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { failure } from '../../support/scratch.ts'
import {
  get,
  keyspaceOf,
  openSmall,
  put,
  putLater,
  rowsIn,
  SMALL_BLOBS,
  SMALL_TREE,
} from '../support/databases.ts'
import { ingestionRows } from '../support/ingestions.ts'
import { LateVfs } from '../support/late-vfs.ts'
import { rowsOf } from '../support/rows.ts'
import { Random } from '../support/random.ts'
import { holdTimers, settle, Turns } from '../support/turns.ts'

/** Nothing is compacted by itself. */
const QUIET: TreeSettingsGiven = {
  ...SMALL_TREE,
  maxMemtableSize: 1 << 20,
  compaction: { type: 'fifo', name: 'fifo', limit: 2 ** 40, ttlSeconds: undefined },
}
const SEPARATED: TreeSettingsGiven = { ...QUIET, kvSeparation: SMALL_BLOBS }

const BEFORE = { a: 'old', b: 'old', x: 'old' }
const ROWS = [
  { key: 'a', value: 'new' },
  { key: 'b', value: undefined },
  { key: 'c', value: 'new and large enough for a file of its own' },
]
const AFTER = { a: 'new', c: 'new and large enough for a file of its own', x: 'old' }

interface Stage {
  readonly memory: MemVfs
  readonly late: LateVfs
  readonly database: Database
  readonly keyspace: Keyspace
}

type Opened = Pick<Stage, 'database' | 'keyspace'>

/** With something in a table, and something in memory. */
function stage(vfs: Vfs, given = QUIET, more: Partial<DatabaseSettings> = {}): Opened {
  const database = openSmall(vfs, more)
  const keyspace = keyspaceOf(database, 'a', given)
  put(database, keyspace, 'a', 'old')
  put(database, keyspace, 'x', 'old')
  runSync(database.flush(keyspace))
  put(database, keyspace, 'b', 'old')
  return { database, keyspace }
}

function begin({ database, keyspace }: Opened, rows = ROWS): OpenIngestion {
  const ingestion = database.startIngestion(keyspace)
  ingestion.write(ingestionRows(rows))
  return ingestion
}

/** Tables and blob files. */
function filesIn(vfs: Vfs): number {
  const names = vfs.list('/db').sync()
  return names.filter((name) => ['table', 'blob'].includes(parseFileName(name).kind)).length
}

function filesOf({ tree }: Keyspace): number {
  const { tableCount, blobs } = tree.superVersion.version
  return tableCount + blobs.size
}

/** Milliseconds; most machines need a tenth of it. */
const TIMEOUT = { timeout: 300_000 }

type Outcome = number | ShaleError | undefined

/** Does something after each number of steps of an async finish, until that has ended by itself. */
async function atEachStep(
  act: (stage: Stage, steps: number) => Promise<void> | void,
  check: (stage: Stage, outcome: Outcome, turns: Turns) => Promise<void> | void,
  given?: TreeSettingsGiven,
): Promise<void> {
  holdTimers()
  for (let steps = 0; ; steps++) {
    const memory = new MemVfs()
    const late = new LateVfs(memory)
    const turns = new Turns(late, new Random(steps))
    const all: Stage = { memory, late, ...stage(late, given) }
    const ended: { outcome: Outcome } = { outcome: undefined }
    const told = (outcome: Outcome): void => {
      ended.outcome = outcome
    }
    run(begin(all).finish()).then(told, told)
    await settle()
    await turns.oldest(steps)
    const hadEnded = ended.outcome !== undefined
    await act(all, steps)
    await turns.rest()
    await check(all, ended.outcome, turns)
    if (all.database.status !== 'closed') {
      await turns.until(run(all.database.close()))
    }
    await turns.rest()
    expect(memory.openFiles).toBe(0)
    if (hadEnded) {
      expect(steps).toBeGreaterThan(5)
      return
    }
  }
}

function reopened(memory: MemVfs, use: (opened: Opened) => void): void {
  const database = openSmall(memory)
  const [keyspace] = database.keyspaces.all()
  use({ database, keyspace: keyspace! })
  runSync(database.close())
}

describe.each([
  ['', QUIET],
  [', values apart', SEPARATED],
])('while it finishes%s', TIMEOUT, (_title, given) => {
  test('a sync close leaves all of it or nothing, and no file of nobody', async () => {
    const outcomes = new Set<string>()
    await atEachStep(
      ({ memory, database }) => {
        runSync(database.close())
        reopened(memory, ({ keyspace }) => {
          expect(filesIn(memory)).toBe(filesOf(keyspace))
        })
      },
      ({ memory }, outcome) => {
        outcomes.add(outcome instanceof ShaleError ? outcome.code : String(outcome))
        reopened(memory, (again) => {
          const isThere = outcome === ROWS.length
          expect(rowsIn(again.database, again.keyspace)).toEqual(isThere ? AFTER : BEFORE)
          expect(filesIn(memory)).toBe(filesOf(again.keyspace))
        })
      },
      given,
    )
    expect([...outcomes].toSorted()).toEqual(['3', 'DB_CLOSED'])
  })

  test.each(['buffered', 'os', 'sync'] as const)('a sync write: %s', async (durability) => {
    await atEachStep(
      ({ database, keyspace }) => {
        put(database, keyspace, 'y', 'mine', durability)
        expect(get(database, keyspace, 'y')).toBe('mine')
        const isThere = get(database, keyspace, 'a') === 'new'
        expect(rowsIn(database, keyspace)).toEqual({ ...(isThere ? AFTER : BEFORE), y: 'mine' })
      },
      ({ memory, database, keyspace }, outcome) => {
        expect(outcome).toBe(ROWS.length)
        expect(rowsIn(database, keyspace)).toEqual({ ...AFTER, y: 'mine' })
        runSync(database.close())
        reopened(memory, (again) => {
          expect(rowsIn(again.database, again.keyspace)).toEqual({ ...AFTER, y: 'mine' })
        })
      },
      given,
    )
  })

  test('a snapshot reads the same ever after, with a commit behind the ingestion', async () => {
    let seqno = 0
    let rows: Record<string, string> = {}
    const seen = new Set<string>()
    await atEachStep(
      async ({ database, keyspace }) => {
        const written = putLater(database, keyspace, 'y', 'mine', 'os')
        written.catch(() => {})
        await settle()
        seqno = database.visible
        database.snapshots.open(seqno)
        rows = rowsIn(database, keyspace)
        seen.add(JSON.stringify(rows))
      },
      ({ database, keyspace }) => {
        expect(rowsIn({ visible: seqno }, keyspace)).toEqual(rows)
        runSync(database.maintenance.majorCompaction(keyspace, 4096))
        expect(rowsIn({ visible: seqno }, keyspace)).toEqual(rows)
        expect(rowsIn(database, keyspace)).toEqual({ ...AFTER, y: 'mine' })
        database.closeSnapshot(seqno, false)
      },
      given,
    )
    // Before both, before the ingestion alone, while the commit waits behind it, and after both.
    const states = [BEFORE, { ...BEFORE, y: 'mine' }, { ...AFTER, y: 'mine' }]
    expect(seen).toEqual(new Set(states.map((state) => JSON.stringify(state))))
  })

  test('a sync write of what it writes is above it or below', async () => {
    await atEachStep(
      ({ database, keyspace }) => put(database, keyspace, 'a', 'mine'),
      ({ database, keyspace }) => {
        const rows = rowsIn(database, keyspace)
        expect(['new', 'mine']).toContain(rows['a'])
        expect(get(database, keyspace, 'a')).toBe(rows['a'])
        runSync(database.flush(keyspace))
        expect(rowsIn(database, keyspace)).toEqual(rows)
        expect(get(database, keyspace, 'a')).toBe(rows['a'])
      },
      given,
    )
  })

  test('flushes, compactions and another ingestion, all of them sync', async () => {
    await atEachStep(
      (all, steps) => {
        const { database, keyspace } = all
        put(database, keyspace, 'y', 'mine')
        if (steps % 3 === 0) runSync(database.maintenance.majorCompaction(keyspace, 4096))
        const second = begin(all, [{ key: 'c', value: 'second' }])
        expect(runSync(second.finish())).toBe(1)
        expect(get(database, keyspace, 'c')).toBe('second')
        runSync(database.flush(keyspace))
        expect(keyspace.tree.sealedCount).toBe(0)
      },
      ({ database, keyspace }, outcome) => {
        expect(outcome).toBe(ROWS.length)
        const rows = rowsIn(database, keyspace)
        const { c, ...others } = rows
        expect(['second', AFTER.c]).toContain(c)
        expect(others).toEqual({ a: 'new', x: 'old', y: 'mine' })
        runSync(database.maintenance.majorCompaction(keyspace, 4096))
        expect(rowsIn(database, keyspace)).toEqual(rows)
      },
      given,
    )
  })

  test('a drop of everything: whoever reads above the ingestion sees that', async () => {
    interface Reading {
      readonly seqno: number
      readonly rows: Record<string, string>
    }
    let readings: Reading[] = []
    const read = ({ database, keyspace }: Stage, seqno = database.visible): Reading => {
      const superVersion = keyspace.tree.superVersion.for(seqno)
      return { seqno, rows: Object.fromEntries(rowsOf(superVersion, seqno)) }
    }
    await atEachStep(
      async (all, steps) => {
        const { database, keyspace, late } = all
        const random = new Random(steps)
        // Its sync keeps the drop from sight.
        putLater(database, keyspace, 'y', 'mine', 'sync').catch(() => {})
        await settle()
        readings = [read(all)]
        database.snapshots.open(readings[0]!.seqno)
        runSync(database.maintenance.dropRange(keyspace, undefined, undefined))
        for (let turns = 0; turns < 15 && late.waiting > 0; turns++) {
          late.step(random.next())
          await settle()
          readings.push(read(all))
        }
      },
      (all) => {
        const { database, keyspace } = all
        const [first] = readings
        // A snapshot holds on to what it saw.
        expect(read(all, first!.seqno).rows).toEqual(first!.rows)
        database.closeSnapshot(first!.seqno, false)
        readings.push(read(all))
        const tables = keyspace.tree.superVersion.version.tables()
        const ingested = Math.max(...tables.map(({ meta }) => meta.globalSeqno))
        for (const { seqno, rows } of readings) {
          const { y: _, ...others } = rows
          const above = [AFTER, { a: AFTER.a, c: AFTER.c }]
          const below = [BEFORE, {}, { b: 'old' }]
          const states = seqno > ingested ? above : below
          if (ingested > 0) expect(states).toContainEqual(others)
        }
      },
      given,
    )
  })
})

describe('a call that fails', TIMEOUT, () => {
  const KINDS: readonly (readonly [FaultOperation, readonly FaultKind[]])[] = [
    ['create', ['EIO', 'ENOSPC', 'EMFILE']],
    ['write', ['EIO', 'ENOSPC', 'shortWrite']],
    ['sync', ['EIO', 'ENOSPC']],
    ['syncDir', ['EIO']],
    ['open', ['EMFILE']],
    ['read', ['EIO']],
  ]

  /** What becomes of one ingestion, with one fault. */
  async function attempt(isSync: boolean, fault: Fault): Promise<boolean> {
    const memory = new MemVfs()
    const vfs = new FaultVfs(memory)
    const turns = new Turns(new LateVfs(memory), new Random(1))
    const { database, keyspace } = stage(vfs, SEPARATED)
    vfs.setPlan([fault])
    const where = JSON.stringify({ ...fault, isSync })
    let outcome: Outcome
    try {
      const ingestion = begin({ database, keyspace })
      outcome = isSync ? runSync(ingestion.finish()) : await turns.until(run(ingestion.finish()))
    } catch (error) {
      outcome = error as ShaleError
    }
    const { fired } = vfs
    vfs.setPlan([])
    await turns.rest()
    const isThere = outcome === ROWS.length
    if (!isThere)
      expect((outcome as ShaleError).code, where).toMatch(
        /^(IO_ERROR|DISK_FULL|SYNC_FAILED|TOO_MANY_OPEN_FILES|DB_FAILED)$/,
      )
    expect(rowsIn(database, keyspace), where).toEqual(isThere ? AFTER : BEFORE)
    const hasFailed = database.status === 'failed'
    if (!hasFailed) {
      // Everything of it is gone, and the next one works.
      expect(filesIn(memory), where).toBe(filesOf(keyspace))
      expect(database.visible, where).toBe(database.figures().seqno)
      const next = begin({ database, keyspace }, [{ key: 'n', value: 'next' }])
      expect(runSync(next.finish()), where).toBe(1)
      put(database, keyspace, 'y', 'mine')
      expect(get(database, keyspace, 'y'), where).toBe('mine')
    }
    await failure(() => {
      runSync(database.close())
      throw new ShaleError('ABORTED', 'it may fail or not')
    })
    await turns.rest()
    reopened(memory, (again) => {
      const rows = rowsIn(again.database, again.keyspace)
      if (hasFailed) expect([BEFORE, AFTER], where).toContainEqual(rows)
      else {
        const expected = { ...(isThere ? AFTER : BEFORE), n: 'next', y: 'mine' }
        expect(rows, where).toEqual(expected)
      }
      expect(filesIn(memory), where).toBe(filesOf(again.keyspace))
    })
    expect(memory.openFiles, where).toBe(0)
    return fired > 0
  }

  test.each([true, false])('leaves nothing, or everything (sync: %s)', async (isSync) => {
    holdTimers()
    let cases = 0
    for (const [operation, kinds] of KINDS) {
      for (const kind of kinds) {
        for (let nth = 0; await attempt(isSync, { operation, nth, kind }); nth++) cases++
      }
    }
    console.log(`ingestions with a failing call: ${cases}`)
    expect(cases).toBeGreaterThan(20)
  })

  test('a disk that is full during a write: it is over, and its files are gone', async () => {
    const memory = new MemVfs()
    const vfs = new FaultVfs(memory)
    const { database, keyspace } = stage(vfs)
    const ingestion = database.startIngestion(keyspace)
    vfs.setPlan([{ operation: 'write', file: 'table', nth: 1, kind: 'ENOSPC', sticky: true }])
    const rows = Array.from({ length: 3 }, (_, i) => ({
      key: `r${i}`,
      value: 'large'.repeat(100_000),
    }))
    const write = (): void => {
      for (const row of rows) ingestion.write(ingestionRows([row]))
    }
    expect((await failure(write)).code).toBe('DISK_FULL')
    expect(filesIn(memory)).toBe(filesOf(keyspace))
    expect(ingestion.hasEnded).toBe(true)
    vfs.setPlan([])
    expect(runSync(begin({ database, keyspace }).finish())).toBe(3)
    expect(rowsIn(database, keyspace)).toEqual(AFTER)
    runSync(database.close())
  })
})

test('entries have the global seqno on the way out, and the stored one is 0', () => {
  const memory = new MemVfs()
  const { database, keyspace } = stage(memory, SEPARATED)
  const held = keyspace.tree.hold(database.visible, undefined)
  expect(runSync(begin({ database, keyspace }).finish())).toBe(3)
  const seqno = database.visible - 1
  const [[run0] = []] = keyspace.tree.superVersion.version.levels
  const { meta, shared } = run0![0]!
  expect(meta).toMatchObject({ lowestSeqno: seqno, highestSeqno: seqno, globalSeqno: seqno })
  expect(shared.reader.properties).toMatchObject({ lowestSeqno: 0, highestSeqno: 0 })
  expect([keyspace.tree.highestSeqno, keyspace.tree.flushedSeqno]).toEqual([seqno, seqno + 1])
  held.release()
  runSync(database.close())
  reopened(memory, (again) => {
    const { tree } = again.keyspace
    expect(tree.superVersion.version.levels[0]?.[0]?.[0]?.meta).toMatchObject({
      lowestSeqno: seqno,
      globalSeqno: seqno,
    })
    expect([tree.highestSeqno, tree.flushedSeqno]).toEqual([seqno, seqno + 1])
    expect(again.database.figures().seqno).toBeGreaterThan(seqno)
    expect(rowsIn(again.database, again.keyspace)).toEqual(AFTER)
    // A merge gives them their own.
    runSync(again.database.maintenance.majorCompaction(again.keyspace, 4096))
    for (const table of tree.superVersion.version.tables()) expect(table.meta.globalSeqno).toBe(0)
    expect(rowsIn(again.database, again.keyspace)).toEqual(AFTER)
  })
})
