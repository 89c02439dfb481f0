// Fetches the sources of the block codecs (codecs.json) into the git-ignored folder vendor/.
// The registry's tarballs are verified against pinned sha512 sums and none of their scripts run.
// A folder that is complete and unchanged is left alone, so that a second build needs no network.
//
//   node fetch.mjs               fetch what is missing
//   node fetch.mjs --list        print the C files to compile, relative to the repository
//   node fetch.mjs --licences    write THIRD_PARTY_LICENSES at the top of the repository

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readFileSync, readdirSync } from 'node:fs'
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const root = fileURLToPath(new URL('../..', import.meta.url))
const vendor = join(here, 'vendor')
const stamp = join(vendor, 'stamp.json')
const manifest = readFileSync(join(here, 'codecs.json'), 'utf8')
const codecs = JSON.parse(manifest)

/** Every file under `dir`, as sorted paths relative to it with forward slashes. */
function filesOf(dir) {
  return readdirSync(dir, { encoding: 'utf8', recursive: true })
    .filter((path) => statSync(join(dir, path)).isFile())
    .map((path) => path.replaceAll('\\', '/'))
    .toSorted()
}

/** What the stamp must say: the manifest it was made from and the sum of every file. */
function describe(dir) {
  const sha256 = (data) => createHash('sha256').update(data).digest('hex')
  const files = filesOf(dir).filter((path) => path !== 'stamp.json')
  const sums = files.map((path) => [path, sha256(readFileSync(join(dir, path)))])
  const description = { manifest: sha256(manifest), files: Object.fromEntries(sums) }
  return `${JSON.stringify(description, null, 1)}\n`
}

function isComplete() {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === describe(vendor)
}

function runNpm(args) {
  const options = { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }
  const cli = process.env.npm_execpath
  if (cli?.endsWith('.js')) return execFileSync(process.execPath, [cli, ...args], options)
  return execFileSync('npm', args, { ...options, shell: process.platform === 'win32' })
}

/** Unpacks the pinned tarball of one codec below `work` and copies the wanted files to `target`. */
function fetchCodec(codec, work, target) {
  const inbox = join(work, codec.name)
  mkdirSync(inbox)
  // An outer `npm pack --dry-run` must not reach this one through the environment.
  const flags = ['--ignore-scripts', '--dry-run=false', '--json=false', '--silent']
  runNpm(['pack', codec.package, ...flags, '--pack-destination', inbox])
  const [tarball] = readdirSync(inbox)
  const data = readFileSync(join(inbox, tarball))
  const integrity = `sha512-${createHash('sha512').update(data).digest('base64')}`
  if (integrity !== codec.integrity) {
    throw new Error(`${codec.package}: expected ${codec.integrity}, the registry sent ${integrity}`)
  }
  execFileSync('tar', ['-xzf', tarball], { cwd: inbox, stdio: 'inherit' })
  const isWanted = (path) => statSync(path).isDirectory() || /(\.[ch]|LICENSE)$/.test(path)
  for (const [to, from] of Object.entries(codec.copy)) {
    const options = { recursive: true, filter: isWanted }
    cpSync(join(inbox, 'package', from), join(target, codec.name, to), options)
  }
}

function fetchAll() {
  const work = mkdtempSync(join(here, 'vendor.'))
  try {
    const target = join(work, 'vendor')
    for (const codec of codecs) fetchCodec(codec, work, target)
    writeFileSync(join(target, 'stamp.json'), describe(target))
    // Another build may have finished first; its result is as good as ours.
    if (isComplete()) return
    rmSync(vendor, { recursive: true, force: true })
    renameSync(target, vendor)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

function writeLicences() {
  const parts = codecs.map((codec) => {
    const text = readFileSync(join(vendor, codec.name, 'LICENSE'), 'utf8').trim()
    return `${codec.name} ${codec.version} (${codec.licence})\n\n${text}\n`
  })
  const rule = `\n${'-'.repeat(80)}\n\n`
  const intro = 'shale contains the following third-party software in its native binaries.\n'
  writeFileSync(join(root, 'THIRD_PARTY_LICENSES'), [intro, ...parts].join(rule))
}

if (!isComplete()) fetchAll()
if (process.argv.includes('--licences')) writeLicences()
if (process.argv.includes('--list')) {
  const sources = filesOf(vendor).filter((path) => path.endsWith('.c'))
  console.log(sources.map((path) => `native/codecs/vendor/${path}`).join('\n'))
}
