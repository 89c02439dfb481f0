// The commands of the model test: each does something to a real database and to ordered maps, and
// compares the two.

import * as fc from 'fast-check'
import { expect } from 'vitest'
import type {
  CompactionFilter,
  Database,
  Durability,
  FilterVerdict,
  Keyspace,
  KeyRange,
  Snapshot,
} from '../../../lib/index.ts'
import { openDatabase } from '../../support/engine.ts'
import { expectSame } from '../../support/same.ts'

/** Contents of one keyspace: bytes as latin1, whose order is the order of the bytes. */
type Contents = Map<string, string>

export interface Model {
  readonly contents: Contents[]
  /** How often each key was written since its last removal: weak removals need to know. */
  readonly writes: Map<string, number>
  snapshots: Contents[][]
}

export interface Setup {
  readonly path: string
  readonly options: object
  readonly keyspaceOptions: readonly object[]
  /** Keyspaces have HASH_FILTER, and nothing is compacted unless it is asked for. */
  readonly isFiltered?: boolean
}

export interface Real extends Setup {
  db: Database
  keyspaces: Keyspace[]
  snapshots: Snapshot[]
}

type Command = fc.AsyncCommand<Model, Real>

export async function openReal(setup: Setup): Promise<Real> {
  const filters = setup.isFiltered === true && { compactionFilters: () => HASH_FILTER }
  const db = await openDatabase(setup.path, { ...setup.options, ...filters })
  const keyspaces: Keyspace[] = []
  for (const [i, options] of setup.keyspaceOptions.entries()) {
    keyspaces.push(await db.keyspace(`keyspace ${i}`, options))
  }
  return { ...setup, db, keyspaces, snapshots: [] }
}

export function emptyModel(keyspaces: number): Model {
  return {
    contents: Array.from({ length: keyspaces }, () => new Map<string, string>()),
    writes: new Map(),
    snapshots: [],
  }
}

function command(
  name: string,
  run: (model: Model, real: Real) => Promise<void> | void,
  check: (model: Readonly<Model>) => boolean = () => true,
): Command {
  return { check, run: async (model, real) => run(model, real), toString: () => name }
}

/** The same for a key whenever it is asked, and for what it has made of its value. */
function verdictOf(k: string): FilterVerdict {
  const hash = [...Buffer.from(k, 'latin1')].reduce((sum, byte) => (sum * 31 + byte) % 65_521, 7)
  const verdicts: FilterVerdict[] = ['remove', 'removeWeak', 'destroy', { replace: 'filtered' }]
  return verdicts[hash % 9] ?? 'keep'
}

const HASH_FILTER: CompactionFilter = {
  name: 'by a hash of the key',
  filter: (entries) => entries.map((entry) => verdictOf(entry.key.toString('latin1'))),
}

/** What HASH_FILTER does where it is asked about everything. */
function filterAll(model: Model, keyspace: number): void {
  const contents = model.contents[keyspace] as Contents
  for (const k of contents.keys()) {
    const verdict = verdictOf(k)
    if (typeof verdict === 'object') contents.set(k, String(verdict.replace))
    if (typeof verdict === 'object' || verdict === 'keep') continue
    contents.delete(k)
    model.writes.set(`${keyspace}:${k}`, 0)
  }
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
const text = (buffer: Buffer): string => buffer.toString('latin1')
const textOf = (pair: [Buffer, Buffer]): [string, string] => [text(pair[0]), text(pair[1])]

function sorted(contents: Contents): [string, string][] {
  return [...contents].toSorted(([a], [b]) => (a < b ? -1 : 1))
}

// --- arbitraries
// -----------------------------------------------------------------------------------

const KEYSPACES = 2
const keyspaceIndex = fc.nat({ max: KEYSPACES - 1 })
/** Few keys, so that they meet; prefixes of each other, the smallest and the largest byte. */
const key = fc.oneof(
  { weight: 6, arbitrary: fc.nat({ max: 150 }).map((n) => `key${n}`) },
  fc
    .array(fc.constantFrom('\0', 'a', 'b', '\xff'), { minLength: 1, maxLength: 4 })
    .map((l) => l.join('')),
  fc.constant('long'.repeat(500)),
)
const value = fc.oneof(
  { weight: 5, arbitrary: fc.string({ maxLength: 20, unit: 'binary-ascii' }) },
  fc.nat({ max: 9 }).map((n) => String(n).repeat(300)),
  fc.constant('large'.repeat(2000)),
)
const durability = fc.constantFrom<Durability>('os', 'os', 'buffered', 'sync')
const operation = fc.record({
  kind: fc.constantFrom('insert', 'insert', 'insert', 'remove', 'weak'),
  keyspace: keyspaceIndex,
  key,
  value,
})
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never

const range = fc
  .tuple(
    fc.option(fc.tuple(fc.constantFrom('gt', 'gte'), key)),
    fc.option(fc.tuple(fc.constantFrom('lt', 'lte'), key)),
  )
  .map(
    (bounds) =>
      Object.fromEntries(bounds.filter((bound) => bound !== null)) as Record<string, string>,
  )

// --- writes
// ----------------------------------------------------------------------------------------

/**
 * What to really do: a weak removal is only for keys written exactly once since their last removal.
 */
function settle(model: Model, { kind, keyspace, key: k, value: v }: Operation): string {
  const contents = model.contents[keyspace] as Contents
  const id = `${keyspace}:${k}`
  const writes = model.writes.get(id) ?? 0
  if (kind === 'insert') {
    contents.set(k, v)
    model.writes.set(id, writes + 1)
    return 'insert'
  }
  contents.delete(k)
  model.writes.set(id, 0)
  return kind === 'weak' && writes === 1 ? 'removeWeak' : 'remove'
}

const write = fc.record({ operation, sync: fc.boolean(), durability }).map((w) =>
  command(`write ${fc.stringify(w)}`, async (model, real) => {
    const keyspace = real.keyspaces[w.operation.keyspace] as Keyspace
    const [k, v] = [bytes(w.operation.key), bytes(w.operation.value)]
    const options = { durability: w.durability }
    const method = settle(model, w.operation)
    if (method === 'insert') {
      if (w.sync) keyspace.insertSync(k, v, options)
      else await keyspace.insert(k, v, options)
    } else if (method === 'remove') {
      if (w.sync) keyspace.removeSync(k, options)
      else await keyspace.remove(k, options)
    } else if (w.sync) keyspace.removeWeakSync(k, options)
    else await keyspace.removeWeak(k, options)
  }),
)

/** Removes what is in a range, so that nothing of it was written since. */
function settleRange(model: Model, keyspace: number, bounds: Record<string, string>): void {
  const contents = model.contents[keyspace] as Contents
  for (const [k] of expectedRange(contents, bounds)) contents.delete(k)
  for (const id of model.writes.keys()) {
    const inside = new Map([[id.slice(id.indexOf(':') + 1), '']])
    const isOther = Number(id.slice(0, id.indexOf(':'))) !== keyspace
    if (!isOther && expectedRange(inside, bounds).length > 0) model.writes.set(id, 0)
  }
}

const removeRange = fc
  .record({ keyspace: keyspaceIndex, range, sync: fc.boolean(), durability })
  .map((w) =>
    command(`removeRange ${fc.stringify(w)}`, async (model, real) => {
      const keyspace = real.keyspaces[w.keyspace] as Keyspace
      const options = { durability: w.durability }
      settleRange(model, w.keyspace, w.range)
      if (w.sync) keyspace.removeRangeSync(realRange(w.range), options)
      else await keyspace.removeRange(realRange(w.range), options)
    }),
  )

const clear = fc.tuple(keyspaceIndex, fc.boolean()).map(([i, sync]) =>
  command(`clear ${i}`, async (model, real) => {
    const keyspace = real.keyspaces[i] as Keyspace
    settleRange(model, i, {})
    if (sync) keyspace.clearSync()
    else await keyspace.clear()
  }),
)

/** Operations of a batch before a range and behind it; both may be on keys inside. */
const batchOfRange = fc
  .record({
    before: fc.array(operation, { maxLength: 8 }),
    keyspace: keyspaceIndex,
    range,
    behind: fc.array(operation, { maxLength: 8 }),
  })
  .map(({ before, keyspace: i, range: bounds, behind }) =>
    command(`batch ${fc.stringify({ before, i, bounds, behind })}`, async (model, real) => {
      const commit = real.db.batch()
      const add = (one: Operation): void => {
        const kind = one.kind === 'weak' ? 'remove' : one.kind
        const keyspace = real.keyspaces[one.keyspace] as Keyspace
        if (kind === 'insert') commit.insert(keyspace, bytes(one.key), bytes(one.value))
        else commit.remove(keyspace, bytes(one.key))
        last.set(`${one.keyspace}:${one.key}`, { ...one, kind })
      }
      const last = new Map<string, Operation>()
      for (const one of before) add(one)
      commit.removeRange(real.keyspaces[i] as Keyspace, realRange(bounds))
      settleRange(model, i, bounds)
      for (const [id, one] of last) {
        const inside = expectedRange(new Map([[one.key, '']]), bounds).length > 0
        if (one.keyspace === i && inside) last.delete(id)
      }
      for (const one of behind) add(one)
      for (const one of last.values()) settle(model, one)
      await commit.commit()
    }),
  )

/**
 * In a batch the last operation on a key wins, as if the others were not there; weak removals of
 * what the batch wrote are removals.
 */
const batch = fc.array(operation, { maxLength: 30 }).chain((operations) =>
  durability.map((d) =>
    command(
      `batch of ${operations.length} ${d}: ${fc.stringify(operations)}`,
      async (model, real) => {
        const commit = real.db.batch()
        const last = new Map<string, Operation>()
        for (const one of operations) {
          const kind = one.kind === 'weak' ? 'remove' : one.kind
          const keyspace = real.keyspaces[one.keyspace] as Keyspace
          last.set(`${one.keyspace}:${one.key}`, { ...one, kind })
          if (kind === 'insert') commit.insert(keyspace, bytes(one.key), bytes(one.value))
          else commit.remove(keyspace, bytes(one.key))
        }
        for (const one of last.values()) settle(model, one)
        expect(commit.length).toBe(operations.length)
        await commit.commit({ durability: d })
      },
    ),
  ),
)

/** In the order of the bytes, each key once. */
const ingestion = fc
  .record({
    keyspace: keyspaceIndex,
    entries: fc.uniqueArray(operation, { maxLength: 40, selector: (one) => one.key }),
    end: fc.constantFrom('finish', 'finish', 'finish', 'finishSync', 'finishSync', 'abort'),
    sync: fc.boolean(),
  })
  .map(({ keyspace: i, entries, end, sync }) =>
    command(`ingestion ${end} ${fc.stringify({ i, entries })}`, async (model, real) => {
      const keyspace = real.keyspaces[i] as Keyspace
      const load = sync ? keyspace.startIngestionSync() : await keyspace.startIngestion()
      const ascending = entries.toSorted((a, b) => (a.key < b.key ? -1 : 1))
      for (const one of ascending) {
        const k = bytes(one.key)
        // One that is given up has removed nothing.
        const method = end === 'abort' ? one.kind : settle(model, { ...one, keyspace: i })
        if (method === 'insert') load.write(k, bytes(one.value))
        else if (method === 'remove') load.writeTombstone(k)
        else load.writeWeakTombstone(k)
      }
      if (end === 'abort') load.abort()
      else {
        const count = end === 'finish' ? await load.finish() : load.finishSync()
        expect(count).toBe(entries.length)
      }
    }),
  )

// --- reads
// -----------------------------------------------------------------------------------------

const get = fc.tuple(keyspaceIndex, key).map(([i, k]) =>
  command(`get ${i} ${fc.stringify(k)}`, async (model, real) => {
    const keyspace = real.keyspaces[i] as Keyspace
    const wanted = (model.contents[i] as Contents).get(k)
    const expected = wanted === undefined ? undefined : bytes(wanted)
    expectSame(keyspace.getSync(bytes(k)), expected)
    expectSame(await keyspace.get(bytes(k)), expected)
    expect(keyspace.sizeOfSync(bytes(k))).toBe(wanted?.length)
    expect(keyspace.containsKeySync(bytes(k))).toBe(wanted !== undefined)
    const target = Buffer.alloc(16_384)
    expect(keyspace.getIntoSync(bytes(k), target, 3)).toBe(wanted?.length)
    if (wanted !== undefined) expect(text(target.subarray(3, 3 + wanted.length))).toBe(wanted)
  }),
)

const getMany = fc.tuple(keyspaceIndex, fc.array(key, { maxLength: 20 })).map(([i, keys]) =>
  command(`getMany ${i} ${keys.length}`, async (model, real) => {
    const keyspace = real.keyspaces[i] as Keyspace
    const expected = keys.map((k) => (model.contents[i] as Contents).get(k))
    const found = keyspace.getManySync(keys.map(bytes))
    expectSame(
      found.map((v) => v && text(v)),
      expected,
    )
    expectSame(await keyspace.getMany(keys.map(bytes)), found)
  }),
)

function expectedRange(contents: Contents, bounds: Record<string, string>): [string, string][] {
  const { gt, gte, lt, lte } = bounds
  return sorted(contents).filter(
    ([k]) =>
      (gt === undefined || k > gt) &&
      (gte === undefined || k >= gte) &&
      (lt === undefined || k < lt) &&
      (lte === undefined || k <= lte),
  )
}

function realRange(bounds: Record<string, string>): KeyRange {
  return Object.fromEntries(Object.entries(bounds).map(([name, k]) => [name, bytes(k)]))
}

const scan = fc
  .record({ i: keyspaceIndex, range, reverse: fc.boolean(), limit: fc.constantFrom(-1, 0, 1, 7) })
  .map(({ i, range: bounds, reverse, limit }) =>
    command(`scan ${i} ${fc.stringify(bounds)} ${reverse} ${limit}`, async (model, real) => {
      const keyspace = real.keyspaces[i] as Keyspace
      let expected = expectedRange(model.contents[i] as Contents, bounds)
      if (reverse) expected.reverse()
      if (limit >= 0) expected = expected.slice(0, limit)
      const found = keyspace.range({ ...realRange(bounds), reverse, limit, batchSize: 256 })
      expectSame(found.toArraySync().map(textOf), expected)
      expectSame((await found.toArray()).map(textOf), expected)
      expectSame(
        Array.from(found.keys(), text),
        expected.map(([k]) => k),
      )
      expectSame(
        Array.from(found.values(), text),
        expected.map(([, v]) => v),
      )
      const entries = [...found.entries()]
      expectSame(
        entries.map(({ size }) => size),
        expected.map(([, v]) => v.length),
      )
      const values = await Promise.all(entries.map(async (entry) => entry.value()))
      expectSame(
        values.map(text),
        expected.map(([, v]) => v),
      )
      const visited: [string, string][] = []
      found.forEachSync((k, v) => {
        visited.push([text(k), text(v)])
      })
      expectSame(visited, expected)
    }),
  )

/** A cursor used from both ends against an array used from both ends. */
const pingPong = fc
  .record({ i: keyspaceIndex, range, turns: fc.array(fc.boolean(), { maxLength: 40 }) })
  .map(({ i, range: bounds, turns }) =>
    command(`ping-pong ${i} ${fc.stringify(bounds)} ${turns.length}`, async (model, real) => {
      const deque = expectedRange(model.contents[i] as Contents, bounds)
      using cursor = (real.keyspaces[i] as Keyspace).range(realRange(bounds)).cursor()
      for (const [n, back] of turns.entries()) {
        const expected = back ? deque.pop() : deque.shift()
        const sync = n % 3 === 0
        const pair = back
          ? sync
            ? cursor.nextBackSync()
            : await cursor.nextBack()
          : sync
            ? cursor.nextSync()
            : await cursor.next()
        expectSame(pair && textOf(pair), expected)
      }
    }),
  )

const ends = keyspaceIndex.map((i) =>
  command(`ends ${i}`, async (model, real) => {
    const keyspace = real.keyspaces[i] as Keyspace
    const all = sorted(model.contents[i] as Contents)
    const first = await keyspace.firstKeyValue()
    const last = keyspace.lastKeyValueSync()
    expectSame(first && textOf(first), all[0])
    expectSame(last && textOf(last), all.at(-1))
    expect(await keyspace.len()).toBe(all.length)
    expect(keyspace.isEmptySync()).toBe(all.length === 0)
    expect(keyspace.approximateLen()).toBeGreaterThanOrEqual(all.length)
  }),
)

// --- snapshots
// -------------------------------------------------------------------------------------

const openSnapshot = fc.constant(
  command(
    'snapshot',
    (model, real) => {
      real.snapshots.push(real.db.snapshot())
      model.snapshots.push(model.contents.map((contents) => new Map(contents)))
    },
    (model) => model.snapshots.length < 5,
  ),
)

const readSnapshot = fc.tuple(fc.nat(), fc.boolean()).map(([n, reverse]) =>
  command(
    `read snapshot ${n}`,
    (model, real) => {
      const at = n % model.snapshots.length
      const held = model.snapshots[at] as Contents[]
      const snapshot = real.snapshots[at] as Snapshot
      for (const [i, contents] of held.entries()) {
        const keyspace = real.keyspaces[i] as Keyspace
        const expected = sorted(contents)
        for (const [k, v] of expected.slice(0, 10)) {
          expectSame(keyspace.getSync(bytes(k), { snapshot }), bytes(v))
        }
        if (reverse) expected.reverse()
        const found = keyspace.iter({ snapshot, reverse }).toArraySync()
        expectSame(found.map(textOf), expected)
      }
    },
    (model) => model.snapshots.length > 0,
  ),
)

const closeSnapshot = fc.nat().map((n) =>
  command(
    `close snapshot ${n}`,
    (model, real) => {
      const at = n % model.snapshots.length
      real.snapshots.splice(at, 1)[0]?.close()
      model.snapshots.splice(at, 1)
    },
    (model) => model.snapshots.length > 0,
  ),
)

// --- maintenance
// -----------------------------------------------------------------------------------

const rotate = keyspaceIndex.map((i) =>
  command(`rotate ${i}`, (_, real) => {
    real.keyspaces[i]?.rotateMemtable()
  }),
)
const flush = keyspaceIndex.map((i) =>
  command(`flush ${i}`, async (_, real) => real.keyspaces[i]?.rotateMemtableAndWait()),
)
const compact = keyspaceIndex.map((i) =>
  command(`major compaction ${i}`, async (model, real) => {
    const keyspace = real.keyspaces[i] as Keyspace
    if (real.isFiltered === true) {
      await keyspace.rotateMemtableAndWait()
      filterAll(model, i)
    }
    await keyspace.majorCompaction({ targetSize: 8192 })
  }),
)
const persist = durability.map((d) =>
  command(`persist ${d}`, async (_, real) => real.db.persist(d)),
)
const reopen = fc.boolean().map((sync) =>
  command('reopen', async (model, real) => {
    if (sync) real.db.closeSync()
    else await real.db.close()
    Object.assign(real, await openReal(real))
    model.snapshots = []
  }),
)

/** All commands, each as often as it is worth. */
export const COMMANDS: fc.Arbitrary<Command>[] = [
  ...Array.from({ length: 8 }, () => write),
  ...Array.from({ length: 6 }, () => batch),
  removeRange,
  batchOfRange,
  clear,
  ingestion,
  ingestion,
  ...Array.from({ length: 3 }, () => get),
  getMany,
  scan,
  scan,
  pingPong,
  ends,
  openSnapshot,
  readSnapshot,
  readSnapshot,
  closeSnapshot,
  rotate,
  flush,
  compact,
  persist,
  reopen,
]
