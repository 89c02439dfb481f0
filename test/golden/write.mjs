// Wrote the golden files of format version 1: directories that every later version has to read as
// they are. They were made once. NEVER run this over files that exist: what it writes today is not
// what was written then, and that is what they are for. It refuses a directory that is there; a new
// format version gets a directory of its own.
//
//   npm run build:ts && node test/golden/write.mjs v2
//
// Beside each directory NAME stands NAME.txt: what has to be found in it, from the model that was
// written, and what recovery has to say. files.txt lists every file with its SHA-256.

import { createHash } from 'node:crypto'
import {
  copyFileSync,
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
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Database, LeveledCompaction, MAX_SEQNO, Tree } from '../../dist/esm/index.js'

const here = dirname(fileURLToPath(import.meta.url))
const version = process.argv[2] ?? ''
const target = join(here, version)
if (!/^v\d+$/.test(version) || existsSync(target)) {
  throw new Error(`usage: write.mjs vN, and there must be no ${target} yet`)
}
const work = mkdtempSync(join(tmpdir(), 'shale-golden-'))
mkdirSync(target)

/** Small keyspaces of every kind. */
const KEYSPACES = {
  plain: { compression: 'none', dataBlockSize: 500, filter: { bitsPerKey: 10 } },
  'lz4, hash index': {
    compression: 'lz4',
    hashIndexRatio: [1.33, 0.5],
    restartInterval: [3, 7],
    dataBlockSize: 1000,
    filter: { falsePositiveRate: 0.001 },
    memtable: 'skiplist',
  },
  'zstd, partitions': {
    compression: 'zstd',
    indexCompression: 'lz4',
    partitionIndex: true,
    partitionFilter: true,
    dataBlockSize: 200,
    filter: [{ bitsPerKey: 3.3 }, { bitsPerKey: 14 }],
  },
  'no filter': {
    compression: ['none', 'zstd', 'lz4'],
    indexCompression: 'zstd',
    filter: 'none',
    pinIndex: false,
    pinFilter: false,
    restartInterval: 1,
    expectPointReadHits: true,
  },
  'deep ünïcödé': {
    maxMemtableSize: 4096,
    dataBlockSize: [64, 300],
    restartInterval: 255,
    filter: ['none', { bitsPerKey: 100 }],
    compaction: new LeveledCompaction({ l0Threshold: 2, targetSize: 4096, levelRatio: [2, 3] }),
    durability: 'sync',
  },
  empty: {},
}

/** The same values for ever: a generator that no library changes. */
let state = 42
function below(limit) {
  state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
  return Math.floor((state / 2 ** 32) * limit)
}

const KEYS = 60

function keyOf(i) {
  if (i % 40 === 7) return Buffer.from([i, 0, 255, 255].slice(0, 1 + (i % 4)))
  if (i === 41) return Buffer.from(`key 041 ${'long '.repeat(60)}`)
  return Buffer.from(`key ${String(i).padStart(3, '0')}`)
}

function valueOf(i, round) {
  if (i % 30 === 11) return Buffer.alloc(4200, `large ${i} ${round} `)
  if (i % 9 === 5) return Buffer.alloc(0)
  return Buffer.from(`value ${i} of round ${round} `.repeat(1 + below(4)))
}

const digest = (bytes) => createHash('sha256').update(bytes).digest('hex')

/** One line an entry, in the order of the keys' bytes. */
function linesOf(contents) {
  return [...contents]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([hex, value]) => {
      const key = hex.length > 200 ? `${hex.slice(0, 40)}... ${digest(Buffer.from(hex))}` : hex
      return `${key} ${value.length} ${digest(value).slice(0, 16)}`
    })
}

/** Zeros behind the records of a log that are kept: a writer may have reserved a megabyte. */
const RESERVE = 512

/** A flat copy, without the lock, which names this process. */
function copy(from, to) {
  mkdirSync(to, { recursive: true })
  for (const name of readdirSync(from)) {
    if (name.startsWith('lock')) continue
    copyFileSync(join(from, name), join(to, name))
    if (!/\.(journal|manifest)$/.test(name)) continue
    const log = readFileSync(join(to, name))
    truncateSync(join(to, name), Math.min(log.length, endOfRecords(log) + RESERVE))
  }
}

/** Where the records of a log begin, and where the last one ends: docs/format.md, 4.2. */
function recordsOf(log) {
  const begins = [32]
  for (let at = 32; at + 32 <= log.length && log[at + 8] !== 0;) {
    at += 32 + log.readUInt32LE(at + 4)
    begins.push(at)
  }
  return begins
}

const endOfRecords = (log) => recordsOf(log).at(-1)
const lastRecord = (log) => recordsOf(log).at(-2)

/** What opening a copy comes to. */
function recoveryOf(directory, options) {
  const scratch = join(work, 'recovery')
  copy(directory, scratch)
  try {
    const db = Database.openSync(scratch, options)
    const { commitsReplayed, bytesDropped, commitsDropped, files } = db.recovery
    const figures = [commitsReplayed, bytesDropped, commitsDropped].map(String).join(' ')
    db.closeSync()
    return `opened, ${figures} ${files.join(' ')}`.trim()
  } catch (error) {
    return `${error.code} ${basename(error.path)} ${error.offset}`
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

/** Puts a database in its place, with what has to be found in it. */
function keepDatabase(name, engine, directory, model, optionsOf) {
  copy(directory, join(target, name))
  const lines = ['tail', 'strict', 'salvage'].map(
    (recovery) => `${recovery}: ${recoveryOf(directory, { engine, recovery })}`,
  )
  for (const [keyspace, contents] of model) {
    lines.push(`keyspace ${keyspace}`, `options ${optionsOf(keyspace)}`, ...linesOf(contents))
  }
  writeFileSync(join(target, `${name}.txt`), `${lines.join('\n')}\n`)
}

/** A database with what has to be in it. */
class Written {
  #db
  #options
  model

  constructor(db, options) {
    this.#db = db
    this.#options = options
    const names = Object.keys(options).map((name) => Buffer.from(name))
    this.model = new Map(names.toSorted(Buffer.compare).map((name) => [name.toString(), new Map()]))
  }

  keyspace(name) {
    return this.#db.keyspaceSync(name, this.#options[name])
  }

  optionsOf = (name) => JSON.stringify(this.keyspace(name).options)

  /** Writes all keys of a keyspace, ten a commit; every seventh is removed. */
  round(name, round) {
    const keyspace = this.keyspace(name)
    for (let i = 0; i < KEYS; i += 10) {
      const batch = this.#db.batch()
      for (let j = i; j < i + 10; j++) {
        if ((j + round) % 7 === 0) this.#remove(batch, keyspace, keyOf(j))
        else this.#insert(batch, keyspace, keyOf(j), valueOf(j, round))
      }
      // Written once, and removed weakly in the next round.
      this.#insert(batch, keyspace, Buffer.from(`once ${i} ${round}`), valueOf(i, round))
      if (round > 0) this.#remove(batch, keyspace, Buffer.from(`once ${i} ${round - 1}`), 'weakly')
      batch.commitSync()
    }
  }

  #insert(batch, keyspace, key, value) {
    batch.insert(keyspace, key, value)
    this.model.get(keyspace.name).set(key.toString('hex'), value)
  }

  #remove(batch, keyspace, key, weakly) {
    if (weakly) batch.removeWeak(keyspace, key)
    else batch.remove(keyspace, key)
    this.model.get(keyspace.name).delete(key.toString('hex'))
  }
}

const USED = Object.keys(KEYSPACES).filter((name) => name !== 'empty')

/** Every kind of keyspace, in tables of several levels, with versions that snapshots held. */
async function writeDatabase(engine) {
  const directory = join(work, `${engine}-database`)
  const db = await Database.open(directory, { engine, journalCompression: 'zstd' })
  const written = new Written(db, KEYSPACES)
  written.keyspace('empty')
  const snapshots = []
  for (let round = 0; round < 3; round++) {
    snapshots.push(db.snapshot())
    for (const name of USED) {
      written.round(name, round)
      written.keyspace(name).rotateMemtableAndWaitSync()
      if (round === 1) written.keyspace(name).majorCompactionSync({ targetSize: 8192 })
    }
  }
  const { optionsOf } = written
  const options = new Map([...written.model.keys()].map((name) => [name, optionsOf(name)]))
  await db.compactor.pause()
  await db.close()
  keepDatabase(`${engine}-database`, engine, directory, written.model, (name) => options.get(name))
}

/** What a killed process leaves: commits that are in the journal only, the last one torn. */
async function writeJournal(engine) {
  const directory = join(work, `${engine}-journal`)
  const db = await Database.open(directory, {
    engine,
    journalCompression: 'lz4',
    syncInterval: 0,
    maxJournalSize: 2 ** 20,
  })
  const names = ['lz4, hash index', 'plain']
  const written = new Written(db, Object.fromEntries(names.map((name) => [name, KEYSPACES[name]])))
  written.round('plain', 0)
  db.persistSync()
  written.keyspace('plain').rotateMemtableAndWaitSync()
  for (const name of names) written.round(name, 1)
  db.persistSync()
  // The witness of the sync comes with the next append.
  for (const name of names) written.round(name, 2)
  const torn = join(work, `${engine}-torn`)
  const options = new Map(names.map((name) => [name, written.optionsOf(name)]))
  db.batch().insert(written.keyspace('plain'), 'torn', 'off'.repeat(20)).commitSync()
  copy(directory, torn)
  const journals = readdirSync(torn).filter((name) => name.endsWith('.journal'))
  const journal = join(torn, journals.at(-1))
  truncateSync(journal, lastRecord(readFileSync(journal)) + 50)
  await db.close()
  keepDatabase(`${engine}-journal`, engine, torn, written.model, (name) => options.get(name))
}

/**
 * Two generations of the manifest: the last edit of the first one has no witness, so that an opener
 * goes over to another one and leaves the first where it is.
 */
async function writeGenerations(engine) {
  const directory = join(work, `${engine}-generations`)
  const first = await Database.open(directory, { engine })
  const written = new Written(first, { plain: KEYSPACES.plain })
  written.round('plain', 0)
  await first.close()
  const manifest = join(
    directory,
    readdirSync(directory).find((name) => name.endsWith('manifest')),
  )
  truncateSync(manifest, lastRecord(readFileSync(manifest)))
  const second = await Database.open(directory, { engine })
  const options = JSON.stringify(second.keyspaceSync('plain').options)
  const both = join(work, `${engine}-both`)
  copy(directory, both)
  await second.close()
  const manifests = readdirSync(both).filter((name) => name.endsWith('.manifest'))
  if (manifests.length !== 2) throw new Error(`${engine} has ${manifests.length} manifests`)
  keepDatabase(`${engine}-generations`, engine, both, written.model, () => options)
}

/** A bare tree that keeps what reads at its gc seqno and above need. */
async function writeTree(engine) {
  const name = `${engine}-tree`
  const directory = join(work, name)
  const tree = await Tree.open(directory, {
    ...KEYSPACES['zstd, partitions'],
    compression: ['none', 'lz4', 'zstd'],
    engine,
  })
  const written = new Map()
  for (let seqno = 1; seqno <= 400; seqno++) {
    const i = below(KEYS)
    const value = below(5) === 0 ? undefined : valueOf(i, seqno)
    if (value === undefined) tree.removeSync(keyOf(i), seqno)
    else tree.insertSync(keyOf(i), value, seqno)
    const versions = written.get(keyOf(i).toString('hex')) ?? []
    written.set(keyOf(i).toString('hex'), [...versions, [seqno, value]])
    if (seqno % 80 === 0) tree.flushSync()
    if (seqno === 200) tree.setGcSeqno(150)
    if (seqno === 240) tree.majorCompactionSync({ targetSize: 20_000 })
  }
  const lines = [`gc seqno ${tree.gcSeqno}`, `highest seqno ${tree.highestSeqno}`]
  await tree.close()
  for (const seqno of [150, 151, 240, 333, MAX_SEQNO]) {
    const contents = new Map()
    for (const [key, versions] of written) {
      const value = versions.findLast(([at]) => at < seqno)?.[1]
      if (value !== undefined) contents.set(key, value)
    }
    lines.push(`at ${seqno}`, ...linesOf(contents))
  }
  copy(directory, join(target, name))
  writeFileSync(join(target, `${name}.txt`), `${lines.join('\n')}\n`)
}

try {
  for (const engine of ['native', 'typescript']) {
    for (const write of [writeDatabase, writeJournal, writeGenerations, writeTree]) {
      await write(engine)
    }
  }
  const files = readdirSync(target, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(target, join(entry.path, entry.name)))
    .toSorted()
  const sums = files.map((name) => `${digest(readFileSync(join(target, name)))}  ${name}\n`)
  writeFileSync(join(target, 'files.txt'), sums.join(''))
} finally {
  rmSync(work, { recursive: true })
}
