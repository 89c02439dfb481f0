// Point reads of the TypeScript engine at the seam, against a model: every form of them, from every
// layer of a tree, from memory and from files that answer late.

import * as fc from 'fast-check'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { LATEST } from '../../lib/engine.ts'
import type { KeyInput } from '../../lib/engine.ts'
import { TypescriptReads } from '../../lib/typescript/typescript-reads.ts'
import { failure, rejection, testSeed } from '../support/scratch.ts'
import type { Entry } from './support/entries.ts'
import { hardKeys } from './support/entries.ts'
import { layered, layersOf, rowsSeen, SlowMachine, Source, turn } from './support/super-versions.ts'

afterEach(() => {
  vi.restoreAllMocks()
})

function entry(key: string | Buffer, seqno: number, value: string | Buffer, kind = 0): Entry {
  return { key: Buffer.from(key), seqno, kind, value: Buffer.from(value) }
}

/** Reads of a tree over the given entries; `cuts`: see layersOf. */
function readsOf(
  entries: readonly Entry[],
  cuts: readonly number[] = [0, 0, 0],
  options: { readonly cacheSize?: number } = {},
) {
  const machine = new SlowMachine(testSeed())
  const released: string[] = []
  const superVersion = machine.superVersion(layersOf(entries, cuts), {
    ...options,
    onReleased: () => released.push('first'),
  })
  const source = new Source(superVersion, 2 ** 53)
  return { reads: new TypescriptReads(source), source, machine, released }
}

function resizable(size: number): ArrayBuffer & { resize(size: number): void } {
  const make = ArrayBuffer as unknown as new (size: number, options: object) => never
  return new make(size, { maxByteLength: 64 })
}

/** Cuts that put all entries into level 0. */
const IN_TABLES = [99, 99, 0]

/** The same key in the forms that a caller may give it. */
function formsOf(key: Buffer): readonly KeyInput[] {
  const shared = new Uint8Array(new SharedArrayBuffer(key.length + 2))
  shared.set(key, 1)
  const forms: KeyInput[] = [key, new Uint8Array(key), shared.subarray(1, key.length + 1)]
  const text = key.toString()
  if (Buffer.from(text).equals(key)) forms.push(text)
  return forms
}

describe('what is found', () => {
  const settings = fc.record({
    keys: fc.array(hardKeys, { maxLength: 5 }),
    read: fc.constantFrom(LATEST, 0, 7, 20, 41, Number.MAX_SAFE_INTEGER),
    visible: fc.integer({ min: 0, max: 45 }),
    cacheSize: fc.constantFrom(0, 1 << 20),
    partitioned: fc.boolean(),
    seed: fc.nat(),
  })

  test('every form of a read answers as the model, waiting or not', async () => {
    await fc.assert(
      fc.asyncProperty(layered, settings, async ({ entries, layers }, reading) => {
        const { keys, read, visible, cacheSize, partitioned, seed } = reading
        const machine = new SlowMachine(seed)
        const table = { partitionIndex: partitioned, partitionFilter: partitioned }
        const superVersion = machine.superVersion(layers, { cacheSize, table })
        const reads = new TypescriptReads(new Source(superVersion, visible))
        const limit = read === LATEST ? visible : read
        const rows = new Map(
          rowsSeen(entries, limit).map(({ key, value }) => [key.toString('hex'), value]),
        )
        const asked = [...keys, ...entries.map(({ key }) => key)].flatMap((key) => formsOf(key))
        const expected = asked.map((key) => rows.get(Buffer.from(key).toString('hex')))
        const texts = expected.map((value) => value?.toString())
        const sizes = expected.map((value) => value?.length)
        const hex = (list: readonly (Buffer | undefined)[]): (string | undefined)[] =>
          list.map((value) => value?.toString('hex'))
        const all = async <T>(call: (key: KeyInput) => Promise<T>): Promise<T[]> =>
          Promise.all(asked.map(call))

        expect(hex(await all((key) => reads.get(key, read)))).toEqual(hex(expected))
        expect(hex(asked.map((key) => reads.getSync(key, read)))).toEqual(hex(expected))
        expect(hex(await reads.getMany(asked, read))).toEqual(hex(expected))
        expect(hex(reads.getManySync(asked, read))).toEqual(hex(expected))
        expect(await all((key) => reads.getText(key, read))).toEqual(texts)
        expect(asked.map((key) => reads.getTextSync(key, read))).toEqual(texts)
        expect(await all((key) => reads.sizeOf(key, read))).toEqual(sizes)
        expect(asked.map((key) => reads.sizeOfSync(key, read))).toEqual(sizes)
        const target = Buffer.alloc(64, 0xee)
        const copied = asked.map((key) => {
          const length = reads.getIntoSync(key, read, target.fill(0xee), 3)
          return length === undefined ? undefined : target.subarray(3, 3 + length)
        })
        expect(copied.map((value) => value?.length)).toEqual(sizes)
        expect(target.subarray(3 + (sizes.at(-1) ?? 0)).every((byte) => byte === 0xee)).toBe(true)
      }),
      { seed: testSeed(), numRuns: 60 },
    )
  })

  test('a long string, and one that is not ASCII, is its UTF-8', () => {
    const names = ['ä', 'key\u0000', '\u{1f600}'.repeat(20), 'x'.repeat(65_535), 'é'.repeat(32_767)]
    const { reads } = readsOf(names.map((name, i) => entry(name, i + 1, `${i} grüße \u{1f600}`)))
    names.forEach((name, i) => {
      expect(reads.getTextSync(name, LATEST)).toBe(`${i} grüße \u{1f600}`)
      expect(reads.sizeOfSync(name.replace(/.$/u, '?'), LATEST)).toBe(undefined)
    })
  })

  test('getMany answers from one state, whatever is written between its turns', async () => {
    const names = Array.from({ length: 3000 }, (_, i) => `key${i}`)
    const entries = names.map((name, i) => entry(name, i + 1, name))
    for (const cuts of [[0, 0, 0], IN_TABLES]) {
      const { reads, source, machine, released } = readsOf(entries, cuts, { cacheSize: 1 << 22 })
      source.visible = 3001
      let now = 0
      vi.spyOn(performance, 'now').mockImplementation(() => now++)
      const keys = names.map((name) => Buffer.from(name))
      let turns = 0
      const count = setInterval(() => turns++, 0)
      const values = reads.getMany(keys, LATEST)
      for (const key of keys) key.fill(0)
      const later = layersOf([entry('key7', 4000, '', 1)], [0, 0, 0])
      source.replace(machine.superVersion(later))
      source.visible = 4001
      expect((await values).map(String)).toEqual(names)
      clearInterval(count)
      expect(turns).toBeGreaterThan(0)
      expect(reads.getSync('key7', LATEST)).toBe(undefined)
      expect(released).toEqual(['first'])
    }
  })
})

describe('keys that are none', () => {
  const bad: readonly unknown[] = [
    '',
    '\ud800',
    'x'.repeat(65_536),
    'é'.repeat(32_768),
    new Uint8Array(0),
    new Uint8Array(65_536),
    undefined,
    7,
    null,
    new DataView(new ArrayBuffer(8)),
    new Proxy(new Uint8Array(3), {}),
  ]

  test('are refused by every form, with the words of the public classes', async () => {
    const { reads, source } = readsOf([entry('a', 1, 'v')])
    for (const one of bad) {
      const key = one as KeyInput
      const { code, message } = await failure(() => reads.getSync(key, LATEST))
      expect(['INVALID_KEY', 'KEY_TOO_LARGE']).toContain(code)
      const calls = [
        () => reads.getTextSync(key, LATEST),
        () => reads.sizeOfSync(key, LATEST),
        () => reads.getIntoSync(key, LATEST, Buffer.alloc(9), 0),
      ]
      const later = [
        () => reads.get(key, LATEST),
        () => reads.getText(key, LATEST),
        () => reads.sizeOf(key, LATEST),
      ]
      for (const call of calls) expect(await failure(call)).toMatchObject({ code, message })
      for (const call of later) expect(await rejection(call)).toMatchObject({ code, message })
      const named = { code, message: message.replace(/^key/, 'keys[1]') }
      expect(await failure(() => reads.getManySync(['a', key], LATEST))).toMatchObject(named)
      expect(await rejection(() => reads.getMany(['a', key], LATEST))).toMatchObject(named)
    }
    source.isClosed = true
    expect(await failure(() => reads.getSync('', LATEST))).toMatchObject({ code: 'INVALID_KEY' })
  })

  test('a view whose memory was taken away', async () => {
    const { reads } = readsOf([entry('abc', 1, 'v')])
    const detached = Buffer.from(new ArrayBuffer(16))
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    expect((await failure(() => reads.getSync(detached, LATEST))).code).toBe('INVALID_KEY')
    const shrunk = resizable(32)
    const fixed = new Uint8Array(shrunk, 8, 24)
    shrunk.resize(16)
    expect((await failure(() => reads.getSync(fixed, LATEST))).code).toBe('INVALID_KEY')
  })

  test('the real length of a key counts, not what a subclass says', () => {
    class Liar extends Uint8Array {
      override get length(): number {
        return 1 << 30
      }
      override get byteLength(): number {
        return 1 << 30
      }
      override get buffer(): ArrayBuffer {
        throw new Error('not to be asked')
      }
      override set(): void {
        throw new Error('not to be called')
      }
    }
    const { reads } = readsOf([entry('abc', 1, 'v'), entry('x'.repeat(100), 2, 'w')])
    expect(reads.getTextSync(new Liar([97, 98, 99]), LATEST)).toBe('v')
    expect(reads.getTextSync(new Liar(100).fill(120), LATEST)).toBe('w')
    const target = new Liar(4)
    expect(reads.getIntoSync('abc', LATEST, target, 3)).toBe(1)
    expect(target[3]).toBe(118)
  })
})

describe('what is returned', () => {
  test('belongs to the caller: small values share a slab, large ones do not', () => {
    for (const cuts of [[0, 0, 0], IN_TABLES]) {
      const small = Buffer.alloc(4095, 's')
      const large = Buffer.alloc(4096, 'l')
      const huge = Buffer.alloc(300_000, 'h')
      const { reads } = readsOf(
        [entry('huge', 1, huge), entry('large', 2, large), entry('small', 3, small)],
        cuts,
      )
      for (const value of [small, large, huge]) {
        const key = { s: 'small', l: 'large', h: 'huge' }[value.toString()[0] as 's' | 'l' | 'h']
        const first = reads.getSync(key, LATEST)!
        expect(Buffer.isBuffer(first)).toBe(true)
        expect(Object.getPrototypeOf(first)).toBe(Buffer.prototype)
        expect(first.equals(value)).toBe(true)
        expect(first.buffer.byteLength).toBe(value.length < 4096 ? 65_536 : value.length)
        first.fill(0)
        expect(reads.getSync(key, LATEST)?.equals(value)).toBe(true)
      }
    }
  })

  test('is never overwritten by later reads', () => {
    const sizes = Array.from({ length: 300 }, (_, i) => (i * 37) % 4200)
    const names = sizes.map((_, i) => `key${String(i).padStart(4, '0')}`)
    const { reads } = readsOf(
      names.map((name, i) => entry(name, i + 1, Buffer.alloc(sizes[i]!, i))),
    )
    const got = [
      ...names.map((name) => reads.getSync(name, LATEST)),
      ...reads.getManySync(names, LATEST),
    ]
    got.forEach((value, i) => {
      const n = i % names.length
      expect(value?.length).toBe(sizes[n])
      expect(value?.every((byte) => byte === (n & 0xff))).toBe(true)
    })
  })

  test('cannot be taken away from the others', () => {
    const { reads } = readsOf([entry('a', 1, 'first'), entry('b', 2, 'second')])
    const [first, second] = [reads.getSync('a', LATEST)!, reads.getSync('b', LATEST)!]
    try {
      structuredClone(first.buffer, { transfer: [first.buffer as ArrayBuffer] })
    } catch (error) {
      expect((error as Error).name).toBe('DataCloneError')
    }
    expect([first, second].map(String)).toEqual(['first', 'second'])
    expect(reads.getTextSync('a', LATEST)).toBe('first')
  })

  test('getInto copies what fits, and tells the length anyway', () => {
    const { reads } = readsOf([
      entry('a', 1, 'value'),
      entry('b', 2, 'v'.repeat(200)),
      entry('empty', 3, ''),
    ])
    const target = Buffer.alloc(8, '.')
    expect(reads.getIntoSync('a', LATEST, target, 3)).toBe(5)
    expect(target.toString()).toBe('...value')
    expect(reads.getIntoSync('a', LATEST, target.fill('.'), 4)).toBe(5)
    expect(reads.getIntoSync('b', LATEST, target, 0)).toBe(200)
    expect(reads.getIntoSync('c', LATEST, target, 0)).toBe(undefined)
    expect(target.toString()).toBe('........')

    const shared = new Uint8Array(new SharedArrayBuffer(5))
    expect(reads.getIntoSync('a', LATEST, shared, 0)).toBe(5)
    expect(Buffer.from(shared).toString()).toBe('value')
    const growing = resizable(4)
    const tracking = new Uint8Array(growing)
    expect(reads.getIntoSync('a', LATEST, tracking, 0)).toBe(5)
    expect([...tracking]).toEqual([0, 0, 0, 0])
    growing.resize(6)
    expect(reads.getIntoSync('a', LATEST, tracking, 1)).toBe(5)
    expect(Buffer.from(tracking).toString()).toBe('\u0000value')
    const detached = Buffer.from(new ArrayBuffer(16))
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    expect(reads.getIntoSync('a', LATEST, detached, 0)).toBe(5)
    expect(reads.getIntoSync('empty', LATEST, detached, 0)).toBe(0)
  })
})

describe('waiting', () => {
  /** Whether the promise is settled before the event loop has a turn. */
  async function isAtOnce(promise: Promise<unknown>): Promise<boolean> {
    let ended = false
    void promise.finally(() => (ended = true)).catch(() => undefined)
    for (let i = 0; i < 10; i++) await Promise.resolve()
    return ended
  }

  test('what memory knows is answered at once, by async forms as well', async () => {
    const entries = [entry('a', 1, 'old'), entry('b', 2, 'v'), entry('c', 3, '', 1)]
    const { reads } = readsOf(entries)
    for (const key of ['a', 'b', 'c', 'd']) {
      expect(await isAtOnce(reads.get(key, LATEST))).toBe(true)
      expect(await isAtOnce(reads.getText(key, LATEST))).toBe(true)
      expect(await isAtOnce(reads.sizeOf(key, LATEST))).toBe(true)
    }
    expect(await isAtOnce(reads.getMany(['a', 'd', 'c'], LATEST))).toBe(true)

    const cold = readsOf(entries, IN_TABLES, { cacheSize: 1 << 20 })
    const first = cold.reads.get('b', LATEST)
    expect(await isAtOnce(first)).toBe(false)
    expect(String(await first)).toBe('v')
    expect(await isAtOnce(cold.reads.get('b', LATEST))).toBe(true)
    // The filter says that it is not there, without a block.
    expect(await isAtOnce(cold.reads.get('somewhere else', LATEST))).toBe(true)
  })

  test('keys are taken at the call, and the state stays until the answer', async () => {
    const entries = [entry('a', 1, 'one'), entry('b', 2, 'two')]
    const { reads, source, machine, released } = readsOf(entries, IN_TABLES)
    const key = Buffer.from('b')
    const waiting = [
      reads.get(key, LATEST),
      reads.getText(key, LATEST),
      reads.sizeOf(key, LATEST),
      reads.getMany([key, 'a'], LATEST),
    ] as const
    key.fill(0)
    source.replace(machine.superVersion(layersOf([entry('b', 9, 'new')], [0, 0, 0])))
    expect(released).toEqual([])
    const [value, text, size, many] = await Promise.all(waiting)
    expect([String(value), text, size, many.map(String)]).toEqual(['two', 'two', 3, ['two', 'one']])
    // Who is told may look before the last one has let go.
    await turn()
    expect(released).toEqual(['first'])
    expect(machine.closed).toHaveLength(2)
    expect(reads.getTextSync('b', LATEST)).toBe('new')
  })

  test('a read that waits when its tree is closed is answered; later ones are not', async () => {
    const names = Array.from({ length: 600 }, (_, i) => `key${i}`)
    const entries = names.map((name, i) => entry(name, i + 1, name))
    const { reads, source, released } = readsOf(entries, IN_TABLES)
    const waiting = reads.get('key9', LATEST)
    let now = 0
    vi.spyOn(performance, 'now').mockImplementation(() => now++)
    const many = reads.getMany(names, LATEST).catch((error: unknown) => error)
    source.isClosed = true
    source.superVersion.release()
    expect(String(await waiting)).toBe('key9')
    expect(await many).toMatchObject({ code: 'DB_CLOSED' })
    for (let i = 0; i < 5; i++) await turn()
    expect(released).toEqual(['first'])
    for (const call of [
      () => reads.getSync('key9', LATEST),
      () => reads.getManySync(['key9'], LATEST),
      () => reads.scan({ lower: undefined, upper: undefined, seqno: LATEST }),
      () => reads.version(),
      () => reads.treeFigures(),
      () => reads.approximateSize(undefined, undefined),
    ]) {
      expect((await failure(call)).code).toBe('DB_CLOSED')
    }
    expect((await rejection(() => reads.get('key9', LATEST))).code).toBe('DB_CLOSED')
    expect((await rejection(() => reads.getMany(['key9'], LATEST))).code).toBe('DB_CLOSED')
  })
})

describe('failures', () => {
  const names = Array.from({ length: 40 }, (_, i) => `key${String(i).padStart(2, '0')}`)
  const entries = names.map((name, i) => entry(name, i + 1, `${name} `.repeat(5)))

  /** A tree in one table whose second block is damaged. */
  function damaged() {
    const made = readsOf(entries, IN_TABLES, { cacheSize: 1 << 20 })
    const [table] = made.source.superVersion.version.tables()
    const { path } = table!.shared.reader.file.file
    const { vfs } = made.machine
    const file = vfs.open(path, 'write').sync()
    // Behind the first block: those of 100 bytes hold a few of these rows each.
    const at = 250
    const byte = new Uint8Array(1)
    file.read(at, byte).sync()
    byte[0]! ^= 0x10
    file.write(at, [byte]).sync()
    file.close()
    return { ...made, path }
  }

  test('damage is told with its place, by every form, and spares the other keys', async () => {
    const { reads, path } = damaged()
    const codes = new Map<string, number>()
    for (const name of names) {
      const error = await failure(() => reads.getSync(name, LATEST)).catch(() => undefined)
      if (error === undefined) {
        expect(reads.getTextSync(name, LATEST)).toBe(`${name} `.repeat(5))
        continue
      }
      expect(error).toMatchObject({ code: 'CORRUPTION', path })
      codes.set(name, error.offset!)
      const again = [
        () => reads.get(name, LATEST),
        () => reads.getText(name, LATEST),
        () => reads.sizeOf(name, LATEST),
        () => reads.getMany([...names], LATEST),
      ]
      for (const call of again) {
        expect(await rejection(call)).toMatchObject({
          code: 'CORRUPTION',
          path,
          offset: error.offset,
        })
      }
    }
    expect(codes.size).toBeGreaterThan(0)
    expect(codes.size).toBeLessThan(10)
    const [offset] = new Set(codes.values())
    expect(new Set(codes.values()).size).toBe(1)
    expect(offset).toBeGreaterThan(0)
    expect(offset).toBeLessThan(250)
  })

  test('a read that failed once succeeds the next time', async () => {
    const { reads, machine } = readsOf(entries, IN_TABLES)
    machine.vfs.setPlan([{ operation: 'read', nth: 0, kind: 'EIO' }])
    expect(await rejection(() => reads.get('key07', LATEST))).toMatchObject({ code: 'IO_ERROR' })
    expect(String(await reads.get('key07', LATEST))).toBe('key07 '.repeat(5))
    machine.vfs.setPlan([{ operation: 'read', nth: 0, kind: 'EIO' }])
    expect((await failure(() => reads.getSync('key07', LATEST))).code).toBe('IO_ERROR')
    expect(reads.sizeOfSync('key07', LATEST)).toBe(30)
    machine.vfs.setPlan([{ operation: 'read', nth: 5, kind: 'EIO' }])
    expect((await rejection(() => reads.getMany(names, LATEST))).code).toBe('IO_ERROR')
    expect((await reads.getMany(names, LATEST)).every((value) => value?.length === 30)).toBe(true)
  })
})
