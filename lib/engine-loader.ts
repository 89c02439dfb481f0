/** Picks the engine: the only public module that knows where engines live. */

import type { Engine, EngineName } from './engine.ts'
import { nativeEngine } from './native/native-engine.ts'
import { typescriptEngine } from './typescript/typescript-engine.ts'

/** `auto` and `native` load the addon at the first call; it is kept. */
export function chooseEngine(name: EngineName | 'auto'): Engine {
  return name === 'typescript' ? typescriptEngine() : nativeEngine()
}
