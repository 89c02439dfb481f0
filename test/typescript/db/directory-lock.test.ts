// The lock of a directory: one holder at a time, whoever crashes where, in whatever order steps
// fall.

import { describe, expect, test } from 'vitest'
import { ShaleError } from '../../../lib/errors.ts'
import { crc32c } from '../../../lib/typescript/base/crc32c.ts'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import type { Flow } from '../../../lib/typescript/base/flow.ts'
import { isErrno } from '../../../lib/typescript/base/status.ts'
import { DirectoryLock } from '../../../lib/typescript/db/directory-lock.ts'
import {
  decodeOwner,
  encodeOwner,
  NOBODY,
  ownerIsGone,
} from '../../../lib/typescript/db/lock-owner.ts'
import { FaultVfs } from '../../../lib/typescript/vfs/fault-vfs.ts'
import type { MemVfs } from '../../../lib/typescript/vfs/mem-vfs.ts'

import { exampleBytes, readFormatDocument } from '../../format/format-document.ts'
import { failure, scaled, testSeed } from '../../support/scratch.ts'
import { newMachine, putFile, readFile } from '../support/machine.ts'
import { Random } from '../support/random.ts'

const seed = testSeed()
const example = exampleBytes(readFormatDocument().examples.get('lock') ?? [])

function acquire(vfs: MemVfs): DirectoryLock {
  return runSync(DirectoryLock.acquire(vfs, '/db'))
}

/** Everything the lock leaves in the directory. */
function files(vfs: MemVfs): string[] {
  return vfs.list('/db').sync().toSorted()
}

describe('the record', () => {
  const owner = {
    token: '1122334455667788',
    pid: 4242,
    startTime: 987_654n,
    bootId: '6f1c2a30-8d1e-4b0a-9b7e-2f3c4d5e6f70',
    isKnown: true,
  }

  test('is the one of the document, but for the engine', () => {
    expect(decodeOwner(example)).toEqual(owner)
    const encoded = Buffer.from(encodeOwner(owner))
    expect(encoded.subarray(0, 40)).toEqual(example.subarray(0, 40))
    expect([encoded[40], example[40]]).toEqual([2, 1])
    expect(encoded.subarray(41, 92)).toEqual(example.subarray(41, 92))
    expect(decodeOwner(encoded)).toEqual(owner)
  })

  test('that is not whole belongs to nobody', () => {
    for (let at = 0; at < example.length; at++) {
      const flipped = Buffer.from(example)
      flipped[at]! ^= 1
      expect(decodeOwner(flipped)).toBe(NOBODY)
      expect(decodeOwner(example.subarray(0, at))).toBe(NOBODY)
    }
  })

  test('names a process that is gone or not', () => {
    const vfs = newMachine()
    const here = { ...owner, pid: 5, startTime: 9n, bootId: vfs.bootId() }
    expect(ownerIsGone(vfs, here)).toBe(true)
    vfs.processes.set(5, 9n)
    expect(ownerIsGone(vfs, here)).toBe(false)
    expect(ownerIsGone(vfs, { ...here, bootId: 'another' })).toBe(true)
    expect(ownerIsGone(vfs, { ...here, bootId: 'another', isKnown: false })).toBe(false)
    vfs.processes.set(5, 10n)
    expect(ownerIsGone(vfs, here)).toBe(true)
    expect(ownerIsGone(vfs, NOBODY)).toBe(true)
  })
})

describe('one after the other', () => {
  test('a held directory is refused with its holder; a released one is free', async () => {
    const vfs = newMachine()
    const other = vfs.asProcess(7, 3n)
    const lock = acquire(vfs)
    expect(files(vfs)).toEqual(['lock'])
    const refused = await failure(() => acquire(other))
    expect([refused.code, refused.pid, refused.sameProcess, refused.path]).toEqual([
      'DB_LOCKED',
      1000,
      false,
      '/db',
    ])
    const again = await failure(() => acquire(vfs))
    expect([again.pid, again.sameProcess]).toEqual([1000, true])
    expect(files(vfs)).toEqual(['lock'])
    lock.release()
    expect(files(vfs)).toEqual([])
    acquire(other).release()
  })

  test('a dead holder is taken over, also if its pid runs again', () => {
    const vfs = newMachine()
    acquire(vfs.asProcess(7, 3n))
    vfs.processes.set(7, 4n)
    const lock = acquire(vfs)
    expect(decodeOwner(readFile(vfs, '/db/lock')).pid).toBe(1000)
    expect(files(vfs)).toEqual(['lock'])
    lock.release()
  })

  test('a holder of another boot is taken over, though its pid runs', () => {
    const before = newMachine()
    acquire(before)
    before.syncDir('/db').sync()
    const vfs = before.crash(() => Infinity)
    acquire(vfs)
    expect(files(vfs)).toEqual(['lock'])
  })

  test('a boot id that is not told says nothing', async () => {
    const vfs = newMachine()
    const bytes = encodeOwner({ ...decodeOwner(example), pid: 1000, startTime: 0n, bootId: '' })
    putFile(vfs, '/db/lock', bytes)
    expect((await failure(() => acquire(vfs))).code).toBe('DB_LOCKED')
    vfs.bootId = () => ''
    putFile(vfs, '/db/lock', encodeOwner({ ...decodeOwner(bytes), bootId: 'any' }))
    expect((await failure(() => acquire(vfs))).code).toBe('DB_LOCKED')
    putFile(vfs, '/db/lock', encodeOwner({ ...decodeOwner(bytes), pid: 9 }))
    acquire(vfs)
  })

  test('a record that a crash of the system tore is taken over', () => {
    for (const length of [0, 50, 95]) {
      const vfs = newMachine()
      putFile(vfs, '/db/lock', example.subarray(0, length))
      acquire(vfs)
      expect(files(vfs)).toEqual(['lock'])
    }
  })

  test('an owner of a newer format is not gone', async () => {
    const vfs = newMachine()
    const owner = { ...decodeOwner(example), bootId: 'another' }
    const bytes = Buffer.from(encodeOwner(owner))
    bytes[8] = 2
    putFile(vfs, '/db/lock', resealed(bytes))
    expect((await failure(() => acquire(vfs))).code).toBe('DB_LOCKED')
  })

  test('what is released is the own lock only', () => {
    const vfs = newMachine()
    const lock = acquire(vfs.asProcess(7, 3n))
    vfs.processes.delete(7)
    acquire(vfs)
    lock.release()
    expect(decodeOwner(readFile(vfs, '/db/lock')).pid).toBe(1000)
  })

  test('rests of dead openers go, records that may be in the making stay', () => {
    const vfs = newMachine()
    const dead = encodeOwner({ ...decodeOwner(example), bootId: vfs.bootId() })
    putFile(vfs, '/db/lock.1122334455667788', dead)
    putFile(vfs, '/db/lock.1122334455667788.new', dead)
    putFile(vfs, '/db/lock.9922334455667788', new Uint8Array(0))
    putFile(vfs, '/db/lock.notes', dead)
    acquire(vfs)
    expect(files(vfs)).toEqual(['lock', 'lock.9922334455667788', 'lock.notes'])
  })

  test('without hard links, too', async () => {
    const memory = newMachine()
    const vfs = new FaultVfs(memory)
    vfs.setPlan([{ operation: 'link', nth: 0, kind: 'EPERM', sticky: true }])
    const other = new FaultVfs(memory.asProcess(7, 3n))
    other.setPlan([{ operation: 'link', nth: 0, kind: 'EPERM', sticky: true }])
    runSync(DirectoryLock.acquire(other, '/db'))
    const error = await failure(() => runSync(DirectoryLock.acquire(vfs, '/db')))
    expect([error.code, error.pid]).toEqual(['DB_LOCKED', 7])
    memory.processes.delete(7)
    const lock = runSync(DirectoryLock.acquire(vfs, '/db'))
    expect(files(memory)).toEqual(['lock'])
    lock.release()
    expect(files(memory)).toEqual([])
  })

  test('a failed call is reported, and nothing is left behind', () => {
    const operations = ['create', 'write', 'link', 'read', 'open', 'sync', 'rename'] as const
    for (const operation of operations) {
      for (let nth = 0; nth < 4; nth++) {
        const memory = newMachine()
        acquire(memory.asProcess(7, 3n))
        memory.processes.delete(7)
        const vfs = new FaultVfs(memory)
        vfs.setPlan([{ operation, nth, kind: 'EIO' }])
        try {
          runSync(DirectoryLock.acquire(vfs, '/db')).release()
          expect(files(memory)).toEqual([])
        } catch (error) {
          expect(isErrno(error, 'EIO')).toBe(true)
          expect(files(memory)).toEqual(['lock'])
        }
        acquire(memory).release()
      }
    }
  })
})

/** A record with its checksum made right again. */
function resealed(bytes: Buffer): Buffer {
  const key = Buffer.alloc(16)
  bytes.copy(key, 0, 16, 24)
  bytes.writeUInt32LE(crc32c(Buffer.concat([key, bytes.subarray(0, 92)])), 92)
  return bytes
}

describe('all at once', () => {
  interface Opener {
    readonly vfs: MemVfs
    flow: Flow<DirectoryLock>
    answer: unknown
    error: unknown
    state: 'running' | 'held' | 'refused' | 'dead'
    lock: DirectoryLock | undefined
  }

  /** One step of an opener: what it waits for is done, and it goes on to the next call. */
  function step(opener: Opener): void {
    try {
      const result =
        opener.error === undefined
          ? opener.flow.next(opener.answer)
          : opener.flow.throw(opener.error)
      opener.answer = undefined
      opener.error = undefined
      if (result.done === true) {
        opener.state = 'held'
        opener.lock = result.value
        return
      }
      try {
        opener.answer = result.value.sync()
      } catch (error) {
        opener.error = error
      }
    } catch (error) {
      if (!(error instanceof ShaleError) || error.code !== 'DB_LOCKED') throw error
      opener.state = 'refused'
    }
  }

  test('never two hold it, and where nobody crashes exactly one does', () => {
    const random = new Random(seed)
    let taken = 0
    for (let round = 0; round < scaled(1500); round++) {
      const machine = newMachine()
      const message = `SEED=${seed}, round ${round}`
      // What crashed processes left: a lock, and openers that died anywhere on their way.
      let pid = 10
      const begin = (): Opener => {
        const vfs = machine.asProcess(++pid, BigInt(pid))
        const flow = DirectoryLock.acquire(vfs, '/db')
        return { vfs, flow, answer: undefined, error: undefined, state: 'running', lock: undefined }
      }
      const kill = (opener: Opener): void => {
        opener.state = 'dead'
        machine.processes.delete(opener.vfs.processId)
      }
      for (let dead = random.below(4); dead > 0; dead--) {
        const opener = begin()
        for (let steps = random.below(30); steps > 0 && opener.state === 'running'; steps--) {
          step(opener)
        }
        kill(opener)
      }
      // A claim without its record, which a crash may leave where there are no hard links.
      if (files(machine).includes('lock') && random.below(3) === 0) {
        const { token } = decodeOwner(readFile(machine, '/db/lock'))
        const length = random.below(2) * random.below(96)
        putFile(machine, `/db/lock.${token}.claim`, example.subarray(0, length))
      }
      const crashes = random.below(3) === 0
      const openers = Array.from({ length: 2 + random.below(3) }, begin)
      for (;;) {
        const running = openers.filter(({ state }) => state === 'running')
        if (running.length === 0) break
        const opener = running[random.below(running.length)]!
        if (crashes && random.below(40) === 0) kill(opener)
        else step(opener)
        const held = openers.filter(({ state }) => state === 'held')
        expect(held.length, message).toBeLessThanOrEqual(1)
        if (crashes && held.length === 1 && random.below(20) === 0) kill(held[0]!)
      }
      const [holder] = openers.filter(({ state }) => state === 'held')
      if (!crashes) expect(holder, message).toBeDefined()
      if (holder === undefined) continue
      taken++
      expect(decodeOwner(readFile(machine, '/db/lock')).pid, message).toBe(holder.vfs.processId)
      holder.lock!.release()
      acquire(machine).release()
    }
    expect(taken).toBeGreaterThan(0)
  })
})
