// Writes the golden files of format version 1: directories that every later version must read. They
// are written once; this refuses to write over them.
//
//   node test/golden/write.mjs        (after a build)
//
// Per engine: `database` was closed; `crashed` was copied while it was open, with a torn tail;
// `grown` has two generations of its manifest; `tree` is a bare tree. expected.json says what is in them, from the model beside the writes.

import { createHash } from 'node:crypto'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Database, Tree } from '../../dist/esm/index.js'

const root = fileURLToPath(new URL('v1', import.meta.url))
if (existsSync(root)) throw new Error(`${root} exists: golden files are written once`)
const scratch = mkdtempSync(join(tmpdir(), 'shale-golden-'))

const KEYSPACES = {
  plain: { compression: 'none', filter: { falsePositiveRate: 0.01 } },
  packed: { compression: 'lz4', indexCompression: 'lz4', dataBlockSize: 512 },
  tight: { compression: 'zstd', filter: { bitsPerKey: 7.5 } },
  dense: {
    dataBlockSize: 256,
    restartInterval: 1,
    hashIndexRatio: 1.5,
    partitionIndex: true,
    partitionFilter: true,
  },
  bare: { filter: 'none', restartInterval: 16, durability: 'sync' },
}

const keyOf = (i) => `key ${String((i * 37) % 1000).padStart(4, '0')}`
const valueOf = (name, i) => (i % 100 === 0 ? `${name} ${i} `.repeat(500) : `${name} ${i}`)

/** What a keyspace holds, as one hash over its entries in order. */
function contentsOf(model) {
  const hash = createHash('sha256')
  for (const [key, value] of [...model].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`${key}\0${value}\0`)
  }
  return { entries: model.size, sha256: hash.digest('hex') }
}

function filesOf(directory) {
  const hashes = readdirSync(directory)
    .toSorted()
    .map((name) => {
      const bytes = readFileSync(join(directory, name))
      return [name, createHash('sha256').update(bytes).digest('hex')]
    })
  return Object.fromEntries(hashes)
}

/** A copy without the lock, which names a process of the machine that wrote it. */
function keep(from, name) {
  const to = join(root, name)
  mkdirSync(to, { recursive: true })
  for (const file of readdirSync(from)) {
    if (!file.startsWith('lock')) cpSync(join(from, file), join(to, file))
  }
  return to
}

function write(model, keyspace, i) {
  const key = keyOf(i)
  if (i % 7 === 3) {
    keyspace.removeSync(key)
    model.delete(key)
  } else {
    const value = valueOf(keyspace.name, i)
    keyspace.insertSync(key, value)
    model.set(key, value)
  }
}

async function fill(db, models) {
  const opened = Object.entries(KEYSPACES).map(([name, options]) => db.keyspaceSync(name, options))
  for (const keyspace of opened) {
    const model = models[keyspace.name]
    for (let i = 0; i < 300; i++) write(model, keyspace, i)
    keyspace.insertSync('weak', 'once')
    await keyspace.rotateMemtableAndWait()
    await keyspace.majorCompaction()
    // Tables with several versions of a key, and tombstones above a compacted level.
    const snapshot = db.snapshot()
    for (let i = 200; i < 380; i++) write(model, keyspace, i)
    keyspace.removeWeakSync('weak')
    await keyspace.rotateMemtableAndWait()
    snapshot.close()
  }
  return opened
}

async function writeDatabase(engine) {
  const path = join(scratch, `${engine}-database`)
  const models = Object.fromEntries(Object.keys(KEYSPACES).map((name) => [name, new Map()]))
  const db = await Database.open(path, { engine })
  await db.compactor.pause()
  const opened = await fill(db, models)
  for (const keyspace of opened) {
    for (let i = 380; i < 400; i++) write(models[keyspace.name], keyspace, i)
  }
  await db.close()
  return describe(engine, 'database', keep(path, `${engine}-database`), models)
}

async function writeCrashed(engine) {
  const path = join(scratch, `${engine}-crashed`)
  const models = Object.fromEntries(Object.keys(KEYSPACES).map((name) => [name, new Map()]))
  const db = await Database.open(path, { engine })
  await db.compactor.pause()
  const opened = await fill(db, models)
  // In the journal only: batches over keyspaces, large values compressed, a keyspace created late.
  for (let i = 400; i < 440; i++) {
    const batch = db.batch()
    for (const keyspace of opened) {
      const value = valueOf(keyspace.name, i)
      batch.insert(keyspace, keyOf(i), value)
      models[keyspace.name].set(keyOf(i), value)
    }
    batch.commitSync({ durability: i % 20 === 0 ? 'sync' : 'os' })
  }
  const late = db.keyspaceSync('late')
  models.late = new Map([['first', 'value']])
  late.insertSync('first', 'value')
  // Its record is torn below.
  late.insertSync('last', 'is lost')
  const copy = keep(path, `${engine}-crashed`)
  await db.close()
  const journals = readdirSync(copy).filter((name) => name.endsWith('.journal'))
  const newest = join(copy, journals.toSorted().at(-1))
  const bytes = readFileSync(newest)
  let end = bytes.length
  while (bytes[end - 1] === 0) end--
  truncateSync(newest, end - 3)
  return describe(engine, 'database', copy, models)
}

/** Its manifest has grown into a second generation; copied while the first one is still there. */
async function writeGrown(engine) {
  const path = join(scratch, `${engine}-grown`)
  const db = await Database.open(path, { engine })
  const models = { k: new Map([['key', 'value']]) }
  const manifests = () => readdirSync(path).filter((name) => name.endsWith('.manifest')).length
  for (let i = 0; manifests() < 2; i++) db.keyspaceSync('k', { maxMemtableSize: 100_000 + i })
  db.keyspaceSync('k').insertSync('key', 'value')
  const copy = keep(path, `${engine}-grown`)
  await db.close()
  return describe(engine, 'database', copy, models)
}

async function writeTree(engine) {
  const path = join(scratch, `${engine}-tree`)
  const tree = await Tree.open(path, { engine, dataBlockSize: 512, compression: ['none', 'lz4'] })
  const model = new Map()
  for (let i = 0; i < 400; i++) {
    const key = keyOf(i)
    if (i % 9 === 4) {
      tree.removeSync(key, i)
      model.delete(key)
    } else {
      tree.insertSync(key, valueOf('tree', i), i)
      model.set(key, valueOf('tree', i))
    }
    if (i % 100 === 99) tree.flushSync()
    if (i === 299) tree.majorCompactionSync()
  }
  tree.setGcSeqno(300)
  await tree.close()
  return describe(engine, 'tree', keep(path, `${engine}-tree`), { '': model })
}

function describe(engine, kind, directory, models) {
  const contents = Object.entries(models).map(([name, model]) => [name, contentsOf(model)])
  return { engine, kind, files: filesOf(directory), contents: Object.fromEntries(contents) }
}

const expected = {}
for (const engine of ['native', 'typescript']) {
  expected[`${engine}-database`] = await writeDatabase(engine)
  expected[`${engine}-crashed`] = await writeCrashed(engine)
  expected[`${engine}-grown`] = await writeGrown(engine)
  expected[`${engine}-tree`] = await writeTree(engine)
}
writeFileSync(join(root, 'expected.json'), `${JSON.stringify(expected, null, 2)}\n`)
rmSync(scratch, { recursive: true })
