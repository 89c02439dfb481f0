// SIGKILL: a real process is killed again and again, during writes, flushes, compactions and opens;
// everything it was acknowledged is there, the rest is a prefix, and it goes on from there.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { openDatabase } from '../../support/engine.ts'
import { nextEngine } from '../../support/next-engine.ts'
import { scaled, scratchDirectory, testSeed } from '../../support/scratch.ts'

const KILLS = scaled(50)
const seed = testSeed()
const child = fileURLToPath(new URL('child.mjs', import.meta.url))

/** A small seeded generator. */
function randomFrom(start: number): (below: number) => number {
  let state = start >>> 0 || 1
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Runs the child until it is killed; the highest number it was acknowledged, or `first` - 1. */
async function runAndKill(
  dir: string,
  first: number,
  durability: string,
  duringOpen: boolean,
  ms: number,
): Promise<number> {
  const args = [child, dir, String(first), durability, nextEngine(dir)]
  const writer = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(writer, 'close')
  let acknowledged = first - 1
  let rest = Buffer.alloc(0)
  let complaint = ''
  writer.stdout.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    const whole = rest.length - (rest.length % 4)
    if (whole > 0) acknowledged = rest.readUInt32LE(whole - 4)
    rest = rest.subarray(whole)
  })
  writer.stderr.on('data', (chunk: Buffer) => {
    complaint += chunk.toString()
  })
  // Most die while they write; every fourth while it starts, opens and recovers.
  if (duringOpen) await pause(50)
  else await Promise.race([once(writer.stdout, 'data'), closed])
  await pause(ms)
  writer.kill('SIGKILL')
  const [, signal] = (await closed) as [number | null, string | null]
  if (signal !== 'SIGKILL') throw new Error(`the child ended by itself: ${complaint}`)
  return acknowledged
}

/** The last number that is there whole; throws on a hole, a half commit or a wrong value. */
async function lastWhole(dir: string): Promise<number> {
  await using db = await openDatabase(dir)
  const numbered = await db.keyspace('numbered')
  const last = await db.keyspace('last')
  let expected = 1
  for (const [key, value] of numbered.iter()) {
    if (key.readUInt32BE(0) !== expected) throw new Error(`commit ${expected} is missing`)
    if (!value.toString().startsWith(`${expected} x`)) throw new Error('a wrong value')
    expected++
  }
  const written = last.getTextSync('last')
  expect(written ?? '0').toBe(String(expected - 1))
  return expected - 1
}

test(`${KILLS} kills`, { timeout: KILLS * 10_000 }, async () => {
  const random = randomFrom(seed)
  const durabilities = ['os', 'sync', 'os', 'buffered']
  let dir = join(scratchDirectory(), 'db')
  let next = 1
  let commits = 0
  for (let kill = 0; kill < KILLS; kill++) {
    if (kill % 20 === 0) {
      dir = join(scratchDirectory(), `db ${kill}`)
      next = 1
    }
    const durability = durabilities[kill % durabilities.length] as string
    const acknowledged = await runAndKill(dir, next, durability, kill % 4 === 3, random(100))
    const found = await lastWhole(dir)
    const least = durability === 'buffered' ? next - 1 : acknowledged
    expect(found, `kill ${kill}, ${durability}, SEED=${seed}`).toBeGreaterThanOrEqual(least)
    commits += found + 1 - next
    next = found + 1
  }
  console.log(`${KILLS} kills: ${commits} commits found, SEED=${seed}`)
  expect(commits).toBeGreaterThan(KILLS)
})
