// Finds and loads the native addon: a local build first, then the prebuild for this platform.
// Nothing is compiled or downloaded here.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { directory } from '../location.cjs'

/** The root of the package: the nearest directory upwards that holds binding.gyp. */
function findRoot(): string {
  for (let dir = directory; ; dir = dirname(dir)) {
    if (existsSync(join(dir, 'binding.gyp')) || dir === dirname(dir)) return dir
  }
}

function candidates(): string[] {
  const override = process.env['SHALE_ADDON']
  if (override !== undefined && override !== '') return [override]
  const root = findRoot()
  const { platform, arch } = process
  const flavours = platform === 'linux' ? ['glibc.', 'musl.', ''] : ['']
  return [
    join(root, 'out/addon/Release/shale.node'),
    join(root, 'build/Release/shale.node'),
    ...flavours.map((flavour) =>
      join(root, 'prebuilds', `${platform}-${arch}`, `shale.${flavour}node`),
    ),
  ]
}

let loaded: unknown

/**
 * Loads the addon once per environment and returns its exports. `SHALE_ADDON` names the one file
 * to load instead. Throws an `Error` that lists every file tried; `cause` holds the reasons.
 */
export function loadAddon(): unknown {
  if (loaded !== undefined) return loaded
  const { platform, arch, version } = process
  const tried = candidates()
  const causes: unknown[] = []
  const load = createRequire(join(directory, 'binding.js'))
  for (const file of tried.filter((candidate) => existsSync(candidate))) {
    try {
      loaded = load(file)
      return loaded
    } catch (cause) {
      causes.push(cause)
    }
  }
  const reasons = causes.map((cause) => (cause instanceof Error ? cause.message : String(cause)))
  const found = reasons.length === 0 ? 'none of them exists' : reasons.join('; ')
  throw new Error(
    `shale has no native binary that loads on ${platform}-${arch} with Node.js ${version}: ` +
      `tried ${tried.join(', ')}: ${found}`,
    { cause: new AggregateError(causes) },
  )
}
