// The suites of Vitest. What speaks of the public API alone, test/conformance, is one text that
// three of them run: on each engine, and on directories that change their engine at every opening
// (test/support/next-engine.ts). SHALE_ENGINE=native or SHALE_ENGINE=typescript leaves out what
// needs the other one.

import { availableParallelism } from 'node:os'
import { defineConfig, type TestProjectConfiguration } from 'vitest/config'

type Engine = 'native' | 'typescript'

function suite(
  name: string,
  include: readonly string[],
  engine?: Engine | 'alternating',
): TestProjectConfiguration {
  return {
    extends: true,
    test: { name, include: [...include], ...(engine !== undefined && { provide: { engine } }) },
  }
}

const conformance = ['test/conformance/**/*.test.ts']

/** Each suite, and the engines without which it cannot run. */
const suites: readonly (readonly [TestProjectConfiguration, ...Engine[]])[] = [
  [suite('native', conformance, 'native'), 'native'],
  [suite('typescript', conformance, 'typescript'), 'typescript'],
  [suite('alternating', conformance, 'alternating'), 'native', 'typescript'],
  [suite('engines', ['test/engines/**/*.test.ts']), 'native', 'typescript'],
  [suite('rooms', ['test/typescript/**/*.test.ts']), 'typescript'],
  [suite('addon', ['test/lifetime/**/*.test.ts', 'test/p*.test.ts']), 'native'],
  [suite('library', ['test/{unit,format}/**/*.test.ts'])],
  [suite('layout', ['test/layout.test.ts'])],
]

const named = process.env['SHALE_ENGINE']
const only = named === 'auto' ? undefined : named

// One seed for everything random in a run; SEED repeats it.
process.env['SEED'] ??= String(Math.floor(Math.random() * 2 ** 31))

export default defineConfig({
  test: {
    projects: suites
      .filter(([, ...needs]) => only === undefined || needs.every((engine) => engine === only))
      .map(([project]) => project),
    pool: 'forks',
    maxWorkers: availableParallelism(),
    // The volume takes its time.
    testTimeout: 60_000 * Math.max(1, Number(process.env['SHALE_SCALE'] ?? 1)),
    hookTimeout: 60_000,
  },
})
