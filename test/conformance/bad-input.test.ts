// Bad input: each public call with each kind of invalid argument gives its code and changes
// nothing.

import assert from 'node:assert/strict'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  Database,
  Tree,
  WriteBatch,
  Snapshot,
  EntryRange,
  Cursor,
  Ingestion,
  Keyspace,
  prefixDropFilter,
} from '../../lib/index.ts'
import { openDatabase, openDatabaseSync, openTreeSync } from '../support/engine.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'
import { BAD_KEYS, BAD_VALUES, LONG, loose } from './support/bad-inputs.ts'
import type { Call } from './support/bad-inputs.ts'

function scratchDatabase(options: object = {}): Database {
  return openDatabaseSync(join(scratchDirectory(), 'db'), options)
}

function revokedProxy(): object {
  const { proxy, revoke } = Proxy.revocable({}, {})
  revoke()
  return proxy
}

describe('open: path', () => {
  test.each([
    ['missing', undefined],
    ['a number', 7],
    ['an object', {}],
    ['empty', ''],
    ['with a NUL', 'a\0b'],
    ['with a lone surrogate', 'a\ud800'],
    ['no file URL', new URL('http://localhost/db')],
  ])('%s', async (_, path) => {
    for (const type of [Database, Tree]) {
      expect((await failure(() => loose(type, 'openSync', path))).code).toBe('INVALID_PATH')
      expect((await rejection(() => loose(type, 'open', path))).code).toBe('INVALID_PATH')
    }
  })

  test('a file, a missing parent, an absent database, an existing one', async () => {
    const dir = scratchDirectory()
    const file = join(dir, 'file')
    writeFileSync(file, 'x')
    expect((await rejection(() => openDatabase(file))).code).toBe('INVALID_PATH')
    expect((await rejection(() => openDatabase(join(dir, 'a/b')))).code).toBe('DB_NOT_FOUND')
    const absent = () => openDatabase(join(dir, 'db'), { createIfMissing: false })
    expect((await rejection(absent)).code).toBe('DB_NOT_FOUND')
    await (await openDatabase(join(dir, 'db'))).close()
    const again = () => openDatabase(join(dir, 'db'), { errorIfExists: true })
    expect((await rejection(again)).code).toBe('DB_EXISTS')
  })

  test('foreign files are never touched', async () => {
    const dir = scratchDirectory()
    writeFileSync(join(dir, 'notes.txt'), 'mine')
    const error = await rejection(() => openDatabase(dir))
    expect(error.code).toBe('NOT_A_DATABASE')
  })

  test('a lock that is a symlink or a directory', async () => {
    const dir = scratchDirectory()
    const path = join(dir, 'db')
    await (await openDatabase(path)).close()
    symlinkSync('/dev/null', join(path, 'lock'))
    expect((await rejection(() => openDatabase(path))).code).toBe('NOT_A_DATABASE')
    const other = join(dir, 'other')
    await (await openDatabase(other)).close()
    mkdirSync(join(other, 'lock'))
    expect((await rejection(() => openDatabase(other))).code).toBe('NOT_A_DATABASE')
  })
})

describe('open: options', () => {
  test.each([
    ['null', null, 'INVALID_ARGUMENT'],
    ['an array', [], 'INVALID_ARGUMENT'],
    ['a string', 'x', 'INVALID_ARGUMENT'],
    ['a revoked Proxy', revokedProxy(), 'INVALID_ARGUMENT'],
    ['a typo', { cachesize: 1 }, 'INVALID_OPTION'],
    ['NaN', { cacheSize: NaN }, 'INVALID_OPTION'],
    ['Infinity', { cacheSize: Infinity }, 'INVALID_OPTION'],
    ['negative', { cacheSize: -1 }, 'INVALID_OPTION'],
    ['a fraction', { maxOpenFiles: 20.5 }, 'INVALID_OPTION'],
    ['a numeric string', { cacheSize: '10' }, 'INVALID_OPTION'],
    ['a BigInt', { cacheSize: 10n }, 'INVALID_OPTION'],
    ['an object with valueOf', { cacheSize: { valueOf: () => 10 } }, 'INVALID_OPTION'],
    ['an unknown word', { durability: 'none' }, 'INVALID_OPTION'],
    ['a word in capitals', { recovery: 'TAIL' }, 'INVALID_OPTION'],
    ['a word of Object', { recovery: 'toString' }, 'INVALID_OPTION'],
    ['an unknown engine', { engine: 'rust' }, 'INVALID_OPTION'],
  ])('%s', async (_, options, code) => {
    const path = join(scratchDirectory(), 'db')
    expect((await rejection(() => loose(Database, 'open', path, options))).code).toBe(code)
    expect((await failure(() => loose(Database, 'openSync', path, options))).code).toBe(code)
  })

  test('other options than those it is open with', async () => {
    const db = scratchDatabase({ cacheSize: 1_000_000 })
    const error = await rejection(() =>
      openDatabase(db.path, { engine: db.engine, cacheSize: 2_000_000 }),
    )
    expect(error).toMatchObject({ code: 'DB_LOCKED', sameProcess: true, pid: process.pid })
    await db.close()
  })
})

test('what cannot be read, further down as well', async () => {
  const db = scratchDatabase()
  const keyspace = await db.keyspace('k')
  const throwing = { get: () => assert.fail('no') } as never
  const values = [revokedProxy(), new Proxy(['x'], throwing), new Proxy({ a: 1 }, throwing)]
  for (const value of values) {
    const names = ['kvSeparation', 'filter', 'compression', 'dataBlockSize', 'compaction']
    const calls = [
      ...names.map((name) => () => loose(db, 'keyspaceSync', 'x', { [name]: value })),
      () => loose(keyspace, 'getManySync', value),
      () => loose(keyspace, 'compact', value),
      () => loose({ prefixDropFilter }, 'prefixDropFilter', value),
    ]
    for (const call of calls) {
      const { code } = await failure(call)
      expect(['INVALID_ARGUMENT', 'INVALID_OPTION']).toContain(code)
    }
    expect((await rejection(() => loose(keyspace, 'getMany', value))).code).toBe('INVALID_ARGUMENT')
  }
  expect(db.keyspaceCount).toBe(1)
})

describe('keyspace names', () => {
  test.each([
    ['a number', 7],
    ['undefined', undefined],
    ['empty', ''],
    ['256 bytes', 'n'.repeat(256)],
    ['a NUL', 'a\0'],
    ['a control character', 'a\u0007'],
    ['a lone surrogate', '\ud800'],
  ])('refused: %s', async (_, name) => {
    const db = scratchDatabase()
    expect((await rejection(() => loose(db, 'keyspace', name))).code).toBe('INVALID_NAME')
    expect((await failure(() => loose(db, 'keyspaceSync', name))).code).toBe('INVALID_NAME')
    expect((await failure(() => loose(db, 'keyspaceExists', name))).code).toBe('INVALID_NAME')
    expect(db.keyspaceCount).toBe(0)
    await db.close()
  })

  test('ordinary, whatever they look like', async () => {
    const names = [
      '..',
      '/',
      '\\',
      '.',
      'CON',
      'a/../b',
      '/etc/passwd',
      'dot.',
      'space ',
      '__proto__',
      'constructor',
      'hasOwnProperty',
      'toString',
      'é',
      'e\u0301',
      '数据',
      'n'.repeat(255),
    ]
    const db = scratchDatabase()
    for (const name of names) (await db.keyspace(name)).insertSync('key', name)
    await db.close()
    const again = await openDatabase(db.path)
    expect(again.listKeyspaceNames().toSorted()).toEqual(names.toSorted())
    for (const name of names) {
      expect(again.keyspaceExists(name)).toBe(true)
      expect(again.keyspaceSync(name).getTextSync('key')).toBe(name)
    }
    expect(again.keyspaceExists('valueOf')).toBe(false)
    await again.close()
  })

  test('bad options', async () => {
    const db = scratchDatabase()
    const codeOf = async (options: unknown): Promise<string> =>
      (await rejection(() => loose(db, 'keyspace', 'k', options))).code
    expect(await codeOf(null)).toBe('INVALID_ARGUMENT')
    expect(await codeOf({ blocksize: 1 })).toBe('INVALID_OPTION')
    expect(await codeOf({ dataBlockSize: 1 })).toBe('INVALID_OPTION')
    expect(await codeOf({ memtable: 'btree' })).toBe('INVALID_OPTION')
    expect(await codeOf({ compression: Array(9).fill('lz4') })).toBe('INVALID_OPTION')
    expect(await codeOf({ kvSeparation: { size: 1 } })).toBe('INVALID_OPTION')
    expect(await codeOf({ compaction: { name: 'mine' } })).toBe('INVALID_OPTION')
    expect(db.keyspaceCount).toBe(0)
    await db.close()
  })
})

describe('keys', () => {
  const METHODS = ['get', 'getText', 'containsKey', 'sizeOf', 'remove', 'removeWeak'] as const

  test.each(BAD_KEYS)('%s', async (_, key, code) => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    for (const method of METHODS) {
      const sync = `${method}Sync`
      expect((await rejection(() => loose(keyspace, method, key))).code, method).toBe(code)
      expect((await failure(() => loose(keyspace, sync, key))).code, sync).toBe(code)
    }
    expect((await rejection(() => loose(keyspace, 'insert', key, 'v'))).code).toBe(code)
    expect((await failure(() => loose(keyspace, 'insertSync', key, 'v'))).code).toBe(code)
    const target = Buffer.alloc(4)
    expect((await failure(() => loose(keyspace, 'getIntoSync', key, target))).code).toBe(code)
    const batch = db.batch()
    for (const method of ['insert', 'remove', 'removeWeak']) {
      expect((await failure(() => loose(batch, method, keyspace, key, 'v'))).code).toBe(code)
    }
    expect(batch.length).toBe(0)
    const ingestion = keyspace.startIngestionSync()
    for (const method of ['write', 'writeTombstone', 'writeWeakTombstone']) {
      expect((await failure(() => loose(ingestion, method, key, 'v'))).code, method).toBe(code)
    }
    expect(ingestion.finishSync()).toBe(0)
    expect(db.seqno).toBe(1 + Number(db.seqno > 1))
    expect(keyspace.lenSync()).toBe(0)
    await db.close()
  })

  test('the longest key and a subclass with another length', async () => {
    class Short extends Uint8Array {
      override get length(): number {
        return 1
      }
    }
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    const longest = new Uint8Array(65_535).fill(1)
    keyspace.insertSync(longest, 'longest')
    expect(keyspace.getTextSync(longest)).toBe('longest')
    keyspace.insertSync(new Short([1, 2, 3]), 'three')
    expect(keyspace.getTextSync(Buffer.from([1, 2, 3]))).toBe('three')
    const shared = new Uint8Array(new SharedArrayBuffer(2)).fill(9)
    keyspace.insertSync(shared, shared)
    expect(keyspace.getSync(Buffer.from([9, 9]))).toEqual(Buffer.from([9, 9]))
    await db.close()
  })

  test('what is changed after the call changes nothing', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    const key = Buffer.from('key')
    const value = Buffer.from('value')
    const pending = keyspace.insert(key, value, { durability: 'sync' })
    key.fill(0)
    value.fill(0)
    await pending
    expect(await keyspace.getText('key')).toBe('value')
    await db.close()
  })
})

describe('values', () => {
  test.each(BAD_VALUES)('%s', async (_, value, code) => {
    const db = scratchDatabase({ maxValueSize: 1000 })
    const keyspace = db.keyspaceSync('k')
    expect((await rejection(() => loose(keyspace, 'insert', 'key', value))).code).toBe(code)
    expect((await failure(() => loose(keyspace, 'insertSync', 'key', value))).code).toBe(code)
    const batch = db.batch()
    expect((await failure(() => loose(batch, 'insert', keyspace, 'key', value))).code).toBe(code)
    const ingestion = keyspace.startIngestionSync()
    expect((await failure(() => loose(ingestion, 'write', 'key', value))).code).toBe(code)
    expect(await ingestion.finish()).toBe(0)
    expect(keyspace.containsKeySync('key')).toBe(false)
    await db.close()
  })

  test('options of a write', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    for (const options of [{ durability: 'never' }, { signal: 1 }, { durable: true }]) {
      const write = () => loose(keyspace, 'insert', 'key', 'v', options)
      expect((await rejection(write)).code).toBe('INVALID_OPTION')
    }
    expect((await rejection(() => loose(keyspace, 'insert', 'key', 'v', null))).code).toBe(
      'INVALID_ARGUMENT',
    )
    expect(keyspace.isEmptySync()).toBe(true)
    await db.close()
  })
})

describe('getMany and getIntoSync', () => {
  test('not an array, sparse, too long, one bad key', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    const codeOf = async (keys: unknown): Promise<string> => {
      const sync = await failure(() => loose(keyspace, 'getManySync', keys))
      const async = await rejection(() => loose(keyspace, 'getMany', keys))
      expect(async.code).toBe(sync.code)
      return sync.code
    }
    expect(await codeOf('keys')).toBe('INVALID_ARGUMENT')
    expect(await codeOf(Array.from({ length: 1_000_001 }, () => 'k'))).toBe('INVALID_ARGUMENT')
    expect(await codeOf(Object.assign([], { length: 3 }))).toBe('INVALID_KEY')
    expect(await codeOf(['a', '', 'b'])).toBe('INVALID_KEY')
    const error = await failure(() => keyspace.getManySync(['a', 'b', '']))
    expect(error.message).toContain('keys[2]')
    expect(keyspace.getManySync([])).toEqual([])
    await db.close()
  })

  test('a bad key behind many that have to be fetched: nothing is read', async () => {
    const db = scratchDatabase({ cacheSize: 0 })
    const keyspace = db.keyspaceSync('k')
    const keys = Array.from({ length: 600 }, (_, i) => `key${i}`)
    for (const key of keys) keyspace.insertSync(key, 'v')
    keyspace.rotateMemtableAndWaitSync()
    for (const bad of ['', 'a\ud800', 'k'.repeat(65_536), new Uint8Array(0)]) {
      keys[550] = bad as string
      const error = await rejection(() => keyspace.getMany(keys))
      expect(error.message).toContain('keys[550]')
    }
    // Reads that were begun all the same would fail by this, and nobody would handle it.
    await db.close()
  })

  test('a target that cannot take it', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    keyspace.insertSync('key', 'value')
    for (const [target, offset] of [
      [[], 0],
      ['x', 0],
      [Buffer.alloc(4), 5],
      [Buffer.alloc(4), -1],
      [Buffer.alloc(4), 0.5],
    ]) {
      const error = await failure(() => loose(keyspace, 'getIntoSync', 'key', target, offset))
      expect(error.code).toBe('INVALID_ARGUMENT')
    }
    const small = Buffer.alloc(4, '-')
    expect(keyspace.getIntoSync('key', small)).toBe(5)
    expect(small.toString()).toBe('----')
    await db.close()
  })
})

describe('ranges and cursors', () => {
  test.each([
    ['gt and gte', { gt: 'a', gte: 'a' }, 'INVALID_RANGE'],
    ['lt and lte', { lt: 'a', lte: 'a' }, 'INVALID_RANGE'],
    ['limit NaN', { limit: NaN }, 'INVALID_RANGE'],
    ['limit with a fraction', { limit: 1.5 }, 'INVALID_RANGE'],
    ['limit below -1', { limit: -2 }, 'INVALID_RANGE'],
    ['limit as a string', { limit: '1' }, 'INVALID_RANGE'],
    ['reverse as a number', { reverse: 1 }, 'INVALID_OPTION'],
    ['an unknown key', { from: 'a' }, 'INVALID_OPTION'],
    ['a bad bound', { gte: 7 }, 'INVALID_KEY'],
    ['a long bound', { lt: LONG }, 'KEY_TOO_LARGE'],
    ['no snapshot', { snapshot: {} }, 'INVALID_ARGUMENT'],
    ['no signal', { signal: {} }, 'INVALID_OPTION'],
    ['null', null, 'INVALID_ARGUMENT'],
    ['nothing', undefined, 'INVALID_ARGUMENT'],
  ])('%s', async (_, range, code) => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    expect((await failure(() => loose(keyspace, 'range', range))).code).toBe(code)
    await db.close()
  })

  test('lower above upper is empty', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    keyspace.insertSync('m', '')
    for (const range of [
      { gte: 'z', lt: 'a' },
      { gt: 'm', lte: 'm' },
      { gt: 'm', lt: 'm' },
    ]) {
      expect(keyspace.range(range).toArraySync()).toEqual([])
      expect(await keyspace.range(range).toArray()).toEqual([])
    }
    await db.close()
  })

  test('cursors: bad keys, outside, after close', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    for (const key of 'abcdef') keyspace.insertSync(key, key)
    const cursor = keyspace.range({ gte: 'b', lt: 'e' }).cursor()
    for (const [, key, code] of BAD_KEYS) {
      expect((await failure(() => loose(cursor, 'seek', key))).code).toBe(code)
    }
    cursor.seek('x')
    expect(cursor.nextSync()).toBeUndefined()
    cursor.seek('c')
    expect(cursor.nextSync()?.[0].toString()).toBe('c')
    cursor.close()
    cursor.close()
    expect((await failure(() => cursor.nextSync())).code).toBe('ITERATOR_CLOSED')
    expect((await rejection(() => cursor.nextBack())).code).toBe('ITERATOR_CLOSED')
    expect(
      (
        await failure(() => {
          cursor.seek('c')
        })
      ).code,
    ).toBe('ITERATOR_CLOSED')
    const open = keyspace.iter().cursor()
    await open.next()
    await db.close()
    expect((await rejection(() => open.next())).code).toBe('DB_CLOSED')
  })

  test('visitors', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    for (const key of 'abc') keyspace.insertSync(key, key)
    for (const method of ['forEachSync', 'forEachRawSync']) {
      expect((await failure(() => loose(keyspace.iter(), method, 7))).code).toBe('INVALID_ARGUMENT')
      const thrown = new Error('from the visitor')
      const visit = (): never => {
        throw thrown
      }
      expect(() => loose(keyspace.iter(), method, visit)).toThrow(thrown)
    }
    await db.close()
  })
})

describe('snapshots, batches and handles', () => {
  test('snapshots: closed, of another database, twice', async () => {
    const [db, other] = [scratchDatabase(), scratchDatabase()]
    const keyspace = db.keyspaceSync('k')
    const snapshot = db.snapshot()
    const foreign = other.snapshot()
    const read = (held: unknown) => () => loose(keyspace, 'getSync', 'key', { snapshot: held })
    expect((await failure(read(foreign))).code).toBe('INVALID_ARGUMENT')
    expect((await failure(read({ seqno: 1 }))).code).toBe('INVALID_ARGUMENT')
    snapshot.close()
    snapshot.close()
    expect((await failure(read(snapshot))).code).toBe('SNAPSHOT_CLOSED')
    await Promise.all([db.close(), other.close()])
  })

  test('batches: foreign keyspaces, use while pending, an empty commit', async () => {
    const [db, other] = [scratchDatabase(), scratchDatabase()]
    const keyspace = db.keyspaceSync('k')
    const batch = db.batch()
    for (const bad of [other.keyspaceSync('k'), {}, undefined, 'k']) {
      expect((await failure(() => loose(batch, 'insert', bad, 'key', 'v'))).code).toBe(
        'INVALID_ARGUMENT',
      )
    }
    expect(batch.length).toBe(0)
    const before = db.seqno
    await batch.commit()
    batch.commitSync()
    expect(db.seqno).toBe(before)
    batch.insert(keyspace, 'key', 'v')
    const pending = batch.commit({ durability: 'sync' })
    expect((await failure(() => batch.insert(keyspace, 'x', 'y'))).code).toBe('INVALID_ARGUMENT')
    expect((await rejection(() => batch.commit())).code).toBe('INVALID_ARGUMENT')
    expect((await failure(() => batch.clear())).code).toBe('INVALID_ARGUMENT')
    await pending
    expect(batch.length).toBe(0)
    expect(keyspace.lenSync()).toBe(1)
    await Promise.all([db.close(), other.close()])
    expect((await failure(() => batch.commitSync())).code).toBe('DB_CLOSED')
  })

  test('nothing can be constructed', async () => {
    const types = [Database, Keyspace, WriteBatch, Snapshot, Ingestion, EntryRange, Cursor, Tree]
    for (const type of types) {
      const construct = () => Reflect.construct(type as never, []) as unknown
      expect((await failure(construct)).code, type.name).toBe('INVALID_ARGUMENT')
    }
  })

  test('every method and getter on the wrong object', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    const objects = [
      db,
      keyspace,
      db.batch(),
      db.snapshot(),
      keyspace.iter(),
      keyspace.iter().cursor(),
      keyspace.startIngestionSync(),
      db.compactor,
    ]
    for (const object of objects) {
      const prototype = Object.getPrototypeOf(object) as object
      for (const name of Reflect.ownKeys(prototype)) {
        if (name === 'constructor') continue
        const { value, get } = Object.getOwnPropertyDescriptor(prototype, name) ?? {}
        for (const receiver of [
          {},
          undefined,
          new Map(),
          objects[objects.indexOf(object) ? 0 : 1],
        ]) {
          const call = () => ((get ?? value) as Call).call(receiver as never)
          expect((await failure(call)).code, String(name)).toBe('INVALID_ARGUMENT')
        }
      }
    }
    await db.close()
  })

  test('handles are not cloned', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    const tree = openTreeSync(join(scratchDirectory(), 'tree'))
    const range = keyspace.iter()
    const handles = [
      [db, keyspace, tree, db.compactor, db.batch()],
      [db.snapshot(), range, range.cursor(), keyspace.startIngestionSync()],
    ]
    for (const handle of handles.flat()) {
      const clone = () => structuredClone(handle) as unknown
      expect(clone, handle.constructor.name).toThrow(
        expect.objectContaining({ name: 'DataCloneError' }),
      )
    }
    tree.closeSync()
    await db.close()
  })
})

describe('signals', () => {
  test('fired before, fired meanwhile', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    const fired = AbortSignal.abort()
    for (const method of ['get', 'getText', 'containsKey', 'sizeOf']) {
      const read = () => loose(keyspace, method, 'key', { signal: fired })
      expect((await rejection(read)).code).toBe('ABORTED')
    }
    expect((await failure(() => keyspace.iter({ signal: fired }))).code).toBe('ABORTED')
    const controller = new AbortController()
    const range = keyspace.iter({ signal: controller.signal })
    controller.abort()
    expect((await rejection(() => range.toArray())).code).toBe('ABORTED')
    await db.close()
  })
})

describe('trees', () => {
  test('seqnos', async () => {
    const tree = openTreeSync(join(scratchDirectory(), 'tree'))
    for (const seqno of [-1, 1.5, NaN, Infinity, 2 ** 53, 5n, '5', undefined, null]) {
      for (const call of [
        () => loose(tree, 'insertSync', 'key', 'v', seqno),
        () => loose(tree, 'removeSync', 'key', seqno),
        () => loose(tree, 'getSync', 'key', seqno),
        () => loose(tree, 'setGcSeqno', seqno),
        () => loose(tree, 'iter', seqno),
        () => loose(tree, 'lenSync', seqno),
        () => loose(tree, 'startIngestionSync', seqno),
      ]) {
        expect((await failure(call)).code).toBe('INVALID_ARGUMENT')
      }
      expect((await rejection(() => loose(tree, 'get', 'key', seqno))).code).toBe(
        'INVALID_ARGUMENT',
      )
    }
    tree.insertSync('key', 'v', 10)
    tree.rotateMemtable()
    expect((await failure(() => tree.insertSync('key', 'w', 9))).code).toBe('INVALID_ARGUMENT')
    tree.insertSync('key', 'w', 10)
    tree.setGcSeqno(5)
    expect(
      (
        await failure(() => {
          tree.setGcSeqno(4)
        })
      ).code,
    ).toBe('INVALID_ARGUMENT')
    expect(tree.gcSeqno).toBe(5)
    tree.closeSync()
  })

  test('plans', async () => {
    const tree = openTreeSync(join(scratchDirectory(), 'tree'))
    tree.insertSync('key', 'v', 1)
    tree.flushSync()
    for (const plan of [
      undefined,
      {},
      { kind: 'merge' },
      { kind: 'merge', tables: [], destinationLevel: 1, targetSize: 4096 },
      { kind: 'move', tables: [1], destinationLevel: 7 },
      { kind: 'explode', tables: [1] },
    ]) {
      expect((await failure(() => loose(tree, 'compactSync', plan))).code).toBe('INVALID_ARGUMENT')
    }
    const gone = { kind: 'move', tables: [999_999], destinationLevel: 1 } as const
    expect(
      (
        await failure(() => {
          tree.compactSync(gone)
        })
      ).code,
    ).toBe('PLAN_STALE')
    expect((await rejection(() => tree.compact(gone))).code).toBe('PLAN_STALE')
    tree.closeSync()
  })
})

describe('after close', () => {
  test('every method says DB_CLOSED, close and dispose do nothing', async () => {
    const db = scratchDatabase()
    const keyspace = db.keyspaceSync('k')
    const range = keyspace.iter()
    const batch = db.batch().insert(keyspace, 'key', 'v')
    const snapshot = db.snapshot()
    const ingestion = keyspace.startIngestionSync()
    ingestion.write('key', 'v')
    const closing = db.close()
    expect(db.close()).toBe(closing)
    expect(db.status).toBe('closing')
    expect(snapshot.closed).toBe(true)
    await closing
    db.closeSync()
    expect(db.status).toBe('closed')
    expect(snapshot.closed).toBe(true)
    const calls: [object, string, ...unknown[]][] = [
      [db, 'keyspace', 'k'],
      [db, 'batch'],
      [db, 'snapshot'],
      [db, 'persist'],
      [db, 'listKeyspaceNames'],
      [db, 'diskSpace'],
      [batch, 'commit'],
      [batch, 'insert', keyspace, 'key', 'v'],
      [batch, 'remove', keyspace, 'key'],
      [batch, 'clear'],
      [keyspace, 'insert', 'key', 'v'],
      [keyspace, 'remove', 'key'],
      [keyspace, 'get', 'key'],
      [keyspace, 'getText', 'key'],
      [keyspace, 'getMany', ['key']],
      [keyspace, 'sizeOf', 'key'],
      [keyspace, 'len'],
      [keyspace, 'firstKeyValue'],
      [keyspace, 'rotateMemtableAndWait'],
      [keyspace, 'majorCompaction'],
      [keyspace, 'startIngestion'],
      [keyspace, 'startIngestionSync'],
      [ingestion, 'write', 'l', 'v'],
      [ingestion, 'writeTombstone', 'l'],
      [ingestion, 'writeWeakTombstone', 'l'],
      [ingestion, 'finish'],
      [ingestion, 'finishSync'],
      [keyspace, 'iter'],
      [keyspace, 'range', {}],
      [keyspace, 'prefix', 'k'],
      [range, 'toArray'],
      [range, 'toArraySync'],
      [keyspace, 'insertSync', 'key', 'v'],
      [keyspace, 'getSync', 'key'],
      [keyspace, 'lenSync'],
      [keyspace, 'tableCount'],
    ]
    for (const [target, method, ...args] of calls) {
      expect((await failure(() => loose(target, method, ...args))).code, method).toBe('DB_CLOSED')
    }
  })
})
