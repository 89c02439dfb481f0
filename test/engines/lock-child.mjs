// A process that tries to open a directory when it is told to, and says whether it holds it; then
// it keeps it until it is killed.
//
//   node lock-child.mjs DIR ENGINE

import { once } from 'node:events'
import { Database } from '../../dist/esm/index.js'
import { runSync } from '../../dist/esm/typescript/base/flow.js'
import { DirectoryLock } from '../../dist/esm/typescript/db/directory-lock.js'
import { realVfs } from '../../dist/esm/typescript/vfs/real-vfs.js'

const [directory, engine] = process.argv.slice(2)
process.stdout.write('ready\n')
await once(process.stdin, 'data')
try {
  if (engine === 'native') Database.openSync(directory, { engine: 'native' })
  else runSync(DirectoryLock.acquire(realVfs, directory))
  process.stdout.write('held\n')
} catch (error) {
  process.stdout.write(`${error.code}\n`)
}
