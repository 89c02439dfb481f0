/** Paths of directories, as users give them. */

import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isBytes, kindOf, ShaleError } from './errors.ts'

/** The absolute path that a string, file URL or Buffer names. */
export function directoryPath(path: unknown): string {
  const text = pathText(path)
  if (text.length === 0) throw new ShaleError('INVALID_PATH', 'the path is empty')
  if (text.includes('\0')) throw new ShaleError('INVALID_PATH', 'the path contains a NUL')
  if (!(text as string & { isWellFormed(): boolean }).isWellFormed()) {
    throw new ShaleError('INVALID_PATH', 'the path has a lone surrogate')
  }
  return resolve(text)
}

function pathText(path: unknown): string {
  if (typeof path === 'string') return path
  if (path instanceof URL) {
    try {
      return fileURLToPath(path)
    } catch (cause) {
      throw new ShaleError('INVALID_PATH', 'the URL is not a file URL', { cause })
    }
  }
  if (isBytes(path)) {
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(path)
    } catch (cause) {
      throw new ShaleError('INVALID_PATH', 'the path is not UTF-8', { cause })
    }
  }
  throw new ShaleError(
    'INVALID_PATH',
    `the path must be a string or a file URL, not ${kindOf(path)}`,
  )
}
