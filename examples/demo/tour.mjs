// What an application does with it: point reads, searches, ranges, snapshots, batches.

import { openKeyspaces } from './load.mjs'
import { cellOf, fold, idOf, placeId } from './places.mjs'

const POINT_READS = 200_000
const SEARCHES = ['san f', 'new y', 'bad ', 'saint-', 'los ', 'sankt', 'porto']

/** Runs each part and gives `report` a row: what, how many, in how many ms. */
export async function tour(db, places, report) {
  const keyspaces = await openKeyspaces(db)
  const parts = [pointReads, prefixSearches, tokenSearch, nearby, ranges, snapshot, acrossKeyspaces]
  for (const part of parts) {
    const started = performance.now()
    const { what, count } = await part(db, keyspaces, places)
    report(what, count, performance.now() - started)
  }
}

/** Places present: `--records` may have loaded fewer than there are. */
function loaded(keyspaces) {
  return keyspaces.get('places').lenSync()
}

function pointReads(db, keyspaces) {
  const all = loaded(keyspaces)
  const cities = keyspaces.get('places')
  let bytes = 0
  for (let i = 0, at = 1; i < POINT_READS; i++) {
    at = (at * 48_271) % 2_147_483_647
    bytes += cities.getSync(placeId(at % all)).length
  }
  if (bytes === 0) throw new Error('nothing was read')
  return { what: 'random point reads', count: POINT_READS }
}

async function prefixSearches(db, keyspaces) {
  let hits = 0
  for (const search of SEARCHES) {
    for await (const [key] of keyspaces.get('by-name').prefix(fold(search))) {
      if (!key.toString().startsWith(search)) throw new Error('a hit without the prefix')
      hits++
    }
  }
  return {
    what: `names that start with ${SEARCHES.slice(0, 3)
      .map((s) => `"${s}"`)
      .join(', ')} …`,
    count: hits,
  }
}

/** Two words anywhere in a name: the intersection of two prefix scans, then the places. */
async function tokenSearch(db, keyspaces) {
  const idsOf = (token) => keyspaces.get('by-token').prefix(`${token}\u0000`).keys()
  const first = new Set(Array.from(idsOf('san'), idOf))
  const both = Array.from(idsOf('pedro'), idOf).filter((id) => first.has(id))
  const found = await keyspaces.get('places').getMany(both)
  for (const value of found) {
    const { name } = JSON.parse(value.toString())
    if (!/san/i.test(name) || !/pedro/i.test(fold(name))) throw new Error('a wrong hit')
  }
  return { what: 'places called "San … Pedro"', count: found.length }
}

/** A map tile: everything in one geohash cell. */
function nearby(db, keyspaces) {
  const tile = cellOf(48.8566, 2.3522, 4)
  const count = keyspaces
    .get('by-cell')
    .prefix(tile)
    .forEachSync(() => {})
  return { what: 'places on the map tile of Paris', count }
}

/** A country in order, then the same range from the other end. */
function ranges(db, keyspaces) {
  const range = keyspaces.get('by-region').range({ gte: 'PT\u0000', lt: 'PT\u0001' })
  const forward = Array.from(range.keys(), idOf)
  const backward = Array.from(range.rev().keys(), idOf)
  backward.reverse()
  if (forward.join() !== backward.join()) throw new Error('the two directions differ')
  return { what: 'a country by region, both directions', count: forward.length * 2 }
}

/** A snapshot stands still while a thousand places are renamed and put back. */
async function snapshot(db, keyspaces) {
  const cities = keyspaces.get('places')
  const all = loaded(keyspaces)
  const held = db.snapshot()
  const ids = Array.from({ length: Math.min(1000, all) }, (_, i) => placeId(i))
  const before = await cities.getMany(ids)
  for (const id of ids) await cities.insert(id, 'renamed')
  const through = await cities.getMany(ids, { snapshot: held })
  const now = await cities.getMany(ids)
  for (const [i, value] of through.entries()) {
    if (!value.equals(before[i])) throw new Error('the snapshot moved')
    if (now[i].toString() !== 'renamed') throw new Error('a write was not seen')
  }
  held.close()
  for (const [i, id] of ids.entries()) await cities.insert(id, before[i])
  return { what: 'reads through a snapshot under writes', count: ids.length }
}

/** One batch moves a place in three keyspaces; another moves it back. */
async function acrossKeyspaces(db, keyspaces, places) {
  const id = placeId(0)
  const { name } = places[0]
  const move = (from, to) =>
    db
      .batch()
      .remove(keyspaces.get('by-name'), `${fold(from)}\u0000${id}`)
      .insert(keyspaces.get('by-name'), `${fold(to)}\u0000${id}`, '')
      .insert(keyspaces.get('places'), id, JSON.stringify({ ...places[0], name: to }))
      .commit({ durability: 'sync' })
  await move(name, 'Atlantis')
  const found = await keyspaces.get('by-name').prefix('atlantis\u0000').toArray()
  if (!found.some(([key]) => idOf(key) === id)) throw new Error('the move was not seen')
  await move('Atlantis', name)
  return { what: 'batches across keyspaces, synced', count: 2 }
}
