// The package as a user gets it: what is in the tarball, that its types and exports hold in every
// way of resolving them, and that it loads its binary with install scripts off and no compiler.

import { execFileSync, spawnSync } from 'node:child_process'
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
    expect(Object.keys(manifest.optionalDependencies)).toEqual(['@bokuweb/zstd-wasm'])
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

/** A project with the package in it, without its optional dependency. */
function install(project: string): void {
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), '{ "name": "empty", "version": "1.0.0" }\n')
  const flags = ['--ignore-scripts', '--omit=optional', '--offline', '--no-audit', '--no-fund']
  npm(['install', ...flags, tarball], project)
  // Outside of a release the addon of this checkout stands in for the prebuild.
  const folder = prebuildsOf(project)
  if (existsSync(folder)) return
  mkdirSync(folder, { recursive: true })
  cpSync(join(root, 'out/addon/Release/shale.node'), join(folder, 'shale.node'))
}

function prebuildsOf(project: string): string {
  return join(project, 'node_modules/shale/prebuilds', platform)
}

interface Output {
  readonly stdout: string
  readonly stderr: string
}

/** What the code writes, run in the project. */
function outputOf(
  project: string,
  type: 'module' | 'commonjs',
  code: string,
  env: NodeJS.ProcessEnv = {},
): Output {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [`--input-type=${type}`, '--eval', code],
    { cwd: project, encoding: 'utf8', env: { PATH: '', HOME: work, ...env } },
  )
  if (status !== 0) throw new Error(`the process ended with ${status}: ${stderr}`)
  return { stdout, stderr }
}

const project = join(work, 'project')
beforeAll(() => install(project))

describe('installed without scripts, compiler or PATH', () => {
  const installed = join(project, 'node_modules/shale')

  function evaluate(
    type: 'module' | 'commonjs',
    code: string,
    env: NodeJS.ProcessEnv = {},
  ): string {
    return outputOf(project, type, code, env).stdout
  }

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

  test.each(['import first', 'require first'])('there is one library: %s', (order) => {
    const imports = `const esm = await import('shale')`
    const requires = `const cjs = createRequire(process.cwd() + '/x')('shale')`
    const both = order === 'import first' ? [imports, requires] : [requires, imports]
    const code = `import { createRequire } from 'node:module'
      ${both.join('; ')}
      const same = Object.keys(cjs).filter((name) => cjs[name] === esm[name])
      console.log(same.length === Object.keys(esm).length)
      for (const engine of ['native', 'typescript']) {
        const one = cjs.Database.openSync('./one-' + engine, { engine })
        const two = await esm.Database.open('./one-' + engine, { engine })
        one.keyspaceSync('default').insertSync('key', 'value')
        console.log(engine, two.keyspaceSync('default').getTextSync('key'))
        try {
          two.keyspaceSync('default').getSync('')
        } catch (error) {
          console.log(error instanceof cjs.ShaleError)
        }
        one.closeSync()
        await two.close()
      }`
    expect(evaluate('module', code)).toBe('true\nnative value\ntrue\ntypescript value\ntrue\n')
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

describe('where no binary loads', () => {
  const bare = join(work, 'bare')
  const broken = join(work, 'broken')

  beforeAll(() => {
    for (const copy of [bare, broken]) cpSync(project, copy, { recursive: true })
    for (const file of readdirSync(prebuildsOf(bare))) {
      rmSync(join(prebuildsOf(bare), file))
      writeFileSync(join(prebuildsOf(broken), file), 'not a library')
    }
  })

  /** Opens several times, in both forms, and says which engines it got. */
  const opens = `
    const db = await Database.open('./data')
    const keyspace = await db.keyspace('default')
    await keyspace.insert('key', 'value')
    const tree = Tree.openSync('./tree')
    console.log(db.engine, tree.engine, keyspace.getTextSync('key'))
    await db.close()
    tree.closeSync()
    const again = Database.openSync('./data')
    console.log(again.engine, again.keyspaceSync('default').getTextSync('key'))
    again.closeSync()`
  const codes = {
    module: `import { Database, Tree } from 'shale'; ${opens}`,
    commonjs: `const { Database, Tree } = require('shale'); (async () => {${opens}})()`,
  }
  const places: readonly (readonly [string, string, RegExp])[] = [
    ['its file is gone', bare, /none of them exists/],
    [
      'its file is broken',
      broken,
      /shale(\.glibc|\.musl)?\.node: .*(invalid|header|short|library)/,
    ],
  ]
  const cases = places.flatMap(([name, place, reason]) =>
    (['module', 'commonjs'] as const).map((type) => ({ name, type, place, reason })),
  )

  test.each(cases)('$name: $type takes TypeScript, and warns once', ({ type, place, reason }) => {
    const data = ['data', 'tree'].map((name) => join(place, name))
    for (const path of data) rmSync(path, { recursive: true, force: true })
    const { stdout, stderr } = outputOf(place, type, codes[type])
    expect(stdout).toBe('typescript typescript value\ntypescript value\n')
    expect(stderr.match(/ShaleWarning/g)).toHaveLength(1)
    expect(stderr).toMatch(/\[SHALE_TYPESCRIPT_ENGINE\] ShaleWarning: shale has no native binary/)
    expect(stderr).toMatch(reason)
    expect(stderr).toContain('SHALE_ENGINE=typescript chooses it without this warning')
  })

  test.each(cases)('$name: $type says nothing where that was chosen', ({ type, place }) => {
    const { stdout, stderr } = outputOf(place, type, codes[type], { SHALE_ENGINE: 'typescript' })
    expect([stdout, stderr]).toEqual(['typescript typescript value\ntypescript value\n', ''])
  })

  test.each(cases)('$name: $type refuses native, and says why', ({ type, place, reason }) => {
    const open = `const code = (options) => {
        try {
          Database.openSync('./data', options)
        } catch ({ code, message }) {
          return [code, message]
        }
      }
      console.log(JSON.stringify([code({ engine: 'native' }), code({})]))`
    const head = {
      module: "import { Database } from 'shale'",
      commonjs: "const { Database } = require('shale')",
    }
    const env = { SHALE_ENGINE: 'native' }
    const { stdout, stderr } = outputOf(place, type, `${head[type]}; ${open}`, env)
    const errors = JSON.parse(stdout) as [string, string][]
    for (const [code, message] of errors) {
      expect(code).toBe('NOT_SUPPORTED')
      expect(message).toMatch(reason)
    }
    expect([errors.length, stderr]).toEqual([2, ''])
  })

  test('data of one engine is read by the other', () => {
    const path = JSON.stringify(join(bare, 'data'))
    const read = `const { Database } = require('shale'); const db = Database.openSync(${path})
      console.log(db.engine, db.keyspaceSync('default').getTextSync('key'))`
    expect(outputOf(project, 'commonjs', read).stdout).toBe('native value\n')
  })
})

describe('the TypeScript engine chosen by SHALE_ENGINE', () => {
  const isLoaded = `
    const objects = () => process.report.getReport().sharedObjects
    const isLoaded = () => objects().some((path) => path.endsWith('.node'))`

  test.each(['module', 'commonjs'] as const)('%s does not load the binary', (type) => {
    const head = {
      module: "import { Database } from 'shale'",
      commonjs: "const { Database } = require('shale')",
    }
    const code = `${head[type]}; ${isLoaded}
      const path = './chosen-${type}'
      const typescript = Database.openSync(path)
      console.log(typescript.engine, isLoaded())
      typescript.closeSync()
      const native = Database.openSync(path, { engine: 'native' })
      const keyspace = native.keyspaceSync('default')
      keyspace.insertSync('key', 'value')
      console.log(native.engine, isLoaded(), keyspace.getTextSync('key'))
      native.closeSync()`
    const { stdout, stderr } = outputOf(project, type, code, { SHALE_ENGINE: 'typescript' })
    expect([stdout, stderr]).toEqual(['typescript false\nnative true value\n', ''])
  })
})

describe('zstd in the TypeScript engine', () => {
  // Node.js has it from 22.15 on.
  const withoutNodes = `
    const zlib = require('node:zlib')
    for (const name of Object.keys(zlib)) if (/zstd/i.test(name)) delete zlib[name]
    require('node:module').syncBuiltinESMExports()`
  const open = `
    const { Database } = require('shale')
    const db = Database.openSync('./zstd', { engine: 'typescript' })
    try {
      const keyspace = db.keyspaceSync('default', { compression: 'zstd' })
      keyspace.insertSync('key', 'value '.repeat(1000))
      keyspace.rotateMemtableAndWaitSync()
      console.log(keyspace.getTextSync('key').length)
    } catch ({ code, message }) {
      console.log(code, message)
    }`

  test('needs the optional package where Node.js has none, and names it', () => {
    const { stdout } = outputOf(project, 'commonjs', withoutNodes + open)
    expect(stdout).toBe(
      'NOT_SUPPORTED zstd needs Node.js 22.15 or the package @bokuweb/zstd-wasm\n',
    )
  })

  test('works with it', () => {
    const place = join(work, 'with-zstd')
    cpSync(project, place, { recursive: true })
    const name = 'node_modules/@bokuweb/zstd-wasm'
    cpSync(join(root, name), join(place, name), { recursive: true })
    expect(outputOf(place, 'commonjs', withoutNodes + open).stdout).toBe('6000\n')
  })
})
