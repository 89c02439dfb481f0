// The rules of the house that a machine can check: who may import whom, where the operating system
// may be called, which words are used, how long files are. docs/design.md says why.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { importsOf, readSources, root, wordsOf } from './support/source-files.ts'
import type { SourceFile } from './support/source-files.ts'

const native = readSources('native', /\.(cc|h)$/)
const lib = readSources('lib', /(?<!\.d)\.[mc]?ts$/)
const others = ['test', 'bench', 'examples'].flatMap((dir) =>
  readSources(dir, /\.(cc|h|ts|mts|mjs|cjs)$/),
)
const everything = [...native, ...readSources('lib', /\.(ts|cts|mjs|cjs)$/), ...others]

// A room may use itself and every room of a lower rank; equal ranks do not see each other.
const ranks: Record<string, number> = {
  base: 0,
  vfs: 1,
  memtable: 2,
  journal: 2,
  table: 2,
  blob: 2,
  tree: 3,
  db: 4,
  binding: 5,
}

function maySee(from: string, to: string): boolean {
  return from === to || (ranks[to] ?? Infinity) < (ranks[from] ?? -Infinity)
}

/** `path:line` of every line that `isWrong`. */
function offences(files: readonly SourceFile[], isWrong: (line: string, path: string) => boolean) {
  return files.flatMap(({ path, lines }) =>
    lines.flatMap((line, index) => (isWrong(line, path) ? [`${path}:${index + 1}: ${line}`] : [])),
  )
}

/** Every `#include` with its file, so that a rule reads as a filter. */
const includes = native.flatMap((file) =>
  [...file.text.matchAll(/^\s*#\s*include\s*([<"])([^>"]+)[>"]/gm)].map(
    ([, quote, target = '']) => ({
      from: file.path,
      target,
      isOurs: quote === '"',
    }),
  ),
)

describe('native', () => {
  test('rooms are known and include one way', () => {
    const wrong = includes.filter(({ from, target, isOurs }) => {
      const [room = '', other = ''] = [from.split('/')[1], target.split('/')[0]]
      if (ranks[room] === undefined) return true
      return isOurs && (!maySee(room, other) || !existsSync(join(root, 'native', target)))
    })
    expect(wrong).toEqual([])
  })

  test('Node-API is included in binding only, and nothing of V8 or libuv anywhere', () => {
    const wrong = includes.filter(({ from, target }) => {
      if (/^(v8|uv|nan|node)(-[a-z]+)*\.h$/.test(target)) return true
      const isNodeApi = /^(napi|node_api|js_native_api)/.test(target)
      return isNodeApi && !from.startsWith('native/binding/')
    })
    expect(wrong).toEqual([])
  })

  test('the operating system, the clock and randomness are reached in vfs only', () => {
    const headers = 'fcntl unistd dirent poll sched signal pthread time ctime fstream filesystem'
    const isHeader = (target: string) =>
      headers.split(' ').includes(target.replace(/\.h$/, '')) || /^(sys|linux|mach)\//.test(target)
    const wrong = includes.filter(({ from, target }) => {
      if (from.startsWith('native/vfs/')) return false
      // Memory in large pages is asked for in one place.
      if (from === 'native/base/pages.cc' && target === 'sys/mman.h') return false
      // What the processor can do is asked for in another.
      if (from === 'native/base/crc32c.cc' && target === 'sys/auxv.h') return false
      return isHeader(target)
    })
    expect(wrong).toEqual([])
    const names = /std::(filesystem|random_device|[io]?fstream)|(steady|system|resolution)_clock/
    const calls = /\b(fopen|getpid|getenv|clock_gettime|gettimeofday|s?rand|sleep_(for|until))\(/
    const outside = native.filter((file) => !file.path.startsWith('native/vfs/'))
    const isCode = (line: string) => !line.trimStart().startsWith('//')
    expect(
      offences(outside, (line) => isCode(line) && (names.test(line) || calls.test(line))),
    ).toEqual([])
  })

  test('every source is listed in sources.json, once, and every listed one exists', () => {
    const list = readFileSync(join(root, 'native/sources.json'), 'utf8')
    const groups = JSON.parse(list) as Record<string, string[]>
    expect(Object.keys(groups)).toEqual(['core', 'testing', 'binding'])
    const listed = Object.values(groups).flat().toSorted()
    const present = native.map(({ path }) => path).filter((path) => path.endsWith('.cc'))
    expect(listed).toEqual(present.map((path) => path.slice('native/'.length)))
    expect(groups['binding']?.every((path) => path.startsWith('binding/'))).toBe(true)
  })

  test('every header begins with a comment and has #pragma once', () => {
    const headers = native.filter(({ path }) => path.endsWith('.h'))
    const silent = headers.filter(({ lines }) => !/^\/\/ \S/.test(lines[0] ?? ''))
    expect(silent.map(({ path }) => path)).toEqual([])
    const unguarded = headers.filter(({ lines }) => !lines.includes('#pragma once'))
    expect(unguarded.map(({ path }) => path)).toEqual([])
  })
})

describe('lib', () => {
  const imports = lib.flatMap((file) =>
    importsOf(file).map((entry) => ({ from: file.path, ...entry })),
  )
  const sideOf = (path: string | undefined): string | undefined =>
    path?.match(/^lib\/(native|typescript)\//)?.[1]

  test('the public classes see the seam; only the loader of engines sees an engine', () => {
    const wrong = imports.filter(({ from, path }) => {
      if (sideOf(from) !== undefined || sideOf(path) === undefined) return false
      return from !== 'lib/engine-loader.ts'
    })
    expect(wrong).toEqual([])
  })

  test('the two engines do not see each other', () => {
    const wrong = imports.filter(({ from, path }) => {
      const sides = [sideOf(from), sideOf(path)]
      return sides.includes('native') && sides.includes('typescript')
    })
    expect(wrong).toEqual([])
  })

  test('rooms of the TypeScript engine import one way', () => {
    const roomOf = (path: string | undefined) => path?.match(/^lib\/typescript\/([^/]+)\//)?.[1]
    const wrong = imports.filter(({ from, path }) => {
      const [room, other] = [roomOf(from), roomOf(path)]
      return room !== undefined && other !== undefined && !maySee(room, other)
    })
    expect(wrong).toEqual([])
  })

  test('files, network and processes are reached where the design says', () => {
    // Code is loaded from files in two places besides.
    const allowed = /^lib\/typescript\/(vfs\/|base\/zstd\.ts$)|^lib\/native\/binding\.ts$/
    const system = /^node:(fs|net|http|child_process)/
    const wrong = imports.filter(({ from, specifier }) => {
      return system.test(specifier) && !allowed.test(from)
    })
    expect(wrong).toEqual([])
  })

  test('only Node.js is imported from outside, never index.ts, never without names', () => {
    const foreign = imports.filter(({ specifier }) => !/^(node:|\.\.?\/)/.test(specifier))
    expect(foreign).toEqual([])
    expect(imports.filter(({ path }) => path === 'lib/index.ts')).toEqual([])
    expect(offences(lib, (line) => /^import\s+'/.test(line))).toEqual([])
  })

  test('every module is reached from index.ts', () => {
    const reached = new Set<string>()
    const visit = (path: string): void => {
      if (reached.has(path)) return
      reached.add(path)
      for (const entry of imports) if (entry.from === path && entry.path) visit(entry.path)
    }
    visit('lib/index.ts')
    // The forms of the vfs that only tests stand on.
    visit('lib/typescript/vfs/fault-vfs.ts')
    // What the tree does not call yet.
    visit('lib/typescript/blob/blob-file.ts')
    visit('lib/typescript/blob/blob-output.ts')
    expect(lib.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([])
  })

  test('modules do not import each other in a circle', () => {
    const values = imports.filter(({ kind }) => kind === 'value')
    const circles: string[] = []
    const done = new Set<string>()
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path))
        circles.push([...trail.slice(trail.indexOf(path)), path].join(' > '))
      if (done.has(path) || trail.includes(path)) return
      for (const entry of values) {
        if (entry.from === path && entry.path) visit(entry.path, [...trail, path])
      }
      done.add(path)
    }
    for (const { path } of lib) visit(path, [])
    expect(circles).toEqual([])
  })
})

describe('test', () => {
  const tests = readSources('test', /\.(ts|mjs)$/)
  const importsUnder = (dir: string) =>
    tests
      .filter(({ path }) => path.startsWith(dir))
      .flatMap((file) => importsOf(file).map((entry) => ({ from: file.path, ...entry })))

  test('the conformance suite knows the public API, and no engine but the one it is given', () => {
    const wrong = importsUnder('test/conformance/').filter(({ path }) => {
      return path !== undefined && !/^(test\/|lib\/index\.ts$|dist\/esm\/index\.js$)/.test(path)
    })
    expect(wrong).toEqual([])
    // Children are told by their parents.
    const files = tests.filter(({ path }) => /^test\/conformance\/.*\.ts$/.test(path))
    expect(offences(files, (line) => /\b(Database|Tree)\.open(Sync)?\(/.test(line))).toEqual([])
  })

  test('the rooms of the TypeScript engine are tested without the addon', () => {
    const wrong = importsUnder('test/typescript/').filter(({ path }) => {
      return (
        path !== undefined && /^(dist\/(?!cjs\/typescript\/)|lib\/(index\.ts$|native\/))/.test(path)
      )
    })
    expect(wrong).toEqual([])
  })

  test('every test file belongs to a suite', () => {
    const suites = /^test\/(conformance|engines|typescript|lifetime|unit|format)\/|^test\/[^/]+$/
    const files = tests.filter(({ path }) => path.endsWith('.test.ts'))
    expect(files.map(({ path }) => path).filter((path) => !suites.test(path))).toEqual([])
  })
})

describe('all sources', () => {
  test('files are at most 700 lines long, lines at most 100 columns', () => {
    const long = everything.filter(({ lines }) => lines.length > 701)
    expect(long.map(({ path, lines }) => `${path}: ${lines.length}`)).toEqual([])
    expect(offences(everything, (line) => line.length > 100)).toEqual([])
  })

  // This file spells the words out.
  const worded = everything.filter(({ path }) => path !== 'test/layout.test.ts')

  test('one word for each thing', () => {
    const banned = new Set(['wal', 'wals', 'sstable', 'sstables', 'segment', 'segments'])
    const ours = worded.filter(({ path }) => !path.startsWith('bench/'))
    const isPartOfIndexOrFilter = (line: string, path: string) =>
      /index|filter|table/i.test(line) || /index|filter|table|golden/.test(path)
    const wrong = offences(ours, (line, path) => {
      const words = wordsOf(line)
      if (words.some((word) => banned.has(word))) return true
      if (words.some((word, i) => word === 'column' && words[i + 1]?.startsWith('famil')))
        return true
      return words.some((word) => /^partitions?$/.test(word)) && !isPartOfIndexOrFilter(line, path)
    })
    expect(wrong).toEqual([])
  })

  test('nothing is left for later', () => {
    const later = /\b(TODO|FIXME|XXX|HACK)\b|\bplaceholder\b|\bnot (yet )?implemented\b/i
    expect(offences(worded, (line) => later.test(line))).toEqual([])
  })

  test('nothing names a machine or a registry', () => {
    const manifests = ['package.json', 'package-lock.json', 'bench/peers/package.json']
    const files = [...manifests, 'bench/peers/package-lock.json'].map((path) => {
      const text = readFileSync(join(root, path), 'utf8')
      return { path, text, lines: text.split('\n') }
    })
    expect(offences(files, (line) => /"resolved"|registry/.test(line))).toEqual([])
    expect(offences(worded, (line) => /["'`\s(](\/home|\/root|\/work)\//.test(line))).toEqual([])
  })
})
