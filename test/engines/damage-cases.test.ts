// Damage of which both engines have to say the same, case by case: when a table's parts are read,
// and what is said of one that is not what it should be.

import { cpSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MAX_SEQNO, Tree, type TreeOptions } from '../../lib/index.ts'
import { failure, scratchDirectory } from '../support/scratch.ts'
import { partsOf, seal } from './support/parts.ts'

const ENGINES = ['native', 'typescript'] as const
const KEYS = Array.from({ length: 200 }, (_, i) => `key ${String(i).padStart(3, '0')}`)

/** Footer fields, from the end of the file: docs/format.md, 8.8. */
const FIELDS = { properties: -64 + 24, index: -64 + 32, filter: -64 + 40 } as const

/** A tree with one table; and a copy of it for `engine`, changed by `change`. */
class Specimen {
  readonly #made: string
  readonly table: string
  readonly bytes: Buffer

  constructor(options: TreeOptions, flushes = 1) {
    this.#made = join(scratchDirectory(), 'made')
    const tree = Tree.openSync(this.#made, {
      dataBlockSize: 200,
      compression: 'none',
      engine: 'native',
      ...options,
    })
    for (let i = 0; i < flushes; i++) {
      for (const key of KEYS) tree.insertSync(key, `${key} @${i}`, i)
      tree.flushSync()
    }
    tree.closeSync()
    this.table = this.tables[0]!
    this.bytes = readFileSync(join(this.#made, this.table))
  }

  get tables(): string[] {
    return readdirSync(this.#made).filter((name) => name.endsWith('.table'))
  }

  offsetOf(part: keyof typeof FIELDS): number {
    return Number(this.bytes.readBigUInt64LE(this.bytes.length + FIELDS[part]))
  }

  copy(change: (directory: string) => void): string {
    const directory = join(scratchDirectory(), 'copy')
    cpSync(this.#made, directory, { recursive: true })
    change(directory)
    return directory
  }

  /** With one byte of the table flipped. */
  flipped(at: number): string {
    return this.copy((directory) => {
      const bytes = Buffer.from(this.bytes)
      bytes[at]! ^= 1
      writeFileSync(join(directory, this.table), bytes)
    })
  }
}

async function refused(engine: (typeof ENGINES)[number], directory: string): Promise<unknown[]> {
  const { code, path, offset } = await failure(() => Tree.openSync(directory, { engine }))
  return [code, path === undefined ? undefined : basename(path), offset]
}

describe.each(ENGINES)('%s', (engine) => {
  test('a damaged index that is not pinned fails reads; one that is pinned, the open', async () => {
    const lazy = new Specimen({ pinIndex: false })
    const offset = lazy.offsetOf('index')
    const tree = Tree.openSync(lazy.flipped(offset + 3), { engine })
    tree.insertSync('above', 'the damage', 5)
    expect(tree.getSync('above', MAX_SEQNO)).toEqual(Buffer.from('the damage'))
    const error = await failure(() => tree.getSync(KEYS[9]!, MAX_SEQNO))
    expect([error.code, error.offset]).toEqual(['CORRUPTION', offset])
    tree.closeSync()

    const eager = new Specimen({ pinIndex: true })
    const answer = await refused(engine, eager.flipped(eager.offsetOf('index') + 3))
    expect(answer).toEqual(['CORRUPTION', eager.table, eager.offsetOf('index')])
  })

  test('the top of an index is read at open, parts that are pinned as well', async () => {
    for (const pin of [false, true]) {
      const specimen = new Specimen({
        partitionIndex: true,
        partitionFilter: true,
        pinIndex: pin,
        pinFilter: pin,
      })
      for (const part of ['index', 'filter'] as const) {
        const top = specimen.offsetOf(part)
        // oxlint-disable-next-line no-await-in-loop
        const answer = await refused(engine, specimen.flipped(top))
        expect(answer).toEqual(['CORRUPTION', specimen.table, top])
      }
      const indexPart = filterPartition(specimen)
      const directory = specimen.flipped(indexPart)
      if (pin) {
        // oxlint-disable-next-line no-await-in-loop
        expect(await refused(engine, directory)).toEqual(['CORRUPTION', specimen.table, indexPart])
      } else {
        const tree = Tree.openSync(directory, { engine, cacheSize: 0 })
        const outcomes = KEYS.map((key) => {
          try {
            return tree.getSync(key, MAX_SEQNO)?.toString()
          } catch {
            return 'failed'
          }
        })
        expect(outcomes).toContain('failed')
        expect(outcomes).toContain(`${KEYS.at(-1)} @0`)
        tree.closeSync()
      }
    }
  })

  test('a table that ends early or late is damaged where it or the manifest ends', async () => {
    const specimen = new Specimen({})
    const { length } = specimen.bytes
    const cut = specimen.copy((directory) =>
      truncateSync(join(directory, specimen.table), length - 100),
    )
    expect(await refused(engine, cut)).toEqual(['CORRUPTION', specimen.table, length - 100])
    const grown = specimen.copy((directory) =>
      truncateSync(join(directory, specimen.table), length + 1),
    )
    expect(await refused(engine, grown)).toEqual(['CORRUPTION', specimen.table, length])
  })

  test('a table that contradicts the manifest is damaged at its properties', async () => {
    const specimen = new Specimen({})
    const offset = specimen.offsetOf('properties')
    const directory = specimen.copy((copy) => {
      const bytes = Buffer.from(specimen.bytes)
      const part = partsOf(specimen.table, bytes).find((one) => one.offset === offset)!
      // Its first key: "key 000".
      bytes[bytes.indexOf('key 000', offset) + 6] = 0x31
      seal(specimen.table, bytes, part)
      writeFileSync(join(copy, specimen.table), bytes)
    })
    expect(await refused(engine, directory)).toEqual(['CORRUPTION', specimen.table, offset])
  })

  test('a record of the manifest without an edit is damage', async () => {
    const specimen = new Specimen({})
    let offset = 0
    const directory = specimen.copy((copy) => {
      const name = readdirSync(copy).find((one) => one.endsWith('.manifest'))!
      const bytes = readFileSync(join(copy, name))
      // A synced-to record becomes one with data.
      const part = partsOf(name, bytes).findLast(({ begin, end }) => end - begin === 28)!
      ;({ offset } = part)
      bytes[offset + 8] = 1
      seal(name, bytes, part)
      writeFileSync(join(copy, name), bytes)
    })
    expect(await refused(engine, directory)).toEqual(['CORRUPTION', '000001.manifest', offset])
  })

  test('of several missing tables the oldest is named', async () => {
    const specimen = new Specimen({}, 3)
    const [first, second, third] = specimen.tables
    const directory = specimen.copy((copy) => {
      for (const table of [third!, second!]) rmSync(join(copy, table))
    })
    expect(first! < second!).toBe(true)
    expect(await refused(engine, directory)).toEqual(['CORRUPTION', second, undefined])
  })
})

/** The first block that no key lies in. */
function filterPartition({ bytes, table }: Specimen): number {
  const [, ...blocks] = partsOf(table, bytes)
  return blocks.find(({ begin, end }) => !bytes.subarray(begin, end).includes('key '))!.begin
}
