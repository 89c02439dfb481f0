// Compiles lib/ to dist/cjs, and writes dist/esm, which only passes on what is exported there: a
// process has one library, however it is loaded (docs/decisions/0013-one-library.md).
//
//   node lib/build.mjs            build
//   node lib/build.mjs --clean    remove everything that a build makes

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)
const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')

async function compile() {
  const args = [tsc, '-p', join(root, 'lib/tsconfig.build.json')]
  const [code] = await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit')
  return code ?? 1
}

/** What tsc does not make of the CommonJS side. */
function completeCjs(dir) {
  for (const file of ['location.cjs', 'location.d.cts']) {
    cpSync(join(root, 'lib', file), join(dir, file))
  }
  writeFileSync(join(dir, 'package.json'), '{ "type": "commonjs" }\n')
}

/** Names are spelled out: `export *` would pass on those that Node.js adds to CommonJS modules. */
function writeEsm(dir) {
  process.env.SHALE_ENGINE = 'typescript' // the addon may not be built yet
  const names = Object.keys(require(join(root, 'dist/cjs/index.js')))
  mkdirSync(dir, { recursive: true })
  writeFileSync(
    join(dir, 'index.js'),
    `export {\n${names.map((name) => `  ${name},\n`).join('')}} from '../cjs/index.js'\n`,
  )
  writeFileSync(join(dir, 'index.d.ts'), "export * from '../cjs/index.js'\n")
}

/** What this build did not write belongs to a source that is gone. */
function removeOlderThan(dir, time) {
  for (const entry of readdirSync(dir, { withFileTypes: true, recursive: true })) {
    const path = join(entry.path, entry.name)
    if (entry.isFile() && statSync(path).mtimeMs < time - 1000) rmSync(path)
  }
}

if (process.argv.includes('--clean')) {
  for (const made of ['build', 'dist', 'out', 'coverage']) {
    rmSync(join(root, made), { recursive: true, force: true })
  }
} else {
  const started = Date.now()
  process.exitCode = await compile()
  if (process.exitCode === 0) {
    completeCjs(join(root, 'dist/cjs'))
    writeEsm(join(root, 'dist/esm'))
    removeOlderThan(join(root, 'dist'), started)
  }
}
