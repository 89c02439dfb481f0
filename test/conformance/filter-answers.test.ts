// Compaction filters that answer wrongly, late or never: the compaction ends without a change, says
// why, and is tried again. And filters that are none.

import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { prefixDropFilter, ShaleError, ttlFilter } from '../../lib/index.ts'
import type { CompactionFilter, FilterVerdict, Keyspace } from '../../lib/index.ts'
import { openDatabase, openDatabaseSync, openTree, openTreeSync } from '../support/engine.ts'
import {
  EAGER,
  filterOf,
  flushed,
  HeldFilter,
  isFilterFailure,
  openFiltered,
  PATIENCE,
  seen,
  spoken,
} from '../support/filters.ts'
import { PATIENT } from '../support/patient.ts'
import { failure, rejection, scratchDirectory } from '../support/scratch.ts'

const OOPS = new TypeError('oops')
const ROWS = { a: 'keep', b: 'remove', c: 'destroy' }
const ALL = 'a=keep b=remove c=destroy'
const REST = 'a=keep'

type Answer = ReturnType<CompactionFilter['filter']>

function thrower(): never {
  throw OOPS
}

/** The same for each entry. */
function each(verdict: unknown): (count: number) => unknown {
  return (count) => Array.from({ length: count }, () => verdict)
}

/** What the filter does, what of it is the cause, and what the message says. */
const WRONG: readonly (readonly [
  name: string,
  answer: (count: number) => unknown,
  cause: unknown,
  says: RegExp,
])[] = [
  ['throws', thrower, OOPS, /failed/],
  ['rejects', async () => thrower(), OOPS, /failed/],
  ['nothing', () => undefined, undefined, /undefined/],
  ['null', () => null, undefined, /null/],
  ['a word', () => 'keep', undefined, /a string/],
  ['a promise of nothing', async () => undefined, undefined, /undefined/],
  ['too few', (n) => each('keep')(n - 1), undefined, /2 verdicts for 3/],
  ['too many', async (n) => each('keep')(n + 1), undefined, /4 verdicts for 3/],
  ['holes', (n) => Array(n), undefined, /unknown verdict, undefined/],
  ['an unknown word', each('drop'), undefined, /'drop'/],
  ['a word of Object', each('toString'), undefined, /'toString'/],
  ['a number', each(0), undefined, /a number/],
  ['an object', each({}), undefined, /an object/],
  ['an inherited one', each(Object.create({ replace: 'x' })), undefined, /object/],
  [
    'a getter that throws',
    each(Object.defineProperty({}, 'replace', { get: thrower, enumerable: true })),
    OOPS,
    /failed/,
  ],
  ['an object that throws whatever is read', () => new Proxy({}, { get: thrower }), OOPS, /fail/],
  [
    'a value of another type',
    each({ replace: 7 }),
    expect.objectContaining({ code: 'INVALID_VALUE' }),
    /cannot be stored/,
  ],
  [
    'a lone surrogate',
    async (n) => each({ replace: '\ud800' })(n),
    expect.objectContaining({ code: 'INVALID_VALUE' }),
    /cannot be stored/,
  ],
  [
    'too large a value',
    each({ replace: 'v'.repeat(1001) }),
    expect.objectContaining({ code: 'VALUE_TOO_LARGE' }),
    /cannot be stored/,
  ],
]

/** Answers wrongly until it is told not to. */
class Faulty implements CompactionFilter {
  readonly name = 'faulty'
  readonly #answer: (count: number) => unknown
  isRight = false

  constructor(answer: (count: number) => unknown) {
    this.#answer = answer
  }

  filter(entries: Parameters<CompactionFilter['filter']>[0]): Answer {
    return this.isRight ? entries.map(spoken) : (this.#answer(entries.length) as Answer)
  }
}

describe.each(WRONG)('an answer that is wrong: %s', (_, answer, cause, says) => {
  test('ends the compaction without a change', async () => {
    const filter = new Faulty(answer)
    const { database, keyspace } = await openFiltered(filter, {}, { maxValueSize: 1000 })
    await flushed(keyspace, ROWS)
    const { seqno } = database
    const version = JSON.stringify(keyspace.version())
    const error = await rejection(() => keyspace.majorCompaction())
    expect(error).toMatchObject({ code: 'ABORTED', keyspace: 'k', retryable: false })
    expect(error.message).toMatch(says)
    expect(error.message).toContain("'faulty'")
    expect(error.cause).toEqual(cause)
    expect(isFilterFailure(error)).toBe(true)
    expect(database.status).toBe('degraded')
    expect((await failure(() => keyspace.majorCompactionSync())).code).toBe('ABORTED')
    const tables = keyspace
      .version()
      .levels.flat(2)
      .map(({ id }) => id)
    const plan = { kind: 'merge', tables, destinationLevel: 3, targetSize: 4096 } as const
    expect((await rejection(() => keyspace.compact(plan))).code).toBe('ABORTED')
    expect(seen(keyspace)).toBe(ALL)
    expect(database.seqno).toBe(seqno)
    expect(JSON.stringify(keyspace.version())).toBe(version)
    filter.isRight = true
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe(REST)
    expect(database.status).toBe('open')
  })
})

describe('answers', () => {
  test('that are wrong on a bare tree name no keyspace', async () => {
    const path = join(scratchDirectory(), 'tree')
    const compactionFilter = new Faulty(thrower)
    const tree = await openTree(path, { compactionFilter, compaction: PATIENT })
    onTestFinished(() => tree.close())
    tree.insertSync('a', 'remove', 1)
    await tree.flush()
    const error = await rejection(() => tree.majorCompaction())
    expect(error).toMatchObject({ code: 'ABORTED', cause: OOPS })
    expect('keyspace' in error).toBe(false)
    expect(await failure(() => tree.majorCompactionSync())).toMatchObject({ cause: OOPS })
    const tables = tree
      .version()
      .levels.flat(2)
      .map(({ id }) => id)
    const plan = { kind: 'merge', tables, destinationLevel: 2, targetSize: 4096 } as const
    expect(await failure(() => tree.compactSync(plan))).toMatchObject({ cause: OOPS })
    expect(tree.getTextSync('a', 9)).toBe('remove')
    compactionFilter.isRight = true
    tree.compactSync(plan)
    expect(tree.getTextSync('a', 9)).toBeUndefined()
  })

  test('that are wrong in the background are asked for again', async () => {
    const filter = new Faulty(thrower)
    const { database, keyspace } = await openFiltered(filter, { compaction: EAGER })
    await flushed(keyspace, ROWS)
    await flushed(keyspace, { b: 'remove' })
    await expect.poll(() => database.status, { timeout: 20_000 }).toBe('degraded')
    expect(seen(keyspace)).toBe(ALL)
    // Writes and flushes go on.
    await flushed(keyspace, { d: 'keep' })
    filter.isRight = true
    await expect.poll(() => database.status, { timeout: 30_000 }).toBe('open')
    await database.compactor.drain()
    expect(seen(keyspace)).toBe('a=keep d=keep')
  })

  test('that come later are waited for, by those who can wait', async () => {
    const filter: CompactionFilter = {
      name: 'late',
      filter: async (entries) => {
        await setTimeout(5)
        return entries.map(spoken)
      },
    }
    const { database, keyspace } = await openFiltered(filter)
    await flushed(keyspace, ROWS)
    const error = await failure(() => keyspace.majorCompactionSync())
    expect(error).toMatchObject({ code: 'ABORTED', keyspace: 'k' })
    expect(error.message).toContain('an async filter needs the async form')
    expect(seen(keyspace)).toBe(ALL)
    // The filter has done nothing wrong.
    expect(database.status).toBe('open')
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe(REST)
  })

  test('that do not come in time', async () => {
    let isLate = true
    const filter = {
      name: 'silent',
      [PATIENCE]: 50,
      filter: async (entries: Parameters<CompactionFilter['filter']>[0]) => {
        if (isLate) await new Promise(() => {})
        return entries.map(spoken)
      },
    }
    const { database, keyspace } = await openFiltered(filter)
    await flushed(keyspace, ROWS)
    const error = await rejection(() => keyspace.majorCompaction())
    expect(error).toMatchObject({ code: 'ABORTED', keyspace: 'k' })
    expect(error.message).toContain('50 ms')
    expect(database.status).toBe('degraded')
    expect(seen(keyspace)).toBe(ALL)
    isLate = false
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe(REST)
  })

  test('may use the database', async () => {
    const opened: { keyspace?: Keyspace } = {}
    const filter: CompactionFilter = {
      name: 'curious',
      filter: async (entries) => {
        const keyspace = opened.keyspace!
        const verdicts: FilterVerdict[] = []
        for (const { key } of entries) {
          const text = await keyspace.getText(key)
          await keyspace.insert(`seen ${String(key)}`, text!)
          verdicts.push(text === 'remove' ? 'remove' : 'keep')
        }
        await keyspace.rotateMemtableAndWait()
        return verdicts
      },
    }
    const { keyspace } = await openFiltered(filter)
    opened.keyspace = keyspace
    await flushed(keyspace, ROWS)
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe('a=keep c=destroy seen a=keep seen b=remove seen c=destroy')
  })

  test('of one of a class, with its `this`', async () => {
    class Counting {
      readonly #counted = new Map<string, number>()
      get name(): string {
        return 'counting'
      }
      filter(entries: Parameters<CompactionFilter['filter']>[0]): FilterVerdict[] {
        return entries.map(({ value }) => {
          const text = String(value)
          this.#counted.set(text, (this.#counted.get(text) ?? 0) + 1)
          return this.#counted.get(text)! > 1 ? 'remove' : 'keep'
        })
      }
    }
    const { keyspace } = await openFiltered(new Counting())
    await flushed(keyspace, { a: 'x', b: 'y', c: 'x', d: 'y', e: 'z' })
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe('a=x b=y e=z')
  })
})

describe('while an answer is open', () => {
  test('close ends the compaction at once', async () => {
    const filter = new HeldFilter()
    const { path, database, keyspace } = await openFiltered(filter)
    await flushed(keyspace, ROWS)
    const asked = filter.asked()
    const major = rejection(() => keyspace.majorCompaction())
    await asked
    await database.close()
    expect((await major).code).toBe('ABORTED')
    filter.answer()
    const again = await openFiltered(undefined, {}, { path })
    expect(seen(again.keyspace)).toBe(ALL)
  })

  test('close ends one of the background at once', async () => {
    const filter = new HeldFilter(spoken)
    const { path, database, keyspace } = await openFiltered(filter, { compaction: EAGER })
    const asked = filter.asked()
    await flushed(keyspace, ROWS)
    await flushed(keyspace, { b: 'remove' })
    await asked
    database.closeSync()
    filter.answer()
    const again = await openFiltered(undefined, { compaction: PATIENT }, { path })
    expect(seen(again.keyspace)).toBe(ALL)
  })

  test('a bare tree closes at once', async () => {
    const compactionFilter = new HeldFilter()
    const tree = await openTree(join(scratchDirectory(), 'tree'), { compactionFilter })
    tree.insertSync('a', '1', 1)
    await tree.flush()
    const asked = compactionFilter.asked()
    const major = rejection(() => tree.majorCompaction())
    await asked
    await tree.close()
    expect((await major).code).toBe('ABORTED')
  })

  test('the signal ends the compaction at once', async () => {
    const filter = new HeldFilter(spoken)
    const { database, keyspace } = await openFiltered(filter)
    await flushed(keyspace, ROWS)
    const controller = new AbortController()
    const asked = filter.asked()
    const major = rejection(() => keyspace.majorCompaction({ signal: controller.signal }))
    await asked
    controller.abort()
    const error = await major
    expect(error.code).toBe('ABORTED')
    expect(isFilterFailure(error)).toBe(false)
    expect(database.status).toBe('open')
    expect(seen(keyspace)).toBe(ALL)
    // The tables are free again.
    filter.answer()
    await keyspace.majorCompaction()
    expect(seen(keyspace)).toBe(REST)
  })

  test('the signal lets go who waits for another compaction', async () => {
    const filter = new HeldFilter(spoken)
    const options = { workerThreads: 1 }
    const { database, keyspace } = await openFiltered(filter, { compaction: EAGER }, options)
    const asked = filter.asked()
    await flushed(keyspace, ROWS)
    await flushed(keyspace, { b: 'remove' })
    await asked
    const controller = new AbortController()
    const major = rejection(() => keyspace.majorCompaction({ signal: controller.signal }))
    setImmediate(() => controller.abort())
    expect((await major).code).toBe('ABORTED')
    expect(database.compactor.jobs()).toHaveLength(1)
    filter.answer()
    await database.compactor.drain()
    expect(seen(keyspace)).toBe(REST)
  })

  test('pause ends one of the background at once', async () => {
    const filter = new HeldFilter(spoken)
    const { database, keyspace } = await openFiltered(filter, { compaction: EAGER })
    const asked = filter.asked()
    await flushed(keyspace, ROWS)
    await flushed(keyspace, { b: 'remove' })
    await asked
    await database.compactor.pause()
    expect(database.compactor.jobs()).toEqual([])
    expect(database.status).toBe('open')
    expect(seen(keyspace)).toBe(ALL)
    filter.answer()
    database.compactor.resume()
    await database.compactor.drain()
    expect(seen(keyspace)).toBe(REST)
  })

  test('reads, writes, flushes and other compactions go on', async () => {
    const filter = new HeldFilter(spoken)
    const path = join(scratchDirectory(), 'db')
    const compactionFilters = (name: string) => (name === 'k' ? filter : prefixDropFilter(['x']))
    const { database, keyspace } = await openFiltered(undefined, {}, { path, compactionFilters })
    const other = await database.keyspace('other', { compaction: PATIENT })
    await flushed(keyspace, ROWS)
    await flushed(other, { w: '1', x: '1' })
    const asked = filter.asked()
    const major = keyspace.majorCompaction()
    await asked
    expect(database.compactor.jobs().map((job) => job.keyspace)).toEqual(['k'])
    expect(await keyspace.getText('b')).toBe('remove')
    await flushed(keyspace, { d: 'keep' })
    await other.majorCompaction()
    expect(seen(other)).toBe('w=1')
    await database.persist()
    filter.answer()
    await major
    expect(seen(keyspace)).toBe('a=keep d=keep')
  })

  test('a sync writer goes on', async () => {
    const filter = new HeldFilter(spoken)
    const options = { compaction: EAGER, maxMemtableSize: 65_536 }
    const { database, keyspace } = await openFiltered(filter, options)
    const asked = filter.asked()
    await flushed(keyspace, ROWS)
    await flushed(keyspace, { b: 'remove' })
    await asked
    for (let i = 0; i < 100; i++) keyspace.insertSync(`d${1000 + i}`, `keep ${'v'.repeat(1000)}`)
    filter.answer()
    await database.compactor.drain()
    expect(keyspace.lenSync()).toBe(101)
    expect(database.status).toBe('open')
  })
})

describe('what is no filter', () => {
  const isFine = (): FilterVerdict[] => []
  const BAD: readonly (readonly [string, unknown])[] = [
    ['null', null],
    ['a string', 'ttl'],
    ['a function', isFine],
    ['an empty object', {}],
    ['an array', []],
    ['a promise of one', Promise.resolve(filterOf(() => 'keep'))],
    ['without a name', { filter: isFine }],
    ['with an empty name', { name: '', filter: isFine }],
    ['with a name that is no string', { name: 7, filter: isFine }],
    ['without the method', { name: 'a' }],
    ['with something else for it', { name: 'a', filter: 'keep' }],
    ['with a wrong needsBlobValues', { name: 'a', needsBlobValues: 1, filter: isFine }],
    ['with a getter that throws', Object.defineProperty({ name: 'a' }, 'filter', { get: thrower })],
  ]

  test.each(BAD)('%s', async (_, filter) => {
    const dir = scratchDirectory()
    const options = { compactionFilter: filter as CompactionFilter }
    const tree = join(dir, 'tree')
    expect((await rejection(() => openTree(tree, options))).code).toBe('INVALID_OPTION')
    expect((await failure(() => openTreeSync(tree, options))).code).toBe('INVALID_OPTION')

    const path = join(dir, 'db')
    const compactionFilters = (): CompactionFilter => filter as CompactionFilter
    const database = await openDatabase(path, { compactionFilters })
    const error = await rejection(() => database.keyspace('k'))
    expect(error).toMatchObject({ code: 'INVALID_OPTION', keyspace: 'k' })
    expect((await failure(() => database.keyspaceSync('k'))).code).toBe('INVALID_OPTION')
    expect(database.listKeyspaceNames()).toEqual([])
    await database.close()

    const plain = await openDatabase(path)
    await flushed(await plain.keyspace('k'), { a: '1' })
    await plain.close()
    const refused = { code: 'INVALID_OPTION', keyspace: 'k' }
    expect(await rejection(() => openDatabase(path, { compactionFilters }))).toMatchObject(refused)
    expect(await failure(() => openDatabaseSync(path, { compactionFilters }))).toMatchObject(
      refused,
    )
    // It is not locked, and nothing is lost.
    const again = await openDatabase(path)
    expect(seen(await again.keyspace('k'))).toBe('a=1')
    await again.close()
  })

  test('a function that throws', async () => {
    const path = join(scratchDirectory(), 'db')
    const database = await openDatabase(path, { compactionFilters: thrower })
    const refused = { code: 'INVALID_OPTION', keyspace: 'k', cause: OOPS }
    expect(await rejection(() => database.keyspace('k'))).toMatchObject(refused)
    expect(await failure(() => database.keyspaceSync('k'))).toMatchObject(refused)
    await database.close()
  })

  test('a function that is none', async () => {
    const path = join(scratchDirectory(), 'db')
    for (const compactionFilters of [null, {}, filterOf(() => 'keep'), 'ttl']) {
      const options = { compactionFilters } as object
      expect((await rejection(() => openDatabase(path, options))).code).toBe('INVALID_OPTION')
      expect((await failure(() => openDatabaseSync(path, options))).code).toBe('INVALID_OPTION')
    }
  })

  test('options of the built-in ones', async () => {
    const fine = { in: 'key', offset: 0, ttl: 1 }
    const bad: readonly (readonly [unknown, string])[] = [
      [undefined, 'INVALID_OPTION'],
      [null, 'INVALID_ARGUMENT'],
      [{}, 'INVALID_OPTION'],
      [{ ...fine, in: 'keys' }, 'INVALID_OPTION'],
      [{ ...fine, in: undefined }, 'INVALID_OPTION'],
      [{ ...fine, offset: -1 }, 'INVALID_OPTION'],
      [{ ...fine, offset: '0' }, 'INVALID_OPTION'],
      [{ ...fine, ttl: NaN }, 'INVALID_OPTION'],
      [{ ...fine, ttl: 0.5 }, 'INVALID_OPTION'],
      [{ ...fine, unit: 'ms' }, 'INVALID_OPTION'],
    ]
    for (const [options, code] of bad) {
      expect((await failure(() => ttlFilter(options as never))).code).toBe(code)
    }
    const prefixes: readonly (readonly [unknown, string])[] = [
      [undefined, 'INVALID_ARGUMENT'],
      ['a', 'INVALID_ARGUMENT'],
      [new Set(['a']), 'INVALID_ARGUMENT'],
      [['a', 7], 'INVALID_KEY'],
      [Array(1), 'INVALID_KEY'],
      [['\ud800'], 'INVALID_KEY'],
      [[new Uint8Array(65_536)], 'KEY_TOO_LARGE'],
    ]
    for (const [given, code] of prefixes) {
      const error = await failure(() => prefixDropFilter(given as never))
      expect(error.code).toBe(code)
    }
    expect(await failure(() => prefixDropFilter(['a', 7] as never))).toBeInstanceOf(ShaleError)
  })
})
