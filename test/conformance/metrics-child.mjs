// What metrics say of what nobody closed. Run with --expose-gc.

import { join } from 'node:path'
import assert from 'node:assert/strict'
import { collectUntil, key, main, openDatabase, value } from '../support/scenario.mjs'

async function abandoned(directory) {
  const db = await openDatabase(join(directory, 'db'))
  const keyspace = await db.keyspace('k')
  for (let i = 0; i < 100; i++) keyspace.insertSync(key(i), value(i))
  const drop = () => {
    for (let i = 0; i < 5; i++) {
      db.snapshot()
      keyspace.iter().cursor().nextSync()
      keyspace.iter({ batchSize: 1 })[Symbol.iterator]().next()
    }
  }
  const kept = db.snapshot()
  drop()
  const before = db.metrics()
  assert.equal(before.snapshots.open + before.snapshots.abandoned, 6)
  assert.equal(before.iterators.open + before.iterators.abandoned, 10)
  await collectUntil(() => db.metrics().snapshots.abandoned === 5)
  await collectUntil(() => db.metrics().iterators.abandoned === 10)
  const { snapshots, iterators } = db.metrics()
  assert.deepEqual(snapshots, { open: 1, abandoned: 5, oldestSeqno: kept.seqno })
  assert.deepEqual(iterators, { open: 0, abandoned: 10 })
  kept.close()
  assert.deepEqual(db.metrics().snapshots, { open: 0, abandoned: 5, oldestSeqno: undefined })
  await db.close()
}

await main({ abandoned })
