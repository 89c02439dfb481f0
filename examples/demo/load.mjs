// Loading and verifying.

import { setImmediate as turn } from 'node:timers/promises'
import { KEYSPACES, recordsOf } from './places.mjs'

const PLACES_PER_BATCH = 100

export async function openKeyspaces(db) {
  const keyspaces = new Map()
  for (const name of KEYSPACES) keyspaces.set(name, await db.keyspace(name))
  return keyspaces
}

/** All records of the places from `first` on, a batch of places at a time. */
export function* batchesOf(places, limit) {
  let taken = 0
  for (let index = 0; index < places.length && taken < limit;) {
    const records = []
    for (let i = 0; i < PLACES_PER_BATCH && index < places.length; i++, index++) {
      records.push(...recordsOf(places[index], index))
    }
    taken += records.length
    yield records
  }
}

/** Commits each batch atomically across all keyspaces; `onBatch` hears of what is acknowledged. */
export async function load(db, places, limit, onBatch) {
  const keyspaces = await openKeyspaces(db)
  const batch = db.batch()
  let number = 0
  for (const records of batchesOf(places, limit)) {
    for (const [name, key, value] of records) batch.insert(keyspaces.get(name), key, value)
    await batch.commit()
    onBatch(records.length, ++number)
  }
}

/**
 * Compares everything in the database with what was written: every record by a point read, and
 * every keyspace by a full scan that must give as many entries as there are distinct keys, in
 * order.
 */
export async function verify(db, places, limit, onRecords) {
  const keyspaces = await openKeyspaces(db)
  const expected = new Map(KEYSPACES.map((name) => [name, 0]))
  let checked = 0
  for (const records of batchesOf(places, limit)) {
    for (const [name, key, value] of records) {
      const found = keyspaces.get(name).getTextSync(key)
      if (found !== value)
        throw new Error(`${name}: a record is ${found === undefined ? 'missing' : 'wrong'}`)
      expected.set(name, expected.get(name) + 1)
    }
    checked += records.length
    onRecords(records.length)
    await turn()
  }
  for (const [name, count] of expected) {
    const scanned = scanInOrder(keyspaces.get(name))
    if (scanned !== count)
      throw new Error(`${name} holds ${scanned} entries, written were ${count}`)
  }
  return checked
}

function scanInOrder(keyspace) {
  let last
  return keyspace.iter().forEachSync((key) => {
    if (last !== undefined && Buffer.compare(last, key) >= 0) throw new Error('out of order')
    last = Buffer.from(key)
  })
}
