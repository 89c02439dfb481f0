// Ingested tables among the others: beside writers and whatever the background does, through
// compactions of every kind, with values in blob files.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { FifoCompaction, LeveledCompaction, SizeTieredCompaction } from '../../lib/index.ts'
import type { Ingestion, Keyspace } from '../../lib/index.ts'
import { openDatabaseSync } from '../support/engine.ts'
import {
  fill,
  ingest,
  insert,
  keyOf,
  open,
  reopen,
  seen,
  type Opened,
} from '../support/ingestions.ts'
import { PATIENT } from '../support/patient.ts'
import { scratchDirectory } from '../support/scratch.ts'

function filesIn(path: string, kind: 'table' | 'blob'): number {
  return readdirSync(path).filter((name) => name.endsWith(`.${kind}`)).length
}

describe('beside writers', () => {
  test('writes called before it finishes are below it, those called behind it above', async () => {
    const opened = await open()
    const { keyspace } = opened
    const ingestion = fill(await keyspace.startIngestion(), 'abc', '2')
    const before = keyspace.insert('a', '1')
    const finished = ingestion.finish()
    await before
    await finished
    const behind = keyspace.insert('b', '3')
    await behind
    expect(seen(keyspace)).toBe('a2 b3 c2')
    expect(seen((await reopen(opened)).keyspace)).toBe('a2 b3 c2')
  })

  test('async writes go on while it finishes, and each has its place', async () => {
    const opened = await open()
    const { database, keyspace } = opened
    const other = await database.keyspace('other')
    for (let round = 0; round < 10; round++) {
      const ingestion = await keyspace.startIngestion()
      for (let i = 0; i < 500; i++) ingestion.write(keyOf(i), `ingested ${round}`)
      const state = { isFinished: false }
      const finished = ingestion.finish().then((count) => {
        state.isFinished = true
        return count
      })
      let writes = 0
      while (!state.isFinished) {
        const key = keyOf(writes % 500)
        const durability = writes % 5 === 4 ? 'sync' : 'os'
        // What was written is read, unless the ingestion came in between: then all of it is there.
        await keyspace.insert(key, `written ${round}.${writes}`, { durability })
        const found = keyspace.getTextSync(key)
        if (found !== `written ${round}.${writes}`) {
          expect(found).toBe(`ingested ${round}`)
          expect(keyspace.getTextSync(keyOf(499))).toBe(`ingested ${round}`)
        }
        await database.batch().insert(keyspace, key, 'batch').insert(other, key, 'batch').commit()
        writes++
      }
      expect(await finished).toBe(500)
      const rows = new Map(
        keyspace
          .iter()
          .toArraySync()
          .map((row) => [String(row[0]), String(row[1])]),
      )
      expect(rows.size).toBe(500)
      for (const found of rows.values()) expect(['batch', `ingested ${round}`]).toContain(found)
    }
    const expected = seen(opened.keyspace)
    expect(seen((await reopen(opened)).keyspace)).toBe(expected)
  })

  test('a sync caller waits for nothing: it writes and flushes meanwhile', async () => {
    for (let steps = 0; steps < 8; steps++) {
      const opened = await open()
      const { database, keyspace } = opened
      insert(keyspace, 'abx', '1')
      const ingestion = fill(await keyspace.startIngestion(), 'abc', '2')
      const finished = ingestion.finish()
      // It may have got anywhere by then.
      for (let i = 0; i < steps; i++) await new Promise((resolve) => setImmediate(resolve))
      keyspace.insertSync('b', '3')
      expect(keyspace.getTextSync('b')).toMatch(/[23]/)
      keyspace.insertSync('y', '3', { durability: 'sync' })
      expect(keyspace.getTextSync('y')).toBe('3')
      if (steps % 2 === 0) keyspace.rotateMemtableAndWaitSync()
      keyspace.insertSync('z', '3')
      database.persistSync()
      if (steps % 3 === 0) keyspace.majorCompactionSync()
      expect(await finished).toBe(3)
      const found = seen(keyspace)
      expect(found).toMatch(/^a2 b[23] c2 x1 y3 z3$/)
      await keyspace.rotateMemtableAndWait()
      expect(seen(keyspace)).toBe(found)
      expect(seen((await reopen(opened)).keyspace)).toBe(found)
    }
  })

  test('a sync write behind it is above it', async () => {
    const { keyspace } = await open()
    await ingest(keyspace, 'abc', '1')
    const ingestion = fill(await keyspace.startIngestion(), 'abc', '2')
    expect(ingestion.finishSync()).toBe(3)
    keyspace.insertSync('b', '3', { durability: 'sync' })
    expect(seen(keyspace)).toBe('a2 b3 c2')
  })

  test('it is behind commits that wait for their sync, and they are seen', async () => {
    const { database, keyspace } = await open()
    const waiting = 'abcdef'
      .split('')
      .map((key) => keyspace.insert(key, '1', { durability: 'sync' }))
    const ingestion = fill(keyspace.startIngestionSync(), 'bc', '2')
    expect(ingestion.finishSync()).toBe(2)
    expect(seen(keyspace)).toBe('a1 b2 c2 d1 e1 f1')
    await Promise.all(waiting)
    expect(database.visibleSeqno).toBe(database.seqno)
    expect(seen(keyspace)).toBe('a1 b2 c2 d1 e1 f1')
  })

  test('several are open at a time; the one that finishes last is the newest', async () => {
    const opened = await open()
    const { keyspace } = opened
    const [one, two, three] = await Promise.all([1, 2, 3].map(() => keyspace.startIngestion()))
    fill(one!, 'abc', '1')
    fill(two!, 'bcd', '2')
    fill(three!, 'cde', '3')
    expect(await two!.finish()).toBe(3)
    expect(await one!.finish()).toBe(3)
    expect(seen(keyspace)).toBe('a1 b1 c1 d2')
    three!.abort()
    expect(seen((await reopen(opened)).keyspace)).toBe('a1 b1 c1 d2')
  })

  test('several finish at once: each is there as a whole', async () => {
    const opened = await open({ compaction: PATIENT })
    const { database, keyspace } = opened
    const other = await database.keyspace('other')
    const loads = await Promise.all(
      Array.from({ length: 8 }, (_, i) => (i % 4 === 3 ? other : keyspace).startIngestion()),
    )
    for (const [i, load] of loads.entries()) fill(load, 'abcdefgh', `${i}`)
    const counts = await Promise.all(loads.map((load) => load.finish()))
    expect(counts).toEqual(Array(8).fill(8))
    for (const one of [keyspace, other]) {
      const values = new Set(
        one
          .iter()
          .toArraySync()
          .map(([, value]) => String(value)),
      )
      expect(values.size).toBe(1)
    }
    const expected = [seen(keyspace), seen(other)]
    expect(keyspace.version().levels[0]).toHaveLength(6)
    const again = await reopen(opened)
    expect([seen(again.keyspace), seen(await again.database.keyspace('other'))]).toEqual(expected)
  })
})

describe('edge 36', () => {
  test.each([true, false])(
    'insert, clear, ingest, persist, reopen (closed: %s)',
    async (closed) => {
      const opened = await open()
      const { path, database, keyspace } = opened
      const other = await database.keyspace('other')
      insert(keyspace, 'abc', '1')
      other.insertSync('a', '1')
      await keyspace.clear()
      expect(await ingest(keyspace, 'bcd', '2')).toBe(3)
      await database.persist()
      expect(seen(keyspace)).toBe('b2 c2 d2')
      insert(keyspace, 'e', '3')
      await keyspace.clear()
      insert(keyspace, 'a', '4')
      await ingest(keyspace, 'de', '5')
      if (!closed) insert(keyspace, 'f', '6')
      await database.close()
      for (let round = 0; round < 2; round++) {
        const again = await open({}, path)
        expect(seen(again.keyspace)).toBe(closed ? 'a4 d5 e5' : 'a4 d5 e5 f6')
        expect(seen(await again.database.keyspace('other'))).toBe('a1')
        await again.database.close()
      }
    },
  )
})

describe('edge 39', () => {
  test('ingestions race flush, compaction and clear', async () => {
    const opened = await open({ maxMemtableSize: 20_000 })
    const { keyspace } = opened
    const state = { isDone: false }
    const turning = async (call: (i: number) => Promise<unknown>): Promise<void> => {
      for (let i = 0; !state.isDone; i++) {
        await call(i)
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const writer = turning((i) => keyspace.insert(keyOf(i % 300), 'written'.repeat(20)))
    const flusher = turning(() => keyspace.rotateMemtableAndWait())
    const compactor = turning(() => keyspace.majorCompaction())
    const sweeper = turning(async (i) => {
      if (i % 3 === 0) await keyspace.clear()
      else await keyspace.dropRange({ gte: keyOf(100), lt: keyOf(120) })
      await new Promise((resolve) => setTimeout(resolve, 3))
    })
    for (let round = 0; round < 25; round++) {
      const ingestion = await keyspace.startIngestion()
      for (let i = 0; i < 300; i++) ingestion.write(keyOf(i), `${round}`)
      if (round % 7 === 6) ingestion.abort()
      else expect(await ingestion.finish()).toBe(300)
    }
    state.isDone = true
    await Promise.all([writer, flusher, compactor, sweeper])
    await keyspace.clear()
    const ingestion = await keyspace.startIngestion()
    for (let i = 0; i < 300; i++) ingestion.write(keyOf(i), 'last')
    await ingestion.finish()
    const check = (one: Keyspace): void => {
      const rows = one
        .iter()
        .toArraySync()
        .map((row) => row.map(String))
      expect(rows).toEqual(Array.from({ length: 300 }, (_, i) => [keyOf(i), 'last']))
    }
    check(keyspace)
    const again = await reopen(opened)
    check(again.keyspace)
    await again.keyspace.majorCompaction()
    check(again.keyspace)
    await expect
      .poll(() => filesIn(opened.path, 'table'), { timeout: 20_000 })
      .toBe(again.keyspace.tableCount())
  })

  test('a clear that is called while it finishes is before it or behind it', async () => {
    for (let round = 0; round < 10; round++) {
      const opened = await open()
      const { keyspace } = opened
      insert(keyspace, 'ax', '1')
      const finished = fill(await keyspace.startIngestion(), 'abc', '2').finish()
      for (let i = 0; i < round; i++) await new Promise((resolve) => setImmediate(resolve))
      await keyspace.clear()
      await finished
      const found = seen(keyspace)
      expect(['', 'a2 b2 c2']).toContain(found)
      expect(seen((await reopen(opened)).keyspace)).toBe(found)
    }
  })

  test('a drop of tables while it finishes takes away what was there before', async () => {
    for (let round = 0; round < 10; round++) {
      const { database, keyspace } = await open()
      insert(keyspace, 'ax', '1')
      await keyspace.rotateMemtableAndWait()
      const before = database.snapshot()
      const finished = fill(await keyspace.startIngestion(), 'abc', '2').finish()
      for (let i = 0; i < round; i++) await new Promise((resolve) => setImmediate(resolve))
      await keyspace.dropRange({})
      await finished
      expect(['', 'a2 b2 c2']).toContain(seen(keyspace))
      const behind = database.snapshot()
      expect(seen(keyspace, { snapshot: before })).toBe('a1 x1')
      expect(seen(keyspace, { snapshot: behind })).toBe(seen(keyspace))
    }
  })
})

describe('compaction', () => {
  const strategies = [
    ['leveled', new LeveledCompaction({ l0Threshold: 2, targetSize: 50_000 })],
    ['size-tiered', new SizeTieredCompaction({ baseSize: 4096, ratio: 2, minRuns: 2 })],
  ] as const
  test.each(strategies)('%s: of ingested tables and others together', async (_, compaction) => {
    const opened = await open({ compaction })
    const { database, keyspace } = opened
    const model = new Map<string, string>()
    for (let round = 0; round < 12; round++) {
      const ingestion = await keyspace.startIngestion()
      for (let i = round; i < 2000; i += 1 + (round % 4)) {
        if ((i + round) % 11 === 0) {
          ingestion.writeTombstone(keyOf(i))
          model.delete(keyOf(i))
        } else {
          ingestion.write(keyOf(i), `${round} ${'v'.repeat(i % 60)}`)
          model.set(keyOf(i), `${round} ${'v'.repeat(i % 60)}`)
        }
      }
      await ingestion.finish()
      for (let i = 0; i < 300; i++) {
        const key = keyOf((i * 37 + round) % 2000)
        keyspace.insertSync(key, `written ${round}`)
        model.set(key, `written ${round}`)
      }
      await keyspace.rotateMemtableAndWait()
    }
    await database.compactor.drain()
    const levels = keyspace.version().levels
    expect(levels.slice(1).flat(2).length).toBeGreaterThan(0)
    const check = (one: Keyspace): void => {
      const rows = one
        .iter()
        .toArraySync()
        .map((row) => row.map(String))
      const expected = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1))
      expect(rows).toEqual(expected)
      const backward = one.iter({ reverse: true }).toArraySync()
      expect(backward.map((row) => row.map(String))).toEqual(expected.toReversed())
      for (const [key, value] of expected.slice(0, 200)) expect(one.getTextSync(key)).toBe(value)
    }
    check(keyspace)
    const again = await reopen(opened)
    check(again.keyspace)
    await again.keyspace.majorCompaction()
    check(again.keyspace)
    expect(again.keyspace.approximateLen()).toBe(model.size)
  })

  test('fifo: ingested tables age and go as others do', async () => {
    const { path, database, keyspace } = await open({
      compaction: new FifoCompaction({ limit: 30_000 }),
    })
    await ingest(keyspace, 'a', '1')
    for (let round = 0; round < 6; round++) {
      const ingestion = await keyspace.startIngestion()
      for (let i = 0; i < 10; i++) ingestion.write(`${round} ${i}`, Buffer.alloc(1000, round))
      await ingestion.finish()
      await database.compactor.drain()
    }
    expect(keyspace.diskSpace()).toBeLessThanOrEqual(30_000)
    expect(keyspace.containsKeySync('a')).toBe(false)
    expect(keyspace.containsKeySync('0 0')).toBe(false)
    expect(keyspace.containsKeySync('5 9')).toBe(true)
    await expect.poll(() => filesIn(path, 'table'), { timeout: 20_000 }).toBe(keyspace.tableCount())
  })

  test('many ingestions in a row are compacted by themselves', async () => {
    const { database, keyspace } = await open({})
    for (let round = 0; round < 30; round++) await ingest(keyspace, 'abcdefgh', `${round}`)
    await database.compactor.drain()
    expect(keyspace.l0TableCount()).toBeLessThan(8)
    expect(seen(keyspace)).toBe('a29 b29 c29 d29 e29 f29 g29 h29')
  })

  test('dropRange takes ingested tables, and snapshots go on reading them', async () => {
    const { path, database, keyspace } = await open()
    await ingest(keyspace, 'abc', '1')
    await ingest(keyspace, 'xyz', '2')
    const snapshot = database.snapshot()
    await keyspace.dropRange({ lt: 'd' })
    expect(seen(keyspace)).toBe('x2 y2 z2')
    expect(seen(keyspace, { snapshot })).toBe('a1 b1 c1 x2 y2 z2')
    snapshot.close()
    await expect.poll(() => filesIn(path, 'table'), { timeout: 20_000 }).toBe(1)
  })

  test('a long one makes several tables of one run', async () => {
    const opened = await open({ compaction: PATIENT })
    const { keyspace } = opened
    const ingestion = await keyspace.startIngestion()
    const value = Buffer.alloc(2 ** 20, 'v')
    for (let i = 0; i < 150; i++) ingestion.write(keyOf(i), value)
    expect(await ingestion.finish()).toBe(150)
    const [runs] = keyspace.version().levels
    expect(runs).toHaveLength(1)
    expect(runs?.[0]?.length).toBe(3)
    expect(keyspace.lenSync()).toBe(150)
    const again = await reopen(opened)
    expect(again.keyspace.getSync(keyOf(149))?.equals(value)).toBe(true)
  })
})

describe('scans', () => {
  test('from both ends over ingested and later data', async () => {
    const { keyspace } = await open()
    const model = new Map<string, string>()
    for (let round = 0; round < 4; round++) {
      const ingestion = await keyspace.startIngestion()
      for (let i = round; i < 400; i += 3) {
        ingestion.write(keyOf(i), `${round}`)
        model.set(keyOf(i), `${round}`)
      }
      await ingestion.finish()
      for (let i = round; i < 400; i += 7) {
        keyspace.insertSync(keyOf(i), `later ${round}`)
        model.set(keyOf(i), `later ${round}`)
      }
      for (let i = round; i < 400; i += 13) {
        keyspace.removeSync(keyOf(i))
        model.delete(keyOf(i))
      }
    }
    const expected = [...model].toSorted(([a], [b]) => (a < b ? -1 : 1))
    const cursor = keyspace.iter().cursor()
    const front: string[][] = []
    const back: string[][] = []
    for (let i = 0; ; i++) {
      const row = i % 3 === 0 ? cursor.nextBackSync() : cursor.nextSync()
      if (row === undefined) break
      ;(i % 3 === 0 ? back : front).push(row.map(String))
    }
    expect([...front, ...back.toReversed()]).toEqual(expected)
    const part = keyspace.range({ gt: keyOf(50), lte: keyOf(300), reverse: true, limit: 40 })
    const inside = expected.filter(([key]) => key > keyOf(50) && key <= keyOf(300))
    expect(part.toArraySync().map((row) => row.map(String))).toEqual(
      inside.toReversed().slice(0, 40),
    )
    const prefixed = keyspace.prefix('key 0001').toArraySync()
    expect(prefixed.map((row) => row.map(String))).toEqual(
      expected.filter(([key]) => key.startsWith('key 0001')),
    )
  })
})

describe('separated values', () => {
  const kvSeparation = { threshold: 100, fileSize: 300_000, compression: 'none' } as const
  const valueOf = (i: number): string => `${i} `.repeat(i % 5 === 0 ? 3 : 200 + i)

  async function filled(): Promise<Opened> {
    const opened = await open({ compaction: PATIENT, kvSeparation })
    const ingestion = await opened.keyspace.startIngestion()
    for (let i = 0; i < 500; i++) ingestion.write(keyOf(i), valueOf(i))
    ingestion.write('l', Buffer.alloc(3 * 2 ** 20, 'l'))
    expect(await ingestion.finish()).toBe(501)
    return opened
  }

  test('go to blob files, and are found by every read', async () => {
    const opened = await filled()
    const check = ({ path, keyspace }: Opened): void => {
      expect(keyspace.blobFileCount()).toBeGreaterThan(1)
      expect(filesIn(path, 'blob')).toBe(keyspace.blobFileCount())
      const separated = keyspace
        .version()
        .blobFiles.reduce((sum, { itemCount }) => sum + itemCount, 0)
      expect(separated).toBe(401)
      expect(keyspace.fragmentedBlobBytes()).toBe(0)
      const rows = keyspace.iter().toArraySync()
      expect(rows.pop()?.[1]?.equals(Buffer.alloc(3 * 2 ** 20, 'l'))).toBe(true)
      expect(rows.map((row) => row.map(String))).toEqual(
        Array.from({ length: 500 }, (_, i) => [keyOf(i), valueOf(i)]),
      )
      expect(keyspace.sizeOfSync(keyOf(7))).toBe(valueOf(7).length)
      expect(keyspace.getTextSync(keyOf(7))).toBe(valueOf(7))
      expect(keyspace.sizeOfSync('l')).toBe(3 * 2 ** 20)
    }
    check(opened)
    check(await reopen(opened))
  })

  test('their garbage is counted, and live ones move', async () => {
    const opened = await filled()
    const { path, database, keyspace } = opened
    const snapshot = database.snapshot()
    const second = await keyspace.startIngestion()
    for (let i = 0; i < 500; i += 2) second.write(keyOf(i), valueOf(i + 1))
    await second.finish()
    snapshot.close()
    await keyspace.majorCompaction()
    await keyspace.majorCompaction()
    expect(keyspace.fragmentedBlobBytes()).toBe(0)
    const check = (one: Keyspace): void => {
      for (let i = 0; i < 500; i++) {
        expect(one.getTextSync(keyOf(i))).toBe(valueOf(i % 2 === 0 ? i + 1 : i))
      }
    }
    check(keyspace)
    await expect
      .poll(() => filesIn(path, 'blob'), { timeout: 20_000 })
      .toBe(keyspace.blobFileCount())
    check((await reopen(opened)).keyspace)
  })

  test('abort and close remove them', async () => {
    const opened = await open({ compaction: PATIENT, kvSeparation })
    const { path, database, keyspace } = opened
    const write = (ingestion: Ingestion): void => {
      for (let i = 0; i < 2000; i++) ingestion.write(keyOf(i), Buffer.alloc(1000))
    }
    const given = keyspace.startIngestionSync()
    write(given)
    given.abort()
    await expect.poll(() => filesIn(path, 'blob'), { timeout: 20_000 }).toBe(0)
    write(keyspace.startIngestionSync())
    await database.close()
    expect([filesIn(path, 'blob'), filesIn(path, 'table')]).toEqual([0, 0])
  })
})

describe('a sync caller alone', () => {
  test('the event loop does not turn from the first write to the close', async () => {
    const path = join(scratchDirectory(), 'db')
    const database = openDatabaseSync(path)
    const keyspace = database.keyspaceSync('k', { maxMemtableSize: 50_000 })
    for (let round = 0; round < 20; round++) {
      const ingestion = keyspace.startIngestionSync()
      for (let i = 0; i < 500; i++) ingestion.write(keyOf(i), `${round} ${'v'.repeat(100)}`)
      expect(ingestion.finishSync()).toBe(500)
      for (let i = 0; i < 500; i++) keyspace.insertSync(keyOf(i + 250), `later ${round}`)
    }
    database.closeSync()
    const again = await open({}, path)
    expect(again.keyspace.lenSync()).toBe(750)
    expect(again.keyspace.getTextSync(keyOf(1))).toBe(`19 ${'v'.repeat(100)}`)
    expect(again.keyspace.getTextSync(keyOf(251))).toBe('later 19')
  })
})
