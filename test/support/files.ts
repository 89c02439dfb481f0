// Files of a directory, as tests look at them, copy them and damage them.

import { closeSync, cpSync, openSync, readFileSync, readdirSync, readSync } from 'node:fs'
import { writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { scratchDirectory } from './scratch.ts'

export type FileKind = 'manifest' | 'journal' | 'table' | 'blob'

/** Paths of the files of a kind, the oldest first. */
export function filesOf(path: string, kind: FileKind): string[] {
  const names = readdirSync(path).filter((name) => name.endsWith(`.${kind}`))
  return names.toSorted().map((name) => join(path, name))
}

/**
 * The directory as a process that is killed now would leave it. Where the background makes and
 * removes files meanwhile, the copy is made again: its manifest must be that of its tables.
 */
export function imageOf({ path }: { readonly path: string }): string {
  const directory = scratchDirectory()
  for (let attempt = 0; ; attempt++) {
    const image = join(directory, `image-${attempt}`)
    const before = namedBy(path)
    try {
      cpSync(path, image, { recursive: true, filter: (file) => !file.endsWith('lock') })
      if (namedBy(path) === before) return image
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || attempt > 100) throw error
    }
  }
}

/** Which files there are, and what the manifests say of them. */
function namedBy(path: string): string {
  const names = readdirSync(path).filter((name) => !name.startsWith('lock'))
  const manifests = filesOf(path, 'manifest').map((file) => readFileSync(file, 'latin1'))
  return [...names.toSorted(), ...manifests].join('\n')
}

export interface Place {
  readonly file: string
  readonly at: number
}

/** Every file that holds `text`, and where it last does. */
export function placesOf(path: string, text: string): Place[] {
  return readdirSync(path).flatMap((name) => {
    const file = join(path, name)
    const at = name === 'lock' ? -1 : readFileSync(file).lastIndexOf(text)
    return at < 0 ? [] : [{ file, at }]
  })
}

export function flipByte({ file, at }: Place): void {
  const contents = readFileSync(file)
  contents[at]! ^= 0x20
  writeFileSync(file, contents)
}

/** The same in the file that others have open. */
export function flipByteInPlace({ file, at }: Place): void {
  const fd = openSync(file, 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, at)
  byte[0]! ^= 0x20
  writeSync(fd, byte, 0, 1, at)
  closeSync(fd)
}
