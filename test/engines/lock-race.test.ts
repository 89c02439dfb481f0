// Several processes of both engines take over one directory at once, again and again, each time
// from a holder that was killed: exactly one has it.

import { spawn } from 'node:child_process'
import type { ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { Database } from '../../lib/index.ts'
import { scaled, scratchDirectory } from '../support/scratch.ts'

const script = fileURLToPath(new URL('lock-child.mjs', import.meta.url))

interface Contender {
  readonly engine: string
  readonly child: ChildProcessByStdio<Writable, Readable, null>
  /** The next line that it says. */
  readonly line: () => Promise<string>
}

function start(directory: string, engine: string): Contender {
  const child = spawn(process.execPath, [script, directory, engine], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  let text = ''
  const line = async (): Promise<string> => {
    while (!text.includes('\n')) {
      // oxlint-disable-next-line no-await-in-loop
      const [chunk] = (await once(child.stdout, 'data')) as [Buffer]
      text += chunk.toString()
    }
    const [first = '', ...rest] = text.split('\n')
    text = rest.join('\n')
    return first
  }
  return { engine, child, line }
}

test('of several that take over at once, one has it, whoever was killed before', async () => {
  const directory = join(scratchDirectory(), 'db')
  await (await Database.open(directory, { engine: 'native' })).close()
  const winners: string[] = []
  for (let round = 0; round < scaled(6); round++) {
    const engines = ['native', 'typescript', 'native', 'typescript']
    const contenders = engines.map((engine) => start(directory, engine))
    // oxlint-disable-next-line no-await-in-loop
    await Promise.all(contenders.map(async ({ line }) => line()))
    for (const { child } of contenders) child.stdin.write('go\n')
    // oxlint-disable-next-line no-await-in-loop
    const answers = await Promise.all(contenders.map(async ({ line }) => line()))
    expect(answers.toSorted(), `round ${round}`).toEqual([
      'DB_LOCKED',
      'DB_LOCKED',
      'DB_LOCKED',
      'held',
    ])
    winners.push(engines[answers.indexOf('held')]!)
    for (const { child } of contenders) {
      const closed = once(child, 'close')
      child.kill('SIGKILL')
      // oxlint-disable-next-line no-await-in-loop
      await closed
    }
  }
  console.log(`took over: ${winners.join(' ')}`)
})
