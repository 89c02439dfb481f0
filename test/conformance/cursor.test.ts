// Cursors: what one end may still hand out after the other was moved.

import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Cursor, IterOptions } from '../../lib/index.ts'
import { openDatabaseSync } from '../support/engine.ts'
import { scratchDirectory } from '../support/scratch.ts'

/** A cursor over k0 to k5. */
function cursor(options?: IterOptions): Cursor {
  const database = openDatabaseSync(join(scratchDirectory(), 'db'))
  onTestFinished(() => database.closeSync())
  const keyspace = database.keyspaceSync('k')
  for (let i = 0; i < 6; i++) keyspace.insertSync(`k${i}`, 'v')
  return keyspace.iter(options).cursor()
}

function fromBack(c: Cursor): string[] {
  const keys: string[] = []
  for (let row = c.nextBackSync(); row; row = c.nextBackSync()) keys.push(String(row[0]))
  return keys
}

describe('the back end stops where the front was put', () => {
  test('before the front handed anything out', () => {
    const c = cursor()
    c.seek('k4')
    expect(fromBack(c)).toEqual(['k5', 'k4'])
    expect(c.nextSync()).toBeUndefined()
  })

  test('after it did', () => {
    const c = cursor()
    c.seek('k3')
    expect(String(c.nextSync()![0])).toBe('k3')
    expect(fromBack(c)).toEqual(['k5', 'k4'])
  })

  test('at a key that is not there, behind the last one, and after another seek', () => {
    const c = cursor()
    c.seek('k35')
    expect(fromBack(c)).toEqual(['k5', 'k4'])
    const behind = cursor()
    behind.seek('zz')
    expect(behind.nextBackSync()).toBeUndefined()
    const again = cursor()
    again.nextSync()
    again.nextSync()
    again.seek('k4')
    again.seek('k5')
    expect(fromBack(again)).toEqual(['k5'])
  })

  test('in reverse, and in the async form', async () => {
    const c = cursor({ reverse: true })
    c.seek('k1')
    expect(fromBack(c)).toEqual(['k0', 'k1'])
    const other = cursor()
    other.seek('k5')
    expect(String((await other.nextBack())![0])).toBe('k5')
    expect(await other.nextBack()).toBeUndefined()
  })
})
