// Installs the stores that the benchmarks compare with. They and their compilers are no dependency
// of shale: this directory is a package of its own, which pins them, and they are installed when a
// benchmark first wants them.

import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))

const wanted = join(here, 'package-lock.json')
// A copy of the lock file that was installed: a checkout changes times, not contents.
const installed = join(here, 'node_modules/.installed-lock.json')

function isInstalled() {
  return existsSync(installed) && readFileSync(installed).equals(readFileSync(wanted))
}

/** Installs the peers unless they are there. Takes a minute or two, once. */
export function installPeers() {
  if (isInstalled()) return
  console.error('bench: installing the peers of bench/peers/package.json, once')
  const cli = process.env.npm_execpath
  const isScript = cli?.endsWith('.js')
  const command = isScript ? process.execPath : 'npm'
  const args = [...(isScript ? [cli] : []), 'ci', '--no-audit', '--no-fund']
  const options = { cwd: here, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' }
  const { status } = spawnSync(command, args, options)
  if (status !== 0) throw new Error(`bench: npm ci in bench/peers/ ended with ${status}`)
  copyFileSync(wanted, installed)
}
