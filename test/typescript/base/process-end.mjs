// What keeps a process: each scenario is one, and says what it has done before it ends by itself.
//
//   node process-end.mjs SCENARIO

import { breath, run } from '../../../dist/cjs/typescript/base/flow.js'
import { keepAlive } from '../../../dist/cjs/typescript/base/keep-alive.js'
import { realVfs } from '../../../dist/cjs/typescript/vfs/real-vfs.js'

const say = (text) => process.stdout.write(`${text}\n`)

function* breathe(times) {
  for (let i = 0; i < times; i++) yield* breath
  return 'done'
}

/** Work that has no end, of both kinds: turns, and pauses. */
function beginBackground() {
  void run(breathe(Infinity))
  void realVfs.sleep(2 ** 30).async()
}

const scenarios = {
  background() {
    beginBackground()
    say('begun')
  },

  async pending() {
    beginBackground()
    say(await keepAlive(run(breathe(1000))))
    // Nobody waits: this does not come.
    await run(breathe(1000))
    say('too much')
  },

  async several() {
    const long = keepAlive(run(breathe(100)))
    say(await keepAlive(run(breathe(10))))
    say(await long)
  },

  async failing() {
    await keepAlive(Promise.reject(new Error('failed'))).catch((error) => say(error.message))
    beginBackground()
  },

  uncaught() {
    process.on('unhandledRejection', (error) => say(`unhandled ${error.message}`))
    void keepAlive(Promise.reject(new Error('failed')))
  },

  pauses() {
    void keepAlive(realVfs.sleep(5).async()).then(() => say('slept'))
  },

  /** A server that nobody calls sleeps in its loop; background work goes on all the same. */
  async sleepingLoop() {
    const server = setInterval(() => {}, 2 ** 30)
    say(await run(breathe(1000)))
    clearInterval(server)
  },
}

void scenarios[process.argv[2]]()
