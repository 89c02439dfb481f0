// The process that is killed: writes numbered commits as fast as it can and tells its parent after
// each is acknowledged. Each commit writes its number under its own key in one keyspace and under
// one shared key in another, so that half a commit shows.
//
//   node child.mjs DIR FIRST DURABILITY ENGINE

import { writeSync } from 'node:fs'
import { Database } from '../../../dist/esm/index.js'

const [dir, first, durability, engine] = process.argv.slice(2)
const db = await Database.open(dir, { engine })
const tiny = { maxMemtableSize: 64 * 1024, dataBlockSize: 512 }
const numbered = await db.keyspace('numbered', tiny)
const last = await db.keyspace('last', tiny)
const padding = 'x'.repeat(200)

function acknowledge(number) {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(number)
  writeSync(1, bytes)
}

for (let number = Number(first); ; number++) {
  const batch = db.batch()
  const key = Buffer.alloc(4)
  key.writeUInt32BE(number)
  batch.insert(numbered, key, `${number} ${padding}`)
  batch.insert(last, 'last', String(number))
  if (number % 3 === 0) batch.commitSync({ durability })
  else await batch.commit({ durability })
  acknowledge(number)
  if (number % 500 === 0) await numbered.majorCompaction()
}
