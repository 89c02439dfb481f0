// Directories of format version 1, written once (test/golden/write.mjs), read by both engines for
// ever: what is in them is what their writer's model said.

import { createHash } from 'node:crypto'
import { cpSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { Database, MAX_SEQNO, Tree } from '../../lib/index.ts'
import type { Engine } from '../../lib/index.ts'
import { scratchDirectory } from '../support/scratch.ts'

interface Golden {
  readonly kind: 'database' | 'tree'
  readonly files: Readonly<Record<string, string>>
  readonly contents: Readonly<Record<string, { entries: number; sha256: string }>>
}

const root = fileURLToPath(new URL('../golden/v1', import.meta.url))
const golden = JSON.parse(readFileSync(join(root, 'expected.json'), 'utf8')) as Record<
  string,
  Golden
>
const ENGINES: readonly Engine[] = ['native', 'typescript']

/** Opening writes: the golden files themselves are never opened. */
function copyOf(name: string): string {
  const path = join(scratchDirectory(), 'copy')
  cpSync(join(root, name), path, { recursive: true })
  return path
}

function contentsOf(entries: Iterable<[Buffer, Buffer]>): { entries: number; sha256: string } {
  const hash = createHash('sha256')
  let count = 0
  for (const [key, value] of entries) {
    hash.update(`${key.toString()}\0${value.toString()}\0`)
    count++
  }
  return { entries: count, sha256: hash.digest('hex') }
}

function keyspacesOf(db: Database): Golden['contents'] {
  const names = db.listKeyspaceNames()
  return Object.fromEntries(names.map((name) => [name, contentsOf(db.keyspaceSync(name).iter())]))
}

test('no golden file has changed, and none is missing', () => {
  expect(Object.keys(golden).toSorted()).toEqual(
    readdirSync(root, { withFileTypes: true })
      .flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))
      .toSorted(),
  )
  for (const [name, { files }] of Object.entries(golden)) {
    const found = readdirSync(join(root, name)).map((file) => {
      const bytes = readFileSync(join(root, name, file))
      return [file, createHash('sha256').update(bytes).digest('hex')]
    })
    expect(Object.fromEntries(found), name).toEqual(files)
  }
})

for (const [name, { kind, contents }] of Object.entries(golden)) {
  for (const engine of ENGINES) {
    test(`${engine} reads ${name}`, async () => {
      const path = copyOf(name)
      if (kind === 'tree') {
        const tree = await Tree.open(path, { engine })
        expect({ '': contentsOf(tree.iter(MAX_SEQNO)) }).toEqual(contents)
        expect(tree.gcSeqno).toBe(300)
        await tree.majorCompaction()
        expect({ '': contentsOf(tree.iter(MAX_SEQNO)) }).toEqual(contents)
        return tree.close()
      }
      const db = await Database.open(path, { engine })
      expect(keyspacesOf(db)).toEqual(contents)
      expect(db.recovery.commitsReplayed > 0).toBe(!name.endsWith('-database'))
      expect(db.recovery.bytesDropped > 0).toBe(name.endsWith('-crashed'))
      for (const keyspace of db.listKeyspaceNames()) {
        // oxlint-disable-next-line no-await-in-loop
        await db.keyspaceSync(keyspace).majorCompaction()
      }
      expect(keyspacesOf(db)).toEqual(contents)
      await db.close()
      const again = await Database.open(copyOf(name), { engine, readOnly: true })
      expect(keyspacesOf(again)).toEqual(contents)
      return again.close()
    })
  }
}
