// What each engine is held against. A ratio is taken between medians of one run of the benchmarks;
// `peer` 'best' is the best of the peers beside it; a bar with an `ownRow` holds a row against
// another one of the same engine.

import { NATIVE, SHALE, SKIPLIST, TYPESCRIPT } from './levels.mjs'

const INGESTION = { row: 'ingestion', ownRow: 'batches of 1000 (items)', times: 3 }

// --- the native engine ---------------------------------------------------------------------------

const MEMTABLE = [
  { row: 'random get', peer: 'lmdb', times: 3 },
  { row: 'sequential get', peer: 'lmdb', times: 3 },
  { row: 'contains', peer: 'lmdb', times: 3 },
]
const SCANS = [
  { row: 'full scan', peer: 'lmdb', times: 5 },
  { row: 'full scan, forEachSync', peer: 'lmdb', peerRow: 'full scan', times: 6 },
  { row: 'full scan, forEachRawSync', peer: 'lmdb', peerRow: 'full scan', times: 12 },
]
const TABLES = [
  { row: 'random get', peer: 'classic-level', times: 2.5 },
  { row: 'absent get', peer: 'classic-level', times: 5 },
  { row: 'full scan', peer: 'classic-level', times: 8 },
  { row: 'full scan, reverse', peer: 'classic-level', times: 8 },
]
const REMOVES = [{ row: 'random remove', peer: 'sorted-btree', times: 4 }]
const LARGE_WRITES = [
  { row: 'random insert', peer: 'sorted-btree', times: 4 },
  { row: 'random insert', figure: 'bytesPerEntry', atMost: 64 },
]

/** By workload and number of entries. */
const NATIVE_BARS = {
  'memtable-reads': { 100_000: MEMTABLE, 1_000_000: MEMTABLE.slice(0, 1) },
  'memtable-writes': {
    100_000: [
      { row: 'random insert', peer: 'sorted-btree', times: 4 },
      { row: 'sequential insert', peer: 'sorted-btree', times: 3 },
    ],
    1_000_000: LARGE_WRITES,
  },
  'memtable-removes': { 100_000: REMOVES },
  'memtable-scans': {
    100_000: [...SCANS, { row: 'prefix scan of 100', peer: 'lmdb', times: 5 }],
  },
  'memtable-scans-mixed': { 100_000: SCANS },
  'tables-cached': { 100_000: TABLES, 1_000_000: TABLES },
  'database-writes': {
    100_000: [
      { row: 'random insertSync', peer: 'rocksdb', times: 6 },
      { row: 'awaited insert', peer: 'classic-level', times: 5 },
      { row: 'batches of 100 (items)', peer: 'classic-level', times: 4 },
    ],
  },
  'database-reads': { 100_000: [{ row: 'awaited get', peer: 'lmdb', times: 2 }] },
  durable: {
    5000: [
      { row: '1 writer', peer: 'best', times: 1 },
      { row: '32 writers', peer: 'best', times: 1.5 },
    ],
  },
  load: {
    5_000_000: [
      { row: 'random load', peer: 'classic-level', times: 3 },
      { row: 'random get after it', peer: 'classic-level', times: 3 },
      { row: 'random load', figure: 'longestMs', atMost: 250 },
      { row: 'random load', figure: 'bytesWrittenPerByte', atMost: 5 },
      { row: 'random load', figure: 'peakMiBOverBudget', atMost: 200 },
    ],
  },
  clients: {
    1_000_000: [
      { row: 'mixed operations', peer: 'classic-level', times: 4 },
      { row: 'mixed operations', figure: 'loopDelayP99Ms', atMost: 2 },
      { row: 'mixed operations', figure: 'loopDelayMaxMs', atMost: 20 },
    ],
  },
  ingestion: { 1_000_000: [INGESTION] },
  'open-after-kill': { 200_000: [{ row: 'open', figure: 'ms', atMost: 150 }] },
  workers: {
    100_000: [{ row: '2 workers, one database', figure: 'ofSeparate', atLeast: 0.9 }],
  },
}

// --- the TypeScript engine -----------------------------------------------------------------------

const READ_ROWS = ['random get', 'contains']
const TABLE_ROWS = [...READ_ROWS, 'sequential get', 'absent get']
const SCAN_ROWS = ['full scan', 'full scan, reverse', 'prefix scan of 100']
const against = (peer, times, rows) => rows.map((row) => ({ row, peer, times }))

const TYPESCRIPT_TABLES = [
  ...against('classic-level', 0.5, TABLE_ROWS),
  ...against('lmdb', 1, SCAN_ROWS),
]

const TYPESCRIPT_BARS = {
  'memtable-reads': { 100_000: against('sorted-btree', 1, READ_ROWS) },
  'memtable-writes': {
    100_000: against('sorted-btree', 0.5, ['random insert', 'sequential insert']),
  },
  'memtable-removes': {
    100_000: against('sorted-btree', 0.5, ['random remove', 'sequential remove']),
  },
  'memtable-scans': { 100_000: against('lmdb', 1, SCAN_ROWS) },
  'memtable-scans-mixed': { 100_000: against('lmdb', 1, SCAN_ROWS) },
  'tables-cached': { 100_000: TYPESCRIPT_TABLES, 1_000_000: TYPESCRIPT_TABLES },
  ingestion: { 1_000_000: [INGESTION] },
}

const BARS = { [NATIVE]: NATIVE_BARS, [TYPESCRIPT]: TYPESCRIPT_BARS }

// -------------------------------------------------------------------------------------------------

/**
 * Every bar of a workload with what was reached and whether that meets it. `stores`: those that
 * took part; `medianOf(store, row, figure)` is undefined where one failed or has no such row. A
 * bar without a peer to compare with is left out; one that an engine has no figure for is missed.
 */
export function judge(workload, entries, stores, medianOf) {
  return SHALE.filter((store) => stores.includes(store)).flatMap((store) =>
    (BARS[store][workload]?.[entries] ?? []).flatMap((bar) => {
      const judged = judgeOne(bar, store, stores, medianOf)
      return judged === undefined ? [] : [{ store, row: bar.row, ...judged }]
    }),
  )
}

function judgeOne(bar, store, stores, medianOf) {
  const { row, figure = 'rate', times } = bar
  const ours = medianOf(store, row, figure)
  if (times === undefined) {
    const [sign, limit] = bar.atMost === undefined ? ['≥', bar.atLeast] : ['≤', bar.atMost]
    const met = sign === '≥' ? ours >= limit : ours <= limit
    return { bar: `${figure} ${sign} ${limit}`, reached: ours, met }
  }
  if (bar.ownRow !== undefined) {
    const other = medianOf(store, bar.ownRow, figure)
    const reached = ours === undefined ? undefined : Number((ours / other).toFixed(2))
    return { bar: `${times}× ${bar.ownRow}`, reached, met: reached >= times }
  }
  const peers = stores.filter((name) => !SHALE.includes(name) && name !== SKIPLIST)
  const theirs = (bar.peer === 'best' ? peers : [bar.peer])
    .map((peer) => medianOf(peer, bar.peerRow ?? row, figure))
    .filter((rate) => rate !== undefined)
  if (theirs.length === 0) return undefined
  const best = Math.max(...theirs)
  return {
    bar: `${times}× ${bar.peer}`,
    reached: ours === undefined ? undefined : Number((ours / best).toFixed(2)),
    met: ours >= best * times,
  }
}
