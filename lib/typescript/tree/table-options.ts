/** How tables of a level are written and opened, from the options of their tree. */

import type { FilterSetting, TreeSettings } from '../../engine.ts'
import { CODECS } from '../base/compression.ts'
import type { PinOptions } from './table.ts'

const BITS_PER_KEY_MAX = 100
const BITS_PER_KEY_MIN = 0.25
const PROBES_MAX = 24
const LINE_BITS = 512

/** The last element of a list holds for all deeper levels. */
function at<T>(list: readonly T[], level: number): T {
  return list[Math.min(level, list.length - 1)]!
}

/** What a writer needs besides the numbers of the file. `policyLevel`: see Version.policyLevel. */
export function writeOptions(
  settings: TreeSettings,
  policyLevel: number,
  isLastLevel: boolean,
): {
  readonly blockSize: number
  readonly restartInterval: number
  readonly hashIndexRatio: number
  readonly codec: number
  readonly indexCodec: number
  readonly bitsPerKey: number
  readonly partitionIndex: boolean
  readonly partitionFilter: boolean
} {
  const isFiltered = !(isLastLevel && settings.expectPointReadHits)
  return {
    blockSize: at(settings.dataBlockSize, policyLevel),
    restartInterval: at(settings.restartInterval, policyLevel),
    hashIndexRatio: at(settings.hashIndexRatio, policyLevel),
    codec: CODECS[at(settings.compression, policyLevel)],
    indexCodec: CODECS[at(settings.indexCompression, policyLevel)],
    bitsPerKey: isFiltered ? bitsPerKey(at(settings.filter, policyLevel)) : 0,
    partitionIndex: at(settings.partitionIndex, policyLevel),
    partitionFilter: at(settings.partitionFilter, policyLevel),
  }
}

export function pinOptions(settings: TreeSettings, policyLevel: number): PinOptions {
  return {
    pinIndex: at(settings.pinIndex, policyLevel),
    pinFilter: at(settings.pinFilter, policyLevel),
  }
}

/** For a rate, the fewest bits that reach it. */
export function bitsPerKey(filter: FilterSetting): number {
  if (filter === 'none') return 0
  if ('bitsPerKey' in filter) return Math.min(filter.bitsPerKey, BITS_PER_KEY_MAX)
  return bitsForRate(filter.falsePositiveRate)
}

/** The last answer: it takes long, and keyspaces mostly want the same. */
let known = { falsePositiveRate: Number.NaN, bits: 0 }

function bitsForRate(falsePositiveRate: number): number {
  if (falsePositiveRate !== known.falsePositiveRate) {
    known = { falsePositiveRate, bits: searchBits(falsePositiveRate) }
  }
  return known.bits
}

function searchBits(falsePositiveRate: number): number {
  let low = BITS_PER_KEY_MIN
  let high = BITS_PER_KEY_MAX
  if (lineRate(high) > falsePositiveRate) return high
  while (high - low > 0.01) {
    const middle = (low + high) / 2
    if (lineRate(middle) > falsePositiveRate) low = middle
    else high = middle
  }
  return high
}

/**
 * Rate of false positives of a filter of lines: the number of keys in a line is distributed as
 * Poisson's, and the fuller lines cost more than the emptier ones save.
 */
function lineRate(bits: number): number {
  const probes = Math.min(PROBES_MAX, Math.max(1, Math.floor(bits * 0.69 + 0.5)))
  const mean = LINE_BITS / bits
  const most = Math.floor(mean + 12 * Math.sqrt(mean) + 16)
  let logWeight = -mean
  let rate = 0
  for (let keys = 1; keys <= most; keys++) {
    logWeight += Math.log(mean / keys)
    rate += Math.exp(logWeight) * (1 - (1 - 1 / LINE_BITS) ** (probes * keys)) ** probes
  }
  return rate
}
