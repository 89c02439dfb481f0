// How many files are open at once, and who has to go; over memory, and over the operating system.

import { readdirSync, readlinkSync } from 'node:fs'
import { beforeEach, describe, expect, test } from 'vitest'
import { isErrno } from '../../../lib/typescript/base/status.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import { FileCache } from '../../../lib/typescript/vfs/file-cache.ts'
import { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'
import { realVfs } from '../../../lib/typescript/vfs/real-vfs.ts'
import type { ReadFile, Vfs } from '../../../lib/typescript/vfs/vfs.ts'
import { failure, scratchDirectory, testSeed } from '../../support/scratch.ts'
import { Random } from '../support/random.ts'

const FILES = 40

function pathOf(directory: string, number: number): string {
  return `${directory}/${String(number).padStart(6, '0')}.table`
}

/** Files 1 to FILES; each holds its number. */
function fill(vfs: Vfs, directory: string): void {
  for (let number = 1; number <= FILES; number++) {
    const file = vfs.open(pathOf(directory, number), 'create').sync()
    file.write(0, [Buffer.from(String(number))]).sync()
    file.close()
  }
}

function readSync(file: ReadFile): string {
  const bytes = Buffer.alloc(8)
  return bytes.toString('latin1', 0, file.read(0, bytes).sync())
}

async function read(file: ReadFile): Promise<string> {
  const bytes = Buffer.alloc(8)
  const got = await file.read(0, bytes).async()
  return bytes.toString('latin1', 0, got)
}

let memory: MemVfs
let vfs: FaultVfs

beforeEach(() => {
  memory = new MemVfs()
  memory.makeDir('/d').sync()
  fill(memory, '/d')
  vfs = new FaultVfs(memory)
})

function cacheOf(maxOpen: number): { cache: FileCache; files: ReadFile[] } {
  const cache = new FileCache(vfs, maxOpen)
  const numbers = Array.from({ length: FILES }, (_, i) => i + 1)
  return { cache, files: [cache.file('/none'), ...numbers.map((n) => cache.file(pathOf('/d', n)))] }
}

describe('a file of the cache', () => {
  test('is opened by its first read, once', async () => {
    const { cache, files } = cacheOf(10)
    expect([cache.openCount, vfs.count('open')]).toEqual([0, 0])
    expect(readSync(files[7]!)).toBe('7')
    expect([await read(files[7]!), await files[7]!.size().async()]).toEqual(['7', 1])
    expect([cache.openCount, memory.openFiles, vfs.count('open')]).toEqual([1, 1, 1])
  })

  test('is opened once by reads that begin together', async () => {
    const { files } = cacheOf(10)
    const reads = [read(files[3]!), files[3]!.size().async(), read(files[3]!)]
    expect(await Promise.all(reads)).toEqual(['3', 1, '3'])
    expect([memory.openFiles, vfs.count('open')]).toEqual([1, 1])
  })

  test('a sync read does not wait for an open that runs', async () => {
    const { cache, files } = cacheOf(1)
    const reading = [read(files[3]!), read(files[4]!)]
    expect([readSync(files[3]!), readSync(files[4]!)]).toEqual(['3', '4'])
    expect(await Promise.all(reading)).toEqual(['3', '4'])
    expect([cache.openCount, memory.openFiles]).toEqual([1, 1])
    const opens = vfs.count('open')
    expect([readSync(files[4]!), vfs.count('open')]).toEqual(['4', opens])
  })

  test('is closed when the reads that run have ended; later ones fail', async () => {
    const { cache, files } = cacheOf(10)
    const opening = read(files[1]!)
    files[1]!.close()
    expect(await opening).toBe('1')
    readSync(files[2]!)
    const reading = read(files[2]!)
    files[2]!.close()
    expect(await reading).toBe('2')
    expect([cache.openCount, memory.openFiles]).toEqual([0, 0])
    for (const number of [1, 2]) {
      // oxlint-disable-next-line no-await-in-loop
      const error = await failure(async () => read(files[number]!))
      expect([error.code, error.path]).toEqual(['DB_CLOSED', pathOf('/d', number)])
    }
    files[2]!.close()
    expect(cache.openCount).toBe(0)
  })

  test('that fails to open is tried anew by the next read', async () => {
    const { cache, files } = cacheOf(10)
    const gone = await failure(() => readSync(files[0]!))
    expect(isErrno(gone, 'ENOENT')).toBe(true)
    vfs.setPlan([{ operation: 'open', nth: 0, kind: 'EIO' }])
    const errors = await Promise.allSettled([read(files[1]!), read(files[1]!)])
    expect(errors.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(cache.openCount).toBe(0)
    expect(await read(files[1]!)).toBe('1')
  })
})

describe('the bound', () => {
  test('holds whatever is read', async () => {
    const seed = testSeed()
    const random = new Random(seed)
    for (const maxOpen of [1, 2, 7, 30]) {
      const { cache, files } = cacheOf(maxOpen)
      const pick = (): number => 1 + random.below(FILES)
      for (let i = 0; i < 100; i++) {
        const numbers = Array.from({ length: random.below(50) }, pick)
        const answers = Promise.all(numbers.map(async (number) => read(files[number]!)))
        const number = pick()
        expect(readSync(files[number]!), `SEED=${seed}`).toBe(String(number))
        // oxlint-disable-next-line no-await-in-loop
        expect(await answers, `SEED=${seed}`).toEqual(numbers.map(String))
        expect(cache.openCount).toBeLessThanOrEqual(maxOpen)
        expect(memory.openFiles).toBe(cache.openCount)
        if (random.below(10) > 0) continue
        const closed = pick()
        files[closed]!.close()
        files[closed] = cache.file(pathOf('/d', closed))
      }
      for (const file of files) file.close()
      expect([cache.openCount, memory.openFiles]).toEqual([0, 0])
    }
  })

  test('async reads never go beyond it, and wait in turn', async () => {
    const { files } = cacheOf(3)
    let most = 0
    const answers: string[] = []
    await Promise.all(
      files.slice(1).map(async (file) => {
        answers.push(await read(file))
        most = Math.max(most, memory.openFiles)
      }),
    )
    expect(most).toBe(3)
    expect(answers).toEqual(files.slice(1).map((_, i) => String(i + 1)))
  })

  test('those that were read last stay', () => {
    const { files } = cacheOf(4)
    for (let i = 0; i < 60; i++) {
      for (const number of [1, 2, 3, 10 + (i % 20)]) readSync(files[number]!)
    }
    expect(vfs.count('open')).toBe(63)
  })
})

describe('when the process is out of descriptors', () => {
  test('idle files make room, and the open is tried once more', async () => {
    const { cache, files } = cacheOf(30)
    for (let number = 1; number <= 20; number++) readSync(files[number]!)
    vfs.setPlan([{ operation: 'open', nth: 0, kind: 'EMFILE' }])
    expect(await read(files[30]!)).toBe('30')
    expect([cache.openCount, memory.openFiles]).toEqual([11, 11])
    const opens = vfs.count('open')
    for (let number = 11; number <= 20; number++) readSync(files[number]!)
    expect(vfs.count('open')).toBe(opens)

    vfs.setPlan([{ operation: 'open', nth: 0, kind: 'EMFILE', sticky: true }])
    const error = await failure(() => readSync(files[31]!))
    expect([error.code, error.path]).toEqual(['TOO_MANY_OPEN_FILES', pathOf('/d', 31)])
    expect([vfs.fired, cache.openCount]).toEqual([2, 5])
  })

  test('the open fails if none is idle', async () => {
    const { cache, files } = cacheOf(30)
    vfs.setPlan([{ operation: 'open', nth: 0, kind: 'ENFILE' }])
    const error = await failure(async () => read(files[1]!))
    expect([error.code, vfs.fired, cache.openCount]).toEqual(['TOO_MANY_OPEN_FILES', 1, 0])
    expect(await read(files[1]!)).toBe('1')
  })
})

test.runIf(process.platform === 'linux')('descriptors of the system are bounded', async () => {
  const directory = scratchDirectory()
  fill(realVfs, directory)
  const cache = new FileCache(realVfs, 5)
  const numbers = Array.from({ length: FILES }, (_, i) => i + 1)
  const files = numbers.map((number) => cache.file(pathOf(directory, number)))
  const openCount = (): number =>
    readdirSync('/proc/self/fd').filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory)
      } catch {
        return false
      }
    }).length
  for (let round = 0; round < 3; round++) {
    // oxlint-disable-next-line no-await-in-loop
    expect(await Promise.all(files.map(read))).toEqual(numbers.map(String))
    expect([openCount(), cache.openCount]).toEqual([5, 5])
    expect(files.map(readSync)).toEqual(numbers.map(String))
    expect([openCount(), cache.openCount]).toEqual([5, 5])
  }
  for (const file of files) file.close()
  expect(openCount()).toBe(0)
})
