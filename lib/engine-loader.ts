/**
 * Picks the engine: the only public module that knows where engines live.
 *
 * Both are imported at once, since an open may be a sync call. The addon is loaded with its engine,
 * unless SHALE_ENGINE says that it will not be needed (native/addon.ts).
 */

import type { Engine, EngineName } from './engine.ts'
import { ShaleError } from './errors.ts'
import { nativeEngine } from './native/native-engine.ts'
import { typescriptEngine } from './typescript/typescript-engine.ts'

/** Letters of a wrong word that a message repeats. */
const SHOWN = 64

let hasWarned = false

/**
 * The engine with that name. `auto`: what SHALE_ENGINE names; else native where its binary loads,
 * else TypeScript, with one warning.
 *
 * @throws ShaleError NOT_SUPPORTED for `native` without a binary; INVALID_OPTION for another word
 * in SHALE_ENGINE
 */
export function chooseEngine(name: EngineName | 'auto'): Engine {
  const chosen = name === 'auto' ? engineOfEnvironment() : name
  if (chosen === 'typescript') return typescriptEngine()
  try {
    return nativeEngine()
  } catch (error) {
    if (chosen === 'native') throw error
    if (!hasWarned) warn(error)
    hasWarned = true
    return typescriptEngine()
  }
}

function engineOfEnvironment(): EngineName | 'auto' {
  const word = process.env['SHALE_ENGINE']
  if (word === undefined || word === '') return 'auto'
  if (word === 'native' || word === 'typescript' || word === 'auto') return word
  throw new ShaleError(
    'INVALID_OPTION',
    "the environment variable SHALE_ENGINE must be 'native', 'typescript' or 'auto', " +
      `not '${word.slice(0, SHOWN)}'`,
  )
}

function warn(cause: unknown): void {
  const reason = cause instanceof Error ? cause.message : String(cause)
  const advice = 'SHALE_ENGINE=typescript chooses it without this warning'
  process.emitWarning(`${reason}. The TypeScript engine is used instead; ${advice}`, {
    type: 'ShaleWarning',
    code: 'SHALE_TYPESCRIPT_ENGINE',
  })
}
