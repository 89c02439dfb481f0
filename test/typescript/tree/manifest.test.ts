// The manifest as a file: commits, generations, crashes, faults, and the directory without one.

import { describe, expect, test } from 'vitest'
import { Io, run, runSync } from '../../../lib/typescript/base/flow.ts'
import { keyedCrc } from '../../../lib/typescript/base/crc32c.ts'
import { encodeLogHeader } from '../../../lib/typescript/journal/log-format.ts'
import { LogWriter } from '../../../lib/typescript/journal/log-writer.ts'
import { encodeEdit } from '../../../lib/typescript/tree/manifest-edit.ts'
import { loadGeneration } from '../../../lib/typescript/tree/manifest-load.ts'
import { snapshotOf } from '../../../lib/typescript/tree/manifest-state.ts'
import { Manifest } from '../../../lib/typescript/tree/manifest.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import type { FaultOperation } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { keepEverything, keepRandom, keepTorn } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { failure, scaled, testSeed } from '../../support/scratch.ts'
import { newMachine, putFile, readFile } from '../support/machine.ts'
import { Random } from '../support/random.ts'
import { tableMeta } from '../support/table-metas.ts'

const seed = testSeed()

function create(vfs: Vfs): Manifest {
  return runSync(Manifest.create(vfs, '/db', 1))
}

function load(vfs: Vfs): Manifest {
  return runSync(Manifest.load(vfs, '/db'))
}

function treeNamed(manifest: Manifest, name: string) {
  const tree = manifest.newTreeId()
  return { treesCreated: [{ tree, name, createdSeqno: 1, options: new Uint8Array(0) }] }
}

function names(manifest: Manifest): string[] {
  return [...manifest.state.trees.values()].map(({ name }) => name)
}

function manifests(vfs: Vfs): string[] {
  const files = vfs.list('/db').sync()
  return files.filter((name) => name.endsWith('.manifest')).toSorted()
}

test('creations that are cut off one after the other leave no damage', async () => {
  const vfs = newMachine()
  putFile(vfs, '/db/000001.manifest', encodeLogHeader('manifest', 1))
  const images: MemVfs[] = []
  vfs.onOperation = () => images.push(vfs.crash(keepEverything))
  create(vfs).close()
  vfs.onOperation = undefined
  expect(images.length).toBeGreaterThan(5)
  for (const image of images) {
    const found = image.crash(keepEverything)
    try {
      load(found).close()
    } catch {
      expect((await failure(() => load(image))).code).toBe('DB_NOT_FOUND')
      create(image).close()
      load(image).close()
    }
  }
})

test('foreign files may lie beside it in any number', () => {
  const memory = newMachine()
  create(memory).close()
  const vfs = new FaultVfs(memory)
  const foreign = Array.from({ length: 200_000 }, (_, i) => `foreign ${i}`)
  vfs.list = (path) => Io.now(() => [...memory.list(path).sync(), ...foreign])
  load(vfs).close()
  for (const name of manifests(memory)) memory.remove(`/db/${name}`).sync()
  create(vfs).close()
})

describe('commits', () => {
  test('are there after a load', () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    const file = manifest.newFileNumber()
    runSync(manifest.commit(treeNamed(manifest, 'one')))
    const table = tableMeta(file, 'a', 'b')
    runSync(manifest.commit({ tablesAdded: [{ tree: 1, table }], cleanShutdown: true }))
    manifest.close()
    const again = load(vfs)
    expect(again.state).toEqual(manifest.state)
    expect(again.state.trees.get(1)?.tables.get(file)).toEqual(table)
    expect([again.newFileNumber(), again.newTreeId(), again.droppedBytes]).toEqual([file + 1, 2, 0])
  })

  test('that do not fit are refused, and nothing is written', async () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    const before = readFile(vfs, '/db/000001.manifest')
    const error = await failure(() => runSync(manifest.commit({ treesDeleted: [1] })))
    expect(error.code).toBe('CORRUPTION')
    expect(readFile(vfs, '/db/000001.manifest')).toEqual(before)
    runSync(manifest.commit(treeNamed(manifest, 'one')))
    expect(names(load(vfs))).toEqual(['one'])
  })

  test('raise seqnos that never decrease', () => {
    const manifest = create(newMachine())
    runSync(manifest.commit(treeNamed(manifest, 'one')))
    runSync(manifest.commit({ lastSeqno: 9, flushedSeqnos: [{ tree: 1, seqno: 8 }] }))
    runSync(manifest.commit({ lastSeqno: 5, flushedSeqnos: [{ tree: 1, seqno: 3 }] }))
    expect(manifest.state.lastSeqno).toBe(9)
    expect(manifest.state.trees.get(1)?.flushedSeqno).toBe(8)
  })

  test('may overlap, sync ones in the midst of async ones', async () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    const one = run(manifest.commit(treeNamed(manifest, 'one')))
    expect(names(manifest)).toEqual([])
    runSync(manifest.commit(treeNamed(manifest, 'two')))
    expect(names(manifest)).toEqual(['one', 'two'])
    expect(names(load(vfs.crash(() => 0)))).toEqual(['one', 'two'])
    await one
    expect(names(manifest)).toEqual(['one', 'two'])
  })

  test('are settled in their order, whoever drives them', async () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    runSync(manifest.commit(treeNamed(manifest, 'one')))
    const settled: string[] = []
    const told = (name: string) => {
      return { durable: () => settled.push(name), failed: () => settled.push(`not ${name}`) }
    }
    // The next generation waits for its sync, and this commit waits for it.
    const large = { treeOptions: [{ tree: 1, options: new Uint8Array(70_000) }] }
    const growing = run(manifest.commit(large, told('large')))
    while (manifests(vfs).length === 1) {
      // oxlint-disable-next-line no-await-in-loop
      await Promise.resolve()
    }
    const waiting = run(manifest.commit(treeNamed(manifest, 'two'), told('two')))
    runSync(manifest.commit(treeNamed(manifest, 'three'), told('three')))
    expect(settled).toEqual(['large', 'two', 'three'])
    expect(names(load(vfs.crash(() => 0)))).toEqual(['one', 'two', 'three'])
    await Promise.all([growing, waiting])
    const last = run(manifest.commit(treeNamed(manifest, 'four'), told('four')))
    runSync(manifest.settle())
    expect(settled.at(-1)).toBe('four')
    await last
  })

  test('behind one that finds no space are refused with it', async () => {
    let refusals = 0
    for (let nth = 0; nth < 8; nth++) {
      const vfs = new FaultVfs(newMachine())
      const manifest = create(vfs)
      runSync(manifest.commit(treeNamed(manifest, 'one')))
      const large = { treeOptions: [{ tree: 1, options: new Uint8Array(70_000) }] }
      const growing = run(manifest.commit(large))
      while (manifests(vfs).length === 1) {
        // oxlint-disable-next-line no-await-in-loop
        await Promise.resolve()
      }
      const waiting = ['two', 'three'].map(async (name) =>
        run(manifest.commit(treeNamed(manifest, name))).then(
          () => true,
          () => false,
        ),
      )
      vfs.setPlan([{ operation: 'write', nth, kind: 'ENOSPC' }])
      runSync(manifest.settle())
      // oxlint-disable-next-line no-await-in-loop
      const [two, three] = await Promise.all(waiting)
      // oxlint-disable-next-line no-await-in-loop
      await growing
      const found = ['one', ...(two === true ? ['two'] : []), ...(three === true ? ['three'] : [])]
      expect([names(manifest), two === true || three === false]).toEqual([found, true])
      if (two === false) refusals++
    }
    expect(refusals).toBeGreaterThan(0)
  })

  test('after a failed sync are refused, and what is durable is what was', async () => {
    const vfs = new FaultVfs(newMachine())
    const manifest = create(vfs)
    runSync(manifest.commit(treeNamed(manifest, 'one')))
    vfs.setPlan([{ operation: 'sync', nth: 0, kind: 'EIO' }])
    const error = await failure(async () => run(manifest.commit(treeNamed(manifest, 'two'))))
    expect([error.code, names(manifest)]).toEqual(['SYNC_FAILED', ['one']])
    const next = await failure(() => runSync(manifest.commit({})))
    expect([next.code, manifest.failure?.code]).toEqual(['SYNC_FAILED', 'SYNC_FAILED'])
  })

  test('that find no space are refused and may come again', async () => {
    const vfs = new FaultVfs(newMachine())
    const manifest = create(vfs)
    vfs.setPlan([{ operation: 'write', nth: 0, kind: 'ENOSPC' }])
    const edit = treeNamed(manifest, 'one')
    expect((await failure(() => runSync(manifest.commit(edit)))).code).toBe('DISK_FULL')
    runSync(manifest.commit(edit))
    expect(names(load(vfs))).toEqual(['one'])
  })
})

/** Commits until a new generation holds. */
function grow(manifest: Manifest): number {
  const before = manifest.fileNumber
  runSync(manifest.commit(treeNamed(manifest, 'grown')))
  let commits = 1
  for (; manifest.fileNumber === before && commits < 1000; commits++) {
    const options = new Uint8Array(1000).fill(commits)
    runSync(manifest.commit({ treeOptions: [{ tree: 1, options }] }))
  }
  return commits
}

describe('generations', () => {
  test('follow each other; the old one stays until the next open', () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    expect(grow(manifest)).toBeLessThan(100)
    expect(manifests(vfs)).toEqual(['000001.manifest', '000002.manifest'])
    expect(readFile(vfs, '/db/000002.manifest').length).toBeLessThan(3000)
    runSync(manifest.commit(treeNamed(manifest, 'after')))
    manifest.close()
    const again = load(vfs)
    expect([names(again), again.state]).toEqual([['grown', 'after'], manifest.state])
    expect(manifests(vfs)).toEqual(['000002.manifest'])
    expect(again.newFileNumber()).toBe(3)
  })

  test('a sync commit ends the succession that an async one began', async () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    runSync(manifest.commit(treeNamed(manifest, 'one')))
    const large = { treeOptions: [{ tree: 1, options: new Uint8Array(70_000) }] }
    const pending = run(manifest.commit(large))
    // Until the new file is there and waits for its sync.
    for (let i = 0; i < 50 && manifests(vfs).length === 1; i++) {
      // oxlint-disable-next-line no-await-in-loop
      await Promise.resolve()
    }
    expect([manifests(vfs).length, manifest.fileNumber]).toEqual([2, 1])
    runSync(manifest.commit(treeNamed(manifest, 'two')))
    expect(manifest.fileNumber).toBe(2)
    expect(names(load(vfs.crash(() => 0)))).toEqual(['one', 'two'])
    await pending
    runSync(manifest.commit(treeNamed(manifest, 'three')))
    expect(names(load(vfs.crash(() => 0)))).toEqual(['one', 'two', 'three'])
  })

  test('that fail leave the old one in charge, whatever fails', () => {
    const operations: FaultOperation[] = ['create', 'write', 'sync', 'syncDir']
    for (const operation of operations) {
      for (let nth = 0; nth < 6; nth++) {
        const memory = newMachine()
        const vfs = new FaultVfs(memory)
        const manifest = create(vfs)
        runSync(manifest.commit(treeNamed(manifest, 'one')))
        vfs.setPlan([{ operation, nth, kind: operation === 'sync' ? 'EIO' : 'ENOSPC' }])
        let acknowledged = ['one']
        const options = new Uint8Array(70_000)
        for (const edit of [
          () => ({ treeOptions: [{ tree: 1, options }] }),
          () => treeNamed(manifest, 'two'),
          () => treeNamed(manifest, 'three'),
        ]) {
          try {
            runSync(manifest.commit(edit()))
            acknowledged = names(manifest)
          } catch {
            // Refused.
          }
        }
        vfs.setPlan([])
        const found = names(load(memory.crash(() => 0)))
        expect(found, `${operation} ${nth}`).toEqual(acknowledged)
      }
    }
  })

  test('any crash leaves every commit that was acknowledged, and none half', () => {
    const random = new Random(seed)
    for (let round = 0; round < scaled(40); round++) {
      const vfs = newMachine()
      const manifest = create(vfs)
      let begun = 0
      let acknowledged = 0
      const check = (): void => {
        const pending = vfs.pendingChanges().length
        const policies = [() => 0, keepEverything, keepRandom(() => random.next() / 2 ** 32)]
        for (let i = 0; i < pending; i++) policies.push(keepTorn(i, random.below(200)))
        for (const policy of policies) {
          const image = vfs.crash(policy)
          const found = names(load(image))
          const message = `SEED=${seed}, round ${round}, ${acknowledged} of ${begun}`
          expect(found.length, message).toBeGreaterThanOrEqual(acknowledged)
          expect(found.length, message).toBeLessThanOrEqual(begun)
          expect(found, message).toEqual(found.map((_, i) => `tree ${i + 1}`))
          expect(names(load(image)), message).toEqual(found)
        }
      }
      const commits = 2 + random.below(4)
      const crashAt = random.below(12 * commits)
      let operations = 0
      vfs.onOperation = () => {
        if (operations++ === crashAt) check()
      }
      for (; begun < commits; acknowledged++) {
        const edit = treeNamed(manifest, `tree ${++begun}`)
        const large = random.below(2) === 0
        const options = new Uint8Array(large ? 70_000 : 0)
        runSync(manifest.commit({ treesCreated: [{ ...edit.treesCreated[0]!, options }] }))
      }
    }
  })
})

test('what an open has shown is durable, also if a failed sync left it in memory alone', () => {
  const memory = newMachine()
  const vfs = new FaultVfs(memory)
  const manifest = create(vfs)
  runSync(manifest.commit(treeNamed(manifest, 'one')))
  vfs.setPlan([{ operation: 'sync', nth: 0, kind: 'syncKept' }])
  expect(() => runSync(manifest.commit(treeNamed(manifest, 'two')))).toThrow('synced')
  manifest.close()
  const again = load(memory)
  expect(names(again)).toEqual(['one', 'two'])
  expect(names(load(memory.crash(() => 0)))).toEqual(['one', 'two'])
  again.close()
  expect(names(load(memory))).toEqual(['one', 'two'])
})

/** A header of the next major version, sealed, so that only that is wrong. */
function ofTomorrow(number: number): Buffer {
  const header = Buffer.from(encodeLogHeader('manifest', number))
  header[8] = 2
  header.writeUInt32LE(keyedCrc(number, 0, header, 0, 28), 28)
  return header
}

describe('a directory', () => {
  const path = '/db/000001.manifest'
  const codeOf = async (vfs: MemVfs): Promise<string> => (await failure(() => load(vfs))).code

  test('without a manifest is told apart by what else it holds', async () => {
    const vfs = newMachine()
    expect(await codeOf(vfs)).toBe('DB_NOT_FOUND')
    vfs.open('/db/lock', 'create').sync()
    expect(await codeOf(vfs)).toBe('DB_NOT_FOUND')
    vfs.open('/db/readme', 'create').sync()
    expect(await codeOf(vfs)).toBe('NOT_A_DATABASE')
    vfs.open('/db/000007.table', 'create').sync()
    expect(await codeOf(vfs)).toBe('CORRUPTION')
    const absent = await failure(() => runSync(Manifest.load(vfs, '/none')))
    expect(absent.code).toBe('DB_NOT_FOUND')
  })

  test('with no more than a crash leaves of a creation holds no database', async () => {
    const header = encodeLogHeader('manifest', 1)
    const whole = newMachine()
    create(whole).close()
    const bytes = readFile(whole, path)
    const record = bytes.length - 64
    for (let cut = 0; cut < record; cut++) {
      const vfs = newMachine()
      putFile(vfs, path, bytes.subarray(0, cut))
      // oxlint-disable-next-line no-await-in-loop
      expect(await codeOf(vfs), `cut ${cut}`).toBe('DB_NOT_FOUND')
      create(vfs).close()
      expect(names(load(vfs))).toEqual([])
      expect(manifests(vfs)).toEqual(['000002.manifest'])
    }
    const vfs = newMachine()
    putFile(vfs, path, Buffer.concat([header.subarray(0, 20), Buffer.alloc(500)]))
    expect(await codeOf(vfs)).toBe('DB_NOT_FOUND')
    vfs.open('/db/000007.journal', 'create').sync()
    expect(await codeOf(vfs)).toBe('CORRUPTION')
  })

  test('with another manifest says what it is', async () => {
    const vfs = newMachine()
    putFile(vfs, path, Buffer.alloc(100, 'x'))
    expect(await codeOf(vfs)).toBe('NOT_A_DATABASE')
    putFile(vfs, path, ofTomorrow(1))
    expect(await codeOf(vfs)).toBe('FORMAT_TOO_NEW')
  })

  test('with a torn new generation goes on with the old one', () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    runSync(manifest.commit(treeNamed(manifest, 'one')))
    manifest.close()
    for (const torn of [new Uint8Array(0), encodeLogHeader('manifest', 9), Buffer.alloc(70, 1)]) {
      putFile(vfs, '/db/000009.manifest', torn)
      const again = load(vfs)
      expect([names(again), again.fileNumber]).toEqual([['one'], 1])
      expect(again.newFileNumber()).toBeGreaterThan(9)
      expect(manifests(vfs)).toEqual(['000001.manifest'])
      again.close()
    }
  })

  test('whose old generation names a damaged or missing one is damaged', async () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    grow(manifest)
    manifest.close()
    const second = readFile(vfs, '/db/000002.manifest')
    second[40]! ^= 1
    putFile(vfs, '/db/000002.manifest', second)
    const error = await failure(() => load(vfs))
    expect([error.code, error.path]).toEqual(['CORRUPTION', '/db/000002.manifest'])
    putFile(vfs, '/db/000002.manifest', Buffer.alloc(100, 'x'))
    const foreign = await failure(() => load(vfs))
    expect([foreign.code, foreign.path]).toEqual(['CORRUPTION', '/db/000002.manifest'])
    vfs.remove('/db/000002.manifest').sync()
    expect(await codeOf(vfs)).toBe('CORRUPTION')
  })

  test('with two manifests that do not hold blames the lower one, unless a newer one', async () => {
    const highest = '/db/000090.manifest'
    const vfs = newMachine()
    const manifest = create(vfs)
    runSync(manifest.commit(treeNamed(manifest, 'one')))
    manifest.close()
    const bytes = readFile(vfs, path)
    // Behind the snapshot and what calls it durable.
    const second = 32 + 2 * 32 + bytes.readUInt32LE(32 + 4)
    const flipped = (at: number): Buffer => {
      const copy = Buffer.from(bytes)
      copy[at]! ^= 1
      return copy
    }
    const foreign = Buffer.alloc(100, 'x')
    const cases: readonly [Uint8Array, Uint8Array, string, string, number][] = [
      [foreign, flipped(second), 'CORRUPTION', path, second],
      [foreign, flipped(32), 'CORRUPTION', path, 32],
      [foreign, foreign, 'CORRUPTION', path, 0],
      [new Uint8Array(0), flipped(second), 'CORRUPTION', path, second],
      [foreign, ofTomorrow(1), 'FORMAT_TOO_NEW', path, 0],
      [ofTomorrow(90), flipped(second), 'FORMAT_TOO_NEW', highest, 0],
      [ofTomorrow(90), foreign, 'FORMAT_TOO_NEW', highest, 0],
    ]
    for (const [index, [high, low, ...expected]] of cases.entries()) {
      putFile(vfs, highest, high)
      putFile(vfs, path, low)
      // oxlint-disable-next-line no-await-in-loop
      const { code, path: named, offset } = await failure(() => load(vfs))
      expect([code, named, offset], `case ${index}`).toEqual(expected)
    }
  })

  test('with a damaged record is damaged there', async () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    runSync(manifest.commit(treeNamed(manifest, 'one')))
    runSync(manifest.commit(treeNamed(manifest, 'two')))
    manifest.close()
    const bytes = readFile(vfs, path)
    // Not the last 32 bytes: that is only the record that calls the others durable.
    for (let at = 32; at < bytes.length - 32; at++) {
      const damaged = Buffer.from(bytes)
      damaged[at]! ^= 4
      putFile(vfs, path, damaged)
      // oxlint-disable-next-line no-await-in-loop
      const error = await failure(() => load(vfs))
      expect([error.code, error.path], `byte ${at}`).toEqual(['CORRUPTION', path])
    }
  })

  test('with records where none may be is damaged', async () => {
    const cases = [
      [{ successor: 7 }, { lastSeqno: 9 }],
      [{ snapshot: 1 as const, nextFileNumber: 50 }],
      [{ lastSeqno: 9 }, { lastSeqno: 8 }],
    ]
    for (const edits of cases) {
      const vfs = newMachine()
      const writer = runSync(LogWriter.create(vfs, path, 'manifest', 1))
      const first = snapshotOf(create(newMachine()).state)
      for (const edit of [first, ...edits]) writer.append(0, 0, encodeEdit(edit))
      // oxlint-disable-next-line no-await-in-loop
      expect(await codeOf(vfs)).toBe('CORRUPTION')
    }
  })

  test('that is only looked at is not changed, and takes no commit', async () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    runSync(manifest.commit(treeNamed(manifest, 'one')))
    manifest.close()
    putFile(vfs, '/db/000009.manifest', new Uint8Array(5))
    vfs.onOperation = (operation) => {
      throw new Error(`a reader does ${operation}`)
    }
    const looked = runSync(Manifest.load(vfs, '/db', true))
    const error = await failure(() => runSync(looked.commit({ lastSeqno: 9 })))
    expect([names(looked), error.code]).toEqual([['one'], 'READ_ONLY'])
  })

  test('is only read by a reader', () => {
    const vfs = newMachine()
    const manifest = create(vfs)
    grow(manifest)
    manifest.close()
    putFile(vfs, '/db/000009.manifest', new Uint8Array(5))
    vfs.onOperation = (operation) => {
      throw new Error(`a reader does ${operation}`)
    }
    // The successor of 1 is 2, so the torn one above is no generation of ours.
    const { number, stale, highestNumber } = runSync(loadGeneration(vfs, '/db'))
    expect([number, stale, highestNumber]).toEqual([2, [9, 1], 9])
  })
})
