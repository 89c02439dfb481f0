// Ways to damage a directory at random: what devices, crashes and people do to files.

import { copyFileSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileName, parseFileName } from '../../../lib/typescript/vfs/file-name.ts'
import type { NumberedKind } from '../../../lib/typescript/vfs/file-name.ts'
import type { Draw } from './draw.ts'
import { forgedOwners, TOKEN } from './owners.ts'
import { partsOf, seal } from './parts.ts'

export interface Damaged {
  readonly draw: Draw
  readonly directory: string
  /** The same directory as it was some time before. */
  readonly older: string
}

/** Damages a directory once or twice; what was done. */
export function damage(damaged: Damaged): string {
  const { draw } = damaged
  const done = [draw.weighted(WAYS)(damaged)]
  if (draw.oneIn(5)) done.push(draw.weighted(WAYS)(damaged))
  return done.join('; ')
}

type Way = (damaged: Damaged) => string

const WAYS: readonly (readonly [number, Way])[] = [
  [5, inBytes('flips', flip)],
  [4, inBytes('cuts', (draw, bytes) => bytes.subarray(0, draw.below(bytes.length)))],
  [2, inBytes('cuts the end', (draw, bytes) => bytes.subarray(0, -draw.between(1, 64)))],
  [4, inBytes('zeros', zero)],
  [2, inBytes('zeros the end', (draw, bytes) => bytes.fill(0, draw.below(bytes.length)))],
  [3, inBytes('appends', (draw, bytes) => Buffer.concat([bytes, junk(draw, bytes)]))],
  [3, inBytes('repeats', repeat)],
  [10, sealed],
  [2, remove],
  [1, swap],
  [1, copyOver],
  [1, rename],
  [2, revert],
  [2, addFile],
  [1, leaveLock],
]

/** Mostly a file of shale's; journals and manifests as often as the more numerous tables. */
function pickFile({ draw, directory }: Damaged): string {
  const names = readdirSync(directory).toSorted()
  const kind = draw.pick(['journal', 'manifest', 'table', 'blob'])
  const some = names.filter((name) => parseFileName(name).kind === kind)
  return draw.pick(some.length === 0 || draw.oneIn(10) ? names : some)
}

function inBytes(name: string, change: (draw: Draw, bytes: Buffer) => Buffer): Way {
  return (damaged) => {
    const file = pickFile(damaged)
    const path = join(damaged.directory, file)
    const before = readFileSync(path)
    const after = change(damaged.draw, Buffer.from(before))
    writeFileSync(path, after)
    const length = Math.min(before.length, after.length)
    const at =
      before.subarray(0, length).compare(after.subarray(0, length)) === 0
        ? length
        : firstDifference(before, after)
    return `${name} ${file} at ${at} of ${before.length}, then ${after.length}`
  }
}

function firstDifference(a: Buffer, b: Buffer): number {
  return a.findIndex((byte, i) => byte !== b[i])
}

function flip(draw: Draw, bytes: Buffer): Buffer {
  if (bytes.length === 0) return bytes
  for (let count = draw.pick([1, 1, 1, 2, 5]); count > 0; count--) {
    bytes[draw.below(bytes.length)]! ^= 1 << draw.below(8)
  }
  return bytes
}

function zero(draw: Draw, bytes: Buffer): Buffer {
  const begin = draw.below(bytes.length)
  return bytes.fill(0, begin, Math.min(bytes.length, begin + draw.pick([1, 4, 40, 400])))
}

function junk(draw: Draw, bytes: Buffer): Buffer {
  const length = draw.pick([1, 31, 64, 5000])
  const begin = draw.below(bytes.length)
  return draw.pick([
    () => Buffer.alloc(length),
    () => draw.bytes(length),
    () => bytes.subarray(begin, begin + length),
  ])()
}

function repeat(draw: Draw, bytes: Buffer): Buffer {
  const from = draw.below(bytes.length)
  bytes.copy(bytes, draw.below(bytes.length), from, from + draw.pick([4, 50, 500]))
  return bytes
}

/** Changes what a checksum covers, and the checksum with it. */
function sealed(damaged: Damaged): string {
  const { draw, directory } = damaged
  const name = pickFile(damaged)
  const path = join(directory, name)
  const bytes = readFileSync(path)
  const parts = partsOf(name, bytes)
  if (parts.length === 0) return `leaves ${name}`
  // Footers and headers are as likely as all that lies between.
  const part = draw.oneIn(4) ? parts[0]! : draw.pick(parts)
  const at = draw.between(part.begin, part.end - 1)
  const before = bytes[at]!
  bytes[at] = draw.pick([before ^ (1 << draw.below(8)), before + 1, before - 1, 0, 255])
  seal(name, bytes, part)
  writeFileSync(path, bytes)
  return `seals ${name} in ${part.offset} with ${bytes[at]} for ${before} at ${at}`
}

function remove(damaged: Damaged): string {
  const name = pickFile(damaged)
  rmSync(join(damaged.directory, name))
  return `removes ${name}`
}

function pickTwo(damaged: Damaged): [string, string] {
  const { draw, directory } = damaged
  const first = pickFile(damaged)
  const others = readdirSync(directory).filter((name) => name !== first)
  const { kind } = parseFileName(first)
  const alike = others.filter((name) => parseFileName(name).kind === kind)
  return [first, draw.pick(alike.length > 0 && !draw.oneIn(4) ? alike : others) ?? first]
}

function swap(damaged: Damaged): string {
  const [first, second] = pickTwo(damaged)
  const [a, b] = [first, second].map((name) => readFileSync(join(damaged.directory, name)))
  writeFileSync(join(damaged.directory, first), b!)
  writeFileSync(join(damaged.directory, second), a!)
  return `swaps ${first} and ${second}`
}

function copyOver(damaged: Damaged): string {
  const [first, second] = pickTwo(damaged)
  copyFileSync(join(damaged.directory, first), join(damaged.directory, second))
  return `copies ${first} over ${second}`
}

/** A name that may be taken, or belong to another kind of file. */
function otherName({ draw }: Damaged): string {
  const kind = draw.pick<NumberedKind>(['journal', 'manifest', 'table', 'blob'])
  return draw.pick([
    () => fileName(kind, draw.between(1, 30)),
    () => fileName(kind, draw.pick([10_000, 999_999, 1_000_000, 2 ** 40])),
    () => `lock.${'0123456789abcdef'.slice(draw.below(2))}${draw.pick(['', '.claim', '.new'])}`,
    () => draw.pick(['foreign', '000000.table', '1.journal', '0000001.table', 'LOCK']),
  ])()
}

function rename(damaged: Damaged): string {
  const [from, to] = [pickFile(damaged), otherName(damaged)]
  renameSync(join(damaged.directory, from), join(damaged.directory, to))
  return `renames ${from} to ${to}`
}

function addFile(damaged: Damaged): string {
  const [from, to] = [pickFile(damaged), otherName(damaged)]
  const bytes = readFileSync(join(damaged.directory, from))
  const content = damaged.draw.pick([
    bytes,
    Buffer.alloc(0),
    Buffer.alloc(100),
    bytes.subarray(0, 40),
  ])
  writeFileSync(join(damaged.directory, to), content)
  return `adds ${to} of ${content.length} from ${from}`
}

/** What an opener that died, or runs, may have left. */
function leaveLock({ draw, directory }: Damaged): string {
  const owners = forgedOwners()
  const owner = draw.pick(Object.keys(owners))
  const beside = draw.pick([`.${TOKEN}`, `.${TOKEN}.claim`, `.${TOKEN}.new`])
  const name = `lock${draw.oneIn(2) ? '' : beside}`
  writeFileSync(join(directory, name), owners[owner]!.record)
  return `leaves ${name} of ${owner}`
}

/** A file as it was before; or one that went since comes back. */
function revert(damaged: Damaged): string {
  const { draw, directory, older } = damaged
  const names = readdirSync(older)
  const name = draw.pick(names)
  copyFileSync(join(older, name), join(directory, name))
  return `reverts ${name}`
}
