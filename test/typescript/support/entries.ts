// Entries as a test sees them, in internal order, and what an iterator over them must show.

import { createHash } from 'node:crypto'
import * as fc from 'fast-check'
import { expect } from 'vitest'
import { runSync } from '../../../lib/typescript/base/flow.ts'
import { settled } from '../../../lib/typescript/base/iterator.ts'
import type { EntryIterator } from '../../../lib/typescript/base/iterator.ts'
import { expectSame } from '../../support/same.ts'

export interface Entry {
  readonly key: Buffer
  readonly seqno: number
  readonly kind: number
  readonly value: Buffer
}

export function compareEntries(a: Entry, b: Entry): number {
  return Buffer.compare(a.key, b.key) || b.seqno - a.seqno
}

/** For comparing and for messages: deep comparison of Buffers takes for ever. */
export function textOf(entry: Entry | undefined): string | undefined {
  if (entry === undefined) return undefined
  const { key, seqno, kind, value } = entry
  const brief = (bytes: Buffer): string =>
    bytes.length < 100 ? bytes.toString('hex') : createHash('md5').update(bytes).digest('hex')
  return `${brief(key)}@${seqno} ${kind} ${brief(value)}`
}

export function textsOf(entries: readonly Entry[]): (string | undefined)[] {
  return entries.map(textOf)
}

/** What the entry at the iterator's place is; undefined if it is at none. */
export function shown(iterator: EntryIterator): Entry | undefined {
  if (!iterator.valid) return undefined
  const { key, keyBegin, keyEnd, seqno, kind, value, valueBegin, valueEnd } = iterator
  return {
    key: Buffer.from(key.slice(keyBegin, keyEnd)),
    seqno,
    kind,
    value: Buffer.from(value.slice(valueBegin, valueEnd)),
  }
}

export function allForward(iterator: EntryIterator): Entry[] {
  const entries: Entry[] = []
  iterator.seekToFirst()
  for (complete(iterator); iterator.valid; complete(iterator)) {
    entries.push(shown(iterator)!)
    iterator.next()
  }
  return entries
}

export function allBackward(iterator: EntryIterator): Entry[] {
  const entries: Entry[] = []
  iterator.seekToLast()
  for (complete(iterator); iterator.valid; complete(iterator)) {
    entries.push(shown(iterator)!)
    iterator.previous()
  }
  return entries
}

/** Of each key the newest entry below `readSeqno`. */
export function visibleOf(entries: readonly Entry[], readSeqno: number): Entry[] {
  const below = entries.filter(({ seqno }) => seqno < readSeqno)
  return below.filter((entry, i) => i === 0 || !entry.key.equals(below[i - 1]!.key))
}

/** A key between other bytes, as keys lie in a batch: zeros behind it must not count. */
export function inside(key: Buffer): {
  readonly bytes: Buffer
  readonly begin: number
  readonly end: number
} {
  const bytes = Buffer.concat([Buffer.from([0xff, 0]), key, Buffer.alloc(12)])
  return { bytes, begin: 2, end: 2 + key.length }
}

/** Checks an iterator against the sorted entries that it must show: both ways and at any place. */
export function expectSequence(
  iterator: EntryIterator,
  entries: readonly Entry[],
  probes: readonly { readonly key: Buffer; readonly seqno: number }[],
): void {
  expectSame(textsOf(allForward(iterator)), textsOf(entries))
  expectSame(textsOf(allBackward(iterator)), textsOf(entries.toReversed()))
  for (const { key, seqno } of probes) {
    const at = entries.findIndex((entry) => compareEntries(entry, { ...entry, key, seqno }) >= 0)
    const first = at < 0 ? entries.length : at
    const { bytes, begin, end } = inside(key)
    const seek = (): void => iterator.seek(bytes, begin, end, seqno)
    const seekBefore = (): void => iterator.seekBefore(bytes, begin, end, seqno)
    const next = (): void => iterator.next()
    const previous = (): void => iterator.previous()
    expectWalk(iterator, entries, [seek, next, next], first, 1)
    expectWalk(iterator, entries, [seekBefore, previous, previous], first - 1, -1)
    // Turning round, as a cursor that is moved by hand does.
    expectWalk(iterator, entries, [seek, previous], first, -1)
    expectWalk(iterator, entries, [seekBefore, next], first - 1, 1)
  }
}

/** Each move must lead to the entry at `at`, then `step` further, as long as it is at one. */
function expectWalk(
  iterator: EntryIterator,
  entries: readonly Entry[],
  moves: readonly (() => void)[],
  at: number,
  step: number,
): void {
  for (const [i, move] of moves.entries()) {
    move()
    complete(iterator)
    expect(textOf(shown(iterator))).toBe(textOf(entries[at + i * step]))
    if (!iterator.valid) return
  }
}

/** Makes a move whole. */
function complete(iterator: EntryIterator): void {
  if (iterator.missing !== undefined) runSync(settled(iterator))
}

/**
 * Keys that bring out what is hard about order: zeros, shared beginnings, prefixes of each other.
 */
export const hardKeys: fc.Arbitrary<Buffer> = fc
  .tuple(
    fc.constantFrom('', 'a', 'same beginning ', '\u0000\u0000\u0000\u0000\u0000\u0000', '\u00ff'),
    fc.array(fc.constantFrom(0, 1, 0x61, 0x62, 0xfe, 0xff), { minLength: 1, maxLength: 9 }),
  )
  .map(([head, tail]) => Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(tail)]))

export const kinds: fc.Arbitrary<number> = fc.constantFrom(0, 0, 0, 1, 2)

export const values: fc.Arbitrary<Buffer> = fc
  .uint8Array({ maxLength: 40 })
  .map((bytes) => Buffer.from(bytes))
