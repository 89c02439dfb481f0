// The engine whose turn it is. Each project of vitest.config.ts provides one: `native`,
// `typescript`, or `alternating`, under which a directory changes its engine whenever it is opened
// again. Loads no engine: tests whose scenarios run in processes of their own need none here.

import { basename } from 'node:path'
import { hash } from 'fast-check'
import { inject, onTestFailed } from 'vitest'
import type { Engine } from '../../lib/index.ts'
import { testSeed } from './scratch.ts'

declare module 'vitest' {
  interface ProvidedContext {
    engine: Engine | 'alternating'
  }
}

/** Under `alternating`: who opened each directory, in order. */
const openings = new Map<string, Engine[]>()

/** Who opens `path` next. The first one follows from the seed and the last part of the path. */
export function nextEngine(path: string): Engine {
  const provided = inject('engine')
  if (provided !== 'alternating') return provided
  let turns = openings.get(path)
  if (turns === undefined) {
    const opened: Engine[] = []
    onTestFailed(() => console.log(`${path} was opened by ${opened.join(', ')}`))
    openings.set(path, (turns = opened))
  }
  const draw = testSeed() + hash(basename(path)) + turns.length
  const engine = draw % 2 === 0 ? 'native' : 'typescript'
  turns.push(engine)
  return engine
}
