// The stores that the benchmarks compare with. They and their compilers are no dependency of the
// package: bench/package.json pins them and they are installed when a benchmark first wants them.

import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))

function isInstalled() {
  const installed = join(here, 'node_modules/.package-lock.json')
  const wanted = join(here, 'package-lock.json')
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs
}

/** Installs the peers unless they are there. Takes a minute or two, once. */
export function installPeers() {
  if (isInstalled()) return
  console.error('bench: installing the peers of bench/package.json, once')
  const cli = process.env.npm_execpath
  const isScript = cli?.endsWith('.js')
  const command = isScript ? process.execPath : 'npm'
  const args = [...(isScript ? [cli] : []), 'ci', '--no-audit', '--no-fund']
  const options = { cwd: here, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' }
  const { status } = spawnSync(command, args, options)
  if (status !== 0) throw new Error(`bench: npm ci in bench/ ended with ${status}`)
}

/**
 * The module of a peer, or undefined with a line on stderr where it could not be built or loaded.
 */
export async function loadPeer(name) {
  try {
    return await import(name)
  } catch (error) {
    console.error(`bench: ${name} is left out: ${error.message}`)
    return undefined
  }
}
