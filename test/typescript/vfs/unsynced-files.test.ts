// Files that wait to be synced together.

import { expect, test } from 'vitest'
import { run, runSync } from '../../../lib/typescript/base/flow.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { keepNothing, MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { UnsyncedFiles } from '../../../lib/typescript/vfs/unsynced-files.ts'
import type { File, Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { failure } from '../../support/scratch.ts'

function written(vfs: Vfs, name: string): File {
  const file = vfs.open(`/db/${name}`, 'create').sync()
  file.write(0, [Buffer.from(name)]).sync()
  return file
}

/** What of the files a power cut leaves. */
function durable(memory: MemVfs, names: readonly string[]): string[] {
  memory.syncDir('/db').sync()
  const left = memory.crash(keepNothing)
  return names.filter((name) => left.open(`/db/${name}`, 'read').sync().size().sync() > 0)
}

function machine(): MemVfs {
  const memory = new MemVfs()
  memory.makeDir('/db').sync()
  memory.syncDir('/').sync()
  return memory
}

const NAMES = ['a', 'b', 'c', 'd']

test('so many stay open, the oldest are synced first, and in the end all are', async () => {
  for (const isSync of [true, false]) {
    const memory = machine()
    const files = new UnsyncedFiles(2)
    for (const name of NAMES) {
      const taking = files.take(written(memory, name))
      if (isSync) runSync(taking)
      else await run(taking)
    }
    expect([memory.openFiles, durable(memory, NAMES)]).toEqual([2, ['a', 'b']])
    if (isSync) runSync(files.sync())
    else await run(files.sync())
    expect([memory.openFiles, durable(memory, NAMES)]).toEqual([0, NAMES])
  }
})

test('with room for none each is synced when it comes', () => {
  const memory = machine()
  const files = new UnsyncedFiles(0)
  for (const name of NAMES) runSync(files.take(written(memory, name)))
  expect([memory.openFiles, durable(memory, NAMES)]).toEqual([0, NAMES])
})

test('a sync that fails is told when the others are done; nothing stays open', async () => {
  for (const nth of NAMES.keys()) {
    for (const isSync of [true, false]) {
      const memory = machine()
      const vfs = new FaultVfs(memory)
      const files = new UnsyncedFiles(2)
      vfs.setPlan([{ operation: 'sync', nth, kind: 'EIO' }])
      const all = async (): Promise<void> => {
        for (const name of NAMES) runSync(files.take(written(vfs, name)))
        if (isSync) runSync(files.sync())
        else await run(files.sync())
      }
      expect((await failure(all)).code).toBe('IO_ERROR')
      files.close()
      expect(memory.openFiles).toBe(0)
    }
  }
})

test('those that nobody needs are closed as they are', () => {
  const memory = machine()
  const files = new UnsyncedFiles(4)
  for (const name of NAMES) runSync(files.take(written(memory, name)))
  files.close()
  expect([memory.openFiles, durable(memory, NAMES)]).toEqual([0, []])
})
