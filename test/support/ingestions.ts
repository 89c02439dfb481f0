// Ingestions for tests, and databases to ingest into.

import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Database, Ingestion, Keyspace, KeyspaceOptions } from '../../lib/index.ts'
import { openDatabase } from './engine.ts'
import { PATIENT } from './patient.ts'
import { scratchDirectory } from './scratch.ts'

export interface Opened {
  readonly path: string
  readonly database: Database
  readonly keyspace: Keyspace
}

export async function open(
  options: KeyspaceOptions = { compaction: PATIENT },
  path = join(scratchDirectory(), 'db'),
): Promise<Opened> {
  const database = await openDatabase(path)
  onTestFinished(() => database.close())
  return { path, database, keyspace: await database.keyspace('k', options) }
}

export async function reopen({ path, database }: Opened): Promise<Opened> {
  await database.close()
  return open({}, path)
}

/** One entry for each letter of `keys`. */
export function fill(ingestion: Ingestion, keys: string, value: string): Ingestion {
  for (const key of keys) ingestion.write(key, value)
  return ingestion
}

export async function ingest(keyspace: Keyspace, keys: string, value: string): Promise<number> {
  return fill(await keyspace.startIngestion(), keys, value).finish()
}

/** The same by the ordinary road. */
export function insert(keyspace: Keyspace, keys: string, value: string): void {
  for (const key of keys) keyspace.insertSync(key, value)
}

/** All rows: `a1 b1`. */
export function seen(keyspace: Pick<Keyspace, 'iter'>, options = {}): string {
  const rows = keyspace.iter(options).toArraySync()
  return rows.map((row) => row.map(String).join('')).join(' ')
}

export function keyOf(i: number): string {
  return `key ${String(i).padStart(6, '0')}`
}
