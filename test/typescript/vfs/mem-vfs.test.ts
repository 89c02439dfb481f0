// What a crash leaves of a machine in memory: no less than what was synced, no more than was done.

import { describe, expect, test } from 'vitest'
import {
  keepEverything,
  keepFirst,
  keepNothing,
  keepRandom,
  keepTorn,
  MemVfs,
} from '../../../lib/typescript/vfs/mem-vfs.ts'
import type { CrashPolicy } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'

function write(vfs: MemVfs, path: string, offset: number, text: string): void {
  const file = vfs.open(path, 'write').sync()
  file.write(offset, [Buffer.from(text)]).sync()
}

function read(vfs: MemVfs, path: string): string {
  const file = vfs.open(path, 'read').sync()
  const bytes = Buffer.alloc(file.size().sync())
  file.read(0, bytes).sync()
  return bytes.toString()
}

/** /d/a holds "base", all of it durable. */
function machine(): MemVfs {
  const vfs = new MemVfs()
  vfs.makeDir('/d').sync()
  vfs.syncDir('/').sync()
  const file = vfs.open('/d/a', 'create').sync()
  file.write(0, [Buffer.from('base')]).sync()
  file.sync().sync()
  vfs.syncDir('/d').sync()
  expect(vfs.pendingChanges()).toEqual([])
  return vfs
}

describe('a crash', () => {
  test('keeps what was synced, and loses the rest if it is as bad as can be', () => {
    const vfs = machine()
    write(vfs, '/d/a', 4, ' more')
    vfs.open('/d/b', 'create').sync()
    const image = vfs.crash(keepNothing)
    expect([read(image, '/d/a'), image.list('/d').sync()]).toEqual(['base', ['a']])
    expect([read(vfs, '/d/a'), vfs.list('/d').sync()]).toEqual(['base more', ['a', 'b']])
    expect(read(vfs.crash(keepEverything), '/d/a')).toBe('base more')
  })

  test('an entry needs the sync of its directory, data the sync of its file', () => {
    const vfs = machine()
    const file = vfs.open('/d/b', 'create').sync()
    file.write(0, [Buffer.from('data')]).sync()
    file.sync().sync()
    expect(vfs.crash(keepNothing).list('/d').sync()).toEqual(['a'])
    vfs.syncDir('/d').sync()
    expect(read(vfs.crash(keepNothing), '/d/b')).toBe('data')
    vfs.rename('/d/b', '/d/a').sync()
    expect(vfs.crash(keepNothing).list('/d').sync()).toEqual(['a', 'b'])
    expect(read(vfs.crash(keepEverything), '/d/a')).toBe('data')
    vfs.remove('/d/a').sync()
    expect(vfs.crash(keepEverything).list('/d').sync()).toEqual([])
    expect(read(vfs.crash(keepNothing), '/d/a')).toBe('base')
  })

  test('cuts between changes and inside a write', () => {
    const vfs = machine()
    write(vfs, '/d/a', 0, 'B')
    write(vfs, '/d/a', 4, '1234')
    vfs.open('/d/a', 'write').sync().truncate(6).sync()
    const kinds = vfs.pendingChanges().map(({ kind, offset, length }) => [kind, offset, length])
    expect(kinds).toEqual([
      ['write', 0, 1],
      ['write', 4, 4],
      ['resize', 0, 6],
    ])
    const left = (policy: CrashPolicy): string => read(vfs.crash(policy), '/d/a')
    expect([0, 1, 2, 3].map((count) => left(keepFirst(count)))).toEqual([
      'base',
      'Base',
      'Base1234',
      'Base12',
    ])
    expect(left(keepTorn(1, 3))).toBe('Base123')
  })

  test('leaves another boot and no trace of later changes', () => {
    const vfs = machine()
    const image = vfs.crash(keepNothing)
    expect(image.bootId()).not.toBe(vfs.bootId())
    write(vfs, '/d/a', 0, 'XXXX')
    vfs.open('/d/a', 'write').sync().sync().sync()
    expect(read(image, '/d/a')).toBe('base')
  })

  test('at random keeps some subset of the changes', () => {
    const seed = testSeed()
    const random = new Random(seed)
    const seen = new Set<string>()
    for (let round = 0; round < 200; round++) {
      const vfs = machine()
      write(vfs, '/d/a', 0, 'X')
      write(vfs, '/d/a', 4, 'Y')
      seen.add(read(vfs.crash(keepRandom(() => random.next() / 2 ** 32)), '/d/a'))
    }
    expect([...seen].toSorted(), `SEED=${seed}`).toEqual(['Xase', 'XaseY', 'base', 'baseY'])
  })
})

test('a failed sync may leave what it was to sync readable or not, but never durable', () => {
  for (const [lose, now] of [
    ['abandon', 'base!'],
    ['drop', 'base'],
  ] as const) {
    const vfs = machine()
    write(vfs, '/d/a', 4, '!')
    vfs[lose]('/d/a')
    vfs.open('/d/a', 'write').sync().sync().sync()
    expect([read(vfs, '/d/a'), read(vfs.crash(keepEverything), '/d/a')]).toEqual([now, 'base'])
  }
})

test('processes of one machine see the same files', () => {
  const vfs = machine()
  const other = vfs.asProcess(7, 123n)
  write(other, '/d/a', 0, 'B')
  expect(read(vfs, '/d/a')).toBe('Base')
  expect([vfs.processStartTime(7), other.processId, vfs.processStartTime(8)]).toEqual([
    123n,
    7,
    undefined,
  ])
  expect(vfs.pendingChanges()).toHaveLength(1)
})

test('the hook sees every change before it is made', () => {
  const vfs = machine()
  const seen: string[] = []
  vfs.onOperation = (operation, path) => {
    seen.push(`${operation} ${path}`)
    if (operation === 'remove') throw new Error('not this')
  }
  write(vfs, '/d/a', 0, 'B')
  expect(() => vfs.remove('/d/a').sync()).toThrow('not this')
  expect(seen).toEqual(['write /d/a', 'remove /d/a'])
  expect(read(vfs, '/d/a')).toBe('Base')
})

test('a killed process leaves all that it wrote, and the next crash may lose it', () => {
  const vfs = machine()
  write(vfs, '/d/a', 0, 'BASE')
  const made = vfs.open('/d/b', 'create').sync()
  made.write(0, [Buffer.from('new')]).sync()
  made.sync().sync()
  vfs.remove('/d/a').sync()
  const after = vfs.killed()
  expect(after.list('/d').sync()).toEqual(['b'])
  expect(read(after, '/d/b')).toBe('new')
  expect(after.processStartTime(vfs.processId)).toBeUndefined()
  expect(after.bootId()).toBe(vfs.bootId())
  const paths = after.pendingChanges().map(({ kind, path }) => `${kind} ${path}`)
  expect(paths).toEqual(['write /d/a', 'directory /d/b', 'directory /d/a'])
  // In the one machine and in the other.
  after.syncDir('/d').sync()
  expect(after.crash(keepNothing).list('/d').sync()).toEqual(['b'])
  expect(vfs.crash(keepNothing).list('/d').sync()).toEqual(['a'])
  expect(read(vfs.crash(keepFirst(1)), '/d/a')).toBe('BASE')
})
