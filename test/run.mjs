// Runs the suites named on the command line and ends with one line: `N passed, N failed`.
//
//   node test/run.mjs                   the suites of `npm test`
//   node test/run.mjs --long            everything, with SHALE_SCALE=10
//   node test/run.mjs native asan       some suites
//   SHALE_ENGINE=typescript node test/run.mjs
//                                       what needs no other engine than that one
//   node test/run.mjs --write format    format in place instead of checking
//   node test/run.mjs --keep fuzz       add to the corpora what is found
//
// A suite prints its own report and answers how many of its tests passed and failed. A suite that
// cannot run on this machine says so in one line and counts nothing.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fuzz, fuzzersIn } from './fuzz/run.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)
const args = process.argv.slice(2)
// Other releases of clang-format break some lines elsewhere.
const CLANG_FORMAT = 14
/** Milliseconds after which a process with C++ tests hangs, at SHALE_SCALE=1. */
const SHARD_LIMIT = 600_000
/** Instrumented tests are many times slower, and look for other things than the volume finds. */
const SANITIZED_VOLUME = 0.25
/** For each fuzzer, beside its corpus. */
const FUZZ_SECONDS = 15
const FUZZ_SECONDS_LONG = 600
const jobs = Math.min(availableParallelism(), 8)
const work = mkdtempSync(join(tmpdir(), 'shale-run-'))
if (args.includes('--long')) process.env.SHALE_SCALE ??= '10'
const scale = Number(process.env.SHALE_SCALE ?? 1)

async function run(command, commandArgs, options = {}) {
  const child = spawn(command, commandArgs, { cwd: root, stdio: 'inherit', ...options })
  const [code] = await once(child, 'exit')
  return code ?? 1
}

/** Runs the command-line program `bin` of an installed package. */
function runTool(name, bin, toolArgs, options = {}) {
  const manifest = require.resolve(`${name}/package.json`)
  const { bin: bins } = JSON.parse(readFileSync(manifest, 'utf8'))
  const path = join(dirname(manifest), typeof bins === 'string' ? bins : bins[bin])
  return run(process.execPath, [path, ...toolArgs], options)
}

/** A check without tests of its own counts as one. */
function one(code) {
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 }
}

async function types() {
  const everything = await runTool('typescript', 'tsc', ['-p', 'tsconfig.json'])
  const project = ['-p', 'lib/tsconfig.build.json']
  const published = await runTool('typescript', 'tsc', [...project, '--noEmit'])
  return one(everything || published)
}

async function lint() {
  return one(await runTool('oxlint', 'oxlint', ['--type-aware', '--deny-warnings', '.']))
}

function filesUnder(dirs, pattern) {
  const list = (dir) => readdirSync(join(root, dir), { recursive: true, withFileTypes: true })
  return dirs.flatMap((dir) =>
    list(dir)
      .filter((entry) => entry.isFile() && pattern.test(entry.name))
      .map((entry) => join(entry.path, entry.name))
      .filter((path) => !path.includes('vendor') && !path.includes('node_modules')),
  )
}

async function format() {
  const write = args.includes('--write')
  const sources = '**/*.{ts,mts,cts,mjs,cjs,json}'
  const prettier = [write ? '--write' : '--check', '--log-level', 'warn', sources]
  const code = await runTool('prettier', 'prettier', prettier)
  const { stdout } = spawnSync('clang-format', ['--version'], { encoding: 'utf8' })
  if (!stdout?.includes(` ${CLANG_FORMAT}.`)) {
    console.log(`clang-format ${CLANG_FORMAT} was not found: the C++ sources are left alone`)
    return one(code)
  }
  const files = filesUnder(['native', 'test', 'bench'], /\.(cc|h)$/)
  const mode = write ? ['-i'] : ['--dry-run', '-Werror']
  return one(code || (files.length > 0 ? await run('clang-format', [...mode, ...files]) : 0))
}

/** Runs projects of vitest.config.ts, named as `name` or `!name`: how many tests passed in each. */
async function projects(names, filters = []) {
  const { startVitest } = await import('vitest/node')
  const vitest = await startVitest('test', filters, { project: names, watch: false })
  let failed = vitest.state.getUnhandledErrors().length
  const counts = {}
  for (const module of vitest.state.getTestModules()) {
    const states = Array.from(module.children.allTests(), (test) => test.result().state)
    const count = (state) => states.filter((found) => found === state).length
    counts[module.project.name] = (counts[module.project.name] ?? 0) + count('passed')
    // A file that could not be loaded has no tests to count; it counts as one failure.
    failed += count('failed') || Number(!module.ok())
  }
  await vitest.close()
  const passed = Object.values(counts).reduce((total, count) => total + count, 0)
  return { passed, failed: passed + failed === 0 ? 1 : failed, counts }
}

/** Runs projects of vitest.config.ts and says how many tests of the contract each engine passed. */
async function counted(names) {
  const { counts, ...result } = await projects(names)
  const conformance = ['native', 'typescript', 'alternating'].filter((name) => name in counts)
  console.log(`conformance: ${conformance.map((name) => `${name} ${counts[name]}`).join(', ')}`)
  return result
}

/** The conformance suite in another runtime, which npx fetches. */
async function runtime(name, version, flags = []) {
  const command = ['--yes', `${name}@${version}`]
  if (spawnSync('npx', [...command, '--version']).status !== 0) {
    console.log(`${name}: skipped, ${name}@${version} could not be fetched`)
    return { passed: 0, failed: 0 }
  }
  command.push(...flags, 'test/run.mjs', 'conformance')
  const child = spawn('npx', command, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (part) => {
    output += part
    process.stdout.write(part)
  })
  const [code] = await once(child, 'close')
  const [, passed, failed] = /(\d+) passed, (\d+) failed\s*$/.exec(output) ?? [0, 0, 1]
  return { passed: Number(passed), failed: Number(failed) || Number(code !== 0) }
}

/** Runs one share of the GoogleTest binary. */
async function runShard(binary, name, index, total, volume) {
  const report = join(work, `${name}-${index}.json`)
  const env = {
    // Not detect_stack_use_after_return: GCC's substitute for the stack aligns to 32 bytes only.
    ASAN_OPTIONS: 'strict_string_checks=1',
    UBSAN_OPTIONS: 'print_stacktrace=1',
    TSAN_OPTIONS: 'second_deadlock_stack=1',
    ...process.env,
    SHALE_SCALE: String(scale * volume),
    GTEST_TOTAL_SHARDS: String(total),
    GTEST_SHARD_INDEX: String(index),
  }
  const flags = ['--gtest_brief=1', `--gtest_output=json:${report}`]
  const timeout = SHARD_LIMIT * Math.max(scale, 1)
  const child = spawn(binary, flags, { env, timeout, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (output += part))
  const [code, signal] = await once(child, 'close')
  if (code !== 0) console.log(output)
  try {
    const { tests, failures, errors = 0, testsuites } = JSON.parse(readFileSync(report, 'utf8'))
    const times = testsuites.flatMap(({ testsuite }) =>
      testsuite.map((test) => ({
        name: `${test.classname}.${test.name}`,
        seconds: Number.parseFloat(test.time),
      })),
    )
    const failed = failures + errors
    return { passed: tests - failed, failed: failed === 0 && code !== 0 ? 1 : failed, times }
  } catch {
    console.log(`${name}: shard ${index} of ${total} ended with ${code ?? signal} and no report`)
    return { passed: 0, failed: 1, times: [] }
  }
}

/**
 * Builds one target with a preset of CMakePresets.json; what came of it, or why there is nothing.
 */
async function build(name, preset, target) {
  if (spawnSync('cmake', ['--version']).status !== 0) {
    console.log(`${name}: skipped, cmake was not found`)
    return 'skipped'
  }
  const options = { cwd: root, encoding: 'utf8' }
  const ninja = spawnSync('ninja', ['--version']).status === 0
  const generator = ninja ? ['-G', 'Ninja'] : []
  const configure = spawnSync('cmake', ['--preset', preset, ...generator], options)
  if (configure.status !== 0) {
    console.log(configure.stdout, configure.stderr)
    return 'failed'
  }
  if (target === 'shale_tests' && configure.stdout.includes('GoogleTest was not found')) {
    console.log(`${name}: skipped, GoogleTest was not found`)
    return 'skipped'
  }
  const started = Date.now()
  const command = ['--build', join('out', preset), '--target', target, '-j', String(jobs)]
  const child = spawn('cmake', command, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk) => (output += chunk))
  const [code] = await once(child, 'close')
  console.log(code === 0 ? `${name}: built in ${secondsSince(started)} s` : output)
  return code === 0 ? 'built' : 'failed'
}

/** What `task` makes of each of them, a few at a time. */
async function sideBySide(items, task) {
  const waiting = items.slice()
  const made = []
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      made.push(await task(next))
    }
  }
  await Promise.all(Array.from({ length: jobs }, lane))
  return made
}

/** The C++ unit tests, with `volume` times the figures of SHALE_SCALE. */
async function native(name, preset, volume = 1) {
  const built = await build(name, preset, 'shale_tests')
  if (built !== 'built') return { passed: 0, failed: built === 'failed' ? 1 : 0 }
  const binary = join(root, 'out', preset, 'shale_tests')
  // More shards than processes, so that one with long tests does not leave the others idle.
  const total = jobs * 4
  const indices = Array.from({ length: total }, (_, index) => index)
  const shards = await sideBySide(indices, (i) => runShard(binary, name, i, total, volume))
  const slowest = shards.flatMap((shard) => shard.times).toSorted((a, b) => b.seconds - a.seconds)
  for (const test of slowest.slice(0, 5)) console.log(`${name}: ${test.seconds} s in ${test.name}`)
  return sum(shards)
}

/**
 * The life cycle tests with an instrumented addon. Node itself is not instrumented: the sanitizer
 * is preloaded into the processes that the tests start.
 */
async function lifetime() {
  const asked = spawnSync(process.env.CXX ?? 'c++', ['-print-file-name=libasan.so'])
  const library = asked.stdout?.toString().trim() ?? ''
  if (!library.includes('/')) {
    console.log('lifetime: skipped, the compiler has no libasan.so')
    return { passed: 0, failed: 0 }
  }
  const built = await build('lifetime', 'asan', 'shale')
  if (built !== 'built') return { passed: 0, failed: built === 'failed' ? 1 : 0 }
  const env = { ...process.env }
  Object.assign(process.env, {
    SHALE_ADDON: join(root, 'out/asan/shale.node'),
    SHALE_CHILD_PRELOAD: library,
    // Leaks would be Node's own: it frees little when it ends.
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  })
  try {
    return await projects(['addon', 'native'], ['test/lifetime', 'lifecycle'])
  } finally {
    process.env = env
  }
}

/** The fuzzers of the decoders, which need clang. */
async function fuzzers() {
  if (spawnSync('clang++', ['--version']).status !== 0) {
    console.log('fuzz: skipped, clang++ was not found')
    return { passed: 0, failed: 0 }
  }
  const built = await build('fuzz', 'fuzz', 'fuzzers')
  if (built !== 'built') return { passed: 0, failed: built === 'failed' ? 1 : 0 }
  const seconds = args.includes('--long') ? FUZZ_SECONDS_LONG : FUZZ_SECONDS * scale
  const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
  const options = { seconds, seed, work, keeps: args.includes('--keep') }
  const binaries = fuzzersIn(join(root, 'out/fuzz'))
  const outcomes = await sideBySide(binaries, (binary) => fuzz(binary, options))
  const passed = outcomes.filter(Boolean).length
  return { passed, failed: outcomes.length - passed }
}

function sum(results) {
  const add = (key) => results.reduce((total, result) => total + result[key], 0)
  return { passed: add('passed'), failed: add('failed') }
}

function secondsSince(since) {
  return ((Date.now() - since) / 1000).toFixed(1)
}

const suites = {
  types,
  lint,
  format,
  layout: () => projects(['layout']),
  vitest: () => counted(['!layout']),
  conformance: () => counted(['native', 'typescript', 'alternating']),
  native: () => native('native', 'debug'),
  asan: () => native('asan', 'asan', SANITIZED_VOLUME),
  tsan: () => native('tsan', 'tsan', SANITIZED_VOLUME),
  lifetime,
  fuzz: fuzzers,
  bun: () => runtime('bun', '1.4.5'),
  deno: () => runtime('deno', '2.9.6', ['run', '-A']),
}

/** Suites of the C++ core and of its addon. */
const NATIVE = ['native', 'asan', 'tsan', 'lifetime', 'fuzz']
/** The suites of a run that names none. `conformance` is a part of `vitest`. */
function defaultSuites() {
  const { SHALE_ENGINE: only } = process.env
  const long = Object.keys(suites).filter((name) => name !== 'conformance')
  const names = args.includes('--long') ? long : ['layout', 'vitest', 'native']
  if (only === undefined || only === 'auto') return names
  console.log(`SHALE_ENGINE=${only}: without the suites that need another engine`)
  return names.filter((name) => only === 'native' || !NATIVE.includes(name))
}

const named = args.filter((arg) => !arg.startsWith('--'))
const unknown = named.filter((name) => !(name in suites))
if (unknown.length > 0) {
  console.error(`no such suite: ${unknown.join(', ')}; there are ${Object.keys(suites).join(', ')}`)
  process.exit(2)
}
const results = []
try {
  for (const name of named.length > 0 ? named : defaultSuites()) {
    const started = Date.now()
    const result = await suites[name]()
    results.push({ name, ...result, seconds: secondsSince(started) })
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}

console.log()
for (const { name, passed, failed, seconds: time } of results) {
  console.log(`${name.padEnd(8)} ${time.padStart(8)} s  ${passed} passed, ${failed} failed`)
}
const total = sum(results)
console.log(`\n${total.passed} passed, ${total.failed} failed`)
process.exitCode = total.failed === 0 && total.passed > 0 ? 0 : 1
