// A worker thread of workers.mjs: opens the database, commits, then ends as it was told.

import assert from 'node:assert/strict'
import { parentPort, workerData } from 'node:worker_threads'
import { Database, Tree } from '../../../dist/esm/index.js'
import { key, value } from '../../support/scenario.mjs'

const { path, ending, id, writes = 300, options } = workerData

async function commit(keyspace, i) {
  const durability = i % 10 === 0 ? 'sync' : 'os'
  await keyspace.insert(`${id}/${key(i)}`, value(i), { durability })
  keyspace.insertSync(`${id}/sync/${key(i)}`, value(i))
  parentPort.postMessage({ acknowledged: i })
}

/** Ends the thread with calls of every kind in the air. */
function leavePending(db, keyspace) {
  for (let i = 0; i < 50; i++) {
    void keyspace.insert(`${id}/late/${i}`, value(i, 50_000), { durability: 'sync' })
    void keyspace.get(key(i))
  }
  void keyspace.iter()[Symbol.asyncIterator]().next()
  void keyspace.rotateMemtableAndWait()
  void keyspace.majorCompaction()
  void db.keyspace(`late ${id}`)
  db.snapshot()
}

const db = await Database.open(path, options)
const keyspace = await db.keyspace('k')
parentPort.postMessage('open')
for (let i = 0; i < writes; i++) await commit(keyspace, i)

switch (ending) {
  case 'close':
    await db.close()
    break
  case 'return':
    break
  case 'returnPending':
    leavePending(db, keyspace)
    break
  case 'throw':
    leavePending(db, keyspace)
    throw new Error('the worker throws')
  case 'exit':
    leavePending(db, keyspace)
    process.exit(3)
    break
  case 'exitInCallback':
    void keyspace.insert('x', 'y', { durability: 'sync' }).then(() => process.exit(3))
    break
  case 'exitInVisitor':
    keyspace.iter().forEachSync(() => process.exit(3))
    break
  case 'exitWhileClosing':
    void db.close()
    process.exit(3)
    break
  case 'terminated':
    for (let i = writes; ; i++) await commit(keyspace, i)
  case 'terminatedInLoop':
    parentPort.postMessage('looping')
    for (let i = 0; ; i++) keyspace.insertSync(`${id}/loop/${i % 1000}`, value(i))
  case 'tree': {
    const tree = await Tree.open(`${path}-tree-${id}`)
    for (let i = 0; i < 2000; i++) tree.insertSync(key(i), value(i), i)
    void tree.flush()
    void tree.majorCompaction()
    process.exit(3)
    break
  }
  default:
    assert.fail(`no ending ${ending}`)
}
