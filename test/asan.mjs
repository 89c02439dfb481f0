// Runs the life cycle tests with an addon that was built with AddressSanitizer and
// UndefinedBehaviorSanitizer. Node itself is not instrumented: the sanitizer is preloaded into the
// processes that the tests start.
//
//   node test/asan.mjs [filters of vitest]

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)
const out = join(root, 'out/addon-asan')
const filters = process.argv.slice(2)
const report = mkdtempSync(join(tmpdir(), 'shale-asan-'))

function runTool(name, bin, args, env = process.env) {
  const manifest = require.resolve(`${name}/package.json`)
  const { bin: bins } = JSON.parse(readFileSync(manifest, 'utf8'))
  const path = join(dirname(manifest), typeof bins === 'string' ? bins : bins[bin])
  return spawnSync(process.execPath, [path, ...args], { cwd: root, stdio: 'inherit', env }).status
}

/** Where the compiler keeps the run-time library of its sanitizer; null if it has none. */
function sanitizerLibrary() {
  const compiler = process.env.CXX ?? 'c++'
  const asked = spawnSync(compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' })
  const path = asked.stdout?.trim()
  return path?.includes('/') ? path : null
}

function build() {
  const settings = [
    '--config',
    'Debug',
    '--CDSHALE_SANITIZE=address,undefined',
    '--CDSHALE_LTO=OFF',
  ]
  const jobs = ['--parallel', String(Math.min(availableParallelism(), 8)), '--log-level', 'warn']
  return runTool('cmake-js', 'cmake-js', ['build', '--out', out, ...settings, ...jobs])
}

function sum(file) {
  const { numPassedTests, numFailedTests } = JSON.parse(readFileSync(file, 'utf8'))
  return { passed: numPassedTests, failed: numFailedTests }
}

function main() {
  const library = sanitizerLibrary()
  if (library === null) {
    console.log('skipped: the compiler has no libasan.so')
    return { passed: 0, failed: 0 }
  }
  if (build() !== 0) return { passed: 0, failed: 1 }
  const json = join(report, 'report.json')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${json}`]
  const wanted = filters.length > 0 ? filters : ['test/lifetime']
  const code = runTool('vitest', 'vitest', ['run', ...reporters, ...wanted], {
    ...process.env,
    SHALE_ADDON: join(out, 'Debug/shale.node'),
    SHALE_CHILD_PRELOAD: library,
    // Leaks would be Node's own: it frees little when it ends.
    ASAN_OPTIONS: 'detect_leaks=0:detect_stack_use_after_return=1:abort_on_error=1',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  })
  const { passed, failed } = sum(json)
  return { passed, failed: failed === 0 && code !== 0 ? 1 : failed }
}

let result = { passed: 0, failed: 1 }
try {
  result = main()
} finally {
  rmSync(report, { recursive: true, force: true })
}
console.log(`\n${result.passed} passed, ${result.failed} failed`)
process.exitCode = result.failed === 0 ? 0 : 1
