// What is dropped without close is given back by the collector. Run with --expose-gc.

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { MAX_SEQNO } from '../../../../dist/esm/index.js'
import {
  codeOf,
  collectUntil,
  key,
  main,
  openDatabase,
  openTree,
  value,
} from '../../../support/scenario.mjs'

/** Other options than before: refused with DB_LOCKED while the core of this process is open. */
const OTHER = { cacheSize: 77_777_777 }

/** True once nothing of this process has the directory open. */
async function canReopen(path) {
  try {
    await (await openDatabase(path, OTHER)).close()
    return true
  } catch (error) {
    assert.equal(error.code, 'DB_LOCKED')
    assert.equal(error.sameProcess, true)
    assert.equal(error.pid, process.pid)
    return false
  }
}

async function database(directory) {
  const path = join(directory, 'db')
  const use = async () => {
    const db = await openDatabase(path)
    const keyspace = await db.keyspace('k')
    keyspace.insertSync('a', '1')
    db.snapshot()
    keyspace.iter()[Symbol.iterator]().next()
    return keyspace.get('a')
  }
  assert.equal(String(await use()), '1')
  await collectUntil(() => canReopen(path))
  const db = await openDatabase(path)
  assert.equal((await db.keyspace('k')).getTextSync('a'), '1')
  await db.close()
}

/** A keyspace, a range or a pending call keeps its database open. */
async function keptOpen(directory) {
  const path = join(directory, 'db')
  let keyspace = await openDatabase(path).then((db) => db.keyspace('k'))
  for (let i = 0; i < 10; i++) {
    globalThis.gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
  keyspace.insertSync('a', '1')
  assert.equal(await canReopen(path), false)
  let writes = Array.from({ length: 100 }, (_, i) =>
    keyspace.insert(key(i), value(i), { durability: 'sync' }),
  )
  keyspace = undefined
  globalThis.gc()
  await Promise.all(writes)
  writes = undefined
  await collectUntil(() => canReopen(path))
}

/** Dropped iterators and snapshots let go of the super versions they pin. */
async function pins(directory) {
  const tree = await openTree(join(directory, 'tree'))
  const dropped = () => {
    for (let i = 0; i < 50; i++) {
      tree.insertSync(key(i), value(i), i + 1)
      const cursor = tree.iter(MAX_SEQNO).cursor()
      cursor.nextSync()
      tree.iter(MAX_SEQNO)[Symbol.iterator]().next()
      tree.flushSync()
    }
  }
  dropped()
  assert(tree.versionHistory().length > 10, 'the iterators pin their versions')
  await collectUntil(() => tree.versionHistory().length === 1)
  await tree.close()
}

/** Tables that only a dropped iterator still read are deleted with it. */
async function files(directory) {
  const path = join(directory, 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k')
  const tables = () => readdirSync(path).filter((name) => name.endsWith('.table')).length
  const dropped = async () => {
    for (let i = 0; i < 2000; i++) keyspace.insertSync(key(i), value(i))
    await keyspace.rotateMemtableAndWait()
    const iterator = keyspace.iter()[Symbol.iterator]()
    iterator.next()
    for (let i = 0; i < 2000; i++) keyspace.insertSync(key(i), value(i + 1))
    await keyspace.rotateMemtableAndWait()
    await keyspace.majorCompaction()
    let rest = 1
    while (!iterator.next().done) rest++
    assert.equal(rest, 2000)
    keyspace.iter()[Symbol.iterator]().next()
  }
  await dropped()
  await keyspace.majorCompaction()
  await collectUntil(() => tables() === 1)
  await db.close()
}

/** A dropped ingestion is rolled back; one that is being finished is not. */
async function ingestions(directory) {
  const path = join(directory, 'db')
  const db = await openDatabase(path)
  const keyspace = await db.keyspace('k')
  const tables = () => readdirSync(path).filter((name) => name.endsWith('.table')).length
  const dropped = () => {
    const ingestion = keyspace.startIngestionSync()
    for (let i = 0; i < 3000; i++) ingestion.write(key(i), value(i, 1000))
  }
  const finishing = () => {
    const ingestion = keyspace.startIngestionSync()
    for (let i = 0; i < 3000; i++) ingestion.write(key(i), value(i))
    return ingestion.finish()
  }
  dropped()
  await collectUntil(() => tables() === 0)
  const finished = finishing()
  globalThis.gc()
  assert.equal(await finished, 3000)
  assert.equal(keyspace.lenSync(), 3000)
  await db.close()
}

/** The collector running in the middle of everything: operations and iterations go on. */
async function underStress(directory) {
  const db = await openDatabase(join(directory, 'db'), { cacheSize: 1 << 20 })
  const keyspace = await db.keyspace('k', { maxMemtableSize: 64 * 1024 })
  for (let i = 0; i < 3000; i++) keyspace.insertSync(key(i), value(i, i % 2 ? 100 : 5000))
  for (let round = 0; round < 30; round++) {
    const pending = []
    for (let i = 0; i < 50; i++) {
      const at = (round * 811 + i * 37) % 3000
      pending.push(keyspace.get(key(at)).then((v) => assert.equal(String(v), value(at, v.length))))
      pending.push(keyspace.insert(key(at), value(at, 100 + (i % 3) * 4000)))
    }
    globalThis.gc()
    let seen = 0
    for (const [k, v] of keyspace.range({ gte: key(round * 10) })) {
      if (seen++ % 20 === 0) globalThis.gc()
      const at = Number(k.toString().slice(3))
      assert.equal(v.toString().split(':')[0], String(at))
      if (seen === 60) break
    }
    const iterator = keyspace.iter()[Symbol.asyncIterator]()
    pending.push(iterator.next())
    await Promise.all(pending)
  }
  await db.close()
}

/** Values stay what they were, however many slabs were used up since. */
async function retainedValues(directory) {
  const db = await openDatabase(join(directory, 'db'))
  const keyspace = await db.keyspace('k')
  const kept = []
  for (let i = 0; i < 20_000; i++) {
    const size = (i * 37) % 300
    keyspace.insertSync(key(i), Buffer.alloc(size, i))
    kept.push(i % 2 ? keyspace.getSync(key(i)) : await keyspace.get(key(i)))
    if (i % 5000 === 0) globalThis.gc()
  }
  for (let i = 0; i < 20_000; i++) keyspace.insertSync(key(i), 'overwritten')
  kept.forEach((found, i) => {
    assert(Buffer.isBuffer(found))
    assert(found.equals(Buffer.alloc((i * 37) % 300, i)), `value ${i} changed`)
  })
  await db.close()
}

/** Opening and closing again and again leaves no threads, files or handles behind. */
async function cycles(directory) {
  const count = (what) => readdirSync(`/proc/self/${what}`).length
  const once = async (i) => {
    const db = await openDatabase(join(directory, 'db'))
    const keyspace = await db.keyspace('k')
    await keyspace.insert(key(i), value(i))
    assert.equal(String(await keyspace.get(key(i))), value(i))
    if (i % 2) await db.close()
    else db.closeSync()
    const tree = await openTree(join(directory, 'tree'))
    tree.insertSync(key(i), value(i), i)
    await tree.flush()
    await tree.close()
  }
  await once(0)
  await once(1)
  const before = { fd: count('fd'), task: count('task') }
  for (let i = 2; i < 80; i++) await once(i)
  // An environment keeps up to 8 threads for calls that block, and a runtime some descriptors.
  await collectUntil(() => count('fd') <= before.fd + 8 && count('task') <= before.task + 8)
  assert.equal(
    await codeOf(openDatabase(join(directory, 'db')).then((db) => db.close())),
    undefined,
  )
}

await main({ database, keptOpen, pins, files, ingestions, underStress, retainedValues, cycles })
