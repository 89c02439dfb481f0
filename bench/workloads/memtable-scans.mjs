// How fast is a full scan, and a prefix scan of 100, over randomly filled memory?

import { shuffled, valueOf } from '../data.mjs'
import { fill, MEMORY } from '../levels.mjs'
import { asyncPasses, passes } from '../measure.mjs'

export const title = 'memtable: scans (items)'
export const engines = MEMORY
export const sizes = [100_000]
export const options = { level: 'memtable' }

export async function run({ open, entries }) {
  const store = await open()
  await fill(store, shuffled(entries), valueOf)
  const rows = await scans(store, entries)
  await store.close()
  return rows
}

/** Adds up a byte of every key and value, so that each is really there. */
export async function scans(store, entries) {
  let sum = 0
  const touch = (key, value) => {
    sum += key.length + value[value.length - 1]
  }
  const raw = (bytes, keyOffset, keyLength, valueOffset, valueLength) => {
    sum += keyLength + bytes[valueOffset + valueLength - 1]
  }
  const rows = { 'full scan': await measured(entries, () => store.scan(touch)) }
  if (store.scanReverse) {
    rows['full scan, reverse'] = await measured(entries, () => store.scanReverse(touch))
  }
  if (store.scanVisitor) {
    rows['full scan, forEachSync'] = await measured(entries, () => store.scanVisitor(touch))
    rows['full scan, forEachRawSync'] = await measured(entries, () => store.scanRaw(raw))
  }
  const groups = Math.min(entries / 100, 1000)
  rows['prefix scan of 100'] = await measured(groups * 100, () => prefixes(store, groups, touch))
  if (sum === 0) throw new Error('nothing was scanned')
  return rows
}

function prefixes(store, groups, touch) {
  let count = 0
  const pending = []
  for (let group = 0; group < groups; group++) {
    const got = store.prefix(`key${String(group).padStart(11, '0')}`, touch)
    if (typeof got === 'number') count += got
    else pending.push(got)
  }
  if (pending.length === 0) return count
  return Promise.all(pending).then((counts) => counts.reduce((a, b) => a + b, count))
}

function measured(expected, pass) {
  const first = pass()
  return typeof first === 'number'
    ? passes(expected, pass)
    : first.then(() => asyncPasses(expected, pass))
}
