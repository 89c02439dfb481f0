// The two copies of the protocol between lib/native and the addon say the same.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import * as protocol from '../../lib/native/protocol.ts'
import { root } from '../support/source-files.ts'

/** `kMetaStatus` as TypeScript spells it. */
function constantName(name: string): string {
  return name
    .slice(1)
    .replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, '_')
    .toUpperCase()
}

test('protocol.h and protocol.ts have the same names and numbers', () => {
  const header = readFileSync(join(root, 'native/binding/protocol.h'), 'utf8')
  const pattern = /^inline constexpr uint32_t (k\w+) = (0x[0-9a-f]+|\d+);/gm
  const native = new Map(
    Array.from(header.matchAll(pattern), ([, name, number]) => [
      constantName(name as string),
      Number(number),
    ]),
  )
  expect(native.size).toBe(header.split('inline constexpr').length - 1)
  expect(Object.fromEntries(native)).toEqual({ ...protocol })
})
