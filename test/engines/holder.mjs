// Opens directories when it is told to, and says what came of it: as a process of its own or as a
// worker thread. holders.ts is the other side.

import { parentPort } from 'node:worker_threads'
import { Database, Tree } from '../../dist/esm/index.js'

const port = parentPort ?? process
const send = parentPort?.postMessage.bind(parentPort) ?? process.send.bind(process)
let held

const commands = {
  open: ({ kind, path, options }) => {
    held = (kind === 'tree' ? Tree : Database).openSync(path, options)
    return 'held'
  },
  openAsync: async ({ kind, path, options }) => {
    held = await (kind === 'tree' ? Tree : Database).open(path, options)
    return 'held'
  },
  write: ({ key, value }) => {
    held.keyspaceSync('k').insertSync(key, value, { durability: 'os' })
    return 'written'
  },
  read: ({ key }) => held.keyspaceSync('k').getTextSync(key),
  close: async () => {
    await held.close()
    return 'closed'
  },
}

async function answer({ name, ...details }) {
  try {
    send({ result: await commands[name](details) })
  } catch ({ code, message, pid, path, sameProcess, retryable }) {
    send({ code, message, pid, path, sameProcess, retryable })
  }
}

port.on('message', (command) => void answer(command))
send({ result: 'ready' })
