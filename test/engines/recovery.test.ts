// Recovery of the same directory by both engines: directories as no writer leaves them as well,
// with damage drawn from a seed. Same commits, same report, same error.

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Database, ShaleError } from '../../lib/index.ts'
import type { DatabaseOptions, Engine } from '../../lib/index.ts'
import type { LogWriter } from '../../lib/typescript/journal/log-writer.ts'
import type { MemVfs } from '../../lib/typescript/vfs/mem-vfs.ts'
import { scaled, quickDirectory, testSeed } from '../support/scratch.ts'
import { readFile } from '../typescript/support/machine.ts'
import { Random } from '../typescript/support/random.ts'
import {
  batchBytes,
  changeFile,
  commits,
  entryBytes,
  filesOf,
  newDirectory,
  OPTIONS,
  synced,
} from '../typescript/support/recoveries.ts'
import type { DirectoryMaker } from '../typescript/support/recoveries.ts'

const ENGINES: readonly Engine[] = ['native', 'typescript']

interface Opened {
  readonly contents: unknown
  readonly recovery: unknown
  readonly bytes?: number
  readonly seqno?: number
}
interface Refused {
  readonly code: string
  readonly message: string
  readonly path: string | undefined
  readonly offset: number | undefined
  readonly keyspace: string | undefined
}

/** What came of opening a directory, without its path. */
function outcome(path: string, engine: Engine, options: DatabaseOptions): Opened | Refused {
  try {
    const db = Database.openSync(path, { ...options, engine })
    try {
      const contents = db.listKeyspaceNames().map((name) => {
        const rows = db.keyspaceSync(name).iter().toArraySync()
        return [name, rows.map(([key, value]) => `${key.toString()}=${value.toString()}`)]
      })
      const { bytesDropped: bytes, ...recovery } = db.recovery
      return { contents, recovery, bytes, seqno: db.seqno }
    } finally {
      db.closeSync()
    }
  } catch (error) {
    if (!(error instanceof ShaleError)) throw error
    const { code, message, offset, keyspace } = error
    return { code, message, path: error.path?.slice(path.length), offset, keyspace }
  }
}

/** Writes what a machine in memory has to a directory of this one. */
function exported(vfs: MemVfs, name: string): string {
  const path = join(quickDirectory(), name)
  mkdirSync(path)
  for (const file of vfs.list('/db').sync()) {
    writeFileSync(join(path, file), readFile(vfs, `/db/${file}`))
  }
  return path
}

/** Journals as writers leave them, and now and then as none does. */
class Specimen {
  readonly made: DirectoryMaker = newDirectory().keyspaces(['b', 'gone'])
  readonly #random: Random
  #journal: LogWriter
  #seqno: number
  /** Keyspaces that are there, or were. */
  readonly #deletable = [2, 3]

  constructor(random: Random) {
    this.#random = random
    this.made.edit({ treesDeleted: [3] })
    this.#seqno = 1 + random.below(3)
    this.#journal = this.made.journal()
    for (let steps = random.below(30); steps > 0; steps--) this.#step()
    for (let count = random.below(3); count > 0; count--) this.#damage()
  }

  #oneIn(count: number): boolean {
    return this.#random.below(count) === 0
  }

  #step(): void {
    const { made } = this
    const lot = this.#random.below(100)
    if (lot < 50) this.#commit()
    else if (lot < 65) synced(this.#journal)
    else if (lot < 70) commits(this.#journal, this.#seqno++, this.#seqno - 1, 3)
    else if (lot < 80) this.#rotate()
    else if (lot < 84) this.#create()
    else if (lot < 87)
      this.#record(
        entryBytes(0x41, this.#deletable[this.#random.below(this.#deletable.length)]!, ''),
      )
    else if (lot < 90) this.#seqno += this.#random.below(4) - 2
    else if (lot < 93) {
      const tree = 1 + this.#random.below(2)
      made.edit({ flushedSeqnos: [{ tree, seqno: Math.max(1, this.#seqno) }] })
    } else if (lot < 95) made.edit({ lastSeqno: Math.max(0, this.#seqno) })
    else this.#oddity()
  }

  #create(): void {
    const id = 4 + this.#random.below(3)
    this.#deletable.push(id)
    this.#record(entryBytes(0x40, id, `n${this.#random.below(4)}`, OPTIONS))
  }

  #commit(): void {
    const entries = Array.from({ length: 1 + this.#random.below(3) }, () => {
      const value = this.#oneIn(4) ? undefined : `v${this.#seqno}`.repeat(this.#random.below(20))
      return { tree: 1 + this.#random.below(2), key: `k${this.#random.below(20)}`, value }
    })
    this.#record(batchBytes(entries), entries.length)
  }

  #record(payload: Uint8Array, count = 1): void {
    this.#journal.append(count, Math.max(0, this.#seqno++), payload)
  }

  #rotate(): void {
    const { made } = this
    const sealed = this.#journal
    if (this.#oneIn(2)) synced(sealed)
    this.#journal = made.journal({ named: !this.#oneIn(4) })
    if (!this.#oneIn(3) || !made.manifest.state.journals.has(sealed.fileNumber)) return
    const wrong = this.#oneIn(8) ? this.#random.below(64) - 32 : 0
    made.seal(sealed, Math.max(32, sealed.end + wrong))
  }

  #oddity(): void {
    const odd: readonly (() => void)[] = [
      () => this.#record(entryBytes(3, 1, 'b', '\0c')),
      () => this.#record(entryBytes(0x42, 1, '')),
      () => this.#record(entryBytes(0x43, 2, '')),
      () => this.#record(entryBytes(0, 9, 'k', 'v')),
      () => this.#record(entryBytes(1, 1, 'k', 'v')),
      () => this.#record(entryBytes(0, 1, 'k', 'v'), 2),
      () => this.#record(entryBytes(0, 1, 'k', 'v'), 0),
      () => this.#record(entryBytes(0, 1, 'k', 'v').subarray(0, 13)),
      () => this.#record(Buffer.alloc(5)),
      () => this.#record(entryBytes(0x40, 5, 'a', OPTIONS)),
      () => this.#record(entryBytes(0x40, 2 ** 31, 'far', OPTIONS)),
      () => this.made.edit({ cleanShutdown: true }),
    ]
    odd[this.#random.below(odd.length)]!()
  }

  #damage(): void {
    const { vfs } = this.made
    const names = filesOf(vfs, 'journal')
    const name = names[this.#random.below(names.length)]
    if (name === undefined) return
    const path = `/db/${name}`
    if (this.#oneIn(12)) {
      vfs.remove(path).sync()
      return
    }
    const begin = (length: number): number => this.#random.below(length + 1)
    const ways: readonly ((bytes: Buffer) => Buffer)[] = [
      (bytes) => bytes.subarray(0, begin(bytes.length)),
      (bytes) => bytes.fill(0, begin(bytes.length)),
      (bytes) => Buffer.concat([bytes, Buffer.alloc(100)]),
      (bytes) => Buffer.concat([bytes, Buffer.alloc(50, 0x31)]),
      (bytes) => {
        const at = begin(bytes.length)
        return bytes.fill(0, at, Math.min(bytes.length, at + this.#random.below(80)))
      },
      (bytes) => {
        for (let i = this.#random.below(3); i >= 0 && bytes.length > 0; i--) {
          bytes[this.#random.below(bytes.length)]! ^= 1 << this.#random.below(8)
        }
        return bytes
      },
      (bytes) => {
        bytes[this.#random.below(Math.max(1, Math.min(32, bytes.length)))]! ^= 0x10
        return bytes
      },
    ]
    changeFile(vfs, path, ways[this.#random.below(ways.length)]!)
  }
}

test('both engines make the same of a directory, and of what the other one made of it', () => {
  const seed = testSeed()
  const seen = new Set<string>()
  for (let round = 0; round < scaled(100); round++) {
    const random = new Random(seed + round * 7919)
    const { vfs } = new Specimen(random).made
    const recovery = (['tail', 'tail', 'strict', 'salvage'] as const)[random.below(4)]!
    const options = { recovery, readOnly: random.below(3) === 0 }
    const where = `SEED=${seed}, round ${round}, ${JSON.stringify(options)}`
    const paths = ENGINES.map((engine) => exported(vfs, engine))
    const [native, typescript] = ENGINES.map((engine, i) => outcome(paths[i]!, engine, options))
    expect(typescript, where).toEqual(native)
    seen.add('code' in native! ? `${native.code} ${native.message}` : 'opened')
    if (options.readOnly || 'code' in native!) continue
    const { contents } = native as Opened
    const other = ENGINES.toReversed().map((engine, i) => {
      return outcome(paths[i]!, engine, { recovery: 'strict' })
    })
    for (const again of other) expect(again, where).toMatchObject({ contents, bytes: 0 })
  }
  expect(seen.size).toBeGreaterThan(8)
})

test('an id that a journal deletes is not created again', () => {
  const create = (name: string): Uint8Array => entryBytes(0x40, 4, name, OPTIONS)
  const remove = entryBytes(0x41, 4, '')
  const write = entryBytes(0, 4, 'key', 'value')
  for (const records of [
    [create('first'), write, remove, create('second'), write],
    // It takes back a creation of which nothing is left.
    [remove, create('second'), write],
  ]) {
    const made = newDirectory()
    const journal = made.journal()
    for (const [i, record] of records.entries()) journal.append(1, 1 + i, record)
    for (const engine of ENGINES) {
      const path = exported(made.vfs, engine)
      const opened = outcome(path, engine, {})
      expect(opened).toMatchObject({ contents: [['a', []]], seqno: 1 + records.length })
      for (const other of ENGINES) {
        expect(outcome(path, other, {})).toMatchObject({ contents: [['a', []]] })
      }
      rmSync(path, { recursive: true })
    }
  }
})

/** A directory as a process leaves it that dies: tables, and commits that are in journals only. */
async function killedBy(engine: Engine, random: Random): Promise<string> {
  const path = join(quickDirectory(), 'db')
  const copy = join(quickDirectory(), 'copy')
  const db = await Database.open(path, { engine, journalCompression: 'lz4', syncInterval: 0 })
  const keyspaces = await Promise.all(
    (['none', 'lz4'] as const).map(async (compression) =>
      db.keyspace(compression, { compression }),
    ),
  )
  for (let i = 0; i < 400; i++) {
    const batch = db.batch()
    for (const keyspace of keyspaces) {
      const key = `key ${random.below(200)}`
      if (random.below(5) === 0) batch.remove(keyspace, key)
      else batch.insert(keyspace, key, `value ${i} `.repeat(random.below(random.below(900) + 1)))
    }
    batch.commitSync({ durability: random.below(20) === 0 ? 'sync' : 'os' })
    // oxlint-disable-next-line no-await-in-loop
    if (i === 150) await keyspaces[0]!.rotateMemtableAndWait()
    // oxlint-disable-next-line no-await-in-loop
    if (i === 200) await db.keyspace('late')
  }
  cpSync(path, copy, { recursive: true })
  rmSync(join(copy, 'lock'))
  await db.close()
  return copy
}

test.each(ENGINES)('both engines make the same of what %s left, damaged or not', async (engine) => {
  const seed = testSeed()
  const random = new Random(seed)
  const original = await killedBy(engine, random)
  const journals = readdirSync(original).filter((name) => name.endsWith('.journal'))
  const seen = new Set<string>()
  for (let round = 0; round < scaled(40); round++) {
    const name = journals[random.below(journals.length)]!
    const bytes = readFileSync(join(original, name))
    const length = bytes.findLastIndex((byte) => byte !== 0) + 1
    const at = random.below(length)
    const lot = random.below(4)
    if (lot === 1) bytes[at]! ^= 1 << random.below(8)
    else if (lot === 2) bytes.fill(0, at, Math.min(length, at + random.below(10_000)))
    const damaged = lot === 3 ? bytes.subarray(0, at) : bytes
    const recovery = (['tail', 'strict', 'salvage'] as const)[random.below(3)]!
    const where = `SEED=${seed}, round ${round}, ${recovery}`
    const [native, typescript] = ENGINES.map((opener) => {
      const path = join(quickDirectory(), 'db')
      cpSync(original, path, { recursive: true })
      writeFileSync(join(path, name), damaged)
      return outcome(path, opener, { recovery })
    })
    expect(typescript, where).toEqual(native)
    seen.add('code' in native! ? native.message : 'opened')
  }
  expect(seen).toContain('opened')
  expect(seen).toContain('a record that was durable is damaged')
})
