// Runs fuzzers: each begins with its corpus and goes on for some seconds, from a printed seed.
//
// A corpus is a file of test/fuzz/corpus: inputs in base64, each of which reaches code that no
// other one does. `node test/run.mjs --keep fuzz` adds what a run has found new.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const CORPUS = fileURLToPath(new URL('corpus', import.meta.url))
/** Bytes of the longest input that is made up. */
const LENGTH_MAX = 4096
/** Seconds for one input; and MiB for all: a decoder takes no more than its input justifies. */
const LIMITS = ['-timeout=20', '-rss_limit_mb=1024']

/** All executables of the folder `bin` that are fuzzers. */
export function fuzzersIn(bin) {
  return readdirSync(bin)
    .filter((name) => name.endsWith('_fuzz'))
    .map((name) => join(bin, name))
}

/** Returns whether the fuzzer has found nothing. `work`: a folder for it. */
export async function fuzz(binary, { seconds, seed, work, keeps }) {
  const name = basename(binary).replace(/_fuzz$/, '')
  const found = join(work, name, 'found')
  const known = join(work, name, 'known')
  for (const folder of [found, known]) mkdirSync(folder, { recursive: true })
  const inputs = readCorpus(name)
  for (const [i, input] of inputs.entries()) writeFileSync(join(known, `${i}`), input)
  const { code, output } = await run(binary, [
    `-seed=${seed}`,
    `-max_total_time=${seconds}`,
    `-max_len=${LENGTH_MAX}`,
    `-artifact_prefix=${join(work, name)}/`,
    '-print_final_stats=1',
    ...LIMITS,
    found,
    known,
  ])
  if (code !== 0) console.log(output)
  const executed = /number_of_executed_units:\s*(\d+)/.exec(output)?.[1] ?? 'no'
  const covered = [...output.matchAll(/ cov: (\d+)/g)].at(-1)?.[1] ?? 'no'
  console.log(`fuzz: ${name}: ${executed} inputs, ${covered} places, SEED=${seed}`)
  if (code === 0 && keeps) await keep(binary, name, { work, found, known })
  return code === 0
}

function readCorpus(name) {
  const path = join(CORPUS, `${name}.json`)
  if (!existsSync(path)) return []
  return JSON.parse(readFileSync(path, 'utf8')).map((text) => Buffer.from(text, 'base64'))
}

/** Of what was known and what was found: as little as reaches the same places. */
async function keep(binary, name, { work, found, known }) {
  const merged = join(work, name, 'merged')
  mkdirSync(merged)
  const { code, output } = await run(binary, ['-merge=1', ...LIMITS, merged, known, found])
  if (code !== 0) throw new Error(`${name}: its corpus cannot be merged: ${output}`)
  const texts = readdirSync(merged).map((file) => readFileSync(join(merged, file), 'base64'))
  texts.sort((a, b) => a.length - b.length || (a < b ? -1 : 1))
  mkdirSync(CORPUS, { recursive: true })
  writeFileSync(join(CORPUS, `${name}.json`), `${JSON.stringify(texts, undefined, 1)}\n`)
  console.log(`fuzz: ${name}: ${texts.length} inputs are kept`)
}

async function run(binary, args) {
  const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let output = ''
  child.stderr.on('data', (part) => (output += part))
  const [code] = await once(child, 'close')
  return { code, output }
}
