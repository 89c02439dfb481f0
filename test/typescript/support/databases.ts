// Small databases over a machine in memory, and what they hold.

import type {
  DatabaseSettings,
  KvSeparationSetting,
  TreeSettingsGiven,
} from '../../../lib/engine.ts'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import { Database } from '../../../lib/typescript/db/database.ts'
import type { Keyspace } from '../../../lib/typescript/db/keyspace.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import type { Durability } from '../../../lib/types.ts'
import { PointLookup } from '../../../lib/typescript/table/table-reader.ts'
import { isTombstone } from '../../../lib/typescript/base/internal-key.ts'
import { rowsOf } from './rows.ts'
import { entryBytes } from './recoveries.ts'
import type { Contents } from './recoveries.ts'

/** Of a database in which everything happens soon. */
export const SMALL: DatabaseSettings = {
  createIfMissing: true,
  errorIfExists: false,
  readOnly: false,
  durability: 'os',
  syncInterval: 50,
  cacheSize: 64 * 1024,
  maxOpenFiles: 8,
  workerThreads: 2,
  maxWriteBufferSize: 1 << 20,
  maxStall: 1000,
  maxValueSize: 1 << 25,
  compactionRateLimit: 0,
  maxJournalSize: 32 * 1024,
  journalCompression: 'none',
  recovery: 'tail',
  filterOf: undefined,
}

/** Of its keyspaces. */
export const SMALL_TREE: TreeSettingsGiven = {
  maxMemtableSize: 2048,
  dataBlockSize: [512],
  compaction: {
    type: 'leveled',
    name: 'leveled',
    l0Threshold: 2,
    targetSize: 4096,
    levelRatio: [3],
    tombstoneShare: 0.5,
    maxAgeSeconds: undefined,
  },
}

/** Of those that separate their values. */
export const SMALL_BLOBS: KvSeparationSetting = {
  threshold: 16,
  fileSize: 2048,
  compression: 'lz4',
  stalenessThreshold: 0.3,
  ageCutoff: 0.5,
}

export function openSmall(vfs: Vfs = new MemVfs(), more: Partial<DatabaseSettings> = {}): Database {
  return runSync(Database.open(vfs, '/db', { ...SMALL, ...more }))
}

export function opening(vfs: Vfs, more: Partial<DatabaseSettings> = {}): Flow<Database> {
  return Database.open(vfs, '/db', { ...SMALL, ...more })
}

export function keyspaceOf(
  database: Database,
  name = 'a',
  given: TreeSettingsGiven = SMALL_TREE,
): Keyspace {
  return runSync(database.openKeyspace(name, given))
}

/** Value undefined: the key is removed. */
export function entryOf(keyspace: Keyspace, key: string, value?: string): Uint8Array {
  return entryBytes(value === undefined ? 1 : 0, keyspace.id, key, value)
}

export function put(
  database: Database,
  keyspace: Keyspace,
  key: string,
  value: string,
  durability: Durability = 'os',
): void {
  database.writeOneSync(entryOf(keyspace, key, value), durability)
}

export async function putLater(
  database: Database,
  keyspace: Keyspace,
  key: string,
  value: string,
  durability: Durability = 'os',
): Promise<void> {
  return database.writeOne(entryOf(keyspace, key, value), durability)
}

/** What a plain read finds. */
export function get(database: Database, { tree }: Keyspace, key: string): string | undefined {
  const bytes = Buffer.from(key)
  const lookup = new PointLookup()
  lookup.start(bytes, 0, bytes.length, database.visible)
  const found = runSync(tree.superVersion.findSettled(lookup))
  if (!found || isTombstone(lookup.kind)) return undefined
  return Buffer.from(lookup.value.slice(lookup.valueBegin, lookup.valueEnd)).toString()
}

/** What a plain iteration shows. */
export function rowsIn(
  { visible }: { visible: number },
  { tree }: Keyspace,
): Record<string, string> {
  return Object.fromEntries(rowsOf(tree.superVersion, visible))
}

/** All rows of all keyspaces. */
export function contentsIn(database: Database): Contents {
  const contents: Record<string, Record<string, string>> = {}
  for (const keyspace of database.keyspaces.all()) {
    contents[keyspace.name] = rowsIn(database, keyspace)
  }
  return contents
}
