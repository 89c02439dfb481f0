// What the scenarios of scenario.ts share. The command line of one: ENGINES NAME DIRECTORY [MORE],
// where each directory is opened by the engines, separated by commas, in turn.

import assert from 'node:assert/strict'
import { Database, ShaleError, Tree } from '../../dist/esm/index.js'

const [engines, name, directory, ...more] = process.argv.slice(2)
const openings = new Map()

function nextEngine(path) {
  const turn = openings.get(path) ?? 0
  openings.set(path, turn + 1)
  const inTurn = engines.split(',')
  return inTurn[turn % inTurn.length]
}

/** Database.open on the engine whose turn it is. */
export function openDatabase(path, options) {
  return Database.open(path, { engine: nextEngine(path), ...options })
}

export function openDatabaseSync(path, options) {
  return Database.openSync(path, { engine: nextEngine(path), ...options })
}

/** Tree.open on the engine whose turn it is. */
export function openTree(path, options) {
  return Tree.open(path, { engine: nextEngine(path), ...options })
}

/** Keys that sort as their numbers do. */
export function key(i) {
  return `key${String(i).padStart(8, '0')}`
}

export function value(i, size = 100) {
  return `${i}:`.padEnd(size, String.fromCharCode(97 + (i % 26)))
}

/** The code of what a promise rejected with, or undefined if it resolved. */
export async function codeOf(promise) {
  try {
    await promise
    return undefined
  } catch (error) {
    if (!(error instanceof ShaleError)) throw error
    return error.code
  }
}

/** The code of what `call` throws or rejects with; throwing from an async form is an error here. */
export async function failureOf(call, isAsync) {
  let result
  try {
    result = call()
  } catch (error) {
    assert(error instanceof ShaleError, `${call}: ${error?.stack}`)
    assert(!isAsync, `${call} threw synchronously`)
    return error.code
  }
  assert(result instanceof Promise, `${call} did not fail`)
  return codeOf(result)
}

/**
 * Asserts that every promise settles, each with nothing or one of `codes`; returns how many failed.
 */
export async function allSettle(promises, codes) {
  const outcomes = await Promise.all(promises.map(codeOf))
  const failed = outcomes.filter((code) => code !== undefined)
  for (const code of failed) assert(codes.includes(code), `settled with ${code}`)
  return failed.length
}

/** Collects until `done()` holds; the collector may need several turns. */
export async function collectUntil(done) {
  for (let round = 0; round < 100; round++) {
    globalThis.gc()
    await new Promise((resolve) => setImmediate(resolve))
    if (await done()) return
  }
  assert.fail('was not collected')
}

/** Runs the scenario that the command line names. */
export async function main(scenarios) {
  assert(name in scenarios, `no scenario ${name}`)
  await scenarios[name](directory, ...more)
  console.log('done')
}
