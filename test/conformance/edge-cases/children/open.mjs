// Opens a database in a process of its own, and says what came of it. Arguments: PATH ENGINE.

import { Database } from '../../../../dist/esm/index.js'

const [path, engine] = process.argv.slice(2)
try {
  const database = await Database.open(path, { engine })
  await database.close()
  console.log('opened')
} catch ({ code, pid }) {
  console.log(code, pid)
}
