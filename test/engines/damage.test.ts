// The same crash image, damaged in the same way, opened by both engines in each recovery mode: the
// same refusal, or the same contents, figures and failures of reads.

import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Engine } from '../../lib/index.ts'
import { scaled, scratchDirectory, testSeed } from '../support/scratch.ts'
import { damage } from './support/damage.ts'
import { Draw } from './support/draw.ts'
import { makeImage, type Image } from './support/images.ts'
import { comparable, expectSame, type Outcome } from './support/outcome.ts'
import { readDatabase, readTree, type Reading, type ReadingOptions } from './support/reading.ts'

const IMAGES = scaled(11)
const COPIES = 12
const seed = testSeed()

test(
  'both engines find the same in a damaged directory',
  { timeout: 120_000 * IMAGES },
  async () => {
    const counts = new Map<string, number>()
    for (let i = 0; i < IMAGES; i++) {
      const draw = new Draw(seed + i)
      const directory = scratchDirectory()
      const maker = draw.pick<Engine>(['native', 'typescript'])
      // oxlint-disable-next-line no-await-in-loop
      const image = await makeImage(draw, directory, maker)
      for (let j = 0; j < COPIES; j++) {
        const damaged = join(directory, 'damaged')
        cpSync(image.path, damaged, { recursive: true })
        // The first one is as the crash left it.
        const what = j === 0 ? 'nothing' : damage({ draw, directory: damaged, older: image.older })
        for (const options of readings(draw, image)) {
          const readingBy = (engine: Engine): Reading =>
            read(image, damaged, directory, engine, options)
          const title = `SEED=${seed}, image ${i} by ${maker}, ${JSON.stringify(options)}: ${what}`
          // What a flush or a compaction drops meanwhile may hide a damaged block; and what is
          // wrong in a block whose checksum is right shows to the one who looks at it.
          const isStill = options.readOnly || image.kind === 'tree'
          const isSame = isStill && !/seals \d+\.table/.test(what)
          const reads = 2 + image.keys.length
          const isScan = (place: number): boolean => place % reads < 2
          const [native, typescript] = [readingBy('native'), readingBy('typescript')]
          const found = compare(title, isSame, isScan, native, typescript)
          counts.set(found, (counts.get(found) ?? 0) + 1)
        }
        rmSync(damaged, { recursive: true })
      }
      rmSync(directory, { recursive: true })
    }
    console.log(`damage: ${JSON.stringify(Object.fromEntries(counts))}, SEED=${seed}`)
    expect(counts.get('opened')).toBeGreaterThan(IMAGES)
    expect(counts.get('CORRUPTION')).toBeGreaterThan(IMAGES)
  },
)

function readings(draw: Draw, { kind }: Image): ReadingOptions[] {
  if (kind === 'tree') return [{ recovery: 'tail', readOnly: false }]
  const modes = ['tail', 'strict', 'salvage'] as const
  return modes.map((recovery) => ({ recovery, readOnly: draw.oneIn(2) }))
}

/** Opens a copy of `damaged`. */
function read(
  { kind, keys }: Image,
  damaged: string,
  directory: string,
  engine: Engine,
  options: ReadingOptions,
): Reading {
  const copy = join(directory, 'copy')
  cpSync(damaged, copy, { recursive: true })
  const found =
    kind === 'tree' ? readTree(copy, engine, keys) : readDatabase(copy, engine, options, keys)
  rmSync(copy, { recursive: true })
  return found
}

/**
 * What both found, in a word. `isSame`: whether both have to fail the same reads. A scan may jump
 * over blocks of old versions that the other engine's walks through, and meets another damage then.
 */
function compare(
  title: string,
  isSame: boolean,
  isScan: (read: number) => boolean,
  native: Reading,
  typescript: Reading,
): string {
  if ('refused' in native || 'refused' in typescript) {
    if (isKnown(native, typescript)) return 'known'
    expectSame(title, refusal(native), refusal(typescript))
    return 'refused' in native ? native.refused.code : ''
  }
  expectSame(title, native.opened, typescript.opened)
  expectSame(title, native.closed, typescript.closed)
  for (const [i, outcome] of typescript.reads.entries()) {
    const other = native.reads[i]!
    if (isScan(i) && (isDamage(outcome) || isDamage(other))) continue
    if (isSame || isDamage(outcome) === isDamage(other)) {
      expectSame(`${title}, read ${i}`, comparable(other), comparable(outcome))
    }
  }
  return 'opened'
}

function refusal(reading: Reading): unknown {
  return 'refused' in reading ? comparable(reading.refused) : reading.opened
}

function isDamage(outcome: Outcome): boolean {
  return 'code' in outcome && outcome.code === 'CORRUPTION'
}

/** The native engine's LZ4 takes a match at offset 0; readers may refuse such blocks. */
function isKnown(native: Reading, typescript: Reading): boolean {
  return (
    'refused' in typescript &&
    typescript.refused.message === 'a block does not decompress to what it says' &&
    !('refused' in native)
  )
}
