// Several processes of both engines take over one directory at once, again and again, each time
// from a holder that was killed: exactly one has it.

import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { Database } from '../../lib/index.ts'
import { scaled, scratchDirectory, testSeed } from '../support/scratch.ts'
import { Random } from '../typescript/support/random.ts'
import { startProcess } from './support/holders.ts'

const CONTENDERS = [
  { engine: 'native' },
  { engine: 'typescript' },
  { engine: 'native', readOnly: true },
  { engine: 'typescript', readOnly: true },
] as const

test('of several that take over at once, one has it, whoever was killed before', async () => {
  const path = join(scratchDirectory(), 'db')
  await (await Database.open(path, { engine: 'native' })).close()
  const random = new Random(testSeed())
  const winners: string[] = []
  for (let round = 0; round < scaled(6); round++) {
    // oxlint-disable-next-line no-await-in-loop
    const holders = await Promise.all(CONTENDERS.map(async () => startProcess()))
    // oxlint-disable-next-line no-await-in-loop
    const answers = await Promise.all(
      holders.map(async ({ ask }, i) => {
        // One engine opens faster than the other.
        await setTimeout(random.below(20))
        return ask({ name: 'open', path, options: CONTENDERS[i]! })
      }),
    )
    const codes = answers.map(({ code }) => code)
    const winner = codes.indexOf(undefined)
    expect(codes.toSpliced(winner, 1), `round ${round}`).toEqual(Array(3).fill('DB_LOCKED'))
    const { pid } = holders[winner]!
    for (const { code, pid: named } of answers) if (code !== undefined) expect(named).toBe(pid)
    winners.push(CONTENDERS[winner]!.engine)
    // oxlint-disable-next-line no-await-in-loop
    await Promise.all(holders.map(async ({ kill }) => kill()))
  }
  console.log(`took over: ${winners.join(' ')}`)
})
