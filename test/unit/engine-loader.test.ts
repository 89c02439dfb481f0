// Which engine an open gets: the option, the environment, and where no binary loads.

import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Engine, EngineName } from '../../lib/engine.ts'
import type { ShaleError } from '../../lib/errors.ts'

/** A copy of the library whose addon is that file. */
async function loader(addon: string): Promise<(name: EngineName | 'auto') => Engine> {
  vi.resetModules()
  vi.stubEnv('SHALE_ADDON', addon)
  return (await import('../../lib/engine-loader.ts')).chooseEngine
}

/** What it throws: a ShaleError of that copy of the library. */
function thrown(call: () => unknown): ShaleError {
  try {
    call()
  } catch (error) {
    return error as ShaleError
  }
  throw new Error('nothing was thrown')
}

const MISSING = '/nowhere/shale.node'

const warnings: string[] = []
function note(warning: Error & { code?: string }): void {
  if (warning.name === 'ShaleWarning') warnings.push(`${warning.code} ${warning.message}`)
}

/** Warnings are told in a turn of their own. */
async function told(): Promise<readonly string[]> {
  await new Promise((resolve) => setImmediate(resolve))
  return warnings
}

beforeEach(() => {
  warnings.length = 0
  process.on('warning', note)
  vi.stubEnv('SHALE_ENGINE', '')
})

afterEach(() => {
  process.off('warning', note)
  vi.unstubAllEnvs()
  vi.resetModules()
})

describe('without a binary', () => {
  test('native is not supported, and the cause says what was tried', async () => {
    const chooseEngine = await loader(MISSING)
    const error = thrown(() => chooseEngine('native'))
    expect(error.code).toBe('NOT_SUPPORTED')
    expect(error.message).toContain(`tried ${MISSING}: none of them exists`)
    expect(error.cause).toBeInstanceOf(Error)
    vi.stubEnv('SHALE_ENGINE', 'native')
    expect(thrown(() => chooseEngine('auto')).code).toBe('NOT_SUPPORTED')
    expect(await told()).toEqual([])
  })

  test('auto is typescript, with one warning that says why', async () => {
    const chooseEngine = await loader(MISSING)
    expect([chooseEngine('auto').name, chooseEngine('auto').name]).toEqual([
      'typescript',
      'typescript',
    ])
    vi.stubEnv('SHALE_ENGINE', 'auto')
    expect(chooseEngine('auto').name).toBe('typescript')
    const said = await told()
    expect(said).toHaveLength(1)
    expect(said[0]).toMatch(
      /^SHALE_TYPESCRIPT_ENGINE shale has no native binary that loads .*none of them exists\. /,
    )
    expect(said[0]).toContain('SHALE_ENGINE=typescript chooses it without this warning')
  })

  test('typescript is what was asked for: there is no warning', async () => {
    const chooseEngine = await loader(MISSING)
    expect(chooseEngine('typescript').name).toBe('typescript')
    vi.stubEnv('SHALE_ENGINE', 'typescript')
    expect(chooseEngine('auto').name).toBe('typescript')
    expect(await told()).toEqual([])
  })
})

describe('SHALE_ENGINE', () => {
  test('holds for auto alone', async () => {
    const chooseEngine = await loader(MISSING)
    vi.stubEnv('SHALE_ENGINE', 'native')
    expect(chooseEngine('typescript').name).toBe('typescript')
    vi.stubEnv('SHALE_ENGINE', 'typescript')
    expect(thrown(() => chooseEngine('native')).code).toBe('NOT_SUPPORTED')
  })

  test('with another word is an invalid option that names it', async () => {
    const chooseEngine = await loader(MISSING)
    for (const word of ['rust', 'Native', ' native', 'x'.repeat(200)]) {
      vi.stubEnv('SHALE_ENGINE', word)
      const error = thrown(() => chooseEngine('auto'))
      expect([error.code, error.message]).toEqual([
        'INVALID_OPTION',
        'the environment variable SHALE_ENGINE must be ' +
          `'native', 'typescript' or 'auto', not '${word.slice(0, 64)}'`,
      ])
    }
    expect(chooseEngine('typescript').name).toBe('typescript')
  })
})
