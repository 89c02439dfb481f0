/** The record of an owner file, and whether its owner still runs; docs/format.md, section 3. */

import { getU16, getU32, putU16, putU32 } from '../base/coding.ts'
import { CRC_BEGIN, crcEnd, crcUpdate } from '../base/crc32c.ts'
import { FORMAT_MAJOR, FORMAT_MINOR, KNOWN_FEATURES } from '../base/limits.ts'
import type { Vfs } from '../vfs/vfs.ts'

const LOCK_BYTES = 96
const CRC_AT = 92
const BOOT_ID_AT = 44
const BOOT_ID_BYTES_MAX = 48
const MAGIC: Uint8Array = Buffer.from('SHALELCK')
/** 1 is the native engine, which also holds the operating system's lock. */
const ENGINE_TYPESCRIPT = 2

export interface Owner {
  /** 16 lowercase hex digits. */
  readonly token: string
  readonly pid: number
  readonly startTime: bigint
  readonly bootId: string
  /** False: written by a version that this one does not understand. */
  readonly isKnown: boolean
}

/** Whom a record names that is not whole. */
export const NOBODY: Owner = {
  token: '0000000000000000',
  pid: 0,
  startTime: 0n,
  bootId: '',
  isKnown: true,
}

export function encodeOwner({ token, pid, startTime, bootId }: Owner): Uint8Array {
  const bytes = Buffer.alloc(LOCK_BYTES)
  const boot = Buffer.from(bootId, 'latin1').subarray(0, BOOT_ID_BYTES_MAX)
  bytes.set(MAGIC)
  putU16(bytes, 8, FORMAT_MAJOR)
  putU16(bytes, 10, FORMAT_MINOR)
  bytes.writeBigUInt64LE(BigInt(`0x${token}`), 16)
  bytes.writeBigUInt64LE(BigInt(pid), 24)
  bytes.writeBigUInt64LE(startTime, 32)
  bytes[40] = ENGINE_TYPESCRIPT
  bytes[41] = boot.length
  bytes.set(boot, BOOT_ID_AT)
  putU32(bytes, CRC_AT, checksum(bytes))
  return new Uint8Array(bytes)
}

/** Keyed with the token, as other structures are with their file number; offset 0. */
function checksum(bytes: Uint8Array): number {
  const key = new Uint8Array(16)
  key.set(bytes.subarray(16, 24))
  return crcEnd(crcUpdate(crcUpdate(CRC_BEGIN, key, 0, 16), bytes, 0, CRC_AT))
}

/** A record that is short, or has a wrong magic or checksum, belongs to nobody. */
export function decodeOwner(bytes: Uint8Array): Owner {
  if (bytes.length < LOCK_BYTES || MAGIC.some((byte, i) => bytes[i] !== byte)) return NOBODY
  if (getU32(bytes, CRC_AT) !== checksum(bytes)) return NOBODY
  const fields = Buffer.from(bytes.buffer, bytes.byteOffset, LOCK_BYTES)
  const bootIdLength = bytes[41]!
  return {
    token: fields.readBigUInt64LE(16).toString(16).padStart(16, '0'),
    pid: Number(fields.readBigUInt64LE(24)),
    startTime: fields.readBigUInt64LE(32),
    bootId: fields.toString('latin1', BOOT_ID_AT, BOOT_ID_AT + bootIdLength),
    isKnown:
      getU16(bytes, 8) <= FORMAT_MAJOR &&
      (getU32(bytes, 12) & ~KNOWN_FEATURES) === 0 &&
      bootIdLength <= BOOT_ID_BYTES_MAX,
  }
}

/** Whether the process of `owner` runs no more. Nobody is gone. A boot id of '' says nothing. */
export function ownerIsGone(vfs: Vfs, owner: Owner): boolean {
  if (owner === NOBODY) return true
  if (!owner.isKnown) return false
  const bootId = vfs.bootId()
  if (owner.bootId !== '' && bootId !== '' && owner.bootId !== bootId) return true
  const startTime = vfs.processStartTime(owner.pid)
  if (startTime === undefined) return true
  // 0: a system that does not tell. The process then counts as the owner.
  return startTime !== 0n && owner.startTime !== 0n && startTime !== owner.startTime
}
