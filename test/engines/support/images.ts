// Directories as they are found after a crash: copied while they are open and in use.

import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Database, Tree } from '../../../lib/index.ts'
import type { Engine, Keyspace, KeyspaceOptions } from '../../../lib/index.ts'
import type { Draw } from './draw.ts'

/** Commits between writing a key once and removing it weakly. */
const ONCE_KEPT = 8

export interface Image {
  readonly kind: 'database' | 'tree'
  readonly path: string
  /** As it was some time before. */
  readonly older: string
  /** What was written, and some that was not. */
  readonly keys: readonly Buffer[]
}

/** Keys that occur in an image. */
function imageKey(draw: Draw): Buffer {
  if (draw.oneIn(4))
    return Buffer.from(draw.pick(['a', 'b', 'aa', 'ab\0', '\xff\xff', '\0']), 'latin1')
  return Buffer.from(`${draw.pick(['key ', 'user:', 'k'])}${draw.below(50)}`)
}

/** Some of them so large that a journal compresses them. */
function imageValue(draw: Draw): Buffer {
  return draw.pick([
    () => draw.bytes(draw.below(30)),
    () => draw.bytes(draw.below(30)),
    () => Buffer.alloc(draw.between(30, 300), `${draw.below(100)} `),
    () => Buffer.alloc(draw.oneIn(3) ? draw.between(4096, 6000) : 50, `large ${draw.below(9)} `),
  ])()
}

/** A flat copy; false if the directory changed meanwhile. */
function tryCopy(from: string, to: string): boolean {
  rmSync(to, { recursive: true, force: true })
  mkdirSync(to)
  const names = readdirSync(from)
  try {
    for (const name of names) copyFileSync(join(from, name), join(to, name))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
  return isDeepStrictEqual(readdirSync(from), names)
}

/** What a process leaves that is killed in the midst of its work. */
export function copyOpen(from: string, to: string): void {
  // Threads of the native engine go on meanwhile: no file may come or go.
  while (!tryCopy(from, to));
  // The holder lives.
  rmSync(join(to, 'lock'), { force: true })
}

export async function makeImage(draw: Draw, directory: string, engine: Engine): Promise<Image> {
  const made = { path: join(directory, 'image'), older: join(directory, 'older') }
  const keys = Array.from({ length: 60 }, () => imageKey(draw))
  const kind = draw.oneIn(5) ? 'tree' : 'database'
  const live = join(directory, 'live')
  if (kind === 'database') await makeDatabase(draw, live, made, engine)
  else await makeTree(draw, live, made, engine)
  rmSync(live, { recursive: true })
  return { kind, ...made, keys }
}

interface Made {
  readonly path: string
  readonly older: string
}

const CODECS = ['none', 'none', 'lz4', 'zstd'] as const

/** Now and then with values that are separated. */
function optionsOf(draw: Draw): Omit<KeyspaceOptions, 'durability'> {
  const options = draw.treeOptions(CODECS)
  return draw.oneIn(3) ? { ...options, kvSeparation: draw.separation(CODECS) } : options
}

/* oxlint-disable no-await-in-loop */
async function makeDatabase(draw: Draw, live: string, made: Made, engine: Engine): Promise<void> {
  const options = { ...draw.databaseOptions(), engine }
  let db = await Database.open(live, options)
  const names = ['plain', 'other', 'späte'].slice(0, draw.between(1, 3))
  const settings = names.map(() => optionsOf(draw))
  const open = async (): Promise<Keyspace[]> =>
    Promise.all(names.map(async (name, i) => db.keyspace(name, settings[i])))
  let keyspaces = await open()
  const steps = draw.between(20, 150)
  const copyAt = draw.below(steps)
  const once: boolean[] = []
  for (let i = 0; i < steps; i++) {
    if (i === copyAt) copyOpen(live, made.older)
    const step = draw.below(100)
    if (step < 85) writeBatch(draw, db, keyspaces, once)
    else if (step < 93) await draw.pick(keyspaces).rotateMemtableAndWait()
    else if (step < 95) await draw.pick(keyspaces).majorCompaction({ targetSize: 4096 })
    else if (step < 98) await db.persist(draw.durability())
    else {
      await db.close()
      db = await Database.open(live, options)
      keyspaces = await open()
    }
  }
  // Now and then a directory that was closed.
  if (draw.oneIn(6)) await db.close()
  copyOpen(live, made.path)
  await db.close()
}

/** `once`: for each key that is written once, whether it is to be removed. */
function writeBatch(
  draw: Draw,
  db: Database,
  keyspaces: readonly Keyspace[],
  once: boolean[],
): void {
  const batch = db.batch()
  for (let count = draw.between(1, 6); count > 0; count--) {
    const keyspace = draw.pick(keyspaces)
    const key = imageKey(draw)
    if (draw.oneIn(5)) batch.remove(keyspace, key)
    else batch.insert(keyspace, key, imageValue(draw))
  }
  // Written once, and removed weakly some commits later.
  const [keyspace] = keyspaces
  batch.insert(keyspace!, `once ${once.length}`, imageValue(draw))
  const old = once.length - ONCE_KEPT
  if (old >= 0 && once[old]) batch.removeWeak(keyspace!, `once ${old}`)
  once.push(!draw.oneIn(3))
  batch.commitSync({ durability: draw.durability() })
}

async function makeTree(draw: Draw, live: string, made: Made, engine: Engine): Promise<void> {
  const options = { ...optionsOf(draw), engine }
  let tree = await Tree.open(live, options)
  const steps = draw.between(50, 400)
  const copyAt = draw.below(steps)
  for (let i = 0; i < steps; i++) {
    if (i === copyAt) copyOpen(live, made.older)
    const step = draw.below(100)
    if (step < 75) tree.insertSync(imageKey(draw), imageValue(draw), i)
    else if (step < 88) tree.removeSync(imageKey(draw), i)
    else if (step < 92) tree.flushSync()
    else if (step < 95) tree.compactSync(draw.strategy())
    else if (step < 96) tree.majorCompactionSync({ targetSize: 4096 })
    else if (step < 99) tree.setGcSeqno(Math.max(tree.gcSeqno, i - draw.below(20)))
    else {
      await tree.close()
      tree = await Tree.open(live, options)
    }
  }
  copyOpen(live, made.path)
  await tree.close()
}
/* oxlint-enable no-await-in-loop */
