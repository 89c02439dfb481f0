import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  KIND_TOMBSTONE as TOMBSTONE,
  KIND_WEAK_TOMBSTONE as WEAK_TOMBSTONE,
  READ_ALL,
} from '../../../lib/typescript/base/internal-key.ts'
import { Memtable } from '../../../lib/typescript/memtable/memtable.ts'
import {
  allForward,
  compareEntries,
  expectSequence,
  hardKeys,
  inside,
  kinds,
  shown,
  textOf,
  textsOf,
  values,
  visibleOf,
} from '../support/entries.ts'
import type { Entry } from '../support/entries.ts'
import { Random } from '../support/random.ts'

/** A memtable and beside it the plainest form of the same thing. */
class Pair {
  readonly memtable = new Memtable(1)
  readonly #model = new Map<string, Entry>()

  insert(entry: Entry): void {
    // The caller's bytes are the caller's: they may change right after.
    const { bytes, begin, end } = inside(entry.key)
    const value = Buffer.from(entry.value)
    this.memtable.insert(entry.kind, entry.seqno, bytes, begin, end, value, 0, value.length)
    bytes.fill(0xee)
    value.fill(0xee)
    const at = `${entry.key.toString('hex')}@${entry.seqno}`
    const isWhole = entry.kind === WEAK_TOMBSTONE && this.#model.has(at)
    this.#model.set(at, isWhole ? { ...entry, kind: TOMBSTONE } : entry)
  }

  get entries(): Entry[] {
    return [...this.#model.values()].toSorted(compareEntries)
  }

  /** The entry that a read sees, by way of a point read. */
  find(key: Buffer, readSeqno: number): Entry | undefined {
    const { arena } = this.memtable
    const { bytes, begin: keyBegin, end } = inside(key)
    const found = this.memtable.find(bytes, keyBegin, end, readSeqno)
    if (found === 0) return undefined
    const begin = arena.valueBegin(found)
    const value = arena.valueBytes(found).slice(begin, begin + arena.valueLength(found))
    return {
      key: Buffer.from(arena.chunkOf(found).slice(arena.keyBegin(found), arena.keyEnd(found))),
      seqno: arena.seqno(found),
      kind: arena.kind(found),
      value: Buffer.from(value),
    }
  }

  check(probes: readonly { readonly key: Buffer; readonly seqno: number }[]): void {
    const { entries } = this
    expect(this.memtable.itemCount).toBe(entries.length)
    expectSequence(this.memtable.versions(), entries, probes)
    for (const readSeqno of [0, 5, 12, READ_ALL]) {
      const visible = visibleOf(entries, readSeqno)
      expectSequence(this.memtable.visible(readSeqno), visible, probes)
      for (const { key } of probes) {
        const expected = visible.find((entry) => entry.key.equals(key))
        expect(textOf(this.find(key, readSeqno))).toBe(textOf(expected))
      }
    }
  }
}

const entry = (key: string, seqno: number, kind = 0, value = ''): Entry => ({
  key: Buffer.from(key),
  seqno,
  kind,
  value: Buffer.from(value),
})

/** A generator of numbers below `bound`, from a printed seed. */
function randomNumbers(name: string): (bound: number) => number {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
  console.log(`${name}: SEED=${seed}`)
  const random = new Random(seed)
  return (bound) => random.below(bound)
}

describe('memtable', () => {
  test('an empty one has nothing', () => {
    const pair = new Pair()
    pair.check([{ key: Buffer.from('a'), seqno: 1 }])
    expect(pair.memtable.size).toBe(0)
    expect(pair.memtable.isEmpty).toBe(true)
  })

  test('a read at R sees what is below R', () => {
    const pair = new Pair()
    pair.insert(entry('k', 0, 0, 'zero'))
    pair.insert(entry('k', 7, 1))
    expect(pair.find(Buffer.from('k'), 0)).toBeUndefined()
    expect(pair.find(Buffer.from('k'), 1)?.value.toString()).toBe('zero')
    expect(pair.find(Buffer.from('k'), 7)?.seqno).toBe(0)
    expect(pair.find(Buffer.from('k'), 8)?.kind).toBe(1)
    expect(pair.memtable.highestSeqno).toBe(7)
    expect(pair.memtable.lowestSeqno).toBe(0)
  })

  test('the same key and seqno again replaces the entry, whatever its length', () => {
    const pair = new Pair()
    for (const value of [
      'first',
      'a',
      'a longer one',
      'x'.repeat(70_000),
      '',
      'y'.repeat(90_000),
    ]) {
      pair.insert(entry('k', 3, value === '' ? 1 : 0, value))
      pair.insert(entry('k', 1, 0, value))
      pair.check([{ key: Buffer.from('k'), seqno: 3 }])
    }
    expect(pair.memtable.itemCount).toBe(2)
  })

  test('keys and values of any size, over many chunks', () => {
    const pair = new Pair()
    const sizes = [1, 100, 4000, 5000, 65_535]
    for (const [i, size] of sizes.entries()) {
      for (const valueSize of [0, 4096, 65_535, 65_536, 300_000]) {
        const value = Buffer.alloc(valueSize, i + 1)
        pair.insert({ key: Buffer.alloc(size, 'k'), seqno: valueSize, kind: 0, value })
      }
    }
    pair.check(sizes.map((size) => ({ key: Buffer.alloc(size, 'k'), seqno: 65_535 })))
    expect(pair.memtable.size).toBeGreaterThan(5 * 400_000)
  })

  test('any entries in any order, against a model', () => {
    const entries = fc.array(
      fc.record({ key: hardKeys, seqno: fc.nat(15), kind: kinds, value: values }),
      { maxLength: 120 },
    )
    const probes = fc.array(fc.record({ key: hardKeys, seqno: fc.nat(15) }), { maxLength: 8 })
    fc.assert(
      fc.property(entries, probes, (list, others) => {
        const pair = new Pair()
        for (const one of list) pair.insert(one)
        pair.check([...others, ...list.slice(0, 8)])
      }),
    )
  })

  test('keys of nothing but zeros, the longer ones first', () => {
    const pair = new Pair()
    const zeros = (count: number, more: number[] = []): Buffer =>
      Buffer.concat([Buffer.alloc(count), Buffer.from(more)])
    const keys = Array.from({ length: 60 }, (_, i) => zeros(6, [i]))
    for (let count = 20; count > 0; count--) keys.push(zeros(count), zeros(count, [1, 2]))
    for (const [seqno, key] of keys.entries()) pair.insert({ ...entry('', seqno), key })
    pair.check(keys.map((key, seqno) => ({ key, seqno })))
  })

  test.each([1, 32, 33, 60, 1000, 5000])('%d keys that begin alike, from outside', (count) => {
    const pair = new Pair()
    for (let i = 0; i < count; i++) {
      const number = ((i * 67) % count) * 2
      pair.insert(entry(`key ${String(number).padStart(9, '0')}`, 1 + (i % 3)))
    }
    const cuts = ['', 'k', 'key', 'key ', 'key 0000', 'key 00000', 'key 0000000', 'key 000000099']
    const probes = cuts.flatMap((cut) => [cut, `${cut}\0`, `${cut}~`, `${cut}!!!!!!!!!!!!!!!!!`])
    probes.push('a', 'z', 'l', 'kez', 'kea', 'kez 00000', 'z 0000000', 'key 100000000')
    pair.check(probes.filter((key) => key !== '').map((key) => entry(key, 2)))
  })

  test.each(['random', 'ascending', 'descending', 'decimal'])('many keys, %s', (order) => {
    const random = randomNumbers(`many keys, ${order}`)
    const pair = new Pair()
    const keyOf = (i: number): Buffer => {
      if (order === 'decimal') return Buffer.from(`key${String(random(1e6)).padStart(13, '0')}`)
      if (order === 'random')
        return Buffer.from(Array.from({ length: 1 + random(12) }, () => random(256)))
      const key = Buffer.alloc(8)
      key.writeUInt32BE(order === 'ascending' ? i : 1e6 - i, 2)
      return key
    }
    const probes: Entry[] = []
    for (let i = 0; i < 6000; i++) {
      const one = { key: keyOf(i), seqno: i, kind: i % 3, value: Buffer.from(String(i)) }
      pair.insert(one)
      if (i % 500 === 0) probes.push(one, { ...one, key: keyOf(i) })
    }
    const { entries } = pair
    expectSequence(pair.memtable.versions(), entries, probes)
    for (const { key, seqno } of entries) expect(pair.find(key, seqno + 1)?.seqno).toBe(seqno)
    for (const { key } of probes) {
      const expected = entries.find((other) => other.key.equals(key))
      expect(textOf(pair.find(key, READ_ALL))).toBe(textOf(expected))
    }
  })
})

describe('versions of one key', () => {
  test('every one of thousands is found, in few steps, wherever it was put in', () => {
    const random = randomNumbers('versions')
    const pair = new Pair()
    const { arena } = pair.memtable
    for (let seqno = 0; seqno < 8000; seqno += 2) pair.insert(entry('hot', seqno))
    for (let i = 0; i < 300; i++) pair.insert(entry('hot', 1 + 2 * random(4000)))
    const key = Buffer.from('hot')
    let steps = 0
    const jump = arena.jump.bind(arena)
    const older = arena.older.bind(arena)
    arena.jump = (address) => (steps++, jump(address))
    arena.older = (address) => (steps++, older(address))
    for (const { seqno } of pair.entries) {
      steps = 0
      expect(arena.seqno(pair.memtable.find(key, 0, 3, seqno + 1))).toBe(seqno)
      expect(steps).toBeLessThan(400)
    }
  })
})

describe('an iterator while keys come in', () => {
  test('shows what was there, and goes on from where it is', () => {
    const insertions = fc.array(fc.record({ key: hardKeys, seqno: fc.nat(9) }), { maxLength: 200 })
    fc.assert(
      fc.property(insertions, fc.nat(), fc.boolean(), (list, part, backwards) => {
        const pair = new Pair()
        const put = (one: { key: Buffer; seqno: number }): void =>
          pair.insert({ ...one, kind: 0, value: Buffer.from(one.key) })
        const before = list.slice(0, list.length / 2)
        for (const one of before) put(one)
        const old = pair.entries
        const iterator = pair.memtable.versions()
        const seen: Entry[] = []
        let left = list.slice(before.length)
        if (backwards) iterator.seekToLast()
        else iterator.seekToFirst()
        while (iterator.valid) {
          seen.push(shown(iterator)!)
          const count = part % 5
          for (const one of left.slice(0, count)) {
            // A repeated pair would change an old entry's value; its key is its value here.
            put({ key: one.key, seqno: one.seqno + 100 })
          }
          left = left.slice(count)
          if (backwards) iterator.previous()
          else iterator.next()
        }
        const sorted = backwards ? seen.toReversed() : seen
        expect(textsOf(sorted)).toEqual(textsOf(sorted.toSorted(compareEntries)))
        expect(textsOf(sorted.filter(({ seqno }) => seqno < 100))).toEqual(textsOf(old))
        expect(new Set(seen.map(({ key, seqno }) => `${key.toString('hex')}@${seqno}`)).size).toBe(
          seen.length,
        )
      }),
    )
  })

  test('a read at R does not see what is written later', () => {
    const pair = new Pair()
    for (let i = 0; i < 100; i += 2) pair.insert(entry(`k${String(i).padStart(3, '0')}`, i))
    const expected = visibleOf(pair.entries, 100)
    const iterator = pair.memtable.visible(100)
    let written = 0
    const seen: Entry[] = []
    for (iterator.seekToFirst(); iterator.valid; iterator.next()) {
      seen.push(shown(iterator)!)
      pair.insert(entry(`k${String(written++).padStart(3, '0')}`, 200 + written))
    }
    expect(textsOf(seen)).toEqual(textsOf(expected))
    expect(allForward(pair.memtable.versions()).length).toBe(50 + written)
  })
})
