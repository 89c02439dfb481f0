// What a Linux binary asks of the machine it is loaded on. The floor is the oldest glibc that the
// prebuild runs with; README.md states it. `npm run prebuild` ends with this test.

import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { describeElf } from './support/elf.ts'
import { root } from './support/source-files.ts'

const GLIBC_FLOOR = '2.34'

const prebuilds = join(root, 'prebuilds/linux-x64')
const local = join(root, 'out/addon/Release/shale.node')
const released = existsSync(prebuilds) ? readdirSync(prebuilds).map((f) => join(prebuilds, f)) : []

function isAbove(version: string, floor: string): boolean {
  return version.localeCompare(floor, 'en', { numeric: true }) > 0
}

test('README.md states the floor', () => {
  expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain(`glibc ${GLIBC_FLOOR}`)
})

describe.skipIf(released.length === 0)('prebuild', () => {
  test.each(released)('%s needs nothing newer than the floor and no C++ runtime', (path) => {
    const { libraries, versions } = describeElf(readFileSync(path))
    const glibc = versions.filter((version) => version.startsWith('GLIBC_'))
    expect(glibc.length).toBeGreaterThan(0)
    expect(glibc.filter((v) => isAbove(v.slice('GLIBC_'.length), GLIBC_FLOOR))).toEqual([])
    expect(libraries.filter((name) => /stdc\+\+|gcc/.test(name))).toEqual([])
    expect(versions.filter((version) => /^(GLIBCXX|CXXABI|GCC)_/.test(version))).toEqual([])
  })
})

describe.skipIf(process.platform !== 'linux' || process.arch !== 'x64')('every binary', () => {
  test.each([local, ...released])('%s shows Node.js its entry points and nothing else', (path) => {
    const { exports } = describeElf(readFileSync(path))
    expect(exports.toSorted()).toEqual([
      'napi_register_module_v1',
      'node_api_module_get_api_version_v1',
    ])
  })
})
