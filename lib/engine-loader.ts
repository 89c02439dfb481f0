/** Picks the engine: the only public module that knows where engines live. */

import type { Engine, EngineName } from './engine.ts'
import { ShaleError } from './errors.ts'
import { nativeEngine } from './native/native-engine.ts'

/** `auto` and `native` load the addon at the first call; it is kept. */
export function chooseEngine(name: EngineName | 'auto'): Engine {
  if (name === 'typescript') {
    throw new ShaleError('NOT_SUPPORTED', 'this build of shale has the native engine only')
  }
  return nativeEngine()
}
