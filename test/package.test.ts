// The package as a user gets it: what is in the tarball, that its types and exports hold in every
// way of resolving them, and that it loads its binary with install scripts off and no compiler.

import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs'
import { rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { root } from './support/source-files.ts'

const require = createRequire(import.meta.url)
const platform = `${process.platform}-${process.arch}`
const work = mkdtempSync(join(tmpdir(), 'shale-package-'))
afterAll(() => rmSync(work, { recursive: true, force: true }))

interface PackResult {
  readonly filename: string
  readonly size: number
  readonly files: readonly { readonly path: string }[]
}

function npm(args: readonly string[], cwd: string): string {
  const cli = process.env['npm_execpath']
  const [command, first] = cli?.endsWith('.js') ? [process.execPath, [cli]] : ['npm', []]
  return execFileSync(command, [...first, ...args], { cwd, encoding: 'utf8' })
}

let packed: PackResult
let tarball = ''

beforeAll(() => {
  const gather = ['native/codecs/fetch.mjs', '--licences']
  execFileSync(process.execPath, gather, { cwd: root })
  const flags = ['--ignore-scripts', '--dry-run=false', '--json', '--pack-destination', work]
  const results = JSON.parse(npm(['pack', ...flags], root)) as PackResult[]
  packed = results[0]!
  tarball = join(work, packed.filename)
})

describe('tarball', () => {
  test('holds the compiled library, all native sources and every licence', () => {
    const paths = packed.files.map(({ path }) => path)
    const sources = JSON.parse(readFileSync(join(root, 'native/sources.json'), 'utf8'))
    for (const name of [...sources.core, ...sources.binding])
      expect(paths).toContain(`native/${name}`)
    expect(paths).toEqual(
      expect.arrayContaining([
        'dist/esm/index.js',
        'dist/esm/index.d.ts',
        'dist/cjs/index.js',
        'dist/cjs/index.d.ts',
        'dist/cjs/package.json',
        'binding.gyp',
        'native/codecs/vendor/lz4/lz4.c',
        'native/codecs/vendor/zstd/zstd.h',
        'LICENSE',
        'README.md',
        'THIRD_PARTY_LICENSES',
      ]),
    )
    const foreign = paths.filter((path) =>
      /^(test|bench|examples|out|build|node_modules)\//.test(path),
    )
    expect(foreign).toEqual([])
  })

  test('carries the licence texts of the codecs', () => {
    const text = readFileSync(join(root, 'THIRD_PARTY_LICENSES'), 'utf8')
    expect(text).toMatch(/lz4 1\.10\.0 \(BSD-2-Clause\)\n\nLZ4 Library\nCopyright/)
    expect(text).toMatch(/zstd 1\.5\.7 \(BSD-3-Clause\)\n\nBSD License/)
  })

  test('has no install script', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    expect(manifest.gypfile).toBe(false)
    expect(Object.keys(manifest.scripts)).not.toEqual(
      expect.arrayContaining([expect.stringMatching(/install$/)]),
    )
    expect(manifest.dependencies).toBeUndefined()
  })

  test('passes publint', async () => {
    const data = readFileSync(tarball)
    const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)
    const { messages, pkg } = await publint({ pack: { tarball: bytes }, strict: true })
    expect(messages.map((message) => formatMessage(message, pkg))).toEqual([])
  })

  test('passes "are the types wrong"', () => {
    const manifest = require.resolve('@arethetypeswrong/cli/package.json')
    const cli = join(dirname(manifest), 'dist/index.js')
    const options = { cwd: work, encoding: 'utf8' as const }
    const report = execFileSync(process.execPath, [cli, '--format', 'json', tarball], options)
    expect(JSON.parse(report).problems ?? {}).toEqual({})
  })
})

describe('installed without scripts, compiler or PATH', () => {
  const project = join(work, 'project')
  const installed = join(project, 'node_modules/shale')

  beforeAll(() => {
    mkdirSync(project)
    writeFileSync(join(project, 'package.json'), '{ "name": "empty", "version": "1.0.0" }\n')
    npm(['install', '--ignore-scripts', '--offline', '--no-audit', '--no-fund', tarball], project)
    // Outside of a release the addon of this checkout stands in for the prebuild.
    const folder = join(installed, 'prebuilds', platform)
    if (existsSync(folder)) return
    mkdirSync(folder, { recursive: true })
    cpSync(join(root, 'out/addon/Release/shale.node'), join(folder, 'shale.node'))
  })

  function evaluate(
    type: 'module' | 'commonjs',
    code: string,
    env: NodeJS.ProcessEnv = {},
  ): string {
    const args = [`--input-type=${type}`, '--eval', code]
    return execFileSync(process.execPath, args, {
      cwd: project,
      encoding: 'utf8',
      env: { PATH: '', HOME: work, ...env },
      stdio: 'pipe',
    })
  }

  const esm = join(installed, 'dist/esm/native/binding.js')
  const cjs = join(installed, 'dist/cjs/native/binding.js')

  test('import and require give the same names', () => {
    const imported = evaluate(
      'module',
      `console.log(Object.keys(await import('shale')).sort().join())`,
    )
    const required = evaluate(
      'commonjs',
      `console.log(Object.keys(require('shale')).sort().join())`,
    )
    expect(imported).toContain('ShaleError')
    expect(imported).toBe(required)
  })

  test('both copies load the binary', () => {
    const print = 'console.log(typeof loadAddon())'
    expect(evaluate('module', `import { loadAddon } from ${JSON.stringify(esm)};${print}`)).toBe(
      'object\n',
    )
    const code = `const { loadAddon } = require(${JSON.stringify(cjs)});${print}`
    expect(evaluate('commonjs', code)).toBe('object\n')
  })

  test('a database opens on the native engine and keeps what it is given', () => {
    const code = `
      const { Database } = require('shale')
      const path = require('node:path').join(process.cwd(), 'data')
      for (const round of [1, 2]) {
        const db = Database.openSync(path, { engine: 'native' })
        const keyspace = db.keyspaceSync('default')
        if (round === 1) keyspace.insertSync('key', 'value')
        else console.log(db.engine, keyspace.getTextSync('key'))
        db.closeSync()
      }`
    expect(evaluate('commonjs', code)).toBe('native value\n')
  })

  test('a binary that does not load is named in the error', () => {
    const broken = join(work, 'broken.node')
    writeFileSync(broken, 'not a library')
    const code = `const { loadAddon } = require(${JSON.stringify(cjs)});
      try { loadAddon() } catch (error) { console.log(error.message, error.cause.errors.length) }`
    const shown = evaluate('commonjs', code, { SHALE_ADDON: broken })
    expect(shown).toMatch(
      /^shale has no native binary that loads on .* tried .*broken\.node: .* 1\n$/s,
    )
    const missing = evaluate('commonjs', code, { SHALE_ADDON: join(work, 'missing.node') })
    expect(missing).toMatch(/missing\.node: none of them exists 0\n$/)
  })

  test('only the prebuild of this platform is there', () => {
    expect(readdirSync(join(installed, 'prebuilds'))).toEqual([platform])
    expect(existsSync(join(installed, 'out'))).toBe(false)
    expect(existsSync(join(installed, 'build'))).toBe(false)
  })
})
