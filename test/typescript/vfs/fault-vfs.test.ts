// Faults: chosen by operation, file and number; each does what its name says.

import { expect, test } from 'vitest'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { keepEverything, MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { failure } from '../../support/scratch.ts'

function machine(): { memory: MemVfs; vfs: FaultVfs } {
  const memory = new MemVfs()
  memory.makeDir('/d').sync()
  return { memory, vfs: new FaultVfs(memory) }
}

test('the nth matching call fails, and only that; sticky ones go on', async () => {
  const { vfs } = machine()
  vfs.setPlan([{ operation: 'create', file: 'table', nth: 1, kind: 'EMFILE' }])
  vfs.open('/d/000001.table', 'create').sync()
  vfs.open('/d/000002.journal', 'create').sync()
  const error = await failure(async () => vfs.open('/d/000003.table', 'create').async())
  expect([error.code, error.path]).toEqual(['TOO_MANY_OPEN_FILES', '/d/000003.table'])
  vfs.open('/d/000003.table', 'create').sync()
  expect([vfs.fired, vfs.count('create'), vfs.count('open')]).toEqual([1, 4, 0])

  vfs.setPlan([{ operation: 'list', nth: 1, kind: 'EIO', sticky: true }])
  vfs.list('/d').sync()
  for (let i = 0; i < 3; i++) {
    // One call after the other.
    // oxlint-disable-next-line no-await-in-loop
    expect((await failure(() => vfs.list('/d').sync())).code).toBe('IO_ERROR')
  }
  vfs.setPlan([])
  vfs.list('/d').sync()
})

test('writes fail in the middle, are lost, or are damaged', async () => {
  const { vfs } = machine()
  const file = vfs.open('/d/a', 'create').sync()
  const content = (): string => {
    const bytes = Buffer.alloc(file.size().sync())
    file.read(0, bytes).sync()
    return bytes.toString('latin1')
  }
  vfs.setPlan([{ operation: 'write', nth: 0, kind: 'ENOSPC' }])
  const error = await failure(() => file.write(0, [Buffer.from('abcd')]).sync())
  expect([error.code, content()]).toEqual(['DISK_FULL', 'ab'])
  vfs.setPlan([{ operation: 'write', nth: 0, kind: 'lostWrite' }])
  file.write(0, [Buffer.from('xyz')]).sync()
  expect(content()).toBe('ab')
  vfs.setPlan([{ operation: 'write', nth: 0, kind: 'flipWrite' }])
  file.write(0, [Buffer.from('abcd')]).sync()
  const flipped = [...Buffer.from(content(), 'latin1')].map((byte, i) => byte ^ (0x61 + i))
  expect(flipped.filter((bits) => bits !== 0)).toHaveLength(1)
})

test('reads end early or come back with a bit inverted, once', () => {
  const { vfs } = machine()
  const file = vfs.open('/d/a', 'create').sync()
  file.write(0, [Buffer.from('abcd')]).sync()
  const target = new Uint8Array(4)
  vfs.setPlan([{ operation: 'read', nth: 0, kind: 'shortRead' }])
  expect(file.read(0, target).sync()).toBe(2)
  vfs.setPlan([{ operation: 'read', nth: 0, kind: 'flipRead' }])
  expect(file.read(0, target).sync()).toBe(4)
  expect(Buffer.from(target).toString()).not.toBe('abcd')
  file.read(0, target).sync()
  expect(Buffer.from(target).toString()).toBe('abcd')
})

test('a failed sync loses what it was to make durable', async () => {
  for (const [kind, now] of [
    ['syncKept', 3],
    ['syncDropped', 0],
  ] as const) {
    const { memory, vfs } = machine()
    memory.syncDir('/').sync()
    const file = vfs.open('/d/a', 'create').sync()
    memory.syncDir('/d').sync()
    file.write(0, [Buffer.from('abc')]).sync()
    vfs.setPlan([{ operation: 'sync', nth: 0, kind }])
    // oxlint-disable-next-line no-await-in-loop
    expect((await failure(() => file.sync().sync())).code).toBe('IO_ERROR')
    file.sync().sync()
    expect(file.size().sync()).toBe(now)
    const image = memory.crash(keepEverything)
    expect(image.stat('/d/a').sync().size).toBe(0)
  }
})
