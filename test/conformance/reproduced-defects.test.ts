// Defects that were reproduced in the engine after which this one was made, each with the proof
// that it is not here. What is said of "the original" was seen in its release 3.

import { readFileSync, writeFileSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { FifoCompaction, LeveledCompaction } from '../../lib/index.ts'
import type { Database, Keyspace } from '../../lib/index.ts'
import { partsOf, seal } from '../engines/support/parts.ts'
import { openDatabase } from '../support/engine.ts'
import { filesOf, flipByte, imageOf, placesOf } from '../support/files.ts'
import { ingest } from '../support/ingestions.ts'
import { PATIENT } from '../support/patient.ts'
import { rejection, scaled } from '../support/scratch.ts'
import {
  databaseAt,
  flushed,
  newDatabase,
  newKeyspace,
  newTree,
  numbered,
  seen,
  tablesOf,
} from '../support/trees.ts'

const QUIET = { syncInterval: 0, journalCompression: 'none' } as const

/** Commits batches of `keys` keys, each with the number of its round; tells that it has ended. */
function batchWriter(
  database: Database,
  keyspace: Keyspace,
  { keys, rounds }: { readonly keys: number; readonly rounds: number },
): { readonly ended: Promise<void>; isRunning: boolean } {
  const run = async (): Promise<void> => {
    for (let round = 1; round <= rounds; round++) {
      const batch = database.batch()
      for (let i = 0; i < keys; i++) batch.insert(keyspace, numbered(i), `${round}`)
      await batch.commit({ durability: round % 4 === 0 ? 'sync' : 'os' })
      await setImmediate()
    }
  }
  const writer = {
    isRunning: true,
    ended: run().finally(() => (writer.isRunning = false)),
  }
  return writer
}

describe('isolation', () => {
  // In the original 410,740 of 457,902 triples of plain gets saw a batch half applied.
  test('plain reads never see half of a batch', async () => {
    const { database, keyspace } = await newKeyspace()
    const keys = 2000
    const writer = batchWriter(database, keyspace, { keys, rounds: scaled(60) })
    const probes = [0, keys / 2, keys - 1].map(numbered)
    let seenRounds = 0
    for (let turn = 0; writer.isRunning; turn++) {
      // What is read later sees no less: an older value would be of a batch half applied.
      for (const order of [probes, probes.toReversed()]) {
        const rounds = order.map((key) => Number(keyspace.getTextSync(key) ?? 0))
        expect(rounds).toEqual(rounds.toSorted((a, b) => a - b))
        const awaited: number[] = []
        for (const key of order) awaited.push(Number((await keyspace.getText(key)) ?? 0))
        expect(awaited).toEqual(awaited.toSorted((a, b) => a - b))
      }
      // One call, one state.
      expect(new Set(keyspace.getManySync(probes).map(String)).size).toBe(1)
      expect(new Set((await keyspace.getMany(probes)).map(String)).size).toBe(1)
      if (turn % 8 === 0) {
        const values = new Set(Array.from(keyspace.range({ gte: probes[0]! }).values(), String))
        expect(values.size).toBeLessThan(2)
        for (const value of values) seenRounds = Math.max(seenRounds, Number(value))
      }
      await setImmediate()
    }
    await writer.ended
    expect(seenRounds).toBeGreaterThan(0)
  })

  // In the original only iter() stood still: a range returned what was inserted behind its begin.
  test('ranges and prefixes show nothing that was written after they began', async () => {
    const { database, keyspace } = await newKeyspace({ compaction: PATIENT, dataBlockSize: 256 })
    for (let i = 0; i < 200; i += 2) keyspace.insertSync(numbered(i), 'before')
    await keyspace.rotateMemtableAndWait()
    for (let i = 100; i < 200; i += 2) keyspace.insertSync(numbered(i), 'before')
    const ranges = [
      keyspace.iter({ batchSize: 100 }),
      keyspace.range({ gte: numbered(0), batchSize: 100 }),
      keyspace.prefix('key ', { batchSize: 100 }),
    ]
    const sync = ranges.map((range) => range[Symbol.iterator]())
    const async = ranges.map((range) => range[Symbol.asyncIterator]())
    const cursors = ranges.map((range) => range.cursor())
    for (const iterator of sync) iterator.next()
    for (const iterator of async) await iterator.next()
    for (const cursor of cursors) cursor.nextSync()
    for (let i = 1; i < 200; i += 2) keyspace.insertSync(numbered(i), 'after')
    for (let i = 2; i < 200; i += 4) keyspace.removeSync(numbered(i))
    await database.batch().insert(keyspace, numbered(199), 'after').commit()
    for (let i = 2; i < 200; i += 2) {
      const expected = `${numbered(i)},before`
      for (const iterator of sync) expect(String(iterator.next().value)).toBe(expected)
      for (const iterator of async) expect(String((await iterator.next()).value)).toBe(expected)
      for (const cursor of cursors) expect(String(cursor.nextSync())).toBe(expected)
    }
    for (const iterator of sync) expect(iterator.next().done).toBe(true)
    for (const iterator of async) expect((await iterator.next()).done).toBe(true)
    for (const cursor of cursors) {
      expect(cursor.nextSync()).toBeUndefined()
      cursor.close()
    }
    expect(keyspace.lenSync()).toBe(150)
  })

  // In the original 323,870 of 4,277,960 snapshots were torn while another keyspace was flushed.
  test('snapshots are whole while versions of other keyspaces are installed', async () => {
    const { database, keyspace } = await newKeyspace()
    const other = await database.keyspace('other', {
      compaction: new LeveledCompaction({ l0Threshold: 2 }),
    })
    const keys = 500
    const writer = batchWriter(database, keyspace, { keys, rounds: scaled(80) })
    const installer = (async () => {
      for (let i = 0; writer.isRunning; i++) {
        await other.insert(numbered(i % 10), `${i}`)
        await other.rotateMemtableAndWait()
        if (i % 5 === 0) await other.majorCompaction()
        if (i % 7 === 0) await other.dropRange({})
      }
    })()
    const probes = Array.from({ length: 10 }, (_, i) => numbered((i * keys) / 10))
    let count = 0
    while (writer.isRunning) {
      const snapshot = database.snapshot()
      const values = keyspace.getManySync(probes, { snapshot }).map(String)
      expect(new Set(values).size).toBe(1)
      expect(keyspace.getTextSync(numbered(keys - 1), { snapshot }) ?? 'undefined').toBe(values[0])
      snapshot.close()
      count++
      await setImmediate()
    }
    await Promise.all([writer.ended, installer])
    expect(count).toBeGreaterThan(10)
  })
})

describe('journals', () => {
  // The original kept the number of a commit out of its checksum.
  test('an altered seqno of a commit is not accepted', async () => {
    const database = await newDatabase(QUIET)
    const keyspace = await database.keyspace('k')
    for (const key of ['a', 'b', 'c']) await keyspace.insert(key, `value ${key}`)
    const image = imageOf(database)
    const { file } = placesOf(image, 'value b')[0]!
    const name = file.slice(image.length + 1)
    const whole = readFileSync(file)
    const record = partsOf(name, whole).at(-2)!
    for (const isSealed of [false, true]) {
      for (const change of [1, -1, 1000]) {
        const altered = imageOf({ path: image })
        const bytes = Buffer.from(whole)
        const seqno = bytes.readBigUInt64LE(record.offset + 24)
        bytes.writeBigUInt64LE(seqno + BigInt(change), record.offset + 24)
        if (isSealed) seal(name, bytes, record)
        writeFileSync(file.replace(image, altered), bytes)
        if (isSealed) {
          // With a checksum that is right there is a gap, before it or behind: no crash makes one.
          expect((await rejection(() => openDatabase(altered, QUIET))).code).toBe('CORRUPTION')
          continue
        }
        // Nobody called it durable: a tail that was torn off.
        const again = await databaseAt(altered, QUIET)
        expect(seen(await again.keyspace('k'))).toBe('a=value a')
        expect(again.recovery.bytesDropped).toBeGreaterThan(0)
        await again.close()
      }
    }
  })

  // The original opened with 385 of 1,000 rows that had been synced, and said nothing.
  test('one bad byte in the midst is damage, not the end', async () => {
    const database = await newDatabase(QUIET)
    const keyspace = await database.keyspace('k')
    const rows = scaled(1000)
    for (let i = 0; i < rows; i++) await keyspace.insert(numbered(i), `value ${i} `.repeat(5))
    await database.persist('sync')
    await keyspace.insert('behind', 'the witness of the sync')
    const image = imageOf(database)
    const place = placesOf(image, `value ${Math.floor(rows / 3)} `)[0]!
    expect(place.at).toBeGreaterThan(20_000)
    flipByte(place)
    for (const recovery of ['tail', 'strict'] as const) {
      const error = await rejection(() => openDatabase(image, { ...QUIET, recovery }))
      expect(error).toMatchObject({ code: 'CORRUPTION', path: place.file })
      expect(place.at - error.offset!).toBeLessThan(200)
    }
    const salvaged = await databaseAt(image, { ...QUIET, recovery: 'salvage' })
    expect(await (await salvaged.keyspace('k')).len()).toBe(rows)
    expect(salvaged.recovery.bytesDropped).toBeGreaterThan(0)
  })

  // The original wrote a weak tombstone to the journal and a regular one to the memtable.
  test('a weak removal is one wherever it is written', async () => {
    const { database, keyspace } = await newKeyspace(undefined, QUIET)
    await keyspace.removeWeak('a')
    keyspace.removeWeakSync('b')
    await database.batch().removeWeak(keyspace, 'c').commit()
    await keyspace.remove('d')
    const image = imageOf(database)
    // In the last level no tombstone stays.
    await database.compactor.pause()
    await keyspace.rotateMemtableAndWait()
    const again = await databaseAt(image, QUIET)
    await again.compactor.pause()
    const replayed = await again.keyspace('k')
    await replayed.rotateMemtableAndWait()
    for (const of of [keyspace, replayed]) {
      expect(tablesOf(of)).toMatchObject([{ tombstoneCount: 1, weakTombstoneCount: 3 }])
    }
  })

  // In the original an idle keyspace that had been cleared kept six journals, for good.
  test('an idle keyspace that was cleared or dropped keeps no journal', async () => {
    const database = await newDatabase({ ...QUIET, maxJournalSize: 2 ** 20 })
    const busy = await database.keyspace('busy', { maxMemtableSize: 65_536 })
    const idle = await Promise.all(
      ['cleared', 'dropped', 'FIFO'].map(async (name) =>
        database.keyspace(name, {
          compaction: name === 'FIFO' ? new FifoCompaction({ limit: 1 }) : PATIENT,
        }),
      ),
    )
    for (const keyspace of idle) {
      for (let i = 0; i < 50; i++) await keyspace.insert(numbered(i), 'value')
      await keyspace.rotateMemtableAndWait()
    }
    await idle[0]!.clear()
    await idle[1]!.dropRange({})
    await database.compactor.drain()
    for (const keyspace of idle) expect(keyspace.isEmptySync()).toBe(true)
    let highest = 0
    for (let i = 0; i < scaled(400); i++) {
      await busy.insert(numbered(i % 100), 'v'.repeat(8000))
      highest = Math.max(highest, database.journalCount)
      if (i % 16 === 0) await setImmediate()
    }
    await busy.rotateMemtableAndWait()
    await expect.poll(() => database.journalCount, { timeout: 20_000 }).toBeLessThan(4)
    // More were filled than were ever there at once.
    const numbers = filesOf(database.path, 'journal').map((file) =>
      Number(/(\d+)\.j/.exec(file)![1]),
    )
    expect(Math.min(...numbers)).toBeGreaterThan(highest)
  })
})

describe('space', () => {
  // In the original 40 MB in 40 flushes under one snapshot pinned 100 MB of memtables, 50 versions.
  test('a snapshot that is open for long pins what it sees, and no more', async () => {
    const { path, database, keyspace } = await newKeyspace({
      compaction: new LeveledCompaction({ l0Threshold: 4, targetSize: 65_536 }),
    })
    const empty = database.writeBufferSize
    const rows = scaled(200)
    const write = async (round: number): Promise<void> => {
      for (let i = 0; i < rows; i++) await keyspace.insert(numbered(i), `${round} `.repeat(50))
      await keyspace.rotateMemtableAndWait()
    }
    await write(0)
    const snapshot = database.snapshot()
    for (let round = 1; round <= 40; round++) await write(round)
    await database.compactor.drain()
    await keyspace.majorCompaction()
    expect(database.writeBufferSize).toBe(empty)
    // Of each key the newest version, and the one that the snapshot sees.
    expect(keyspace.approximateLen()).toBe(2 * rows)
    const files = (): number => filesOf(path, 'table').length
    await expect.poll(files, { timeout: 20_000 }).toBe(keyspace.tableCount())
    expect(keyspace.getTextSync(numbered(7), { snapshot })).toBe('0 '.repeat(50))
    expect(keyspace.getTextSync(numbered(7))).toBe('40 '.repeat(50))

    // An iteration pins its own version; those between it and the current one are free.
    const tree = await newTree()
    tree.insertSync('a', 'first', 1)
    const iterated = tree.iter(2)[Symbol.iterator]()
    iterated.next()
    for (let seqno = 2; seqno < 42; seqno++) {
      tree.insertSync('a', `${seqno}`, seqno)
      await tree.flush()
      if (seqno % 10 === 0) await tree.majorCompaction()
    }
    expect(tree.versionHistory().length).toBeLessThanOrEqual(2)
    expect(iterated.next().done).toBe(true)
  })

  // In the original 1,000 rows were back after a close and an open.
  test('what a range dropped does not come back', async () => {
    const { database, keyspace } = await newKeyspace(undefined, QUIET)
    for (let i = 0; i < scaled(1000); i++) await keyspace.insert(numbered(i), 'value')
    await keyspace.rotateMemtableAndWait()
    await keyspace.dropRange({})
    expect(keyspace.isEmptySync()).toBe(true)
    const image = imageOf(database)
    await database.close()
    for (const path of [image, database.path]) {
      for (let opening = 0; opening < 2; opening++) {
        const again = await databaseAt(path, QUIET)
        expect(await (await again.keyspace('k')).len()).toBe(0)
        await again.close()
      }
    }
  })

  // In the original a record of a clear was replayed over whatever was in tables after it: of 1,000
  // rows that were ingested none was left.
  test.each([
    ['flushed', (keyspace: Keyspace) => flushed(keyspace, 'bcd', 'after')],
    ['ingested', (keyspace: Keyspace) => ingest(keyspace, 'bcd', 'after')],
  ])('what was %s after a clear is not cleared again', async (_, fill) => {
    const { database, keyspace } = await newKeyspace(undefined, QUIET)
    await flushed(keyspace, 'abc', 'before')
    await keyspace.clear()
    await fill(keyspace)
    const image = imageOf(database)
    await database.persist('sync')
    await database.close()
    for (const path of [image, database.path]) {
      const again = await databaseAt(path, QUIET)
      expect(seen(await again.keyspace('k'))).toBe('b=after c=after d=after')
      await again.close()
    }
  })

  // The original truncated such rates, and divided by zero below one bit; its flush worker died.
  test('filters take fractions of a bit, and less than one', async () => {
    const sizes: number[] = []
    for (const bitsPerKey of [0.1, 0.5, 0.99, 1.5, 10, 10.5]) {
      const { keyspace } = await newKeyspace({
        compaction: PATIENT,
        filter: { bitsPerKey },
        compression: 'none',
      })
      for (let i = 0; i < 10_000; i++) keyspace.insertSync(numbered(i), 'v')
      await keyspace.rotateMemtableAndWait()
      sizes.push(tablesOf(keyspace)[0]!.size)
      expect(keyspace.getTextSync(numbered(77))).toBe('v')
      expect(keyspace.containsKeySync('key 00077 behind')).toBe(false)
    }
    for (const [i, size] of sizes.entries()) if (i > 0) expect(size).toBeGreaterThan(sizes[i - 1]!)
    // Half a bit of 10,000 keys.
    expect(sizes[5]! - sizes[4]!).toBeGreaterThan(500)
    expect(sizes[5]! - sizes[4]!).toBeLessThan(800)
  })
})

describe('background work', () => {
  // The original stopped the process there, with its locks held.
  test('FIFO takes tables that overlap', async () => {
    const { database, keyspace } = await newKeyspace({
      compaction: new FifoCompaction({ limit: 20_000 }),
      compression: 'none',
    })
    for (let round = 0; round < 12; round++) {
      for (let i = 0; i < 20; i++) await keyspace.insert(numbered(i), `${round} `.repeat(100))
      await keyspace.rotateMemtableAndWait()
      await database.compactor.drain()
      expect(keyspace.diskSpace()).toBeLessThan(20_000)
      for (const value of keyspace.iter().values()) expect(String(value)).toMatch(`${round} `)
    }
    expect(database.status).toBe('open')
    expect(keyspace.tableCount()).toBeGreaterThan(0)
  })

  // In the original the end of a worker was never counted: close waited for it for ever.
  test.each(['close', 'closeSync'] as const)('%s ends after jobs that fail', async (close) => {
    const options = { compaction: PATIENT, compression: 'none', dataBlockSize: 256 } as const
    const { path, database, keyspace } = await newKeyspace(options)
    for (let run = 0; run < 3; run++) {
      for (let i = 0; i < 20; i++) keyspace.insertSync(numbered(i), `${run} of ${i}`.padEnd(50))
      await keyspace.rotateMemtableAndWait()
    }
    await database.close()
    flipByte(placesOf(path, '1 of 7')[0]!)

    const damaged = await databaseAt(path, { cacheSize: 0 })
    const compaction = new LeveledCompaction({ l0Threshold: 2 })
    const found = await damaged.keyspace('k', { compaction })
    await found.insert('later', 'value')
    await found.rotateMemtableAndWait()
    await expect.poll(() => damaged.status, { timeout: 20_000 }).toBe('degraded')
    expect((await rejection(() => found.majorCompaction())).code).toBe('CORRUPTION')
    expect(found.getTextSync('later')).toBe('value')
    await found.insert('last', 'value')
    await damaged[close]()
    expect(damaged.status).toBe('closed')
    const again = await databaseAt(path, { readOnly: true })
    expect((await again.keyspace('k')).getTextSync('last')).toBe('value')
  })
})
