// Records of the lock: of owners that run, ran, or never were; docs/format.md, section 3.

import { crc32c } from '../../../lib/typescript/base/crc32c.ts'
import { encodeOwner, type Owner } from '../../../lib/typescript/db/lock-owner.ts'
import { realVfs } from '../../../lib/typescript/vfs/real-vfs.ts'

export const TOKEN = '1122334455667788'

/** The process of this test, holding a directory. */
export function thisProcess(): Owner {
  return {
    token: TOKEN,
    pid: process.pid,
    startTime: realVfs.processStartTime(process.pid) ?? 0n,
    bootId: realVfs.bootId(),
    isKnown: true,
  }
}

export function recordOf(changes: Partial<Owner> = {}): Buffer {
  return Buffer.from(encodeOwner({ ...thisProcess(), ...changes }))
}

/** A record with a byte changed and its checksum made right. */
export function resealed(record: Buffer, at: number, byte: number): Buffer {
  const bytes = Buffer.from(record)
  bytes[at] = byte
  const key = Buffer.alloc(16)
  bytes.copy(key, 0, 16, 24)
  bytes.writeUInt32LE(crc32c(Buffer.concat([key, bytes.subarray(0, 92)])), 92)
  return bytes
}

export interface ForgedOwner {
  readonly record: Buffer
  /** Whether a directory with it may be taken over. */
  readonly isGone: boolean
}

/** Nobody has this pid: it is above what Linux gives. */
const NO_PID = 2 ** 22 + 1

export function forgedOwners(): Readonly<Record<string, ForgedOwner>> {
  const { startTime, bootId } = thisProcess()
  const here = recordOf()
  return {
    'a process that runs': { record: here, isGone: false },
    'another process that runs': {
      record: recordOf({ pid: process.ppid, startTime: realVfs.processStartTime(process.ppid)! }),
      isGone: false,
    },
    'a process that runs, start time unknown': {
      record: recordOf({ startTime: 0n }),
      isGone: false,
    },
    'a reused pid': { record: recordOf({ startTime: startTime + 1n }), isGone: true },
    'a pid that nobody has': { record: recordOf({ pid: NO_PID }), isGone: true },
    'another boot': { record: recordOf({ bootId: bootId.replace(/^./, 'x') }), isGone: true },
    'no boot id': { record: recordOf({ bootId: '' }), isGone: false },
    'no boot id and a pid that nobody has': {
      record: recordOf({ bootId: '', pid: NO_PID }),
      isGone: true,
    },
    'a newer format': { record: resealed(here, 8, 2), isGone: false },
    'a newer format of another boot': {
      record: resealed(recordOf({ bootId: 'x' }), 8, 2),
      isGone: false,
    },
    'an unknown feature': { record: resealed(here, 12, 1), isGone: false },
    'a newer minor format': {
      record: resealed(recordOf({ startTime: startTime + 1n }), 10, 9),
      isGone: true,
    },
    'a longer boot id': { record: resealed(here, 41, 49), isGone: false },
    'a wrong checksum': { record: Buffer.from(here).fill(0, 92), isGone: true },
    'a wrong magic': { record: resealed(here, 0, 0), isGone: true },
    'a short record': { record: here.subarray(0, 95), isGone: true },
    'an empty record': { record: Buffer.alloc(0), isGone: true },
    zeros: { record: Buffer.alloc(96), isGone: true },
    'a record with a rest': {
      record: Buffer.concat([recordOf({ pid: NO_PID }), Buffer.alloc(9, 7)]),
      isGone: true,
    },
  }
}
