/** Names of the files of a directory; docs/format.md, section 2. */

import { FILE_NUMBER_MAX } from '../base/limits.ts'

export type NumberedKind = 'manifest' | 'journal' | 'table' | 'blob'
export type FileKind = NumberedKind | 'lock' | 'foreign'

export interface FileName {
  readonly kind: FileKind
  /** 0 unless the kind is numbered. */
  readonly number: number
}

export const LOCK_NAME = 'lock'

const DIGITS_MIN = 6
const NUMBERED = /^(\d{6}|[1-9]\d{6,15})\.(manifest|journal|table|blob)$/
/** `lock`, and what stands beside it for moments. */
const LOCK = /^lock(\.[0-9a-f]{16}(\.claim|\.new)?)?$/

export function fileName(kind: NumberedKind, number: number): string {
  return `${String(number).padStart(DIGITS_MIN, '0')}.${kind}`
}

export function parseFileName(name: string): FileName {
  const [, digits = '', kind] = NUMBERED.exec(name) ?? []
  const number = Number(digits)
  if (kind !== undefined && number > 0 && number <= FILE_NUMBER_MAX) {
    return { kind: kind as NumberedKind, number }
  }
  return { kind: LOCK.test(name) ? 'lock' : 'foreign', number: 0 }
}

/** Joins a directory and a name in it. */
export function pathIn(directory: string, name: string): string {
  return directory.endsWith('/') ? directory + name : `${directory}/${name}`
}
