// Other processes, and other threads of this one, that open directories: the side of the test.

import { fork } from 'node:child_process'
import { once, type EventEmitter } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { onTestFinished } from 'vitest'
import type { DatabaseOptions } from '../../../lib/index.ts'

const script = fileURLToPath(new URL('../holder.mjs', import.meta.url))

/** What a call came to: its result, or what an error says. */
export interface Answer {
  readonly result?: string
  readonly code?: string
  readonly message?: string
  readonly pid?: number
  readonly path?: string
  readonly sameProcess?: boolean
  readonly retryable?: boolean
}

export type Command =
  | {
      readonly name: 'open' | 'openAsync'
      readonly kind?: 'tree'
      readonly path: string
      readonly options: DatabaseOptions
    }
  | { readonly name: 'write'; readonly key: string; readonly value: string }
  | { readonly name: 'read'; readonly key: string }
  | { readonly name: 'close' }

export interface Holder {
  readonly pid: number
  ask(command: Command): Promise<Answer>
  /** Without a word: SIGKILL, or the end of a thread. */
  kill(): Promise<void>
}

async function nextMessage(emitter: EventEmitter): Promise<Answer> {
  const [answer] = (await once(emitter, 'message')) as [Answer]
  return answer
}

export async function startProcess(): Promise<Holder> {
  const child = fork(script)
  onTestFinished(() => void child.kill('SIGKILL'))
  await nextMessage(child)
  return {
    pid: child.pid!,
    ask: async (command) => {
      const answer = nextMessage(child)
      child.send(command)
      return answer
    },
    kill: async () => {
      const closed = once(child, 'exit')
      child.kill('SIGKILL')
      await closed
    },
  }
}

export async function startWorker(): Promise<Holder> {
  const worker = new Worker(script)
  onTestFinished(async () => {
    await worker.terminate()
  })
  await nextMessage(worker)
  return {
    pid: process.pid,
    ask: async (command) => {
      const answer = nextMessage(worker)
      worker.postMessage(command)
      return answer
    },
    kill: async () => {
      await worker.terminate()
    },
  }
}
