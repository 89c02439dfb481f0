// What every Vfs does, over the operating system and over memory, in both forms.

import fs, {
  mkdirSync,
  readdirSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { describe, expect, test, vi } from 'vitest'
import type { ShaleError } from '../../../lib/errors.ts'
import type { Io } from '../../../lib/typescript/base/flow.ts'
import { isErrno } from '../../../lib/typescript/base/status.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { realVfs } from '../../../lib/typescript/vfs/real-vfs.ts'
import type { Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { failure, scratchDirectory } from '../../support/scratch.ts'

function memory(): [Vfs, string] {
  const vfs = new MemVfs()
  vfs.makeDir('/db').sync()
  return [vfs, '/db']
}

const kinds: readonly (readonly [string, () => [Vfs, string]])[] = [
  ['real', () => [realVfs, scratchDirectory()]],
  ['memory', memory],
  [
    'faults, without a plan',
    () => {
      const [vfs, directory] = memory()
      return [new FaultVfs(vfs), directory]
    },
  ],
]
const forms: readonly (readonly [string, <T>(io: Io<T>) => T | Promise<T>])[] = [
  ['sync', (io) => io.sync()],
  ['async', async (io) => io.async()],
]
const cases = kinds.flatMap(([kind, make]) => forms.map(([form, go]) => ({ kind, form, make, go })))

describe.each(cases)('$kind, $form', ({ make, go }) => {
  test('bytes come back; reads end at the end', async () => {
    const [vfs, directory] = make()
    const file = await go(vfs.open(`${directory}/a`, 'create'))
    await go(file.write(0, [Buffer.from('abc'), Buffer.alloc(0), Buffer.from('defg')]))
    await go(file.write(10, [Buffer.from('xyz')]))
    const target = new Uint8Array(20)
    expect(await go(file.read(0, target))).toBe(13)
    expect(Buffer.from(target).toString('latin1', 0, 13)).toBe('abcdefg\0\0\0xyz')
    expect(await go(file.read(12, target))).toBe(1)
    expect(await go(file.read(13, target))).toBe(0)
    expect(await go(file.read(100, target))).toBe(0)
    await go(file.truncate(4))
    await go(file.truncate(6))
    await go(file.sync())
    expect(await go(file.size())).toBe(6)
    file.close()
    file.close()
    const again = await go(vfs.open(`${directory}/a`, 'read'))
    expect(await go(again.read(0, target))).toBe(6)
    expect(Buffer.from(target).toString('latin1', 0, 6)).toBe('abcd\0\0')
    const error = await failure(() => go(again.write(0, [Buffer.from('no')])))
    expect([error.code, error.path]).toEqual(['IO_ERROR', `${directory}/a`])
    again.close()
  })

  test('a call of a closed file says so', async () => {
    const [vfs, directory] = make()
    const path = `${directory}/a`
    const file = await go(vfs.open(path, 'create'))
    const read = file.read(0, new Uint8Array(1))
    file.close()
    const calls = [read, file.write(0, [Buffer.from('x')]), file.truncate(0), file.sync()]
    for (const io of [...calls, file.size()]) {
      // oxlint-disable-next-line no-await-in-loop
      const error = await failure(() => go<unknown>(io))
      expect([error.code, error.path]).toEqual(['DB_CLOSED', path])
    }
    expect((await go(vfs.stat(path))).size).toBe(0)
  })

  test('names: created once, linked, renamed, removed, listed', async () => {
    const [vfs, directory] = make()
    const at = (name: string): string => `${directory}/${name}`
    const file = await go(vfs.open(at('a'), 'create'))
    await go(file.write(0, [Buffer.from('12345')]))
    file.close()
    const expectErrno = async (io: () => Io<unknown>, code: string): Promise<void> => {
      const error: ShaleError = await failure(() => go(io()))
      expect(isErrno(error, code)).toBe(true)
    }
    await expectErrno(() => vfs.open(at('a'), 'create'), 'EEXIST')
    await expectErrno(() => vfs.open(at('none'), 'write'), 'ENOENT')
    await go(vfs.link(at('a'), at('b')))
    await expectErrno(() => vfs.link(at('a'), at('b')), 'EEXIST')
    await expectErrno(() => vfs.link(at('none'), at('c')), 'ENOENT')
    const [a, b] = [await go(vfs.stat(at('a'))), await go(vfs.statTarget(at('b')))]
    expect([a.type, a.size, a.identity]).toEqual(['file', 5, b.identity])
    await go(vfs.rename(at('a'), at('c')))
    // Two names of one file: nothing happens.
    await go(vfs.rename(at('c'), at('b')))
    expect((await go(vfs.list(directory))).toSorted()).toEqual(['b', 'c'])
    const other = await go(vfs.open(at('e'), 'create'))
    other.close()
    await go(vfs.rename(at('e'), at('c')))
    expect((await go(vfs.stat(at('c')))).size).toBe(0)
    await go(vfs.remove(at('c')))
    await go(vfs.makeDir(at('d')))
    await expectErrno(() => vfs.makeDir(at('d')), 'EEXIST')
    expect((await go(vfs.stat(at('d')))).type).toBe('directory')
    expect((await go(vfs.list(directory))).toSorted()).toEqual(['b', 'd'])
    await go(vfs.syncDir(directory))
    await go(vfs.remove(at('b')))
    await go(vfs.removeDir(at('d')))
    await expectErrno(() => vfs.remove(at('b')), 'ENOENT')
    expect(await go(vfs.list(directory))).toEqual([])
    expect(await go(vfs.freeBytes(directory))).toBeGreaterThan(0)
    await expectErrno(() => vfs.list(at('d')), 'ENOENT')
  })

  test('a directory is not opened as a file', async () => {
    const [vfs, directory] = make()
    const error = await failure(() => go(vfs.open(directory, 'read')))
    expect(error.code).toBe('NOT_A_DATABASE')
  })

  test('clocks go forward, random numbers differ', async () => {
    const [vfs] = make()
    const [monotonic, wall] = [vfs.monotonicMillis(), vfs.wallMillis()]
    await go(vfs.sleep(2))
    expect(vfs.monotonicMillis()).toBeGreaterThan(monotonic)
    expect(vfs.wallMillis()).toBeGreaterThan(wall)
    expect(new Set(Array.from({ length: 20 }, () => vfs.random())).size).toBeGreaterThan(10)
    expect(vfs.processStartTime(vfs.processId)).toBeTypeOf('bigint')
  })
})

describe('the real one', () => {
  test('gives modes 0600 and 0700, whatever the umask', () => {
    const directory = scratchDirectory()
    const before = process.umask(0o777)
    try {
      realVfs.makeDir(`${directory}/d`).sync()
      realVfs.open(`${directory}/d/f`, 'create').sync().close()
    } finally {
      process.umask(before)
    }
    expect(statSync(`${directory}/d`).mode & 0o777).toBe(0o700)
    expect(statSync(`${directory}/d/f`).mode & 0o777).toBe(0o600)
  })

  test('follows no symbolic link in the last component', async () => {
    const directory = scratchDirectory()
    writeFileSync(`${directory}/file`, 'secret')
    symlinkSync('file', `${directory}/link`)
    mkdirSync(`${directory}/d`)
    for (const mode of ['read', 'write'] as const) {
      const error = await failure(() => realVfs.open(`${directory}/link`, mode).sync())
      expect(error.code).toBe('NOT_A_DATABASE')
    }
    expect(realVfs.stat(`${directory}/link`).sync().type).toBe('other')
    expect(realVfs.statTarget(`${directory}/link`).sync().type).toBe('file')
  })

  test.runIf(process.platform === 'linux')('closes a file behind the calls that run', async () => {
    const directory = scratchDirectory()
    const isOpen = (path: string): boolean =>
      readdirSync('/proc/self/fd').some((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === path
        } catch {
          return false
        }
      })
    const bytes = Buffer.alloc(2 ** 20, 'a')
    const path = `${directory}/a`
    const file = await realVfs.open(path, 'create').async()
    // More than the threads that make them: the last ones begin when the file is closed.
    const writes = Array.from({ length: 64 }, (_, i) => file.write(i * bytes.length, [bytes]))
    const running = [...writes, file.sync(), file.size()].map(async (io) => io.async())
    file.close()
    // It would get the number of the descriptor.
    const other = await realVfs.open(`${directory}/b`, 'create').async()
    expect(isOpen(path)).toBe(true)
    await Promise.all(running)
    expect(isOpen(path)).toBe(false)
    expect([statSync(path).size, statSync(`${directory}/b`).size]).toEqual([64 * 2 ** 20, 0])
    other.close()
  })

  test('knows processes that run from others', () => {
    expect(realVfs.processStartTime(process.ppid)).toBeTypeOf('bigint')
    expect(realVfs.processStartTime(2 ** 30)).toBe(undefined)
    expect(realVfs.bootId()).toBe(realVfs.bootId())
  })

  test('a process of which nothing can be read runs all the same', () => {
    const read = vi.spyOn(fs, 'readFileSync').mockImplementation(() => {
      throw Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' })
    })
    syncBuiltinESMExports()
    try {
      expect(realVfs.processStartTime(process.ppid)).toBe(0n)
      expect(realVfs.processStartTime(2 ** 30)).toBe(undefined)
      expect(realVfs.bootId()).toBe('')
    } finally {
      read.mockRestore()
      syncBuiltinESMExports()
    }
  })
})
