// What the first release is held against. A ratio is taken between medians of one run of the
// benchmarks; `peer` 'best' is the best of the peers beside it.

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
const BARS = {
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
  'open-after-kill': { 200_000: [{ row: 'open', figure: 'ms', atMost: 150 }] },
  workers: {
    100_000: [{ row: '2 workers, one database', figure: 'ofSeparate', atLeast: 0.9 }],
  },
}

/**
 * Every bar of a workload with what was reached and whether that meets it.
 * `medianOf(store, row, figure)` is undefined where nothing was measured.
 */
export function judge(workload, entries, stores, medianOf) {
  const [store, ...peers] = stores
  const judged = (BARS[workload]?.[entries] ?? []).map((bar) => {
    const { row, figure = 'rate' } = bar
    const ours = medianOf(store, row, figure)
    if (bar.times === undefined) {
      const met = bar.atMost === undefined ? ours >= bar.atLeast : ours <= bar.atMost
      const text =
        bar.atMost === undefined ? `${figure} ≥ ${bar.atLeast}` : `${figure} ≤ ${bar.atMost}`
      return { row, bar: text, reached: ours, met }
    }
    const against = bar.peer === 'best' ? peers : [bar.peer]
    const theirs = against
      .map((peer) => medianOf(peer, bar.peerRow ?? row, figure))
      .filter((rate) => rate !== undefined)
    const best = theirs.length === 0 ? Number.NaN : Math.max(...theirs)
    const reached = Number((ours / best).toFixed(2))
    return { row, bar: `${bar.times}× ${bar.peer}`, reached, met: ours >= best * bar.times }
  })
  return judged.filter(({ reached }) => Number.isFinite(reached))
}
