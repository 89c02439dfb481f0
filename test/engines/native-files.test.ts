// Files that the native engine wrote, read by the TypeScript one: manifest, journals, tables.

import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Database } from '../../lib/index.ts'
import { Cache } from '../../lib/typescript/base/cache.ts'
import { runSync } from '../../lib/typescript/base/flow.ts'
import { BatchReader } from '../../lib/typescript/db/write-batch.ts'
import { LogReader } from '../../lib/typescript/journal/log-reader.ts'
import { TableReader } from '../../lib/typescript/table/table-reader.ts'
import { loadGeneration } from '../../lib/typescript/tree/manifest-load.ts'
import type { TableMeta } from '../../lib/typescript/tree/table-meta.ts'
import { fileName } from '../../lib/typescript/vfs/file-name.ts'
import { realVfs } from '../../lib/typescript/vfs/real-vfs.ts'
import { scratchDirectory } from '../support/scratch.ts'

const KEYS = 5000

/** What is stored under key number i of a keyspace. */
function valueOf(keyspace: string, i: number): string {
  return i % 50 === 0 ? `${keyspace} ${i} `.repeat(1000) : `${keyspace} ${i}`
}

function keyOf(i: number): string {
  return `key ${String(i).padStart(6, '0')}`
}

/**
 * A directory as the native engine leaves it when its process dies: tables, and commits that are
 * in the journal only.
 */
async function nativeDirectory(): Promise<string> {
  const directory = join(scratchDirectory(), 'db')
  const copy = join(scratchDirectory(), 'copy')
  const db = await Database.open(directory, { engine: 'native' })
  const plain = await db.keyspace('plain', { compression: 'none' })
  const packed = await db.keyspace('packed', { compression: 'lz4', restartInterval: 4 })
  for (let i = 0; i < KEYS; i++) {
    const batch = db.batch()
    batch.insert(plain, keyOf(i), valueOf('plain', i))
    batch.insert(packed, keyOf(i), valueOf('packed', i))
    if (i % 10 === 9) batch.remove(plain, keyOf(i - 5))
    batch.commitSync({ durability: 'os' })
    if (i === KEYS / 2)
      await Promise.all([plain, packed].map(async (k) => k.rotateMemtableAndWait()))
  }
  cpSync(directory, copy, { recursive: true })
  await db.close()
  return copy
}

/** All entries of a table, as `key@seqno kind value`. */
function entriesOf(directory: string, meta: TableMeta): string[] {
  const path = join(directory, fileName('table', meta.fileNumber))
  const file = realVfs.open(path, 'read').sync()
  const reader = runSync(
    TableReader.open({
      file,
      fileNumber: meta.fileNumber,
      size: meta.size,
      globalSeqno: meta.globalSeqno,
      blobs: meta.blobs,
      cache: new Cache(1 << 20),
      pinIndex: true,
      pinFilter: true,
    }),
  )
  const { properties } = reader
  expect(properties).toMatchObject({
    itemCount: meta.itemCount,
    tombstoneCount: meta.tombstoneCount,
    blockCount: meta.blockCount,
    firstKey: meta.firstKey,
    lastKey: meta.lastKey,
    lowestSeqno: meta.lowestSeqno,
    highestSeqno: meta.highestSeqno,
    createdAt: meta.createdAt,
    codec: meta.codec,
  })
  const iterator = reader.iterator()
  const entries: string[] = []
  const settle = (): void => {
    while (iterator.missing !== undefined) {
      iterator.missing.sync()
      iterator.retry()
    }
  }
  iterator.seekToFirst()
  for (settle(); iterator.valid; iterator.next(), settle()) {
    const key = Buffer.from(iterator.key.subarray(iterator.keyBegin, iterator.keyEnd))
    const value = Buffer.from(iterator.value.subarray(iterator.valueBegin, iterator.valueEnd))
    entries.push(`${key.toString()}@${iterator.seqno} ${iterator.kind} ${value.toString()}`)
  }
  reader.close()
  return entries
}

test('a directory of the native engine holds what it was given', async () => {
  const directory = await nativeDirectory()
  const { state } = runSync(loadGeneration(realVfs, directory))
  expect([...state.trees.values()].map(({ name }) => name)).toEqual(['plain', 'packed'])

  // Newest value of each key, from the tables and then from the journal.
  const found = new Map<string, string | undefined>()
  let flushed = 0
  for (const { id, tables } of state.trees.values()) {
    for (const meta of tables.values()) {
      const entries = entriesOf(directory, meta)
      expect(entries).toHaveLength(meta.itemCount)
      for (const entry of entries) {
        const [, key = '', kind = '', value] = /^(.*)@\d+ (\d) (.*)$/s.exec(entry) ?? []
        found.set(`${id} ${key}`, kind === '0' ? value : undefined)
        flushed++
      }
    }
  }
  expect(flushed).toBeGreaterThan(KEYS / 2)

  let commits = 0
  for (const [number, finalLength] of state.journals) {
    const path = join(directory, fileName('journal', number))
    const file = realVfs.open(path, 'read').sync()
    const reader = new LogReader(file, {
      kind: 'journal',
      fileNumber: number,
      mode: 'strict',
      finalLength,
    })
    runSync(reader.open())
    expect(reader.headerError).toBe(undefined)
    let last = 0
    while (runSync(reader.next())) {
      if (reader.type !== 1) continue
      expect(last === 0 || reader.seqno === last + 1).toBe(true)
      last = reader.seqno
      commits++
      const batch = new BatchReader(reader.payload)
      while (batch.next()) {
        if (batch.kind >= 0x40) continue
        const key = Buffer.from(batch.bytes.subarray(batch.keyBegin, batch.keyEnd)).toString()
        const value = Buffer.alloc(batch.rawLength)
        runSync(batch.copyValue(value))
        found.set(`${batch.keyspaceId} ${key}`, batch.kind === 0 ? value.toString() : undefined)
      }
      expect(batch.count).toBe(reader.count)
    }
    expect(reader.droppedBytes).toBe(0)
    file.close()
  }
  expect(commits).toBeGreaterThan(0)

  const ids = new Map([...state.trees.values()].map(({ id, name }) => [name, id]))
  for (const name of ['plain', 'packed']) {
    for (let i = 0; i < KEYS; i++) {
      const isRemoved = name === 'plain' && i % 10 === 4
      const expected = isRemoved ? undefined : valueOf(name, i)
      expect(found.get(`${ids.get(name)} ${keyOf(i)}`), `${name} ${i}`).toBe(expected)
    }
  }
})
