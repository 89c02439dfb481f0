// Memory that crosses the border: changed, detached, shared or shrunk by its owner.

import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { join } from 'node:path'
import { MAX_SEQNO } from '../../../../dist/esm/index.js'
import { failureOf, key, main, openDatabase, openTree } from '../../../support/scenario.mjs'

async function withKeyspace(directory, use) {
  const db = await openDatabase(join(directory, 'db'))
  await use(await db.keyspace('k'), db)
  await db.close()
}

const detached = () => {
  const bytes = Buffer.from(new ArrayBuffer(16))
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  return bytes
}

/** Tries to take memory away; runtimes refuse, each in its words, where Node 20 copies. */
function transfer(memory) {
  try {
    structuredClone(memory, { transfer: [memory] })
  } catch (error) {
    assert.match(error.name, /^(DataCloneError|TypeError)$/)
  }
}

/** What was passed is copied before the call returns: later changes and transfers do nothing. */
async function changedAfterCall(directory) {
  await withKeyspace(directory, async (keyspace, db) => {
    const writes = []
    for (const size of [10, 3000, 300_000]) {
      for (const durability of ['buffered', 'os', 'sync']) {
        const k = Buffer.from(`${durability}${size}`)
        const v = Buffer.from(new ArrayBuffer(size)).fill('v')
        writes.push(keyspace.insert(k, v, { durability }))
        k.fill(0)
        structuredClone(v.buffer, { transfer: [v.buffer] })
        assert.equal(v.length, 0)
      }
    }
    const batchKey = Buffer.from('batch')
    const batch = db.batch().insert(keyspace, batchKey, batchKey)
    writes.push(batch.commit({ durability: 'sync' }))
    batchKey.fill(0)
    await Promise.all(writes)
    for (const size of [10, 3000, 300_000]) {
      for (const durability of ['buffered', 'os', 'sync']) {
        const found = keyspace.getSync(`${durability}${size}`)
        assert(found?.equals(Buffer.alloc(size, 'v')), `${durability} ${size}`)
      }
    }
    assert.equal(keyspace.getTextSync('batch'), 'batch')

    await keyspace.rotateMemtableAndWait()
    const wanted = Buffer.from('os3000')
    const read = keyspace.get(wanted)
    const many = keyspace.getMany([wanted, wanted])
    wanted.fill(0)
    assert.equal((await read)?.length, 3000)
    assert.deepEqual(
      (await many).map((v) => v?.length),
      [3000, 3000],
    )
  })
}

async function detachedArguments(directory) {
  await withKeyspace(directory, async (keyspace) => {
    const calls = [
      () => keyspace.insertSync(detached(), 'v'),
      () => keyspace.insert(detached(), 'v'),
      () => keyspace.getSync(detached()),
      () => keyspace.get(detached()),
      () => keyspace.getManySync(['a', detached()]),
      () => keyspace.removeSync(detached()),
    ]
    for (const call of calls)
      assert.equal(await failureOf(call, false), 'INVALID_KEY', String(call))
    assert.equal(await failureOf(() => keyspace.insertSync('k', detached())), 'INVALID_VALUE')
    assert.equal(await failureOf(() => keyspace.insert('k', detached()), true), 'INVALID_VALUE')
    assert.equal(keyspace.lenSync(), 0)
    keyspace.insertSync('k', Buffer.alloc(0))
    assert.equal(keyspace.getIntoSync('k', detached()), 0)
    keyspace.insertSync('k', 'value')
    assert.equal(keyspace.getIntoSync('k', detached()), 5)
  })
}

async function sharedAndResizable(directory) {
  await withKeyspace(directory, async (keyspace) => {
    const shared = new Uint8Array(new SharedArrayBuffer(64)).fill(120)
    keyspace.insertSync(shared, shared)
    await keyspace.insert(shared.subarray(1), shared)
    assert.equal(keyspace.getSync(shared).length, 64)
    assert.equal(keyspace.getTextSync('x'.repeat(63)), 'x'.repeat(64))
    const target = new Uint8Array(new SharedArrayBuffer(64))
    assert.equal(keyspace.getIntoSync(shared, target), 64)
    assert.equal(Buffer.from(target).toString(), 'x'.repeat(64))

    const growing = new ArrayBuffer(32, { maxByteLength: 128 })
    const tracking = new Uint8Array(growing).fill(121)
    const fixed = new Uint8Array(growing, 8, 24)
    keyspace.insertSync(tracking, fixed)
    growing.resize(16)
    assert.equal(keyspace.getSync(tracking), undefined)
    assert.equal(await failureOf(() => keyspace.getSync(fixed)), 'INVALID_KEY')
    growing.resize(0)
    assert.equal(await failureOf(() => keyspace.getSync(tracking)), 'INVALID_KEY')
    growing.resize(128)
    assert.equal(keyspace.getSync(Buffer.alloc(32, 121)).length, 24)
  })
}

/** The native length of a view counts, not what a subclass says. */
async function lyingViews(directory) {
  await withKeyspace(directory, async (keyspace) => {
    class Liar extends Uint8Array {
      get length() {
        return 1 << 30
      }
      get byteLength() {
        return 1 << 30
      }
      get buffer() {
        throw new Error('not to be asked')
      }
    }
    const liar = new Liar([97, 98, 99])
    keyspace.insertSync(liar, liar)
    assert.equal(keyspace.getTextSync('abc'), 'abc')
    assert.equal(await failureOf(() => keyspace.getSync(new Proxy(liar, {}))), 'INVALID_KEY')
    for (const bad of [new DataView(new ArrayBuffer(8)), new Float64Array(1), new ArrayBuffer(8)]) {
      assert.equal(await failureOf(() => keyspace.getSync(bad)), 'INVALID_KEY')
      assert.equal(await failureOf(() => keyspace.insertSync('k', bad)), 'INVALID_VALUE')
    }
  })
}

/** Results are the caller's; the memory behind them cannot be taken from under the engine. */
async function resultsTransferred(directory) {
  await withKeyspace(directory, async (keyspace) => {
    for (let i = 0; i < 100; i++) keyspace.insertSync(key(i), `value ${i}`)
    const first = keyspace.getSync(key(0))
    transfer(first.buffer)
    assert.equal(first.toString(), 'value 0')
    for (let i = 0; i < 100; i++) assert.equal(keyspace.getTextSync(key(i)), `value ${i}`)
    const rows = keyspace.iter().toArraySync()
    transfer(rows[50][0].buffer)
    rows[0][1].fill(0)
    first.fill(0)
    for (let i = 0; i < 100; i++) assert.equal(keyspace.getSync(key(i)).toString(), `value ${i}`)
  })
}

/** User code that runs inside a call must not disturb it. */
async function reentrancy(directory) {
  await withKeyspace(directory, async (keyspace) => {
    for (let i = 0; i < 500; i++) keyspace.insertSync(key(i), `value ${i}`)
    let visited = 0
    keyspace.iter().forEachSync((k) => {
      keyspace.insertSync(`inner ${visited}`, k)
      assert.equal(keyspace.getTextSync(key(visited)), `value ${visited}`)
      visited++
    })
    assert.equal(visited, 500)
    let asked = 0
    // A polluted prototype is the one way to run code inside the resolving of a promise.
    // oxlint-disable-next-line no-extend-native, unicorn/no-thenable
    Object.defineProperty(Object.prototype, 'then', {
      configurable: true,
      get() {
        if (Buffer.isBuffer(this)) {
          asked++
          assert.equal(keyspace.getTextSync(key(7)), 'value 7')
        }
        return undefined
      },
    })
    await keyspace.rotateMemtableAndWait()
    const reads = await Promise.all(Array.from({ length: 50 }, (_, i) => keyspace.get(key(i))))
    delete Object.prototype.then
    reads.forEach((v, i) => assert.equal(String(v), `value ${i}`))
    assert(asked > 0)
  })
}

async function asyncContext(directory) {
  const storage = new AsyncLocalStorage()
  await withKeyspace(directory, async (keyspace) => {
    for (let i = 0; i < 200; i++) keyspace.insertSync(key(i), `value ${i}`)
    await keyspace.rotateMemtableAndWait()
    await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        storage.run(i, async () => {
          await keyspace.get(key(i))
          assert.equal(storage.getStore(), i)
          await keyspace.insert(key(i), 'x', { durability: 'sync' })
          assert.equal(storage.getStore(), i)
        }),
      ),
    )
  })
}

/** Sizes around every threshold of the border: slab, own memory, fills. */
async function sizes(directory) {
  await withKeyspace(directory, async (keyspace) => {
    const edges = [0, 1, 7, 8, 100, 4095, 4096, 4097, 65_535, 65_536, 70_000, 300_000, 5_000_000]
    const check = async () => {
      for (const size of edges) {
        const wanted = Buffer.alloc(size, size % 251)
        const k = `size ${size}`
        assert(keyspace.getSync(k).equals(wanted), `getSync ${size}`)
        assert((await keyspace.get(k)).equals(wanted), `get ${size}`)
        assert.equal(keyspace.sizeOfSync(k), size)
        assert.equal(await keyspace.sizeOf(k), size)
        const target = Buffer.alloc(size + 3)
        assert.equal(keyspace.getIntoSync(k, target, 3), size)
        assert(target.subarray(3).equals(wanted), `getInto ${size}`)
        if (size > 0) assert.equal(keyspace.getIntoSync(k, target, 4), size)
      }
      const keys = edges.map((size) => `size ${size}`)
      const lengths = (found) => found.map((v) => v.length)
      assert.deepEqual(lengths(keyspace.getManySync(keys)), edges)
      assert.deepEqual(lengths(await keyspace.getMany(keys)), edges)
      const rows = new Map(
        keyspace
          .iter()
          .toArraySync()
          .map(([k, v]) => [k.toString(), v]),
      )
      const asyncRows = new Map(
        (await keyspace.iter().toArray()).map(([k, v]) => [k.toString(), v]),
      )
      for (const size of edges) {
        assert(rows.get(`size ${size}`).equals(Buffer.alloc(size, size % 251)), `row ${size}`)
        assert(asyncRows.get(`size ${size}`).equals(Buffer.alloc(size, size % 251)))
      }
    }
    for (const size of edges) keyspace.insertSync(`size ${size}`, Buffer.alloc(size, size % 251))
    await check()
    await keyspace.rotateMemtableAndWait()
    await check()
    const longKey = 'k'.repeat(65_535)
    keyspace.insertSync(longKey, 'long')
    assert.equal(keyspace.getTextSync(longKey), 'long')
    assert.equal(await failureOf(() => keyspace.getSync(`${longKey}x`)), 'KEY_TOO_LARGE')
  })
}

/** Strings of every width, at the lengths where the conversion changes its way. */
async function strings(directory) {
  await withKeyspace(directory, async (keyspace) => {
    const alphabets = ['a', 'ä', '€', '😀', 'aä', 'a😀']
    for (const letters of alphabets) {
      for (const times of [1, 2, 3, 7, 8, 9, 62, 63, 64, 65, 126, 127, 128, 129, 1000, 12_000]) {
        const text = letters.repeat(times)
        keyspace.insertSync(text, text)
        assert.equal(keyspace.getTextSync(Buffer.from(text)), text)
        assert(keyspace.getSync(text).equals(Buffer.from(text)))
        assert.equal(await keyspace.getText(text), text)
      }
    }
    for (const bad of [
      '\ud800',
      'a\udfff',
      '\ud800a',
      'x'.repeat(200) + '\udc00',
      '\ud83d\ud83d',
    ]) {
      assert.equal(await failureOf(() => keyspace.insertSync(bad, 'v')), 'INVALID_KEY')
      assert.equal(await failureOf(() => keyspace.insertSync('k', bad)), 'INVALID_VALUE')
      assert.equal(await failureOf(() => keyspace.get(bad), true), 'INVALID_KEY')
    }
  })
}

async function treeValues(directory) {
  const tree = await openTree(join(directory, 'tree'))
  const k = Buffer.from('key')
  const v = Buffer.from('value')
  tree.insertSync(k, v, 1)
  k.fill(0)
  v.fill(0)
  assert.equal(tree.getTextSync('key', MAX_SEQNO), 'value')
  assert.equal(await failureOf(() => tree.insertSync(detached(), 'v', 2)), 'INVALID_KEY')
  assert.equal(await failureOf(() => tree.insertSync('k', detached(), 2)), 'INVALID_VALUE')
  await tree.close()
}

await main({
  changedAfterCall,
  detachedArguments,
  sharedAndResizable,
  lyingViews,
  resultsTransferred,
  reentrancy,
  asyncContext,
  sizes,
  strings,
  treeValues,
})
