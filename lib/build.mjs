// Compiles lib/ to dist/esm and dist/cjs. What tsc does not do is done here: the CommonJS copy gets
// its package.json, and the one file that must be CommonJS on both sides is copied.
//
//   node lib/build.mjs            build
//   node lib/build.mjs --clean    remove everything that a build makes

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)
const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin', 'tsc')

async function compile(project) {
  const args = [tsc, '-p', join(root, 'lib', project)]
  const [code] = await once(spawn(process.execPath, args, { stdio: 'inherit' }), 'exit')
  return code ?? 1
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
  const codes = await Promise.all(['tsconfig.esm.json', 'tsconfig.cjs.json'].map(compile))
  process.exitCode = Math.max(...codes)
  for (const side of ['esm', 'cjs']) {
    for (const file of ['location.cjs', 'location.d.cts']) {
      cpSync(join(root, 'lib', file), join(root, 'dist', side, file))
    }
  }
  writeFileSync(join(root, 'dist/cjs/package.json'), '{ "type": "commonjs" }\n')
  removeOlderThan(join(root, 'dist'), started)
}
